"""What can go wrong with the emulated board.

    EmulatedError
        NotReady    the tier cannot run here: the image or a package is missing, and what to do about it
        TooLong     the guest did not get there within the limit of virtual or real time

Raised by this package only; tests and tools turn NotReady into a skip with its words.
"""


class EmulatedError(RuntimeError):
    """Report an emulated board that cannot do what was asked."""


class NotReady(EmulatedError):
    """Report what is missing for this tier, and how to get it."""


class TooLong(EmulatedError):
    """Report that an awaited state did not come in time."""
