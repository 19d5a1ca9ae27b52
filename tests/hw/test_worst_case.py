"""The worst-case table: no margin below zero, every number has a source and is used."""

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
