"""The pin list against an independent table of the Pico, and the firmware's board.py against the pin list."""

import ast
import runpy
from dataclasses import replace
from pathlib import Path

import board_py
import pico_pinout
import pins as pin_list
import pytest
import rules

SPARE_ON_MODULE = {25}


def test_table_is_whole() -> None:
    assert len(pico_pinout.NAMES) == 40
    assert pico_pinout.NAMES[36] == "3V3(OUT)"
    assert pico_pinout.NAMES[39] == "VSYS"
    assert len(pico_pinout.GPIO_PIN) == 26


def test_every_gpio_is_on_the_module(pins: list[pin_list.Pin]) -> None:
    assert pin_list.MODULE_PIN == pico_pinout.GPIO_PIN
    assert {pin.gpio for pin in pins} == set(pico_pinout.GPIO_PIN) | SPARE_ON_MODULE


def test_uarts_are_where_the_chip_has_them(pins: list[pin_list.Pin]) -> None:
    for pin in pins:
        if pin.function.startswith("UART"):
            assert pin.gpio in pico_pinout.UART[pin.function, pin.signal[-2:]], pin


def test_levels_are_safe(pins: list[pin_list.Pin]) -> None:
    assert rules.pins_are_safe(pins) == []


def test_relay_on_gpio15_is_refused(pins: list[pin_list.Pin]) -> None:
    moved = [replace(pin, gpio=15) if pin.signal == "POWER_A" else pin for pin in pins]
    assert any("GPIO15" in sentence for sentence in rules.pins_are_safe(moved))


def test_actuator_high_at_boot_is_refused(pins: list[pin_list.Pin]) -> None:
    moved = [replace(pin, boot_level=1) if pin.signal == "FRONT_B" else pin for pin in pins]
    assert any(sentence.startswith("FRONT_B") for sentence in rules.pins_are_safe(moved))


def test_board_py_is_what_the_list_gives() -> None:
    assert board_py.main(["--check"]) == 0


def test_board_py_says_the_same_as_the_list(pins: list[pin_list.Pin]) -> None:
    rows = runpy.run_path(str(board_py.BOARD_PY))["PINS"]
    assert len(rows) == len(pins)
    for row, pin in zip(rows, pins, strict=True):
        assert row == (pin.signal, pin.gpio, pin.function, pin.active_high, pin.boot_level, pin.pull)


def test_board_py_holds_constants_only() -> None:
    tree = ast.parse(board_py.BOARD_PY.read_text(encoding="utf-8"))
    assert [type(item).__name__ for item in tree.body] == ["Expr", "Assign"]


def test_check_notices_an_edited_board_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    edited = tmp_path / "board.py"
    edited.write_text(board_py.BOARD_PY.read_text(encoding="utf-8").replace('"POWER_A", 6', '"POWER_A", 7'))
    monkeypatch.setattr(board_py, "BOARD_PY", edited)
    monkeypatch.setattr(board_py, "ROOT", tmp_path)
    monkeypatch.setattr(board_py, "README", tmp_path / "none.md")
    assert board_py.main(["--check"]) == 1
    assert "differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gpio = 7", "gpio = 6", "used twice"),
        ("gpio = 7", "gpio = 24", "not on the module"),
        ('signal = "POWER_B"', 'signal = "POWER_A"', "used twice"),
        ('boot = "high"', 'boot = "higher"', "boot must be"),
        ('pull = "up"', 'pul = "up"', "unknown keys"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "pins.toml"
    text = pin_list.PINS_TOML.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(pin_list.PinError, match=words):
        pin_list.load(path)
