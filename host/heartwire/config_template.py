"""Config files written from the contract's table: the commented template, and running settings as TOML.

Every setting comes with its sentence, unit, range and default, so the file is its own manual; what is commented out
stands at its default. It never writes a file. Called by `heartwire config new` and `config show`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartwire.config import BOARD_ID, FILE_SUFFIX
from heartwire_protocol import codes, settings

EXAMPLE_ID = "E66118604B5C4A2A"
UNITS = {"ms": "ms", "s": "s", "ppm": "ppm"}
HEADER = """\
# Heartwire: settings of one board.
# A line that is commented out stands at its default. Check with `heartwire config check`, put it on the board with
# `heartwire config apply`; the board refuses contradicting values and goes back to the old ones unless they are
# confirmed.
"""
SECTION_WORDS = {
    "board": "the board itself: timings, limits, keys of the host link",
    "node.a": "the server on line a",
    "node.b": "the server on line b",
    "node.spare": "the hot spare on the third line",
}


def template(values: Mapping[str, str] | None = None, board_id: str = "") -> str:
    """Return a commented config with every setting; `values` (path to TOML value) are the live lines.

    The path of a key setting ends in `_file`. `board_id` is the only board that it is for.
    """
    given = dict(values or {})
    pin = f"{BOARD_ID} = {quoted(board_id)}" if board_id else f"#{BOARD_ID} = {quoted(EXAMPLE_ID)}"
    lines = [HEADER, f"\n# the only board that these settings are for, by its id (`heartwire boards`)\n{pin}\n"]
    for section, table in _sections():
        lines.append(f"\n# {SECTION_WORDS[section]}\n[{section}]\n")
        for row in table:
            name = row[0] + FILE_SUFFIX if row[1] == settings.KEY else row[0]
            path = f"{section}.{name}"
            value = given.pop(path, None)
            shown = value if value is not None else _toml_default(section, row)
            lines.append(f"# {describe(row, section)}\n{'' if value is not None else '#'}{name} = {shown}\n")
    if given:
        raise KeyError(", ".join(given))
    return "".join(lines)


def running_toml(values: Mapping[str, str], *, every: bool = False) -> str:
    """Return running settings (path to value, keys as fingerprints) as TOML; `every` adds those at their default."""
    left = dict(values)
    lines: list[str] = []
    for section, table in _sections():
        shown = []
        for row in table:
            path = f"{section}.{row[0]}"
            value = left.pop(path, None)
            if value is not None:
                shown.append(f"{row[0]} = {_toml(row[1], value)}\n")
            elif every and row[1] != settings.KEY:
                shown.append(f"{row[0]} = {_toml(row[1], settings.default_of(path))}  # default\n")
        if shown:
            lines.append(f"{chr(10) if lines else ''}[{section}]\n{''.join(shown)}")
    if left:
        lines.append("\n# not known to this version of heartwire\n")
        lines += [f"# {path} = {value}\n" for path, value in sorted(left.items())]
    return "".join(lines) or "# every setting stands at its default\n"


def describe(row: tuple[Any, ...], section: str) -> str:
    """Return one line about a setting of `section`: its sentence, limits, unit and default there."""
    name, kind, low, high, default, sentence = row
    if kind != settings.KEY:
        default = settings.default_of(f"{section}.{name}")
    if kind == settings.INT:
        unit = UNITS.get(name.rpartition("_")[2], "")
        limits = f"{low} to {high}{' ' + unit if unit else ''}, default {default}"
    elif kind == settings.CHOICE:
        limits = f'{" or ".join(low)}, default "{default}"'
    elif kind == settings.BOOL:
        limits = f"true or false, default {'true' if default else 'false'}"
    elif kind == settings.KEY:
        limits = "path of a key file, default none"
    else:
        limits = f"text of at most {high} characters" + (f', default "{default}"' if default else "")
    return f"{sentence} ({limits})"


def quoted(text: str) -> str:
    """Return `text` as a TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _sections() -> list[tuple[str, tuple[Any, ...]]]:
    return [("board", settings.BOARD), *((f"node.{node}", settings.NODE) for node in codes.NODES)]


def _toml_default(section: str, row: tuple[Any, ...]) -> str:
    if row[1] == settings.KEY:
        later = "-next" if row[0].endswith(settings.NEXT) else ""
        name = f"host{later}.keys" if section == "board" else f"{section.rpartition('.')[2]}{later}.key"
        return quoted(f"keys/{name}")
    return _toml(row[1], settings.default_of(f"{section}.{row[0]}"))


def _toml(kind: str, value: Any) -> str:
    if kind == settings.BOOL:
        return "true" if int(value) else "false"
    return str(value) if kind == settings.INT else quoted(str(value))
