"""Damaged files and a Ctrl-C at any instant of a start: the board starts safely and says so, every output at its
documented level. Times are virtual.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heartwire.emulated.chip import FORCED, MS, TIMER, filesystem_of
from heartwire.flash.boards import PICO
from heartwire.simulate.hardware import FakeFiles
from heartwire.simulate.rack import POWER
from heartwire.virtual.image import FlashImage
from heartwire_firmware import config, slots
from heartwire_protocol import codes, events, messages, reasons, records
from tests.bodies.bench import quick_settings
from tests.emulated.conftest import forked
from tests.emulated.rig import EPOCH, Rig, stored

pytestmark = pytest.mark.emulated
FIRMWARE = "heartwire_board.mpy"
BAD_BOOTS_REGISTER = 1
# As boot.py has it; a start that cannot even load the firmware takes this long at most.
GIVE_UP = 8
BAD_START_MS = 700
NOTE_REGISTER, NOTE_REPL = 2, 0x2A57E002
# RP2040 datasheet 4.7.2 and erratum E1: 24 bits, of which 2,000 are a millisecond.
TICKS_OF_A_MS = 2000
LONGEST_WATCHDOG_MS = (1 << 24) // TICKS_OF_A_MS


def _damaged(data: dict[str, bytes], name: str, at: int, text: bytes = b"\x5a\xa5") -> dict[str, bytes]:
    """Return the files with some bytes of one changed."""
    whole = data[f"data/{name}"]
    return {**data, f"data/{name}": whole[:at] + text + whole[at + len(text) :]}


def _binds(grant: dict[str, int]) -> bool:
    return bool(grant["lease_ms"]) and not grant["orders"] & messages.ORDER_ADVISORY


def _lives(board_image: Path, data: dict[str, bytes], before: Callable[[Rig], None] | None = None) -> dict[str, Any]:
    """Start a board with these files beside two nodes, a running; return what it shows after its start."""

    def body() -> dict[str, Any]:
        rig = Rig(board_image, data=data)
        if before is not None:
            before(rig)
        rig.chip.run_for(3000 * MS)
        found: dict[str, Any] = {
            "status": rig.ask("status"),
            "guarding_ms": rig.chip.passes[0].ns / MS,
            "resets": len(rig.chip.resets),
            "relays": [edge for edge in rig.chip.edges if edge.signal in POWER and edge.level == 1],
            "running": [fake.running for fake in rig.nodes],
            "two_active": rig.two_active,
            "answered": [len(grants) for grants in rig.grants],
            "leases": [{grant["epoch"] for _, grant in grants if _binds(grant)} for grants in rig.grants],
            "rows": [(row["event"], row["reason"]) for row in rig.journal() if row["boot"]],
            "sequences": [row["sequence"] for row in rig.journal()],
        }
        return found

    found = forked(body)
    assert found["guarding_ms"] <= 1000
    assert found["resets"] == 0
    assert found["relays"] == []
    assert found["running"] == [True, False], "a running service was interrupted, or a second one started"
    assert not found["two_active"]
    return found


def test_damaged_newest_settings_and_torn_journal(board_image: Path) -> None:
    data = stored(quick_settings())
    store = FakeFiles({name[5:]: whole for name, whole in data.items()})
    kept = slots.TwoSlots(store, "settings")
    kept.load()
    kept.save(quick_settings(board__late_ms=300).text().encode(), config.CONFIRMED)
    data = {f"data/{name}": whole for name, whole in store.contents.items()}
    newest = max(
        (name for name in store.contents if name.startswith("settings")), key=lambda name: data["data/" + name][2]
    )
    data = _damaged(data, newest, 40)
    # Three records of an earlier life, a fourth torn, and another segment that is nothing but noise.
    life: bytes = b""
    chain = records.CHAIN_START
    for sequence in range(1, 5):
        record = bytearray(records.LENGTH)
        chain = records.encode_into(record, [sequence, 0, 0, 0, events.BOOT, 0, 3, 0, 0, 0, 0], chain)
        life += bytes(record)
    data["data/d00000001"] = life[: 3 * records.LENGTH + 20]
    data["data/r00000004"] = bytes(range(200))
    found = _lives(board_image, data)
    assert found["status"]["crc"] != 0
    assert found["status"]["generation"] == 1
    assert found["leases"][0] == {EPOCH}
    assert (events.SETTINGS_REVERTED, reasons.CORRUPT) in found["rows"]
    assert found["sequences"][:3] == [1, 2, 3], "whole records before the damage are kept"
    assert found["sequences"][3] > 4, "a number of a damaged record is given out again"


def test_damaged_only_settings(board_image: Path) -> None:
    data = stored(quick_settings())
    name = next(name[5:] for name in data if name.startswith("data/settings"))
    found = _lives(board_image, _damaged(data, name, 40))
    # The defaults stand: it knows no key, so nobody's heartbeat counts, and nothing moves.
    assert found["status"]["generation"] == 0
    assert (events.SETTINGS_LOST, reasons.CORRUPT) in found["rows"]
    assert found["status"]["active"] is None
    assert found["status"]["epoch"] == EPOCH
    assert found["leases"] == [set(), set()]


def test_damaged_state_in_both_copies(board_image: Path) -> None:
    data = stored(quick_settings())
    name = next(name[5:] for name in data if name.startswith("data/state"))
    data["data/state.0"] = data["data/state.1"] = data[f"data/{name}"]
    data = _damaged(_damaged(data, "state.0", 9), "state.1", 12)
    found = _lives(board_image, data)
    # Nobody is granted by a board that has forgotten; the mode it ships with moves nothing.
    assert (events.STORE_EMPTY, reasons.NONE) in found["rows"]
    assert found["status"]["mode"] == codes.MODES[codes.MODE_OBSERVE]
    assert found["leases"] == [set(), set()]
    assert all(found["answered"])


def test_bad_starts_make_safe_mode(board_image: Path) -> None:
    def before(rig: Rig) -> None:
        rig.chip.mcu.watchdog.scratch_data[BAD_BOOTS_REGISTER] = 3

    found = _lives(board_image, stored(quick_settings()), before)
    assert found["status"]["safe"] == 1
    assert (events.SAFE_MODE, reasons.NONE) in found["rows"]
    assert found["leases"][0] == {EPOCH}, "the holder's lease is renewed in safe mode"


def _spoil_firmware(rig: Rig, path: Path, damage: str) -> None:
    image = FlashImage(path)
    image.path.write_bytes(filesystem_of(rig.chip.contents()))
    whole = image.read(FIRMWARE)
    if damage == "missing":
        image.remove(FIRMWARE)
    else:
        image.write(FIRMWARE, b"\0" + whole[1:] if damage == "damaged" else whole[: len(whole) // 2])
    system = image.path.read_bytes()
    rig.chip.mcu.flash[PICO.filesystem_start : PICO.filesystem_start + len(system)] = system


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_firmware_that_does_not_load_ends_at_the_prompt_of_a_person_with_the_key(
    board_image: Path, tmp_path: Path, damage: str
) -> None:
    def body() -> tuple[int, float, bytes, list[tuple[str, int | None]], bytes]:
        rig = Rig(board_image, nodes=0, data=stored(quick_settings()))
        _spoil_firmware(rig, tmp_path / "flash", damage)
        rig.chip.set_input("KEY", True)
        rig.chip.run_while(lambda: not rig.usb.endswith(b">>> "), GIVE_UP * BAD_START_MS * MS)
        rig.chip.usb.send(b"print(6 * 7)\r\n")
        prompt_ns = rig.chip.ns
        rig.chip.run_for(200 * MS)
        levels = [(edge.signal, edge.level) for edge in rig.chip.edges if edge.signal in (*POWER, "ARM")]
        return len(rig.chip.resets), prompt_ns / MS, bytes(rig.usb), levels, rig.files()["crash.txt"]

    resets, _, said, levels, crash = forked(body)
    assert resets == GIVE_UP - 1, "it did not try as often as it says, or went on trying"
    assert b"\r\n42\r\n" in said
    assert {level for _, level in levels} <= {0, None}, "a relay moved"
    assert b"Error" in crash


def test_firmware_that_never_ends_loading_ends_at_the_prompt_of_a_person_with_the_key(
    board_image: Path, tmp_path: Path
) -> None:
    # MicroPython's loader reads half a file for ever. Only the watchdog ends that; here its last start but one is seen.
    def body() -> tuple[list[int], int, bytes, bool, list[tuple[str, int | None]]]:
        rig = Rig(board_image, nodes=0, data=stored(quick_settings()))
        _spoil_firmware(rig, tmp_path / "flash", "half")
        rig.chip.set_input("KEY", True)
        watchdog = rig.chip.mcu.watchdog
        watchdog.scratch_data[BAD_BOOTS_REGISTER] = GIVE_UP - 2
        rig.chip.run_for(BAD_START_MS * MS)
        left_ms = watchdog.timer.counter // TICKS_OF_A_MS
        # Nothing happens until then, which would take minutes.
        watchdog.timer.set(TICKS_OF_A_MS)
        rig.chip.run_while(lambda: not rig.usb.endswith(b">>> "), BAD_START_MS * MS)
        levels = [(edge.signal, edge.level) for edge in rig.chip.edges if edge.signal in (*POWER, "ARM")]
        return [one.reason for one in rig.chip.resets], left_ms, bytes(rig.usb), bool(watchdog.timer.enable), levels

    causes, left_ms, said, watched, levels = forked(body)
    assert 0 < left_ms <= LONGEST_WATCHDOG_MS
    assert causes == [TIMER]
    assert said.endswith(b">>> ")
    assert not watched, "the watchdog would end the prompt"
    assert {level for _, level in levels} <= {0, None}, "a relay moved"


def _send_interrupts(rig: Rig, from_ms: int) -> None:
    """Send Ctrl-C every 50 us for 10 ms, `from_ms` after USB comes up: USB is up while main.py is still compiled."""

    def send(left: int) -> None:
        rig.chip.usb.send(b"\x03")
        if left:
            rig.chip.at(rig.chip.ns + MS / 20, lambda: send(left - 1))

    def once() -> None:
        rig.chip.usb.on_connected = None
        rig.chip.at(rig.chip.ns + from_ms * MS, lambda: send(200))

    rig.chip.usb.on_connected = once


def test_the_ctrl_c_of_these_tests_ends_a_program_that_allows_it(board_image: Path) -> None:
    # So it arrives and counts; what guards has forbidden it by then, whatever takes the time before that.
    def body() -> tuple[bytes, bool, bool]:
        data = {**stored(quick_settings()), "main.py": b"while True:\n    pass\n"}
        rig = Rig(board_image, nodes=0, data=data)
        _send_interrupts(rig, 20)
        rig.chip.run_for(150 * MS)
        return bytes(rig.usb), rig.chip.usb.connected, bool(rig.chip.mcu.watchdog.timer.enable)

    said, connected, watched = forked(body)
    assert connected
    assert b"KeyboardInterrupt" in said
    assert watched, "boot.py's watchdog ends such a prompt"


# A start takes so long from USB to main.py's first line, and a good deal more.
INSTANTS_MS = range(0, 130, 10)


def test_ctrl_c_before_the_guard_is_none_of_its_instants(board_image: Path) -> None:
    def body() -> list[tuple[bool, int, bool]]:
        found = []
        data = stored(quick_settings())
        for from_ms in INSTANTS_MS:
            rig = Rig(board_image, data=data)
            _send_interrupts(rig, from_ms)
            rig.chip.run_for(1000 * MS)
            found.append((len(rig.chip.passes) > 0, len(rig.chip.resets), b">>>" in rig.usb))
        return found

    assert forked(body) == [(True, 0, False)] * len(INSTANTS_MS)


def test_ctrl_c_before_the_prompt_makes_no_second_prompt(board_image: Path) -> None:
    def body() -> tuple[bool, list[int], int]:
        rig = Rig(board_image, data=stored(quick_settings()))
        watchdog = rig.chip.mcu.watchdog
        watchdog.scratch_data[NOTE_REGISTER] = NOTE_REPL
        _send_interrupts(rig, 0)
        rig.chip.run_while(lambda: not rig.usb.endswith(b">>> "), BAD_START_MS * MS)
        watched = bool(watchdog.timer.enable)
        rig.chip.usb.send(b"\r\nimport machine\r\nmachine.reset()\r\n")
        rig.chip.run_for(3000 * MS)
        return watched, [one.reason for one in rig.chip.resets], rig.ask("status")["epoch"]

    assert forked(body) == (False, [FORCED], EPOCH)
