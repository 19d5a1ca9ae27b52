"""A server's agent as the rack and a scenario's statements know it, whichever it is, and what all kinds share.

Kinds: node.FakeNode, a second reading of PROTOCOL.md, and agent_node.AgentNode, the product's own agent.
"""

from __future__ import annotations

from typing import Protocol

# The agent's default.
STOP_TIMEOUT_MS = 20_000


class Node(Protocol):
    """An agent on its server; the rack calls `advance`, then `due`, then `hear` for each answer of the board."""

    node: int
    alive: bool
    frozen: bool
    mute: bool
    trouble: str
    foreign: bool
    bitten: bool
    on_board_loss: str
    self_fence_ms: int
    speaks_text: bool
    baud: int
    obedient: bool
    service: str

    @property
    def serving(self) -> bool:
        """Tell whether its service acts on the outside world: also that of a frozen server."""

    @property
    def state(self) -> int:
        """Return the state that it says it is in; of one that says nothing, what it said last."""

    @property
    def epoch(self) -> int:
        """Return the highest epoch it has seen."""

    @property
    def left_ms(self) -> int:
        """Return what is left of its lease."""

    @property
    def next_beat_ms(self) -> int:
        """Return when its next heartbeat is due."""

    def beat_from(self, ms: int) -> None:
        """Beat first at `ms`."""

    def beat_every(self, interval_ms: int) -> None:
        """Beat at another interval from now on."""

    def advance(self, elapsed: int) -> None:
        """Let time pass for what needs no agent, such as the kernel's watchdog."""

    def due(self, ms: int) -> list[bytes]:
        """Return what it sends at `ms` on its own clock."""

    def hear(self, data: bytes) -> None:
        """Take what the board sent."""

    def report(self, state: int, seconds: int = 0) -> None:
        """Say `state` from now on; for busy and crash_dump how long it will take."""

    def end_report(self) -> None:
        """End what `report` began."""

    def serve(self) -> None:
        """Run the service without being asked."""

    def obey(self, on: bool) -> None:
        """Do what the board says again, or neither start nor stop anything."""

    def fail_service(self, how: str) -> None:
        """Let its service fail from now on, the running one and each that is started, while its agent lives.

        fails: no start succeeds; hangs: no start comes to its end; fails-quietly: each start seems to succeed. With ""
        the next grant starts it again.
        """

    def take_time(self, what: str, ms: int) -> None:
        """Let each start (on_active), stop (on_standby) or check of its service take `ms` from now on."""

    def see_peer(self, seen: bool | None) -> None:
        """Say of the peer that it is seen, or missed; None: that none is known."""

    def claim_epoch(self, epoch: int) -> None:
        """Say that this epoch was seen."""

    def arm_watchdog(self, on: bool) -> None:
        """Have a kernel watchdog and stop without a lease, or neither."""

    def ask_to_fence(self, target: int) -> None:
        """Ask the board to fence another node."""

    def take_key(self, key: bytes) -> None:
        """Sign with another key, at the latest when the agent starts again."""

    def crash(self) -> None:
        """Lose everything but what is on disk."""

    def freeze(self) -> None:
        """Stop beating and hearing while the service's effects go on: a hung system."""

    def thaw(self) -> None:
        """Go on after freezing, with everything as it was."""

    def boot(self) -> None:
        """Start a new agent on a fresh system."""

    def restart_agent(self) -> None:
        """Kill the agent and start a new one, while the services go on."""

    def upgrade_agent(self) -> None:
        """End the agent in good order, with its farewell, and start a new one, while the services go on."""


class Body:
    """What every kind of node is, and what happens to it whatever its agent is."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.alive = True
        self.on_board_loss = "hold"
        self.self_fence_ms = 60000
        self.speaks_text = False  # the plain-text profile: any line is a sign of life
        self.baud = 0  # what its line is set to; 0: always what the board's is
        # Faults.
        self.obedient = True
        self.service = ""  # how its service fails under a living agent: fails, fails-quietly, hangs
        self.frozen = False  # everything stands still but what the services still do to the outside
        self.mute = False
        self.trouble = ""  # how its heartbeats are altered: wrong, stuck
        self.foreign = False  # the board has another key for it, or answers what was recorded: not all is meant for it
        self.bitten = False  # by its kernel watchdog

    @property
    def stop_timeout_ms(self) -> int:
        """Return for how long a stop may take before the watchdog is starved."""
        return min(STOP_TIMEOUT_MS, self.self_fence_ms // 3)

    @property
    def watchdog_ms(self) -> int:
        """Return what the watchdog waits for: the longest that self_fence_ms allows, as others wait for the worst."""
        return self.self_fence_ms - self.stop_timeout_ms

    def freeze(self) -> None:
        """Stop beating and hearing while the services' effects go on: a hung system."""
        if self.alive:
            self.alive = False
            self.frozen = True

    def thaw(self) -> None:
        """Go on after freezing, with everything as it was."""
        if self.frozen:
            self.frozen = False
            self.alive = True

    def boot(self) -> None:
        """Come up fresh."""
        self.alive = True
        self.frozen = False
        self.mute = False
        self.trouble = ""
