"""The board with an RP2350, on an emulator that is looked for and not kept here."""
