"""What a skip may say: a component of the table, and none that should be there."""

from __future__ import annotations

import subprocess

import pytest

from tests import components

EVERYTHING = {components.COMPLETE: "1"}


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("Skipped: not installed: ngspice", ["ngspice"]),
        ("not installed: pacemaker, corosync", ["pacemaker", "corosync"]),
        ("not installed: kicad-cli 9 (this is 6.0.11)", ["kicad-cli"]),
        (
            "not installed: fence-agents (where it is split: fence-agents-common), which has metadata.rng",
            ["fence-agents"],
        ),
        ("not installed: labgrid; name a Python that has it", ["labgrid"]),
        ("not installed: heartwire[virtual]", ["heartwire[virtual]"]),
        ("needs root", []),
    ],
)
def test_the_components_that_a_reason_names(reason: str, names: list[str]) -> None:
    assert components.absent(reason) == names
    assert components.problem(reason, {}) == ""


def test_a_skip_for_what_should_be_there_is_a_failure() -> None:
    assert "should be here" in components.problem("not installed: ngspice", EVERYTHING)
    assert components.problem("needs root", EVERYTHING) == ""
    assert components.problem("not installed: kicad-cli", {**EVERYTHING, components.WITHOUT: "kicad-cli"}) == ""


def test_a_name_that_is_not_in_the_table_is_a_failure_everywhere() -> None:
    assert "not in tests/components.toml" in components.problem("not installed: a-tool-nobody-knows", {})


def test_every_row_names_tests_that_exist_and_a_source_or_a_reason() -> None:
    for name, row in components.load().items():
        assert all((components.HERE.parent / path).exists() for path in row["tests"]), name
        assert row["why"] if not row.get("ci", True) else any(row.get(kind) for kind in components.KINDS), name


@pytest.mark.parametrize("kind", components.KINDS)
def test_ci_installs_every_kind(kind: str) -> None:
    script = components.HERE.parent / ".ci" / "run"
    assert f"tests/components.py --{kind}" in script.read_text()
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert components.packages(kind)
