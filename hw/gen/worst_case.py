"""The worst case of what must not fail, as one table: value, limit, margin, and where each number comes from.

    python3 hw/gen/worst_case.py       prints the table and a seeded spread; exit 1 for a negative margin

Numbers stand with their sources in hw/worst_case.toml; how long ARM holds and drops is what the simulation of its
stacked corners gave. A margin below zero fails `make check`.
"""

import json
import random
import sys
import tomllib
from dataclasses import dataclass

import pins as pin_list
import spice
from tables_text import table

SOURCE = pin_list.ROOT / "hw" / "worst_case.toml"
SEED, RUNS = 1, 20_000
LAST_EDGE_S, STALL_S = 0.7, 0.5  # of the runs of ARM in hw/sim; what a stalled loop is bridged for
# Board, mark of its runs, and the longest time in which ARM drops. Revision A needs 3.5 s where all is bad and hot.
ARM_DROPS_S = (("revision A", "arm", 3.5), ("build A", "arm-a", 3.0), ("revision B", "arm-b", 3.0))
OUNCE_MIL, MIL_MM, RISE_K = 1.378, 0.0254, 10.0  # 35 um of copper; IPC-2221 gives a trace's current for this rise


@dataclass(frozen=True)
class Row:
    """One quantity. `least` tells whether the value must be at least the limit or at most."""

    name: str
    value: float
    limit: float
    unit: str
    least: bool
    numbers: str

    @property
    def margin(self) -> float:
        """Return how far the value is on the right side of the limit; negative is wrong."""
        return self.value - self.limit if self.least else self.limit - self.value


def numbers() -> dict[str, float]:
    """Return every number by `group.name`."""
    return {name: value for name, (value, _) in _entries().items()}


def _entries() -> dict[str, tuple[float, str]]:
    document = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    return {
        f"{group}.{name}": (entry[0], entry[1])
        for group, entries in document.items()
        for name, entry in entries.items()
    }


def rows(n: dict[str, float]) -> list[Row]:
    """Return the table's rows for these numbers."""
    load_a = n["supply.pico_a"] + 2 * n["supply.adapter_max_v"] / n["coil.ohm"]
    four_a = n["supply.pico_a"] + 4 * n["supply.adapter_max_v"] / n["coil.ohm"]
    sense_a = (n["supply.adapter_min_v"] - n["opto.led_v"]) / n["opto.sense_ohm"] * n["opto.ratio"] * n["opto.aged_hot"]
    front_a = (n["opto.rail_min_v"] - n["opto.led_v"]) / n["opto.front_ohm"] * n["opto.ratio"] * n["opto.front_wear"]
    low_a = (n["opto.rail_max_v"] - n["opto.input_low_v"] / 2) / n["opto.sense_pull_ohm"]
    dark_v = n["opto.rail_min_v"] - n["opto.dark_a"] * 10_500
    leak_v = n["gate.leak_a"] * n["gate.pull_ohm"]
    gate_v = n["opto.rail_min_v"] * 9500 / (9500 + n["gate.series_ohm"])
    found = [
        Row("coil of a power relay, carrier, hot", coil_v(n, load_a), pull_in_v(n, "coil.carrier_hot_c"), "V", True,
            "supply, coil"),
        Row("relay module of build A, hot, at its DC+", module_v(n, load_a),
            pull_in_v(n, "coil.module_hot_c") + n["coil.module_npn_v"], "V", True, "supply, coil"),
        Row("current of four coils through one fuse", four_a, n["supply.fuse_hold_hot_a"], "A", False, "supply, coil"),
        Row("sense present: optocoupler old and hot", sense_a * 1e3, low_a * 1e3, "mA", True, "opto"),
        Row("sense absent: dark current, hot", dark_v, n["opto.input_high_v"], "V", True, "opto"),
        Row("front panel pressed: optocoupler half worn", front_a * 1e3, n["opto.header_a"] * 1e3, "mA", True, "opto"),
        Row("gate while commanded", gate_v, n["gate.full_on_v"], "V", True, "opto, gate"),
        Row("gate in reset, RP2040", leak_v, n["gate.threshold_min_v"], "V", False, "gate"),
        Row("drain when a coil lets go", n["supply.adapter_max_v"] + n["gate.flyback_v"], n["gate.drain_v"], "V", False,
            "supply, gate"),
        Row("DC feed through a rest contact", n["contact.feed_a"], n["contact.rated_a"], "A", False, "contact"),
    ]  # fmt: skip
    return found + _revision_b(n) + _clamps(n) + _currents(n) + _arm()


