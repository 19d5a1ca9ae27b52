"""Committed outputs belong to their inputs, carry no trace of a machine, stay small, and the pages' links hold."""

import json
import re
from pathlib import Path

import outputs
import pytest
import spice
import tables
import verify

HW = outputs.ROOT / "hw"
MANIFEST = json.loads(outputs.MANIFEST.read_text(encoding="utf-8"))
SIZE_MAX = 4_000_000


def test_verify_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main() == 0, capsys.readouterr().out


def test_a_changed_output_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    edited = tmp_path / "results.json"
    edited.write_bytes(spice.RESULTS.read_bytes() + b" ")
    monkeypatch.setattr(outputs, "_name", lambda path: f"hw/sim/{path.name}" if path == edited else _name(path))
    monkeypatch.setattr(spice, "RESULTS", edited)
    assert outputs.problems(MANIFEST) == ["hw/sim/results.json is missing or not what was generated: run make hw"]


def _name(path: Path) -> str:
    return path.relative_to(outputs.ROOT).as_posix()


def test_a_changed_input_is_caught() -> None:
    changed = json.loads(json.dumps(MANIFEST))
    changed["simulation"]["inputs"]["hw/sim/arm.cir"] = "0" * 64
    assert outputs.problems(changed) == [
        "hw/sim/arm.cir has changed since the simulation outputs were made: run make hw"
    ]


def test_an_output_that_nobody_makes_is_caught() -> None:
    names = {_name(path) for paths in outputs.outputs().values() for path in paths}
    names |= {_name(path) for path in outputs.own_drawings()}
    on_disk = {_name(path) for path in outputs.OUT.iterdir()}
    assert on_disk <= names


def test_outputs_carry_no_path_or_date_of_a_machine() -> None:
    for path in HW.rglob("*"):
        if path.suffix in (".svg", ".json", ".kicad_sch", ".txt", ".pdf"):
            data = path.read_bytes()
            assert not re.search(rb"/(home|root|tmp|work|usr|Users)/", data), path
    assert b"/CreationDate (D:2000" in (outputs.OUT / "schematic.pdf").read_bytes()


def test_outputs_stay_small() -> None:
    assert sum(path.stat().st_size for path in outputs.OUT.iterdir()) < SIZE_MAX


@pytest.mark.parametrize("page", sorted(path.name for path in HW.glob("*.md")))
def test_links_and_pictures_of_a_page_exist(page: str) -> None:
    text = (HW / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("../"):  # pages of other folders are checked with theirs
            assert (HW / target).exists(), f"{page}: {target}"


def test_every_table_and_drawing_is_shown_on_a_page() -> None:
    text = "".join((HW / name).read_text(encoding="utf-8") for name in tables.PAGES)
    shown = set(re.findall(r"<!-- table ([\w-]+) -->", text)) | {"pinout"}
    assert set(tables.renderers()) <= shown
    for path in outputs.OUT.glob("*.svg"):
        assert f"out/{path.name}" in text, path.name
    for path in outputs.OUT.glob("*.png"):
        assert f"out/{path.name}" in text, path.name
