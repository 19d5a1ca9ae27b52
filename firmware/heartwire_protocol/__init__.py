"""The contract between board and host: framing, messages, codes, records, settings, operations.

Imported unchanged by the board (MicroPython) and the host (CPython). Tables only, and the codecs that read them.
It never does I/O, never imports anything outside the board's standard library, and does no work at import.
"""
