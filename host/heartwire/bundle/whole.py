"""Makes one module of the firmware's two packages: what a Pico can hold in its memory and load in its first second.

Forty modules cost the board fifteen milliseconds each to find and open, a name for each constant, and two look-ups for
each use of another module's name. So the build does what a linker does: it puts all top-level names into one module,
writes numbers where constants are named, blanks the tables' sentences (tables.py), and leaves out what nothing
reaches. The result is ordinary Python; what it does is what the modules do, which the contract's tests, the virtual and
the emulated tier run. It never changes an expression otherwise. Called by virtual.image.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass, field

from heartwire.bundle import shake
from heartwire.bundle.flatten import flatten
from heartwire.bundle.names import Rewriter, bound_names, locals_of
from heartwire.bundle.near import bring_near
from heartwire.bundle.share import share
from heartwire.bundle.tables import STAR, VALUES, WORDS

PACKAGES = ("heartwire_protocol", "heartwire_firmware")
_SMALL_INT = 1 << 30


class BundleProblem(ValueError):
    """Report that the firmware's source uses something that the build does not understand: a fault of the source."""


@dataclass
class _Module:
    package: str
    name: str
    tree: ast.Module
    modules: dict[str, str] = field(default_factory=dict)  # local name -> module it stands for
    symbols: dict[str, tuple[str, str]] = field(default_factory=dict)  # local name -> (module, its name)
    outside: dict[str, ast.stmt] = field(default_factory=dict)  # local name -> import of the standard library
    defined: dict[str, None] = field(default_factory=dict)  # its own top-level names, in order
    needs: dict[str, None] = field(default_factory=dict)


def make(sources: dict[str, str], roots: tuple[tuple[str, str], ...]) -> str:
    """Return the source of the whole.

    `sources` maps "package/module.py" to source text, `roots` are the (module, name) that must be in it, under that
    name. Raises BundleProblem where the source uses something that cannot be put together.
    """
    modules = {}
    for path, source in sources.items():
        package, _, file = path.partition("/")
        name = file.removesuffix(".py")
        if package in PACKAGES and "/" not in file and name != "__init__":
            if name in modules:
                raise BundleProblem(f"two modules are called {name}")
            modules[name] = _Module(package, name, ast.parse(source, path))
    order: list[_Module] = []
    for module in modules.values():
        _prepare(module, modules)
    for name, _ in roots:
        _place(modules[name], modules, order, [])
    values = {pair: _value_of(modules[pair[0]].package, *pair) for pair in VALUES if pair[0] in modules}
    renamed = _choose_names(order, dict.fromkeys(roots))
    statements: list[ast.stmt] = []
    for module in order:
        statements += _rewritten(module, modules, renamed, values)
    named = {renamed[pair] for pair in renamed if pair[1].isupper() and pair not in roots}
    constants = _fold(statements, named)
    statements = [item for item in statements if not _is_constant(item, constants)]
    kept = flatten(shake.reachable(statements, {renamed[root] for root in roots}))
    imports = {name: item for module in order for name, item in module.outside.items()}
    used = {node.id for item in kept for node in ast.walk(item) if isinstance(node, ast.Name)}
    head = [item for name, item in sorted(imports.items()) if name in used]
    whole = bring_near(share(ast.Module([*head, *kept], [])))
    return ast.unparse(ast.fix_missing_locations(whole)) + "\n"


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _is_abstract(statement: ast.stmt) -> bool:
    """Tell whether a method only says that others fulfil it: on the board they do."""
    if not isinstance(statement, ast.FunctionDef) or len(statement.body) != 1:
        return False
    body = statement.body[0]
    return isinstance(body, ast.Raise) and isinstance(body.exc, ast.Name) and body.exc.id == "NotImplementedError"


