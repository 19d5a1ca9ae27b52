"""The board on an emulated RP2040: the official MicroPython image and the compiled firmware, in virtual time."""
