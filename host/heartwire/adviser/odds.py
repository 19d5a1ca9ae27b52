"""How often silences as long as this come, and how sure that is: pure numbers in, pure numbers out.

Silences of `least_ms` and more are a Poisson process as far as a rate can be said at all; their lengths are not. So
there are two bounds, each of which holds with the probability that is asked for:

- *counted*: the exact upper limit of a Poisson rate of which `count` events were seen (F. Garwood, "Fiducial limits for
  the Poisson distribution", Biometrika 28, 1936). With none seen that is the rule of three: at 95 % at most 3 in the
  whole history (J. A. Hanley, A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983). It
  assumes nothing about lengths, and is no lower for a longer time than the longest silence.
- *tail*: for longer than was seen, a power law above a threshold, whose index has a lower limit because a sum of
  logarithms is Gamma distributed (B. M. Hill, Annals of Statistics 3, 1975). It is exact for a power law and too high
  for every tail that falls faster. Of all thresholds that leave FEWEST silences or more above them (each half of the
  one before) the highest bound counts. There is none where the longest silences stray from the rest by more than chance
  allows (ODD): then they are of another kind, a nightly job perhaps, and only counting says something of them.

The tail knows nothing of a kind of silence that has not come yet; *counted* allows for it. So the tail is a reason to
choose a value, never a proof, and it is not followed below a rate of 1 in REACH times the history.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

YEAR_S = 365.25 * 86400
# Silences that a tail is fitted to at least: with ten, the 97.5 % limit of the index is about half the estimate.
FEWEST = 10
# The longest 1, 2, 3, 5, ... silences are another kind if a power law through all gives them with less probability.
ODD = 0.01
# How far a tail is followed: to a rate of one event in so many times the history.
REACH = 100


@dataclass(frozen=True)
class Odds:
    """How often a healthy node is silent for at least `length_ms`; rates are per second of one node."""

    length_ms: int
    count: int  # seen
    counted: float  # upper bound that assumes nothing about lengths
    tail: float | None  # upper bound if the tail goes on; None if that is not known, or as long ones were seen

    def per_year(self, nodes: int) -> float:
        """Return the bound that assumes nothing, per year of a rack of `nodes` nodes."""
        return self.counted * YEAR_S * nodes

    def tail_per_year(self, nodes: int) -> float | None:
        """Return the bound if the tail goes on, per year of a rack of `nodes` nodes; never above the other one."""
        return None if self.tail is None else min(self.tail, self.counted) * YEAR_S * nodes


@dataclass(frozen=True)
class Silences:
    """The silences of healthy nodes that lasted `least_ms` and more, seen while they were watched for `watched_s`.

    `lengths_ms` rises; `watched_s` adds all nodes up.
    """

    lengths_ms: Sequence[int]
    least_ms: int
    watched_s: float

    def odds(self, length_ms: int, sure: float = 0.95) -> Odds:
        """Return how often silences of `length_ms` and more come; the bounds hold with the probability `sure`.

        Shorter than `least_ms` nothing was seen: the count is then only what was longer, and there is no bound.
        """
        count = len(self.lengths_ms) - bisect.bisect_left(self.lengths_ms, length_ms)
        if length_ms < self.least_ms or self.watched_s <= 0:
            return Odds(length_ms, count, math.inf, None)
        counted = poisson_mean(count, 1 - sure) / self.watched_s
        return Odds(length_ms, count, counted, None if count else self._tail(length_ms, sure))

    def _tail(self, length_ms: int, sure: float) -> float | None:
        """Return the highest of the tail's bounds, each of whose two limits takes a half of the doubt."""
        if len(self.lengths_ms) < FEWEST or self._is_odd():
            return None
        limit = 1 - (1 - sure) / 2
        bounds = []
        above = len(self.lengths_ms)
        while above >= FEWEST:
            threshold, logs = self._logs(above)
            index = poisson_mean(above - 1, limit) / logs if logs > 0 else math.inf
            rate = poisson_mean(above, 1 - limit) / self.watched_s
            bounds.append(rate * _power(length_ms / threshold, index))
            above //= 2
        return max(*bounds, 1 / (REACH * self.watched_s))

    def _logs(self, above: int) -> tuple[int, float]:
        """Return the threshold that leaves `above` silences above it, and the sum of their logarithms over it."""
        place = len(self.lengths_ms) - above
        threshold = self.lengths_ms[place - 1] if place else self.least_ms
        return threshold, sum(math.log(max(one, threshold) / threshold) for one in self.lengths_ms[place:])

    def _is_odd(self) -> bool:
        """Tell whether the longest silences are too long for the index of all: their sum of logarithms is Gamma too."""
        count = len(self.lengths_ms)
        _, logs = self._logs(count)
        few, more = 1, 2
        while few <= count // 2:
            if self._logs(few)[1] * count > poisson_mean(few - 1, ODD) * logs:
                return True
            few, more = more, few + more
        return False


def _power(ratio: float, index: float) -> float:
    """Return ratio ** -index, 0 where that is too small to say; an infinite index at the threshold itself is 1."""
    if ratio <= 1:
        return 1.0
    return math.exp(-min(700.0, index * math.log(ratio)))


@functools.lru_cache(maxsize=65536)
def poisson_mean(count: int, probability: float) -> float:
    """Return the mean at which a Poisson number is at most `count` with `probability`, by halving.

    That is the upper limit of Garwood for 1 - `probability`, and the quantile `1 - probability` of a Gamma of shape
    `count` + 1.
    """
    low, high = 0.0, count + 20.0 + 10 * math.sqrt(count + 1)
    while high - low > 1e-9 * max(1.0, high):
        middle = (low + high) / 2
        if _at_most(count, middle) > probability:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, mean: float) -> float:
    """Return the probability that a Poisson number of `mean` is at most `count`."""
    if mean <= 0:
        return 1.0
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    total = 0.0
    for number in range(count, -1, -1):  # from the largest term in the tail's sense down, until they say nothing
        total += term
        if term < 1e-17 * total and number < mean:
            break
        term *= number / mean
    return min(1.0, total)


def looked_rate(ages: Mapping[int, int], length_ms: int, sure: float = 0.95) -> float:
    """Return an upper bound, per second of one node, of silences of `length_ms` and more, from looks at ages.

    `ages` are looks by the least bound in ms that the age was not above, 0 for above all. Looks find the share of time
    in which the age is above a bound; each silence of `length_ms` spends the rest of it there, so the share divided by
    that rest bounds the rate (Markov's inequality), whatever the lengths are. The best of all bounds is taken, each
    with its part of the doubt (Bonferroni). Infinite where nothing shorter was looked for.
    """
    looks = sum(ages.values())
    bounds = [bound for bound in ages if 0 < bound < length_ms]
    best = math.inf
    for bound in bounds:
        above = sum(count for other, count in ages.items() if other == 0 or other > bound)
        share = poisson_mean(above, (1 - sure) / len(bounds)) / looks
        best = min(best, share / ((length_ms - bound) / 1000))
    return best


def rank_doubt(count: int) -> float:
    """Return the probability that the next of exchangeable measurements is above the highest of `count`.

    One in count + 1: S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical
    Statistics 12, 1941.
    """
    return 1 / (count + 1)
