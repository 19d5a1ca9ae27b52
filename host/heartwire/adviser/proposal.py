"""From a history and the running settings to proposed ones, each with its reason and how sure it is: pure.

A setting is lowered only where the history shows that it may be; where it shows too little, the running value stays and
the reason says so. What the rules between settings want besides is changed with it, and the whole is read and checked
as a config file is. Raises TooLittle where the history says nothing. Called by the command line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from heartwire import config
from heartwire.adviser.history import OUTAGE_MS, History, Starts
from heartwire.adviser.odds import YEAR_S, Odds, Silences, looked_rate, poisson_mean, rank_doubt
from heartwire.config_template import running_toml
from heartwire.errors import BadConfig, TooLittle
from heartwire.settings_transfer import values_of
from heartwire.times import span_words
from heartwire_protocol import codes, settings
from heartwire_protocol.settings_rules import FLASH_STALL_MS

WEEK_S = 7 * 86400
SURE = 0.95
# One false failover in so many years, of the whole rack: about the life of a server.
YEARS = 10.0
# Watched time of nodes before a tail lowers dead_ms: the jobs of a quarter's end should be among what was seen.
LOWER_S = 90 * 86400
SHOWN = {"counting": "counting alone", "tail": "the tail of the silences", "no": "nothing"}
# Beyond the longest that was seen: room for one that is half as long again.
MARGIN = 1.5
# A start, as the board itself proposes (`boot_slow`), and a proof that power is off, may take twice the slowest seen.
TWICE = 2
# Measurements before a limit is raised by them, and before one is lowered: the doubt is 1 in 4, and 1 in 11.
TO_RAISE, TO_LOWER = 1, 10
# A late node that is well costs a record and a prepared fence: one a week is noticed and bothers nobody.
LATE_S = WEEK_S
# Two heartbeats may be lost before a node is late.
BEATS = 3
STEP_MS = 100
# Only times are changed for the sake of a rule, never what says how a rack is wired.
_LIMIT = re.compile(r"\b((?:board\.)?[a-z_]+_(?:ms|s)) must be at (?:least|most) (\d+)")


@dataclass(frozen=True)
class Change:
    """One setting: what runs, what is proposed, and why."""

    path: str
    running: int
    proposed: int
    why: str


@dataclass
class Advice:
    """What is proposed, and what the history says of it."""

    history: History
    silences: Silences
    target_per_year: float
    nodes: int
    changes: list[Change] = field(default_factory=list)
    running_odds: Odds | None = None
    proposed_odds: Odds | None = None
    values: dict[str, str] = field(default_factory=dict)  # path to value of everything, with what is proposed

    @property
    def shown(self) -> str:
        """Whether the proposed dead_ms keeps to the target: by "counting", by the "tail", or "no": not shown."""
        return "no" if self.proposed_odds is None else self.shows(self.proposed_odds)

    def shows(self, odds: Odds) -> str:
        """Tell what shows that these odds keep to the target."""
        if odds.per_year(self.nodes) <= self.target_per_year:
            return "counting"
        tail = odds.tail_per_year(self.nodes)
        return "tail" if tail is not None and tail <= self.target_per_year else "no"


def advise(history: History, running: Mapping[str, str], *, least_s: float = WEEK_S, years: float = YEARS) -> Advice:
    """Return what `history` proposes for the settings `running` (path to value, defaults left out).

    `least_s` is how much watched time of nodes is wanted, in seconds; `years` in how many one false failover may be.
    Raises TooLittle, BadConfig if the running settings break a rule already.
    """
    values = dict(running)
    board = _Values(values)
    nodes = [node for node in codes.NODES if board[f"node.{node}.enabled"]]
    if history.node_s < least_s:
        raise TooLittle(
            f"the history holds {span_words(history.node_s)} of watched nodes, {span_words(least_s)} are wanted",
            "wait, or name a monitor's store that goes back further: --store; a week's jobs should be in it",
        )
    silences = history.silences(board["board.late_ms"])
    advice = Advice(history, silences, 1 / years, len(nodes))
    advice.changes = [*_timings(advice, board), *_power(history, board, nodes)]
    for change in advice.changes:
        values[change.path] = str(change.proposed)
    advice.changes += _follow(values, nodes)
    advice.values = values
    return advice


class _Values:
    """The running numbers by path, defaults where nothing is said."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, path: str) -> int:
        return int(self._values.get(path, settings.default_of(path)))

    def text(self, path: str) -> str:
        return str(self._values.get(path, settings.default_of(path)))


