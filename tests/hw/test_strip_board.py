"""The ARM board of build A against the schematic, with planted faults."""

from dataclasses import replace

import pytest
import strip_board
from netlist import Netlist


def test_board_is_the_schematic(nets: Netlist) -> None:
    assert strip_board.problems(strip_board.load(), nets) == []


def test_it_holds_every_part_of_the_pump(nets: Netlist) -> None:
    refs = {part.ref for part in strip_board.load().parts}
    wanted = {ref for ref in nets.values if ref[0] in "CDRQ" and ref[1:].startswith("30") and len(ref) == 4}
    assert wanted <= refs
    assert {"F1", "F2", "D1", "D2", "D4", "C1", "C2"} <= refs


@pytest.mark.parametrize("ref", ["D303", "D304", "D305", "D306", "D1", "D4", "D302"])
def test_a_diode_the_wrong_way_round_is_caught(nets: Netlist, ref: str) -> None:
    board = strip_board.load()
    parts = [
        replace(part, legs={"K": part.legs["A"], "A": part.legs["K"]}) if part.ref == ref else part
        for part in board.parts
    ]
    assert strip_board.problems(replace(board, parts=parts), nets)


@pytest.mark.parametrize("ref", ["Q301", "Q302"])
def test_a_transistor_the_wrong_way_round_is_caught(nets: Netlist, ref: str) -> None:
    board = strip_board.load()

    def turned(legs: dict[str, str]) -> dict[str, str]:
        return dict(zip(legs, reversed(list(legs.values())), strict=True))

    parts = [replace(part, legs=turned(part.legs)) if part.ref == ref else part for part in board.parts]
    assert strip_board.problems(replace(board, parts=parts), nets)


def test_two_parts_in_one_hole_are_caught(nets: Netlist) -> None:
    board = strip_board.load()
    parts = [replace(part, hole=20) if part.ref == "C304" else part for part in board.parts]
    assert any("meet at hole" in sentence for sentence in strip_board.problems(replace(board, parts=parts), nets))
