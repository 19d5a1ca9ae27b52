"""Build an agent from its settings, its hands, and what a former agent left behind.

Hands are everything that touches the world; run.py gives real ones, the simulator stand-ins in virtual time. So both
run the same stages, joined in the same way, from the same beginning.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from heartwire.agent.agent import Agent
from heartwire.agent.hooks import Commands
from heartwire.agent.lease import Lease, grace_ns
from heartwire.agent.line import Line
from heartwire.agent.log import Log
from heartwire.agent.peer import PeerLink
from heartwire.agent.probes import ProbeCommands, Probes
from heartwire.agent.services import Services
from heartwire.agent.settings import AgentSettings
from heartwire.agent.state import Resumption, Store
from heartwire.agent.watchdog import Watchdog


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME in ns."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Hands:
    """What an agent touches the world with. `commands` run hooks, `checks` the check, `probes` the probes."""

    line: Line
    commands: Commands
    checks: Commands
    probes: ProbeCommands
    watchdog: Watchdog
    disk: Store
    log: Log
    peer: PeerLink | None = None
    clock: Callable[[], int] = boottime_ns  # ns, goes on in a suspend


def build(settings: AgentSettings, hands: Hands, key: bytes | None, epoch: int, former: Resumption, boot: str) -> Agent:
    """Return an agent that goes on from `former`; `epoch` is the highest ever seen, `boot` the id of this boot."""
    now_ns = hands.clock()
    log = hands.log
    services = Services(settings.node, settings.hooks, hands.commands, hands.checks, log)
    services.take_over(former.suspect, former.running)
    agent = Agent(
        settings,
        key=key,
        lease=resumed_lease(settings, epoch, former, now_ns),
        line=hands.line,
        services=services,
        peer=hands.peer,
        probes=Probes(settings.probes, hands.probes, log, now_ns),
        watchdog=hands.watchdog,
        disk=hands.disk,
        log=log,
        boot=boot,
        clock=hands.clock,
    )
    if key is None:
        log.warning("no_key", effect="anybody on the line can speak for the board")
    agent.conditions.busy_until_ns = former.busy_until_ns
    agent.conditions.crash_dump_until_ns = former.crash_dump_until_ns
    agent.conditions.planned_off = former.planned_off
    if former.planned_off:
        log.warning("still_planned_off", effect="nothing is started", next="heartwire agent ready")
    return agent


def resumed_lease(settings: AgentSettings, epoch: int, former: Resumption, now_ns: int) -> Lease:
    """Return the lease of a new agent: the rest of the former one's, or a grace.

    The grace is time to hear the board first: it may be only watching, and then nothing may be stopped. Services that a
    former agent left behind under a lease have none, only the rest of that lease.
    """
    if former.suspect and not former.advisory:
        until_ns, lease_epoch = former.lease_until_ns, former.lease_epoch
    else:
        until_ns, lease_epoch = now_ns + grace_ns(settings.interval_ms), epoch
    return Lease(settings.on_board_loss, epoch, until_ns, now_ns, lease_epoch)
