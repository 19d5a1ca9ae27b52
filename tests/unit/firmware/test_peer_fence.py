"""A node asks on its own line for the fence of another one: who may, what is answered, what the journal keeps."""

from __future__ import annotations

from typing import Any

import pytest

from heartwire_protocol import auth, codes, events, framing, messages, reasons
from tests.fakes.bench import KEYS, Bench

REQUEST = messages.layout_of(messages.FENCE_REQUEST)
REPLY = messages.layout_of(messages.FENCE_REPLY)
A, B, SPARE = range(3)
QUESTION = messages.FENCE_QUESTION
AGENT = codes.TOOL_FENCE_AGENT << 2


class Asker:
    """Node `node` of a bench, asking on its line; keeps the replies that carry a right signature."""

    def __init__(self, bench: Bench, node: int = B) -> None:
        self.bench = bench
        self.fake = bench.nodes[node]
        self.signer = auth.Signer(KEYS[node])
        self.replies: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self._decoder = framing.Decoder(64)
        hear = self.fake.hear

        def both(data: bytes) -> None:
            self._hear(data)
            hear(data)

        self.fake.hear = both  # type: ignore[method-assign]

    def _hear(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            at = self._decoder.feed(data, at, len(data))
            if self._decoder.ready and self._decoder.message_type == messages.FENCE_REPLY:
                payload = bytes(self._decoder.payload[: self._decoder.length])
                reply = REPLY.unpack(payload)
                incarnation = self.fake.incarnation.to_bytes(4, "little")
                assert reply["mac"] == self.signer.mac(b"P", incarnation, payload[: REPLY.offset("mac")])
                self.replies.append(reply)

    def frame(self, target: int, sequence: int | None = None, challenge: bytes | None = None) -> bytes:
        """Return a request as the node would send it now, or with something else in it."""
        sequence = self.fake.sequence if sequence is None else sequence
        body = REQUEST.pack(target=target, sequence=sequence, mac=bytes(8))[:-8]
        challenge = self.fake.challenge if challenge is None else challenge
        assert challenge is not None
        mac = self.signer.mac(b"F", challenge, self.fake.incarnation.to_bytes(4, "little"), body)
        return bytes(framing.encode(messages.FENCE_REQUEST, body + mac))

    def send(self, frame: bytes) -> dict[str, Any] | None:
        """Send a frame, made between two heartbeats; return the reply, or None if none comes."""
        self.replies.clear()
        self.bench.hardware.lines[self.fake.node].arrive(frame)
        self.bench.run(20)
        return self.replies[-1] if self.replies else None

    def ask(self, target: int) -> dict[str, Any]:
        """Ask with everything right; return the reply."""
        reply = self.send(self.frame(target))
        assert reply is not None
        assert (reply["target"], reply["sequence"]) == (target, self.fake.sequence)
        return reply

    def status(self, target: int) -> tuple[str, str, bool, str]:
        """Ask how `target` is: (fence, power, relay cut, mode)."""
        reply = self.ask(target | QUESTION)
        assert messages.FENCE_RESULTS[reply["result"]] == "told"
        shown = reply["target_is"]
        return codes.FENCES[shown & 7], codes.POWERS[shown >> 3 & 3], bool(shown >> 5 & 1), codes.MODES[shown >> 6]


def made(mode: int = codes.MODE_FENCER, text: str = "node.b.may_fence=1\n", nodes: int = 2) -> Bench:
    bench = Bench(text, nodes)
    bench.run(4000)
    bench.arm(mode)
    bench.run(6100)  # between two heartbeats: a request is bound to the last answered one
    return bench


@pytest.fixture
def bench() -> Bench:
    return made()


def test_a_fence_is_asked_watched_and_proven(bench: Bench) -> None:
    asker = Asker(bench)
    assert asker.status(A) == ("idle", "on", False, "fencer")
    reply = asker.ask(A | AGENT)
    assert messages.FENCE_RESULTS[reply["result"]] == "accepted"
    assert codes.FENCES[reply["target_is"] & 7] == "firing", "under way as soon as it is accepted"
    assert asker.status(A)[0] == "firing"
    bench.run(6000)
    assert asker.status(A) == ("proven", "off", True, "fencer")
    assert not bench.powered[A]


def test_the_journal_says_who_asked(bench: Bench) -> None:
    Asker(bench).ask(A | AGENT)
    bench.run(3000)
    rows = [row for row in bench.journal() if row["event"] == events.REQUESTED and row["node"] == A]
    assert [(row["reason"], row["a"], row["b"]) for row in rows] == [(reasons.PEER, 12, (AGENT | B) << 1)]


def test_the_journal_says_who_asked_over_the_host_link(bench: Bench) -> None:
    by = codes.TOOL_COMMAND << 2 | codes.NO_NODE
    assert bench.ask(op="fence", node="a", by=by) == {"ok": 1}
    bench.run(3000)
    rows = [row for row in bench.journal() if row["event"] == events.REQUESTED and row["node"] == A]
    assert [(row["reason"], row["a"], row["b"]) for row in rows] == [(reasons.OPERATOR, 12, by << 1)]


def test_last_still_counts_beside_the_requester(bench: Bench) -> None:
    bench.nodes[B].crash()
    bench.run(12000)
    assert bench.ask(op="fence", node="a", by=15)["reason"] == "last_powered"
    assert bench.ask(op="fence", node="a", by=15, last=1) == {"ok": 1}


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        ("", A, reasons.MAY_NOT_FENCE),
        ("", A | QUESTION, reasons.MAY_NOT_FENCE),
        ("node.b.may_fence=1\n", B, reasons.MAY_NOT_FENCE),
        ("node.b.may_fence=1\n", SPARE, reasons.UNKNOWN_NODE),
        ("node.b.may_fence=1\n", SPARE | QUESTION, reasons.UNKNOWN_NODE),
        ("node.b.may_fence=1\nnode.a.fence=none\n", A, reasons.NO_FENCE),
    ],
)
def test_a_refusal_names_its_reason_and_moves_nothing(text: str, target: int, reason: int) -> None:
    bench = made(text=text)
    reply = Asker(bench).ask(target)
    assert (messages.FENCE_RESULTS[reply["result"]], reply["reason"]) == ("refused", reason)
    bench.run(5000)
    assert all(bench.powered)


