"""What a skip may say: a component of the table, and none that should be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    assert components.problem("not installed: kicad-cli", {**EVERYTHING, components.WITHOUT: "kicad-cli"}) == ""


@pytest.mark.parametrize("reason", ["needs root", "could not import 'jinja2'", "unconditional skip", "some minutes"])
def test_where_everything_is_another_reason_is_a_failure_too(reason: str) -> None:
    assert "no reason" in components.problem(reason, EVERYTHING)
    assert "no reason" in components.problem(f"Skipped: {reason}", EVERYTHING)
    assert components.problem(reason, {}) == ""


def test_only_hardware_may_be_missing() -> None:
    assert {one["why"] for one in components.allowed()} == {"hardware in the loop"}
    for one in components.allowed():
        assert components.problem(f"Skipped: {one['begins']}give --port", EVERYTHING) == ""


WAYS = """
import pytest

@pytest.mark.skip(reason="a mark")
def test_mark(): ...

@pytest.mark.skipif("True", reason="a condition")
def test_condition(): ...

def test_import():
    pytest.importorskip("nobody_has_this")

@pytest.fixture
def absent():
    pytest.skip("a fixture")

def test_fixture(absent): ...

def test_fine(): ...
"""
WHOLE = 'import pytest\npytest.skip("a file", allow_module_level=True)\n'


@pytest.mark.parametrize("everything", [False, True])
def test_a_skip_by_any_way_is_judged(tmp_path: Path, everything: bool) -> None:
    root = components.HERE.parent
    (tmp_path / "test_ways.py").write_text(WAYS)
    (tmp_path / "test_whole.py").write_text(WHOLE)
    path = os.pathsep.join([str(root), str(root / "host"), str(root / "firmware")])
    variables = {**os.environ, "PYTHONPATH": path}
    variables.pop(components.COMPLETE, None)
    if everything:
        variables[components.COMPLETE] = "1"
    options = ["-q", "-c", "/dev/null", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    words = [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors", str(tmp_path)]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    # A skip before the test's own body is an error of its set-up, and that of a file one of collecting it.
    wanted = "1 failed, 1 passed, 4 errors" if everything else "1 passed, 5 skipped"
    assert done.stdout.splitlines()[-1].startswith(wanted), done.stdout


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
