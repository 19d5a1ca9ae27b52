"""Many programs on one board: a small program that owns the serial port and passes frames, and its clients' end."""
