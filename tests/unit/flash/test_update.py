"""`update.flash` from every state a board can be in."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire import keys, ports
from heartwire.errors import (
    BoardNotFound,
    Cancelled,
    NoAnswer,
    NotAllowed,
    Refused,
    StorageProblem,
    UsageProblem,
)
from heartwire.flash import boards, bootsel, images, prompt, update
from heartwire_protocol import codes
from tests.unit.flash.conftest import CONFIGURE_KEY, GUARDS_AGAIN, INFO, INSTALLED, NEW, OLD, RESTART_S, STOPPED, World

REPLACED = ["boot loader", "image written"]


@pytest.fixture
def no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is missing, so whoever wants it fails."""

    def missing(**_: object) -> tuple[Path, bool]:
        raise images.ImageMissing("no image")

    monkeypatch.setattr(images, "get", missing)


# Finding it.


def test_without_a_board_it_says_what_to_do(world: World) -> None:
    with pytest.raises(BoardNotFound) as found:
        world.flash()
    assert "BOOTSEL button held" in found.value.next_step
    assert world.steps == []


def test_a_board_at_another_machine_is_refused_before_its_guard_is_stopped(world: World) -> None:
    # Its prompt could not be reached, and it would stay there.
    with pytest.raises(UsageProblem, match="USB port only") as found:
        world.flash("socket://rack:4000")
    assert "plugged into" in found.value.next_step
    with pytest.raises(UsageProblem, match="USB port only"):
        update.to_prompt(update.Way("socket://rack:4000"), confirm=world.confirm)


def test_without_mpremote_the_guard_is_not_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.guard()
    monkeypatch.setattr(prompt.extras.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    for flash in (world.flash, lambda: update.to_prompt(update.Way(), confirm=world.confirm)):
        with pytest.raises(UsageProblem, match="mpremote"):
            flash()
    assert world.where == "guarding"
    assert world.steps == world.asked == []


# From the boot loader.


def test_a_new_board_in_its_boot_loader_gets_image_and_firmware(world: World) -> None:
    world.boot_loader()
    assert world.flash() == update.Report(images.PREFERRED.version, "", NEW)
    assert world.steps == ["image written", *INSTALLED]
    assert world.asked == []
    assert world.told == [
        f"the board is in its boot loader: MicroPython {images.PREFERRED.version} is installed",
        "the files are right; the board restarts",
    ]
    assert world.progress == [(1, 2, "/fw_a/one"), (2, 2, "/fw_a/two")]


def test_the_boards_port_may_be_named_while_it_is_in_its_boot_loader(world: World) -> None:
    world.boot_loader()
    assert world.flash(str(world.port)).after == NEW
    assert world.steps[0] == "image written"


def test_a_port_that_is_not_there_is_said(world: World) -> None:
    with pytest.raises(BoardNotFound, match="no such port"):
        world.flash(str(world.port))


@pytest.mark.parametrize(
    "info",
    [
        None,
        "UF2 Bootloader v1.23\nModel: Feather M0\nBoard-ID: SAMD21G18A\n",
        "UF2 Bootloader v1.0\nModel: Programmer for RP2040\nBoard-ID: PROG-RP2\n",
        "UF2 Bootloader v1.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2-CLONE\n",
        "UF2 Bootloader v1.0\nModel: Raspberry Pi RP2\n",
        "UF2 Bootloader v1.0\nBoard-ID: RPI-RP2\nBoard-ID: RP2350\n",
    ],
)
def test_a_drive_that_is_no_rp2040s_is_never_written(world: World, info: str | None) -> None:
    world.drive.mkdir()
    if info is not None:
        (world.drive / bootsel.INFO).write_text(info)
    with pytest.raises((BoardNotFound, boards.WrongBoard)):
        world.flash()
    assert bootsel.find() is None
    assert [file.name for file in world.drive.iterdir()] == ([bootsel.INFO] if info else [])


def test_a_full_drive_is_a_storage_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.boot_loader()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootsel.shutil, "copyfile", full)  # type: ignore[attr-defined]
    with pytest.raises(StorageProblem, match="No space left"):
        world.flash()
    assert world.steps == []


def test_without_the_image_a_board_in_its_boot_loader_is_left_alone(world: World, no_image: None) -> None:
    world.boot_loader()
    with pytest.raises(images.ImageMissing):
        world.flash()
    assert [file.name for file in world.drive.iterdir()] == [bootsel.INFO]


def test_firmware_on_a_board_from_its_boot_loader_guards_after_the_image_and_is_stopped(world: World) -> None:
    world.firmware = OLD
    world.boot_loader()
    assert world.flash() == update.Report(images.PREFERRED.version, OLD, NEW)
    assert world.steps == ["image written", *STOPPED, *INSTALLED, *GUARDS_AGAIN]
    assert len(world.asked) == 1


