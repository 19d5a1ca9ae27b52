"""Bring the services to what the lease wishes, with hooks, and know truthfully whether they run.

Steps once per round of the agent, starts at most one hook at a time, never waits. It converges: whatever state it
finds, and however often a hook fails, the same wish leads to the same end, so hooks must be idempotent. It never
starts anything unless the lease says run, and says `verified_stopped` only when the stop commands succeeded since the
last start and a check begun after them found the services stopped (without a check: when the stop commands
succeeded).
"""

from collections.abc import Callable
from enum import Enum

from heartwire.agent.hooks import Commands, Result
from heartwire.agent.lease import Judgement, Wish
from heartwire.agent.log import Log
from heartwire.agent.settings import Command, HookSettings

NS_PER_S = 1_000_000_000
# Exit status of a check that found the services stopped: ours, and that of `systemctl is-active` and LSB's scripts.
# Any other is the check's own failure (a wrong call, a missing program, a signal) and says nothing of the services.
CHECK_STOPPED = (1, 3)


# Why a start waits for a moment, each time.
STORING = "storing the epoch"
# A service that ended by itself is not started again before this: in a shutdown the word of it comes just behind.
SETTLE_NS = NS_PER_S


class Known(Enum):
    """What is known about the services."""

    UNKNOWN = "unknown"
    STOPPED = "stopped"
    RUNNING = "running"


