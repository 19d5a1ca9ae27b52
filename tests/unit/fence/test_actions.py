"""Every action against a board whose troubles are chosen: only what the board reports afterwards is a success."""

from dataclasses import replace
from typing import Any

import pytest

from heartwire.errors import HeartwireError, NotAllowed, OutcomeUnknown, Refused, Unplugged, UsageProblem
from heartwire.fence.actions import Actions, FenceFailed
from heartwire.fence.options import Options
from heartwire_protocol import codes
from tests.unit.fence.fake_board import FakeBoard, FakeClock


class Call:
    """One call of the agent on a fake board."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = FakeBoard(self.clock)
        self.output = ""
        self.said: list[str] = []

    def run(self, action: str, plug: str = "a", **options: Any) -> int:
        """Run one action; return its exit code."""
        wanted = Options(action=action, plug=plug, **options)
        actions = Actions(self.board, wanted, self.clock, self.said.append)
        return actions.run(self._print)

    def _print(self, text: str) -> None:
        self.output += text


@pytest.fixture
def call() -> Call:
    """Return a call."""
    return Call()


def test_off_waits_for_the_proof(call: Call) -> None:
    call.board.proof_s = 5
    assert call.run("off") == 0
    assert call.clock.seconds >= 105
    assert call.board.commands == ["fence a"]


def test_off_of_an_off_node_asks_nothing(call: Call) -> None:
    call.board.change("a", fence="proven", power="off", relay=True)
    assert call.run("off") == 0
    assert call.board.commands == []


def test_off_that_is_never_proven_is_a_failure_in_time(call: Call) -> None:
    call.board.never = True
    with pytest.raises(FenceFailed, match="within 7 s"):
        call.run("off", power_timeout_s=7)
    assert 107 <= call.clock.seconds < 108


def test_off_that_fails_tells_the_boards_reason(call: Call) -> None:
    call.board.fails = "still_on"
    with pytest.raises(FenceFailed, match="its power sense did not go off"):
        call.run("off")


def test_a_node_whose_last_fence_failed_is_not_asked_again(call: Call) -> None:
    call.board.change("a", fence="failed", relay=True)
    with pytest.raises(FenceFailed, match="could not be proven off"):
        call.run("off")
    assert call.board.commands == []


@pytest.mark.parametrize("reason", ["last_powered", "observe_mode", "no_fence"])
def test_a_refusal_is_told_at_once_and_asked_once(call: Call, reason: str) -> None:
    call.board.board = replace(call.board.board, held=reason)
    with pytest.raises(FenceFailed, match="the board refuses to fence a \\(alpha\\)"):
        call.run("off")
    assert call.board.commands == ["fence a"]
    assert call.clock.seconds < 101


def test_last_is_passed_on_only_when_given(call: Call) -> None:
    assert call.run("off", last=True) == 0
    assert call.board.commands == ["fence a last"]


@pytest.mark.parametrize(("host", "node"), [("beta", "b"), ("BETA.example.net", "b"), ("gamma", ""), ("", "")])
def test_the_board_is_told_who_asks(call: Call, monkeypatch: pytest.MonkeyPatch, host: str, node: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert call.run("off") == 0
    number = codes.NODES.index(node) if node else codes.NO_NODE
    assert call.board.asked_by == [codes.TOOL_FENCE_AGENT << 2 | number]


def test_a_busy_board_is_waited_for_without_asking(call: Call) -> None:
    call.board.begin("b")
    call.clock.after(2, lambda: call.board.change("b", fence="idle", relay=False, power="on"))
    assert call.run("off") == 0
    assert call.board.commands == ["fence a"]


def test_another_fence_that_is_not_over_is_a_failure_without_asking(call: Call) -> None:
    call.board.change("b", fence="failed", power="on", relay=True)
    with pytest.raises(FenceFailed, match=r"the fence of b \(beta\) is not over"):
        call.run("off", power_timeout_s=3)
    assert call.board.commands == []


def test_lease_alone_is_never_off(call: Call) -> None:
    call.board.change("a", fence="assumed", power="unknown", relay=False)
    for action in ("off", "reboot"):
        with pytest.raises(FenceFailed, match="nothing keeps it off"):
            call.run(action, power_timeout_s=3)


def test_an_unknown_outcome_is_looked_at(call: Call) -> None:
    first = True

    def lost(node: str, *, last: bool = False, by: int = 3) -> dict[str, object]:
        nonlocal first
        call.board.commands.append(f"fence {node}")
        if first:
            first = False
            call.board.begin(node)
            raise OutcomeUnknown("fence: sent, but no answer")
        raise AssertionError("asked twice although the fence was under way")

    call.board.fence = lost  # type: ignore[method-assign]
    assert call.run("off") == 0
    assert call.board.commands == ["fence a"]


def test_a_request_that_is_dropped_is_a_failure(call: Call) -> None:
    call.board.fence = lambda node, *, last=False, by=3: {"ok": 1}  # type: ignore[method-assign]
    with pytest.raises(FenceFailed, match="could not be proven off"):
        call.run("off")
    assert call.clock.seconds < 107


def test_a_lost_connection_is_taken_up_again(call: Call) -> None:
    call.board.errors = [Unplugged("gone"), Unplugged("gone")]
    assert call.run("off") == 0
    assert call.board.reopened == 2


def test_a_connection_that_stays_lost_is_a_failure_in_time(call: Call) -> None:
    call.board.errors = [Unplugged("gone")] * 1000
    with pytest.raises(Unplugged):
        call.run("off", power_timeout_s=4)
    assert call.clock.seconds < 105


def test_a_missing_right_is_a_failure(call: Call) -> None:
    def refuse(node: str, *, last: bool = False, by: int = 3) -> dict[str, object]:
        raise NotAllowed("fence: the key does not have the right")

    call.board.fence = refuse  # type: ignore[method-assign]
    with pytest.raises(NotAllowed):
        call.run("off")


def test_reboot_gives_power_back_and_ends_the_quarantine(call: Call) -> None:
    assert call.run("reboot") == 0
    assert call.board.commands == ["fence a", "release a", "clear a"]
    assert call.board.table["a"].power == "on"


def test_reboot_waits_before_power_comes_back(call: Call) -> None:
    assert call.run("reboot", power_wait_s=20) == 0
    assert call.clock.seconds >= 121


@pytest.mark.parametrize("error", [Refused("no", reason="wrong_phase"), Refused("no", reason="x"), Unplugged("gone")])
def test_reboot_succeeds_once_off_is_proven(call: Call, error: HeartwireError) -> None:
    def release(node: str) -> dict[str, object]:
        raise error

    call.board.release = release  # type: ignore[method-assign]
    assert call.run("reboot") == 0
    assert call.board.table["a"].power == "off"
    assert "could not be given back" in call.said[-1]


def test_reboot_whose_off_fails_never_releases(call: Call) -> None:
    call.board.fails = "still_on"
    with pytest.raises(FenceFailed):
        call.run("reboot")
    assert call.board.commands == ["fence a"]


def test_on_of_a_fenced_node(call: Call) -> None:
    call.board.change("a", fence="proven", power="off", relay=True, role="quarantined")
    assert call.run("on") == 0
    assert call.board.commands == ["release a", "clear a"]


def test_on_leaves_the_quarantine_where_the_board_decides(call: Call) -> None:
    call.board.board = replace(call.board.board, mode="auto")
    call.board.change("a", fence="proven", power="off", relay=True, role="quarantined")
    assert call.run("on") == 0
    assert call.board.commands == ["release a"]


def test_on_of_a_running_node_asks_nothing(call: Call) -> None:
    assert call.run("on") == 0
    assert call.board.commands == []


def test_on_without_mains_is_a_failure(call: Call) -> None:
    call.board.change("a", power="off")
    with pytest.raises(FenceFailed, match="has no power after 2 s"):
        call.run("on", power_timeout_s=2)


def test_on_without_a_sense_ends_with_the_closed_relay(call: Call) -> None:
    call.board.change("a", fence="assumed", power="unknown", relay=True)
    call.board.clock.after(0.1, lambda: None)
    call.board.release = lambda node: call.board.change(node, fence="idle", relay=False) or {}  # type: ignore
    assert call.run("on") == 0


@pytest.mark.parametrize(
    ("fence", "power", "code"), [("idle", "on", 0), ("proven", "off", 2), ("assumed", "unknown", 2)]
)
def test_status(call: Call, fence: str, power: str, code: int) -> None:
    call.board.change("a", fence=fence, power=power, relay=fence != "idle")
    assert call.run("status") == code
    assert call.output == f"Status: {'OFF' if code else 'ON'}\n"


def test_status_that_cannot_be_told_is_an_error(call: Call) -> None:
    call.board.change("a", power="unknown")
    with pytest.raises(FenceFailed, match="cannot say"):
        call.run("status")


def test_lists(call: Call) -> None:
    call.board.change("b", fence="proven", power="off", relay=True)
    assert call.run("list", "") == 0
    assert call.run("list-status", "") == 0
    assert call.output == "a,alpha\nb,beta\na,alpha,on\nb,beta,off\n"


def test_monitor(call: Call) -> None:
    assert call.run("monitor", "") == 0
    call.board.board = replace(call.board.board, mode="observe")
    with pytest.raises(FenceFailed, match="observe mode"):
        call.run("monitor", "")


@pytest.mark.parametrize(("mode", "only_confirm"), [("fencer", True), ("observe", True), ("observe", False)])
def test_monitor_notices_a_mode_in_which_nothing_would_come(call: Call, mode: str, only_confirm: bool) -> None:
    call.board.board = replace(call.board.board, mode=mode)
    with pytest.raises(FenceFailed, match=f"{mode} mode"):
        call.run("monitor", "", only_confirm=only_confirm)


@pytest.mark.parametrize("action", ["on", "off", "reboot", "status"])
def test_an_unknown_node_is_never_touched(call: Call, action: str) -> None:
    with pytest.raises(UsageProblem, match="no such node"):
        call.run(action, "gamma")
    assert call.board.commands == []


def test_only_confirm_waits_for_the_boards_own_fence(call: Call) -> None:
    call.clock.after(3, lambda: call.board.begin("a"))
    assert call.run("off", only_confirm=True) == 0
    assert call.board.commands == []
    assert call.clock.seconds >= 104


@pytest.mark.parametrize("waits_for", ["the board's own fence", "another fence"])
def test_a_program_that_waits_leaves_the_port_to_others(call: Call, waits_for: str) -> None:
    seen: list[bool] = []
    for tenths in range(1, 30):
        call.clock.after(tenths / 10, lambda: seen.append(call.board.open))
    if waits_for == "another fence":
        call.board.change("b", fence="failed", relay=True)
    with pytest.raises(FenceFailed):
        call.run("off", only_confirm=waits_for != "another fence", power_timeout_s=3)
    assert seen.count(False) > len(seen) / 2


def test_only_confirm_never_asks_for_a_fence(call: Call) -> None:
    for action in ("off", "reboot"):
        with pytest.raises(FenceFailed, match="within 5 s"):
            call.run(action, only_confirm=True, power_timeout_s=5)
    assert call.board.commands == []


def test_only_confirm_never_gives_power_back(call: Call) -> None:
    call.board.change("a", fence="proven", power="off", relay=True)
    assert call.run("reboot", only_confirm=True) == 0
    with pytest.raises(FenceFailed):
        call.run("on", only_confirm=True, power_timeout_s=1)
    assert call.board.commands == []
