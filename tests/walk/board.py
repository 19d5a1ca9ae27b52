"""The walk's board: the supervisor's own wiring over lines, flash, clock and senses that are modelled.

All that stands between a frame and a contact (start, requests, brain, hands, a relay's test, new settings) is made and
joined by the supervisor's own code here; only its loop, which says when, is the walk's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from heartwire_firmware import durable, sequencer
from heartwire_firmware.hands import Hands
from heartwire_firmware.peers import ASKS_WINDOW_MS
from heartwire_firmware.relays import Relays, Transfer
from heartwire_firmware.selftest import WAITING
from heartwire_firmware.supervisor import Supervisor
from heartwire_protocol import codes, reasons
from tests.walk import frozen
from tests.walk.bodies import FakeChip, FakePins, FakeSenses, TransferPins

if TYPE_CHECKING:
    from tests.walk.world import World

DAY = 100
NOON_S = frozen.NOON_S
DROPS = [0] * len(codes.DROP_NAMES)


class Signer:
    """A key whose MACs nobody looks at."""

    def mac(self, *_parts: Any) -> bytes:
        """Return a MAC."""
        return bytes(8)


class FakeIntake:
    """A node's line: what its last frames said."""

    signer: Signer | None = Signer()
    text = False
    drops = DROPS
    last_drop = 0
    spoke = True
    request_sequence = 0

    def gather(self) -> bool:
        """Tell whether bytes wait: none do."""
        return False

    def __init__(self, node: int) -> None:
        self.node = node
        self.beats = self.state = self.flags = self.epoch = self.busy_s = self.incarnation = self.sequence = 0
        self.has_incarnation = self.new_incarnation = self.half_line = self.altered = False

    def configure(self, _board: Any, _node: Any) -> None:
        """Take settings."""

    def send(self, _frame: Any) -> None:
        """Send a frame, which nobody reads."""


class FakeDurable:
    """The durable state in the world's flash."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.epoch = 0
        self.holder = codes.NO_NODE
        self.long = False
        self.failed = False
        self.waiting = False

    @property
    def empty(self) -> bool:
        """Tell whether there is no record."""
        return not self._world.flash

    def load(self, state: Any) -> None:
        """Set the durable fields of `state`."""
        if self._world.flash:
            durable.unpack(self._world.flash, state)
        self.note()

    def save(self, state: Any) -> None:
        """Make the durable fields of `state` durable."""
        self._world.flash = durable.pack(state)
        self.waiting = False
        self.note()

    def note(self) -> None:
        """Tell what the flash holds."""
        self.epoch, self.holder, self.long = frozen.stored_in(self._world.flash)[0]


class FakeJournal:
    """Records by number; those up to `decided` are durable."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sequence = self.decided = self.durable = 1
        self.boot = 0
        self.waiting = False
        self.rings = (None, None)

    def load(self) -> None:
        """Find what flash holds."""

    def append(self, event: int, node: int = codes.NO_NODE, reason: int = 0, a: int = 0, b: int = 0) -> int:
        """Note a record and return its number."""
        self._world.journal.append((event, node, reason, a, b))
        self.sequence += 1
        return self.sequence

    def flush(self) -> None:
        """Make all records durable."""
        self.decided = self.durable = self.sequence


class FakeConfig:
    """The settings in force, and those that an operator has sent."""

    problem = reasons.NONE
    lost = False

    def __init__(self, current: Any) -> None:
        self.current = current
        self.sent = current
        self.generation = 1
        self.trial_ms = 0

    def load(self) -> None:
        """Load the settings, which are in force for good."""

    def check_upload(self) -> tuple[Any, list[tuple[str, str]]]:
        """Return what was sent, and that it is without fault."""
        return self.sent, []

    def apply(self, new: Any) -> bool:
        """Put settings into force."""
        self.current = new
        return True


class WatchedHands(Hands):
    """The board's hands; the observers look before anything moves, and the servers feel what was pressed."""

    def __init__(self, board: Board, *parts: Any) -> None:
        super().__init__(*parts)
        self._board = board

    def carry_out(self) -> None:
        """Carry out what was decided."""
        self._board.look()
        super().carry_out()
        self._board.world.pressed()


