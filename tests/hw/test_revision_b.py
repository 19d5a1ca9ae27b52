"""Revision B: changes that do not fit are refused, the rules hold it, planted faults show, plugs are not alike."""

import copy
from typing import Any

import mutants
import netlist as circuit_netlist
import pins as pin_list
import pytest
import revision
import rules
import spice
from amounts import amount
from netlist import Netlist


@pytest.fixture
def second() -> Netlist:
    """Return the netlist of revision B, to be changed at will."""
    return revision.load("B")


def test_the_rules_hold_it(pins: list[pin_list.Pin], second: Netlist) -> None:
    assert rules.circuit(pins, second, pin_list.MODULE_PIN) == []


def test_the_rules_catch_planted_faults_of_every_kind(second: Netlist) -> None:
    counts, missed = mutants.score(second)
    assert len(counts) == 6
    for kind, (caught, planted) in counts.items():
        assert caught >= mutants.LEAST * planted >= 90, (kind, missed)
    assert len(missed) <= 2, missed


@pytest.mark.parametrize(
    ("end", "net", "words"),
    [
        ("R781.1", "+5V", "net +5V"),
        ("D211.2", "GND", "D211.2 joins GND to the island of line A"),
        ("C217.2", "GND", "C217.2 joins GND to the island of line A"),
        ("D314.2", "GND", "D314.2 joins GND to the island of 24 V"),
        ("R413.1", "+3V3", "net +5V_ARMED"),
    ],
)
def test_a_moved_pin_is_caught(pins: list[pin_list.Pin], second: Netlist, end: str, net: str, words: str) -> None:
    ref, _, pin = end.partition(".")
    second.pins[ref, pin] = net
    assert any(words in sentence for sentence in rules.circuit(pins, second, pin_list.MODULE_PIN))


def test_a_pull_down_of_10k_is_caught(pins: list[pin_list.Pin], second: Netlist) -> None:
    second.values["R312"] = "10k"
    assert "POWER_A: no pull-down of 5.6k or less at the gate" in rules.actuators_fail_safe(pins, second)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("remove", ["R999"], "R999 is not in revision A"),
        ("value", {"R999": "1k"}, "R999 is not in revision A"),
        ("move", {"R301.9": "GND"}, "is not there to be moved"),
        ("more_pins", {"J31": {"1": "GND"}}, "J31.1 is there already"),
        ("add", [{"parts": [["R301", "1k", ["GND", "+5V"]]]}], "R301 is there already"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(key: str, value: Any, words: str) -> None:
    document: dict[str, Any] = {"remove": [], "value": {}, "move": {}, "more_pins": {}, "add": []}
    with pytest.raises(revision.RevisionError, match=words):
        revision.changed(circuit_netlist.load(), {**document, key: value})


def test_no_plug_fits_another_function(second: Netlist, monkeypatch: pytest.MonkeyPatch) -> None:
    assert revision.terminals_problems(second) == []
    document = copy.deepcopy(revision._document())
    document["terminal"][0].update(pitch_mm=3.5)
    monkeypatch.setattr(revision, "_document", lambda: document)
    assert revision.terminals_problems(second) == ["J51, J52, J53, J54, J55: its plug fits J30"]


def test_every_part_but_common_ones_has_a_makers_number(second: Netlist) -> None:
    rows = [line.split(" | ") for line in revision.parts().splitlines()[2:]]
    assert sum(int(row[0].strip("| ")) for row in rows) == len(
        [ref for ref in second.values if not ref.startswith(("J", "TP"))]
    )
    for row in rows:
        assert row[2].strip(), row
        assert row[3] not in ("", "any") or row[4][0] in "RCD", row


def test_the_simulated_pump_has_its_values(second: Netlist) -> None:
    wanted = {"PUMP": "C301", "BLEED": "R302", "PULL": "R304", "HOLD": "R305"}
    found = [case for case in spice.cases() if case.name.startswith("arm-b-")]
    assert len(found) == 2
    for case in found:
        for name, ref in wanted.items():
            assert amount(case.params[name]) == pytest.approx(amount(second.values[ref])), (case.name, ref)
