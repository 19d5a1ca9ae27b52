"""What other programs on this server tell the agent about it: busy, dumping, going down on purpose.

Pure: requests and times in. The agent reports it in its heartbeats; control.py brings the requests.
"""

from dataclasses import dataclass
from typing import Any

NS_PER_S = 1_000_000_000
BUSY_MAX_S = 0xFFFF  # what the field of the heartbeat can say; the board's busy_max_s is the real limit


@dataclass
class Conditions:
    """States that other programs set through the control socket; they stay until they run out or are cleared."""

    busy_until_ns: int = 0
    crash_dump_until_ns: int = 0
    planned_off: bool = False

    def is_busy(self, now_ns: int) -> bool:
        """Tell whether it is busy or dumping at `now_ns`."""
        return now_ns < max(self.busy_until_ns, self.crash_dump_until_ns)

    def handle(self, request: dict[str, Any], now_ns: int) -> str:
        """Obey a request (see control.py); return what is wrong with it, or an empty text."""
        wanted = request.get("do")
        if wanted in ("busy", "crash_dump"):
            seconds = request.get("seconds")
            if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= BUSY_MAX_S:
                return f"seconds must be a whole number from 1 to {BUSY_MAX_S}"
            if wanted == "busy":
                self.busy_until_ns = now_ns + seconds * NS_PER_S
            else:
                self.crash_dump_until_ns = now_ns + seconds * NS_PER_S
        elif wanted == "planned_off":
            self.planned_off = True
        elif wanted == "ready":
            self.busy_until_ns = self.crash_dump_until_ns = 0
            self.planned_off = False
        elif wanted != "status":
            return "do must be busy, crash_dump, planned_off, ready or status"
        return ""
