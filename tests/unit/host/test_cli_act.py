"""Commands that act: they name the target and ask, send one request, and map what comes back to words and exit
codes.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heartwire import keys
from heartwire_protocol import codes, events, reasons
from tests.fakes.board import FakeBoard, MemoryChannel
from tests.unit.host.scenes import Keyboard

Run = Callable[..., Any]


LOOKS = ("status", "plans", "node", "drops", "log", "settings")


def operations(board: FakeBoard) -> list[str]:
    return [body["op"] for body in board.asked if body["op"] not in LOOKS]


@pytest.mark.parametrize(
    ("words", "request_sent"),
    [
        (["fence", "a", "--yes"], {"op": "fence", "node": "a", "last": 0, "by": 7}),
        (["fence", "a", "--last", "--yes"], {"op": "fence", "node": "a", "last": 1, "by": 7}),
        (["switchover", "b", "--yes"], {"op": "switchover", "node": "b", "force": 0}),
        (["switchover", "b", "--force", "-y"], {"op": "switchover", "node": "b", "force": 1}),
        (["release", "a"], {"op": "release", "node": "a"}),
        (["clear", "a"], {"op": "clear", "node": "a"}),
        (["readopt", "a", "--yes"], {"op": "readopt", "node": "a"}),
        (["declare", "b", "--yes"], {"op": "declare", "node": "b"}),
        (["maintenance", "a", "30m"], {"op": "maintenance", "node": "a", "seconds": 1800}),
        (["maintenance", "board", "1h30m"], {"op": "maintenance", "node": None, "seconds": 5400}),
        (["maintenance", "b", "off"], {"op": "maintenance", "node": "b", "seconds": 0}),
        (["mode", "observe", "--yes"], {"op": "mode", "mode": "observe"}),
        (["restart", "--yes"], {"op": "restart"}),
    ],
)
def test_each_command_sends_one_request(
    board: FakeBoard, run: Run, words: list[str], request_sent: dict[str, Any]
) -> None:
    result = run(*words)
    assert result.code == 0, result.err
    assert [body for body in board.asked if body["op"] == words[0]] == [request_sent]
    assert result.out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["fence", "a", "--yes"], "a"),
        (["maintenance", "board", "2h"], "board"),
        (["clear", "a"], "a"),
        (["restart", "--yes"], None),
    ],
)
def test_what_was_done_comes_as_json(board: FakeBoard, run: Run, words: list[str], target: str | None) -> None:
    plain = run(*words).out.splitlines()
    found = json.loads(run(*words, "--json").out)
    assert found["words"] == plain
    assert (found["command"], found["target"], found["done"], found["exit_code"]) == (words[0], target, True, 0)
    assert (found["error"], found["next"]) == (None, None)
    assert operations(board) == [words[0]] * 2


def test_what_was_not_done_says_why_as_json_and_by_its_exit_code(board: FakeBoard, run: Run) -> None:
    board.script["fence"] = {"error": "refused", "reason": "last_powered"}
    result = run("fence", "a", "--yes", "--json")
    found = json.loads(result.out)
    assert (result.code, found["exit_code"], found["done"], found["words"]) == (9, 9, False, [])
    assert found["reason"] == "last_powered" and "--last" in found["next"]
    assert "refused" in found["error"] and "refused" in result.err


def test_every_command_that_acts_has_json(run: Run) -> None:
    for words in (
        "mode", "switchover", "cancel", "fence", "release", "clear", "readopt", "declare", "maintenance", "approve",
        "deny", "config apply", "config revert", "key roll", "update", "restart", "selftest", "agent fence",
        "agent busy", "agent ready", "agent planned-off", "agent crash-dump",
    ):  # fmt: skip
        assert "--json" in run(*words.split(), "--help").out, words


@pytest.mark.parametrize(
    "words", [["fence", "a"], ["switchover", "b"], ["readopt", "a"], ["declare", "a"], ["restart"]]
)
def test_dangerous_commands_ask_and_no_means_nothing_happened(
    board: FakeBoard, run: Run, answer: Callable[[str], None], words: list[str]
) -> None:
    answer("n\n")
    result = run(*words)
    assert result.code == 130
    assert "nothing was changed" in result.err
    assert operations(board) == []


def test_the_question_names_the_target(run: Run, answer: Callable[[str], None]) -> None:
    answer("y\n")
    result = run("fence", "a")
    assert result.code == 0
    assert "to be fenced: a (alpha), active, good, heard 0.3s ago, power on" in result.err
    assert "after it: b (beta)" in result.err
    assert "Cut the power of a (alpha) now?" in result.err
    assert result.out == "fence of a (alpha) has begun\n"


def test_without_a_terminal_and_without_yes_nothing_happens(
    board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    result = run("fence", "a")
    assert result.code == 2
    assert "--yes" in result.err
    assert operations(board) == []


def test_ctrl_c_at_the_question(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr("click.termui.visible_prompt_func", interrupt)
    result = run("fence", "a")
    assert (result.code, operations(board)) == (130, [])
    assert "Traceback" not in result.err


def test_ctrl_c_while_a_fence_is_under_way_says_that_it_may_have_happened(
    board: FakeBoard, channel: MemoryChannel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(op: str) -> None:
        if op == "fence":
            raise KeyboardInterrupt

    board.before_answer = interrupt
    result = run("fence", "a", "--yes")
    assert result.code == 130
    assert "may have happened" in result.err
    assert channel.closed


def test_a_refusal_says_why_and_exits_with_9(board: FakeBoard, run: Run) -> None:
    board.script["fence"] = {"error": "refused", "reason": "last_powered"}
    result = run("fence", "a", "--yes")
    assert result.code == 9
    assert result.err.splitlines()[-2:] == [
        "error: fence: refused: no other powered node fit to be active would remain",
        "next:  make another node fit first; `heartwire fence a --last` cuts it even so",
    ]


@pytest.mark.parametrize(
    ("error", "code"), [("not_allowed", 10), ("bad_mac", 10), ("storage", 12), ("unknown_operation", 8), ("busy", 9)]
)
def test_error_codes_of_the_board_become_exit_codes(board: FakeBoard, run: Run, error: str, code: int) -> None:
    board.script["release"] = {"error": error}
    assert run("release", "a").code == code


def test_no_answer_to_a_fence_is_outcome_unknown(board: FakeBoard, run: Run) -> None:
    board.silent_for = ["fence"]
    result = run("fence", "a", "--yes")
    assert result.code == 13
    assert "look before you repeat it" in result.err
    assert operations(board).count("fence") == 1


def test_unplugged_in_the_middle_of_a_command(board: FakeBoard, channel: MemoryChannel, run: Run) -> None:
    board.before_answer = lambda op: setattr(channel, "unplugged", op == "release")
    result = run("release", "a")
    assert result.code == 7
    assert "goes on guarding" in result.err


def test_mode_is_read_and_set(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "observe"
    assert json.loads(run("mode", "--json").out) == {"mode": "observe", "advisory": False}
    result = run("mode", "auto", "--yes")
    assert result.out == "rack-1 is in auto mode\n"
    assert run("mode").out.startswith("auto: ")


def test_arming_is_signed_with_the_configure_key(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    made = keys.write_new(tmp_path / "k", keys.HOST_RIGHTS)
    board.keys = {codes.number_of(codes.RIGHTS, name): key for name, key in made.items()}
    board.status["mode"] = "observe"
    assert run("--key-file", str(tmp_path / "k"), "mode", "auto", "--yes").code == 0
    assert 3 in board.rights


def test_the_wrong_key_exits_with_10_and_is_not_shown(board: FakeBoard, run: Run, tmp_path: Path) -> None:
    made = keys.write_new(tmp_path / "k", ("operate",))
    board.keys = {2: "00" * 32}
    result = run("release", "a", "--key-file", str(tmp_path / "k"))
    assert result.code == 10
    assert made["operate"] not in result.err + result.out
    assert "--key-file" in result.err.splitlines()[-1], "what the user can change"


@pytest.mark.parametrize("duration", ["soon", "0s", "30", "-5m"])
def test_maintenance_wants_a_span(board: FakeBoard, run: Run, duration: str) -> None:
    result = run("maintenance", "a", duration)
    assert result.code == 2
    assert board.asked == []


def standing(board: FakeBoard) -> None:
    board.status.update(phase="approval", target="a", successor="b", approval={"request": 4, "left_s": 500})


def test_approve_takes_the_standing_request(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    standing(board)
    answer("y\n")
    result = run("approve")
    assert result.code == 0
    assert "asked: fence a (alpha), then promote b (beta); 8m 20s left" in result.err
    assert {"op": "approve", "request": 4} in board.asked


def test_approve_of_another_request_is_refused_before_it_is_sent(board: FakeBoard, run: Run) -> None:
    standing(board)
    result = run("approve", "3", "--yes")
    assert result.code == 9
    assert "request 4 does" in result.err
    assert operations(board) == []


def test_deny_and_nothing_to_deny(board: FakeBoard, run: Run) -> None:
    standing(board)
    assert run("deny", "4").code == 0
    board.status["approval"] = None
    assert run("deny").code == 9


def test_wait_shows_what_happens_until_it_is_done(board: FakeBoard, run: Run) -> None:
    looks = iter(["watching", "fencing", "fencing", "watching", "watching"])

    def status(_: dict[str, Any]) -> dict[str, Any]:
        phase = next(looks)
        if phase == "fencing":
            board.log(events.FENCE_FIRED, node=0, reason=reasons.OPERATOR, a=1, b=5)
        return {**board.status, "phase": phase}

    board.script["status"] = status
    result = run("fence", "a", "--yes", "--wait")
    assert result.code == 0
    assert result.out.count("fence of a (alpha) fired") == 2


def test_wait_for_a_fence_that_fails(board: FakeBoard, run: Run) -> None:
    looks = iter(["watching", "fencing", "failed"])
    board.script["status"] = lambda body: {**board.status, "phase": next(looks), "held": "still_on"}
    result = run("fence", "a", "--yes", "--wait")
    assert result.code == 9
    assert "power sense did not go off" in result.err


def switching(board: FakeBoard, **node_b: Any) -> None:
    """Let a switchover to b succeed, after which b reports `node_b`."""

    def switchover(_: dict[str, Any]) -> dict[str, Any]:
        board.status.update(active="b", holder="b", epoch=8)
        board.node_bodies["b"].update(role="active", **node_b)
        board.log(events.SWITCHOVER_DONE, node=1, reason=reasons.SWITCHOVER, a=3)
        return {"ok": 1}

    board.script["switchover"] = switchover


def test_switchover_waits_until_the_services_run(board: FakeBoard, run: Run) -> None:
    switching(board, state="starting", flags=32)
    looks = iter(range(5))

    def node(body: dict[str, Any]) -> dict[str, Any]:
        if body["node"] == "b" and board.status["active"] == "b" and next(looks, None) is None:
            board.node_bodies["b"].update(state="healthy", flags=33)
        return {name: value for name, value in board.node_bodies[body["node"]].items() if name != "drops"}

    board.script["node"] = node
    result = run("switchover", "b", "--yes", "--wait")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "b (beta) runs its services"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"state": "degraded", "flags": 32}, "its services do not run: it reports degraded"),
        ({"state": "degraded", "flags": 33}, "reports degraded services"),
        ({"state": "starting", "flags": 32}, "its services do not run after 1m: it reports starting"),
    ],
)
def test_a_switchover_to_a_node_whose_services_do_not_run_has_not_succeeded(
    board: FakeBoard, run: Run, said: dict[str, Any], words: str
) -> None:
    switching(board, **said)
    result = run("switchover", "b", "--yes", "--wait")
    assert result.code == 18
    assert words in result.err
    assert "next:  `heartwire agent doctor`" in result.err
    assert run("status", "--check").code == 15


def test_a_switchover_that_ends_elsewhere_has_failed(board: FakeBoard, run: Run) -> None:
    result = run("switchover", "b", "--yes", "--wait")
    assert result.code == 9
    assert "b (beta) is not active" in result.err


@pytest.mark.parametrize(
    ("reason", "node", "step"),
    [
        ("not_fit", {"role": "quarantined"}, "heartwire clear b"),
        ("not_fit", {"verdict": "dead"}, "agent doctor"),
        ("not_fit", {"maintenance_s": 5}, "heartwire maintenance b off"),
        ("#99", {}, "`heartwire status`"),
    ],
)
def test_a_refused_switchover_says_what_to_do_first(
    board: FakeBoard, run: Run, reason: str, node: dict[str, Any], step: str
) -> None:
    board.node_bodies["b"].update(node)
    board.script["switchover"] = {"error": "refused", "reason": reason}
    result = run("switchover", "b", "--yes")
    assert result.code == 9
    assert step in result.err.splitlines()[-1]


def test_time(board: FakeBoard, run: Run) -> None:
    board.status["wall"] = None
    assert "no wall time" in run("time").out
    assert run("time", "--set").code == 0
    assert abs(json.loads(run("time", "--json").out)["offset_s"]) < 60
