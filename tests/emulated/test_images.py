"""Every image: what the table says of its board is what its bytes say and what it says itself at its prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from heartwire.emulated.chip import MS, EmulatedChip
from heartwire.flash import boards, images
from heartwire.virtual.image import DISK_VERSION
from tests.emulated import measures
from tests.emulated.conftest import cached_images, forked

pytestmark = pytest.mark.emulated
ASKS = """
import os, sys, machine
files = os.statvfs('/')
version = '.'.join([str(n) for n in sys.implementation[1][:3]])
print([sys.implementation._machine, version, files[0], files[2], machine.freq()])
"""


@pytest.mark.parametrize("image", images.IMAGES, ids=lambda image: image.name)
def test_pinned_image_fits_its_board(image: images.Image) -> None:
    if not images.is_kept(image):
        pytest.skip(
            f"not installed: micropython-image ({image.name} is not in the cache: "
            f"`heartwire image --micropython {image.version}` gets it)"
        )
    _fits(image.path, boards.by_id(image.board))


def _fits(path: Path, board: boards.Board) -> None:
    found = boards.read_uf2(path.read_bytes())
    assert found is not None and found.family == board.chip.family
    assert 0 < found.end <= board.filesystem_start


def test_image_is_what_its_row_says(board_image: Path) -> None:
    cached = next(one for one in cached_images() if one.path == board_image)
    _fits(board_image, cached.board)

    def body() -> tuple[list[object], bytes]:
        answer = measures.at_prompt(board_image, ASKS)
        # And what it makes of a blank flash itself.
        blank = EmulatedChip(board_image, board=cached.board)
        blank.run_while(lambda: not blank.usb.connected, 3000 * MS)
        start = blank.flash.contents()[cached.board.filesystem_start :]
        return answer, start[: boards.BLOCK]

    answer, block = forked(body)
    version = cached.version.partition("-")[0]
    assert answer == [cached.board.machine, version, boards.BLOCK, cached.board.blocks, cached.board.chip.clock_hz]
    # The superblock: its magic, and 24 bytes on the version of the disk's format.
    at = block.index(b"littlefs") + len(b"littlefs") + 4
    assert int.from_bytes(block[at : at + 4], "little") == DISK_VERSION
