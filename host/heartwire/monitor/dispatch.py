"""The postman of one channel: groups what waits into messages, sends them, and tries again what failed.

In quiet times each event goes out at once (after gather_ms, so that what belongs together stays together); when the
channel's burst is used up, one message in refill_s carries everything that came meanwhile. What certainly failed is
bundled anew with what came since, so a channel that was down for a day gets a few messages, not thousands. It asks the
partner (peer) whether the other monitor has told it. Where many monitors share a store, an attempt of another one is
watched, and taken over when it has stood longer than any can last. All times here are monotonic: a clock that jumps
delays nothing. One thread per channel calls `step`; the outbox keeps everything that must outlive it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from heartwire.errors import StorageProblem
from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import START_S, Courier, Letter, Outcome
from heartwire.monitor.deliver import OVERTIME_S
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Mention, Message, Outbox
from heartwire.monitor.settings import ChannelSettings

RETRY_FIRST_S = 1.0
RETRY_MOST_S = 300.0
# Something new is tried after this, however long the channel has failed.
PROMPT_S = 30.0
# An attempt that a killed monitor left running is looked at so often.
RECALL_S = 0.2
IDLE_S = 60.0
# Added to what an attempt of another monitor can last, for its words to reach the store.
MARGIN_S = 5.0
SHORTEST_S = 0.001


def claim_s(channel: ChannelSettings) -> float:
    """Return how long an attempt of another monitor stands before it is given up for gone.

    From `begin` to the order, from the order to the start, the attempt itself, and the margin.
    """
    return START_S + START_S + channel.limit_s + OVERTIME_S + MARGIN_S


@dataclass(frozen=True)
class Aged:
    """A mention, with the seconds since this monitor first saw it; `old` if it was there before this monitor began."""

    mention: Mention
    age_s: float
    old: bool


class Partner(Protocol):
    """The other monitor, as far as this channel is concerned."""

    def judge(self, channel: str, waiting: Sequence[Aged]) -> tuple[list[Aged], float]:
        """Return those that this monitor should tell now, and seconds until the others should be judged again."""


class Alone:
    """No other monitor: tell everything now."""

    def judge(self, channel: str, waiting: Sequence[Aged]) -> tuple[list[Aged], float]:
        return [aged for aged in waiting if aged.mention.state == "waiting"], IDLE_S


@dataclass
class Tally:
    """What metrics show of a channel since this monitor began."""

    sent: int = 0
    failed: int = 0
    trouble: str = ""
    took_s: float = 0.0


class Postman:
    """One channel."""

    def __init__(
        self,
        channel: ChannelSettings,
        outbox: Outbox,
        composer: Composer,
        courier: Courier,
        log: Log,
        *,
        gather_ms: int,
        partner: Partner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.tally = Tally()
        self._outbox = outbox
        self._composer = composer
        self._courier = courier
        self._log = log
        self._gather_s = gather_ms / 1000
        self._partner = partner or Alone()
        self._clock = clock
        self._first_seen: dict[int, float] = {}
        self._failures = 0  # attempts that failed since one succeeded
        self._next_try = clock()
        self._last_try = clock()
        self._was_there: set[int] | None = None  # mentions of before this monitor began
        self._tokens = float(channel.burst)
        self._filled = clock()
        # When attempts of other monitors were first seen, by message and attempt.
        self._claims: dict[tuple[int, int], float] = {}

    def step(self) -> float:
        """Do what is due; return seconds until the next step, at most IDLE_S. Raises StorageProblem."""
        try:
            return self._step()
        except StorageProblem:
            # The others could not write what became of their attempts either: they get all their time again.
            self._claims.clear()
            raise

    def _step(self) -> float:
        now_s = self._clock()
        self._courier.warm(self.channel)
        unsent = self._outbox.unsent(self.channel.name)
        sending = [message for message in unsent if message.state == "sending"]
        for message in sending:
            if self._outbox.is_ours(message) and not self._recall(message):
                return RECALL_S
        expires_s = self._watch([message for message in sending if not self._outbox.is_ours(message)], now_s)
        wait_s = min(expires_s, self._bundle(now_s, unsent))
        pending = [message for message in self._outbox.unsent(self.channel.name) if message.state == "pending"]
        if pending and self._next_try <= self._clock():
            # The one that was tried least: a message that is refused for ever does not keep the others.
            self._try(min(pending, key=lambda message: message.attempts))
            return 0.0
        if pending:
            wait_s = min(wait_s, self._next_try - self._clock())
        return max(SHORTEST_S, wait_s)

    def _watch(self, theirs: Sequence[Message], now_s: float) -> float:
        """Take over the attempts of other monitors that have stood too long; return seconds until the next may have.

        By this monitor's own clock, from when it first saw them: the clocks of two hosts need not agree.
        """
        limit_s = claim_s(self.channel)
        seen = {(message.id, message.attempts): message for message in theirs}
        self._claims = {key: self._claims.get(key, now_s) for key in seen}
        wait_s = IDLE_S
        for key, since_s in self._claims.items():
            if now_s - since_s < limit_s:
                wait_s = min(wait_s, since_s + limit_s - now_s)
            elif self._outbox.expire(seen[key]):
                fields = {"channel": self.channel.name, "id": seen[key].uid, "attempt": key[1]}
                self._log.warning("taken_over", **fields, words="the monitor that was sending it is gone")
        return wait_s

    def _bundle(self, now_s: float, unsent: Sequence[Message]) -> float:
        """Make one message of what waits and may go out now; return seconds until there may be another one."""
        waiting = self._aged(now_s)
        if not waiting:
            return IDLE_S
        ours, judge_s = self._partner.judge(self.channel.name, waiting)
        if not ours:
            return judge_s
        oldest_s = max(aged.age_s for aged in ours)
        if oldest_s < self._gather_s and not any(aged.old for aged in ours):
            return min(judge_s, self._gather_s - oldest_s)
        short_s = max(self._lacking(now_s), self._prompt(now_s))
        if short_s > 0:
            return min(judge_s, short_s)
        # What certainly has not gone out is told in the same message, so that a channel that was down gets one.
        failed = [message.id for message in unsent if message.trouble and not message.unsure]
        chosen = [*self._outbox.bundled(failed), *[aged.mention for aged in ours]]
        for at, group in enumerate(self._groups(chosen)):
            words = self._composer.compose(group)
            ids = [mention.id for mention in group]
            absorbed = failed if at == 0 else []
            if self._outbox.bundle(self.channel.name, ids, absorbed, words.severity, words.title, words.body):
                self._tokens -= 1
                self._next_try = now_s
            else:
                break  # the other monitor has just claimed one of them: judge anew
        self._first_seen = {aged.mention.id: self._first_seen[aged.mention.id] for aged in waiting}
        return judge_s

    def _prompt(self, now_s: float) -> float:
        """Return seconds until something new may be tried although the last attempt failed."""
        return (
            max(0.0, self._last_try + min(PROMPT_S, self._next_try - self._last_try) - now_s) if self._failures else 0.0
        )

    def _groups(self, chosen: Sequence[Mention]) -> list[list[Mention]]:
        """Return one group for each board while there are tokens for that, else one for all."""
        by_board: dict[str, list[Mention]] = {}
        for mention in chosen:
            by_board.setdefault(mention.board_id, []).append(mention)
        return list(by_board.values()) if len(by_board) <= self._tokens else [list(chosen)]

    def _aged(self, now_s: float) -> list[Aged]:
        waiting = self._outbox.waiting(self.channel.name)
        if self._was_there is None:
            self._was_there = {mention.id for mention in waiting}
        found = []
        for mention in waiting:
            age_s = now_s - self._first_seen.setdefault(mention.id, now_s)
            found.append(Aged(mention, age_s, mention.id in self._was_there))
        return found

    def _lacking(self, now_s: float) -> float:
        """Return seconds until a token is there, 0 if one is."""
        refill_s = self.channel.refill_s
        self._tokens = min(float(self.channel.burst), self._tokens + (now_s - self._filled) / refill_s)
        self._filled = now_s
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) * refill_s

    def _recall(self, message: Message) -> bool:
        """Find out what became of an attempt that was begun before; tell whether it has ended."""
        outcome = self._courier.recall(message.uid, message.attempts)
        if outcome.busy:
            return False
        self._conclude(message, message.attempts, outcome)
        return True

    def _try(self, message: Message) -> None:
        facts = self._composer.facts(self._outbox.bundled([message.id]))
        letter = Letter(message.uid, message.severity, message.title, message.body, facts)
        asked_s = self._clock()
        attempt = self._outbox.begin(message.id)
        if attempt is None:
            return
        began_s = self._clock()
        if began_s - asked_s > START_S:
            self._conclude(message, attempt, Outcome(False, "the store took too long"))
            return
        outcome = self._courier.send(self.channel, letter, attempt)
        self.tally.took_s = self._clock() - began_s
        if outcome.busy:
            return  # a command still runs: recall looks after it
        self._conclude(message, attempt, outcome)

    def _conclude(self, message: Message, attempt: int, outcome: Outcome) -> None:
        self._outbox.finish(message.id, attempt, sent=outcome.sent, trouble=outcome.trouble, unsure=outcome.unsure)
        self._courier.forget(message.uid, attempt)
        fields = {"channel": self.channel.name, "id": message.uid, "attempt": attempt}
        if outcome.sent:
            self._failures = 0
            self.tally.sent += 1
            self.tally.trouble = ""
            self._log.info(
                "told", **fields, took_s=round(self.tally.took_s, 2), severity=message.severity, title=message.title
            )
            return
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2**self._failures) * random.uniform(0.9, 1.1)  # noqa: S311
        self._failures = min(self._failures + 1, 60)
        self._last_try = self._clock()
        self._next_try = self._last_try + wait_s
        self.tally.failed += 1
        self.tally.trouble = outcome.trouble
        self._log.warning("not_told", **fields, words=outcome.trouble, again_s=round(wait_s, 1), unsure=outcome.unsure)
