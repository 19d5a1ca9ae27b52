"""The emulated tier: a scenario on the official MicroPython image on an emulated RP2040, in virtual time.

Joins the fake rack's bytes and levels (wired_stage.py) to the emulated chip, step by step in the caller's own thread,
also while the host link waits for an answer. It decides nothing and looks into the board only through its wires. Opened
through tiers.open_stage; needs the extra `emulated` and the image.
"""

from __future__ import annotations

from collections.abc import Callable

from heartwire.board import Board
from heartwire.emulated import files
from heartwire.emulated.chip import MS, TIMER, Edge, EmulatedChip, Reset, filesystem_of
from heartwire.errors import Unplugged, UsageProblem
from heartwire.flash import images
from heartwire.keys import Keys
from heartwire.link import Link
from heartwire.simulate.language import Scenario
from heartwire.simulate.rack import KINDS
from heartwire.simulate.wired_stage import WiredStage

STEP_MS = 20
# A coil keeps its contact for so long without its charge pump (hw/SAFETY.md: at most 3 s); a reset is shorter.
HOLD_UP_MS = 1000
READY_MS = 3000


class UsbChannel:
    """The host link to the chip that runs now; ends with that life of its USB port."""

    name = "emulated"
    exposed = False

    def __init__(self, wires: EmulatedWires) -> None:
        self._wires = wires
        self._life = wires.usb_life()

    def _check(self) -> None:
        if self._wires.usb_life() != self._life:
            raise Unplugged("the board is gone")

    def read(self, timeout_s: float) -> bytes:
        """Return what has come; waits for it in virtual time."""
        end_ms = self._wires.now_ms() + max(1, round(timeout_s * 1000))
        while True:
            self._check()
            sent = self._wires.take_usb()
            if sent or self._wires.now_ms() >= end_ms:
                return sent
            self._wires.wait_until(self._wires.now_ms() + STEP_MS)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._check()
        self._wires.send_usb(data)

    def close(self) -> None:
        """End nothing: the port stays."""

    def now(self) -> float:
        """Return virtual seconds."""
        return self._wires.now_ms() / 1000


