"""fence_heartwire over a node's own line: its actions, the product's agent and the board's firmware in virtual time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heartwire import board_id
from heartwire.agent.errors import ControlError
from heartwire.errors import HeartwireError, NoAnswer, OtherBoard, OutcomeUnknown, Refused, UsageProblem
from heartwire.fence import agent_line, reach
from heartwire.fence.actions import Actions, FenceFailed
from heartwire.fence.agent_line import AgentLine
from heartwire.fence.options import Options
from heartwire_protocol import auth, codes, events, framing, messages, reasons
from tests.fakes.bench import KEYS
from tests.unit.agent.agent_bench import AgentBench

ADDRESS = "agent:/run/nowhere/control"


class VirtualClock(reach.Clock):
    """Waiting lets the bench run."""

    def __init__(self, world: AgentBench) -> None:
        self._bench = world.bench

    def now(self) -> float:
        return self._bench.ms / 1000

    def sleep(self, seconds: float) -> None:
        self._bench.run(max(1, round(seconds * 1000)))


class Call:
    """fence_heartwire on node b, whose agent holds its line."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, **world: Any) -> None:
        self.world = AgentBench(directory, **world)
        self.clock = VirtualClock(self.world)
        self.output = ""
        self.said: list[str] = []
        self.timeouts: list[float] = []

        def exchange(path: Path, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
            assert str(path) == "/run/nowhere/control"
            return self.world.ask(self.world.agent.handle, request, round(timeout_s * 1000))

        monkeypatch.setattr(agent_line, "exchange", exchange)

    def run(self, action: str, plug: str = "a", **options: Any) -> int:
        wanted = Options(action=action, plug=plug, board=ADDRESS, **options)
        with reach.open_board(ADDRESS, None, 10.0, self.clock) as board:  # type: ignore[arg-type]
            return Actions(board, wanted, self.clock, self.said.append).run(self._print)

    def _print(self, text: str) -> None:
        self.output += text

    def journal(self, event: int) -> list[tuple[int, int, int, int]]:
        # What was noted becomes durable in its slot, a little later.
        bench = self.world.bench
        bench.run_until(lambda: not bench.board.journal.waiting, 5000)
        rows = bench.journal()
        about_a = [row for row in rows if row["event"] == event and row["node"] == codes.NODE_A]
        return [(row["node"], row["reason"], row["a"], row["b"]) for row in about_a]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    yield Call(tmp_path, monkeypatch)


def test_off_is_proven_and_its_requester_is_in_the_journal(call: Call) -> None:
    assert call.run("off") == 0
    assert not call.world.bench.powered[0]
    assert call.journal(events.OFF_PROVEN)[0][0] == 0
    requester = codes.TOOL_FENCE_AGENT << 2 | codes.NODE_B
    assert call.journal(events.REQUESTED) == [(0, reasons.PEER, 12, requester << 1)]


def test_the_fence_begins_within_a_heartbeat(call: Call) -> None:
    began = call.world.bench.ms
    call.run("off")
    fired = next(row[0] for row in call.world.bench.happened if row[1] == events.FENCE_FIRED)
    assert fired - began < 3000, "virtual ms"


def test_off_of_an_off_node_asks_nothing(call: Call) -> None:
    call.run("off")
    assert call.run("off") == 0
    assert len(call.journal(events.REQUESTED)) == 1


def test_reboot_succeeds_once_off_is_proven_and_says_that_it_cannot_give_power_back(call: Call) -> None:
    assert call.run("reboot") == 0
    assert not call.world.bench.powered[0]
    assert "cannot give a its power back" in call.said[-1]


def test_on_can_only_be_confirmed(call: Call) -> None:
    assert call.run("on") == 0
    call.run("off")
    with pytest.raises(Refused, match="cannot give a its power back"):
        call.run("on", power_timeout_s=3)


def test_status_says_on_off_and_cannot_say(call: Call) -> None:
    assert (call.run("status"), call.output) == (0, "Status: ON\n")
    assert call.run("status", "b") == 0, "its own agent answers"
    call.run("off")
    call.output = ""
    assert (call.run("status"), call.output) == (2, "Status: OFF\n")


def test_status_of_a_sense_that_reads_off_cannot_say(call: Call) -> None:
    call.world.bench.supplies[0].sense_stuck = False  # its mains failed, or the sense did
    call.world.bench.run(3000)
    with pytest.raises(FenceFailed, match="cannot say"):
        call.run("status")


def test_lists_name_what_can_be_fenced_from_here(call: Call) -> None:
    assert call.run("list", "") == 0
    assert call.run("list-status", "") == 0
    assert call.output == "a,\na,,on\n"


def test_monitor(call: Call) -> None:
    assert call.run("monitor", "") == 0


def test_monitor_fails_where_a_fence_would_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FenceFailed, match="observe mode"):
        Call(tmp_path, monkeypatch, mode=codes.MODE_OBSERVE).run("monitor", "")
    with pytest.raises(Refused, match="do not let node b ask") as refusal:
        Call(tmp_path, monkeypatch, text="").run("monitor", "")
    assert "may_fence" in refusal.value.next_step


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("node.b.may_fence=1\nnode.a.fence=none\n", codes.MODE_FENCER, "has no fence configured"),
        ("node.b.may_fence=1\n", codes.MODE_OBSERVE, "observe mode"),
        ("", codes.MODE_FENCER, "do not let node b ask"),
    ],
)
def test_a_refusal_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int, words: str
) -> None:
    call = Call(tmp_path, monkeypatch, text=text, mode=mode)
    with pytest.raises(HeartwireError, match=words):
        call.run("off")
    assert all(call.world.bench.powered)


