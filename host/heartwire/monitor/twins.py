"""Boards with one id under one monitor: told apart, and said so. Two boards answer so if one's flash was copied, or if
one board is listed twice by two of its addresses.

Who connected first keeps the id in the store; the other one is kept under a stand-in, which its name in the settings
makes, so that no board's journal is taken for the other's. `Claims` is shared by all collectors; it asks no board.
"""

from __future__ import annotations

import hashlib
import threading

# As long as the store keeps an id; no chip's id begins so.
ID_MAX = 16
MARK = "#"


def stand_in(board_id: str, name: str) -> str:
    """Return the id in the store of the board that settings call `name`, where another one has its id."""
    return MARK + hashlib.sha256(f"{board_id} {name}".encode()).hexdigest()[: ID_MAX - len(MARK)].upper()


class Claims:
    """Which boards answer now, by id: the name and port of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: dict[str, dict[str, str]] = {}
        self._keepers: dict[str, str] = {}  # who has the id in the store too, by id

    def claim(self, board_id: str, name: str, port: str, *, may_keep: bool) -> bool:
        """Note that `board_id` answers at `port`, which settings call `name`; tell whether it keeps that id.

        It does if it may, and no other one that answers does.
        """
        self.release(name)
        with self._lock:
            self._ports.setdefault(board_id, {})[name] = port
            if may_keep:
                self._keepers.setdefault(board_id, name)
            return self._keepers.get(board_id) == name

    def release(self, name: str) -> None:
        """Note that nothing answers there any more."""
        with self._lock:
            for ports in self._ports.values():
                ports.pop(name, None)
            self._keepers = {board_id: keeper for board_id, keeper in self._keepers.items() if keeper != name}

    def others(self, board_id: str, name: str) -> list[str]:
        """Return the others that answer with that id now: name and port."""
        with self._lock:
            return [f"{other} at {port}" for other, port in self._ports.get(board_id, {}).items() if other != name]
