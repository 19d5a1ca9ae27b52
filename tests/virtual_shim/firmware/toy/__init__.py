"""A firmware that does nothing useful, to test the virtual board with."""
