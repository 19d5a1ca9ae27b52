"""The fault simulation: records belong to the circuit, none is forbidden, a few are simulated anew."""

import random
import struct
from typing import Any

import deck_text
import fault_run
import faults
import outcome
import pytest
import rack
import revision
import waves
from deck import Fault
from netlist import Netlist

DOCUMENT: dict[str, Any] = fault_run.load()
RECORDS: dict[str, list[str] | None] = DOCUMENT["faults"]
# Faults simulated so far; it may grow and not shrink.
SIMULATED_MIN = 172
SIMULATED_B_MIN = 19
SECOND: dict[str, Any] = fault_run.load(fault_run.RECORDS["B"])
SAMPLE = random.Random(1).sample(sorted(RECORDS), 2)


def test_the_records_belong_to_the_circuit_and_none_is_forbidden(nets: Netlist) -> None:
    assert fault_run.problems(nets, DOCUMENT) == []
    assert len(RECORDS) >= SIMULATED_MIN


def test_the_records_of_revision_b_belong_to_it_and_none_is_forbidden() -> None:
    assert fault_run.problems(revision.load("B"), SECOND) == []
    assert len(SECOND["faults"]) >= SIMULATED_B_MIN


def test_records_of_another_circuit_are_refused(nets: Netlist) -> None:
    nets.values["R302"] = "82k"
    assert "another circuit" in fault_run.problems(nets, DOCUMENT)[0]


@pytest.mark.parametrize(
    ("record", "name"),
    [(["cut.A1", "honest.A1"], "false proof"), (["uncut.B1", "told.B1"], "healthy node cut, nobody told")],
)
def test_a_forbidden_outcome_fails(nets: Netlist, record: list[str], name: str) -> None:
    planted = {"stamp": DOCUMENT["stamp"], "faults": {**RECORDS, "Q31 open": record}}
    assert fault_run.problems(nets, planted) == [f"fault 'Q31 open': {name}"]


@pytest.mark.parametrize("board", revision.REVISIONS)
def test_every_part_has_faults_or_an_equal_that_has(board: str) -> None:
    nets = revision.load(board)
    tried = {fault.part for fault in faults.every(nets)}
    parts = {ref for ref in nets.values if not ref.startswith("TP")}
    assert {ref for ref in parts if ref not in tried and not faults.is_twin(ref)} == set()
    assert parts - {fault.part for fault in faults.every(nets, twins=True)} == set()


def test_a_gate_that_floats_is_tried_both_ways(nets: Netlist) -> None:
    names = {fault.name for fault in faults.every(nets)}
    for part in ("Q31 gate joint open", "R305 open", "R312 open", "Q302 gate joint open"):
        assert {f"{part}, gate drawn low", f"{part}, gate drawn high"} <= names


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ([], "no effect seen"),
        (None, "unknown"),
        (["uncut.B1"], "healthy node cut, told"),
        (["rest.armed", "let go.A1"], "stuck loop holds a fence"),
        (["dead.alarm"], "dead board not reported"),
        (["cut.A1", "proven.A1"], "fence fails, told when tried"),
        (["rest.sense.A1", "proven.A1"], "fence fails, told at once"),
        (["restored.A1"], "node stays off"),
        (["unpressed.A"], "healthy node pressed"),
        (["pushed.button"], "function lost"),
        (["rest.alarm"], "alarm without harm"),
        (["rest.alarm", "quiet.alarm", "rest.state"], "alarm without harm"),
        (["shown.armed"], "function lost"),
    ],
)
def test_a_record_has_its_class(record: list[str] | None, name: str) -> None:
    assert outcome.classify(record).name == name


@pytest.mark.usefixtures("needs_ngspice")
@pytest.mark.parametrize("board", revision.REVISIONS)
def test_a_healthy_board_does_everything(board: str) -> None:
    assert fault_run.simulate(revision.load(board), fault_run.HEALTHY) == []


@pytest.mark.usefixtures("needs_ngspice")
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_comes_out_as_recorded(nets: Netlist, name: str) -> None:
    fault = next(one for one in faults.every(nets, twins=True) if one.name == name)
    assert outcome.classify(fault_run.simulate(nets, fault)) == outcome.classify(RECORDS[name])


@pytest.mark.usefixtures("needs_ngspice")
def test_arm_bypassed_is_seen_in_the_simulation(nets: Netlist) -> None:
    bypassed = Fault("planted", "bridge", "bridge", joins=(("+5V", "+5V_ARMED"),))
    record = fault_run.simulate(nets, bypassed)
    assert record is not None
    assert outcome.classify(record).name == "stuck loop holds a fence"


def test_curves_are_read_back() -> None:
    head = b"Title: x\nNo. Variables: 2\nNo. Points: 2\nVariables:\n\t0\ttime\ttime\n\t1\tv(a)\tvoltage\nBinary:\n"
    numbers = b"".join(struct.pack("<d", value) for value in (0.0, 1.0, 1.0, 3.0))
    curves = waves.parse(head + numbers)
    assert list(curves.time_s) == [0.0, 1.0]
    assert curves.at("a", 0.5) == 1.0
    assert curves.longest_s("a", 2.0, [(0.0, 2.0)]) == 0.0


def test_a_net_keeps_its_own_name_in_the_deck(nets: Netlist) -> None:
    text = deck_text.text(nets, fault_run.HEALTHY)
    assert "MQ302 p5v_armed net__q302_g_ p5v p5v AO3401A" in text
    assert f".tran 1m {rack.END_S} 0" in text
