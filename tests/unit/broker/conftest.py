"""A broker in a thread, at a socket of its own."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.broker import members, places
from heartwire.broker.access import Caller
from heartwire.broker.server import Server


class Running:
    """A broker, and what it logs."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log: list[str] = []
        self.allowed: Callable[[Caller, str], bool] = members.may_use
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, idle_s: float | None = None) -> None:
        """Start it, once more if it has ended."""
        self._server = Server(
            places.listen(self.place),
            idle_s=idle_s,
            log=self.log.append,
            allowed=self._is_allowed,
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def _is_allowed(self, caller: Caller, path: str) -> bool:
        return self.allowed(caller, path)

    def end(self) -> None:
        """Let it end. Callable beside `start`: it waits for the broker of now, never for the next one."""
        thread = self._thread
        self.stop()
        self._wait_for(thread)

    def stop(self) -> None:
        """Tell it to end."""
        assert self._server is not None
        self._server.stop()

    def join(self) -> None:
        """Wait until it has ended."""
        self._wait_for(self._thread)

    def _wait_for(self, thread: threading.Thread | None) -> None:
        assert thread is not None
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A broker that runs, and that this process uses; none is started by itself."""
    # Not below tmp_path, whose name may be longer than that of a socket.
    with tempfile.TemporaryDirectory(prefix="hw-") as folder:
        place = Path(folder) / "broker.sock"
        monkeypatch.setenv(places.ENVIRONMENT, str(place))
        monkeypatch.setattr(places, "start", lambda: None)
        running = Running(place)
        running.start()
        yield running
        running.end()
