"""The board's signals as the rack sees them: names, GPIOs, active levels, and which line is whose.

Comes from the firmware's own pin list, which is generated from hw/pins.toml. It holds no state. Used by board.py.
"""

from dataclasses import dataclass

from heartwire_firmware import board as pin_list

GPIOS = 30
FLOATING = 2
_LINE_OF_FUNCTION = {"UART0": 0, "UART1": 1, "PIO": 2}


@dataclass(frozen=True)
class Signal:
    """One pin: `active_high` tells which level asserts it."""

    name: str
    gpio: int
    function: str
    active_high: bool

    def level(self, asserted: bool) -> int:
        """Return the level that means `asserted`."""
        return int(asserted == self.active_high)

    def asserted(self, level: int) -> bool:
        """Return whether `level` asserts the signal."""
        return bool(level) == self.active_high


SIGNALS = {name: Signal(name, gpio, function, active_high) for name, gpio, function, active_high, _, _ in pin_list.PINS}
BY_GPIO = {signal.gpio: signal for signal in SIGNALS.values()}
INPUTS = frozenset(name for name, signal in SIGNALS.items() if signal.function == "IN")
OUTPUTS = frozenset(name for name, signal in SIGNALS.items() if signal.function == "OUT")

# node -> line number of the VM channel: LINE_A_TX on UART0 makes node a line 0
LINES = {
    name.removeprefix("LINE_").removesuffix("_TX").lower(): _LINE_OF_FUNCTION[signal.function]
    for name, signal in SIGNALS.items()
    if name.startswith("LINE_") and name.endswith("_TX")
}
NODE_OF_LINE = {line: node for node, line in LINES.items()}
