"""The simulator's two kinds of node are told the same and say and do the same: the fake one, and the product's agent.

Two readings of one contract. A scripted board answers the heartbeats of both with the same words, in virtual time;
their commands take no time. At each step the services and the lease of both are compared, and every heartbeat.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from heartwire.simulate.agent_node import AgentNode
from heartwire.simulate.body import Node
from heartwire.simulate.node import FakeNode
from heartwire_protocol import codes, framing, messages
from heartwire_protocol.auth import Signer

KEY = bytes(range(32))
HEARTBEAT = messages.layout_of(messages.HEARTBEAT)
GRANT = messages.layout_of(messages.GRANT)
STEP_MS = 100
# What of a heartbeat must be alike. Incarnation and mac are each agent's own.
SAID = ("node_state", "flags", "sequence", "epoch", "busy_s")

Word = tuple[int, int, int, int]  # role, orders, epoch, lease_ms


class Board:
    """Answers the heartbeats of one node with `word`, at once; None: with silence."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.word: Word | None = None
        self.beats: list[dict[str, Any]] = []
        self._signer = Signer(KEY)
        self._decoder = framing.Decoder(64)
        self._challenge = 0

    def step(self, ms: int) -> list[tuple[int, ...]]:
        """Give the node a step; return what its heartbeats said."""
        self.node.advance(STEP_MS)
        said = []
        for frame in self.node.due(ms):
            self._decoder.feed(frame, 0, len(frame))
            self.beats.append(HEARTBEAT.unpack(bytes(self._decoder.payload[: self._decoder.length])))
            said.append(tuple(self.beats[-1][name] for name in SAID))
            self._challenge += 1
            self.answer()
        return said

    def answer(self, back: int = 0) -> None:
        """Answer the newest heartbeat, or one that many before it."""
        if self.word is None or len(self.beats) <= back or not self.node.alive:
            return
        beat = self.beats[-1 - back]
        role, orders, epoch, lease_ms = self.word
        answered = beat["flags"] & messages.FLAG_ANSWERED
        body = GRANT.pack(
            node_role=self.node.node | role << 2, orders=orders, epoch=epoch,
            lease_ms=lease_ms if role == codes.ROLE_ACTIVE and answered else 0, answers=beat["sequence"] & 0xFFFF,
            newest_event=1, challenge=self._challenge.to_bytes(4, "little"), mac=bytes(8),
        )[: GRANT.offset("mac")]  # fmt: skip
        binding = beat["incarnation"].to_bytes(4, "little") + beat["sequence"].to_bytes(4, "little")
        self.node.hear(framing.encode(messages.GRANT, body + self._signer.mac(b"G", binding, body)))


class Twins:
    """A fake node and one with the product's agent, under the same word and the same faults."""

    def __init__(self, loss: str) -> None:
        self.ms = 0
        self.boards = [Board(FakeNode(0, KEY)), Board(AgentNode(0, KEY))]
        self.story: list[str] = []
        for board in self.boards:
            board.node.on_board_loss = loss
            board.node.beat_every(1000)
            board.node.beat_from(500)
        self.go(5)  # with their first heartbeats

    def go(self, steps: int) -> None:
        """Let time pass."""
        for _ in range(steps):
            self.ms += STEP_MS
            said = [board.step(self.ms) for board in self.boards]
            self.compare(said)

    def compare(self, said: Any) -> None:
        """Compare what both say and run."""
        seen = [
            (node.serving, node.left_ms, node.epoch, node.state if node.alive else None, node.bitten, heard)
            for node, heard in zip((board.node for board in self.boards), said, strict=True)
        ]
        names = "serving, left_ms, epoch, state, bitten, heartbeats"
        self.story.append(f"{self.ms:6} {seen[0]}")
        story = "\n".join(self.story[-12:])
        assert seen[0] == seen[1], f"{self.ms} ms: {names}\nfake  {seen[0]}\nagent {seen[1]}\n{story}"

    def do(self, step: tuple[Any, ...]) -> None:
        """Let one thing happen to both, and a moment pass."""
        self.story.append(f"{self.ms:6} -- {step}")
        kind, arguments = step[0], step[1:]
        for board in self.boards:
            node = board.node
            if kind == "word":
                board.word = arguments
                board.answer()
            elif kind == "again":
                board.answer(arguments[0])
            elif kind == "silence":
                board.word = None
            elif kind == "report" and node.alive:
                node.report(*arguments)
            elif kind in ("freeze", "thaw", "upgrade_agent", "crash"):
                getattr(node, kind)()
            elif kind == "boot" and not node.alive:
                node.boot()
                board.beats = []  # an answer to what was said before does not come any more
                node.beat_from(self.ms + STEP_MS)
        if kind in ("boot", "thaw"):
            self.go(1)  # its first round
        self.compare([[], []])


ROLES = st.sampled_from([codes.ROLE_OFFLINE, codes.ROLE_STANDBY, codes.ROLE_ACTIVE, codes.ROLE_ACTIVE])
ORDERS = st.sampled_from([0, 0, *(row[0] for row in messages.ORDERS), messages.ORDER_HOLD])
WORDS = st.tuples(st.just("word"), ROLES, ORDERS, st.integers(1, 4), st.sampled_from([2000, 5000]))
STEPS = st.one_of(
    WORDS,
    st.tuples(st.just("go"), st.integers(1, 40)),
    st.tuples(st.just("again"), st.integers(0, 2)),
    st.just(("silence",)),
    st.tuples(st.just("report"), st.sampled_from([codes.STATE_BUSY, codes.STATE_CRASH_DUMP]), st.integers(1, 5)),
    st.tuples(st.just("report"), st.sampled_from([codes.STATE_PLANNED_OFF, codes.STATE_HEALTHY])),
    st.just(("freeze",)),
    st.just(("thaw",)),
    st.just(("upgrade_agent",)),
    st.just(("crash",)),
    st.just(("boot",)),
)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False, phases=(Phase.explicit, Phase.generate, Phase.shrink),
)  # fmt: skip
@given(loss=st.sampled_from(["hold", "stop"]), steps=st.lists(STEPS, min_size=1, max_size=25))
def test_both_kinds_of_node_say_and_run_the_same(loss: str, steps: list[tuple[Any, ...]]) -> None:
    twins = Twins(loss)
    for step in steps:
        if step[0] == "go":
            twins.go(step[1])
        else:
            twins.do(step)
    twins.go(20)