class Board(Supervisor):
    """The supervisor of `world`."""

    # Some of its parts are others than the supervisor's.
    intakes: Any
    config: Any
    durable: Any
    journal: Any
    clock: Any
    senses: Any
    hostlink: Any
    _last_look: Any
    _repeats: Any
    pace: Any
    state: Any
    facts: Any
    intake_kind: Any = FakeIntake

    def __init__(self, world: World, settings: Any, policy: Any) -> None:
        # What opens files and lines is the walk's.
        self.world = world
        self.chip = FakeChip()
        self.ticks_us = lambda: 0
        self.ticks_diff = lambda _later, _earlier: 0
        self.config = FakeConfig(settings)
        self.durable = FakeDurable(world)
        self.journal = FakeJournal(world)
        self.relays = Relays(FakePins())
        self.senses = FakeSenses()
        self.transfer_pins = TransferPins(world.moved)
        self.transfer = Transfer(self.transfer_pins)
        self.clock = SimpleNamespace(wall_known=False, wall_day=DAY, wall_ms=NOON_S * 1000, is_ahead=False)
        self.intakes = tuple([self.intake_kind(node) for node in range(codes.NODE_COUNT)])
        stub = SimpleNamespace(configure=lambda _board: None, set_baud=lambda _baud: None)
        self.hostlink = stub
        self._hardware = SimpleNamespace(lines=[stub] * codes.NODE_COUNT, lead_ms=0)
        self._repeats = SimpleNamespace(first=lambda *_record: True)
        self._last_look = SimpleNamespace(taken_back=0)
        self._watched = False
        self._wire(policy, lambda *parts: WatchedHands(self, *parts))
        # When is the walk's: the policy is asked now, and what waits for a quiet moment has one.
        self.pace = SimpleNamespace(
            may_stall=lambda: True, asks=lambda *_found: True, configure=lambda _board: None
        )  # fmt: skip
        self.operations = self.settings_operations()

    def boot(self, first: bool) -> None:
        """Start with what flash and the scratch register hold; in the first start the mode is what it is."""
        mode = self.state.mode
        mark = self.chip.mark
        self.state.__init__()
        self.facts.__init__()
        for node in range(codes.NODE_COUNT):
            self.livenesses[node].__init__()  # type: ignore[misc]
            self.intakes[node].__init__(node)
            self.relays.commanded[node] = False
            self.sequencer.status[node] = sequencer.IDLE
        self.relays.cut_count = 0
        self.sequencer._mark = sequencer.MARK_MAGIC
        self.chip.mark = mark
        self.journal.__init__(self.world)
        self.intents.__init__(self.journal)  # type: ignore[misc]
        self.filler._reports.__init__(self.journal, self.livenesses)
        self.filler.note_all()
        self.filler.tell = False
        self.selftest.__init__(self.relays, self.senses, self.facts, self.journal)  # type: ignore[misc]
        self.transfer.__init__(self.transfer_pins)  # type: ignore[misc]
        self.clock.wall_known = False
        if first:
            self.state.mode = mode
        self.world.sense()
        self.start()

    def watch(self) -> None:
        """Let the observers look before the policy is asked."""
        self._watched = True
        for observer in self.world.observers:
            observer.before(self.world)

    def decide(self, elapsed_ms: int) -> None:
        """Judge and decide, as the supervisor does in a pass that is urgent."""
        self.facts.changed = True
        self.brain.since_ms = 0
        self.watch()
        self._decide(False, elapsed_ms)
        self.look()

    def ask(self, operation: int, node: int, argument: int) -> int:
        """Hand on a request; return the reason of its refusal, or NONE."""
        self.watch()
        reason = self.request(operation, node, argument)
        self.look()
        return int(reason)

    def peer_asks(self, node: int, target: int) -> None:
        """Let `node` ask over its line to have `target` fenced."""
        self.watch()
        self.peers.advance(ASKS_WINDOW_MS)
        self.peers.answer(self.intakes[node], target)
        self.look()

    def apply_settings(self, new: Any) -> bool:
        """Let an operator apply `new`; return whether the board took them."""
        self.config.sent = new
        self.watch()
        answer = self.operations.do_settings_apply({}, codes.NO_NODE, codes.RIGHT_CONFIGURE)
        self.look()
        return "error" not in answer

    def look(self) -> None:
        """Let the observers look at what the policy has decided, once each time."""
        if self._watched:
            self._watched = False
            for observer in self.world.observers:
                observer.after(self.world)

    # Intents, as the walk keeps them: 0 none, 1 waits to be written, 2 durable.

    @property
    def intent(self) -> list[int]:
        """Return the intents of all nodes."""
        decided = self.journal.decided
        return [0 if not one else 2 if one <= decided else 1 for one in self.intents.sequence]

    @property
    def must_flush(self) -> bool:
        """Tell whether an intent, or the record of a relay's test, waits to be written."""
        test = self.selftest
        decided = self.journal.decided
        return 1 in self.intent or (test.phase == WAITING and test._sequence > decided)

    def set_intents(self, intents: list[int], test_waits: bool) -> None:
        """Set the intents of all nodes, and whether the record of a test waits."""
        self.journal.sequence, self.journal.decided = 2, 1
        self.intents.sequence[:] = [0, 0, 0]
        for node, one in enumerate(intents):
            self.intents.sequence[node] = 0 if not one else 1 if one == 2 else 2
        self.selftest._sequence = 2 if test_waits else 1
