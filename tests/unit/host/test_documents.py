"""Documents lead to each other, and name commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from heartwire.cli.main import cli
from tests import golden

ROOT = golden.FOLDER.parent.parent
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"`heartwire ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")
SKIPPED = {".venv", "build", ".git", ".pytest_cache", "node_modules"}


def documents() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.md")) if not SKIPPED & set(path.relative_to(ROOT).parts)]


def links_of(path: Path) -> list[Path]:
    return [(path.parent / target).resolve() for target in LINK.findall(path.read_text()) if "://" not in target]


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.is_file():
            continue
        reached.add(path)
        waiting += links_of(path)
    assert [str(path.relative_to(ROOT)) for path in documents() if path.resolve() not in reached] == []


def test_every_link_leads_somewhere() -> None:
    broken = [(path.name, str(target)) for path in documents() for target in links_of(path) if not target.exists()]
    assert broken == []


@pytest.mark.parametrize(
    "name", ["README.md", "host/heartwire/share/runbook.md", "host/heartwire/agent/README.md", "firmware/README.md"]
)
def test_every_command_in_a_document_is_one(name: str) -> None:
    context = click.Context(cli)
    found = COMMAND.findall((ROOT / name).read_text())
    assert found
    for words in found:
        first, _, second = words.partition(" ")
        command = cli.get_command(context, first)
        assert command is not None, words
        if isinstance(command, click.Group) and second:
            assert command.get_command(context, second) is not None, words
