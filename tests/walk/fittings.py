"""What hangs on the walk's board besides lines and fences: the test of a relay, the transfer relay, the schedule.

SelfTest and Transfer are the firmware's own, and the supervisor's own steps move them; only pins, journal and clock are
modelled. A world without fittings pays nothing for them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from heartwire_firmware import policy_requests
from heartwire_firmware.facts import FactFiller
from heartwire_firmware.relays import Transfer
from heartwire_firmware.selftest import CUT, REST, SelfTest
from heartwire_firmware.supervisor import Supervisor
from heartwire_protocol import codes, events, reasons

if TYPE_CHECKING:
    from tests.walk.world import World

NO_NODE = codes.NO_NODE
DAY = 100
NOON_S = 43200
# A schedule is looked at from so long before it is due to so long after.
SOONEST_S = -70
IDLE_TEST = (NO_NODE, REST, 0, 0, False, 1)


class TransferPins:
    """The coils and contacts of the transfer relay; `moved(signal)` is told of each coil that gets current."""

    def __init__(self, moved: Any) -> None:
        self.at = 0
        self.jammed = 0
        self._moved = moved

    def put(self, signal: str, asserted: int) -> None:
        if asserted:
            node = 0 if signal == "TRANSFER_SET_A" else 1
            self._moved(node)
            if not self.jammed:
                self.at = node

    def get(self, signal: str) -> int:
        return int(self.at == (0 if signal == "TRANSFER_AT_A" else 1))


class Journal:
    """Tells the self-test that its record is durable once the world has written it."""

    def __init__(self, world: World) -> None:
        self.decided = 1
        self._world = world

    def append(self, event: int, node: int = NO_NODE, reason: int = 0, a: int = 0, b: int = 0) -> int:
        if event == events.PROOF_BEGAN:
            self.decided = 0
        self._world.journal.append((event, node, reason, a, b))
        return 1


class Fittings:
    """The fittings of `world`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.pins = TransferPins(self._moved)
        self.clock = SimpleNamespace(wall_known=False, wall_day=DAY, wall_ms=NOON_S * 1000)
        self.due_node = NO_NODE  # what an operator planned and did not take back, whatever the board remembers
        self.due_s = 0
        self.silenced = [0] * 3  # its power was cut for a test, and it has not been heard since
        self.board: Any
        self.boot()

    @property
    def selftest(self) -> SelfTest:
        """The self-test."""
        found: SelfTest = self.board.selftest
        return found

    @property
    def waits(self) -> bool:
        """Tell whether the record of a test waits to be written."""
        return not self.board.journal.decided

    def boot(self) -> None:
        """Start the board: no test is under way, the wall time is unknown, the transfer relay is where it was."""
        world = self._world
        journal = Journal(world)
        self.board = SimpleNamespace(
            state=world.state, facts=world.facts, config=SimpleNamespace(current=world.settings), clock=self.clock,
            journal=journal, transfer=Transfer(self.pins),
            selftest=SelfTest(world.relays, world.senses, world.facts, journal),
        )  # fmt: skip
        self._filler: Any = SimpleNamespace(_board=self.board)
        self.board.selftest.configure(world.settings.board)
        self.clock.wall_known = False

    def begin_tick(self) -> None:
        """Let a second of wall time pass, whatever the board does."""
        self.clock.wall_ms += 1000
        self.due_s = max(SOONEST_S, self.due_s - 1)

    def step(self, elapsed: int) -> None:
        """Let the supervisor step the fittings."""
        Supervisor._step_selftest(self.board, elapsed)
        Supervisor._step_transfer(self.board, elapsed)
        test = self.selftest
        if test.phase == CUT:
            self.silenced[test.node] = 1

    def fill(self) -> None:
        """Tell the facts."""
        self._world.facts.proof = self.selftest.node
        self._world.facts.schedule_s = FactFiller._schedule_s(self._filler)

    def asked(self, operation: int, node: int, argument: int, reason: int) -> None:
        """Carry out what the board does after a request was granted or refused."""
        if reason != reasons.NONE:
            return
        if operation == policy_requests.PROOF:
            self.selftest.begin(node, argument)
        elif operation == policy_requests.SCHEDULE:
            FactFiller.note_schedule(self._filler, argument)
            self.due_node, self.due_s = node, argument
        elif operation == policy_requests.CANCEL and self._world.state.schedule_node == NO_NODE:
            self.due_node = NO_NODE

    def _moved(self, node: int) -> None:
        for observer in self._world.observers:
            observer.transferred(self._world, node)

    def relative_s(self, of_day_s: int, node: int) -> int:
        """Return when a schedule is due, from now."""
        return 0 if node == NO_NODE else max(SOONEST_S, of_day_s - self.clock.wall_ms // 1000)

    def freeze(self) -> tuple[Any, ...]:
        """Return everything that the future depends on."""
        world = self._world
        state = world.state
        test = self.selftest
        frozen_test = IDLE_TEST
        if test.phase != REST:
            frozen_test = (
                test.node,
                test.phase,
                test.cut_ms,
                test._since_ms,
                test._was_good,
                self.board.journal.decided,
            )
        transfer = self.board.transfer
        contacts = tuple([(one.asserted, one._other_ms) for one in transfer._contacts])
        where = (self.pins.at, self.pins.jammed)
        frozen_transfer = (*where, transfer._left_ms, transfer._tries, transfer._asked, transfer.fault, contacts)
        if state.schedule_node == NO_NODE and world.stored_schedule() == NO_NODE:
            self.due_node = NO_NODE
        due = (self.due_node, self.due_s) if self.due_node != NO_NODE else (NO_NODE, 0)
        left_s = self.relative_s(state.schedule_of_day_s, state.schedule_node)
        return frozen_test, frozen_transfer, due, left_s, self.clock.wall_known, tuple(self.silenced)

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take everything from a frozen world; the time is noon."""
        test, transfer, due, left_s, known, silenced = frozen
        found = self.selftest
        found.node, found.phase, found.cut_ms, found._since_ms, found._was_good, self.board.journal.decided = test
        found._sequence = 1
        found.transfer = NO_NODE
        one = self.board.transfer
        self.pins.at, self.pins.jammed, one._left_ms, one._tries, one._asked, one.fault, contacts = transfer
        for contact, (asserted, other_ms) in zip(one._contacts, contacts, strict=True):
            contact.asserted, contact._other_ms = asserted, other_ms
        self.due_node, self.due_s = due
        self.clock.wall_known = known
        self.clock.wall_ms = NOON_S * 1000
        self._world.state.schedule_day = DAY
        self._world.state.schedule_of_day_s = NOON_S + left_s
        self.silenced = list(silenced)
        relays = self._world.relays
        if found.phase == CUT:
            relays.commanded[found.node] = True
            relays.cut_count += 1
