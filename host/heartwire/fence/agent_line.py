"""A board reached through the agent on this server and its heartbeat line, as far as such a line goes.

It stands in for heartwire.board.Board in fence.actions: it can ask how another node is and have it fenced, where the
board's settings allow it (may_fence); nothing else. What a line cannot tell or do is refused in words, never guessed.
Each question waits for a heartbeat. Called by fence.reach and by `heartwire agent fence`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

from heartwire.agent.control import SOCKET_FILE, exchange
from heartwire.answers import NodeStatus, Status
from heartwire.board_id import wanted_id
from heartwire.errors import NoAnswer, OtherBoard, OutcomeUnknown, Refused
from heartwire_protocol import codes

SCHEME = "agent:"
# The agent ends a request by itself; its answer is waited for a little longer.
BESIDE_S = 2.0
# At 1 s between heartbeats, several of them may be lost. An agent takes at most 120 s.
ANSWER_S = 5.0
LINE_NEXT = "use the board's own port, or another node's line"


def path_of(address: str) -> Path:
    """Return the socket that `agent:PATH` names; PATH is the agent's control socket or its state directory."""
    path = Path(address.removeprefix(SCHEME))
    return path / SOCKET_FILE if path.is_dir() else path


class AgentLine:
    """The board behind the agent that listens at `path`; `tool` (codes.TOOL_*) is journaled with a fence."""

    def __init__(self, path: Path, tool: int, timeout_s: float = ANSWER_S) -> None:
        self._path = path
        self._tool = tool
        self._timeout_s = timeout_s
        self._own = ""

    @classmethod
    def open(cls, address: str, tool: int, timeout_s: float = ANSWER_S, board_id: str = "") -> Self:
        """Open `agent:PATH`; `board_id` as Board.open takes it.

        Raises NoAnswer if no agent listens there, OtherBoard if its board is not `board_id`.
        """
        wanted = wanted_id(board_id)
        line = cls(path_of(address), tool, timeout_s)
        status = exchange(line._path, {"do": "status"}, timeout_s).get("status", {})
        line._own = str(status.get("node", ""))
        # A line does not tell it; the node's key, which is that board's alone, proves what the settings say.
        found = str(status.get("board_id", ""))
        if wanted and found != wanted:
            says = f"board {found}" if found else "no board_id"
            raise OtherBoard(f"{line._path}: the agent's settings say {says}, {wanted} is wanted; nothing was asked")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def own(self) -> str:
        """The node whose line this is."""
        return self._own

    def close(self) -> None:
        """Do nothing: each question has a connection of its own."""

    def reopen(self) -> bool:
        """Do nothing; a restart of the board cannot be seen from here."""
        return False

    def status(self) -> Status:
        """Return the board's mode, as told with the state of another node; all else stays at its default."""
        refusal: Refused | None = None
        for node in codes.NODES:
            if node == self._own:
                continue
            try:
                answer = self._ask(node, question=True)
            except Refused as error:
                refusal = error
                if error.reason == "unknown_node":
                    continue
                raise
            return Status(name=f"the board behind node {self._own}'s line", mode=answer["mode"])
        raise refusal or Refused(f"{self._path}: there is no other node", LINE_NEXT)

    def node(self, node: str) -> NodeStatus:
        """Return fence, power and relay of `node`. Raises Refused, NoAnswer."""
        if node == self._own:
            # Its agent answers, so it has power; that it is fenced at the same time cannot be.
            return NodeStatus(node=node, power="on")
        answer = self._ask(node, question=True)
        return NodeStatus(node=node, power=answer["power"], relay=answer["relay"], fence=answer["fence"])

    def nodes(self) -> list[NodeStatus]:
        """Return the nodes that the settings enable. Raises Refused, NoAnswer."""
        found = []
        for node in codes.NODES:
            try:
                found.append(self.node(node))
            except Refused as refusal:
                if refusal.reason != "unknown_node":
                    raise
        return found

    def fence(self, node: str, *, last: bool = False, by: int = codes.NO_NODE) -> dict[str, Any]:
        """Have `node` fenced. The board knows which node asks, so `by` is not sent. Raises Refused, OutcomeUnknown."""
        if last:
            raise Refused("last cannot be asked over a node's line: only an operator may override that rule", LINE_NEXT)
        if node == self._own:
            raise Refused(f"{node} asks over its own line, and a node cannot have itself fenced", LINE_NEXT)
        self._ask(node, question=False)
        return {"ok": 1}

    def release(self, node: str) -> NoReturn:
        """Raise Refused: a node line may ask for a fence, never for power."""
        raise Refused(f"a node's line cannot give {node} its power back", LINE_NEXT)

    def clear(self, node: str) -> NoReturn:
        """Raise Refused: a node line may not end a quarantine."""
        raise Refused(f"a node's line cannot clear {node}", LINE_NEXT)

    def events(self, after: int = 0) -> Iterator[Any]:
        """Yield nothing: records on a node line are not signed, so they explain nothing here."""
        return iter(())

    def _ask(self, node: str, *, question: bool) -> dict[str, Any]:
        request = {
            "do": "fence", "target": node, "question": question, "tool": self._tool, "seconds": self._timeout_s
        }  # fmt: skip
        answer = exchange(self._path, request, self._timeout_s + BESIDE_S)
        if "error" in answer:
            words = f"node {self._own}'s line: {answer['error']}"
            if answer.get("code") == "unknown":
                raise OutcomeUnknown(words)
            raise NoAnswer(words, "`heartwire agent status` and `heartwire agent doctor` on this server show more")
        if answer["result"] == "refused":
            raise _refusal(node, self._own, str(answer["reason"]))
        return answer


def _refusal(node: str, own: str, reason: str) -> Refused:
    if reason in ("may_not_fence", "not_armed"):  # a board of an older version says the latter
        return Refused(
            f"the board's settings do not let node {own} ask for a fence of {node}",
            f"set node.{own}.may_fence = true in the board's settings",
        )
    from heartwire.journal import reason_words  # noqa: PLC0415 - only a refusal needs it

    return Refused(f"the board refuses to fence {node}: {reason_words(reason)}", reason=reason)
