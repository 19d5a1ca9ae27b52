"""Makes boot.py and main.py short: the board compiles them at each start, and the outputs wait for that.

Comments go, numbers stand where constants are named, and a level of indentation is one blank. Nothing else is changed;
what it does not understand stays as it is written. Called by image.py.
"""

from __future__ import annotations

import ast
import re


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


def make(source: str) -> str:
    """Return the same program, shorter. Raises SyntaxError."""
    tree = ast.parse(source)
    tree = ast.fix_missing_locations(_Inline(_constants(tree)).visit(tree))
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
