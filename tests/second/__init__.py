"""A second emulator runs the same image and firmware: what two models of a chip agree on is more than one says."""
