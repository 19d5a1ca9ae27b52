"""Lets names share: what is private to the whole takes a name that it has anyway, from another namespace.

Each different name costs the board's heap its text and a place in a table that doubles when it is full (8 KB at some
1,300 names: seen on the emulated chip with MicroPython 1.24). A private attribute is called what some function or
argument is called, and a module's variable what some attribute is; functions, methods and classes keep their names, so
that a crash on the board can be read. A name that stands in a text stays, as getattr could get it. Called by whole.py,
after everything else.
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass, field

from heartwire.bundle.names import Rewriter


@dataclass
class _Names:
    """Every name of a module, by what it names."""

    attributes: set[str] = field(default_factory=set)
    plain: set[str] = field(default_factory=set)  # variables, arguments, imports
    arguments: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)  # of the module
    methods: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)


def share(module: ast.Module, roots: set[str]) -> ast.Module:
    """Return `module` with as few different names as can be had without a change of meaning; `roots` keep theirs."""
    names = _names_of(module)
    keep = names.texts | names.methods | names.functions | names.classes | roots
    private = sorted(name for name in names.attributes - keep if name.startswith("_") and not name.startswith("__"))
    lent = sorted(
        (names.functions | names.arguments | names.classes) - names.attributes - names.methods - names.texts,
        key=lambda name: (len(name), name),
    )
    attributes = dict(zip(private, lent, strict=False))
    variables = sorted(_variables(module) - keep)
    free = sorted(
        names.attributes
        - set(private)
        - names.plain
        - names.functions
        - names.classes
        - names.texts
        - set(dir(builtins)),
        key=lambda name: (len(name), name),
    )
    renamed = dict(zip(variables, (name for name in free if not name.startswith("_")), strict=False))
    rewriter = Rewriter(lambda name, _bound: renamed.get(name, name), lambda *_reference: None)
    module = ast.Module([rewriter.visit(statement) for statement in module.body], [])
    _Attributes(attributes).visit(module)
    return ast.fix_missing_locations(module)


def _names_of(module: ast.Module) -> _Names:
    names = _Names()
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.texts.add(node.value)
        elif isinstance(node, ast.Name):
            names.plain.add(node.id)
        elif isinstance(node, ast.arg):
            names.plain.add(node.arg)
            names.arguments.add(node.arg)
        elif isinstance(node, ast.keyword) and node.arg:
            names.plain.add(node.arg)
            names.texts.add(node.arg)
        elif isinstance(node, ast.alias):
            names.plain.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.plain.add(node.name)
        elif isinstance(node, ast.Attribute):
            names.attributes.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            names.classes.add(node.name)
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    names.methods.add(item.name)
        elif isinstance(node, ast.FunctionDef):
            names.functions.add(node.name)
    names.functions -= names.methods
    return names


def _variables(module: ast.Module) -> set[str]:
    """Return the variables of the module itself."""
    found: set[str] = set()
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            found.update(target.id for target in statement.targets if isinstance(target, ast.Name))
    return found


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
