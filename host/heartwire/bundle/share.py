"""Lets names share: arguments by their places, and private attributes of classes that never meet in one object.

Each different name costs the board's heap its text and a place in a table that doubles when it is full (some 10 KB
near 1,500 names: seen on the emulated chip with MicroPython 1.24). A function finds its arguments by place, so what
they are called means nothing; those that are given by name anywhere stay. A private attribute is renamed only if it is
stored on `self` in the whole's own classes and nowhere else, so that no foreign object is touched, and not if it stands
in a text, as getattr could get it. Functions, methods and classes keep their names: a crash can be read. Called by
whole.py.
"""

from __future__ import annotations

import ast

Function = ast.FunctionDef | ast.Lambda


def share(module: ast.Module) -> ast.Module:
    """Return `module` with the arguments of its functions and methods called by their places."""
    given = {node.arg for node in ast.walk(module) if isinstance(node, ast.keyword) and node.arg}
    taken = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)} | given
    for statement in module.body:
        for function in statement.body if isinstance(statement, ast.ClassDef) else [statement]:
            if isinstance(function, ast.FunctionDef):
                _rename(function, given, taken)
    _Attributes(_shared(module)).visit(module)
    return module


def _shared(module: ast.Module) -> dict[str, str]:
    """Return a new name for each private attribute: the same one only for those that no class has both of."""
    texts, methods, elsewhere, every = set(), set(), set(), set()
    owners: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.Attribute):
            every.add(node.attr)
            if not isinstance(node.ctx, ast.Load) and not (
                isinstance(node.value, ast.Name) and node.value.id == "self"
            ):
                elsewhere.add(node.attr)
    for item in module.body:
        if isinstance(item, ast.ClassDef):
            bases[item.name] = {base.id for base in item.bases if isinstance(base, ast.Name)}
            for node in ast.walk(item):
                if isinstance(node, ast.FunctionDef):
                    methods.add(node.name)
                elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                    owners.setdefault(node.attr, set()).add(item.name)
            for statement in item.body:
                if isinstance(statement, ast.Assign):
                    for target in statement.targets:
                        if isinstance(target, ast.Name):
                            owners.setdefault(target.id, set()).add(item.name)
    families = _families(bases)
    found: dict[str, str] = {}
    groups: list[set[str]] = []  # the families that have a name, by the number of its new name
    for name in sorted(owners):
        if not name.startswith("_") or name.startswith("__") or name in texts | methods | elsewhere:
            continue
        mine = {families[owner] for owner in owners[name]}
        for number, group in enumerate(groups):  # noqa: B007 - it is used after the loop
            if not group & mine:
                group |= mine
                break
        else:
            number = len(groups)
            groups.append(set(mine))
        found[name] = f"_{number}a"
    if every & set(found.values()):
        raise ValueError("an attribute has the name that another one was to get")
    return found


def _families(bases: dict[str, set[str]]) -> dict[str, str]:
    """Return one class for all that inherit from one another, by class."""
    found = {name: name for name in bases}
    for name, above in bases.items():
        for base in above & set(bases):
            old, new = found[name], found[base]
            found = {one: new if family == old else family for one, family in found.items()}
    return found


def _rename(function: ast.FunctionDef, given: set[str], taken: set[str]) -> None:
    every = function.args
    if every.vararg or every.kwarg or every.kwonlyargs or every.posonlyargs:
        return
    names: dict[str, str] = {}
    for place, argument in enumerate(every.args):
        short = f"_{place}"
        if argument.arg != "self" and argument.arg not in given and short not in taken:
            names[argument.arg] = short
            argument.arg = short
    _Scope(names).inside(function)


class _Scope(ast.NodeTransformer):
    """Renames variables of a function, also where an inner one uses them."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def inside(self, function: Function) -> None:
        body = function.body if isinstance(function.body, list) else [function.body]
        for item in body:
            self.visit(item)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node

    def _inner(self, node: Function) -> ast.AST:
        for value in [*node.args.defaults, *node.args.kw_defaults]:
            if value is not None:
                self.visit(value)
        own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        _Scope({old: new for old, new in self._names.items() if old not in own}).inside(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._inner(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._inner(node)


class _Attributes(ast.NodeTransformer):
    """Renames attributes, and what a class body binds under their names."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._names.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        target.id = self._names.get(target.id, target.id)
        return self.generic_visit(node)
