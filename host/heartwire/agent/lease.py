"""The lease: what this server may do with its services right now. The core safety logic of the agent.

A pure state machine: grants and times go in, a judgement comes out. It reads no clock, does no I/O and never raises;
the agent (agent.py) judges before it does anything else in each round. All times are nanoseconds of CLOCK_BOOTTIME,
which goes on while the machine is suspended, so that neither a suspend, nor a paused process, nor a wall clock set
back extends a lease.

The table it implements (newest grant accepted, lease, what to do with on_board_loss = hold / stop):

    none since start                    resumed lease runs   keep
    none since start                    none                 keep / stop
    advisory                            any                  advisory: run no hook, stop nothing
    active                              runs                 run
    active, no lease of this epoch yet  an older one runs    keep
    active                              over                 keep / stop
    active + drain                      any                  drain
    revoke, or any other role           void                 stop
    any other role + hold, no revoke    runs                 keep
    any other role + hold, no revoke    over                 keep / stop

A lease ends by its time, by a revoke, by a role without `hold`, and by a `hold` that names a higher epoch: then it was
given to somebody since. A board that has just restarted knows neither of this lease nor of its end, so its `hold`
takes nothing back. Nor does an advisory grant.

The board answers a heartbeat again when a role or an order changes. Such a second grant counts only if it takes away,
or if its epoch is higher than any seen: an old grant that comes again gives nothing back.

A grant with a lower epoch than one seen before counts as no grant, unless it revokes: the board that sent it has lost
its memory, and knows neither who is active nor who may be stopped.
"""

from enum import Enum
from typing import NamedTuple

from heartwire_protocol import codes, messages

NS_PER_MS = 1_000_000
# How long what runs without a lease goes on when a board is met: time to hear it (a second for its port, a few
# heartbeats), and for a board that was armed just now to store its first epoch.
GRACE_NS = 1_000_000_000
GRACE_INTERVALS = 3


class Grant(NamedTuple):
    """One grant that passed every check of its signature and of the heartbeat it answers."""

    sequence: int
    sent_ns: int  # CLOCK_BOOTTIME just before the answered heartbeat was written
    role: int
    orders: int
    epoch: int
    lease_ms: int


class Loss(Enum):
    """What a running service does when the board falls silent."""

    HOLD = "hold"
    STOP = "stop"


class Wish(Enum):
    """What is to be done with the services."""

    ADVISORY = "advisory"  # touch nothing: the board only watches
    KEEP = "keep"  # what runs goes on, nothing starts
    RUN = "run"  # entitled: they shall run
    DRAIN = "drain"  # stop them in good order, and say when it is done
    STOP = "stop"  # stop them now


class Verdict(Enum):
    """What became of a grant."""

    ACCEPTED = "accepted"
    LOWER_EPOCH = "lower_epoch"
    OLD = "old"


class Judgement(NamedTuple):
    """What holds at one moment."""

    wish: Wish
    entitled: bool
    left_ms: int  # of the lease; 0 when it is over or void
    stop_since_ns: int  # since when the services should be stopped; only meaningful with Wish.STOP and Wish.DRAIN
    reason: str  # stable word for logs and HEARTWIRE_REASON


def grace_ns(interval_ms: int) -> int:
    """Return how long services that run without a lease are left alone, in ns."""
    return GRACE_NS + GRACE_INTERVALS * interval_ms * NS_PER_MS


