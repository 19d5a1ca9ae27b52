"""Names that share: fewer of them, the same meaning."""

from __future__ import annotations

import ast
from typing import Any

from heartwire.bundle.share import share

SOURCE = """
_table = (1, 2, 3)
limit = 4

def total(rows, start):
    found = start
    for row in rows:
        found += row
    return found

class Counter:
    _kind = 'counter'

    def __init__(self, first):
        self._value = first
        self._said = 0
        self.open_count = 0

    def step(self):
        self._value += total(_table, limit)
        self._said += 1
        self.open_count += 1
        return self._value

    def told(self):
        return getattr(self, '_said'), self._kind

def make(first):
    return Counter(first)
"""


def names(module: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(module):
        for name in ("id", "attr", "arg", "name"):
            value = getattr(node, name, None)
            if isinstance(value, str):
                found.add(value)
    return found


def run(module: ast.Module) -> tuple[Any, ...]:
    space: dict[str, Any] = {}
    exec(compile(module, "whole", "exec"), space)
    counter = space["make"](10)
    return counter.step(), counter.step(), counter.told(), counter.open_count


def test_fewer_names_say_the_same() -> None:
    before = ast.parse(SOURCE)
    after = share(ast.parse(SOURCE), {"make"})
    assert run(after) == run(before) == (20, 30, (2, "counter"), 2)
    assert len(names(after)) < len(names(before))


def test_functions_methods_classes_and_what_stands_in_a_text_keep_their_names() -> None:
    after = names(share(ast.parse(SOURCE), {"make"}))
    assert {"make", "total", "Counter", "step", "told", "_said"} <= after
    assert not {"_value", "_kind"} & after


def test_a_private_attribute_is_never_called_as_a_method_is() -> None:
    module = share(ast.parse(SOURCE), {"make"})
    methods = {item.name for item in ast.walk(module) if isinstance(item, ast.FunctionDef)} - {"total", "make"}
    stored = {
        node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert not methods & stored