def test_observe_mode_refuses_and_says_its_mode() -> None:
    bench = made(codes.MODE_OBSERVE)
    asker = Asker(bench)
    assert asker.ask(A)["reason"] == reasons.OBSERVE_MODE
    assert asker.status(A) == ("idle", "on", False, "observe")


def test_a_question_moves_nothing_and_leaves_no_record(bench: Bench) -> None:
    asker = Asker(bench)
    for _ in range(5):
        asker.status(A)
        bench.run(1000)
    assert not bench.has(events.REQUESTED, A) and all(bench.powered)


def test_the_first_wins_and_the_fenced_asks_in_vain() -> None:
    bench = made(text="node.a.may_fence=1\nnode.b.may_fence=1\n")
    first, second = Asker(bench, B), Asker(bench, A)
    bench.hardware.lines[A].arrive(second.frame(B))
    bench.hardware.lines[B].arrive(first.frame(A))
    bench.run(20)
    replies = [asker.replies[-1] for asker in (first, second)]
    results = sorted(messages.FENCE_RESULTS[reply["result"]] for reply in replies)
    assert results == ["accepted", "refused"]
    refused = next(reply for reply in replies if reply["result"] == 0)
    assert refused["reason"] in (reasons.OTHER_OPERATION, reasons.FENCE_FIRED)
    bench.run(6000)
    assert sorted(bench.powered) == [False, True]


def test_a_quarantined_node_asks_in_vain(bench: Bench) -> None:
    bench.board.state.quarantined[B] = 1
    assert Asker(bench).ask(A)["reason"] == reasons.FENCE_FIRED
    assert all(bench.powered)


def test_an_old_request_is_worth_nothing(bench: Bench) -> None:
    asker = Asker(bench)
    frame = asker.frame(A)
    bench.run(2200)  # two heartbeats later: one may have crossed it, two have not
    assert asker.send(frame) is None
    assert asker.send(asker.frame(A, sequence=asker.fake.sequence - 2)) is None
    assert asker.send(asker.frame(A, challenge=b"\x01\x02\x03\x04")) is None
    assert asker.send(asker.frame(codes.NO_NODE)) is None
    assert not bench.has(events.REQUESTED, A) and all(bench.powered)
    drops = bench.board.intakes[B].drops
    assert (drops[codes.DROP_NOT_ALLOWED], drops[codes.DROP_WRONG_ANSWER]) == (2, 1)


def test_a_failed_proof_is_told(bench: Bench) -> None:
    bench.supplies[A].welded = True
    asker = Asker(bench)
    asker.ask(A)
    bench.run(15000)
    assert asker.status(A)[:3] == ("failed", "on", True)
