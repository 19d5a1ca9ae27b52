"""No words on a sheet overlap words, wires, parts, frames or the page's edge, as far as estimated widths can tell."""

import circuit
import layout
import pins as pin_list


def test_no_sheet_has_overlapping_words(pins: list[pin_list.Pin]) -> None:
    assert [sentence for sheet in circuit.build(pins).sheets for sentence in layout.problems(sheet)] == []


def test_planted_overlaps_are_caught(pins: list[pin_list.Pin]) -> None:
    sheet = circuit.build(pins).sheets[1]
    anchor = sheet.words[0].box
    sheet.note("planted", (anchor[0], anchor[1]))
    sheet.note("far out", (224, 20))
    sheet.note("in the way", (150, 140))
    start, _ = sheet.wires[0]
    sheet.note("on a wire", (start[0] - 1, start[1] - 0.5))
    sentences = "\n".join(layout.problems(sheet))
    for words in ("overlaps 'planted'", "leaves the page", "title block", "'on a wire' lies on a wire"):
        assert words in sentences


def test_a_second_run_writes_the_same_bytes(pins: list[pin_list.Pin]) -> None:
    assert circuit.build(pins).files() == circuit.build(pins).files()
