"""The seam between logic and hardware: what the stages need, and nothing else.

hw_rp2.py fulfils these classes on the board (and, through its `machine` shim, on the virtual board); tests/fakes does
in the unit tests. No method here blocks, and none raises for bad input from outside.
"""


class Line:
    """A serial line of a node; `idle` (idle.IdleStamp) knows when the bytes read last ended."""

    def read_into(self, buffer: bytearray, limit: int) -> int:
        """Read at most `limit` bytes that have arrived into `buffer`; return how many."""
        raise NotImplementedError

    def write(self, buffer: "memoryview | bytes") -> int:
        """Queue bytes for sending; return how many were taken (the rest is lost)."""
        raise NotImplementedError

    def set_baud(self, baud: int) -> None:
        """Run at `baud` from now on, 8N1."""
        raise NotImplementedError

    def take_errors(self) -> int:
        """Return how many breaks, framing and parity errors there were since the last call."""
        raise NotImplementedError

    def take_overruns(self) -> int:
        """Return how many times received bytes were lost since the last call."""
        raise NotImplementedError


class Usb:
    """The host link's bytes."""

    def read_into(self, buffer: bytearray, limit: int) -> int:
        """Read at most `limit` bytes that have arrived into `buffer`; return how many."""
        raise NotImplementedError

    def write(self, buffer: memoryview, start: int, end: int) -> int:
        """Send what the host takes at once of buffer[start:end]; return how many bytes."""
        raise NotImplementedError


class Pins:
    """Inputs and outputs by signal name, in asserted levels: the pin list's active level is already applied."""

    def put(self, signal: str, asserted: int) -> None:
        """Set output `signal`."""
        raise NotImplementedError

    def get(self, signal: str) -> int:
        """Return 1 if input `signal` is asserted, else 0."""
        raise NotImplementedError


class Files:
    """The board's file system, flat: names without folders. A write is whole or has not happened (littlefs)."""

    def read(self, name: str) -> "bytes | None":
        """Return a file's bytes; None if it is missing or unreadable."""
        raise NotImplementedError

    def read_part(self, name: str, offset: int, buffer: bytearray) -> int:
        """Fill `buffer` from `offset` of a file; return how many bytes there were (0 if it is missing)."""
        raise NotImplementedError

    def write(self, name: str, data: bytes) -> bool:
        """Replace a file; return False if it could not be written."""
        raise NotImplementedError

    def begin(self, name: str) -> bool:
        """Open a file to append to, made if there is none; return False if it could not be. One is open at a time."""
        raise NotImplementedError

    def put(self, data: "bytes | memoryview") -> bool:
        """Append to the open file; nothing of it counts before `end`. Return False if it could not be written."""
        raise NotImplementedError

    def end(self) -> bool:
        """Close the open file, durable on return; return False if it could not be written."""
        raise NotImplementedError

    def remove(self, name: str) -> bool:
        """Remove a file; return False if there was none."""
        raise NotImplementedError

    def names(self) -> "list[str]":
        """Return the names of all files."""
        raise NotImplementedError


class Chip:
    """Watchdog, scratch registers, random numbers and restarts."""

    reset_cause = 0  # reasons.POWER_ON, WATCHDOG or REQUESTED_RESET
    free = 0  # bytes of heap after the last collection

    def start_watchdog(self, timeout_ms: int) -> None:
        """Start the hardware watchdog; it cannot be stopped again."""
        raise NotImplementedError

    def feed(self) -> None:
        """Feed the hardware watchdog."""
        raise NotImplementedError

    def scratch(self, index: int) -> int:
        """Return a scratch register, which survives every reset but a power loss."""
        raise NotImplementedError

    def put_scratch(self, index: int, value: int) -> None:
        """Set a scratch register, to a value below 2^30."""
        raise NotImplementedError

    def random_into(self, buffer: bytearray) -> None:
        """Fill `buffer` with random bytes."""
        raise NotImplementedError

    def unique_id(self) -> bytes:
        """Return the chip's 8-byte id."""
        raise NotImplementedError

    def platform(self) -> "tuple[str, str, str]":
        """Return MicroPython's version, what it says that it runs on, and the folder that the firmware was loaded from
        ("" for the top).
        """
        raise NotImplementedError

    def crash(self) -> str:
        """Return the last line of how the firmware last failed; "" if it never did since it was installed."""
        raise NotImplementedError

    def restart(self) -> None:
        """Restart the firmware; does not return on the board."""
        raise NotImplementedError

    def collect(self) -> None:
        """Collect garbage now; `free` is what is left then, so that growth shows and garbage does not."""
        raise NotImplementedError


class Activity:
    """Bits that `hardware.activity()` returns, a callable so cheap that the loop asks it every millisecond."""

    LINES = 7  # bit 0 to 2: bytes wait on that node's line, or still have to be sent on it
    USB = 8  # bytes wait on the host link
    INPUTS = 16  # an input is not what it was at the last call
