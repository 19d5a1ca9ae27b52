"""`heartwire selftest`: what it asks, what it takes for an answer, what it reports, and that it always lets go."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from heartwire import selftest
from heartwire.journal import decode
from heartwire.selftest import FAILED, HEARD, NOT_TESTED, PASSED, SILENT, Phase, Rack, Snapshot
from heartwire_protocol import codes, events, settings
from tests.fakes.board import FakeBoard, MemoryChannel

Run = Callable[..., Any]


class Keyboard(io.StringIO):
    """A terminal with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def observing(board: FakeBoard) -> None:
    board.status["mode"] = "observe"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Type answers to the next questions."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Keyboard(text))


def notes(board: FakeBoard) -> list[tuple[str | None, str, str]]:
    """Return what was noted in the journal."""
    return [
        (body["node"], codes.CHECKS[body["check"]], codes.OUTCOMES[body["outcome"]])
        for body in board.asked
        if body["op"] == "test_note"
    ]


def count(board: FakeBoard, op: str) -> int:
    return sum(body["op"] == op for body in board.asked)


def happens(board: FakeBoard, *changes: dict[str, Any]) -> None:
    """Let each change of levels or verdicts happen at the third look after the one before."""
    left = list(changes)
    looks = [0]

    def inputs(_: dict[str, Any]) -> dict[str, Any]:
        looks[0] += 1
        if left and looks[0] % 3 == 0:
            for name, value in left.pop(0).items():
                if name in board.node_bodies:
                    board.node_bodies[name]["verdict"] = value
                else:
                    board.levels[name] = value
        return {"inputs": dict(board.levels), "outputs": {}}

    board.script["inputs"] = inputs


# Steps as data.


def test_a_phase_is_done_when_its_input_has_changed() -> None:
    phase = Phase("", "SENSE_A1", 0, selftest.ALL_SENSES)
    before = Snapshot({"SENSE_A1": 1, "SENSE_B1": 1}, {})
    assert phase.verdict(before, before) is None
    assert phase.verdict(before, Snapshot({"SENSE_A1": 0, "SENSE_B1": 1}, {})) == ""
    assert phase.verdict(before, Snapshot({"SENSE_A1": 0, "SENSE_B1": 0}, {})) == "SENSE_B1 moved too"


def test_the_plan_follows_the_settings() -> None:
    rack = Rack(("a", "b", "spare"), {}, {"node.a.senses": "2", "node.spare.fence": "none", "node.b.front": "reset"})
    titles = [step.title for step in selftest.plan(rack)]
    assert "SENSE_A2, feed 2 of a" in titles and "SENSE_B2, feed 2 of b" not in titles
    assert "front panel of b" in titles and "front panel of a" not in titles
    assert "power relay of b" in titles and "power relay of spare" not in titles
    assert "transfer relay moves to the other side and back" not in titles
    groups = [step.group for step in selftest.plan(rack)]
    assert groups == sorted(groups, key=list(selftest.GROUPS).index)
    assert [step.title for step in selftest.plan(rack, relays=["b"])] == ["power relay of b"]


def test_every_step_has_a_check_that_can_be_journaled() -> None:
    rack = Rack(("a",), {}, {"node.a.front": "power", "board.transfer": "1"})
    steps = selftest.plan(rack)
    assert {step.group for step in steps} == set(selftest.GROUPS)
    assert {step.check for step in steps} == set(codes.CHECKS)


def test_crossed_relays_are_no_pass() -> None:
    assert selftest.judge_relay("passed", ["SENSE_B1"])[0] == FAILED
    assert selftest.judge_relay("passed", []) == (PASSED, "")
    assert selftest.judge_relay("relay_idle", [])[0] == FAILED
    assert selftest.judge_relay("ended", [])[0] == NOT_TESTED
    assert selftest.judge_relay("of a newer board", []) == (FAILED, "of a newer board")


