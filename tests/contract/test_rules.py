"""The rules stand once: whoever cites a number cites the table, and a ban is explained by the rule that it cites."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from heartwire_firmware import guards
from heartwire_protocol import events, reasons, rules

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = [row[0] for row in rules.RULES]
CITED = re.compile(r"\b[Rr]ules? (\d+(?:\.\d+)?)")
# What a person or a peer asks for is refused; all else is held.
ASKED = ("requested fence, when asked", "word that a node is off", "test of a power relay", "test of a front panel")


def cited() -> Iterator[tuple[str, str]]:
    """Yield (place, number) of each rule that a source names."""
    for folder in ("firmware", "host/heartwire", "tests/walk", "tests/unit/policy"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for number in CITED.findall(path.read_text(encoding="utf-8")):
                yield str(path), number
    for path in sorted((ROOT / "tests" / "walk").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "demand":
                yield str(path), ast.literal_eval(node.args[0])
    for path in sorted((ROOT / "tests" / "scenarios").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("covers "):
                for word in line.split()[1:]:
                    if re.fullmatch(r"\d+\.\d+", word):
                        yield str(path), word


def test_numbers_are_permanent() -> None:
    assert NUMBERS == [f"5.{place}" for place in range(1, len(NUMBERS) + 1)]


def test_each_citation_has_its_row() -> None:
    found = list(cited())
    assert len(found) > 150
    assert [one for one in found if one[1] not in NUMBERS] == []


def test_names_are_those_of_the_tables() -> None:
    known = {row[1] for row in reasons.REASONS}
    events_known = {row[1] for row in events.EVENTS}
    named: list[str] = []
    for row in rules.RULES:
        assert set(row[4]) <= events_known, row[0]
        for reason in row[5]:
            event, _, name = reason.rpartition("/")
            assert name in known and (not event or event in events_known), reason
            named.append(reason)
    assert len(named) == len(set(named)), "a reason of two rules explains nothing"


def test_a_ban_is_explained_by_the_rule_that_its_guard_cites() -> None:
    cites: dict[tuple[str, str], set[str]] = {}
    for table, rows in guards.TABLES:
        event = "refused" if table in ASKED else "held"
        for reason_number, guard in rows:
            number = re.match(r"(5\.\d+)[,:]", guard.__doc__ or "")
            assert number, f"{guard} cites no rule"
            cites.setdefault((event, reasons.NAMES[reason_number]), set()).add(number[1])
    for (event, reason), numbers in cites.items():
        assert rules.rule_of(event, reason) in numbers, f"{event} because {reason}"
    # Power that came back under an approval is held for the same reason as power that never went: the record of the
    # approval stands beside it.
    assert [one for one, numbers in cites.items() if len(numbers) > 1] == [("held", "powered")]


def test_what_nothing_says_has_no_name() -> None:
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "firmware").glob("heartwire_firmware/*.py"))
    for number, name, _ in reasons.REASONS:
        assert re.search(rf"\b{name.upper()}\b|\"{name}\"", said), name
        assert number not in reasons.RESERVED, name


def test_what_forbade_goes_before_what_was_forbidden() -> None:
    assert rules.rule_of("off_failed", "common_cause") == "5.4"
    assert rules.rule_of("off_failed", "none") == "5.7"
    assert rules.rule_of("granted", "common_cause") == "5.1"
    assert rules.rule_of("clock_set", "none") == ""
    with pytest.raises(KeyError):
        rules.sentence("5.99")
