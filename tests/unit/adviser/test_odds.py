"""The adviser's bounds against numbers of others, and against histories whose true odds are known."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from heartwire.adviser.odds import FEWEST, REACH, Silences, looked_rate, poisson_mean, rank_doubt
from tests.unit.adviser.worlds import DAY_S, LATE_MS, Law, evenly, exponential, mixture, power_law


# Garwood's limits as tables of the chi-square distribution give them: half of its 95 % (97.5 %) point.
@pytest.mark.parametrize(
    ("count", "doubt", "mean"),
    [(0, 0.05, 2.9957), (1, 0.05, 4.7439), (10, 0.05, 16.962), (0, 0.025, 3.6889), (5, 0.025, 11.668)],
)
def test_the_limit_of_a_rate_is_that_of_the_tables(count: int, doubt: float, mean: float) -> None:
    assert poisson_mean(count, doubt) == pytest.approx(mean, rel=1e-4)


@given(some.integers(0, 3000), some.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_limit_is_where_the_sum_of_the_terms_is_the_probability(count: int, probability: float) -> None:
    mean = poisson_mean(count, probability)
    terms = [number * math.log(mean) - mean - math.lgamma(number + 1) for number in range(count + 1)]
    assert math.fsum(math.exp(term) for term in terms) == pytest.approx(probability, abs=1e-6)


def test_nothing_seen_is_the_rule_of_three_and_says_no_more_of_a_longer_silence() -> None:
    year_s = 365.25 * DAY_S
    silences = Silences([], LATE_MS, year_s)
    odds = silences.odds(LATE_MS)
    assert odds.per_year(1) == pytest.approx(3.0, rel=2e-3)
    assert odds.per_year(2) == 2 * odds.per_year(1)
    assert silences.odds(120_000).counted == odds.counted
    assert silences.odds(LATE_MS - 1).counted == math.inf
    assert odds.tail is None


def drawn(seed: int, law: Law, a_day: float, days: int) -> Silences:
    """Return the silences of one node."""
    chance = random.Random(seed)
    lengths: list[int] = []
    at_day = chance.expovariate(a_day)
    while at_day < days:
        lengths.append(round(law(chance)))
        at_day += chance.expovariate(a_day)
    return Silences(sorted(lengths), LATE_MS, days * DAY_S)


def above_power_law(index: float, length_ms: int, least_ms: int = LATE_MS) -> float:
    return float((length_ms / least_ms) ** -index)


def above_exponential(mean_ms: float, length_ms: int) -> float:
    return math.exp(-(length_ms - LATE_MS) / mean_ms)


Above = Callable[[int], float]
WORLDS: list[tuple[str, Law, Above]] = [
    ("power law 3", power_law(3), lambda ms: above_power_law(3, ms)),
    ("power law 8", power_law(8), lambda ms: above_power_law(8, ms)),
    ("exponential", exponential(600), lambda ms: above_exponential(600, ms)),
    (
        "rare and heavy",
        mixture(0.03, power_law(1.5, 6000), exponential(50)),
        lambda ms: 0.03 * min(1.0, above_power_law(1.5, ms, 6000)) + 0.97 * above_exponential(50, ms),
    ),
    (
        "nightly",
        mixture(0.03, evenly(8550, 9450), exponential(50)),
        lambda ms: 0.03 * min(1.0, max(0.0, (9450 - ms) / 900)) + 0.97 * above_exponential(50, ms),
    ),
]


@pytest.mark.parametrize(("name", "law", "above"), WORLDS, ids=[world[0] for world in WORLDS])
@pytest.mark.parametrize("length_ms", [4000, 8500, 12_000, 20_000])
def test_the_true_rate_is_below_the_bound_as_often_as_it_says(
    name: str, law: Law, above: Above, length_ms: int
) -> None:
    a_day, days, tries = 2.0, 60, 200
    true = a_day / DAY_S * above(length_ms)
    found = [drawn(seed, law, a_day, days).odds(length_ms) for seed in range(tries)]
    # 95 % of 200 is 190; at a true 95 % fewer than 180 come once in 3000 such tests.
    assert sum(odds.counted >= true for odds in found) >= 180, name
    assert sum(odds.tail is None or odds.tail >= true for odds in found) >= 180, name


def test_only_counting_allows_for_a_kind_of_silence_that_has_not_come_yet() -> None:
    law = mixture(0.004, evenly(14_000, 16_000), exponential(50))
    found = [drawn(seed, law, 2.0, 60).odds(13_000) for seed in range(200)]
    true = 2.0 / DAY_S * 0.004
    assert sum(odds.counted >= true for odds in found) >= 180
    assert sum(odds.tail is not None and odds.tail < true for odds in found) > 50  # which is why it is no proof


def test_the_bound_is_no_idle_one_a_steep_tail_is_seen_to_be_steep() -> None:
    silences = drawn(1, power_law(8), 4.0, 120)
    counted, tail = silences.odds(12_000).counted, silences.odds(12_000).tail
    assert tail is not None
    assert tail < counted / 5
    assert tail == 1 / (REACH * silences.watched_s) or tail > silences.watched_s**-1 * above_power_law(8, 12_000)


def test_a_tail_is_followed_no_further_than_it_reaches_and_never_fitted_to_a_few() -> None:
    steep = Silences([LATE_MS + number for number in range(50)], LATE_MS, 30 * DAY_S)
    assert steep.odds(100_000).tail == pytest.approx(1 / (REACH * 30 * DAY_S))
    few = Silences([LATE_MS + number for number in range(FEWEST - 1)], LATE_MS, 30 * DAY_S)
    assert few.odds(100_000).tail is None


def test_a_few_long_silences_do_not_hide_among_many_short_ones() -> None:
    lengths = [LATE_MS + number % 90 for number in range(2000)] + [8000, 8100, 8200]
    silences = Silences(sorted(lengths), LATE_MS, 365 * DAY_S)
    # One fit to all 2003 would say once in millennia.
    assert silences.odds(10_000).tail is None
    assert silences.odds(7000).count == 3


@given(some.lists(some.integers(LATE_MS, 60_000), max_size=80), some.integers(LATE_MS, 120_000))
@settings(max_examples=100, deadline=None)
def test_longer_is_never_more_often(lengths: list[int], length_ms: int) -> None:
    silences = Silences(sorted(lengths), LATE_MS, 30 * DAY_S)
    shorter, longer = silences.odds(length_ms), silences.odds(length_ms + 500)
    assert longer.counted <= shorter.counted < math.inf
    assert longer.count <= shorter.count
    if shorter.tail is not None:
        assert longer.tail is not None
        assert 0 < longer.tail <= shorter.tail * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_looks_bound_the_rate_of_silences_that_no_record_tells(seed: int) -> None:
    """Gaps of 1 s, and now and then one of 2 s: looks every 2 s at a random phase."""
    chance = random.Random(seed)
    bounds = (1000, 1200, 1500, 2000)
    ages: dict[int, int] = {}
    now_s = look_s = 0.0
    while now_s < 40_000:
        gap_s = 2.2 if chance.random() < 1 / 2000 else 1.0
        while look_s < now_s + gap_s:
            age_ms = (look_s - now_s) * 1000
            bound = next((one for one in bounds if age_ms <= one), 0)
            ages[bound] = ages.get(bound, 0) + 1
            look_s += chance.uniform(1.9, 2.1)
        now_s += gap_s
    found = looked_rate(ages, 2200)
    assert 1 / 2000 <= found <= 20 / 2000
    assert looked_rate(ages, 1000) == math.inf
    assert looked_rate({}, 2200) == math.inf


def test_a_next_measurement_is_above_the_highest_as_often_as_wilks_says() -> None:
    chance = random.Random(3)
    tries = 4000
    above = sum(chance.random() > max(chance.random() for _ in range(9)) for _ in range(tries))
    assert above / tries == pytest.approx(rank_doubt(9), abs=0.02)