def _revision_b(n: dict[str, float]) -> list[Row]:
    """Return what differs in revision B: switches instead of diodes at the inputs, isolated lines, FRONT behind ARM."""
    high_v = n["supply.adapter_max_v"]
    lines_a = 3 * n["b.line_a"]
    load_a = n["supply.pico_a"] + lines_a + 2 * high_v / n["coil.ohm"]
    all_a = n["supply.pico_a"] + lines_a + 3 * high_v / n["coil.ohm"] + n["b.alarm_a"] + 3 * n["b.front_a"]
    path_ohm = n["supply.cable_ohm"] + n["supply.fuse_ohm"] + n["b.switch_ohm"]
    rail_v = n["supply.adapter_min_v"] - load_a * path_ohm
    one_a = n["supply.adapter_min_v"] / n["coil.ohm"]
    armed_v = rail_v - 3 * one_a * n["coil.p_switch_ohm"]
    led_a = (armed_v - n["opto.led_v"]) / n["b.front_ohm"]
    return [
        Row("coil of a power relay, revision B, hot", armed_v - one_a * n["coil.n_switch_ohm"],
            pull_in_v(n, "coil.carrier_hot_c"), "V", True, "supply, coil, b"),
        Row("current of revision B through one fuse", all_a, n["supply.fuse_hold_hot_a"], "A", False,
            "supply, coil, b"),
        Row("front panel pressed, revision B", led_a * n["opto.ratio"] * n["opto.front_wear"] * 1e3,
            n["opto.header_a"] * 1e3, "mA", True, "opto, b"),
        Row("input switch stays on at the highest adapter", n["b.over_v"] * (1 - n["b.over_share"]), high_v, "V", True,
            "supply, b"),
        Row("supply of the Pico with a wrong adapter up to 15 V",
            n["b.over_v"] * (1 + n["b.over_share"]) - n["b.feed_v"], n["clamp.vsys_max_v"], "V", False, "b, clamp"),
        Row("gate that sees a supply, at the lowest", (rail_v + load_a * n["b.switch_ohm"]) * n["b.well_share"],
            n["gate.full_on_v"], "V", True, "supply, b, gate"),
        Row("the same gate, wrong adapter of 15 V", n["b.wrong_v"] * n["b.well_share"], n["b.gate_max_v"], "V", False,
            "b"),
        Row("gate with erratum E9 of an RP2350, 4k7", n["b.e9_a"] * n["b.down_ohm"], n["gate.threshold_min_v"], "V",
            False, "b, gate"),
    ]  # fmt: skip


def _clamps(n: dict[str, float]) -> list[Row]:
    """Return what the clamps must not conduct at, and what they load."""
    line_f = n["clamp.line_nf"] + n["clamp.cable_m"] * n["clamp.cable_nf_per_m"]
    return [
        Row("rail below where its clamp conducts", n["supply.adapter_max_v"], n["clamp.rail_break_v"], "V", False,
            "supply, clamp"),
        Row("supply of the Pico", n["supply.adapter_max_v"], n["clamp.vsys_max_v"], "V", False, "supply, clamp"),
        Row("line below where its clamp conducts", n["clamp.line_v"], n["clamp.line_break_v"], "V", False, "clamp"),
        Row("what a line's driver must charge", line_f, n["clamp.line_limit_nf"], "nF", False, "clamp"),
    ]  # fmt: skip


def trace_a(width_mm: float) -> float:
    """Return the current that warms an outer trace of 35 um by RISE_K (IPC-2221: 0.048 dT^0.44 A^0.725, A in mil2)."""
    return float(0.048 * RISE_K**0.44 * (width_mm / MIL_MM * OUNCE_MIL) ** 0.725)


def _currents(n: dict[str, float]) -> list[Row]:
    """Return the currents of terminals and of traces as wide as a board must make them."""
    return [
        Row("terminal of a DC feed", n["contact.feed_a"], n["copper.terminal_a"], "A", False, "contact, copper"),
        Row("trace of a contact", trace_a(n["copper.contact_mm"]), n["contact.feed_a"], "A", True, "contact, copper"),
        Row("trace of the rail, until its fuse trips", trace_a(n["copper.rail_mm"]), n["copper.fuse_trip_a"], "A", True,
            "copper"),
    ]  # fmt: skip


