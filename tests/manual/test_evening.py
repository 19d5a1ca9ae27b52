"""A stranger's first evening, from a wheel of this tree in a fresh environment, by the page's own lines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manual import evening
from tests.manual.walk import Stuck

pytestmark = pytest.mark.virtual
# Of the page's promise, for the programs alone; it leaves a person the rest of ten minutes to read.
LIMIT_S = 600.0


def test_the_page_is_so(tmp_path: Path) -> None:
    try:
        evening.build_wheel(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr.decode())
    without = {} if shutil.which("prometheus") else {"prometheus": "not installed: promtool"}
    said: list[str] = []
    try:
        total_s = evening.walk(tmp_path, said.append, without=without)
    except Stuck as error:
        if "No matching distribution found" in str(error) or "Connection" in str(error):
            pytest.skip(f"no package index is reached: {str(error).splitlines()[-2]}")
        raise
    assert len(said) == 7
    assert total_s < LIMIT_S, said
    assert list((tmp_path / "mails" / "new").iterdir())
    assert (tmp_path / "venv/share/man/man1/heartwire.1").exists()
    assert "<svg" in (tmp_path / "failover.svg").read_text()
    done = subprocess.run(
        [tmp_path / "venv/bin/heartwire", "help", "hardware"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("# Heartwire hardware")