def test_the_journal_says_it_in_words(board: FakeBoard) -> None:
    assert decode(board.log(events.PROOF_PASSED, 1, a=231, b=27)).sentence() == (
        "relay test of b passed: off 231 ms after the command, on again 27 ms after the release"
    )
    assert "the relay did not act" in decode(board.log(events.PROOF_FAILED, 1, a=codes.PROOF_RELAY_IDLE)).sentence()
    assert decode(board.log(events.TESTED, a=2, b=1)).sentence() == "self-test of the board, button: failed"


# The command.


def test_without_anybody_only_what_needs_nobody_runs(board: FakeBoard, run: Run) -> None:
    result = run("selftest", "--yes", "--json")
    assert result.code == 15, result.err
    found = json.loads(result.out)
    outcomes = {row["title"]: row["outcome"] for row in found["checks"]}
    assert outcomes["line of a (alpha), heard only"] == PASSED
    assert outcomes["power relay of b (beta)"] == PASSED
    assert outcomes["button"] == NOT_TESTED and outcomes["whole path of a (alpha)"] == NOT_TESTED
    assert (found["passed"], found["failed"]) == (4, 0) and found["not_tested"] == len(found["checks"]) - 4
    assert count(board, "press") == 0 and count(board, "lamps") == 0


def test_all_that_was_asked_for_passed(board: FakeBoard, run: Run) -> None:
    result = run("selftest", "--yes", "--only", "lines,relays")
    assert result.code == 0, result.err
    assert "231" in result.out and "27" in result.out
    assert "4 passed, 0 failed, 0 not tested" in result.out
    assert "no command can test" in result.out
    assert notes(board) == [("a", "line", PASSED), ("b", "line", PASSED)], "relay tests the board journals itself"
    assert [body["seconds"] for body in board.asked if body["op"] == "proof"] == [5, 5]
    assert board.asked[-1]["op"] == "test_end"


@pytest.mark.parametrize("found", ["relay_idle", "sense_dead", "unclear", "slow", "no_return", "no_sense"])
def test_a_relay_that_fails(board: FakeBoard, run: Run, found: str) -> None:
    board.script["tests"] = {"phase": "rest", "node": "b", "number": 1, "result": found, "off_ms": None}
    result = run("selftest", "--yes", "--relay", "b")
    assert result.code == 15
    assert "failed: power relay of b (beta)" in result.err
    assert selftest.PROOF_WORDS[found] in result.out


def test_another_sense_that_moves_is_told(board: FakeBoard, run: Run) -> None:
    looks = [0]

    def tests(_: dict[str, Any]) -> dict[str, Any]:
        looks[0] += 1
        board.levels["SENSE_A1"] = int(looks[0] != 2)
        return {**board.relay_test, "phase": "cut" if looks[0] < 5 else "rest"}

    board.script["tests"] = tests
    result = run("selftest", "--yes", "--relay", "b")
    assert result.code == 15 and "SENSE_A1 moved too: crossed wires" in result.out


def test_a_board_that_never_tells_the_result(board: FakeBoard, run: Run) -> None:
    board.script["tests"] = {"phase": "cut", "node": "b", "number": 1, "result": "none"}
    result = run("selftest", "--yes", "--relay", "b")
    assert result.code == 15 and "does not tell" in result.out
    assert board.asked[-1]["op"] == "test_end"


def test_a_refusal_is_told_and_is_no_pass(board: FakeBoard, run: Run) -> None:
    board.script["proof"] = {"error": "refused", "reason": "not_in_maintenance"}
    result = run("selftest", "--yes", "--relay", "a")
    assert result.code == 15
    assert "refused" in result.out and "heartwire maintenance NODE" in result.err and "1 not tested" in result.out


def test_the_configure_key_signs_a_relay_test(board: FakeBoard, run: Run, tmp_path: Any) -> None:
    key = "33" * 32
    board.keys[codes.RIGHT_CONFIGURE] = key
    file = tmp_path / "host.keys"
    file.write_text(f"configure={key}\n")
    file.chmod(0o600)
    assert run("selftest", "--yes", "--relay", "b", "--key-file", str(file)).code == 0
    signed = [right for body, right in zip(board.asked, board.rights, strict=True) if body["op"] == "proof"]
    assert signed == [codes.RIGHT_CONFIGURE]


