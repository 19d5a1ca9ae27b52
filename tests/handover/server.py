"""A server of the hand-over model: the agent's shipped stages that decide what its services may do, and its watchdog.

Shipped: the lease, the reader of grants, the record of what was sent, the word that feeds the watchdog, and what a new
agent takes over from the one before. Modelled: services that start and stop within a tick, or are stuck; the kernel's
watchdog; a disk that keeps the epoch. Its clock runs at a rate of its own. It knows nothing of the board.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from heartwire.agent import watchdog as dog
from heartwire.agent.beat import RING, Incarnation
from heartwire.agent.build import resumed_lease
from heartwire.agent.grants import GrantReader, Refusal
from heartwire.agent.lease import NS_PER_MS, Lease, Loss, Wish
from heartwire.agent.state import Resumption
from heartwire_protocol import codes, messages

INTERVAL_MS = 1000
# As the settings of the model's cases have it: self_fence_ms is the sum.
STOP_TIMEOUT_MS = 1000
WATCHDOG_MS = 2000
# Canonical numbers of a thawed server; no rule depends on them.
NOW_MS = 10_000_000
SEQUENCE = 1000
# What answers an older heartbeat is in no network (net.HELD_MAX ticks), so nothing older need be remembered.
SENT_KEPT = 6
LONG_AGO_MS = 5000  # more than any rule waits after the end of a lease


class Server:
    """Server `node`, whose clock lets `rate_ms` pass in a second of the board's."""

    def __init__(self, node: int, loss: Loss, rate_ms: int) -> None:
        self.node = node
        self.loss = loss
        self.rate_ms = rate_ms
        self.now_ms = NOW_MS
        self.disk_epoch = 0
        self.paused = False  # its agent does nothing; its services go on
        self.stuck = False  # its services do not stop
        self.running = False
        self.stopped = True  # verified
        self.unfed_ms = 0
        self.reader = GrantReader(node, None)
        self.incarnation = Incarnation(1)
        self.settings: Any = SimpleNamespace(on_board_loss=loss, interval_ms=INTERVAL_MS)
        self.boot(1)

    def boot(self, incarnation: int) -> None:
        """Start a new agent on a fresh system: its disk is all that is left."""
        self.running, self.stopped = False, True
        self.paused = self.stuck = False
        self.unfed_ms = 0
        self._new_agent(incarnation, Resumption())

    def restart_agent(self, incarnation: int) -> None:
        """Kill the agent and start a new one, while the services go on; it reads the status file."""
        lease = self.lease
        self.paused = False
        self._new_agent(
            incarnation,
            Resumption(lease.until_ns, lease.lease_epoch, suspect=not self.stopped, running=self.running),
        )

    def _new_agent(self, incarnation: int, former: Resumption) -> None:
        self.lease: Lease = resumed_lease(self.settings, self.disk_epoch, former, self.now_ms * NS_PER_MS)
        self.incarnation = Incarnation(incarnation)
        self.judged = self.lease.judge(self.now_ms * NS_PER_MS)

    @property
    def entitled(self) -> bool:
        """Tell whether its lease lets it start services now: not while it is drained, nor while its agent is paused."""
        return not self.paused and self.lease.judge(self.now_ms * NS_PER_MS).wish is Wish.RUN

    def pass_time(self) -> bool:
        """Let a second pass; tell whether the kernel's watchdog resets the server."""
        self.now_ms += self.rate_ms
        if not self.paused:
            self.converge()
        if self.loss is not Loss.STOP:
            return False
        now_ns = self.now_ms * NS_PER_MS
        suspect = not self.stopped
        if not self.paused and dog.may_feed(self.judged, suspect, now_ns, STOP_TIMEOUT_MS * NS_PER_MS):
            self.unfed_ms = 0
            return False
        self.unfed_ms += self.rate_ms
        return self.unfed_ms >= WATCHDOG_MS

    def converge(self) -> bool:
        """Judge the lease and let the services follow it; tell whether they start."""
        self.judged = judged = self.lease.judge(self.now_ms * NS_PER_MS)
        self.disk_epoch = max(self.disk_epoch, self.lease.epoch)
        if judged.wish is Wish.RUN and not self.running and self.lease.knows_of_stop:
            self.running, self.stopped = True, False
            return True
        if judged.wish in (Wish.STOP, Wish.DRAIN) and not self.stuck:
            self.running, self.stopped = False, True
        return False

    def beat(self) -> tuple[int, ...]:
        """Send a heartbeat: (state, flags, incarnation, sequence, epoch, challenge as a number)."""
        challenge = self.incarnation.challenge
        flags = (
            (messages.FLAG_RUNNING if self.running else 0)
            | (messages.FLAG_VERIFIED_STOPPED if self.stopped else 0)
            | (messages.FLAG_WATCHDOG_ARMED if self.loss is Loss.STOP else 0)
            | (messages.FLAG_ANSWERED if challenge is not None else 0)
            | (messages.FLAG_CHALLENGE_ODD if challenge is not None and challenge[0] & 1 else 0)
        )
        state = codes.STATE_DRAINING if self.judged.wish is Wish.DRAIN else codes.STATE_HEALTHY
        sequence = self.incarnation.next_sequence(self.now_ms * NS_PER_MS)
        if self.running:
            self.lease.running_sequence = sequence
        number = int.from_bytes(challenge or bytes(4), "little")
        return state, flags, self.incarnation.number, sequence, self.lease.epoch, number

    def hear(self, payload: bytes) -> bool:
        """Take a grant; tell whether services start by it."""
        if self.paused:
            return False
        grant = self.reader.read(messages.GRANT, payload, self.incarnation)
        if isinstance(grant, Refusal):
            return False
        self.lease.take(grant, self.now_ms * NS_PER_MS)
        return self.converge()

    def freeze(self, base: int) -> tuple[Any, ...]:
        """Return everything that its future depends on; epochs count from `base`."""
        lease = self.lease
        now_ns = self.now_ms * NS_PER_MS
        sent = self.incarnation
        newest = sent.sequence
        first = max(1, sent.newest_answered, newest - SENT_KEPT + 1)
        known = [at for at in range(first, newest + 1) if sent._sequences[at % RING] == at]
        ages = tuple([min(LONG_AGO_MS, (now_ns - sent._sent_ns[at % RING]) // NS_PER_MS) for at in known])
        left = max(-LONG_AGO_MS, (lease._until_ns - now_ns) // NS_PER_MS) if lease._until_ns else None
        return (
            self.paused, self.stuck, self.running, self.stopped, self.unfed_ms, max(0, self.disk_epoch - base),
            ages, _back(newest, sent.newest_answered), sent.newest_answered > 0, newest == 0,
            max(0, lease.epoch - base), max(0, lease.active_epoch - base) if lease.active_epoch else 0,
            max(0, lease._lease_epoch - base),
            lease.role, lease.orders, left, lease._resumed, _back(newest, lease.answered_sequence),
            lease.answered_sequence > 0, _back(newest, lease.running_sequence), lease.running_sequence > 0,
            _back(newest, lease._sequence), lease._sequence > 0,
            min(LONG_AGO_MS, (now_ns - lease._stop_since_ns) // NS_PER_MS),
        )  # fmt: skip

    def thaw(self, frozen: tuple[Any, ...], number: int, challenge: bytes | None) -> None:
        """Take everything from a frozen server."""
        (
            self.paused, self.stuck, self.running, self.stopped, self.unfed_ms, self.disk_epoch,
            ages, answered, has_answer, fresh, epoch, active_epoch, lease_epoch,
            role, orders, left, resumed, leased, is_leased, ran, has_run, taken, has_taken, stop_since_ms,
        ) = frozen  # fmt: skip
        self.now_ms = NOW_MS
        now_ns = NOW_MS * NS_PER_MS
        sent = self.incarnation = Incarnation(number)
        sent.sequence = 0 if fresh else SEQUENCE
        sent.challenge = challenge
        for back, age in enumerate(reversed(ages)):
            at = SEQUENCE - back
            sent._sequences[at % RING] = at
            sent._sent_ns[at % RING] = now_ns - age * NS_PER_MS
        sent.newest_answered = SEQUENCE - answered if has_answer else 0
        lease = self.lease = Lease(self.loss, epoch)
        lease.active_epoch, lease._lease_epoch = active_epoch, lease_epoch
        lease.role, lease.orders, lease._resumed = role, orders, resumed
        lease._until_ns = 0 if left is None else now_ns + left * NS_PER_MS
        lease._sequence = SEQUENCE - taken if has_taken else 0
        lease.answered_sequence = SEQUENCE - leased if is_leased else 0
        lease.running_sequence = SEQUENCE - ran if has_run else 0
        lease._stop_since_ns = now_ns - stop_since_ms * NS_PER_MS
        self.judged = lease.judge(now_ns)


def _back(newest: int, sequence: int) -> int:
    """Return how far `sequence` lies behind the newest one; 0 if there is none."""
    return min(newest - sequence, SENT_KEPT) if sequence else 0