def _timings(advice: Advice, board: _Values) -> Iterator[Change]:
    history = advice.history
    now = {name: board[f"board.{name}"] for name in ("interval_ms", "late_ms", "dead_ms", "common_cause_ms")}
    bench = int(board["board.bench"])
    silences = advice.silences
    late_ms, late_why = _late(history, now["late_ms"], now["interval_ms"], bench)
    interval_ms, interval_why = now["interval_ms"], "as it is: two heartbeats may be lost before a node is late"
    if BEATS * interval_ms > late_ms:
        interval_ms = max(_least("interval_ms", bench), _down(late_ms // BEATS))
        interval_why = f"{BEATS} heartbeats should fit into late_ms {late_ms}"
        late_ms = max(late_ms, 2 * interval_ms)
    common_ms, common_why = _common(history, now["common_cause_ms"], interval_ms, bench)
    stall_ms = max([FLASH_STALL_MS, *history.stalls_ms])
    floor_ms = max(late_ms + common_ms + 1, stall_ms + 2 * interval_ms + 1, _least("dead_ms", bench))
    floor_ms = max(floor_ms, silences.least_ms, math.ceil(_longest(silences) * MARGIN))
    dead_ms, dead_why = _dead(advice, silences, now["dead_ms"], _up(floor_ms))
    advice.running_odds = silences.odds(now["dead_ms"], SURE)
    advice.proposed_odds = silences.odds(dead_ms, SURE)
    yield Change("board.interval_ms", now["interval_ms"], interval_ms, interval_why)
    yield Change("board.late_ms", now["late_ms"], late_ms, late_why)
    yield Change("board.dead_ms", now["dead_ms"], dead_ms, dead_why)
    yield Change("board.common_cause_ms", now["common_cause_ms"], common_ms, common_why)


def _late(history: History, now_ms: int, interval_ms: int, bench: int) -> tuple[int, str]:
    """Return the least late_ms that is shown to be passed once in LATE_S of a node at most."""
    silences = history.silences(now_ms)

    def rate(length_ms: int) -> float:
        return min(silences.odds(length_ms, SURE).counted, looked_rate(history.looks.ages, length_ms, SURE))

    least_ms = max(BEATS * interval_ms, _least("late_ms", bench))
    seen = len(silences.lengths_ms)
    begin_ms = _up(min(now_ms, least_ms))
    for length_ms in range(begin_ms, now_ms, STEP_MS):
        if rate(length_ms) <= 1 / LATE_S:
            return length_ms, "at most one silence so long a week of a node, by looks at the age of heartbeats"
    if seen / max(history.node_s, 1) > 1 / LATE_S:
        for length_ms in range(_up(now_ms), _most("late_ms"), STEP_MS):
            if silences.odds(length_ms, SURE).count / history.node_s <= 1 / LATE_S:
                return length_ms, f"{seen} silences of {silences.least_ms} ms and more are above one a week of a node"
    return now_ms, "as it is: no shorter one is shown to be passed once a week or less"


def _common(history: History, now_ms: int, interval_ms: int, bench: int) -> tuple[int, str]:
    """Return how far apart lines that fail together fall silent: their last heartbeats are up to an interval apart."""
    least_ms = max(2 * interval_ms, _least("common_cause_ms", bench))
    if not history.spreads_ms:
        return max(now_ms, least_ms), "as it is, or two intervals: no lines fell silent together"
    worst_ms = max(history.spreads_ms)
    words = f"lines that fell silent together did so within {worst_ms} ms, {len(history.spreads_ms)} times"
    return max(least_ms, _up(math.ceil(worst_ms * MARGIN))), words


def _dead(advice: Advice, silences: Silences, now_ms: int, floor_ms: int) -> tuple[int, str]:
    """Return the least dead_ms that is shown to keep to the target, else one that is no lower than what runs."""
    longest_ms = _longest(silences)
    seen = f"the longest silence is {longest_ms} ms" if longest_ms else "no silence was seen"
    length_ms = floor_ms
    while length_ms <= _most("dead_ms"):
        shown = advice.shows(silences.odds(length_ms, SURE))
        if shown == "counting" or (shown == "tail" and (length_ms >= now_ms or silences.watched_s >= LOWER_S)):
            return length_ms, f"{seen}; keeps to the target, by {SHOWN[shown]}"
        length_ms = _up(max(length_ms + STEP_MS, math.ceil(length_ms * 1.01)))
    dead_ms = min(_most("dead_ms"), max(now_ms, floor_ms))
    wanted_s = poisson_mean(0, 1 - SURE) * YEAR_S * advice.nodes / advice.target_per_year
    short = f"nothing shows the target (counting would, after {wanted_s / YEAR_S:.1f} node-years without one)"
    return dead_ms, f"{seen}; {'raised' if dead_ms > now_ms else 'no lower than it is'}: {short}"


def _longest(silences: Silences) -> int:
    """Return the longest silence that dead_ms should outlast, in ms; 0 for none."""
    return max((one for one in silences.lengths_ms if one <= OUTAGE_MS), default=0)


def _power(history: History, board: _Values, nodes: list[str]) -> Iterator[Change]:
    stable_ms, now_ms = board["board.off_stable_ms"], board["board.off_timeout_ms"]
    offs_ms = [one for starts in history.starts.values() for one in starts.offs_ms]
    offs_ms += [one + stable_ms for starts in history.starts.values() for one in starts.proofs_ms]
    off_ms, why = _measured(offs_ms, now_ms, "proofs that power is off")
    yield Change("board.off_timeout_ms", now_ms, min(_most("off_timeout_ms"), max(off_ms, stable_ms + 250)), why)
    for node in nodes:
        path = f"node.{node}.boot_grace_ms"
        starts = history.starts.get(node, Starts())
        boots_ms = [*starts.boots_ms]
        if starts.slowest_ms > max(boots_ms, default=0):
            boots_ms.append(starts.slowest_ms)
        row, _ = settings.row_of(path)
        grace_ms, why = _measured(boots_ms, board[path], "starts")
        least_ms = settings.minimum_of(row, int(board["board.bench"]))
        yield Change(path, board[path], min(int(row[3]), max(grace_ms, least_ms)), why)


def _measured(found_ms: list[int], now_ms: int, what: str) -> tuple[int, str]:
    """Return twice the slowest measurement if there are enough to raise or to lower a limit."""
    count = len(found_ms)
    if not count:
        return now_ms, f"as it is: no {what} seen"
    worst_ms = max(found_ms)
    wanted_ms = _up(TWICE * worst_ms)
    doubt = f"the next is above it with odds of 1 in {1 / rank_doubt(count):.0f}"
    words = f"{count} {what}, the slowest {worst_ms} ms; {doubt}"
    if wanted_ms > now_ms and count >= TO_RAISE:
        return wanted_ms, words
    if wanted_ms < now_ms and count >= TO_LOWER:
        return wanted_ms, words
    return now_ms, f"as it is: {words}"


def _follow(values: dict[str, str], nodes: list[str]) -> list[Change]:
    """Change what the rules between settings want besides; return that. Raises BadConfig if they cannot be met."""
    found: dict[str, Change] = {}
    for _ in range(len(settings.paths())):
        checked = config.parse(running_toml(values), "the proposal")
        wrong = [(problem, _LIMIT.search(problem.words)) for problem in checked.problems]
        limits = [(problem, limit) for problem, limit in wrong if limit is not None]
        if not wrong:
            return list(found.values())
        if len(limits) < len(wrong):
            break
        problem, limit = limits[0]
        section = problem.path.rpartition(".")[0]
        path = limit[1] if limit[1].startswith("board.") else f"{section}.{limit[1]}"
        before = int(values.get(path, settings.default_of(path)))
        first = found[path].running if path in found else before
        values[path] = limit[2]
        found[path] = Change(path, first, int(limit[2]), f"the rules want it: {problem.words}")
    words = "; ".join(str(problem) for problem in checked.problems)
    raise BadConfig(f"no settings that keep the rules: {words}", "mend the settings first: `heartwire config check`")


def config_text(advice: Advice) -> str:
    """Return the changed settings as TOML, to be put into a config file."""
    changed = {change.path: str(change.proposed) for change in advice.changes if change.proposed != change.running}
    return running_toml(changed)


def values_now(wanted: settings.Settings) -> dict[str, str]:
    """Return the settings of a config file as path to value, as `advise` takes them."""
    return values_of(wanted.text())


def _least(name: str, bench: int) -> int:
    return settings.minimum_of(settings.row_of(f"board.{name}")[0], bench)


def _most(name: str) -> int:
    return int(settings.row_of(f"board.{name}")[0][3])


def _up(ms: float) -> int:
    return math.ceil(ms / STEP_MS) * STEP_MS


def _down(ms: float) -> int:
    return math.floor(ms / STEP_MS) * STEP_MS
