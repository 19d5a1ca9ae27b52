"""Heartwire on the host: talk to the board, watch it, configure it. Importing it does no work."""

__version__ = "0.1.0"
