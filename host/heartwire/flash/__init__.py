"""Putting MicroPython and Heartwire onto a board: the image, the boot loader's drive, the firmware's files."""
