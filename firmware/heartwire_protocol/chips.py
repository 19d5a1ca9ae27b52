"""The chips that the firmware runs on: where their registers are, and the oldest MicroPython for each.

Constants only. Read by the firmware's hardware module and by whoever talks to a board at its prompt; boot.py and
main.py, which import nothing, hold the same numbers (a test compares them).
"""

# As sys.implementation._machine ends; watchdog, UART 0, UART 1: base addresses of RP2040 datasheet 2.2, RP2350 2.2; the
# oldest MicroPython: 1.24 has UART.irq and what DMA needs, on the RP2350 its DMA control word is right from 1.26 on.
CHIPS = (
    ("RP2040", 0x40058000, 0x40034000, 0x40038000, (1, 24)),
    ("RP2350", 0x400D8000, 0x40070000, 0x40078000, (1, 26)),
)
# From the watchdog's base address on (RP2040 4.7.6, RP2350 12.9.8): scratch registers; the alias of CTRL that clears
# the bits written to it, of which one is ENABLE (2.1.2, 2.1.3).
SCRATCH = 0x0C
WATCHDOG_CLEAR = 0x3000
WATCHDOG_ENABLE = 1 << 30
