"""A bench: a board with two nodes on its lines, their relays and senses, and the host link, whatever kind it is of.

The bodies (guarding.py) need no more of it, so that they run on the emulated chip (tests/emulated/rig_bench.py) and on
a real board (tests/hil/serial_bench.py) alike. `quick_settings` are what either board runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from heartwire.simulate.rack import KEYS
from heartwire_protocol import codes, settings, settings_rules

INTERVAL_MS, EARLY_MS, LATE_MS, DEAD_MS, LEASE_MS = 100, 20, 250, 800, 700
# As short as the rules allow, so that a failover takes a second.
TIMES = {
    "board.interval_ms": INTERVAL_MS, "board.early_ms": EARLY_MS, "board.late_ms": LATE_MS, "board.dead_ms": DEAD_MS,
    "board.common_cause_ms": 60, "board.lease_ms": LEASE_MS, "board.off_stable_ms": 60, "board.off_timeout_ms": 600,
    "board.off_ms": 400, "board.watchdog_ms": 1400, "node.a.boot_grace_ms": 6000, "node.b.boot_grace_ms": 6000,
    "node.spare.boot_grace_ms": 6000,
}  # fmt: skip
# From a relay to what its sense shows.
SENSE_DELAY_MS = 20


def quick_settings(nodes: int = 2, times: int = 1, **more: object) -> settings.Settings:
    """Return settings for `nodes` nodes with keys, all times `times` as long as can be; `more` as board__name=value.

    They are marked as those of a bench: too short for a server.
    """
    values: dict[str, object] = {path: value * times for path, value in TIMES.items()}
    values |= {"board.bench": 1, "board.good_count": 2}
    for node in range(nodes):
        values[f"node.{codes.NODES[node]}.key"] = KEYS[node].hex()
    if nodes > 2:
        values["node.spare.enabled"] = 1
    values.update({name.replace("__", "."): value for name, value in more.items()})
    wanted = settings.Settings()
    for path, value in values.items():
        wanted.put(path, value)
    problems = settings_rules.check(settings.parse(wanted.text())[0])
    assert not problems, problems
    return wanted


class Bench(Protocol):
    """Nodes are 0 and 1; `active` runs its services and `standby` is fit. Times are ms on the bench's own clock."""

    interval_ms: int
    dead_ms: int
    active: int
    standby: int
    early_by_ms: float  # a relay may seem to move so long before its deadline, because of how it is measured
    late_by_ms: float  # and so long after it
    saves_ms: tuple[float, ...]  # a heartbeat that is whole so long before its deadline saves its node
    host_fill: int  # hellos whose answers are more than what lies between the board and the host can hold

    def now_ms(self) -> float:
        """Return the time."""

    def run_for(self, ms: float) -> None:
        """Let time pass; nodes beat and obey meanwhile."""

    def run_until(self, condition: Callable[[], bool], limit_ms: float) -> None:
        """Let time pass until `condition`. Fails after `limit_ms`."""

    def silence(self, node: int) -> None:
        """Cut the line of `node` in both directions; its server goes on."""

    def speak(self, node: int) -> None:
        """Mend the line of `node`."""

    def beat_at(self, node: int, ms: float) -> None:
        """Let one heartbeat of a silenced `node` be whole at `ms`."""

    def send_at(self, node: int, ms: float, data: bytes) -> None:
        """Let `data` begin to arrive on the line of `node` at `ms`."""

    def restart_agent(self, node: int) -> None:
        """Let `node` begin a new incarnation; its services go on."""

    def last_beat_ms(self, node: int) -> float:
        """Return when the newest heartbeat of `node` was whole, those of `beat_at` included."""

    def sent(self, node: int) -> int:
        """Return how many heartbeats `node` has sent."""

    def answered(self, node: int) -> int:
        """Return how many grants `node` has heard."""

    def cuts_ms(self, node: int) -> list[float]:
        """Return when the relay of `node` was energised, oldest first."""

    def runs(self, node: int) -> bool:
        """Tell whether the services of `node` run."""

    @property
    def two_ran(self) -> bool:
        """Tell whether the services of both ran at any time."""

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """Ask the board over the host link; return its answer. Time passes."""

    def host_send(self, data: bytes) -> None:
        """Let the host send bytes that are no request."""

    def host_asks(self, count: int, every_ms: float, reads: bool) -> None:
        """Let the host say hello `count` times, and read the answers or hold the port open and read nothing."""

    def newest(self) -> int:
        """Return the sequence of the newest durable record."""

    def rows(self, after: int) -> list[tuple[str, str]]:
        """Return the durable records after that sequence, oldest first, as (event, node), by name."""
