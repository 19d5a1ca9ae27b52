"""The line to the board, as the agent needs it: never blocks, never queues, and comes back by itself.

`Line` opens a port, reads into a buffer and writes frames; when the port vanishes it tries again with growing pauses,
and says so once per outage. A frame that cannot leave at once is dropped, and what waits from before it is thrown away:
a late heartbeat is worth nothing, and a burst of them looks like an attack. It knows nothing of what the bytes mean.
"""

from collections.abc import Callable

from heartwire import serial_servers
from heartwire.agent.log import Log
from heartwire.agent.port import SOCKET_SCHEME, Opener, Port

# From the beginning of one try to that of the next.
BACK_OFF_NS = (100_000_000, 200_000_000, 500_000_000, 1_000_000_000)
CONNECT_NS = 1_000_000_000
# A server that only a person can put right.
WRONG_SERVER_NS = 10_000_000_000
# What was wrong is shown until the board answers or the port stays open so long: some servers refuse by hanging up.
STEADY_NS = 2_000_000_000
# Bytes that wait longer than this to leave are stale. A heartbeat takes 35 ms at 9600 baud; TCP acknowledges in 200 ms.
STALE_NS = 300_000_000
# The same trouble is told again after so long, where nothing was ever right in between.
SAY_AGAIN_NS = 3_600_000_000_000
TROUBLES_MAX = 16


