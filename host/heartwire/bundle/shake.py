"""Leaves out what nothing reaches: functions, classes, tables and methods that the board never names.

A method stays if its name is written anywhere in what stays, as an attribute or as a text that getattr could get; the
operations' `do_` methods are named by a table. Called by whole.py; it never looks at what a name means.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

# Methods that are found by a name put together at run time.
PREFIXES = ("do_", "__")


def reachable(statements: list[ast.stmt], roots: set[str]) -> list[ast.stmt]:
    """Return the statements that `roots` reach, in their order, without methods that nothing names."""
    makers: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for name in _names(statement):
            makers.setdefault(name, []).append(statement)
    kept: dict[int, ast.stmt] = {}
    said: set[str] = set()  # attributes and texts
    waiting = [statement for root in roots for statement in makers[root]]
    held: list[tuple[ast.FunctionDef, ast.ClassDef]] = []  # methods whose name nothing has said yet
    while waiting:
        statement = waiting.pop()
        if id(statement) not in kept:
            kept[id(statement)] = statement
            if isinstance(statement, ast.ClassDef):
                held += [(item, statement) for item in statement.body if isinstance(item, ast.FunctionDef)]
                parts: list[ast.AST] = [item for item in statement.body if not isinstance(item, ast.FunctionDef)]
                parts += statement.bases
            else:
                parts = [statement]
            _hear(parts, makers, waiting, said)
        if not waiting:
            wanted = [pair for pair in held if pair[0].name in said or pair[0].name.startswith(PREFIXES)]
            held = [pair for pair in held if pair not in wanted]
            _hear([method for method, _ in wanted], makers, waiting, said)
            while wanted and not waiting:
                # Methods may name only methods.
                wanted = [pair for pair in held if pair[0].name in said]
                held = [pair for pair in held if pair not in wanted]
                _hear([method for method, _ in wanted], makers, waiting, said)
    for method, owner in held:
        owner.body.remove(method)
        if not owner.body:
            owner.body.append(ast.Pass())
    return [statement for statement in statements if id(statement) in kept]


def _names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _hear(parts: Sequence[ast.AST], makers: dict[str, list[ast.stmt]], waiting: list[ast.stmt], said: set[str]) -> None:
    """Note all that `parts` name."""
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                waiting += makers.get(node.id, [])
            elif isinstance(node, ast.Attribute):
                said.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
