"""What hangs on the walk's board besides lines and fences: the test of a relay, the transfer relay, the schedule.

The board steps them itself; here is what the world knows of them. A world without fittings pays nothing for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heartwire_firmware.selftest import CUT, REST, WAITING
from heartwire_protocol import codes, operations, reasons
from tests.walk.board import DAY, NOON_S

if TYPE_CHECKING:
    from tests.walk.world import World

NO_NODE = codes.NO_NODE
# A schedule is looked at from so long before it is due to so long after.
SOONEST_S = -70
IDLE_TEST = (NO_NODE, REST, 0, 0, False, 1)


class Fittings:
    """The fittings of `world`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.clock = world.board.clock
        self.due_node = NO_NODE  # what an operator planned and did not take back, whatever the board remembers
        self.due_s = 0
        self.silenced = [0] * 3  # its power was cut for a test, and it has not been heard since

    def begin_tick(self) -> None:
        """Let a second of wall time pass, whatever the board does."""
        self.clock.wall_ms += 1000
        self.due_s = max(SOONEST_S, self.due_s - 1)

    def step(self, elapsed: int) -> None:
        """Let the supervisor step the fittings."""
        board = self._world.board
        board.hands.step_test(elapsed)
        if self._world.settings.board.transfer:
            board.following.step(elapsed)
        if board.selftest.phase == CUT:
            self.silenced[board.selftest.node] = 1

    def asked(self, operation: int, node: int, argument: int, reason: int) -> None:
        """Carry out what the board does after a request was granted or refused."""
        if reason != reasons.NONE:
            return
        if operation == operations.PROOF:
            self._world.board.selftest.begin(node, argument)
        elif operation == operations.SCHEDULE:
            self.due_node, self.due_s = node, argument
        elif operation == operations.CANCEL and self._world.state.schedule_node == NO_NODE:
            self.due_node = NO_NODE

    def relative_s(self, of_day_s: int, node: int) -> int:
        """Return when a schedule is due, from now."""
        return 0 if node == NO_NODE else max(SOONEST_S, of_day_s - self.clock.wall_ms // 1000)

    def freeze(self) -> tuple[Any, ...]:
        """Return everything that the future depends on."""
        world = self._world
        board = world.board
        state = world.state
        test = board.selftest
        frozen_test = IDLE_TEST
        if test.phase != REST:
            written = int(test._sequence <= board.journal.decided)
            frozen_test = (test.node, test.phase, test.cut_ms, test._since_ms, test._was_good, written)
        transfer = board.transfer
        pins = board.transfer_pins
        contacts = tuple([(one.asserted, one._other_ms) for one in transfer._contacts])
        where = (pins.at, pins.jammed)
        frozen_transfer = (*where, transfer._left_ms, transfer._tries, transfer._asked, transfer.fault, contacts)
        if state.schedule_node == NO_NODE and world.stored_schedule() == NO_NODE:
            self.due_node = NO_NODE
        due = (self.due_node, self.due_s) if self.due_node != NO_NODE else (NO_NODE, 0)
        left_s = self.relative_s(state.schedule_of_day_s, state.schedule_node)
        return frozen_test, frozen_transfer, due, left_s, self.clock.wall_known, tuple(self.silenced)

    def thaw(self, frozen: tuple[Any, ...]) -> bool:
        """Take everything from a frozen world, at noon; return whether the record of a test waits to be written."""
        test, transfer, due, left_s, known, silenced = frozen
        world = self._world
        board = world.board
        found = board.selftest
        found.node, found.phase, found.cut_ms, found._since_ms, found._was_good, written = test
        found.transfer = NO_NODE
        one = board.transfer
        pins = board.transfer_pins
        pins.at, pins.jammed, one._left_ms, one._tries, one._asked, one.fault, contacts = transfer
        for contact, (asserted, other_ms) in zip(one._contacts, contacts, strict=True):
            contact.asserted, contact._other_ms = asserted, other_ms
        self.due_node, self.due_s = due
        self.clock.wall_known = known
        self.clock.wall_ms = NOON_S * 1000
        world.state.schedule_day = DAY
        world.state.schedule_of_day_s = NOON_S + left_s
        self.silenced = list(silenced)
        if found.phase == CUT:
            world.relays.commanded[found.node] = True
            world.relays.cut_count += 1
        return bool(found.phase == WAITING and not written)