def test_commissioning_wants_observe_mode(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "auto"
    result = run("selftest", "--yes")
    assert result.code == 2 and "observe mode" in result.err
    assert count(board, "proof") == 0


def test_nobody_there_and_no_yes(board: FakeBoard, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    result = run("selftest")
    assert result.code == 2 and "--yes" in result.err
    assert count(board, "proof") == 0


@pytest.mark.parametrize(
    "words", [["--only", "relays,engine"], ["--relay", "c"], ["--in-maintenance"], ["--relay", "a", "--only", "lines"],
              ["--relay", "spare", "--yes"], ["--relay", "b", "--seconds", "11"]]
)  # fmt: skip
def test_what_makes_no_sense_is_refused(board: FakeBoard, run: Run, words: list[str]) -> None:
    assert run("selftest", *words, *([] if "--yes" in words else ["--yes"])).code == 2
    assert count(board, "proof") == 0


# In a maintenance window.


def test_in_maintenance_begins_it_tests_waits_and_ends_it(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "auto"
    result = run("selftest", "--relay", "b", "--in-maintenance", "--yes")
    assert result.code == 0, result.err
    sent = [(body["op"], body.get("seconds")) for body in board.asked if body["op"] in ("maintenance", "proof")]
    grace_s = int(settings.Settings().get("node.b.boot_grace_ms")) // 1000
    assert sent == [("maintenance", grace_s + 5 + 120), ("proof", 5), ("maintenance", 0)]


def test_a_window_that_is_on_already_is_left_alone(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "auto"
    board.node_bodies["b"]["maintenance_s"] = 7200
    assert run("selftest", "--relay", "b", "--in-maintenance", "--yes").code == 0
    assert count(board, "maintenance") == 0


def test_a_node_that_does_not_come_back_stays_in_maintenance(board: FakeBoard, run: Run) -> None:
    board.status["mode"] = "auto"

    def proof(body: dict[str, Any]) -> dict[str, Any]:
        board.node_bodies["b"]["verdict"] = "dead"
        return board._op_proof(body)

    board.script["proof"] = proof
    result = run("selftest", "--relay", "b", "--in-maintenance", "--yes")
    assert result.code == 15 and "did not come back" in result.out and "stays in maintenance" in result.err
    assert count(board, "maintenance") == 1


# With somebody at the rack.


def test_senses_one_by_one(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    answer("y\ny\n")
    happens(board, {}, {"SENSE_A1": 0}, {"SENSE_A1": 1}, {"SENSE_B1": 0}, {"SENSE_B1": 1})
    result = run("selftest", "--only", "senses")
    assert result.code == 0, result.err
    assert "switch feed 1 of a (alpha) off" in result.err
    assert notes(board) == [("a", "sense", PASSED), ("b", "sense", PASSED)]


def test_crossed_senses_fail(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    answer("y\nn\n")
    happens(board, {}, {"SENSE_B1": 0})
    result = run("selftest", "--only", "senses")
    assert result.code == 15 and "SENSE_B1 moved too" in result.out
    assert notes(board) == [("a", "sense", FAILED)]


def test_an_input_that_never_changes_fails_after_the_wait(
    board: FakeBoard, channel: MemoryChannel, run: Run, answer: Callable[[str], None]
) -> None:
    answer("y\n")
    began = channel.time
    result = run("selftest", "--only", "button", "--wait", "7")
    assert result.code == 15 and "BUTTON did not change within 7 s" in result.out
    assert 7 <= channel.time - began < 10


def test_unplugged_line_and_no_other(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    answer("y\ny\n")
    happens(board, {}, {"a": "late"}, {"a": "good"}, {"a": "late", "b": "late"})
    result = run("selftest", "--only", "lines")
    assert result.code == 15
    assert notes(board) == [("a", "line", PASSED), ("b", "line", FAILED)]
    assert "a moved too" in result.out


def test_lamps_are_judged_by_eye(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    answer("y\ny\ny\nn\n")
    result = run("selftest", "--only", "lamps")
    assert result.code == 15 and "1 passed, 1 failed" in result.out
    lit = [body["lit"] for body in board.asked if body["op"] == "lamps"]
    assert lit == [1, 0, 2, 0]


def test_a_step_may_be_skipped(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    answer("n\ny\ny\n")
    result = run("selftest", "--only", "relays")
    assert result.code == 15 and "1 passed, 0 failed, 1 not tested" in result.out
    assert [body["node"] for body in board.asked if body["op"] == "proof"] == ["b"]


@pytest.mark.parametrize(("said", "code"), [("y", 0), ("n", 15), ("", 15)])
def test_with_the_load_protected_a_person_says_whether_it_clicked(
    board: FakeBoard, run: Run, answer: Callable[[str], None], said: str, code: int
) -> None:
    board.script["tests"] = {"phase": "rest", "node": "b", "number": 1, "result": "relay_idle"}
    answer(f"y\n{said}\n")
    result = run("selftest", "--relay", "b")
    assert result.code == code, result.out
    assert notes(board) == [("b", "power relay", PASSED if code == 0 else FAILED)]


def test_a_dead_sense_is_no_matter_of_opinion(board: FakeBoard, run: Run, answer: Callable[[str], None]) -> None:
    board.script["tests"] = {"phase": "rest", "node": "b", "number": 1, "result": "sense_dead"}
    answer("y\ny\n")
    assert run("selftest", "--relay", "b").code == 15


def test_the_whole_path_wants_a_new_start_of_the_server(
    board: FakeBoard, run: Run, answer: Callable[[str], None]
) -> None:
    def proof(body: dict[str, Any]) -> dict[str, Any]:
        if body["node"] == "a":
            board.node_bodies["a"]["incarnation"] += 1
        return board._op_proof(body)

    board.script["proof"] = proof
    answer("y\ny\n")
    result = run("selftest", "--only", "path")
    assert result.code == 15 and "went on beating" in result.out
    assert notes(board) == [("a", "whole path", PASSED), ("b", "whole path", FAILED)]


def test_transfer_relay_goes_and_comes_back(board: FakeBoard, run: Run) -> None:
    board.settings, problems = settings.parse("board.transfer=1\n")
    assert not problems
    assert run("selftest", "--only", "transfer", "--yes").code == 0
    assert [body["node"] for body in board.asked if body["op"] == "transfer"] == ["b", "a"]
    board.script["transfer"] = {"ok": 1}
    result = run("selftest", "--only", "transfer", "--yes")
    assert result.code == 15 and "did not arrive at b" in result.out


def test_ctrl_c_releases_and_says_what_was_not_tested(board: FakeBoard, run: Run) -> None:
    def interrupt(op: str) -> None:
        if op == "tests":
            raise KeyboardInterrupt

    board.before_answer = interrupt
    result = run("selftest", "--yes", "--only", "lines,relays")
    assert result.code == 130
    assert board.asked[-1]["op"] == "test_end"
    assert "2 passed, 0 failed, 2 not tested" in result.out


def test_a_lost_board_ends_the_run_with_a_report(board: FakeBoard, channel: MemoryChannel, run: Run) -> None:
    def unplug(op: str) -> None:
        if op == "tests":
            channel.unplugged = True

    board.before_answer = unplug
    result = run("selftest", "--yes", "--only", "relays")
    assert result.code == 7 and "2 not tested" in result.out


def test_an_older_board_is_told_apart(board: FakeBoard, run: Run) -> None:
    board.script["inputs"] = {"error": "unknown_operation"}
    result = run("selftest", "--yes", "--only", "relays")
    assert result.code != 0 and count(board, "proof") == 0


def test_snapshot_values() -> None:
    now = Snapshot({"KEY": 1}, {"a": HEARD, "b": SILENT})
    assert (now.value("KEY"), now.value("b"), now.value("nothing")) == (1, SILENT, None)