# From the prompt.


def test_the_right_micropython_is_not_installed_again(world: World, no_image: None) -> None:
    world.prompt()
    assert world.flash() == update.Report(images.PREFERRED.version, "", NEW)
    assert world.steps == INSTALLED


def test_another_micropython_is_told_and_replaced(world: World) -> None:
    world.prompt("1.23.0")
    assert world.flash() == update.Report(images.PREFERRED.version, "", NEW)
    assert world.steps == [*REPLACED, *INSTALLED]
    assert world.told[0] == f"MicroPython 1.23.0 is replaced by {images.PREFERRED.version}; files and settings stay"


def test_firmware_under_another_micropython_is_stopped_again_without_a_second_question(world: World) -> None:
    # The files stay, so main.py guards as soon as the image is in.
    world.micropython = "1.23.0"
    world.guard()
    assert world.flash() == update.Report(images.PREFERRED.version, OLD, NEW)
    assert world.steps == [*STOPPED, *REPLACED, "repl", *INSTALLED, *GUARDS_AGAIN]
    assert len(world.asked) == 1


def test_another_board_in_its_boot_loader_is_not_written_by_mistake(world: World) -> None:
    world.micropython = "1.23.0"
    world.guard()
    world.drive.mkdir()
    (world.drive / bootsel.INFO).write_text(INFO)
    # What follows looks at a drive that is not the board's; `restart` must not remove it.
    world.drive = world.drive.with_name("unused")
    with pytest.raises(BoardNotFound, match="another board") as found:
        world.flash()
    assert "unplug the other" in found.value.next_step
    assert [file.name for file in world.drive.with_name("RPI-RP2").iterdir()] == [bootsel.INFO]
    assert (world.where, world.firmware) == ("guarding", OLD)


def test_without_the_image_a_board_with_another_micropython_guards_again(world: World, no_image: None) -> None:
    world.micropython = "1.23.0"
    world.guard()
    with pytest.raises(images.ImageMissing):
        world.flash()
    assert world.steps == [*STOPPED, "reset", *GUARDS_AGAIN]
    assert (world.where, world.firmware) == ("guarding", OLD)


def test_a_drive_that_nobody_mounts_is_said(world: World) -> None:
    world.prompt("1.23.0")
    world.mounts = False
    with pytest.raises(NoAnswer, match="not mounted") as found:
        world.flash()
    assert bootsel.ENVIRONMENT in found.value.next_step


# From the guard.


def test_a_guarding_board_is_asked_for_and_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"configure={CONFIGURE_KEY}\n")
    file.chmod(0o600)
    monkeypatch.setenv(keys.ENVIRONMENT, str(file))
    world.link.keys[codes.RIGHT_CONFIGURE] = CONFIGURE_KEY
    world.guard()
    assert world.flash() == update.Report(images.PREFERRED.version, OLD, NEW)
    assert world.steps == [*STOPPED, *INSTALLED, *GUARDS_AGAIN]
    assert world.asked == [f"Stop the guard of the board with Heartwire {OLD} for the update?"]
    rights = [right for body, right in zip(world.link.asked, world.link.rights, strict=True) if body["op"] == "repl"]
    assert rights == [codes.RIGHT_CONFIGURE]


def test_a_refusal_changes_nothing(world: World) -> None:
    world.guard()
    world.refusal = Cancelled("no")
    with pytest.raises(Cancelled):
        world.flash()
    assert world.steps == []
    assert {body["op"] for body in world.link.asked} == {"status"}


def test_another_program_is_replaced_only_after_a_question(world: World) -> None:
    world.prompt()
    world.program = ("boot.py", "main.py")
    world.refusal = Cancelled("no")
    with pytest.raises(Cancelled):
        world.flash()
    assert world.steps == ["reset"], "it runs its program again, whole"
    world.refusal = None
    world.clock.sleep(RESTART_S)
    assert world.flash().after == NEW
    assert world.asked == ["Another program is on this board: replace its boot.py and main.py?"] * 2
    assert world.steps == ["reset", *INSTALLED]


def test_a_port_that_is_no_boards_is_asked_for_before_its_first_byte(world: World) -> None:
    world.guard()
    world.stranger = "Debug Probe (CMSIS-DAP) (2e8a:000c)"
    world.refusal = Cancelled("no")
    for act in (world.flash, lambda: update.to_prompt(update.Way(), confirm=world.confirm)):
        with pytest.raises(Cancelled):
            act()
    assert (world.met, world.steps) == ([], [])
    question = f"{world.port} is Debug Probe (CMSIS-DAP) (2e8a:000c): send to whatever is there?"
    assert world.asked == [question] * 2
    world.refusal = None
    assert world.flash().after == NEW
    assert world.asked[2:] == [question, f"Stop the guard of the board with Heartwire {OLD} for the update?"]


