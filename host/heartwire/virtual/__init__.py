"""The virtual board and the rack around it: the whole product without hardware (extra `virtual`)."""
