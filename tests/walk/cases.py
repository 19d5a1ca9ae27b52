"""What is walked: worlds by name, each with what may happen in it and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartwire_protocol import codes
from tests.walk.world import World


def both(*lines: str) -> str:
    """Return settings lines for nodes a and b."""
    return "".join(f"node.{node}.{line}\n" for node in "ab" for line in lines)


CLEAN = both("quarantine=clean_start")
ASSUMED = both("off_proof=assumed", "on_board_loss=stop", "self_fence_ms=3000", "assumed_off_ms=6000")
FAULTS = ("lines", "crash", "reboot", "board")
EVERYTHING = (*FAULTS, "sense", "operator", "modes")


@dataclass(frozen=True)
class Case:
    """One walk: at most `budget` disturbances of `kinds`."""

    name: str
    budget: int
    kinds: tuple[str, ...] = EVERYTHING
    nodes: int = 2
    mode: int = codes.MODE_AUTO
    extra: str = ""
    settle: tuple[tuple[str, object], ...] = ()  # what happens before it begins

    def world(self) -> World:
        """Return the world it starts from, with the board just started."""
        return World(self.nodes, self.mode, self.extra)


_EACH = (
    Case("auto", 2),
    Case("clean_start", 1, extra=CLEAN),
    Case("approve", 1, mode=codes.MODE_APPROVE),
    Case("approve_proceed", 1, mode=codes.MODE_APPROVE, extra="board.approval_default=proceed\n"),
    Case("fencer", 1, mode=codes.MODE_FENCER),
    Case("observe", 1, mode=codes.MODE_OBSERVE),
    Case("failback", 1, extra=CLEAN + "board.failback=auto\nboard.preferred=b\n"),
    Case("serve_alone", 1, extra=both("serve_alone=1")),
    Case("assumed", 1, extra=ASSUMED + "board.hold_max_s=20\n"),
    Case("lease_only", 1, extra=ASSUMED + both("fence=lease")),
    Case("reset_pulse", 1, extra=both("fence=reset", "front=reset", "on_board_loss=stop")),
    Case("ladder", 1, extra=CLEAN + both("recovery=cycle") + "board.rung_ms=5000\n"),
    Case("lone", 2, nodes=1, extra="node.a.quarantine=clean_start\nboard.lone=act\nnode.a.recovery=cycle\n"),
    Case("three", 1, nodes=3, extra=CLEAN),
    Case("three_approve", 1, nodes=3, mode=codes.MODE_APPROVE),
)
_FAILED_OVER = (("crash", 0), *[("tick", None)] * 14)
CASES = (
    *_EACH,
    # Fewer kinds of disturbances, and two of them, in every world that has not had two of all kinds.
    *[replace(case, name=f"{case.name}_faults", budget=2, kinds=FAULTS) for case in _EACH if case.budget < 2],
    Case("after_failover", 1, settle=_FAILED_OVER),
    Case("after_failover_clean", 1, extra=CLEAN, settle=_FAILED_OVER),
)
