"""Proposals: what the history shows, what it does not, and that the rules between settings always hold."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from heartwire import config
from heartwire.adviser.history import OUTAGE_MS, History, Looks, Starts
from heartwire.adviser.peers import PEERS
from heartwire.adviser.proposal import LOWER_S, MARGIN, Advice, advise, config_text
from heartwire.config_template import running_toml
from heartwire.errors import BadConfig, TooLittle
from tests.unit.adviser.worlds import DAY_S, Journal, exponential, power_law, watched

YEAR_S = 365 * DAY_S


def proposed(advice: Advice) -> dict[str, int]:
    return {change.path.removeprefix("board."): change.proposed for change in advice.changes}


def why(advice: Advice, path: str) -> str:
    return next(change.why for change in advice.changes if change.path == path)


def read(made: Journal) -> History:
    return made.read(uptime_ms=made.now_ms)


def test_too_little_is_refused_with_what_is_wanted() -> None:
    made = watched(1, exponential(500), 1.0, 3)
    with pytest.raises(TooLittle) as refused:
        advise(read(made), {})
    assert (refused.value.exit_code, refused.value.words) == (
        24, "the history holds 6d of watched nodes, 7d are wanted",
    )  # fmt: skip
    assert advise(read(made), {}, least_s=DAY_S).changes
    with pytest.raises(TooLittle):
        advise(History(), {}, least_s=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_steep_tail_lowers_dead_ms_and_the_truth_keeps_to_the_target(seed: int) -> None:
    """Excess over 3 s exponential with 100 ms, one a node and day."""
    made = watched(seed, exponential(100), 1.0, 200)
    advice = advise(read(made), {}, years=10)
    dead_ms = proposed(advice)["dead_ms"]
    assert advice.shown == "tail"
    assert dead_ms < 10_000
    longest_ms = max(entry.a for entry in made.entries if entry.event == "good_again")
    assert dead_ms >= MARGIN * longest_ms
    # The true odds, of two nodes in a year.
    assert 2 * 365 * 2.718281828 ** (-(dead_ms - 3000) / 100) <= 0.1


def test_a_tail_alone_lowers_nothing_before_a_quarter_of_a_year() -> None:
    made = watched(2, exponential(100), 4.0, 40)
    found = read(made)
    assert found.node_s < LOWER_S
    advice = advise(found, {}, years=10)
    assert proposed(advice)["dead_ms"] == 10_000


def test_a_heavy_tail_raises_dead_ms_to_half_as_much_again_as_the_longest_and_says_that_nothing_is_shown() -> None:
    made = watched(3, power_law(1.2), 2.0, 100)
    longest_ms = max(entry.a for entry in made.entries if entry.event == "good_again" and entry.a <= OUTAGE_MS)
    assert longest_ms > 20_000
    advice = advise(read(made), {}, years=10)
    assert proposed(advice)["dead_ms"] >= MARGIN * longest_ms
    assert advice.shown == "no"
    assert advice.proposed_odds is not None
    assert advice.proposed_odds.per_year(2) > 0.1
    assert "nothing shows the target" in why(advice, "board.dead_ms")


def test_a_pulled_cable_is_an_outage_that_counts_but_raises_nothing() -> None:
    history = History(watched_s={"a": YEAR_S}, silences_ms=[4000, 900_000])
    advice = advise(history, {}, years=10)
    assert proposed(advice)["dead_ms"] == 10_000
    assert history.outages == 1
    assert advice.running_odds is not None and advice.running_odds.count == 1
    assert "the longest silence is 4000 ms" in why(advice, "board.dead_ms")
    assert proposed(advise(History(watched_s={"a": YEAR_S}, silences_ms=[59_000]), {}))["dead_ms"] == 88_500


def test_a_rack_without_any_silence_keeps_its_dead_ms_with_the_rule_of_three() -> None:
    advice = advise(History(watched_s={"a": YEAR_S / 2, "b": YEAR_S / 2}), {}, years=10)
    assert proposed(advice)["dead_ms"] == 10_000
    assert advice.running_odds is not None
    assert advice.running_odds.per_year(2) == pytest.approx(2 * 3.0, rel=0.01)
    assert advice.shown == "no"


def test_counting_alone_shows_the_target_after_long_enough_and_then_dead_ms_may_be_as_low_as_the_rules_say() -> None:
    advice = advise(History(watched_s={"a": 100 * YEAR_S}), {}, years=10)
    assert advice.shown == "counting"
    assert proposed(advice)["dead_ms"] == 5100  # late 3000, common cause 2000, and one, rounded up


def test_starts_and_proofs_raise_their_limits_at_once_and_lower_them_only_after_ten() -> None:
    history = History(watched_s={"a": YEAR_S})
    history.starts = {
        "a": Starts(boots_ms=[400_000], offs_ms=[9000]),
        "b": Starts(boots_ms=[60_000] * 9, proofs_ms=[700]),
    }
    found = proposed(advise(history, {}))
    assert found["off_timeout_ms"] == 18_000
    assert (found["node.a.boot_grace_ms"], found["node.b.boot_grace_ms"]) == (800_000, 300_000)
    history.starts["b"].boots_ms.append(61_000)
    history.starts["b"].proofs_ms += [800] * 12
    history.starts["a"].offs_ms.clear()
    advice = advise(history, {})
    assert proposed(advice)["node.b.boot_grace_ms"] == 122_000
    assert proposed(advice)["off_timeout_ms"] == 3600  # 800 and the second that off must be stable, twice
    assert "10 starts, the slowest 61000 ms; the next is above it with odds of 1 in 11" in why(
        advice, "node.b.boot_grace_ms"
    )


def test_what_a_board_remembers_of_its_slowest_start_counts() -> None:
    history = History(watched_s={"a": YEAR_S}, starts={"a": Starts(slowest_ms=500_000)})
    assert proposed(advise(history, {}))["node.a.boot_grace_ms"] == 1_000_000


def test_lines_that_failed_together_raise_common_cause_and_what_follows_from_it() -> None:
    history = History(watched_s={"a": YEAR_S}, spreads_ms=[700, 6000])
    found = proposed(advise(history, {}))
    assert found["common_cause_ms"] == 9000
    assert found["dead_ms"] == 12_100  # it and late_ms must fit before


def test_late_ms_is_lowered_where_looks_show_it_and_raised_where_records_do() -> None:
    quick = {"board.interval_ms": "500"}
    ages = {300: 2_000_000, 500: 2_000_000, 700: 30}
    history = History(watched_s={"a": YEAR_S}, looks=Looks(watched_s=YEAR_S, ages=ages))
    found = proposed(advise(history, quick))
    assert 1500 <= found["late_ms"] < 3000
    history.looks.ages = {300: 200, 500: 200}
    assert proposed(advise(history, quick))["late_ms"] == 3000
    often = watched(4, exponential(300), 5.0, 60)
    raised = proposed(advise(read(often), {}))
    assert raised["late_ms"] > 3000
    assert raised["interval_ms"] == 1000


def test_a_board_that_stalls_for_longer_than_flash_may_gets_a_dead_ms_beyond_that() -> None:
    history = History(watched_s={"a": YEAR_S}, stalls_ms=[9500])
    assert proposed(advise(history, {}))["dead_ms"] == 11_600


def test_what_the_rules_want_besides_is_changed_with_it() -> None:
    often = watched(4, exponential(3000), 5.0, 60)
    running = {"board.lease_ms": "3000"}
    advice = advise(read(often), running)
    late_ms = proposed(advice)["late_ms"]
    assert late_ms > 3000
    assert proposed(advice)["lease_ms"] == late_ms
    assert "lease_renews" in why(advice, "board.lease_ms")


def test_running_settings_that_break_a_rule_of_another_kind_are_named() -> None:
    with pytest.raises(BadConfig) as refused:
        advise(History(watched_s={"a": YEAR_S}), {"node.a.senses": "0"})
    assert "sense_wired" in refused.value.words


times = some.lists(some.integers(100, 200_000), max_size=15)


@given(
    silences=some.lists(some.integers(3000, 190_000), max_size=60),
    spreads=some.lists(some.integers(0, 30_000), max_size=4),
    stalls=some.lists(some.integers(1, 20_000), max_size=3),
    offs=times,
    boots=times,
    bench=some.booleans(),
    interval_ms=some.integers(200, 1500),
    days=some.integers(8, 4000),
)
@settings(max_examples=80, deadline=None)
def test_every_proposal_is_a_config_that_passes_its_own_check(
    silences: list[int], spreads: list[int], stalls: list[int], offs: list[int], boots: list[int], bench: bool,
    interval_ms: int, days: int,
) -> None:  # fmt: skip
    running: dict[str, Any] = {"board.interval_ms": str(interval_ms), "board.early_ms": "90"}
    if bench:
        running["board.bench"] = "1"
    history = History(
        watched_s={"a": days * DAY_S}, silences_ms=silences, spreads_ms=spreads, stalls_ms=stalls,
        starts={"a": Starts(boots_ms=boots, offs_ms=offs)},
    )  # fmt: skip
    advice = advise(history, running)
    assert [str(problem) for problem in config.parse(running_toml(advice.values)).problems] == []
    for change in advice.changes:
        assert advice.values.get(change.path, str(change.proposed)) == str(change.proposed)
    dead_ms = next(change.proposed for change in advice.changes if change.path == "board.dead_ms")
    assert dead_ms >= max([one for one in silences if one <= OUTAGE_MS], default=0)
    text = config_text(advice)
    assert all(
        f"{change.path.split('.')[-1]} = " in text for change in advice.changes if change.proposed != change.running
    )


def test_the_table_of_others_has_what_its_docstring_says() -> None:
    assert [peer.silence_ms for peer in PEERS] == sorted(peer.silence_ms for peer in PEERS)
    assert all(peer.name and peer.what and peer.source for peer in PEERS)
