"""What is walked: worlds by name, each with what may happen in it and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from heartwire_firmware import policy_state
from heartwire_protocol import codes, operations
from tests.walk.bodies import MUTE
from tests.walk.world import NO_NODE, World


def both(*lines: str) -> str:
    """Return settings lines for nodes a and b."""
    return "".join(f"node.{node}.{line}\n" for node in "ab" for line in lines)


CLEAN = both("quarantine=clean_start")
ASSUMED = both("off_proof=assumed", "on_board_loss=stop", "self_fence_ms=3000", "assumed_off_ms=6000")
FAILBACK = CLEAN + "board.failback=auto\nboard.preferred=b\n"
COLD = "board.lone=act\nnode.b.standby=cold\nnode.b.front=power\n"
COLD_SPARE = "node.spare.standby=cold\nnode.spare.front=power\n"
LONE = "board.lone=act\n"
RESETS = both("recovery=reset", "front=reset") + "board.rung_ms=5000\n"
PEERS = both("may_fence=1", f"key={32 * 'a1'}")
CHANGES = (
    ("a is disabled", "node.a.enabled=0\n"),
    ("b is disabled", "node.b.enabled=0\n"),
    ("key of a", f"node.a.key={32 * 'b2'}\n"),
    ("baud of b", "node.b.baud=9600\n"),
    ("a is assumed off", ASSUMED.replace("node.b.", "node.a.") + "board.hold_max_s=20\n"),
)
FAULTS = ("lines", "crash", "reboot", "board")
# Where another world has had a line that carries noise, or one direction only.
THIN_FAULTS = ("mute", "crash", "reboot", "board")
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
    changes: tuple[tuple[str, str], ...] = ()  # settings that an operator may apply, by name
    waits: str = ""  # the rule that is broken in it still; "" once it is mended
    disarms: tuple[int, ...] = ()  # phases in which the board must have been asked to disarm

    def world(self) -> World:
        """Return the world it starts from, with the board just started."""
        return World(self.nodes, self.mode, self.extra, off=self.off, fitted=self.fitted, changes=self.changes)


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
    Case(
        "lone",
        2,
        kinds=(*THIN_FAULTS, "operator"),
        nodes=1,
        extra="node.a.quarantine=clean_start\nboard.lone=act\nnode.a.recovery=cycle\n",
    ),
    Case("three", 1, nodes=3, extra=CLEAN),
    Case("three_approve", 1, nodes=3, mode=codes.MODE_APPROVE),
)
_THIN = ("approve_proceed", "failback", "serve_alone", "lease_only", "ladder", "three", "three_approve")
_TESTING = (
    ("ask", (operations.MAINTENANCE, 1, 13)),
    ("ask", (operations.PROOF, 1, 3)),
)
# a is dead, and its sense stays on behind the open contact.
_UNPROVEN = (("sense", (0, codes.POWER_ON)), ("crash", 0), *[("tick", None)] * 4)
_QUIET_TIME = (("ask", (operations.MAINTENANCE, NO_NODE, 13)),)
_OF_A_FENCE = (policy_state.WATCHING, policy_state.FENCING)
_FAILED_OVER = (("crash", 0), *[("tick", None)] * 14)
CASES = (
    *_EACH,
    # Fewer kinds of disturbances, and two of them, in every world that has not had two of all kinds.
    *[
        replace(case, name=f"{case.name}_faults", budget=2, kinds=THIN_FAULTS if case.name in _THIN else FAULTS)
        for case in _EACH
        if case.budget < 2
    ],
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
    # What a person, a peer or an agent does to the board beside one fault or two.
    Case(
        "declare",
        2,
        ("declare", "dip", "crash"),
        settle=(("line", (0, MUTE)), ("reset", None)),
    ),
    Case("declare_after_failure", 2, ("declare", "dip"), settle=_UNPROVEN),
    Case("dips", 2, ("dip", "crash", "mute")),
    Case("dips_cold", 2, ("dip", "crash"), extra=COLD, off=(1,)),
    Case("chatter", 2, ("chatter", "crash", "reboot")),
    Case("chatter_cold", 2, ("chatter", "crash"), extra=COLD, off=(1,)),
    Case("ladder_reset", 2, ("crash", "mute", "reset"), extra=CLEAN + RESETS),
    Case("ladder_reset_lone", 2, ("crash", "mute", "reset"), 1, extra=RESETS.split("node.b")[0] + LONE),
    Case("peer", 2, ("peer", "crash", "mute"), extra=PEERS),
    Case("peer_maintenance", 2, ("peer", "crash"), extra=PEERS, settle=_QUIET_TIME),
    Case("peer_approve", 2, ("peer", "crash", "word"), mode=codes.MODE_APPROVE, extra=PEERS),
    Case("peer_fencer", 2, ("peer", "crash", "mute"), mode=codes.MODE_FENCER, extra=PEERS),
    Case("claim", 2, ("claim", "crash", "mute")),
    Case("service", 2, ("service", "crash", "mute")),
    Case("service_three", 2, ("service", "crash"), 3),
    Case("settings", 2, ("settings", "crash", "mute"), changes=CHANGES),
    Case("settings_three", 2, ("settings", "crash"), 3, changes=CHANGES),
    Case("disarm", 2, ("disarm", "arm", "crash", "fence"), disarms=_OF_A_FENCE),
    Case(
        "disarm_prepare",
        3,
        ("disarm", "full", "fence"),
        disarms=(policy_state.PREPARING, policy_state.PROMOTING),
    ),
    Case("disarm_drain", 2, ("disarm", "drain"), disarms=(policy_state.DRAINING,)),
    Case(
        "disarm_unproven",
        2,
        ("disarm", "arm", "declare"),
        settle=_UNPROVEN,
        disarms=(policy_state.FAILED,),
    ),
    Case(
        "disarm_approve",
        2,
        ("disarm", "crash"),
        mode=codes.MODE_APPROVE,
        disarms=(policy_state.APPROVAL,),
    ),
    Case(
        "disarm_cold",
        2,
        ("disarm", "crash"),
        extra=COLD,
        off=(1,),
        disarms=(policy_state.STARTING,),
    ),
    Case("after_failover", 1, settle=_FAILED_OVER),
    Case("after_failover_clean", 1, extra=CLEAN, settle=_FAILED_OVER),
)
