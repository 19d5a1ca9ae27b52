"""Names that share, and builtins that stand first: the same meaning."""

from __future__ import annotations

import ast
from typing import Any

from heartwire.bundle.near import bring_near
from heartwire.bundle.share import share

SOURCE = """
limit = 4

def total(rows, start):
    found = start
    for row in rows:
        found += row
    return max(found, len([rows for rows in rows]))

def later(value, *, by=1):
    return [other + value for other in range(by)]

class Counter:
    _kind = 'counter'

    def __init__(self, first):
        self._value = first
        self._said = 0
        self.open_count = 0

    def step(self, amount):
        self._value += total((1, 2, 3), limit) * amount
        self._said += 1
        return sorted([5, 1], key=lambda item: item * amount)[0] + self._value

    def told(self):
        return getattr(self, '_said'), self._kind

class Bell:
    def __init__(self, owner):
        self._owner = owner
        self._rings = 0

    def ring(self):
        self._rings += self._owner.step(1)
        self._owner.open_count += 1
        return self._rings

class Loud(Bell):
    def __init__(self, owner):
        Bell.__init__(self, owner)
        self._volume = 11

    def level(self):
        return self._volume + self._rings

def make(first):
    loud = Loud(Counter(first))
    return loud.ring(), loud.ring(), loud.level(), loud._owner.told(), later(3, by=2), loud._owner.open_count
"""


def names(module: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(module):
        for name in ("id", "attr", "arg", "name"):
            value = getattr(node, name, None)
            if isinstance(value, str):
                found.add(value)
    return found


def run(module: ast.Module) -> Any:
    space: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(module), "whole", "exec"), space)
    return space["make"](10)


def test_fewer_names_say_the_same() -> None:
    before = ast.parse(SOURCE)
    after = bring_near(share(ast.parse(SOURCE)))
    assert run(after) == run(before)
    assert len(names(share(ast.parse(SOURCE)))) < len(names(before))


def test_functions_methods_classes_and_what_stands_in_a_text_keep_their_names() -> None:
    after = names(share(ast.parse(SOURCE)))
    assert {"make", "total", "Counter", "step", "told", "_said", "open_count", "by"} <= after
    assert not {"_value", "_kind", "_owner", "_rings", "amount", "first"} & after


def test_classes_that_meet_in_one_object_share_no_attribute() -> None:
    module = share(ast.parse(SOURCE))
    stored: dict[str, set[str]] = {}
    for item in module.body:
        if isinstance(item, ast.ClassDef):
            stored[item.name] = {
                node.attr
                for node in ast.walk(item)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            } - {"open_count"}
    assert not stored["Bell"] & stored["Loud"]
    assert stored["Counter"] & stored["Bell"]


def test_a_foreign_objects_attribute_is_never_renamed() -> None:
    source = "import sys\n\ndef board():\n    return sys.implementation._machine\n"
    assert "_machine" in names(share(ast.parse(source)))


def test_builtins_stand_first_the_most_used_ahead() -> None:
    module = bring_near(ast.parse("def f(a):\n    return len(a) + len(a) + max(a)\n"))
    assert ast.unparse(module).splitlines()[:2] == ["len = len", "max = max"]


def test_a_name_that_the_module_binds_is_no_builtin() -> None:
    module = bring_near(ast.parse("def max(a):\n    return a\n\ndef f(len):\n    return len, max(1)\n"))
    assert isinstance(module.body[0], ast.FunctionDef)
