"""What can go wrong with the virtual board and rack, in the one tree of errors.

    HeartwireError
        VirtualError        16  the virtual rack cannot do what was asked
            MissingExtra        the extra `virtual` is not installed
            BoardTimeout        something awaited did not happen in time

Raised by this package only; a simulated fault is never an exception, it is an event.
"""

from heartwire.errors import HeartwireError
from heartwire.extras import install_hint


class VirtualError(HeartwireError):
    """Report a virtual board or rack that cannot do what was asked."""

    exit_code = 16
    meaning = "the virtual rack cannot do what was asked"
    default_next = "see its log files; `heartwire virtual --help` says where they are"


class MissingExtra(VirtualError):
    """Report a package of the extra `virtual` that is not installed."""

    def __init__(self, package: str, next_step: str = "") -> None:
        super().__init__(f"{package} is not installed", next_step or install_hint("virtual"))


class BoardTimeout(VirtualError):
    """Report that an awaited state did not come in time."""
