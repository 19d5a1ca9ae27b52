"""Finds words on a schematic sheet that overlap other words, a wire, a part or the edge of the page.

Works on what sheet.py remembers, so it needs no KiCad. The width of words is estimated, a little on the wide side;
a drawing still has to be looked at. Called by the tests and by make.py.
"""

from sheet import Box, Sheet, Words, text_box

PAGE: Box = (9, 9, 225, 156)
TITLE_BLOCK: Box = (139, 130, 226, 157)
SLACK = 0.15


def _overlap(one: Box, other: Box) -> bool:
    return (one[0] + SLACK < other[2] and other[0] + SLACK < one[2]
            and one[1] + SLACK < other[3] and other[1] + SLACK < one[3])  # fmt: skip


def _numbers(sheet: Sheet) -> list[Words]:
    """Return the pin numbers that KiCad writes along the pins."""
    result = []
    for part in sheet.parts:
        if not part.symbol.show_numbers:
            continue
        for pin in part.symbol.pins:
            x, y = part.pin(pin.number)
            middle = pin.length / 2
            owner = f"{part.ref} pin"
            if pin.side in ("left", "right"):
                box = text_box(pin.number, x + (middle if pin.side == "left" else -middle), y - 0.7, "center")
            else:
                half = text_box(pin.number, 0, 0, "center")[2]
                centre = y + (middle if pin.side == "up" else -middle)
                box = (x - 1.2, centre - half, x - 0.2, centre + half)
            result.append(Words(pin.number, box, owner))
    return result


def problems(sheet: Sheet) -> list[str]:
    """Return one sentence for each overlap on the sheet."""
    found = []
    words = sheet.words + _numbers(sheet)
    for index, one in enumerate(words):
        for other in words[index + 1 :]:
            if _overlap(one.box, other.box):
                found.append(f"{sheet.name}: {one.text!r} overlaps {other.text!r}")
        left, top, right, bottom = one.box
        if left < PAGE[0] or top < PAGE[1] or right > PAGE[2] or bottom > PAGE[3]:
            found.append(f"{sheet.name}: {one.text!r} leaves the page")
        if _overlap(one.box, TITLE_BLOCK):
            found.append(f"{sheet.name}: {one.text!r} runs into the title block")
        for frame in sheet.frames:
            inside = frame[0] < left and frame[1] < top and right < frame[2] and bottom < frame[3]
            if _overlap(one.box, frame) and not inside:
                found.append(f"{sheet.name}: {one.text!r} crosses a frame")
        for start, end in sheet.pieces():
            wire = (min(start[0], end[0]), min(start[1], end[1]), max(start[0], end[0]), max(start[1], end[1]))
            wide = (wire[0] - 0.05, wire[1] - 0.05, wire[2] + 0.05, wire[3] + 0.05)
            if _overlap(one.box, (wide[0] - SLACK, wide[1] - SLACK, wide[2] + SLACK, wide[3] + SLACK)):
                found.append(f"{sheet.name}: {one.text!r} lies on a wire at {start}")
        for part in sheet.parts:
            if part.ref == one.owner or one.owner == f"{part.ref} pin":
                continue
            body = part.symbol.body
            x, y = part.at
            if _overlap(one.box, (x + body[0], y + body[1], x + body[2], y + body[3])):
                found.append(f"{sheet.name}: {one.text!r} lies on {part.ref}")
    return found
