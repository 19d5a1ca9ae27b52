"""Relays, front-panel presses and senses: what the outputs command and what the inputs observe, never mixed up.

A power relay cuts while it is energised, and is energised only while ARM toggles: the loop toggles ARM in each pass, so
a stuck firmware lets every relay drop and servers keep their power. Senses are debounced. Neither class decides
anything; the sequencer commands, the supervisor reads.
"""

from heartwire_firmware.clock import add_capped
from heartwire_protocol.codes import COUNT_MAX, NODE_COUNT, POWER_OFF, POWER_ON, POWER_UNKNOWN

POWER_SIGNALS = ("POWER_A", "POWER_B", "POWER_SPARE")
FRONT_SIGNALS = ("FRONT_A", "FRONT_B", "FRONT_SPARE")
SENSE_SIGNALS = (("SENSE_A1", "SENSE_A2"), ("SENSE_B1", "SENSE_B2"), ("SENSE_SPARE",))
# Longer than optocoupler bounce and mains half-waves through a bad adapter, short against off_stable_ms.
DEBOUNCE_MS = 25


class Relays:
    """The three power relays on `pins` (ports.Pins)."""

    def __init__(self, pins):
        self._pins = pins
        self._arm = 0
        self.cut_count = 0
        self.commanded = [False] * NODE_COUNT
        self.press_ms = [0] * NODE_COUNT
        self.pressing = False

    def press(self, node: int, ms: int) -> None:
        """Press the front-panel header of `node` for `ms`; a longer press is never shortened by a second call."""
        if not self.press_ms[node]:
            self._pins.put(FRONT_SIGNALS[node], 1)
        self.press_ms[node] = max(self.press_ms[node], ms)
        self.pressing = True

    def let_go(self, node: int) -> None:
        """End a press."""
        self.press_ms[node] = 0
        self._pins.put(FRONT_SIGNALS[node], 0)

    def cut(self, node: int) -> None:
        """Cut the power of `node`, now."""
        if not self.commanded[node]:
            self.commanded[node] = True
            self.cut_count += 1
        self._pins.put(POWER_SIGNALS[node], 1)
        self._toggle()

    def restore(self, node: int) -> None:
        """Give `node` its power back."""
        if self.commanded[node]:
            self.commanded[node] = False
            self.cut_count -= 1
        self._pins.put(POWER_SIGNALS[node], 0)

    def step(self, elapsed_ms: int) -> None:
        """Keep the charge pump of energised relays going, and end presses; call in each pass."""
        if self.pressing:
            self._step_presses(elapsed_ms)
        if self.cut_count:
            self._toggle()
        elif self._arm:
            self._arm = 0
            self._pins.put("ARM", 0)

    def _step_presses(self, elapsed_ms: int) -> None:
        self.pressing = False
        for node in range(NODE_COUNT):
            left = self.press_ms[node]
            if left and left <= elapsed_ms:
                self.let_go(node)
            elif left:
                self.press_ms[node] = left - elapsed_ms
                self.pressing = True

    def _toggle(self) -> None:
        self._arm = 1 - self._arm
        self._pins.put("ARM", self._arm)


class Input:
    """One debounced input."""

    def __init__(self, pins, signal: str):
        self._pins = pins
        self._signal = signal
        self.asserted = pins.get(signal)
        self._other_ms = 0

    def step(self, elapsed_ms: int) -> None:
        """Read the pin; a new level counts after DEBOUNCE_MS."""
        if self._pins.get(self._signal) == self.asserted:
            self._other_ms = 0
            return
        self._other_ms += elapsed_ms
        if self._other_ms >= DEBOUNCE_MS:
            self.asserted = 1 - self.asserted
            self._other_ms = 0


