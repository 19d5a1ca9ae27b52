"""Sequencer: carries out a fence step by step and says what was proven. It never decides to fence.

Four methods: the power relay; the power button held until the sense is off; a reset pulse, proven only by the policy's
word (a new incarnation that says it has stopped); and lease-only, which touches nothing and waits. Fire: mark the
scratch register, then move the contact. Prove: every feed's sense, on until then, is off for off_stable_ms within
off_timeout_ms; where the operator enabled it, the off time alone counts, as `assumed`. Unknown is never off, off
already before the command proves nothing, a timeout is a failure. The contact stays until `release`, and hold_max_s at
most.
All of it runs here: the host may die at any moment.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol import codes, reasons
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT, POWER_OFF, POWER_ON

IDLE = 0
FIRED = 1
PROVEN = 2
ASSUMED = 3
FAILED = 4
NAMES = codes.FENCES
SURELY_OFF = (PROVEN, ASSUMED)
# A supply holds up a server for less than this after its mains are gone (ATX: 16 ms at full load).
HOLD_UP_MS = 500

# Scratch register 0 (survives every reset but a power loss): magic, then a bit per node fenced, then a bit per node
# whose sense was on and trusted when its fence fired. boot.py reads the same bits.
MARK_REGISTER = 0
MARK_MAGIC = 0x2A57F000
MARK_MAGIC_MASK = 0x3FFFF000
_TRUSTED_SHIFT = 4
# While a sense stays on, flash is not written, so that its going off is seen at once; a person may ask what goes on.
WATCHING_MS = 40
METHODS = {
    "power": codes.METHOD_POWER,
    "reset": codes.METHOD_RESET,
    "button": codes.METHOD_BUTTON,
    "lease": codes.METHOD_LEASE,
}
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Sequencer:
    """The fences of all nodes, on `relays`, `senses` (relays module) and `chip` (ports.Chip)."""

    def __init__(self, relays, senses, chip):
        self._relays = relays
        self._senses = senses
        self._chip = chip
        self._mark = MARK_MAGIC
        self._nodes: "Any" = None
        self._board: "Any" = None
        self.status = [IDLE] * NODE_COUNT
        self.since_ms = [0] * NODE_COUNT
        self.proof_ms = [0] * NODE_COUNT
        self.reason = [reasons.NONE] * NODE_COUNT
        self._off_ms = [0] * NODE_COUNT
        self._trusted = [False] * NODE_COUNT
        self.method = [0] * NODE_COUNT

    def configure(self, board, nodes) -> None:
        """Take settings."""
        self._board = board
        self._nodes = nodes

    def resume(self) -> int:
        """Take up the fences that were marked before a reset; return their nodes as bits."""
        mark = self._chip.scratch(MARK_REGISTER)
        if mark & MARK_MAGIC_MASK != MARK_MAGIC:
            self._chip.put_scratch(MARK_REGISTER, MARK_MAGIC)
            return 0
        resumed = 0
        for node in range(NODE_COUNT):
            if mark >> node & 1:
                self._start(node, bool(mark >> _TRUSTED_SHIFT >> node & 1))
                resumed |= 1 << node
        return resumed

    def fire(self, node: int, sense_seen: bool) -> None:
        """Fence `node`; `sense_seen`: its sense was seen on while it was beating, so that its going off proves
        something.
        """
        if self.status[node] != IDLE:
            return
        # A sense that has just gone off is no power that was off before: it proves something if it stays off.
        was_on = self._senses.power[node] == POWER_ON or self._senses.off_ms[node] < self._board.off_stable_ms
        self._start(node, sense_seen and was_on)
        if not self._trusted[node]:
            if self._senses.power[node] == POWER_OFF:
                self.reason[node] = reasons.ALREADY_OFF
            elif not sense_seen:
                self.reason[node] = reasons.SENSE_UNSEEN

    def vouch(self, node: int) -> None:
        """Fence `node`, whose power is off already, on somebody's word or on evidence: it must only stay off behind the
        open contact. A fence that proved nothing begins anew.
        """
        if self.status[node] == IDLE or self.status[node] == FAILED:
            self._start(node, True)
            self.reason[node] = reasons.DECLARED

    def doubt(self, node: int) -> None:
        """Take a word back: `node` was heard, so nothing is proven."""
        if self.status[node] != IDLE:
            self._distrust(node)
            self._fail(node, self.since_ms[node], reasons.TWO_RUNNING)

    def may_shoot(self, node: int) -> bool:
        """Tell whether `shoot` may go ahead of `fire`: a power relay that no fence holds."""
        return self.status[node] == IDLE and self._nodes[node].fence == "power"

    def shoot(self, node: int) -> None:
        """Mark and move the contact, nothing else: from a deadline to its relay each call counts. `fire` follows."""
        self._mark |= 1 << node
        self._chip.put_scratch(MARK_REGISTER, self._mark)
        self._relays.cut(node)

    def _start(self, node: int, trusted: bool) -> None:
        self._trusted[node] = trusted
        self._mark |= 1 << node
        if trusted:
            self._mark |= 1 << _TRUSTED_SHIFT << node
        self._chip.put_scratch(MARK_REGISTER, self._mark)
        # A mark left by a node that has lost its fence in the settings still means that its contact was open.
        method = METHODS.get(self._nodes[node].fence, codes.METHOD_POWER)
        self.method[node] = method
        if method == codes.METHOD_POWER:
            self._relays.cut(node)
        elif method == codes.METHOD_RESET:
            self._relays.press(node, self._board.press_ms)
        elif method == codes.METHOD_BUTTON and (self._senses.power[node] != POWER_OFF):
            self._relays.press(node, self._board.button_hold_ms)
        self.status[node] = FIRED
        self.since_ms[node] = 0
        self.proof_ms[node] = 0
        self._off_ms[node] = 0
        self.reason[node] = reasons.STILL_ON

    def release(self, node: int) -> None:
        """Give `node` its power back and forget its fence."""
        self._relays.restore(node)
        if self.method[node] == codes.METHOD_BUTTON:
            self._relays.let_go(node)
            if self._senses.power[node] == POWER_OFF:
                self._relays.press(node, self._board.press_ms)  # what a button switched off, a button starts again
        self._mark &= ~(1 << node | 1 << _TRUSTED_SHIFT << node)
        self._chip.put_scratch(MARK_REGISTER, self._mark)
        self.status[node] = IDLE

    def prove(self, node: int) -> None:
        """Take the policy's word that `node` came back from its reset pulse with its services stopped."""
        if self.status[node] == FIRED and self.method[node] == codes.METHOD_RESET:
            self.status[node] = PROVEN
            self.proof_ms[node] = self.since_ms[node]

    def pulse(self, node: int) -> None:
        """Press the front-panel header of `node` shortly; no fence."""
        self._relays.press(node, self._board.press_ms)

    @property
    def busy(self) -> bool:
        """Tell whether any fence is under way, proven or failed."""
        return self._mark != MARK_MAGIC

    @property
    def is_firing(self) -> bool:
        """Tell whether a fence waits for its proof."""
        return FIRED in self.status

    def next_ms(self) -> int:
        """Return the time until a fence could next change its status: no flash write may cover that moment."""
        soonest = COUNT_MAX
        for node in range(NODE_COUNT):
            if self.status[node] == FIRED:
                if not self._measures(node):
                    left = COUNT_MAX
                elif self._senses.power[node] == POWER_OFF and self._trusted[node]:
                    left = self._board.off_stable_ms - self._off_ms[node]
                else:
                    left = WATCHING_MS if self._trusted[node] else COUNT_MAX
                soonest = min(soonest, max(left, 0))
        return soonest

    def step(self, elapsed_ms: int) -> None:
        """Let time pass and look at the senses."""
        for node in range(NODE_COUNT):
            status = self.status[node]
            if status == IDLE:
                continue
            since = add_capped(self.since_ms[node], elapsed_ms, COUNT_MAX)
            self.since_ms[node] = since
            if self._senses.power[node] == POWER_OFF:
                self._off_ms[node] = add_capped(self._off_ms[node], elapsed_ms, COUNT_MAX)
            else:
                self._off_ms[node] = 0
            if status == FIRED:
                self._prove(node, since)
            elif status == PROVEN and self._senses.power[node] == POWER_ON and self._measures(node):
                # Power came back behind the open contact: a second feed, a bypass. What was proven is void, and so is
                # what its sense says later.
                self._distrust(node)
                self._fail(node, since, reasons.STILL_ON)
            elif status == FAILED and self._is_off_late(node):
                # A contact that opened late, or a person who pulled the plug.
                self.status[node] = PROVEN
                self.proof_ms[node] = since
            if since >= self._board.hold_max_s * 1000 and (self._measures(node) or self.status[node] == FAILED):
                self.release(node)

    def _measures(self, node: int) -> bool:
        return self.method[node] == codes.METHOD_POWER or self.method[node] == codes.METHOD_BUTTON

    def _prove(self, node: int, since: int) -> None:
        settings = self._nodes[node]
        if self.method[node] == codes.METHOD_RESET:
            if since >= settings.boot_grace_ms:
                self._fail(node, since, reasons.NOT_BOOTED)
            return
        if self.method[node] == codes.METHOD_LEASE:
            if since >= settings.assumed_off_ms:
                self.status[node] = ASSUMED
                self.proof_ms[node] = since
            return
        if settings.off_proof == "assumed":
            # A sense that is wired all the same may contradict; it may not replace the waiting.
            if self._senses.power[node] == POWER_ON and since >= self._board.off_timeout_ms:
                self._fail(node, since, reasons.STILL_ON)
            elif since >= settings.assumed_off_ms:
                self.status[node] = ASSUMED
                self.proof_ms[node] = since
            return
        if not self._trusted[node]:
            self._fail(node, since, self.reason[node])
        elif self._off_ms[node] >= self._board.off_stable_ms:
            self.status[node] = PROVEN
            self.proof_ms[node] = since
        elif since >= self._board.off_timeout_ms:
            self._fail(node, since, reasons.STILL_ON)

    def _is_off_late(self, node: int) -> bool:
        if not self._trusted[node] or not self._measures(node) or self._nodes[node].off_proof != "sense":
            return False
        return self._off_ms[node] >= self._board.off_stable_ms

    def _distrust(self, node: int) -> None:
        self._trusted[node] = False
        self._mark &= ~(1 << _TRUSTED_SHIFT << node)
        self._chip.put_scratch(MARK_REGISTER, self._mark)

    def _fail(self, node: int, since: int, reason: int) -> None:
        self.status[node] = FAILED
        self.proof_ms[node] = since
        self.reason[node] = reason
