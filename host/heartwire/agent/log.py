"""Log lines: one line each, key=value, to a stream handed in (stderr). Never a key, never a payload.

Repeated trouble is logged once per outage: `changed` remembers the last value of a subject and speaks only when it
differs.
"""

from typing import TextIO

from heartwire.logline import quote


class Log:
    """Write lines such as `level=info node=a event=role role=active epoch=3`."""

    def __init__(self, stream: TextIO, node: str) -> None:
        self._stream = stream
        self._node = node
        self._last: dict[str, object] = {}

    def line(self, level: str, event: str, **fields: object) -> None:
        """Write one line; a broken stream is ignored, because the agent lives on without its log."""
        words = [f"level={level}", f"node={self._node}", f"event={event}"]
        words += [f"{name}={quote(value)}" for name, value in fields.items() if value is not None]
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
        """Write what keeps the agent from its work."""
        self.line("error", event, **fields)

    def changed(self, subject: str, value: object) -> bool:
        """Tell whether `value` of `subject` differs from the last time; None first time counts as unchanged."""
        if self._last.get(subject) == value:
            return False
        self._last[subject] = value
        return True