class Senses:
    """The power senses of all nodes: `power[node]`, and `full[node]` while every wired feed is on."""

    def __init__(self, pins):
        self._inputs = tuple([tuple([Input(pins, signal) for signal in row]) for row in SENSE_SIGNALS])
        self._count = [0] * NODE_COUNT
        self.power = [POWER_UNKNOWN] * NODE_COUNT
        self.full = [False] * NODE_COUNT
        self.off_ms = [0] * NODE_COUNT
        self.part_ms = [0] * NODE_COUNT  # some wired feed is off for so long

    def configure(self, nodes) -> None:
        """Take the nodes' settings: how many feeds are sensed."""
        for node in range(NODE_COUNT):
            self._count[node] = min(nodes[node].senses, len(self._inputs[node]))
        self.step(0)

    def step(self, elapsed_ms: int) -> None:
        """Read all inputs. Off means every feed is off; one feed on is on."""
        for node in range(NODE_COUNT):
            inputs = self._inputs[node]
            count = self._count[node]
            on = 0
            for index in range(count):
                inputs[index].step(elapsed_ms)
                on += inputs[index].asserted
            full = count > 0 and on == count
            if full or self.full[node]:
                self.part_ms[node] = 0
            self.full[node] = full
            power = POWER_UNKNOWN if count == 0 else POWER_ON if on else POWER_OFF
            if power != POWER_OFF or self.power[node] != POWER_OFF:
                self.off_ms[node] = 0
            self.power[node] = power

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass for what is off."""
        for node in range(NODE_COUNT):
            if self.power[node] == POWER_OFF:
                self.off_ms[node] = add_capped(self.off_ms[node], elapsed_ms, COUNT_MAX)
            if not self.full[node]:
                self.part_ms[node] = add_capped(self.part_ms[node], elapsed_ms, COUNT_MAX)

    def feeds(self, node: int) -> int:
        """Return the wired feeds of `node` that have power, as bits."""
        bits = 0
        for index in range(self._count[node]):
            bits |= self._inputs[node][index].asserted << index
        return bits


# A latching coil needs a pulse; its contacts have settled after SETTLE_MS. What does not move in TRIES pulses is stuck.
PULSE_MS = 100
SETTLE_MS = 500
TRIES = 3
MOVED = 1
FAULT = 2


class Transfer:
    """The latching transfer relay that lays shared hardware to a or b, with its position read back.

    It keeps its position without power, so a dead board leaves it where it was. Both contacts or none is a fault.
    """

    def __init__(self, pins):
        self._pins = pins
        self._contacts = (Input(pins, "TRANSFER_AT_A"), Input(pins, "TRANSFER_AT_B"))
        self._left_ms = 0
        self._tries = 0
        self._asked = NODE_COUNT
        self._rest_ms = 0
        self.fault = False

    @property
    def at(self) -> int:
        """Return the node it is at: 0 or 1; NODE_COUNT when its contacts say both or none."""
        first = self._contacts[0].asserted
        if first == self._contacts[1].asserted:
            return NODE_COUNT
        return 0 if first else 1

    def step(self, elapsed_ms: int, wanted: int) -> int:
        """Move it to `wanted` (0 or 1; anything else leaves it); return MOVED or FAULT once when that is certain."""
        for contact in self._contacts:
            contact.step(elapsed_ms)
        if self._left_ms:
            # A pulse that has begun is ended, whatever is wanted by now.
            before = self._left_ms
            self._left_ms = max(0, before - elapsed_ms)
            if before > SETTLE_MS >= self._left_ms:
                self._pins.put("TRANSFER_SET_A", 0)
                self._pins.put("TRANSFER_SET_B", 0)
            return 0
        if wanted > 1:
            return self._watch_rest(elapsed_ms)
        if wanted != self._asked:
            self._asked = wanted
            self._tries = 0
            self.fault = False
            if self.at == wanted:
                self._tries = TRIES + 1
        if self._tries > TRIES:
            # It arrived; if somebody moves it by hand, it is told, not fought.
            if self.at != wanted and not self.fault:
                self.fault = True
                return FAULT
            return 0
        if self._tries and self.at == wanted:
            self._tries = TRIES + 1
            return MOVED
        if self._tries == TRIES:
            if self.fault:
                return 0
            self.fault = True
            return FAULT
        self._tries += 1
        self._rest_ms = 0
        self._left_ms = PULSE_MS + SETTLE_MS
        self._pins.put("TRANSFER_SET_A" if wanted == 0 else "TRANSFER_SET_B", 1)
        return 0

    def _watch_rest(self, elapsed_ms: int) -> int:
        """Nobody moves it: both contacts or none for longer than a move takes is a fault; one of them ends it."""
        if self.at < NODE_COUNT:
            self._rest_ms = 0
            self.fault = False
            return 0
        self._rest_ms = min(self._rest_ms + elapsed_ms, SETTLE_MS)
        if self.fault or self._rest_ms < SETTLE_MS:
            return 0
        self.fault = True
        return FAULT
