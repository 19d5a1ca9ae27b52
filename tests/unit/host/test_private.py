"""Secret files of somebody else are refused; root runs no program that somebody else can change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heartwire import keys, private
from heartwire.cli.main import main
from heartwire.errors import BadConfig
from heartwire.monitor import settings

SOMEBODY = 4711


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with its interpreter in a virtual environment, in which this user stands for root."""
    monkeypatch.setattr(private, "ROOT", os.geteuid())
    for folder in ("bin", "lib/python3.11/site-packages/heartwire"):
        (tmp_path / "venv" / folder).mkdir(parents=True)
    python = tmp_path / "venv/bin/python3"
    python.write_bytes(b"\x7fELF")
    program = tmp_path / "venv/bin/heartwire"
    program.write_text(f"#!{python}\nimport heartwire\n")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    # Above it stand folders of the test runner, whoever's they are.
    real = private._changeable
    monkeypatch.setattr(
        private, "_changeable", lambda path, found: real(path, found) if tmp_path in [path, *path.parents] else ""
    )
    return program


def test_a_program_of_roots_is_taken(trusted: Path) -> None:
    assert private.why_not_roots(trusted) == ""


@pytest.mark.parametrize(
    "loose",
    [
        "venv",
        "venv/bin",
        "venv/bin/heartwire",
        "venv/bin/python3",
        "venv/lib",
        "venv/lib/python3.11/site-packages",
        "venv/lib/python3.11/site-packages/heartwire",
        "",
    ],
)
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_each_part_that_others_can_write_is_named(trusted: Path, tmp_path: Path, loose: str, mode: int) -> None:
    (tmp_path / loose).chmod(mode)
    assert private.why_not_roots(trusted).startswith(f"{tmp_path / loose} may be written by anybody")


def test_a_link_is_followed_and_its_target_counts(trusted: Path, tmp_path: Path) -> None:
    link = tmp_path / "heartwire"
    link.symlink_to("venv/bin/../bin/heartwire")
    assert private.why_not_roots(link) == ""
    trusted.chmod(0o757)
    assert "may be written by anybody" in private.why_not_roots(link)
    link.unlink()
    link.symlink_to(link)
    assert private.why_not_roots(link) == "", "nothing is behind it, and nothing is run"


def test_what_belongs_to_somebody_else_is_named(trusted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(trusted, SOMEBODY, SOMEBODY)
    else:
        monkeypatch.setattr(private, "ROOT", SOMEBODY)
    assert "belongs to uid" in private.why_not_roots(trusted)


def test_install_refuses_with_the_reason_and_writes_nothing(
    trusted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted.parent.chmod(0o777)
    program = str(trusted.relative_to(tmp_path))
    for command in ("agent", "monitor"):
        assert main([command, "install", "--root", str(tmp_path), "--program", f"/{program}"]) == 5
        words = " ".join(capsys.readouterr().err.split())
        assert "root would run it" in words and "may be written by anybody" in words
    assert not (tmp_path / "etc").exists()
    trusted.parent.chmod(0o755)
    assert main(["agent", "install", "--root", str(tmp_path), "--program", f"/{program}"]) == 0


def test_a_secret_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text("operate=" + "5a" * 32 + "\n")
    path.chmod(0o600)
    assert keys.read_file(path)
    assert settings.secret_lines(path)
    monkeypatch.setattr(private, "ROOT", SOMEBODY)
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    monkeypatch.setenv("SUDO_UID", "1")
    for read in (keys.read_file, settings.secret_lines):
        with pytest.raises(BadConfig, match="belongs to another user") as found:
            read(path)
        assert "5a5a" not in found.value.words + found.value.next_step
    monkeypatch.setenv("SUDO_UID", str(path.stat().st_uid))
    assert keys.read_file(path), "who calls sudo brings his own file"
