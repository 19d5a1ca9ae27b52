"""What is walked: worlds by name, each with what may happen in it and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartwire_firmware import policy_requests
from heartwire_protocol import codes
from tests.walk.world import World


def both(*lines: str) -> str:
    """Return settings lines for nodes a and b."""
    return "".join(f"node.{node}.{line}\n" for node in "ab" for line in lines)


CLEAN = both("quarantine=clean_start")
ASSUMED = both("off_proof=assumed", "on_board_loss=stop", "self_fence_ms=3000", "assumed_off_ms=6000")
FAILBACK = CLEAN + "board.failback=auto\nboard.preferred=b\n"
COLD = "board.lone=act\nnode.b.standby=cold\nnode.b.front=power\n"
COLD_SPARE = "node.spare.standby=cold\nnode.spare.front=power\n"
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
    off: tuple[int, ...] = ()  # nodes that are switched off
    fitted: bool = False  # with relay tests, transfer relay and schedule

    def world(self) -> World:
        """Return the world it starts from, with the board just started."""
        return World(self.nodes, self.mode, self.extra, off=self.off, fitted=self.fitted)


_EACH = (
    Case("auto", 2),
    Case("clean_start", 1, extra=CLEAN),
    Case("approve", 1, mode=codes.MODE_APPROVE),
    Case("approve_proceed", 1, mode=codes.MODE_APPROVE, extra="board.approval_default=proceed\n"),
    Case("fencer", 1, mode=codes.MODE_FENCER),
    Case("observe", 1, mode=codes.MODE_OBSERVE),
    Case("failback", 1, extra=FAILBACK),
    Case("serve_alone", 1, extra=both("serve_alone=1")),
    Case("assumed", 1, extra=ASSUMED + "board.hold_max_s=20\n"),
    Case("lease_only", 1, extra=ASSUMED + both("fence=lease")),
    Case("reset_pulse", 1, extra=both("fence=reset", "front=reset", "on_board_loss=stop")),
    Case("ladder", 1, extra=CLEAN + both("recovery=cycle") + "board.rung_ms=5000\n"),
    Case("lone", 2, nodes=1, extra="node.a.quarantine=clean_start\nboard.lone=act\nnode.a.recovery=cycle\n"),
    Case("three", 1, nodes=3, extra=CLEAN),
    Case("three_approve", 1, nodes=3, mode=codes.MODE_APPROVE),
)
_TESTING = (
    ("ask", (policy_requests.MAINTENANCE, 1, 13)),
    ("ask", (policy_requests.PROOF, 1, 3)),
)
_FAILED_OVER = (("crash", 0), *[("tick", None)] * 14)
CASES = (
    *_EACH,
    # Fewer kinds of disturbances, and two of them, in every world that has not had two of all kinds.
    *[replace(case, name=f"{case.name}_faults", budget=2, kinds=FAULTS) for case in _EACH if case.budget < 2],
    # One part of the board or of the nodes each, among the faults that matter to it.
    Case("drain", 2, kinds=("drain", "crash", "mute")),
    Case("drain_failback", 2, kinds=("drain", "crash", "mute", "board"), extra=FAILBACK),
    Case("states", 2, kinds=("states", "drain", "crash", "mute", "board")),
    Case("states_approve", 2, kinds=("states", "crash", "word"), mode=codes.MODE_APPROVE),
    Case("cold", 2, kinds=("mute", "crash", "reboot", "board"), extra=COLD, off=(1,)),
    Case("cold_operator", 1, extra=COLD, off=(1,)),
    Case("cold_spare", 1, kinds=FAULTS, nodes=3, extra=CLEAN + COLD_SPARE, off=(2,)),
    Case("transfer", 2, kinds=("transfer", "crash", "reboot", "board"), extra="board.transfer=1\n", fitted=True),
    Case("schedule", 2, kinds=("schedule", "crash", "mute", "board"), fitted=True, settle=(("time", None),)),
    Case("relay_test", 1, fitted=True, kinds=(*EVERYTHING, "proof"), settle=_TESTING),
    Case("relay_test_faults", 2, fitted=True, kinds=("crash", "proof"), settle=_TESTING),
    Case("relay_test_approve", 1, (*FAULTS, "operator", "proof"), 2, codes.MODE_APPROVE, "", _TESTING, fitted=True),
    Case("relay_test_fencer", 1, (*EVERYTHING, "proof"), 2, codes.MODE_FENCER, "", _TESTING, fitted=True),
    Case("relay_test_observe", 1, (*EVERYTHING, "proof"), 2, codes.MODE_OBSERVE, "", _TESTING[1:], fitted=True),
    Case("relay_test_three", 1, ("mute", "crash", "operator", "proof"), 3, settle=_TESTING, fitted=True),
    Case("relay_test_lone", 2, ("mute", "reboot", "proof"), 1, fitted=True),
    Case("after_failover", 1, settle=_FAILED_OVER),
    Case("after_failover_clean", 1, extra=CLEAN, settle=_FAILED_OVER),
)
