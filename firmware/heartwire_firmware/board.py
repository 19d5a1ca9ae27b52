"""The pins of the board: constants only. Generated, never edited by hand.

Comes from hw/pins.toml by `python3 hw/gen/board_py.py`; a test compares the two. Runs on MicroPython and on CPython.
Read by whatever sets up, drives or names a pin; it imports nothing and has no effect when imported.
"""

# signal, gpio, function, active_high, boot_level (None: input), pull
PINS = (
    ("LINE_A_TX", 0, "UART0", False, 1, "none"),
    ("LINE_A_RX", 1, "UART0", False, None, "up"),
    ("LINE_SPARE_TX", 2, "PIO", False, 1, "none"),
    ("LINE_SPARE_RX", 3, "PIO", False, None, "up"),
    ("LINE_B_TX", 4, "UART1", False, 1, "none"),
    ("LINE_B_RX", 5, "UART1", False, None, "up"),
    ("POWER_A", 6, "OUT", True, 0, "none"),
    ("POWER_B", 7, "OUT", True, 0, "none"),
    ("POWER_SPARE", 8, "OUT", True, 0, "none"),
    ("ARM", 9, "OUT", True, 0, "none"),
    ("FRONT_A", 10, "OUT", True, 0, "none"),
    ("FRONT_B", 11, "OUT", True, 0, "none"),
    ("FRONT_SPARE", 12, "OUT", True, 0, "none"),
    ("TRANSFER_SET_A", 13, "OUT", True, 0, "none"),
    ("TRANSFER_SET_B", 14, "OUT", True, 0, "none"),
    ("LED_STATUS", 15, "OUT", True, 0, "none"),
    ("SENSE_A1", 16, "IN", False, None, "up"),
    ("SENSE_A2", 17, "IN", False, None, "up"),
    ("SENSE_B1", 18, "IN", False, None, "up"),
    ("SENSE_B2", 19, "IN", False, None, "up"),
    ("SENSE_SPARE", 20, "IN", False, None, "up"),
    ("BUTTON", 21, "IN", False, None, "up"),
    ("KEY", 22, "IN", False, None, "up"),
    ("LED_BOARD", 25, "OUT", True, 0, "none"),
    ("TRANSFER_AT_A", 26, "IN", False, None, "up"),
    ("TRANSFER_AT_B", 27, "IN", False, None, "up"),
    ("GUARDING", 28, "OUT", True, 0, "none"),
)