class EmulatedWires:
    """The emulated board; fulfils wired_stage.WiredBoard."""

    slack_ms = 100

    def __init__(self) -> None:
        self._image = images.find()
        self._chip: EmulatedChip | None = None
        self._flash: bytes | None = None
        self._system: bytes | None = None
        self._kept: dict[str, bytes] = {}
        self._inputs: dict[str, bool] = {}
        self._ms = 0
        self._born_ms = 0
        self._lives = 0
        self._sent: list[bytearray] = [bytearray() for _ in range(3)]
        self._usb = bytearray()
        self._edges: list[tuple[int, str, bool]] = []
        self._dropped: dict[str, int] = {}  # coils that lost their drive in a reset, and when
        self._starts: list[int] = []
        self._begins = False  # power or a reset came; its program has not begun yet
        self._tick: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        """Return the virtual time since the first power-on."""
        return self._ms

    def start(self, found: dict[str, bytes], tick: Callable[[], None]) -> None:
        """Put `found` into the data folder and give power."""
        self._system = files.build({f"data/{name}": data for name, data in found.items()})
        self._tick = tick
        self._power_on()

    def _power_on(self) -> None:
        self._power_off()
        chip = EmulatedChip(self._image, flash=self._flash, filesystem=None if self._flash else self._system)
        self._flash = None
        self._chip = chip
        self._born_ms = self._ms
        self._lives += 1
        self._starts.append(self._ms)
        self._begins = True
        chip.on_edge, chip.on_reset, chip.on_line_byte = self._edge, self._reset, self._line_byte
        chip.on_usb_data = self._usb.extend
        for signal, asserted in self._inputs.items():
            chip.set_input(signal, asserted)

    def _power_off(self) -> None:
        if self._chip is None:
            return
        self._flash = self._chip.contents()
        for signal, level in [(edge.signal, edge.level) for edge in self._chip.edges if edge.level is not None]:
            if level and self._chip.output(signal):
                self._edges.append((self._ms, signal, False))
        self._edges += [(self._ms, signal, False) for signal in self._dropped]
        self._dropped.clear()
        self._chip = None

    def _edge(self, edge: Edge) -> None:
        if edge.signal == "ARM":
            return
        at_ms = self._born_ms + int(edge.ns / MS)
        if edge.level is None and edge.signal.startswith("POWER"):
            self._dropped[edge.signal] = at_ms
        elif edge.level == 1 and self._dropped.pop(edge.signal, None) is not None:
            return  # the coil has not noticed
        else:
            self._dropped.pop(edge.signal, None)
            self._edges.append((at_ms, edge.signal, edge.level == 1))

    def _reset(self, event: Reset) -> None:
        self._lives += 1
        self._usb.clear()
        self._starts.append(self._born_ms + int(event.ns / MS))
        self._begins = True

    def _line_byte(self, line: int, byte: int, _ns: float) -> None:
        self._sent[line].append(byte)

    def _note_start(self) -> None:
        """Take the moment when a line begins to listen for the program's begin: just after that its clock starts."""
        if self._begins and self._chip is not None and self._chip.listens:
            self._starts[-1] = self._ms - STEP_MS // 2
            self._begins = False

    def wait_until(self, ms: int) -> None:
        """Let virtual time pass in steps; a tick comes before each."""
        while self._ms < ms:
            step_ms = min(STEP_MS, ms - self._ms)
            self._ms += step_ms
            self._tick()
            if self._chip is not None:
                self._chip.run_until((self._ms - self._born_ms) * MS)
                self._note_start()

    def call(self, function: Callable[[], None]) -> None:
        """Call `function`: nothing else runs meanwhile."""
        function()

    def feed(self, line: int, data: bytes) -> None:
        """Let bytes arrive on a line."""
        if self._chip is not None:
            self._chip.lines[line].send(data)

    def take(self, line: int) -> bytes:
        """Return what was sent on a line since the last call."""
        sent = bytes(self._sent[line])
        self._sent[line].clear()
        return sent

    def set_input(self, signal: str, asserted: bool) -> None:
        """Set an input pin."""
        self._inputs[signal] = asserted
        if self._chip is not None:
            self._chip.set_input(signal, asserted)

    def take_edges(self) -> list[tuple[int, str, bool]]:
        """Return the edges of outputs since the last call; a coil that lost its drive drops HOLD_UP_MS later."""
        for signal, at_ms in list(self._dropped.items()):
            if self._ms - at_ms >= HOLD_UP_MS:
                del self._dropped[signal]
                self._edges.append((at_ms + HOLD_UP_MS, signal, False))
        found, self._edges = self._edges, []
        return found

    def is_on(self) -> bool:
        """Tell whether the board has power."""
        return self._chip is not None

    def starts_ms(self) -> list[int]:
        """Return when its program began."""
        return self._starts

    def usb_life(self) -> int:
        """Return a number that changes whenever the USB port goes away."""
        return self._lives if self._chip is not None and self._chip.usb.connected else -1

    def take_usb(self) -> bytes:
        """Return what came over USB since the last call."""
        data = bytes(self._usb)
        self._usb.clear()
        return data

    def send_usb(self, data: bytes) -> None:
        """Send to the board over USB."""
        if self._chip is not None:
            self._chip.usb.send(data)

    def open(self, keys: Keys) -> Board:
        """Open the host link; waits for the port as a person would."""
        end_ms = self._ms + READY_MS
        while self.usb_life() < 0 and self._chip is not None and self._ms < end_ms:
            self.wait_until(self._ms + STEP_MS)
        if self.usb_life() < 0:
            raise Unplugged("the board is off")
        link = Link(UsbChannel(self), keys)
        link.hello()
        return Board(link)

    def act(self, verb: str) -> None:
        """Let a board statement happen."""
        if verb == "gets-power":
            self._power_on()
        elif verb == "loses-power":
            self._power_off()
        elif verb == "resets" and self._chip is not None:
            watchdog = self._chip.mcu.watchdog
            watchdog._reason = TIMER
            watchdog.on_watchdog_trigger()
        elif verb == "bad-boots" and self._chip is not None:
            self._chip.mcu.watchdog.scratch_data[1] = 4
        elif verb in ("stores", "restores", "forgets"):
            self._change_store(verb)
        else:
            raise UsageProblem(f"the emulated tier cannot show: board {verb}", "`--tier policy` runs every file")

    def _change_store(self, verb: str) -> None:
        flash = self._chip.contents() if self._chip is not None else self._flash
        if flash is None:
            return
        found = {name: data for name, data in files.read(filesystem_of(flash)).items() if name.startswith("data/")}
        if verb == "stores":
            self._kept = found
            return
        wanted = self._kept if verb == "restores" else {n: d for n, d in found.items() if "settings" in n}
        if self._chip is not None:
            raise UsageProblem(f"board {verb}: only while it is off", "let it lose its power first")
        self._flash = None
        self._system = files.build(wanted)

    def close(self) -> None:
        """End everything."""
        self._chip = None


def open_emulated(scenario: Scenario, kind: str = KINDS[0]) -> WiredStage:
    """Start `scenario` on the emulated board, settled. Raises NotReady or ImageMissing where it cannot run."""
    return WiredStage(scenario, EmulatedWires(), kind)
