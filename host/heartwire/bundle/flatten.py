"""Makes one class of a class and its only heir: parts that are written apart need not be looked through one by one.

On the board a class costs some 190 bytes of heap, and a method of a base is looked for in each class below it first. A
base that nothing but one class names is a part of that class: its methods move there. One that the heir overrides stays
under a name of its own if the heir calls it, as `Base.method(self)`, and is left out if not. Called by whole.py.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

# MicroPython's collector marks with a stack of 64 places: what has more children makes it look through the whole heap
# once more, which takes 13 ms.
MOST = 48


def flatten(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return `statements` with each class that only one other class names, as its base, put into that one."""
    while True:
        found = _pair(statements)
        if found is None:
            return statements
        base, heir = found
        _merge(base, heir)
        statements = [item for item in statements if item is not base]


def _pair(statements: list[ast.stmt]) -> tuple[ast.ClassDef, ast.ClassDef] | None:
    """Return a base and its only heir."""
    classes = {item.name: item for item in statements if isinstance(item, ast.ClassDef)}
    for heir in classes.values():
        if len(heir.bases) != 1 or not isinstance(heir.bases[0], ast.Name):
            continue
        base = classes.get(heir.bases[0].id)
        if base is None or len(base.body) + len(heir.body) > MOST:
            continue
        named = sum(_count(item, base.name) for item in statements)
        if named == 1 + len(_calls(heir, base.name)) and not _count(heir, "super"):
            return base, heir
    return None


def _count(tree: ast.AST, name: str) -> int:
    return sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _calls(heir: ast.ClassDef, base: str) -> list[tuple[ast.Call, str]]:
    """Return the calls `base.method(self, ...)` of methods that `heir` overrides, with the methods' names."""
    own = _names(heir.body)
    return [
        (node, node.func.attr)
        for node in ast.walk(heir)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == base
        and node.func.attr in own
        and node.args
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id == "self"
    ]


def _names(body: Sequence[ast.stmt]) -> set[str]:
    found = set()
    for item in body:
        if isinstance(item, ast.FunctionDef):
            found.add(item.name)
        for node in ast.walk(item) if isinstance(item, ast.Assign | ast.AnnAssign) else ():
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


def _merge(base: ast.ClassDef, heir: ast.ClassDef) -> None:
    calls = _calls(heir, base.name)
    called = {name for _, name in calls}
    for call, name in calls:
        call.func = ast.Attribute(call.args.pop(0), f"{base.name}_{name}", ast.Load())
    own = _names(heir.body)
    parts: list[ast.stmt] = []
    for item in base.body:
        if isinstance(item, ast.FunctionDef) and item.name in called:
            item.name = f"{base.name}_{item.name}"
        elif isinstance(item, ast.Pass) or _names([item]) & own:
            continue
        parts.append(item)
    heir.body = [*parts, *[item for item in heir.body if not isinstance(item, ast.Pass)]] or [ast.Pass()]
    heir.bases = base.bases