class _Strip(ast.NodeTransformer):
    """Takes out what only readers, type checkers and tests need: docstrings, TYPE_CHECKING blocks, abstract methods."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        if _is_type_checking(node.test):
            return [self.visit(item) for item in node.orelse]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING":
            return None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def _filled(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.ClassDef):
            node.body = [item for item in node.body if not _is_abstract(item)]
        if not node.body:
            node.body = [ast.Pass()]
        return node

    visit_FunctionDef = visit_ClassDef = _filled


def _prepare(module: _Module, modules: dict[str, _Module]) -> None:
    """Strip a module, note its imports and names, and blank the words of its tables."""
    module.tree = _Strip().visit(module.tree)

    class Imports(ast.NodeTransformer):
        depth = 0

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            self.depth += 1
            self.generic_visit(node)
            self.depth -= 1
            if not node.body:
                node.body = [ast.Pass()]
            return node

        def visit_Import(self, node: ast.Import) -> ast.AST | None:
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    raise BundleProblem(f"{module.name}: write `from package import module` instead of import")
                if self.depth == 0:
                    module.outside[alias.asname or alias.name] = ast.Import([alias])
            return node if self.depth else None

        def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
            source = str(node.module)
            package, _, inner = source.partition(".")
            if package not in PACKAGES:
                if self.depth == 0:
                    for alias in node.names:
                        module.outside[alias.asname or alias.name] = ast.ImportFrom(source, [alias], 0)
                return node if self.depth else None
            for alias in node.names:
                local = alias.asname or alias.name
                if inner:
                    module.symbols[local] = (inner, alias.name)
                    module.needs[inner] = None
                else:
                    module.modules[local] = alias.name
                    module.needs[alias.name] = None
            return None

    module.tree = Imports().visit(module.tree)
    for statement in module.tree.body:
        for name in _defines(statement):
            module.defined[name] = None
    for statement in module.tree.body:
        for name in _defines(statement):
            for path in WORDS.get((module.name, name), ()):
                if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Tuple):
                    rows = statement.value.elts
                    # A table has rows; an argument that several operations share is one.
                    for row in rows if isinstance(rows[0], ast.Tuple) else [statement.value]:
                        _blank(row, path)


def _blank(node: ast.expr, path: tuple[int, ...]) -> None:
    """Put an empty text in place of a column; where the column is a named table of its own, that one is listed."""
    if not isinstance(node, ast.Tuple):
        return
    if path[0] == STAR:
        for item in node.elts:
            _blank(item, path[1:])
    elif len(path) == 1:
        node.elts[path[0]] = ast.Constant("")
    else:
        _blank(node.elts[path[0]], path[1:])


def _defines(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [name for target in statement.targets for name in bound_names(target)]
    if isinstance(statement, ast.AnnAssign | ast.AugAssign):
        return list(bound_names(statement.target))
    raise BundleProblem(f"line {statement.lineno}: only definitions may stand at the top of a firmware module")


def _place(module: _Module, modules: dict[str, _Module], order: list[_Module], waiting: list[str]) -> None:
    """Put what a module needs before it."""
    if module in order:
        return
    if module.name in waiting:
        raise BundleProblem(f"modules import each other: {' -> '.join([*waiting, module.name])}")
    for name in module.needs:
        if name not in modules:
            raise BundleProblem(f"{module.name} imports {name}, which is no firmware module")
        _place(modules[name], modules, order, [*waiting, module.name])
    order.append(module)


def _value_of(package: str, module: str, name: str) -> ast.expr:
    found = getattr(importlib.import_module(f"{package}.{module}"), name)
    return ast.parse(repr(found), mode="eval").body


def _choose_names(order: list[_Module], kept: dict[tuple[str, str], None]) -> dict[tuple[str, str], str]:
    """Give each top-level name one in the whole: its own, unless something else has that name anywhere."""
    owners: dict[str, list[str]] = {}
    taken: set[str] = set()
    for module in order:
        for name in module.defined:
            owners.setdefault(name, []).append(module.name)
        taken.update(module.outside)
        known = {*module.defined, *module.modules, *module.symbols, *module.outside}
        for node in ast.walk(module.tree):
            # Built-in names, words of PIO assembly, locals and arguments: a global of that name could be captured.
            if isinstance(node, ast.Name) and node.id not in known:
                taken.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.Lambda):
                taken |= locals_of(node)
    chosen = {}
    for module in order:
        for name in module.defined:
            plain = (module.name, name) in kept or (len(owners[name]) == 1 and name not in taken)
            chosen[module.name, name] = name if plain else f"{module.name}_{name.lstrip('_')}"
    values = list(chosen.values())
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        raise BundleProblem(f"two names of the whole are the same: {', '.join(sorted(twice))}")
    return chosen


def _rewritten(
    module: _Module,
    modules: dict[str, _Module],
    renamed: dict[tuple[str, str], str],
    values: dict[tuple[str, str], ast.expr],
) -> list[ast.stmt]:
    """Return a module's statements with every reference to a global under its name in the whole."""

    def target(owner: str, name: str) -> tuple[str, str]:
        seen = 0
        while name not in modules[owner].defined:
            if name not in modules[owner].symbols or seen > len(modules):
                raise BundleProblem(f"{module.name} uses {owner}.{name}, which is not there")
            owner, name = modules[owner].symbols[name]
            seen += 1
        return owner, name

    def checked(pair: tuple[str, str], local: set[str]) -> str:
        name = renamed[pair]
        if name in local:
            raise BundleProblem(f"{module.name}: {pair[0]}.{pair[1]} meets a local name {name}; rename one of them")
        return name

    def rename(name: str, local: set[str]) -> str:
        if name in module.defined:
            return checked((module.name, name), local)
        if name in module.symbols:
            return checked(target(*module.symbols[name]), local)
        if name in module.modules:
            raise BundleProblem(f"{module.name} uses module {name} as a value")
        return name

    def attribute(name: str, attr: str, local: set[str]) -> ast.expr | None:
        if name not in module.modules:
            return None
        if name in local:
            raise BundleProblem(f"{module.name}: a class gives the name of module {name} to something else")
        return ast.Name(checked(target(module.modules[name], attr), local), ast.Load())

    for statement in module.tree.body:
        for name in _defines(statement):
            if (module.name, name) in values and isinstance(statement, ast.Assign | ast.AnnAssign):
                statement.value = values[module.name, name]
    tree = Rewriter(rename, attribute).visit(module.tree)
    return list(tree.body)


