"""The pictures of rack and power path: words inside their blocks, off the lines and each other; planted faults show."""

from dataclasses import replace

import block_picture
import pytest
from block_picture import Block, Link
from netlist import Netlist

PICTURES = {picture.name: picture for picture in block_picture.load()}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_nothing_overlaps_and_every_connector_exists(nets: Netlist, name: str) -> None:
    assert block_picture.problems(PICTURES[name], nets) == []


def test_both_pictures_are_there_and_a4_across() -> None:
    assert set(PICTURES) == {"rack", "power-path"}
    assert all("width='297mm' height='210mm'" in block_picture.svg(picture) for picture in PICTURES.values())


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block("x", [60, 60, 10, 10], "node", "much too long a title"), "leaves its place"),
        (Block("x", [10, 36, 60, 20], "node", "t"), "meets"),
        (Block("x", [60, 22, 10, 10], "node", "J99"), "which is no part"),
    ],
)
def test_a_planted_block_is_caught(nets: Netlist, block: Block, words: str) -> None:
    picture = PICTURES["rack"]
    found = block_picture.problems(replace(picture, blocks=[*picture.blocks, block]), nets)
    assert any(words in sentence for sentence in found)


def test_a_line_through_words_is_caught(nets: Netlist) -> None:
    picture = PICTURES["power-path"]
    link = Link("mains", [[0, 180], [200, 180]])
    found = block_picture.problems(replace(picture, links=[*picture.links, link]), nets)
    assert any("lies on a link" in sentence for sentence in found)


def test_every_node_has_line_press_relay_and_sense_in_the_picture_of_the_rack() -> None:
    kinds = [link.kind for link in PICTURES["rack"].links]
    assert kinds.count("line") == kinds.count("sense") == 3
    assert kinds.count("coil") == 4
