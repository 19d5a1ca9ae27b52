"""The table of what real tools do: whole, long enough, and each row held by something that is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import reality

ROWS = reality.rows()


def test_there_are_enough_rows_and_none_twice() -> None:
    assert len(ROWS) >= 40
    assert len({(row.tool, row.does) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_what_holds_a_row_is_there_and_a_command_shows_it(row: reality.Row) -> None:
    assert row.held_by, "nothing holds it"
    for name in row.held_by:
        path = reality.path_of(name)
        assert path.is_file(), f"{name} is not there"
        if path.name.startswith("test_"):
            assert "def test_" in path.read_text(encoding="utf-8"), f"{name} has no test"
    assert row.commands, "no command shows it again"
    assert any(path_name.startswith(("findings/", "scenarios/")) or "/test_" in path_name for path_name in row.held_by)


def test_a_row_is_run() -> None:
    """The row of pip's markers, as its test needs nothing."""
    row = next(row for row in ROWS if row.held_by == ("unit/host/test_packaging.py",))
    done = subprocess.run(
        [sys.executable, "-m", "tests.reality", str(row.number)],
        cwd=reality.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert row.does in done.stdout
    assert " passed" in done.stdout