def _fold(statements: list[ast.stmt], named: set[str]) -> dict[str, int]:
    """Put numbers where constants of `named` are named; return those that are then named nowhere."""
    constants: dict[str, int] = {}
    large: dict[str, int] = {}
    stores: dict[str, int] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Global):
                for name in node.names:
                    stores[name] = 2
        for name in _defines(statement):
            stores[name] = stores.get(name, 0) + 1

    class Numbers(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            if isinstance(node.ctx, ast.Load) and node.id in constants:
                return ast.copy_location(_number(constants[node.id]), node)
            return node

    for index, statement in enumerate(statements):
        statements[index] = statement = Numbers().visit(statement)
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        names = _defines(statement)
        found = _numbers_of(statement, len(names), large)
        if found is None or any(stores[name] > 1 or name not in named for name in names):
            continue
        # Large ones are objects on the board: made once, not in each function.
        fits = all(-_SMALL_INT <= number < _SMALL_INT for number in found)
        (constants if fits else large).update(zip(names, found, strict=True))
    # A function may name a constant that stands below it.
    for index, statement in enumerate(statements):
        statements[index] = Numbers().visit(statement)
    return constants


def _number(value: int) -> ast.expr:
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if value < 0 else ast.Constant(value)


def _numbers_of(statement: ast.Assign, count: int, large: dict[str, int]) -> list[int] | None:
    """Return the integers that an assignment of plain numbers gives its names, or None."""
    value = statement.value
    if isinstance(statement.targets[0], ast.Tuple):
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id == "range"
            and len(value.args) == 1
            and isinstance(value.args[0], ast.Constant)
            and value.args[0].value == count
        ):
            return list(range(count))
        return None
    allowed = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Load)
    for node in ast.walk(value):
        if not isinstance(node, allowed) and not (isinstance(node, ast.Name) and node.id in large):
            return None
    code = compile(ast.Expression(ast.fix_missing_locations(value)), "constant", "eval")
    number = eval(code, {"__builtins__": {}}, dict(large))  # noqa: S307 - numbers and operators only
    return [number] if type(number) is int else None


def _is_constant(statement: ast.stmt, constants: dict[str, int]) -> bool:
    return isinstance(statement, ast.Assign) and all(name in constants for name in _defines(statement))
