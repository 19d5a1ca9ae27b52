"""Scopes: which names of a module mean something global, and what they are called in the whole.

Works on syntax trees alone and runs nothing. A name is global unless the function, comprehension or class around it
binds it; class bodies see globals only for what they do not bind themselves. Called by whole.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound_names(target: ast.AST) -> Iterator[str]:
    """Yield the plain names that an assignment target binds."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _own(body: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """Yield the nodes of a scope without those of the scopes inside it."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += node.decorator_list
            if isinstance(node, ast.ClassDef):
                waiting += node.bases
            else:
                waiting += [value for value in [*node.args.defaults, *node.args.kw_defaults] if value is not None]
        elif isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        else:
            waiting += list(ast.iter_child_nodes(node))


def locals_of(node: ast.AST) -> set[str]:
    """Return the names that a function, lambda, comprehension or class binds in its own scope."""
    found: set[str] = set()
    if isinstance(node, _COMPREHENSIONS):
        for generator in node.generators:
            found.update(bound_names(generator.target))
        return found
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        every = node.args
        for argument in [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]:
            if argument is not None:
                found.add(argument.arg)
    body: list[ast.stmt] | list[ast.expr] = []
    if isinstance(node, ast.Lambda):
        body = [node.body]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        body = node.body
    declared: set[str] = set()
    for inner in _own(body):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store | ast.Del):
            found.add(inner.id)
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            if inner.name:
                found.add(inner.name)
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).split(".")[0] for alias in inner.names)
        elif isinstance(inner, ast.Global):
            declared.update(inner.names)
    return found - declared


class Rewriter(ast.NodeTransformer):
    """Hands each reference to a global to `rename`, and each attribute of a global to `attribute`.

    `rename(name, local)` returns the new name or a node; `attribute(name, attribute, local)` a node, or None to leave
    it. `local` holds the names bound around the reference, so that a capture is noticed.
    """

    def __init__(
        self,
        rename: Callable[[str, set[str]], str | ast.expr],
        attribute: Callable[[str, str, set[str]], ast.expr | None],
    ) -> None:
        self._rename = rename
        self._attribute = attribute
        self._scopes: list[tuple[bool, set[str]]] = []  # (is a class, names)

    def _bound(self) -> set[str]:
        """Return what is bound here: everything around, but of classes only the innermost scope."""
        found: set[str] = set()
        for index, (is_class, names) in enumerate(self._scopes):
            if not is_class or index == len(self._scopes) - 1:
                found |= names
        return found

    def _inside(self, node: ast.AST, is_class: bool = False) -> None:
        self._scopes.append((is_class, locals_of(node)))
        for field in ("args", "elt", "key", "value", "generators", "body"):
            child = getattr(node, field, None)
            if isinstance(child, list):
                child[:] = [self.visit(item) for item in child]
            elif isinstance(child, ast.arguments):
                for argument in [*child.posonlyargs, *child.args, *child.kwonlyargs, child.vararg, child.kwarg]:
                    if argument is not None:
                        argument.annotation = None
            elif isinstance(child, ast.AST):
                setattr(node, field, self.visit(child))
        self._scopes.pop()

    def _function(self, node: Function) -> ast.AST:
        if not isinstance(node, ast.Lambda):
            node.returns = None
            node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.args.defaults = [self.visit(item) for item in node.args.defaults]
        node.args.kw_defaults = [None if item is None else self.visit(item) for item in node.args.kw_defaults]
        self._inside(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if not self._scopes:
            node.name = str(self._rename(node.name, set()))
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if not self._scopes:
            node.name = str(self._rename(node.name, set()))
        node.bases = [self.visit(item) for item in node.bases]
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        self._inside(node, is_class=True)
        return node

    def _comprehension(self, node: ast.AST) -> ast.AST:
        self._inside(node)
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        # Annotations are for the reader; the board does not load them.
        if node.value is None:
            return None
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))  # type: ignore[no-any-return]

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [str(self._rename(name, set())) for name in node.names]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name):
            bound = self._bound()
            # A class body that binds a name may have meant the global before: which one, only running it would tell.
            unsure = bool(self._scopes) and self._scopes[-1][0] and node.value.id in self._scopes[-1][1]
            if node.value.id not in bound or unsure:
                found = self._attribute(node.value.id, node.attr, bound)
                if found is not None:
                    if isinstance(found, ast.Name):
                        found.ctx = node.ctx
                    return ast.copy_location(found, node)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        bound = self._bound()
        if node.id in bound:
            return node
        renamed = self._rename(node.id, bound)
        if isinstance(renamed, str):
            return ast.copy_location(ast.Name(renamed, node.ctx), node)
        return ast.copy_location(renamed, node)