def test_what_a_line_may_not_ask(call: Call) -> None:
    with pytest.raises(FenceFailed, match="only an operator may override"):
        call.run("off", last=True)
    with pytest.raises(FenceFailed, match="cannot have itself fenced"):
        call.run("off", "b")
    with pytest.raises(UsageProblem, match="no such node"):
        call.run("off", "spare")
    assert all(call.world.bench.powered)


def test_a_welded_relay_is_a_failure(call: Call) -> None:
    call.world.bench.supplies[0].welded = True
    with pytest.raises(FenceFailed, match="could not be proven off"):
        call.run("off")


def test_a_silent_board_is_a_failure_in_time(call: Call) -> None:
    call.world.bench.cut.add(1)
    began = call.clock.now()
    with pytest.raises(NoAnswer, match="does not answer heartbeats"):
        call.run("off", power_timeout_s=7)
    assert call.clock.now() - began < 13


def test_a_lost_reply_to_the_fence_is_asked_for_again_and_fences_once(call: Call) -> None:
    world = call.world
    replies = []

    def loses(kind: int, payload: bytes) -> bool:
        lost = kind == messages.FENCE_REPLY and not payload[0] & messages.FENCE_QUESTION
        if lost:
            replies.append(payload)
        return lost

    world.loses = loses
    assert call.run("off") == 0
    assert 1 < len(replies) <= 7  # for five seconds, behind each heartbeat
    assert any("did not reply" in words for words in call.said)
    assert len(call.journal(events.REQUESTED)) == 1
    assert len(call.journal(events.FENCE_FIRED)) == 1


def test_a_forged_or_repeated_reply_is_not_believed(call: Call) -> None:
    world = call.world
    layout = messages.layout_of(messages.FENCE_REPLY)

    def forge(sequence: int, key: bytes) -> bytes:
        shown = codes.FENCES.index("proven") | codes.POWERS.index("off") << 3 | 1 << 5 | codes.MODE_FENCER << 6
        body = layout.pack(target=16 | 8, result=2, reason=0, target_is=shown, sequence=sequence, mac=bytes(8))[:-8]
        incarnation = world.agent.incarnation.number.to_bytes(4, "little")
        return bytes(framing.encode(messages.FENCE_REPLY, body + auth.Signer(key).mac(b"P", incarnation, body)))

    def injected(data: bytes, hear: Any = world.bench.nodes[1].hear) -> None:
        sequence = world.agent.incarnation.sequence
        hear(forge(sequence, bytes(32)) + forge(sequence - 1, KEYS[1]) + data)

    world.bench.nodes[1].hear = injected  # type: ignore[method-assign]
    assert (call.run("status"), call.output) == (0, "Status: ON\n")
    assert world.agent.fencing.refused_replies >= 2


def test_an_agent_without_a_key_says_so(call: Call) -> None:
    call.world.agent.fencing._signer = None
    with pytest.raises(NoAnswer, match="only with a key"):
        call.run("off", power_timeout_s=1)


@pytest.mark.parametrize(
    "wrong",
    [{"target": "c"}, {"target": "a", "seconds": 0}, {"target": "a", "seconds": True}, {"target": "a", "seconds": 999},
     {"target": "a", "seconds": 5, "tool": 77}],
)  # fmt: skip
def test_wrong_requests_are_refused(call: Call, wrong: dict[str, Any]) -> None:
    assert "must be" in call.world.ask(call.world.agent.handle, {"do": "fence", **wrong})["error"]
    assert all(call.world.bench.powered)


def test_an_unknown_outcome_is_said_as_such(call: Call) -> None:
    line = AgentLine.open(ADDRESS, codes.TOOL_COMMAND, 3.0)
    call.world.loses = lambda kind, payload: kind == messages.FENCE_REPLY
    with pytest.raises(OutcomeUnknown, match="did not reply"):
        line.fence("a")


def test_another_board_than_the_one_of_the_environment_is_asked_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(board_id.ENVIRONMENT, "1" * 16)
    with pytest.raises(OtherBoard):
        call.run("off")
    assert all(call.world.bench.powered)


def test_no_agent_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no agent answers"):
        AgentLine.open(f"agent:{tmp_path}", codes.TOOL_COMMAND)