@pytest.mark.parametrize("says", [b"", b"temperature 21\r\n", b"MicroPython is what I run on\r\n", b"\x00\xff\x03"])
def test_an_unknown_program_is_interrupted_only_after_a_question(world: World, says: bytes) -> None:
    world.prompt()
    world.says = says
    world.program = ("main.py",)
    world.refusal = Cancelled("no")
    for act in (world.flash, lambda: update.to_prompt(update.Way(), confirm=world.confirm)):
        with pytest.raises(Cancelled):
            act()
    assert world.steps == [], "no Ctrl-C, no reset"
    assert all("interrupt whatever runs there?" in words for words in world.asked)
    world.refusal = None
    assert world.flash().after == NEW
    assert world.steps[0] == "interrupted"
    assert world.asked[-1] == "Another program is on this board: replace its main.py?"


def test_an_observing_board_needs_no_maintenance(world: World) -> None:
    world.guard(mode="observe")
    world.flash()
    assert world.steps == ["repl", *INSTALLED]


@pytest.mark.parametrize("mode", ["fencer", "approve", "auto"])
def test_a_board_that_may_fence_enters_maintenance_first(world: World, mode: str) -> None:
    world.guard(mode=mode)
    world.flash()
    assert world.steps == [*STOPPED, *INSTALLED, *GUARDS_AGAIN]


def test_an_operators_own_maintenance_is_neither_shortened_nor_ended(world: World) -> None:
    world.guard()
    world.link.status["maintenance_s"] = 3000
    world.flash()
    assert world.steps == ["repl", *INSTALLED]
    assert world.told[-1] == "maintenance goes on for 3000 s; `heartwire update off` ends it"


def test_a_board_that_refuses_its_prompt_is_not_left_in_maintenance(world: World) -> None:
    world.guard()
    world.link.script["repl"] = {"error": "not_allowed", "reason": "not_armed"}
    with pytest.raises(NotAllowed):
        world.flash()
    assert world.steps == [STOPPED[0], *GUARDS_AGAIN]
    assert world.where == "guarding"


def test_a_board_that_refuses_its_prompt_keeps_an_operators_own_maintenance(world: World) -> None:
    world.guard()
    world.link.status["maintenance_s"] = 3000
    world.link.script["repl"] = {"error": "refused", "reason": "other_operation"}
    with pytest.raises(Refused):
        world.flash()
    assert world.steps == []


def test_a_board_that_writes_its_records_before_it_restarts_is_waited_for(world: World) -> None:
    world.guard()
    world.leaves_after_s = 3.0
    assert world.flash().after == NEW
    assert world.steps == [*STOPPED, *INSTALLED, *GUARDS_AGAIN]


def test_ctrl_c_while_the_board_goes_to_its_prompt_restarts_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.guard()
    sleep = world.clock.sleep

    def interrupted(seconds: float) -> None:
        monkeypatch.setattr(world.clock, "sleep", sleep)
        raise KeyboardInterrupt

    monkeypatch.setattr(world.clock, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.flash()
    assert world.steps == [*STOPPED, "reset"]


def test_to_prompt_leaves_a_board_at_the_prompt_alone(world: World) -> None:
    world.prompt()
    assert update.to_prompt(update.Way(), confirm=world.confirm) == str(world.port)
    assert world.steps == []


def test_the_prompt_of_another_board_is_no_shell(world: World) -> None:
    world.prompt()
    world.machine = "Generic ESP32 module with ESP32"
    with pytest.raises(boards.WrongBoard, match="ESP32"):
        update.to_prompt(update.Way(), confirm=world.confirm)


def test_to_prompt_stops_the_guard(world: World) -> None:
    world.guard()
    assert update.to_prompt(update.Way(), confirm=world.confirm) == str(world.port)
    assert world.steps == STOPPED
    assert world.where == "prompt"


def test_a_virtual_board_is_left_alone(world: World) -> None:
    world.guard()
    world.link.board_id = bytes.fromhex(ports.VIRTUAL_IDS + "0000A1B2")
    with pytest.raises(UsageProblem, match="virtual board"):
        world.flash()
    with pytest.raises(UsageProblem, match="virtual board"):
        update.to_prompt(update.Way(str(world.port)), confirm=world.confirm)
    assert (world.steps, world.where) == ([], "guarding")
