"""Makes boot.py and main.py short: the board compiles them at each start, and the outputs wait for that.

Comments go, numbers stand where constants are named, what the program names itself has short names, and a level of
indentation is one blank. Nothing else is changed; what it does not understand stays as it is written. Called by
image.py.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import re
import string
from collections import Counter
from collections.abc import Iterator


class _Inline(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.values.get(node.id, node)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | None:
        # The assignment of a constant itself.
        if any(isinstance(target, ast.Name) and target.id in self.values for target in node.targets):
            return None
        self.generic_visit(node)
        return node


class _Rename(ast.NodeTransformer):
    """Gives each name one other name, wherever it stands, so that what is the same stays the same."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        node.name = self.names.get(node.name, node.name) if node.name else None
        self.generic_visit(node)
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        bound = node.asname or node.name
        if bound in self.names:
            node.asname = self.names[bound]
        return node


def make(source: str) -> str:
    """Return the same program, shorter. Raises SyntaxError."""
    tree = ast.parse(source)
    tree = ast.fix_missing_locations(_Inline(_constants(tree)).visit(tree))
    tree = _Rename(_short_names(tree)).visit(tree)
    plain = ast.unparse(tree)
    short = re.sub("^(?:    )+", lambda found: " " * (len(found[0]) // 4), plain, flags=re.MULTILINE) + "\n"
    # Text over several lines may begin with blanks.
    return short if ast.dump(ast.parse(short)) == ast.dump(ast.parse(plain)) else plain + "\n"


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names in capitals that the top level binds once, to what can be worked out from numbers and texts."""
    bound: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] = bound.get(node.id, 0) + 1
    known: dict[str, object] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target = statement.targets[0]
        if isinstance(target, ast.Name) and target.id.isupper() and bound[target.id] == 1:
            names = {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}
            calls = [node for node in ast.walk(statement.value) if isinstance(node, ast.Call | ast.Attribute)]
            if names <= known.keys() and not calls:
                code = compile(ast.Expression(statement.value), "constant", "eval")
                known[target.id] = eval(code, {"__builtins__": {}}, dict(known))  # noqa: S307 - constants only
    return {name: ast.parse(repr(value), mode="eval").body for name, value in known.items()}


# Statements that bind names in ways not looked at here; a program with one keeps its names.
_OTHERS = (ast.ClassDef, ast.AsyncFunctionDef, ast.Global, ast.Nonlocal, ast.Match)
_BY_NAME = {"eval", "exec", "globals", "locals", "vars", "dir", "execfile"}


def _short_names(tree: ast.Module) -> dict[str, str]:
    """Return the names that the program binds, to names of a letter or two that stand nowhere in it."""
    nodes = list(ast.walk(tree))
    count = Counter(node.id for node in nodes if isinstance(node, ast.Name))
    if any(isinstance(node, _OTHERS) for node in nodes) or count.keys() & _BY_NAME:
        return {}
    bound: Counter[str] = Counter()
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound[node.id] += 0
        elif isinstance(node, ast.FunctionDef):
            bound[node.name] += 1
        elif isinstance(node, ast.arg):
            bound[node.arg] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound[node.name] += 1
        elif isinstance(node, ast.Import):
            bound.update(alias.asname or alias.name for alias in node.names if alias.asname or "." not in alias.name)
    # A name that a call says is another's, or may be.
    called = {node.arg for node in nodes if isinstance(node, ast.keyword)}
    uses = Counter({name: count[name] + more for name, more in bound.items() if name not in called})
    taken = count.keys() | bound.keys()
    free = (name for name in _letters() if name not in taken and not keyword.iskeyword(name))
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names if not alias.asname
    }
    # What is imported and named once or twice is longer with ` as a` behind it.
    return {
        name: next(free)
        for name, _ in uses.most_common()
        if len(name) > 1 and (name not in imported or _pays(name, count))
    }


def _pays(name: str, count: Counter[str]) -> bool:
    return count[name] * (len(name) - 1) > len(" as a")


def _letters() -> Iterator[str]:
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_lowercase, repeat=length))
