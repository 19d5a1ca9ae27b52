"""The distribution of the relay edge after a deadline: many trials that share the boot, and in tens their history.

A history is a child process in which the active node falls silent at a moment of its own of what the board does again
and again, and which goes on up to BRANCH_MS before its deadline: dead_ms after its last heartbeat, or after the end of
the flash write that this came in, as the board cannot know better. Its trials fork from there, each with its own
arrival times of what else comes, and so its own moments of the passes. All times are virtual. Called by
tools/bench_board.py and test_board.py; asserts nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from heartwire.emulated.chip import MS, Edge
from heartwire.emulated.flashchip import MAXIMUM, Operation
from heartwire.link import MAX_PAYLOAD
from heartwire.simulate.bench import answers_in, unsigned_request
from heartwire.simulate.rack import POWER
from heartwire_protocol import codes, framing, messages
from tests.bodies.bench import EARLY_MS, LATE_MS
from tests.emulated.conftest import forked
from tests.emulated.rig import Rig

# More than the board looks ahead and stays near for (54 ms) and the longest pass before that (30 ms).
BRANCH_MS = 90
AFTER_MS = 30
# In so many intervals the board has done all that it does again and again: it has collected garbage, written a record.
CYCLE_INTERVALS = 8
FLOOD_MS = 3
# MicroPython leaves interrupts off from one flash operation to the next of a write, 76 us later where it was measured.
BETWEEN_NS = 0.2 * MS
SPARE = 2


@dataclass(frozen=True)
class Trial:
    """What one trial showed: ms from the deadline to the relay (nan: it did not move), and what the board did then."""

    after_ms: float
    flash_operations: int  # from the last heartbeat to the deadline
    erases: int
    host_answers: int
    third_line_bytes: int


class Faults:
    """What goes on around the deadline, on one rig; each method starts one thing for good."""

    def __init__(self, rig: Rig, dice: random.Random) -> None:
        self.rig = rig
        self.dice = dice
        self.answers = 0
        self.third_bytes = 0
        self.erases = 0
        self.operations_before = 0
        self._stands: list[tuple[float, float]] = []
        rig.chip.flash.on_operation = self._operation

    def _operation(self, operation: Operation) -> None:
        self.erases += operation.kind == "erase"
        stands = self._stands
        if stands and operation.start_ns - stands[-1][1] < BETWEEN_NS:
            stands[-1] = (stands[-1][0], operation.end_ns)
        else:
            stands.append((operation.start_ns, operation.end_ns))

    def counts_ns(self, came_ns: float) -> float:
        """Return from when a heartbeat counts: where flash had the interrupts off, from the end of that."""
        return next((end_ns for start_ns, end_ns in self._stands if start_ns <= came_ns < end_ns), came_ns)

    def maximum_erase(self) -> None:
        """Let flash take as long as its datasheet allows."""
        self.rig.chip.flash.times = MAXIMUM

    def host_floods(self) -> None:
        """Let the host send garbage without end."""
        rig = self.rig

        def chatter() -> None:
            rig.chip.usb.send(b"\x00" + self.dice.randbytes(24) + b"\x00")
            rig.chip.at(rig.chip.ns + FLOOD_MS * MS, chatter)

        chatter()

    def host_reads_log(self) -> None:
        """Let the host read the journal from its beginning again and again, as fast as it is answered."""
        chip = self.rig.chip
        decoder = framing.Decoder(MAX_PAYLOAD)
        number = 0

        def ask() -> None:
            nonlocal number
            number += 1
            chip.usb.send(unsigned_request(number, {"op": "log", "after": 0, "count": 16}))

        def heard(data: bytes) -> None:
            for _ in answers_in(decoder, data):
                self.answers += 1
                ask()

        chip.on_usb_data = heard
        chip.usb.send(framing.encode(messages.HELLO, bytes([messages.PROTOCOL_VERSION])))
        ask()

    def journal_writes(self) -> None:
        """Let the spare report another state with each heartbeat: a record each time."""
        fake = self.rig.nodes[SPARE]
        beat = fake.heartbeat

        def changing() -> bytes:
            fake.report(codes.STATE_BUSY if fake.state == codes.STATE_HEALTHY else codes.STATE_HEALTHY)
            return beat()

        fake.heartbeat = changing  # type: ignore[method-assign]

    def third_line_full(self) -> None:
        """Let the third line receive without a pause: frames that are none, so that each costs the decoder its work."""
        rig = self.rig
        line = rig.chip.lines[SPARE]

        def fill() -> None:
            data = bytes(self.dice.randrange(1, 256) for _ in range(31)) + b"\x00"
            line.send(data)
            self.third_bytes += len(data)
            rig.chip.at(rig.chip.ns + len(data) * line.char_ns, fill)

        fill()

    def other_node_late(self) -> None:
        """Let the spare become late at the very deadline of node a. Node b is its successor: late, it would be none."""
        rig = self.rig
        silent_ns = rig.beats[0][-1] + (rig.dead_ms - rig.times * LATE_MS) * MS
        rig.chip.at(silent_ns - 45 * MS, lambda: rig.cut.add(SPARE))
        rig.chip.at(silent_ns - 32 * rig.chip.lines[SPARE].char_ns, partial(rig.beat_now, SPARE))

    def other_node_dies(self) -> None:
        """Let the spare fall silent up to 35 ms before node a: deciding on its death must not delay a's relay."""
        rig, chip = self.rig, self.rig.chip
        rig.cut.add(SPARE)
        last_ns = chip.ns + (EARLY_MS + 60) * MS
        chip.at(last_ns - self.dice.uniform(0, 35) * MS, partial(rig.beat_now, SPARE))
        chip.at(last_ns, partial(rig.beat_now, rig.active))
        chip.run_until(last_ns + 10 * MS)


