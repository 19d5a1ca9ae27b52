"""A node's power: mains, the relay behind the board's POWER output, feeds, and the sense inputs that watch them.

The relay's contact is normally closed: the board asserts POWER to cut, and the coil only gets current while the charge
pump on ARM is kept alive, so a hung board lets go. It models faults (welded contact, stuck sense, a feed nobody told
the board of) and never decides anything. Made by rack.py; every method runs in the reactor's thread or through it.
"""

from collections.abc import Callable

from heartwire.virtual.board import VirtualBoard
from heartwire.virtual.reactor import Timer

Report = Callable[[str, str], None]  # source, text

ARM_HOLD_MS = 150  # how long the charge pump feeds the coils without a toggle; outlasts a slow flash erase
RELAY_MS = 8  # coil to contact


class ChargePump:
    """The pump on ARM: charged while the pin toggles, empty `hold_ms` after the last toggle."""

    def __init__(self, board: VirtualBoard, changed: Callable[[], None], hold_ms: float = ARM_HOLD_MS) -> None:
        self.charged = False
        self._board = board
        self._changed = changed
        self._hold_ms = hold_ms
        self._timer: Timer | None = None
        board.on_toggle(self._toggled)

    def _toggled(self, _signal: str, _asserted: bool, _at_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._board.reactor.later(self._hold_ms, self._empty)
        if not self.charged:
            self.charged = True
            self._changed()

    def _empty(self) -> None:
        self.charged = False
        self._changed()


class Feed:
    """One power feed of a node: from the mains, usually through the relay, to a sense input."""

    def __init__(self, name: str, sense: str | None, *, behind_relay: bool = True) -> None:
        self.name = name
        self.sense = sense
        self.behind_relay = behind_relay
        self.mains = False
        self.welded = False
        self.live = False
        self.sense_stuck: bool | None = None
        self.shown = False
        self.timer: Timer | None = None


class PowerSupply:
    """The power of one node; `server_power(on)` is called when the node gains or loses its last feed."""

    def __init__(
        self,
        board: VirtualBoard,
        pump: ChargePump,
        node: str,
        report: Report,
        *,
        feeds: int = 1,
        discharge_ms: float = 200,
        on_ms: float = 20,
        relay_ms: float = RELAY_MS,
    ) -> None:
        """Wire up to the signals of `node`; `discharge_ms` and `on_ms` are the sense input's delays."""
        self.node = node
        self.powered = False
        self.cut = False
        self.server_power: Callable[[bool], None] = lambda on: None
        self._board = board
        self._pump = pump
        self._report = report
        self._discharge_ms, self._on_ms, self._relay_ms = discharge_ms, on_ms, relay_ms
        self._output = f"POWER_{node.upper()}"
        self._coil = False
        self._relay_timer: Timer | None = None
        senses = [f"SENSE_{node.upper()}"] if node == "spare" else [f"SENSE_{node.upper()}{n}" for n in (1, 2)]
        self.feeds = [Feed(f"feed {n + 1}", senses[n]) for n in range(min(feeds, len(senses)))]
        board.on_output(self._on_output)

    # Faults and switches, from any thread

    def set_mains(self, on: bool, feed: int = 1) -> None:
        """Give or take the mains of a feed (counted from 1)."""
        self._change(
            lambda: setattr(self.feeds[feed - 1], "mains", on), f"mains {'on' if on else 'off'} at feed {feed}"
        )

    def weld(self, welded: bool = True, feed: int = 1) -> None:
        """Weld the relay's contact in a feed (it stays closed whatever the coil does), or replace the relay."""
        text = "relay contact welded" if welded else "relay replaced"
        self._change(lambda: setattr(self.feeds[feed - 1], "welded", welded), f"{text} in feed {feed}")

    def stick_sense(self, reads: bool | None, feed: int = 1) -> None:
        """Make a sense input read powered (True) or not (False) whatever is true; None mends it."""
        text = "mended" if reads is None else f"stuck at {'on' if reads else 'off'}"
        self._change(lambda: setattr(self.feeds[feed - 1], "sense_stuck", reads), f"sense of feed {feed} {text}")

    def add_hidden_feed(self) -> None:
        """Connect a feed that no relay cuts and no sense watches."""
        hidden = Feed("hidden feed", None, behind_relay=False)
        hidden.mains = True
        self._change(lambda: self.feeds.append(hidden), "a hidden feed appears")

    def cross_relay(self, other: "PowerSupply") -> None:
        """Exchange the wires from the two relays to the two nodes' contactors; a second time mends it."""

        def cross() -> None:
            self._output, other._output = other._output, self._output
            for supply in (self, other):
                supply.update()

        self._change(cross, f"relay wires exchanged with {other.node}")

    def cross_sense(self, other: "PowerSupply") -> None:
        """Exchange the wires from the first feeds of two nodes to their sense inputs; a second time mends it."""

        def cross() -> None:
            mine, theirs = self.feeds[0], other.feeds[0]
            mine.sense, theirs.sense = theirs.sense, mine.sense

        self._change(cross, f"sense wires exchanged with {other.node}")

    def remove_hidden_feed(self) -> None:
        """Take the hidden feeds away."""

        def remove() -> None:
            self.feeds[:] = [feed for feed in self.feeds if feed.sense is not None]

        self._change(remove, "the hidden feed is gone")

    # Inside the reactor's thread

    def update(self) -> None:
        """Look at the coil and move the contact after its operating time."""
        coil = self._pump.charged and self._board.output(self._output)
        if coil == self._coil:
            return
        self._coil = coil
        self._report(f"relay {self.node}", "coil on" if coil else "coil off")
        if self._relay_timer is not None:
            self._relay_timer.cancel()
        self._relay_timer = self._board.reactor.later(self._relay_ms, self._move)

    def settle(self) -> None:
        """Bring feeds, sense inputs and the server to what switches and contacts make of them."""
        for feed in self.feeds:
            live = feed.mains and not (feed.behind_relay and self.cut and not feed.welded)
            if live != feed.live:
                feed.live = live
                self._sense_later(feed)
        powered = any(feed.live for feed in self.feeds)
        if powered != self.powered:
            self.powered = powered
            self._report(f"power {self.node}", "on" if powered else "off")
            self.server_power(powered)

    def _on_output(self, signal: str, _asserted: bool, _at_ns: int) -> None:
        if signal == self._output:
            self.update()

    def _move(self) -> None:
        if self.cut != self._coil:
            self.cut = self._coil
            self._report(f"relay {self.node}", "contact open" if self.cut else "contact closed")
            self.settle()

    def _sense_later(self, feed: Feed) -> None:
        if feed.timer is not None:
            feed.timer.cancel()
        delay_ms = self._on_ms if feed.live else self._discharge_ms
        feed.timer = self._board.reactor.later(delay_ms, lambda: self._show(feed))

    def _show(self, feed: Feed) -> None:
        if feed.sense is None:
            return
        shown = feed.live if feed.sense_stuck is None else feed.sense_stuck
        if shown != feed.shown:
            feed.shown = shown
            self._board.set_input(feed.sense, shown)
            self._report(f"sense {self.node}", f"{feed.name} {'on' if shown else 'off'}")

    def _change(self, action: Callable[[], object], text: str) -> None:
        def change() -> None:
            self._report(f"power {self.node}", text)
            action()
            self.settle()
            for feed in self.feeds:
                if feed.sense_stuck is not None or feed.timer is None or feed.timer.callback is None:
                    self._show(feed)

        self._board.reactor.call(change)


class TransferRelay:
    """The latching relay that connects the shared device to node a or b, with read-back contacts.

    It moves once a single coil has been on for PULSE_MS; both coils together, or a shorter pulse, do nothing.
    """

    PULSE_MS = 10
    CONTACT_MS = 5

    def __init__(self, board: VirtualBoard, report: Report, position: str = "a") -> None:
        self.position = position
        self.stuck = False
        self._board = board
        self._report = report
        self._asserted_ns: dict[str, int] = {}
        board.on_output(self._on_output)
        self._read_back()

    def jam(self, stuck: bool = True) -> None:
        """Make the armature stay where it is whatever the coils do, or free it."""
        self.stuck = stuck
        self._report("transfer", "jammed" if stuck else "freed")

    def _on_output(self, signal: str, asserted: bool, at_ns: int) -> None:
        if not signal.startswith("TRANSFER_SET_"):
            return
        since_ns = self._asserted_ns.pop(signal, at_ns)
        if asserted:
            self._asserted_ns[signal] = at_ns
            self._board.reactor.later(self.PULSE_MS, lambda: self._held(signal, at_ns))
        elif at_ns - since_ns >= self.PULSE_MS * 1_000_000 and not self._asserted_ns:
            self._pulsed(signal[-1].lower())

    def _held(self, signal: str, since_ns: int) -> None:
        if self._asserted_ns == {signal: since_ns}:
            self._pulsed(signal[-1].lower())

    def _pulsed(self, target: str) -> None:
        if target == self.position or self.stuck:
            return
        self.position = target
        self._report("transfer", f"moves to {target}")
        for name in ("TRANSFER_AT_A", "TRANSFER_AT_B"):
            self._board.set_input(name, False)
        self._board.reactor.later(self.CONTACT_MS, self._read_back)

    def _read_back(self) -> None:
        for node in "ab":
            self._board.set_input(f"TRANSFER_AT_{node.upper()}", node == self.position)
