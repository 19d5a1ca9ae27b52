"""boot.py and main.py as the board gets them: shorter, and the same program."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from heartwire.bundle import terse

FIRMWARE = Path(__file__).parents[3] / "firmware"


def run(source: str) -> dict[str, object]:
    """Run a program; return what it leaves under small names."""
    found: dict[str, object] = {}
    exec(source, found)
    return {"x": found["x"]}


@pytest.mark.parametrize(
    "source",
    [
        "A = 0x40000000\nB = A + 4  # a register\nx = [A, B, A | B << 1]\n",
        "A = (1, 2)\nB = A[0]\nx = A.index(2) + B\n",
        "A = 1\nA = 2\nx = A\n",
        "for A in (1, 2):\n    pass\nx = A\n",
        "A = len('abc')\nx = A\n",
        "A = 'a\\n    b'\nx = A\n",
        "if 1:\n    if 1:\n        x = '''a\n        b'''\n",
        "A = 1\n\n\ndef f(b):\n    return A + b\n\n\nx = f(2)\ndel f\n",
        "from os import sep as A\nx = A\n",
        "def long(one, two=2):\n    found = [row for row in (one, two)]\n    return found\n\n\nx = long(1)\n",
        "def f(value):\n    return value\n\n\nx = f(value=3)\n",
        "def f(value):\n    return {'value': value, **dict(value=value)}\n\n\nvalue = 2\nx = f(value)\n",
        "try:\n    int('no')\nexcept ValueError as error:\n    x = str(error)\n",
        "import os.path\nimport json\nx = json.dumps([os.path.sep, json.loads('1'), json.dumps(2), json.dumps(3)])\n",
        "class Row:\n    height = 3\n\n\nx = Row().height\n",
        "wide = 3\nx = eval('wide')\n",
        "count = 1\n\n\ndef f():\n    global count\n    count += 1\n\n\nf()\nx = count\n",
        "a = 1\nlonger = 2\nb = longer\nx = (a, longer, b)\n",
        "def outer(many):\n    def inner(few):\n        return many - few\n\n    return inner\n\n\nx = outer(5)(2)\n",
    ],
)
def test_the_program_is_the_same(source: str) -> None:
    assert run(terse.make(source)) == run(source)


def test_constants_comments_and_blanks_are_gone() -> None:
    assert terse.make("# why\nA = 1 << 30\n\n\ndef f():\n    # so\n    return A\n") == "def f():\n return 1073741824\n"


@pytest.mark.parametrize("name", ["boot.py", "main.py"])
def test_of_the_boards_own_files_no_constant_is_left(name: str) -> None:
    source = (FIRMWARE / name).read_text()
    short = terse.make(source)
    assert len(short) < 0.7 * len(source) and "#" not in short
    assert not [node.id for node in ast.walk(ast.parse(short)) if isinstance(node, ast.Name) and node.id.isupper()]


def test_what_the_program_names_itself_has_short_names() -> None:
    source = "import machine\nlevels = machine.Pin, machine.Pin, machine.Pin\nprint(levels, machine)\n"
    assert terse.make(source) == "import machine as a\nb = (a.Pin, a.Pin, a.Pin)\nprint(b, a)\n"