class Lease:
    """Hold the newest word of the board, and judge it at any time."""

    def __init__(
        self,
        on_board_loss: Loss,
        epoch: int,
        resumed_until_ns: int = 0,
        started_ns: int = 0,
        resumed_epoch: int | None = None,
    ) -> None:
        """Begin without a grant; `epoch` is the highest ever seen.

        Until `resumed_until_ns` (the end of a former agent's lease, or a grace) what runs goes on and nothing starts.
        `resumed_epoch` is the epoch of that lease; the highest ever seen unless given.
        """
        self.on_board_loss = on_board_loss
        self.epoch = epoch
        self.epoch_before = epoch  # the highest seen before this one; the same as this one after a restart of the agent
        self.role: int | None = None
        self.orders = 0
        self.active_epoch = 0  # epoch of the newest accepted active grant
        self.newest_sent_ns = 0
        self.answered_sequence = 0  # of the heartbeat that the lease answers
        self.running_sequence = 0  # of the newest heartbeat that said that the services run
        self._sequence = 0
        self._until_ns = resumed_until_ns
        self._lease_epoch = epoch if resumed_epoch is None else resumed_epoch  # epoch the lease was given under
        self._resumed = True  # no lease of this agent's own: it starts nothing
        self._stop_since_ns = max(resumed_until_ns, started_ns)

    @property
    def until_ns(self) -> int:
        """Return when the lease ends; 0 if it is void."""
        return self._until_ns

    @property
    def lease_epoch(self) -> int:
        """Return the epoch that the lease was given under."""
        return self._lease_epoch

    def restart(self) -> None:
        """Forget which sequence was answered last: a new incarnation counts from one again. The lease stays."""
        self._sequence = self.answered_sequence = self.running_sequence = 0

    def take(self, grant: Grant, now_ns: int) -> Verdict:
        """Accept or refuse `grant`, received at `now_ns`. A refused one changes nothing but what it is refused for."""
        if grant.sequence < self._sequence or grant.sent_ns > now_ns:
            return Verdict.OLD
        if grant.sequence == self._sequence and not self._may_follow(grant):
            return Verdict.OLD
        self._sequence = grant.sequence
        advisory = bool(grant.orders & messages.ORDER_ADVISORY)
        revoked = bool(grant.orders & messages.ORDER_REVOKE)
        if not advisory and not revoked and grant.epoch < self.epoch:
            return Verdict.LOWER_EPOCH
        before = self.judge(now_ns)
        self.role = grant.role
        self.orders = grant.orders
        self.newest_sent_ns = grant.sent_ns
        if advisory:
            return Verdict.ACCEPTED
        if grant.epoch > self.epoch:
            self.epoch_before = self.epoch
            self.epoch = grant.epoch
        if revoked or (grant.role != codes.ROLE_ACTIVE and not self._is_held(grant)):
            self._until_ns = 0
        elif grant.role == codes.ROLE_ACTIVE:
            self.active_epoch = grant.epoch
            if grant.lease_ms > 0:
                self._until_ns = grant.sent_ns + grant.lease_ms * NS_PER_MS
                self._lease_epoch = grant.epoch
                self._resumed = False
                self.answered_sequence = grant.sequence
        still = self.judge(now_ns).wish is before.wish
        self._stop_since_ns = before.stop_since_ns if still else now_ns
        return Verdict.ACCEPTED

    def _is_held(self, grant: Grant) -> bool:
        """Tell whether `grant`, of another role than active, leaves the lease to run."""
        return bool(grant.orders & messages.ORDER_HOLD) and grant.epoch <= self._lease_epoch

    def _may_follow(self, grant: Grant) -> bool:
        """Tell whether `grant` may count after another one that answered the same heartbeat."""
        takes = grant.orders & (messages.ORDER_DRAIN | messages.ORDER_REVOKE | messages.ORDER_ADVISORY)
        return bool(takes) or grant.role != codes.ROLE_ACTIVE or not grant.lease_ms or grant.epoch > self.epoch

    def judge(self, now_ns: int) -> Judgement:
        """Return what holds at `now_ns`."""
        runs = now_ns < self._until_ns
        left_ms = (self._until_ns - now_ns) // NS_PER_MS if runs else 0
        if self.role is None:
            if runs:
                return Judgement(Wish.KEEP, False, left_ms, 0, "resumed")
            return self._without_lease("not_granted", self._stop_since_ns)
        if self.orders & messages.ORDER_ADVISORY:
            return Judgement(Wish.ADVISORY, False, 0, 0, "advisory")
        if self.orders & messages.ORDER_REVOKE:
            return Judgement(Wish.STOP, False, 0, self._stop_since_ns, "revoked")
        if self.role != codes.ROLE_ACTIVE:
            if self.orders & messages.ORDER_HOLD:
                if runs:
                    return Judgement(Wish.KEEP, False, left_ms, 0, "board_holds")
                return self._without_lease("board_holds", self._until_ns or self._stop_since_ns)
            return Judgement(Wish.STOP, False, 0, self._stop_since_ns, "not_active")
        if self.orders & messages.ORDER_DRAIN:
            since_ns = self._stop_since_ns if runs else max(self._stop_since_ns, self._until_ns)
            entitled = runs and self._is_own
            return Judgement(Wish.DRAIN, entitled, left_ms, since_ns, "drain")
        if runs and self._is_own:
            return Judgement(Wish.RUN, True, left_ms, 0, "granted")
        if runs:
            return Judgement(Wish.KEEP, False, left_ms, 0, "not_renewed")
        return self._without_lease(
            "lease_over" if self._until_ns else "not_leased", self._until_ns or self._stop_since_ns
        )

    @property
    def knows_of_stop(self) -> bool:
        """Tell whether the lease answers a heartbeat from after the services last ran.

        One that answers an older heartbeat, held up on its way, is for services that never stopped: whoever stopped
        them since may not start them under its epoch.
        """
        return self.answered_sequence > self.running_sequence

    @property
    def _is_own(self) -> bool:
        """Tell whether the lease was given to this agent, under the epoch that is active now."""
        return not self._resumed and self._lease_epoch == self.active_epoch

    def _without_lease(self, reason: str, since_ns: int) -> Judgement:
        wish = Wish.KEEP if self.on_board_loss is Loss.HOLD else Wish.STOP
        return Judgement(wish, False, 0, since_ns, reason)
