"""Log lines of the monitor: one line each, key=value, to a stream handed in (stderr, which journald keeps).

Never a secret: callers hand in names, counts and words of heartwire.errors only. Repeated trouble is said once per
outage: `changed` remembers the last value of a subject. Used by every part of the monitor that runs in a thread.
"""

from __future__ import annotations

import threading
from typing import TextIO

from heartwire.logline import quote


class Log:
    """Write lines such as `level=warning event=unreachable board=rack-1`; any thread may."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._last: dict[str, object] = {}

    def line(self, level: str, event: str, **fields: object) -> None:
        """Write one line; a broken stream is ignored, because the monitor lives on without its log."""
        words = [f"level={level}", f"event={event}"]
        words += [f"{name}={quote(value)}" for name, value in fields.items() if value is not None]
        with self._lock:
            try:
                self._stream.write(" ".join(words) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    def info(self, event: str, **fields: object) -> None:
        """Write what normally happens."""
        self.line("info", event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what someone should look at."""
        self.line("warning", event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what keeps the monitor from its work."""
        self.line("error", event, **fields)

    def changed(self, subject: str, value: object) -> bool:
        """Tell whether `value` of `subject` differs from the last time; None the first time counts as unchanged."""
        with self._lock:
            if self._last.get(subject) == value:
                return False
            self._last[subject] = value
            return True
