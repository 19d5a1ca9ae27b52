"""Another board is a row of the tables, and nothing else in host or firmware has to know it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from heartwire.cli.main import main
from heartwire.emulated import files
from heartwire.emulated.chip import filesystem_of
from heartwire.flash import boards, bootsel, images, update
from heartwire.flash.boards import WrongBoard
from tests.unit.flash.conftest import NEW, World
from tests.unit.flash.test_boards import block

ROOT = Path(__file__).parents[3]
# One of each chip, with a flash and files of a size that no board of the table has.
ADDED = (
    boards.Board("ACME_2040", "Acme 2040", "Acme 2040 with RP2040", boards.RP2040, 8 << 20, 1500, unproven="not seen"),
    boards.Board("ACME_2350", "Acme 2350", "Acme 2350 with RP2350", boards.RP2350, 16 << 20, 3000, unproven="not seen"),
)


@pytest.fixture(params=ADDED, ids=lambda board: board.id)
def added(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> boards.Board:
    board: boards.Board = request.param
    monkeypatch.setattr(boards, "BOARDS", (*boards.BOARDS, board))
    monkeypatch.setattr(boards, "SUPPORTED", (*boards.SUPPORTED, board))
    monkeypatch.setattr(images, "PREFERENCES", images.PREFERENCES | {board.id: board.chip.minimum + ".0"})
    return board


@pytest.mark.parametrize("board", ADDED, ids=lambda board: board.id)
def test_without_a_row_it_is_refused(world: World, board: boards.Board) -> None:
    world.machine = board.machine
    world.prompt("1.29.0")
    with pytest.raises(WrongBoard, match=re.escape(board.machine)):
        world.flash()


def test_a_row_is_enough_to_install_on_it(world: World, added: boards.Board) -> None:
    world.machine = added.machine
    world.prompt("1.29.0")
    assert world.flash() == update.Report("1.29.0", "", NEW)
    assert any(added.unproven in words for words in world.told)


def test_a_row_is_enough_for_its_image(
    world: World, added: boards.Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = block(added.chip.family)
    row = images.Image(added.id, images.PREFERENCES[added.id], "it.uf2", len(content), "")
    monkeypatch.setattr(images, "IMAGES", (row,))
    assert images.of(added) is row
    assert images.replacement(added, "1.0.0")[0] is row
    boards.check_image(added.chip, content, row.name)
    (tmp_path / bootsel.INFO).write_text(f"Model: Acme\r\nBoard-ID: {added.chip.board_id}\r\n")
    assert boards.by_board_id(bootsel.board_id(tmp_path)) is added.chip


def test_a_row_is_enough_to_list_it(added: boards.Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("image", "--list", "--board", added.name, "--json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["board"], row["chip"], row["oldest"]) == (added.id, added.chip.name, added.chip.minimum)


@pytest.mark.parametrize("board", ADDED, ids=lambda board: board.id)
def test_a_row_is_enough_for_a_file_system_of_its_size(board: boards.Board) -> None:
    pytest.importorskip("littlefs")
    made = files.build({"data/a": b"1" * 5000}, firmware=False, board=board)
    assert len(made) == board.blocks * boards.BLOCK
    whole = b"\xff" * board.filesystem_start + made
    assert files.read(filesystem_of(whole, board)) == {"data/a": b"1" * 5000}


def test_a_row_says_why_it_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = replace(ADDED[0], refused="it has no pins")
    monkeypatch.setattr(boards, "BOARDS", (*boards.BOARDS, refused))
    world.machine = refused.machine
    world.prompt("1.29.0")
    with pytest.raises(WrongBoard, match="Acme 2040: it has no pins"):
        world.flash()


# In words it may stand anywhere; what code asks for are ids and what MicroPython calls a board.
def test_no_code_knows_a_board_but_the_tables_and_the_default() -> None:
    wanted = {text for board in boards.BOARDS if board is not boards.PICO for text in (board.id, board.machine)}
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("firmware", "host", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if any(f'"{text}"' in path.read_text() for text in wanted)
    }
    assert found == {"host/heartwire/flash/boards.py", "host/heartwire/flash/images.py"}
