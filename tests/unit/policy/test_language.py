"""The scenario language and its runner: what makes no sense is refused, what fails is told with its timeline."""

import json
from pathlib import Path

import pytest

from heartwire.cli.main import main
from heartwire.simulate import language, run, tiers

GOOD = "# A title.\nnodes a b\nstart auto with a\n0s a crashes\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0s a explodes", "a cannot explodes; known: crashes, "),
        ("0s a sense purple", "known: stuck-on, "),
        ("0s king dies", "there are a, b, spare, board"),
        ("0s operator cancel now", "cancel takes nothing"),
        ("allow idle", "because WORDS"),
        ("allow everything because it is so", "rules are two, cut"),
        ("expect by 5s nonsense a", "no such event"),
        ("expect by 5s late a because nonsense", "no such reason"),
        ("expect at 5s a mood good", "expect at TIME"),
        ("soon a crashes", "no such statement"),
        ("never late a before tomorrow", "is no time"),
        ("set board.late_ms 1", "must be"),
        ("0s operator switchover", "operator cannot switchover"),
        ("nodes b a", "nodes are"),
        ("tiers policy", "say why"),
        ("0s a sense2 stuck-on", "see two-feeds"),
        ("0s operator as configure cancel", "see host-keys"),
        ("0s operator as king cancel", "no such right"),
        ("0s operator set node.a.nothing 1", "operator cannot set"),
        ("0s operator set node.a.key 1", "operator cannot set"),
        ("0s operator set board.dead_ms", "operator cannot set"),
        ("0s operator time yesterday", "operator cannot time"),
        ("0s operator fence c", "operator cannot fence"),
        ("0s a line records", "a cannot line"),
        ("0s transfer moved spare", "transfer cannot moved"),
        ("at most some times late a", "at most|least N times"),
        ("expect at 5s led-pattern green", "no such pattern"),
        ("expect by 5s late a after 1s", "what is after"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, words: str) -> None:
    with pytest.raises(language.ScenarioError, match=words):
        language.parse(GOOD + line + "\n")


def test_a_failing_expectation_shows_the_timeline_around_it() -> None:
    scenario = language.parse(GOOD + "expect by 5s granted b\nnever late a\nexpect at 5s epoch 9\n")
    verdict = run.run(scenario, tiers.open_stage("policy", scenario))
    assert not verdict.held
    assert len(verdict.failures) == 3
    assert any("late a" in text and "it happened at 3.0" in text for text in verdict.failures)
    assert any("it is 1" in text for text in verdict.failures)


def verdict_of(lines: str) -> run.Verdict:
    scenario = language.parse(GOOD + lines)
    return run.run(scenario, tiers.open_stage("policy", scenario))


def test_events_are_counted_in_their_span() -> None:
    assert verdict_of("at most 1 times late a\nat least 1 times late a after 2s\nend 5s\n").held
    assert (
        "it happened 2 times at 3.000 s, "
        in verdict_of("1s a reboots\n10s a crashes\nat most 1 times late a\nend 15s\n").failures[0]
    )
    assert "it happened 1 times at 3.000 s" in verdict_of("at least 2 times late a\nend 5s\n").failures[0]
    assert verdict_of("at most 0 times late a after 4s\nend 5s\n").held


def test_what_only_fake_hardware_can_do_leaves_the_other_tiers_out() -> None:
    scenario = language.parse(GOOD + "0s board flash-full\n")
    assert scenario.tiers == ("policy",)
    assert "flash in memory" in tiers.obstacle("virtual", scenario)
    assert language.parse(GOOD).tiers == language.TIERS


def test_an_operator_without_the_right_key_is_told_so() -> None:
    lines = "host-keys operate\n1s operator as nobody switchover b\n"
    assert "refused: not_allowed" in verdict_of(lines).failures[0]


def test_a_law_of_physics_needs_no_expectation() -> None:
    scenario = language.parse("# Two.\nnodes a b\nstart auto with a\n0s b disobeys\n1s b serves\nend 2s\n")
    verdict = run.run(scenario, tiers.open_stage("policy", scenario))
    assert ["a and b serve at once" in text for text in verdict.failures] == [True]


def test_the_command_says_so_by_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.txt"
    path.write_text(GOOD + "expect by 5s late a\n")
    assert main(["simulate", str(path)]) == 0
    said = capsys.readouterr().out
    assert "ok     one.txt: A title." in said
    assert "1 of 1 hold" in said
    path.write_text(GOOD + "expect by 5s dead a\n")
    assert main(["simulate", str(path)]) == 15
    assert "0 of 1 hold" in capsys.readouterr().out
    assert main(["simulate", "--json", str(path)]) == 15
    assert not json.loads(capsys.readouterr().out)["held"]
    assert main(["simulate", "--tier", "nothing", str(path)]) == 2
    assert main(["simulate", "--list", "--tier", "virtual", str(path)]) == 0
    assert "1 of 1 files run on the virtual tier" in capsys.readouterr().out
    path.write_text(GOOD + "tiers policy because it is so\nexpect by 5s late a\n")
    assert main(["simulate", "--list", "--tier", "virtual", str(path)]) == 0
    assert "left out one.txt: it is so" in capsys.readouterr().out
    assert main(["simulate", "--tier", "virtual", str(path)]) == 2
    assert main(["simulate", "--jobs", "2", str(path), str(path)]) == 0
    assert main(["simulate", "--longest", "0.001", str(path)]) == 2
    assert "it takes" in capsys.readouterr().err
    assert main(["simulate", "--longest", "3600", str(path)]) == 0
    path.write_text("what?\n")
    assert main(["simulate", str(path)]) == 11
