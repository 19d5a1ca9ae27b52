"""What is walked: worlds by name, each with what may happen in it and how often."""

from __future__ import annotations

from dataclasses import dataclass

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

    def world(self) -> World:
        """Return the world it starts from, with the board just started."""
        return World(self.nodes, self.mode, self.extra)


CASES = (
    Case("auto", 2),
    Case("auto_faults", 2, FAULTS),
    Case("clean_start", 2, extra=CLEAN),
    Case("approve", 2, mode=codes.MODE_APPROVE),
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
    Case("three_faults", 1, FAULTS, nodes=3),
    Case("three_approve", 1, nodes=3, mode=codes.MODE_APPROVE),
)