class Services:
    """The services of one node."""

    def __init__(self, node: str, hooks: HookSettings, commands: Commands, checks: Commands, log: Log) -> None:
        """Begin with nothing known; `commands` run the hooks, `checks` the check: neither waits for the other."""
        self.known = Known.UNKNOWN
        self.suspect = (
            False  # may have run since they were last verified stopped: the watchdog must bite if they cannot be
        )
        self.failed = ""  # the hook that failed last, until one succeeds
        self.epoch = 0  # they were started, or found running, under this epoch
        self.epoch_before = 0  # the highest epoch that this server had seen before the newest one, for hooks
        self.refused_to_start = ""
        self._node = node
        self._hooks = hooks
        self._commands = commands
        self._checks = checks
        self._log = log
        self._job = 0
        self._job_kind = ""
        self._job_role = ""
        self._recovery = 0
        self._killing = False
        self._half_stopped = False  # a stop failed or was ended: what a check finds running may be a part
        self._check = 0
        self._check_began_ns = 0
        self._next_check_ns = 0
        self._changed_ns = -1  # results of checks begun before this say nothing
        self._start_again_ns = 0
        self._stop_again_ns = 0
        self._stop_succeeded = False
        self._seen_stopped = False  # since the last hook ended
        self._tried_to_stop_as = ""
        self._stood_by_as = ""
        self._drained = False
        self._running = False

    @property
    def running(self) -> bool:
        """Tell whether the services run, as far as is known."""
        return self._running

    @property
    def verified_stopped(self) -> bool:
        """Tell whether the services are certainly stopped."""
        return self.known is Known.STOPPED and self._stop_succeeded and self._job_kind != "on_active"

    @property
    def starting(self) -> bool:
        """Tell whether they are about to run, or nothing is known yet."""
        unknown = self._hooks.check is not None and self._changed_ns < 0 and not self._running
        return self._job_kind == "on_active" or unknown

    @property
    def can_stop(self) -> bool:
        """Tell whether anything can be done, or found out, about services that may run."""
        hooks = self._hooks
        return bool(hooks.check or hooks.on_standby or hooks.on_drain)

    @property
    def idle(self) -> bool:
        """Tell whether no hook is running."""
        return not self._job

    def take_over(self, suspect: bool, running: bool) -> None:
        """Begin with what a former agent of this boot knew; where a check will tell, only with what may run."""
        self.suspect = suspect
        if running and not self._hooks.check:
            self.known = Known.RUNNING
            self._running = True

    def presume_running(self) -> None:
        """Take services over from an agent that ended under a lease: they count as running until a check tells.

        Until the first check is over nothing else would be known, and a board that hears of no running services takes
        the role away.
        """
        self.suspect = True
        self._running = True

    def step(
        self, now_ns: int, judged: Judgement, role: str, epoch: int, may_start: Callable[[], str], not_after_ns: int
    ) -> None:
        """Take results and start what is needed. `may_start` returns why nothing may start, or an empty text."""
        for result in self._commands.results():
            if result.number == self._job:
                self._hook_ended(now_ns, result)
            elif result.number == self._recovery:
                self._recovery = 0
                report = self._log.info if result.succeeded else self._log.warning
                report("hook_ended", hook="on_recover", outcome=result.outcome, code=result.code)
        for result in self._checks.results():
            if result.number == self._check:
                self._check_ended(now_ns, result)
        if self._hooks.check and not self._check and now_ns >= self._next_check_ns:
            entitled = judged.wish is Wish.RUN
            told = self._environment(role, epoch, judged.reason) if entitled else {"HEARTWIRE_NODE": self._node}
            self._check = self._checks.start(self._hooks.check, told)
            self._check_began_ns = now_ns
        if judged.wish is Wish.RUN:
            self._stood_by_as = ""
            self._tried_to_stop_as = ""
            self._drained = False
            self._stop_again_ns = 0
            self._want_running(now_ns, judged, role, epoch, may_start, not_after_ns)
        elif judged.wish in (Wish.STOP, Wish.DRAIN):
            self._start_again_ns = 0
            self._want_stopped(now_ns, judged, role, epoch)
        if self.verified_stopped:
            self.suspect = False

    def recover(self, role: str, epoch: int) -> None:
        """Run on_recover beside whatever runs, unless it still runs. It says nothing about the services."""
        hook = self._hooks.on_recover
        if hook and not self._recovery:
            self._recovery = self._commands.start(hook, self._environment(role, epoch, "recover"))
            self._log.info("hook_started", hook="on_recover", role=role, epoch=epoch)

    def _want_running(
        self, now_ns: int, judged: Judgement, role: str, epoch: int, may_start: Callable[[], str], not_after_ns: int
    ) -> None:
        if self.known is Known.RUNNING:
            self.epoch = epoch
        if self._job_kind in ("on_standby", "on_drain") and not self._killing:
            # What it still waits for, such as a guest that arrives, may be just what shall run now.
            self._killing = True
            self._commands.kill(self._job)
        runs = self.known is Known.RUNNING and not self._half_stopped
        if self._job or runs or now_ns < self._start_again_ns:
            return
        if self._hooks.check and self.known is Known.UNKNOWN:
            return  # the check will tell; a service must not be started twice
        refusal = may_start()
        if refusal != self.refused_to_start:
            self.refused_to_start = refusal
            if refusal:
                # A fsync before each start is no fault.
                level, event = ("info", "start_waits") if refusal == STORING else ("error", "start_refused")
                self._log.line(level, event, reason=refusal, epoch=epoch)
        if refusal:
            return
        self.epoch = epoch
        if self._hooks.on_active:
            self.suspect = True
            self._stop_succeeded = False
            self._start("on_active", self._hooks.on_active, role, epoch, judged.reason, not_after_ns)
        elif not self._hooks.check:
            self.suspect = True
            self._stop_succeeded = False
            self._half_stopped = False
            self._know(now_ns, Known.RUNNING)

    def _want_stopped(self, now_ns: int, judged: Judgement, role: str, epoch: int) -> None:
        if self._job:
            if self._job_kind == "on_active" and not self._killing:
                self._killing = True
                self._commands.kill(self._job)
            return
        hooks = self._hooks
        draining = judged.wish is Wish.DRAIN
        if self._drained and draining and self.verified_stopped:
            return
        if self.verified_stopped and self._stood_by_as == role:
            return
        if now_ns < self._stop_again_ns and self._tried_to_stop_as == role:
            return
        if draining and hooks.on_drain and not self._drained:
            self._start("on_drain", hooks.on_drain, role, epoch, judged.reason, 0)
        elif self._stop_succeeded and self._check_pending():
            return  # the check decides whether they are stopped
        elif stop := hooks.on_standby or hooks.on_drain:
            self._tried_to_stop_as = role
            self._start("on_standby", stop, role, epoch, judged.reason, 0)
        elif not self._stop_succeeded:
            # Nothing can be stopped from here. A check may still find the services stopped; without one nothing is
            # verified.
            self._stop_succeeded = hooks.check is not None
            self._stood_by_as = role
            if not hooks.check:
                self._know(now_ns, Known.STOPPED)

    def _check_pending(self) -> bool:
        return self._hooks.check is not None and self.known is Known.UNKNOWN

    def _start(self, kind: str, command: Command, role: str, epoch: int, reason: str, not_after_ns: int) -> None:
        self._job = self._commands.start(command, self._environment(role, epoch, reason), not_after_ns)
        self._job_kind = kind
        self._job_role = role
        self._killing = False
        self._log.info("hook_started", hook=kind, role=role, epoch=epoch, reason=reason)

    def _environment(self, role: str, epoch: int, reason: str) -> dict[str, str]:
        told = {
            "HEARTWIRE_NODE": self._node,
            "HEARTWIRE_ROLE": role,
            "HEARTWIRE_EPOCH": str(epoch),
            "HEARTWIRE_REASON": reason,
        }
        return {**told, "HEARTWIRE_EPOCH_BEFORE": str(self.epoch_before)} if self.epoch_before else told

    def _hook_ended(self, now_ns: int, result: Result) -> None:
        kind = self._job_kind
        self._job = 0
        self._job_kind = ""
        wanted_end = result.outcome in ("killed", "too_late")
        report = self._log.info if result.succeeded or wanted_end else self._log.warning
        report("hook_ended", hook=kind, outcome=result.outcome, code=result.code, seconds=result.seconds)
        self.failed = "" if result.succeeded or wanted_end else kind
        again_ns = now_ns + int(self._hooks.retry_s * NS_PER_S)
        self._seen_stopped = False
        if kind == "on_active":
            self._start_again_ns = 0 if wanted_end else again_ns
            self._half_stopped = self._half_stopped and not result.succeeded
            without_check = Known.RUNNING if result.succeeded else Known.UNKNOWN
        else:
            self._stop_succeeded = result.succeeded
            self._half_stopped = not result.succeeded
            without_check = Known.STOPPED if result.succeeded else self.known
            if kind == "on_drain":
                self._drained = True  # or not: on_standby is tried next, at once
            else:
                self._stop_again_ns = 0 if wanted_end else again_ns
                if result.succeeded:
                    self._drained = True
                    self._stood_by_as = self._job_role
        if self._hooks.check:
            # What was stopped before a stop command is stopped after it; all else the next check tells.
            stays = self.known is Known.STOPPED and kind != "on_active" and result.succeeded
            self._know(now_ns, Known.STOPPED if stays else Known.UNKNOWN)
        else:
            self._know(now_ns, without_check)
        self._next_check_ns = now_ns

    def _know(self, now_ns: int, known: Known) -> None:
        self._changed_ns = now_ns
        if known is not self.known and not self._hooks.check:
            self._log.info("services", known=known.value)
        self._set(known)

    def _set(self, known: Known) -> None:
        self.known = known
        if known is not Known.UNKNOWN:
            self._running = known is Known.RUNNING

    def _check_ended(self, now_ns: int, result: Result) -> None:
        self._check = 0
        self._next_check_ns = self._check_began_ns + int(self._hooks.check_interval_s * NS_PER_S)
        if self._check_began_ns < self._changed_ns:
            self._next_check_ns = now_ns
            return
        known = Known.UNKNOWN
        if result.succeeded:
            known = Known.RUNNING
        elif result.outcome == "exit" and result.code in CHECK_STOPPED:
            known = Known.STOPPED
        if self._changed_ns < 0:
            self._changed_ns = 0
            # Nothing was started by this agent: a check that finds them stopped is proof enough.
            self._stop_succeeded = known is Known.STOPPED
        if known is Known.STOPPED:
            self._seen_stopped = True
            if self.known is Known.RUNNING:
                self._start_again_ns = max(self._start_again_ns, now_ns + SETTLE_NS)
        elif known is Known.RUNNING:
            self.suspect = True
            if self._seen_stopped:
                self._stop_succeeded = False  # someone else started them since
        if self._log.changed("check", known):
            report = self._log.warning if known is Known.UNKNOWN else self._log.info
            report("services", known=known.value, outcome=result.outcome, code=result.code)
        self._set(known)
