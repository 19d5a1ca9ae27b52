"""The simulations: committed results within their limits everywhere, and run anew where ngspice is installed."""

import json

import pytest
import spice
import verify
from netlist import Netlist

CASES = spice.cases()
RESULTS: dict[str, dict[str, float]] = json.loads(spice.RESULTS.read_text(encoding="utf-8"))
TOLERANCE = 0.05  # between versions of ngspice


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_committed_results_hold(case: spice.Case) -> None:
    assert case.problems(RESULTS[case.name]) == []


@pytest.mark.usefixtures("needs_ngspice")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_simulated_anew(case: spice.Case) -> None:
    measured = spice.run(case)
    assert case.problems(measured) == []
    for name in case.limits:
        assert measured[name] == pytest.approx(RESULTS[case.name][name], rel=TOLERANCE, abs=1e-6)


def test_safety_parts_have_a_counter_proof() -> None:
    negative = {case.name for case in CASES if case.negative}
    assert {"relay-reset-no-pull-down", "ramp-no-pull-down", "relay-no-flyback", "arm-no-bleed"} <= negative


def test_the_pump_bridges_a_stall_and_drops_in_time() -> None:
    """In the worst corner of either build: more than 0.5 s, less than 3 s after the last edge at 0.7 s."""
    for name in ("arm-holds-worst", "arm-holds-hot", "arm-a-holds-worst"):
        assert RESULTS[name]["weak_at_s"] > 1.2
    for name in ("arm-drops-worst", "arm-a-drops-worst", "arm-stuck-high"):
        assert RESULTS[name]["dropped_at_s"] < 3.7


def test_values_are_those_of_the_schematic(nets: Netlist) -> None:
    assert verify.simulation_values(nets) == []


def test_another_value_is_caught(nets: Netlist) -> None:
    nets.values["R312"] = "47k"
    assert verify.simulation_values(nets)


def test_a_wrong_limit_is_reported() -> None:
    case = spice.Case("planted", "x.cir", "", limits={"a_v": {"max": 1.0}, "b_v": {"min": 1.0}}, absent=["c_v"])
    assert len(case.problems({"a_v": 2.0, "c_v": 0.0})) == 3


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(KeyError):
        spice.with_params(".param PULL=10k\n", {"PUL": "1"})