def _arm() -> list[Row]:
    """Return how long ARM holds and drops in its stacked corners, from the committed simulations."""
    results = json.loads(spice.RESULTS.read_text(encoding="utf-8"))
    found = []
    for words, mark, limit_s in ARM_DROPS_S:
        held_s = results[f"{mark}-holds-stacked"]["weak_at_s"] - LAST_EDGE_S
        drop_s = results[f"{mark}-drops-stacked"]["dropped_at_s"] - LAST_EDGE_S
        found += [Row(f"ARM holds over a stall, {words}", held_s, STALL_S, "s", True, f"run {mark}-holds-stacked"),
                  Row(f"ARM drops after the last edge, {words}", drop_s, limit_s, "s", False,
                      f"run {mark}-drops-stacked")]  # fmt: skip
    return found


def _rail_v(n: dict[str, float], load_a: float) -> float:
    return n["supply.adapter_min_v"] - load_a * (n["supply.cable_ohm"] + n["supply.fuse_ohm"]) - n["supply.schottky_v"]


def coil_v(n: dict[str, float], load_a: float) -> float:
    """Return the lowest voltage at a coil of the carrier."""
    one_a = n["supply.adapter_min_v"] / n["coil.ohm"]
    return _rail_v(n, load_a) - one_a * (2 * n["coil.p_switch_ohm"] + n["coil.n_switch_ohm"])


def module_v(n: dict[str, float], load_a: float) -> float:
    """Return the lowest voltage at a relay module of build A."""
    return _rail_v(n, load_a) - n["coil.pnp_v"]


def pull_in_v(n: dict[str, float], hot: str) -> float:
    """Return what a coil needs when its air is as hot as the number named."""
    return n["coil.pull_in_v"] * (1 + n["coil.copper_per_k"] * (n[hot] - 20))


def spread() -> tuple[float, float]:
    """Return the share of boards, carrier and build A, whose relay would not pull in: seeded, evenly spread numbers."""
    dice = random.Random(SEED)
    worst = numbers()
    better = {"supply.adapter_min_v": 5.05, "supply.cable_ohm": 0.05, "supply.fuse_ohm": 0.1, "supply.schottky_v": 0.28,
              "coil.pull_in_v": 3.0, "coil.carrier_hot_c": 25.0, "coil.module_hot_c": 25.0, "coil.pnp_v": 0.08,
              "coil.module_npn_v": 0.08}  # fmt: skip
    failed = [0, 0]
    for _ in range(RUNS):
        n = dict(worst)
        for name, good in better.items():
            n[name] = dice.uniform(*sorted((worst[name], good)))
        failed[0] += rows(n)[0].margin < 0
        failed[1] += rows(n)[1].margin < 0
    return failed[0] / RUNS, failed[1] / RUNS


def problems() -> list[str]:
    """Return one sentence for each negative margin."""
    return [f"worst case: {row.name}: {row.value:.3g} {row.unit}, limit {row.limit:.3g}" for row in rows(numbers())
            if row.margin < 0]  # fmt: skip


def margins() -> str:
    """Return the table of margins."""
    body = [
        [row.name, f"{row.value:.3g} {row.unit}", f"{('at most', 'at least')[row.least]} {row.limit:.3g} {row.unit}",
         f"{row.margin:.2g} {row.unit}", row.numbers] for row in rows(numbers())
    ]  # fmt: skip
    return table("what|worst value|limit|margin|numbers of", body)


def sources() -> str:
    """Return the table of numbers with their sources."""
    return table(
        "number|value|source", [[f"`{name}`", f"{value:g}", words] for name, (value, words) in _entries().items()]
    )


def spread_words() -> str:
    """Return the spread as a sentence."""
    carrier, modules = spread()
    words = f"Of {RUNS:,} boards with numbers spread evenly from good to worst (seed {SEED}), "
    return words + f"the relay of {carrier:.2%} of carriers and of {modules:.2%} of builds A would not pull in."


def main() -> int:
    """Print the tables; return 1 for a negative margin."""
    print(margins(), spread_words(), sep="\n\n")
    found = problems()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
