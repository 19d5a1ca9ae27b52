"""Where journal records come from: a board on its USB link or socket, or a surviving node's line through its agent.

A source answers three questions (who are you, what comes after record N, how are you) and decides nothing. The
collector owns one source, calls it from one thread, and reopens it after any error of heartwire.errors.

An agent's line is read through a Unix socket that the agent listens on: the monitor writes one JSON line
`{"after": N, "count": 16}`, the agent sends read_events over its node line and answers with one JSON line
`{"board_id": "...", "boot": 3, "newest": 1042, "oldest_decision": 1, "oldest_routine": 1, "records": ["hex", ...]}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from heartwire import bounded, keys
from heartwire.agent.control import short_path
from heartwire.answers import LogPage, NodeStatus, Status
from heartwire.board import PAGE, Board
from heartwire.errors import (
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotAllowed,
    NotPermitted,
    ProtocolMismatch,
    Refused,
    StorageProblem,
    Unplugged,
)
from heartwire.hostclock import is_off
from heartwire.monitor.settings import BoardSettings

AGENT_SCHEME = "agent:"
TIMEOUT_S = 5.0
# One answer of an agent: 16 records of 42 bytes in hexadecimal and some names.
ANSWER_BYTES = 16384
# As long as the store keeps one.
BOARD_ID_MAX = 16
WORDS_MAX = 300
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Identity:
    """Who answers, and in which of its lives."""

    board_id: str
    boot: int


class Source(Protocol):
    """What the collector needs. Every method raises errors of heartwire.errors; none is called before open."""

    def open(self) -> Identity:
        """Connect, or connect anew, and say who answers."""

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        """Return up to 16 raw records after sequence `after`, and how far the journal reaches."""

    def status(self) -> tuple[Status, list[NodeStatus]] | None:
        """Return board and nodes, or None where this way does not tell."""

    def settings(self) -> str | None:
        """Return what the board runs, keys as fingerprints, or None where this way or these keys do not tell."""

    def close(self) -> None:
        """Give the port back. Never raises."""


class BoardSource:
    """A board by its host link: USB, a pty, or a socket."""

    def __init__(self, settings: BoardSettings, *, set_time: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._set_time = set_time
        self._timeout_s = timeout_s
        self._board: Board | None = None
        self._nodes: tuple[str, ...] | None = None

    def open(self) -> Identity:
        self.close()
        path = self._settings.key_file
        held = keys.find(path) if path is not None else keys.Keys()
        wanted = self._settings.board_id
        self._board = Board.open(self._settings.port, keys=held, timeout_s=self._timeout_s, board_id=wanted)
        self._nodes = None
        welcome = self._board.link.welcome
        # What greets proves nothing yet; with a key, its first answer does.
        boot = self._board.status().boot if self._board.link.signed else welcome.boot
        return Identity(welcome.board_id, boot)

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        return self._open_board().page(after)

    def status(self) -> tuple[Status, list[NodeStatus]] | None:
        board = self._open_board()
        status = board.status()
        if self._set_time and is_off(status):
            with contextlib.suppress(NotAllowed, Refused, ProtocolMismatch):
                board.set_time()
        if self._nodes is None:
            nodes = board.nodes()
            self._nodes = tuple(node.node for node in nodes)
            return status, nodes
        return status, [board.node(name) for name in self._nodes]

    def settings(self) -> str | None:
        with contextlib.suppress(NotAllowed, Refused, ProtocolMismatch):
            return self._open_board().settings().text
        return None

    def forget_nodes(self) -> None:
        """Ask again which nodes there are: the settings may have changed."""
        self._nodes = None

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def _open_board(self) -> Board:
        if self._board is None:
            raise Unplugged(f"{self._settings.name}: not connected")
        return self._board


class AgentSource:
    """The board through the node line of a server that still runs, read-only, by its agent's socket."""

    def __init__(self, path: Path, *, name: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        # A node line does not tell which board it is; where the agent's settings do not either, the name stands for it.
        room = BOARD_ID_MAX - len("line:")
        self._stand_in = f"line:{name if len(name) <= room else hashlib.sha256(name.encode()).hexdigest()[:room]}"
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def open(self) -> Identity:
        self.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            with short_path(self._path) as short:
                connection.connect(short)
        except PermissionError:
            connection.close()
            raise NotPermitted(f"{self._path}: you may not talk to this agent", "join the group that owns it") from None
        except OSError as error:
            connection.close()
            words = f"{self._path}: no agent answers ({error.strerror or error})"
            raise BoardNotFound(words, "start `heartwire agent run` on this server") from None
        self._socket = connection
        answer = self._ask(0, 0)
        return Identity(str(answer.get("board_id") or self._stand_in), int(answer.get("boot", 0)))

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        answer = self._ask(after, PAGE)
        try:
            found = tuple(bytes.fromhex(text) for text in answer.get("records", ()))
        except (ValueError, TypeError):
            raise ProtocolMismatch(f"{self._path}: the agent's records are no hexadecimal") from None
        return LogPage.of({**answer, "sent": len(found)}), found

    def status(self) -> tuple[Status, list[NodeStatus]] | None:
        return None

    def settings(self) -> str | None:
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, after: int, count: int) -> dict[str, Any]:
        if self._socket is None:
            raise Unplugged(f"{self._path}: not connected")
        answer = b""
        until_s = time.monotonic() + self._timeout_s
        try:
            self._socket.sendall(json.dumps({"after": after, "count": count}).encode() + b"\n")
            while not answer.endswith(b"\n"):
                piece = self._socket.recv(4096)
                if not piece:
                    raise Unplugged(f"{self._path}: the agent has ended")
                answer += piece
                if time.monotonic() >= until_s:
                    raise TimeoutError
                if len(answer) > ANSWER_BYTES:
                    raise ProtocolMismatch(f"{self._path}: the agent's answer is too long")
        except TimeoutError:
            raise NoAnswer(f"{self._path}: no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise Unplugged(f"{self._path}: connection lost ({error.strerror or error})") from None
        try:
            body = bounded.load(answer, ANSWER_BYTES)
        except ValueError:
            body = None
        if isinstance(body, dict) and "error" in body:
            raise NoAnswer(f"{self._path}: {body['error']}", "`heartwire agent status` on this server shows more")
        if not isinstance(body, dict) or not isinstance(body.get("board_id"), str):
            raise ProtocolMismatch(f"{self._path}: the agent's answer is not as agreed")
        return body


def lost(name: str, error: Exception) -> HeartwireError:
    """Return any error of a source as one that says that the board does not answer.

    A driver, a library or an answer that nobody foresaw raises what it likes. A board's own trouble with its flash is
    not the store's.
    """
    if isinstance(error, StorageProblem):
        return NoAnswer(f"{name}: {error.words}", error.next_step)
    if isinstance(error, HeartwireError):
        return error
    return Unplugged(f"{name}: cannot be read ({type(error).__name__}: {error})"[:WORDS_MAX])


class Watched:
    """A source that raises nothing but errors of heartwire.errors, none of them a StorageProblem."""

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self._name = name

    def open(self) -> Identity:
        return self._try(self._source.open)

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        return self._try(lambda: self._source.page(after))

    def status(self) -> tuple[Status, list[NodeStatus]] | None:
        return self._try(self._source.status)

    def settings(self) -> str | None:
        return self._try(self._source.settings)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._source.close()

    def _try(self, act: Callable[[], Answer]) -> Answer:
        try:
            return act()
        except Exception as error:
            raise lost(self._name, error) from error


Maker = Callable[[BoardSettings], Source]


def source_of(settings: BoardSettings, *, set_time: bool = True) -> Source:
    """Return the source that `port` names, not yet open."""
    if settings.port.startswith(AGENT_SCHEME):
        return AgentSource(Path(settings.port[len(AGENT_SCHEME) :]), name=settings.name)
    return BoardSource(settings, set_time=set_time)
