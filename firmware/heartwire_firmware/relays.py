"""Relays and senses: what the outputs command and what the inputs observe. Commanded and observed are never mixed up.

A power relay cuts while it is energised, and is energised only while ARM toggles: the loop toggles ARM in each pass, so
a stuck firmware lets every relay drop and servers keep their power. Senses are debounced. Neither class decides
anything; the sequencer commands, the supervisor reads.
"""

from heartwire_protocol.codes import NODE_COUNT, POWER_OFF, POWER_ON, POWER_UNKNOWN

POWER_SIGNALS = ("POWER_A", "POWER_B", "POWER_SPARE")
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

    def step(self) -> None:
        """Keep the charge pump of energised relays going; call in each pass."""
        if self.cut_count:
            self._toggle()
        elif self._arm:
            self._arm = 0
            self._pins.put("ARM", 0)

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
            self.full[node] = count > 0 and on == count
            self.power[node] = POWER_UNKNOWN if count == 0 else POWER_ON if on else POWER_OFF
