"""Make a message fit where it is to go: what matters least goes first, what to do now goes last.

Services take 67 to 35,000 characters, count them in ways of their own and refuse what is longer, so the caller says
what fits. Pure text. Called by channels, in the sender process, which alone knows the service; the parts are compose's.
"""

from __future__ import annotations

from collections.abc import Callable

HAPPENED = "What happened:"
WHY = "Why:"
STORY = "What the board did:"
ALSO = "Also:"
ENDED = "How it stands:"
DO = "What to do now:"
GAP = "\n\n"
MORE = "..."
_PARTS = (HAPPENED, WHY, STORY, ALSO, ENDED, DO)
# What lines go, in this order: (part, lines that stay, whether the first go first).
_CUTS = ((STORY, 4, True), (ALSO, 3, False), (DO, 2, False), (ENDED, 0, False), (STORY, 0, True), (ALSO, 0, False))
Fits = Callable[[str], bool]


def shorten(body: str, fits: Fits, *, title_is_whole: bool = True) -> str:
    """Return `body`, or as much of it as `fits`; a body of compose keeps what a person should do.

    `title_is_whole`: the title says all that the part HAPPENED does, so that part may go before the reason.
    """
    parts = [part.split("\n") for part in body.split(GAP)]
    if not any(part[0].startswith(_PARTS) for part in parts):
        return cut(body, fits)
    gap = GAP

    def text() -> str:
        return gap.join("\n".join(part) for part in parts if part)

    for start, keep, first_goes in _CUTS:
        if fits(text()):
            return text()
        _cut_lines(_part(parts, start), keep, lambda: fits(text()), first_goes=first_goes)
    gap = "\n"
    spare = (ENDED, *((HAPPENED, WHY) if title_is_whole else (WHY, HAPPENED)))
    steps: tuple[Callable[[], None], ...] = (
        lambda: _drop_others(parts),
        lambda: _cut_lines(_part(parts, DO), 1, lambda: fits(text()), first_goes=False),
        *[lambda start=start: _part(parts, start).clear() for start in spare],
    )
    for step in steps:
        if fits(text()):
            return text()
        step()
    if fits(text()):
        return text()
    advice = _part(parts, DO)[1:2]
    return cut(advice[0].removeprefix("  - ") if advice else body, fits)


def cut(text: str, fits: Fits) -> str:
    """Return `text`, or its longest beginning that fits with "..." behind it; "" if not even that does."""
    if fits(text):
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle].rstrip() + MORE) else (low, middle - 1)
    return text[:low].rstrip() + MORE if low else ""


def _part(parts: list[list[str]], start: str) -> list[str]:
    """Return the part that begins with `start`; an empty one if there is none."""
    return next((part for part in parts if part and part[0].startswith(start)), [])


def _drop_others(parts: list[list[str]]) -> None:
    """Drop every part that has no name of ours: where it comes from."""
    for part in parts:
        if part and not part[0].startswith(_PARTS):
            part.clear()


def _cut_lines(part: list[str], keep: int, enough: Callable[[], bool], *, first_goes: bool) -> None:
    """Drop lines below the first one of `part` until it is enough or `keep` are left; without any, drop the part."""
    shown = [line for line in part[1:] if line.strip() != MORE]
    dots = [f"  {MORE}"] if part and part[0] != DO else []
    if part and not shown and not keep and not enough():
        part.clear()
    while len(shown) > keep and not enough():
        shown = shown[1:] if first_goes else shown[:-1]
        part[1:] = [*dots, *shown] if first_goes else [*shown, *dots]
        if not shown:
            part.clear()