@dataclass(frozen=True)
class Fault:
    """What goes on, and what happens `once` the `active` one of `nodes` is silent: methods of Faults."""

    goes_on: tuple[str, ...] = ()
    once: str = ""
    nodes: int = 2
    active: int = 0
    slow: bool = False  # with the times of a server: a bench's have no room for four longest erases


FAULTS = {
    "nothing else": Fault(),
    "other node late": Fault(once="other_node_late", nodes=3),
    "other node dies": Fault(once="other_node_dies", nodes=3),
    "host floods": Fault(("host_floods",)),
    "host reads the log": Fault(("host_reads_log",)),
    "journal writes": Fault(("journal_writes",), nodes=3),
    "longest erase": Fault(("journal_writes", "maximum_erase"), nodes=3, slow=True),
    "third line full": Fault(("third_line_full",), nodes=3),
    "the spare dies": Fault(nodes=3, active=SPARE),
    "all of it": Fault(("host_reads_log", "journal_writes", "third_line_full"), "other_node_late", nodes=3),
}


def _branch(rig: Rig, faults: Faults, deadline_ns: float, seed: int) -> Trial:
    dice = random.Random(seed)
    rig.dice = faults.dice = dice
    chip = rig.chip
    for node in range(len(rig.nodes)):
        if node != rig.active:
            rig.shift(node, dice.uniform(0, rig.interval_ms / 2))
    # A byte alone wakes the loop: its passes fall elsewhere in each trial.
    stray_ns = chip.ns + dice.uniform(0, 12) * MS
    chip.at(stray_ns, lambda: chip.lines[rig.active].send(b"\x55"))
    on_edge = chip.on_edge

    def moved(edge: Edge) -> None:
        if on_edge is not None:
            on_edge(edge)
        if edge.signal == POWER[rig.active] and edge.level == 1:
            chip.stop()

    chip.on_edge = moved
    chip.run_until(deadline_ns + AFTER_MS * MS)
    fired = [at_ns for at_ns, node in rig.fenced if node == rig.active]
    after_ms = (fired[0] - deadline_ns) / MS if fired else float("nan")
    return Trial(
        after_ms, chip.flash.count - faults.operations_before, faults.erases, faults.answers, faults.third_bytes
    )


def history(rig: Rig, fault: str, seed: int, branches: int) -> list[Trial]:
    """Return the trials of one history of a settled `rig`, which it spoils."""
    dice = random.Random(seed)
    rig.dice = dice
    faults = Faults(rig, dice)
    for name in FAULTS[fault].goes_on:
        getattr(faults, name)()
    rig.chip.run_for(dice.uniform(0.5, CYCLE_INTERVALS) * rig.interval_ms * MS)
    rig.cut.add(rig.active)
    rig.chip.run_for(4 * MS)
    if FAULTS[fault].once:
        getattr(faults, FAULTS[fault].once)()
    faults.operations_before = rig.chip.flash.count
    deadline_ns = faults.counts_ns(max(rig.beats[rig.active])) + rig.dead_ms * MS
    rig.chip.run_until(deadline_ns - BRANCH_MS * MS)
    return [forked(partial(_branch, rig, faults, deadline_ns, seed * 1000 + index)) for index in range(branches)]


def trials(rig: Rig, fault: str, count: int, branches: int, tell: Callable[[int], None]) -> Iterator[Trial]:
    """Yield `count` trials of `fault` on the settled `rig`, `branches` of each history; `tell` gets how many are
    done.
    """
    done = 0
    number = 0
    while done < count:
        found = forked(partial(history, rig, fault, number, min(branches, count - done)))
        number += 1
        done += len(found)
        tell(done)
        yield from found
