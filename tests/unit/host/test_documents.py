"""Documents lead to each other, and name commands that there are."""

from __future__ import annotations

import ast
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
    "name",
    [
        "README.md",
        "host/heartwire/share/runbook.md",
        "host/heartwire/agent/README.md",
        "firmware/README.md",
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "host/heartwire/share/manual").glob("*.md"))),
    ],
)
def test_every_command_in_a_document_is_one(name: str) -> None:
    context = click.Context(cli)
    found = COMMAND.findall((ROOT / name).read_text())
    assert found or "manual" in name
    for words in found:
        first, _, second = words.partition(" ")
        command = cli.get_command(context, first)
        assert command is not None, words
        if isinstance(command, click.Group) and second:
            assert command.get_command(context, second) is not None, words


HOP = re.compile(r"`(heartwire[\w/]*\.py)` `([\w.]+)`")


def names_in(path: Path) -> set[str]:
    """Return the functions, classes and methods of a module, methods with their class."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def test_each_hop_of_the_four_lives_is_in_the_code() -> None:
    text = (ROOT / "firmware" / "LIVES.md").read_text()
    hops = HOP.findall(text)
    assert len(hops) > 45
    for file, name in hops:
        folder = ROOT / ("host" if file.startswith("heartwire/") else "firmware")
        assert name in names_in(folder / file), f"{file} has no {name}"
    for file in re.findall(r"`(heartwire[\w/]*\.py)`", text):
        assert (ROOT / ("host" if file.startswith("heartwire/") else "firmware") / file).is_file(), file


def test_what_contributors_are_sent_to_is_there() -> None:
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for path in re.findall(r"`((?:firmware|host|tests|hw)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`(heartwire_protocol/\w+\.py)`", text):
        assert (ROOT / "firmware" / path).is_file(), path


def test_the_design_can_be_read_in_a_diff() -> None:
    prose = [line for line in (ROOT / "firmware" / "DESIGN.md").read_text().splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > 120] == []
