"""Scenario files and what runs them: the firmware on fake hardware, on the virtual board, or on an emulated chip."""
