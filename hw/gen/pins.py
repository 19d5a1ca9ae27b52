"""Reads hw/pins.toml, the one list of pins, and refuses a list that cannot be built.

Every generator and test under hw/ gets its pins from here. This module never writes a file and never guesses: an
unknown key, a GPIO used twice or a level that does not exist is an error that names the entry.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS_TOML = ROOT / "hw" / "pins.toml"

FUNCTIONS = ("UART0", "UART1", "PIO", "OUT", "IN")
BOOT_LEVELS: dict[str, int | None] = {"low": 0, "high": 1, "in": None}
PULLS = ("up", "down", "none")
KEYS = {"signal", "gpio", "function", "active", "reset", "boot", "pull", "note"}

# GPIO number -> pin of the 40-pin Pico module. GPIO23..25 and 29 stay on the module: 25 is its LED.
MODULE_PIN = {
    0: 1, 1: 2, 2: 4, 3: 5, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12, 10: 14, 11: 15, 12: 16, 13: 17, 14: 19, 15: 20,
    16: 21, 17: 22, 18: 24, 19: 25, 20: 26, 21: 27, 22: 29, 26: 31, 27: 32, 28: 34,
}  # fmt: skip
MODULE_LED_GPIO = 25
GROUND_PINS = (3, 8, 13, 18, 23, 28, 33, 38)


class PinError(ValueError):
    """The pin list contradicts itself or the module; the text names the signal and what to change."""


@dataclass(frozen=True)
class Pin:
    """One entry of the list. `boot_level` is None for an input."""

    signal: str
    gpio: int
    function: str
    active_high: bool
    boot_level: int | None
    pull: str
    note: str

    @property
    def is_output(self) -> bool:
        """True when the firmware drives the pin."""
        return self.boot_level is not None

    @property
    def module_pin(self) -> int | None:
        """Pin of the Pico module, or None for the LED that sits on the module."""
        return MODULE_PIN.get(self.gpio)


def load(path: Path = PINS_TOML) -> list[Pin]:
    """Return the pins in file order; raise PinError when an entry is wrong."""
    with path.open("rb") as file:
        document = tomllib.load(file)
    pins = [_pin(entry) for entry in document["pin"]]
    for attribute in ("signal", "gpio"):
        values = [getattr(pin, attribute) for pin in pins]
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise PinError(f"{path.name}: {attribute} used twice: {', '.join(twice)}")
    return pins


def _pin(entry: dict[str, object]) -> Pin:
    name = entry.get("signal", "?")
    unknown = set(entry) - KEYS
    missing = KEYS - {"pull"} - set(entry)
    if unknown or missing:
        raise PinError(f"{name}: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
    gpio = entry["gpio"]
    if not isinstance(gpio, int) or (gpio not in MODULE_PIN and gpio != MODULE_LED_GPIO):
        raise PinError(f"{name}: GPIO {gpio} is not on the module")
    if entry["function"] not in FUNCTIONS:
        raise PinError(f"{name}: function must be one of {', '.join(FUNCTIONS)}")
    if entry["active"] not in ("high", "low"):
        raise PinError(f"{name}: active must be high or low")
    if entry["boot"] not in BOOT_LEVELS:
        raise PinError(f"{name}: boot must be one of {', '.join(BOOT_LEVELS)}")
    pull = entry.get("pull", "none")
    if pull not in PULLS:
        raise PinError(f"{name}: pull must be one of {', '.join(PULLS)}")
    return Pin(
        signal=str(name),
        gpio=gpio,
        function=str(entry["function"]),
        active_high=entry["active"] == "high",
        boot_level=BOOT_LEVELS[str(entry["boot"])],
        pull=str(pull),
        note=str(entry["note"]),
    )
