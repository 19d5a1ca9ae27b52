"""Every scenario file on the policy tier: with fake nodes against its golden timeline, and with the product's agents.

The same files run on the other tiers, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heartwire.simulate import language, tiers
from tests.scenarios import golden

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.txt"))
# What cannot be shown with the product's agent, and why. One that holds all the same must not stand here.
NOT_WITH_AGENTS = {
    "service_never_starts_and_answers_no_drain": (
        "an agent that can neither start nor stop a service does not say verified_stopped, and a node that is heard is "
        "not cut for its service: the board tells, and waits for a person"
    ),
}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario_with_agents(path: Path) -> None:
    verdict = tiers.judge("policy", language.read(path), "agent")
    why = NOT_WITH_AGENTS.get(path.stem, "")
    assert verdict.held != bool(why), why or "\n".join(verdict.failures)


def test_what_cannot_run_with_agents_is_there() -> None:
    assert set(NOT_WITH_AGENTS) <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario(path: Path) -> None:
    verdict = tiers.judge("policy", language.read(path))
    differs = golden.difference(path.stem, golden.text_of(verdict))
    assert verdict.held and not differs, "\n".join([*verdict.failures, differs])


def test_every_golden_timeline_has_its_scenario() -> None:
    assert golden.orphans() == []


def test_a_changed_timeline_is_shown_line_by_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    assert "no golden timeline" in golden.difference("one", "first\nsecond\n")
    (tmp_path / "one.txt").write_text("first\nsecond\n")
    assert golden.difference("one", "first\nsecond\n") == ""
    shown = golden.difference("one", "first\nthird\n")
    assert "-second\n+third\n" in shown
    assert "make golden" in shown


def test_renewing_prints_what_changed_and_keeps_what_could_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(golden, "FOLDER", tmp_path / "golden")
    monkeypatch.setattr(golden, "HERE", tmp_path)
    scenario = tmp_path / "one.txt"
    scenario.write_text("# One.\nnodes a b\nstart auto with a\n0s a crashes\nexpect by 5s late a\n")
    assert golden.main([]) == 0
    assert "new    one" in capsys.readouterr().out
    assert "late a (" in golden.path_of("one").read_text()
    assert golden.main(["one"]) == 0
    assert "1 timelines, 0 of them renewed" in capsys.readouterr().out
    scenario.write_text("# One.\nnodes a b\nstart auto with a\n0s b crashes\nexpect by 5s late a\n")
    assert golden.main([]) == 1
    said = capsys.readouterr().out
    assert re.search(r"  \+ +2\.\d+ s  late b", said)
    assert "one does not hold" in said
    scenario.write_text("what?\n")
    assert golden.main([]) == 1
    assert "late b (" in golden.path_of("one").read_text()
    scenario.unlink()
    golden.main([])
    assert not golden.path_of("one").exists()
