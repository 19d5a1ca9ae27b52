"""What can go wrong with the virtual board and rack.

    VirtualError        1  a virtual board or rack cannot do what was asked
      MissingExtra      1  the extra `virtual` is not installed
      BoardTimeout      1  something awaited did not happen in time

Raised by this package only; a simulated fault is never an exception, it is an event.
"""

from heartwire.errors import HeartwireError


class VirtualError(HeartwireError):
    """Report a virtual board or rack that cannot do what was asked."""

    meaning = "a virtual board or rack cannot do what was asked"
    default_next = "look into board.log and the servers' console.log in its directory"


class MissingExtra(VirtualError):
    """Report a package of the extra `virtual` that is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed", "pip install 'heartwire[virtual]'")


class BoardTimeout(VirtualError):
    """Report that an awaited state did not come in time."""