class Line:
    """A port that comes back. All methods return at once and never raise."""

    def __init__(self, path: str, baud: int, log: Log, opener: Callable[[str, int], Port] | None = None) -> None:
        self.path = path
        self.port: Port | None = None
        self.is_open = False
        self.opened_count = 0
        self.dropped_frames = 0
        self.problem = "not opened yet"
        self._baud = baud
        self._log = log
        self._open = opener or Opener()
        self._attempt = 0
        self._next_try_ns = 0
        self._tried_ns = 0
        self._opened_ns = 0
        self._waits_since_ns: int | None = None  # something written has not left since then
        self._greeting = serial_servers.Greeting()
        self._unread = b""
        self._said: dict[tuple[str, str], int] = {}

    def ensure(self, now_ns: int) -> bool:
        """Open the port if it is closed and a try is due; tell whether it became usable now."""
        if self.port is None:
            if now_ns < self._next_try_ns:
                return False
            self._tried_ns = now_ns
            try:
                self.port = self._open(self.path, self._baud)
            except OSError as error:
                self._lost(now_ns, error.strerror or type(error).__name__)
                return False
        if self.is_open:
            return False
        try:
            if not self.port.ready():
                if now_ns - self._tried_ns >= CONNECT_NS:
                    self._hangs(now_ns)
                return False
        except OSError as error:
            self._lost(now_ns, error.strerror or type(error).__name__)
            return False
        self.is_open = True
        self.opened_count += 1
        self._opened_ns = now_ns
        if not self._attempt:
            self.problem = ""
        self._waits_since_ns = None
        self._greeting = serial_servers.Greeting()
        self._unread = b""
        if self._is_new("line_open", "", now_ns):
            self._log.info("line_open", port=self.path, count=self.opened_count)
        return True

    def _hangs(self, now_ns: int) -> None:
        """Begin a connection anew; what a driver holds ends by itself, and there is nothing else to be tried."""
        if self.path.startswith(SOCKET_SCHEME):
            self._lost(now_ns, "no answer from the other end of the connection")
            return
        self.problem = "the device hangs: its driver does not open it"
        if self._is_new("line_hangs", "", now_ns):
            self._log.warning("line_hangs", port=self.path, problem=self.problem)

    @property
    def connects(self) -> bool:
        """Tell whether the port becomes usable by itself: wait until it can be written."""
        return self.port is not None and not self.is_open

    def read(self, now_ns: int) -> bytes:
        """Return what has arrived, or nothing."""
        data, self._unread = self._unread, b""
        return data or self._read(now_ns)

    def _read(self, now_ns: int) -> bytes:
        if self.port is None or not self.is_open:
            return b""
        if now_ns - self._opened_ns >= STEADY_NS:
            self.problem = ""
        try:
            data = self.port.read()
        except BlockingIOError:
            return b""
        except OSError as error:
            problem = error.strerror or type(error).__name__
            self._lost(now_ns, self._greeting.end if self._greeting.words else problem)
            return b""
        if not data:
            self._lost(now_ns, self._greeting.end)
            return b""
        if not self._is_right(data, now_ns):
            return b""
        return data

    def _is_right(self, data: bytes, now_ns: int) -> bool:
        """Tell whether `data` may be the board's; what a serial server says at first is kept for its error."""
        if self.path.startswith(SOCKET_SCHEME):
            self._greeting.take(data)
            if self._greeting.is_telnet:
                self._lost(now_ns, f"{serial_servers.TELNET}: {serial_servers.TELNET_NEXT}", WRONG_SERVER_NS)
                return False
        return True

    def write(self, data: memoryview, now_ns: int) -> bool:
        """Write one frame; tell whether all of it was taken. A frame behind stale bytes is not."""
        if self.port is None or not self.is_open:
            return False
        try:
            taken = self.port.write(data) if self._flows(self.port, now_ns) else 0
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lost(now_ns, error.strerror or type(error).__name__)
            return False
        if taken < len(data):
            self.dropped_frames += 1
        return taken == len(data)

    def _flows(self, port: Port, now_ns: int) -> bool:
        """Tell whether a frame written now would leave now; what is stale is thrown away where that is possible."""
        if self._waits_since_ns is None or not port.waiting():
            self._waits_since_ns = now_ns
            return True
        if now_ns - self._waits_since_ns < STALE_NS:
            return True
        if not port.discard():
            return False
        self._waits_since_ns = now_ns
        return True

    def answered(self, now_ns: int) -> None:
        """Note that the board was heard: an outage, if there was one, is over."""
        self._attempt = 0
        self.problem = ""
        if self._said:
            if ("line_silent", "") in self._said:
                self._log.info("line_answers", port=self.path, count=self.opened_count)
            self._said = {}

    def reopen(self, now_ns: int, beats: int) -> bool:
        """Close the port, as `beats` heartbeats got no answer, and open it anew; tell whether it is usable at once."""
        if self._is_new("line_silent", "", now_ns):
            self._log.warning("line_silent", port=self.path, unanswered=beats, action="open the port anew")
        self._drop()
        self._next_try_ns = now_ns
        return self.ensure(now_ns)

    def hung_up(self, now_ns: int) -> None:
        """Note that the poll reported the port gone; what came before is still read."""
        if not self.is_open:
            return  # a connection that is refused: `ensure` says why
        self._unread += self._read(now_ns)
        if not self._unread and self.is_open:
            self._lost(now_ns, "port is gone")

    def close(self) -> None:
        """Close the port for good."""
        if self.port is not None:
            self.port.close()
            self.port = None
            self.is_open = False

    def _drop(self) -> None:
        if self.port is not None:
            self.port.drop()
            self.port = None
        self.is_open = False

    def _lost(self, now_ns: int, problem: str, pause_ns: int = 0) -> None:
        self._drop()
        self.problem = problem
        self._next_try_ns = self._tried_ns + (pause_ns or BACK_OFF_NS[min(self._attempt, len(BACK_OFF_NS) - 1)])
        self._attempt += 1
        if self._is_new("line_lost", problem, now_ns):
            self._log.warning("line_lost", port=self.path, problem=problem)

    def _is_new(self, event: str, problem: str, now_ns: int) -> bool:
        """Tell whether to log this: once in an outage, which ends with an answer of the board."""
        said_ns = self._said.get((event, problem))
        if said_ns is not None and now_ns - said_ns < SAY_AGAIN_NS:
            return False
        if len(self._said) >= TROUBLES_MAX:
            return False
        self._said[event, problem] = now_ns
        return True
