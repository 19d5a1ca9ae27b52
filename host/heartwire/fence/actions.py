"""The actions of fence_heartwire on an open board: fence and wait for the proof, give power back, look.

Every success is a state that the board reports after the command; time that runs out is a failure. It never overrides
a refusal, and it asks for nothing where only the board's own decision is to be confirmed. Called by fence.main.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from heartwire import requester
from heartwire.answers import NodeStatus
from heartwire.errors import HeartwireError, OutcomeUnknown, Refused
from heartwire.fence import plugs
from heartwire.fence.options import Options
from heartwire.fence.reach import PASSING, Clock, FenceBoard, Watcher
from heartwire.journal import Entry, reason_words
from heartwire_protocol import codes

# The board's phase while it does nothing.
RESTING = "watching"
STATUS_OFF = 2
# The journal shows only what is durable: a record may come a moment after the state that it explains.
JOURNAL_S = 5.0
RECENT = 24


class FenceFailed(HeartwireError):
    """The node could not be proven off, or its power could not be given back, in time."""

    meaning = "the fence failed"
    default_next = "`heartwire status` and `heartwire log` show why"


class Actions:
    """One action on `board`; `say` takes a line about each step."""

    def __init__(self, board: FenceBoard, options: Options, clock: Clock, say: Callable[[str], None]) -> None:
        self.options = options
        self.clock = clock
        self.say = say
        self.watch = Watcher(board, clock, clock.now() + options.power_timeout_s, say)

    @property
    def board(self) -> FenceBoard:
        """The board."""
        return self.watch.board

    def run(self, output: Callable[[str], object]) -> int:
        """Carry the action out; return its exit code. `output` takes what belongs on standard output."""
        action = self.options.action
        if action == "monitor":
            return self._monitor()
        nodes = self.watch.nodes()
        if action in ("list", "list-status"):
            nodes = [node for node in nodes if node.node != self.board.own]
            output(plugs.rows(nodes, self.options.separator, with_power=action == "list-status"))
            return 0
        node = plugs.find(nodes, self.options.plug)
        if action == "status":
            return self._status(node, output)
        if action == "on":
            self._switch_on(node)
            return 0
        self._switch_off(node)
        if action == "reboot":
            self._try_on(node)
        return 0

    def _monitor(self) -> int:
        """Succeed if a fence would not be refused for the board's own state. Raises FenceFailed."""
        status = self.watch.status()
        if status.mode == "observe":
            raise FenceFailed(
                f"{status.name}: the board is in observe mode, it would refuse every fence", "`heartwire mode fencer`"
            )
        if self.options.only_confirm and status.mode == "fencer":
            raise FenceFailed(
                f"{status.name}: the board is in fencer mode, only_confirm would wait in vain",
                "`heartwire mode auto`, or leave only_confirm out",
            )
        self.say(f"{status.name}: {status.mode} mode, {status.phase}")
        return 0

    def _status(self, node: NodeStatus, output: Callable[[str], object]) -> int:
        power, why = plugs.power_of(node)
        if power == plugs.UNKNOWN:
            raise FenceFailed(f"cannot say whether {node.label} is on or off: {why}")
        output(f"Status: {power.upper()}\n")
        self.say(f"{node.label}: {why}")
        return 0 if power == plugs.ON else STATUS_OFF

    def _switch_off(self, node: NodeStatus) -> None:
        """Return once the board says that `node` is off. Raises FenceFailed, Refused and errors of the link."""
        asked = False
        if self.options.only_confirm:
            self.say(f"waiting for the board's own proof that {node.label} is off")
        while not plugs.is_fenced(node, may_run=self.options.action == "reboot"):
            if node.fence == "failed":
                self._fail(node)
            obstacle = ""
            if node.fence == "idle" and not self.options.only_confirm:
                obstacle = self._obstacle(node)
                if asked and not obstacle and self.watch.node(node.node).fence == "idle":
                    self._fail(node)
                asked = asked or (not obstacle and self._ask(node))
            if self.watch.left_s <= 0:
                why = f": {obstacle or plugs.power_of(node)[1]}"
                raise FenceFailed(f"{node.label} was not proven off within {self.options.power_timeout_s:g} s{why}")
            if obstacle or (self.options.only_confirm and node.fence == "idle"):
                self.watch.step_aside()
            else:
                self.watch.pause()
            node = self.watch.node(node.node)
        self.say(f"{node.label}: {plugs.power_of(node)[1]}")

    def _obstacle(self, node: NodeStatus) -> str:
        """Return why the board would not take a request now although waiting may help, or "".

        Asking it again and again instead would fill its journal with refusals.
        """
        status = self.watch.status()
        if status.phase != RESTING:
            return f"the board is busy ({status.phase} {status.target})"
        for other in self.watch.nodes():
            if other.node != node.node and other.fence in ("firing", "failed"):
                return f"the fence of {other.label} is not over ({other.fence}), and no two run together"
        return ""

    def _ask(self, node: NodeStatus) -> bool:
        """Ask for the fence; tell whether the board took the request. Raises FenceFailed if it refuses."""
        try:
            by = requester.of(codes.TOOL_FENCE_AGENT, self.watch.nodes())
            self.board.fence(node.node, last=self.options.last, by=by)
        except OutcomeUnknown as error:
            # Asking again is harmless: the state that is wanted is the same.
            self.say(f"{error.words}; looking")
            return False
        except Refused as refusal:
            if refusal.reason != "other_operation":
                raise self._refused(node, refusal) from None
            return False
        except PASSING as error:
            self.say(f"{error.words}; trying again")
            return False
        self.say(f"the board fences {node.label}")
        return True

    def _refused(self, node: NodeStatus, refusal: Refused) -> FenceFailed:
        why = reason_words(refusal.reason) if refusal.reason else refusal.words
        next_step = {
            "last_powered": "bring the other node's heartbeats back, or say last=1 to fence it all the same",
            "observe_mode": "`heartwire mode fencer` lets a cluster fence with it",
        }.get(refusal.reason)
        return FenceFailed(f"the board refuses to fence {node.label}: {why}", next_step or refusal.next_step)

    def _fail(self, node: NodeStatus) -> NoReturn:
        """Raise FenceFailed with the board's reason, from its journal."""
        why = self._newest_reason(node)
        raise FenceFailed(f"{node.label} could not be proven off" + (f": {why}" if why else ""))

    def _newest_reason(self, node: NodeStatus) -> str:
        """Return why the newest fence of `node` failed; "" if the journal does not tell it soon."""
        until = self.clock.now() + JOURNAL_S
        while True:
            newest = self.watch.status().newest
            if not newest:
                return ""
            for item in reversed(list(self.board.events(max(0, newest - RECENT)))):
                if isinstance(item, Entry) and item.node == node.node and item.event in ("off_failed", "refused"):
                    return reason_words(item.reason)
            if self.clock.now() >= until:
                return ""
            self.watch.pause()

    def _try_on(self, node: NodeStatus) -> None:
        """Give power back after a proven off; a failure is told, and is none of the reboot."""
        if self.options.only_confirm:
            self.say("the board gives its power back by itself")
            return
        if self.options.power_wait_s:
            self.clock.sleep(self.options.power_wait_s)
        try:
            self._switch_on(node)
        except HeartwireError as error:
            self.say(f"{node.label} is off, but its power could not be given back: {error.words}")

    def _switch_on(self, node: NodeStatus) -> None:
        """Return once `node` has power again. Raises FenceFailed, Refused and errors of the link."""
        letter = node.node
        mode = self.watch.status().mode
        released = False
        while True:
            node = self.watch.node(letter)
            power, why = plugs.power_of(node)
            unmeasured = node.power == "unknown" and not node.relay and node.fence == "idle"
            if power == plugs.ON or (unmeasured and not self.options.only_confirm):
                break
            if self.watch.left_s <= 0:
                raise FenceFailed(f"{node.label} has no power after {self.options.power_timeout_s:g} s: {why}")
            if node.fence != "idle" and not released and not self.options.only_confirm:
                released = self._release(node)
            self.watch.pause()
        if mode == "fencer" and node.role == "quarantined" and not self.options.only_confirm:
            # The cluster decides here, and it wants the node back; in the other modes that is the board's business.
            self.board.clear(letter)
        self.say(f"{node.label} is on: {plugs.power_of(node)[1]}")

    def _release(self, node: NodeStatus) -> bool:
        try:
            self.board.release(node.node)
        except Refused as refusal:
            if refusal.reason not in ("other_operation", "wrong_phase"):
                raise
            return False
        return True
