"""S-expressions, the text format of KiCad files: nested Python lists in, text out, and back.

An `Atom` is written bare, any other string in quotes. Nothing here knows what a schematic is. Used by sheet.py to
write and by kicad.py to read.
"""

import re
from typing import Any

WIDTH = 100  # a list that fits in this many characters stays on one line, which keeps diffs short
TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+)')
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
UNESCAPE = re.compile(r"\\(.)")


class Atom(str):
    """A word that is written without quotes."""


def node(name: str, *values: Any) -> list[Any]:
    """Return the list `(name values...)`; values of None are left out."""
    return [Atom(name), *(value for value in values if value is not None)]


def dump(value: Any, depth: int = 0) -> str:
    """Return `value` as text, indented by tabs, numbers without needless digits."""
    if isinstance(value, Atom):
        return value
    if isinstance(value, str):
        return '"' + "".join(ESCAPES.get(char, char) for char in value) + '"'
    if isinstance(value, (int, float)):
        return f"{round(value, 4):.10g}"
    flat = "(" + " ".join(dump(item) for item in value) + ")"
    if len(flat) <= WIDTH and "\n" not in flat:
        return flat
    text = "(" + dump(value[0])
    for item in value[1:]:
        text += "\n" + "\t" * (depth + 1) + dump(item, depth + 1) if isinstance(item, list) else " " + dump(item)
    return text + "\n" + "\t" * depth + ")"


def parse(text: str) -> list[Any]:
    """Return the first list in `text`."""
    stack: list[list[Any]] = [[]]
    for match in TOKEN.finditer(text):
        quoted, bracket, bare = match.groups()
        if bracket == "(":
            stack.append([])
        elif bracket == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif bare is not None:
            stack[-1].append(Atom(bare))
        else:
            stack[-1].append(UNESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], quoted))
    tree: list[Any] = stack[0][0]
    return tree


def children(parent: list[Any], name: str) -> list[list[Any]]:
    """Return the lists directly inside `parent` that start with `name`."""
    return [item for item in parent if isinstance(item, list) and item and item[0] == name]


def child(parent: list[Any], name: str) -> list[Any]:
    """Return the one list inside `parent` that starts with `name`; KeyError when there is not exactly one."""
    found = children(parent, name)
    if len(found) != 1:
        raise KeyError(f"{len(found)} lists {name!r} in {parent[:2]}")
    return found[0]
