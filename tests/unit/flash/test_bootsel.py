"""The boot loader's drive: which one it is, waiting for it, and a copy that ends with the drive gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from heartwire.errors import NoAnswer, StorageProblem
from heartwire.flash import bootsel
from tests.unit.flash.conftest import IMAGE, INFO, World


def test_the_drive_is_found_where_systems_mount_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(bootsel.ENVIRONMENT)
    monkeypatch.setattr(bootsel, "PLACES", (f"{tmp_path}/media/*/RPI-RP2",))
    assert bootsel.find() is None
    drive = tmp_path / "media" / "somebody" / "RPI-RP2"
    drive.mkdir(parents=True)
    assert bootsel.find() is None
    (drive / bootsel.INFO).write_text(INFO)
    assert bootsel.find() == drive


def test_the_folder_of_the_environment_comes_first(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / bootsel.INFO).write_text(INFO)
    monkeypatch.setattr(bootsel, "PLACES", (str(other),))
    assert bootsel.find() == other
    world.boot_loader()
    assert bootsel.find() == world.drive


def test_it_waits_for_the_drive(world: World) -> None:
    world.clock.later(3.0, world.boot_loader)
    assert bootsel.wait() == world.drive
    assert 1003 <= world.clock.now < 1004


def test_a_drive_that_does_not_come_is_given_up(world: World) -> None:
    with pytest.raises(NoAnswer) as found:
        bootsel.wait()
    assert bootsel.ENVIRONMENT in found.value.next_step
    assert bootsel.WAIT_S <= world.clock.now - 1000 < bootsel.WAIT_S + 1


def test_the_image_is_copied_under_its_name_and_synced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: synced.append((world.drive / world.image.name).exists()))
    world.boot_loader()
    bootsel.write(world.drive, world.image)
    assert (world.drive / world.image.name).read_bytes() == IMAGE
    assert synced == [True]


@pytest.mark.parametrize("folder_stays", [False, True])
def test_a_drive_that_goes_away_at_the_last_block_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, folder_stays: bool
) -> None:
    world.boot_loader()

    def restarts(source: Path, target: Path) -> None:
        shutil.rmtree(world.drive)
        if folder_stays:
            world.drive.mkdir()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bootsel.shutil, "copyfile", restarts)  # type: ignore[attr-defined]
    bootsel.write(world.drive, world.image)


def test_a_drive_that_is_still_there_after_a_failure_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.boot_loader()

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootsel.shutil, "copyfile", full)  # type: ignore[attr-defined]
    with pytest.raises(StorageProblem, match="No space left"):
        bootsel.write(world.drive, world.image)
