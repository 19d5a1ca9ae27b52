"""The pages: every command line in them is tested, every alarm has its part, every topic is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from heartwire import manual
from heartwire.cli.main import main
from heartwire.monitor import advice
from heartwire_protocol import alarms, events
from tests.manual import book
from tests.manual.parse import problem

BLOCKS = [block for page in book.pages() for block in book.blocks(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_says_how_it_is_tested(block: book.Block) -> None:
    if block.language not in book.TESTED:
        assert not block.how, "only these are tested: " + ", ".join(book.TESTED)
        return
    assert block.how in ("run", "parsed", "file")
    if block.language == "console":
        assert block.commands and not [line for line in block.lines if not line.startswith(("$ ", " "))]
    if block.how == "parsed":
        assert block.words, "the reason why it is not run"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.commands], ids=lambda block: block.place)
def test_every_command_line_is_taken_by_its_program(block: book.Block) -> None:
    for command in block.commands:
        assert problem(command) == "", command
        subprocess.run(["sh", "-n", "-c", command], check=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("heartwire statsu", "no command 'statsu'"),
        ("heartwire status --wacth", "No such option"),
        ("heartwire switchover", "Missing argument"),
        ("heartwire selftest --seconds 60", "60"),
        ("fence_heartwire --plugg a", "plugg"),
        ("rm -rf build", "no program"),
    ],
)
def test_a_wrong_command_line_is_seen(command: str, words: str) -> None:
    assert words in problem(command)


def test_each_alarm_of_the_board_has_its_steps() -> None:
    for _, name, *_ in alarms.ALARMS:
        part = manual.part_named(name)
        assert part is not None, f"host/heartwire/share/manual/alarms.md has no part {name}"
        assert re.search(r"^1\. \S", part, re.MULTILINE), f"{name}: no steps"
        assert manual.runbook_of(name) == f"heartwire help {name.replace('_', '-')}"


def test_each_problem_that_the_monitor_tells_has_its_steps() -> None:
    severe = {row[1]: row[2] for row in events.EVENTS}
    opened = {row.opens for name, row in advice.ADVICE.items() if row.opens and severe[name] >= events.WARNING}
    opened |= {row[2] for row in advice.OBSERVATIONS.values() if row[2]}
    assert len(opened) > 20
    missing = [
        name for name in opened - manual.QUIET if not re.search(r"^1\. ", manual.part_named(name) or "", re.MULTILINE)
    ]
    assert missing == []


def test_no_part_is_about_nothing() -> None:
    known = {row[1] for row in alarms.ALARMS} | {row.opens for row in advice.ADVICE.values()}
    known |= {row[2] for row in advice.OBSERVATIONS.values()}
    assert set(manual.parts()) <= known


def test_what_is_wrong_is_led_to_its_part_the_gravest_first() -> None:
    assert manual.runbooks(alarms.EXPOSED | alarms.FENCE_FAILED) == [
        "heartwire help fence-failed", "heartwire help exposed",
    ]  # fmt: skip
    assert manual.runbook_of("unproven") == "heartwire help fence-failed"
    assert manual.runbook_of("maintenance") == ""


@pytest.mark.parametrize("topic", manual.TOPICS, ids=lambda topic: topic.name)
def test_each_topic_is_printed_without_what_a_terminal_cannot_follow(
    topic: manual.Topic, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", topic.name]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# ") and "<!--" not in text
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\]\((?!https?:)", prose)


def test_each_page_of_the_folder_is_a_topic() -> None:
    assert {path for path in book.FOLDER.glob("*.md") if path.name != "index.md"} <= {
        manual.path_of(topic) for topic in manual.TOPICS
    }
    index = (book.FOLDER / "index.md").read_text()
    assert all(f"]({path.name}" in index for path in book.FOLDER.glob("*.md") if path.name != "index.md")


def test_help_lists_topics_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"topic": "install", "words": "servers, monitor host, Raspberry Pi"} in rows
    assert main(["help", "fence-failed", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["topic"] == "fence-failed" and row["text"].startswith("## fence_failed")


def test_links_become_topics_and_fenced_lines_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "[a](install.md#x) [b](../no.toml) ![c](d.svg) [e](https://e.org)\n```sh\n[a](install.md)\n```\n"
    assert manual._shown(text, "share/manual/wire.md") == (
        "a (`heartwire help install`) b (picture: c) e (https://e.org)\n```sh\n[a](install.md)\n```"
    )
