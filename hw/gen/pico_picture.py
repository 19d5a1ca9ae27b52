"""Draws the Pico from above with the signal on each pin, as SVG: the picture to have beside the screw terminals.

Comes from the pin list alone and needs the standard library only, so that verify.py can compare it byte for byte.
Called by make.py and verify.py through outputs.py.
"""

from xml.sax.saxutils import escape

from pins import GROUND_PINS, MODULE_LED_GPIO, Pin

ROW = 30
TOP = 84
LEFT, RIGHT = 330, 570  # edges of the module
WIDTH, HEIGHT = 900, TOP + 20 * ROW + 60
FONT = "font-family='DejaVu Sans, Arial, sans-serif'"
FIXED = {30: "RUN", 33: "GND", 35: "ADC_VREF", 36: "3V3 OUT", 37: "3V3_EN", 39: "VSYS", 40: "VBUS"}
USED_SUPPLY = {36, 39}
COLOURS = {"ground": "#d0d0d0", "supply": "#ffd0c0", "line": "#fff2b0", "output": "#cfe0ff", "input": "#d4f0d4",
           "free": "#ffffff"}  # fmt: skip
LEGEND = (("line", "serial line"), ("output", "output"), ("input", "input"), ("supply", "supply"), ("ground", "ground"),
          ("free", "leave open"))  # fmt: skip


def _words(x: float, y: float, text: str, size: int, anchor: str, bold: bool = False) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x}' y='{y}' {FONT} font-size='{size}' text-anchor='{anchor}'{weight}>{escape(text)}</text>"


def _box(x: float, y: float, width: float, height: float, fill: str, radius: int = 4) -> str:
    return (f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='{radius}' fill='{fill}' "
            "stroke='#404040'/>")  # fmt: skip


def _kind(number: int, pin: Pin | None) -> str:
    if pin:
        return "line" if pin.signal.startswith("LINE_") else "output" if pin.is_output else "input"
    if number in GROUND_PINS:
        return "ground"
    return "supply" if number in USED_SUPPLY else "free"


def svg(pins: list[Pin]) -> str:
    """Return the picture."""
    wired = {pin.module_pin: pin for pin in pins if pin.module_pin}
    led = next((pin.signal for pin in pins if pin.gpio == MODULE_LED_GPIO), "")
    middle = (LEFT + RIGHT) / 2
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}'>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        _words(middle, 26, "Raspberry Pi Pico, seen from above", 18, "middle", bold=True),
        _box(LEFT, TOP - 18, RIGHT - LEFT, 20 * ROW + 30, "#e8f4e8", 10),
        _box(middle - 42, TOP - 38, 84, 42, "#c8c8c8"),
        _words(middle, TOP - 12, "USB", 15, "middle"),
        _words(middle, TOP + 300, "RP2040", 16, "middle", bold=True),
        _words(middle, TOP + 340, "LED on it:", 12, "middle"),
        _words(middle, TOP + 356, led, 12, "middle"),
    ]
    for number in range(1, 41):
        left = number <= 20
        row = number - 1 if left else 40 - number
        y = TOP + row * ROW + 2
        pin = wired.get(number)
        gpio = f"GP{pin.gpio}" if pin else "GND" if number in GROUND_PINS else FIXED.get(number, "")
        label = pin.signal if pin else "" if _kind(number, pin) == "free" else gpio
        edge = LEFT if left else RIGHT
        sign = -1 if left else 1
        anchor, inner = ("end", "start") if left else ("start", "end")
        lines += [
            f"<circle cx='{edge - sign * 10}' cy='{y + 11}' r='6' fill='#d8b860' stroke='#604000'/>",
            _words(edge - sign * 24, y + 16, gpio, 14, inner),
            _box(edge - 44 if left else edge + 6, y, 38, 22, "#f8f8f8"),
            _words(edge + sign * 25, y + 16, str(number), 15, "middle", bold=True),
            _box(edge - 250 if left else edge + 50, y, 200, 22, COLOURS[_kind(number, pin)]),
            _words(edge + sign * 60, y + 16, label, 15, anchor),
        ]
    for index, (kind, words) in enumerate(LEGEND):
        x = 30 + index * 145
        lines += [_box(x, HEIGHT - 30, 20, 18, COLOURS[kind]), _words(x + 27, HEIGHT - 16, words, 14, "start")]
    return "\n".join([*lines, "</svg>"]) + "\n"
