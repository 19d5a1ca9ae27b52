"""The worst-case table: no margin below zero, every number has a source and is used."""

import json
from pathlib import Path

import pytest
import spice
import worst_case


def test_no_margin_is_negative() -> None:
    assert worst_case.problems() == []


def test_a_third_diode_in_the_supply_of_build_a_fails() -> None:
    n = worst_case.numbers()
    n["supply.schottky_v"] *= 2
    failed = [row.name for row in worst_case.rows(n) if row.margin < 0]
    assert failed == ["relay module of build A, hot, at its DC+"]


def test_a_relay_that_needs_75_percent_fails_in_build_a() -> None:
    n = worst_case.numbers()
    n["coil.pull_in_v"] = 3.75
    assert [row.name for row in worst_case.rows(n) if row.margin < 0] == ["relay module of build A, hot, at its DC+"]


def test_every_number_has_a_source_and_moves_a_row() -> None:
    n = worst_case.numbers()
    before = worst_case.rows(n)
    for name, value in n.items():
        assert worst_case.sources().count(f"`{name}`") == 1
        assert worst_case.rows({**n, name: value * 1.1 + 0.01}) != before, name


def test_the_spread_is_seeded() -> None:
    assert worst_case.spread() == worst_case.spread()


@pytest.mark.parametrize(
    ("run", "name", "value", "row"),
    [
        ("arm-b-drops-stacked", "dropped_at_s", 3.71, "ARM drops after the last edge, revision B"),
        ("arm-a-holds-stacked", "weak_at_s", 1.19, "ARM holds over a stall, build A"),
    ],
)
def test_arm_out_of_its_time_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: str, name: str, value: float, row: str
) -> None:
    results = json.loads(spice.RESULTS.read_text(encoding="utf-8"))
    results[run][name] = value
    monkeypatch.setattr(spice, "RESULTS", tmp_path / "results.json")
    spice.RESULTS.write_text(json.dumps(results), encoding="utf-8")
    assert [sentence.split(": ")[1] for sentence in worst_case.problems()] == [row]


def test_a_trace_carries_what_the_standard_says() -> None:
    assert worst_case.trace_a(1.0) == pytest.approx(2.39, rel=0.01)
    assert worst_case.trace_a(0.25) < 1.0
