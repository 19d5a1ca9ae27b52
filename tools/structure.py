"""Count what must not grow: who reaches through whom, phases reached beside the table, facts written twice, lines.

The firmware's parts are given what they need by their constructors; a part that is given the whole of another one may
reach for everything in it, and no import shows that. Each count has a ceiling, which is lowered when the count falls
and never raised. Run by `make lint`; prints the places of every count, and returns 1 where one is above its ceiling.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware" / "heartwire_firmware"
PROTOCOL = ROOT / "firmware" / "heartwire_protocol"
HOST = ROOT / "host" / "heartwire"
TESTS = ROOT / "tests"
FOLDERS = ("firmware", "host", "tests", "tools", "hw")
CEILINGS = {
    "attributes reached through another object's self": 0,
    "private attributes reached from outside": 0,
    "phases that a step reaches beside the table": 6,
    "facts written in two places": 0,
}
ALWAYS_TWICE = {"TYPE_CHECKING"}
Trees = dict[Path, ast.Module]


def read(folder: Path) -> Trees:
    """Return the parsed modules below `folder`."""
    return {path: ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}


def place(path: Path, node: ast.AST) -> str:
    """Return where something stands."""
    return f"{path.relative_to(ROOT) if path.is_absolute() else path}:{getattr(node, 'lineno', 0)}"


def through_self(trees: Trees) -> list[str]:
    """Return each attribute that a function or class takes from an object that handed itself over, whole."""
    takers: dict[str, ast.FunctionDef] = {}
    classes: dict[str, ast.ClassDef] = {}
    for tree in trees.values():
        for item in tree.body:
            if isinstance(item, ast.FunctionDef):
                takers[item.name] = item
            elif isinstance(item, ast.ClassDef):
                classes[item.name] = item
                for part in item.body:
                    if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                        takers[item.name] = part
    found = []
    for path, tree in trees.items():
        for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            taker = takers.get(name)
            if taker is None:
                continue
            names = [one.arg for one in taker.args.args if one.arg != "self"]
            for index, argument in enumerate(call.args):
                if isinstance(argument, ast.Name) and argument.id == "self" and index < len(names):
                    kept = classes.get(name, taker)
                    found += [f"{place(path, call)}: {name} takes {one}" for one in _reached(kept, names[index])]
    return found


def _reached(kept: ast.AST, name: str) -> list[str]:
    """Return the attributes that `kept` takes from its argument `name`, or from where it keeps that."""
    names = {name}
    for node in ast.walk(kept):
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in names:
            names |= {ast.unparse(target) for target in node.targets}
    return sorted({n.attr for n in ast.walk(kept) if isinstance(n, ast.Attribute) and ast.unparse(n.value) in names})


def private(trees: Trees) -> list[str]:
    """Return each private attribute of the firmware that something else than its own class, or module, names."""
    found = []
    for path, tree in trees.items():
        own = {"self", *[item.name for item in tree.body if isinstance(item, ast.ClassDef)]}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            if ast.unparse(node.value) not in own:
                found.append(f"{place(path, node)}: {ast.unparse(node)}")
    return found


def phases(trees: Trees) -> list[str]:
    """Return each phase that a phase's step reaches by its calls though the table has it not behind that phase.

    What a step looks at before it calls is not looked at here, so this counts too many: what it counts stands behind a
    condition that no phase of the table fulfils, and every test holds Core.enter to the table (tests/conftest.py).
    """
    methods: dict[str, list[ast.FunctionDef]] = {}
    for tree in trees.values():
        for item in [one for one in tree.body if isinstance(one, ast.ClassDef)]:
            for part in [one for one in item.body if isinstance(one, ast.FunctionDef)]:
                methods.setdefault(part.name, []).append(part)
    names = _table(trees, "policy_state", "PHASES")
    allowed = [[one.lower() for one in ast.literal_eval(row)] for row in _rows(trees, "policy_state", "NEXT")]
    steps = [row.rpartition(".")[2] for row in _rows(trees, "policy", "PHASE_STEPS")]
    found = []
    for name, step, row in zip(names, steps, allowed, strict=True):
        waiting, seen = [step], set()
        while waiting:
            method = waiting.pop()
            for call in [node for one in methods.get(method, []) for node in ast.walk(one)]:
                if not (isinstance(call, ast.Call) and ast.unparse(call.func).startswith("self.")):
                    continue
                called = ast.unparse(call.func)[5:]
                if called == "enter" and ast.unparse(call.args[0]).lower() not in row:
                    found.append(f"{name}: {method} enters {ast.unparse(call.args[0]).lower()}")
                elif called not in seen:
                    seen.add(called)
                    waiting.append(called)
    return found


def _value(trees: Trees, module: str, name: str) -> ast.Tuple:
    """Return the tuple that a module of the firmware gives a name."""
    tree = next(tree for path, tree in trees.items() if path.stem == module)
    for item in tree.body:
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == name and isinstance(item.value, ast.Tuple):
            return item.value
    raise KeyError(name)


def _table(trees: Trees, module: str, name: str) -> list[str]:
    return [str(ast.literal_eval(one)) for one in _value(trees, module, name).elts]


def _rows(trees: Trees, module: str, name: str) -> list[str]:
    """Return a table's rows as text, the names in a row as texts in a tuple."""
    rows = _value(trees, module, name).elts
    return [
        repr(tuple([ast.unparse(one) for one in row.elts])) if isinstance(row, ast.Tuple) else ast.unparse(row)
        for row in rows
    ]


def twice(trees: Trees) -> list[str]:
    """Return each constant that two modules of the board give the same name and value."""
    first: dict[tuple[str, str], str] = {}
    found = []
    for path, tree in trees.items():
        for item in [one for one in tree.body if isinstance(one, ast.Assign)]:
            name = ast.unparse(item.targets[0])
            if not name.isupper() or name in ALWAYS_TWICE or not isinstance(item.value, ast.Constant | ast.BinOp):
                continue
            key = (name, ast.unparse(item.value))
            if key in first:
                found.append(f"{place(path, item)}: {name} stands in {first[key]} as well")
            first.setdefault(key, place(path, item))
    return found


def by_number(trees: Trees) -> list[str]:
    """Return each operation that is asked for by its number, which stands in the table of operations."""
    found = []
    for path, tree in trees.items():
        for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
            first = call.args[0] if call.args else None
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name in ("request", "refuse") and isinstance(first, ast.Constant) and isinstance(first.value, int):
                found.append(f"{place(path, call)}: operation {first.value} by its number")
    return found


def main() -> int:
    """Print the counts; return 1 if one is above its ceiling."""
    firmware, contract = read(FIRMWARE), read(PROTOCOL)
    board = {**contract, **firmware}
    numbers = by_number({**board, **read(HOST), **read(TESTS)})
    counts = (through_self(firmware), private(firmware), phases(firmware), [*twice(board), *numbers])
    good = True
    for (name, ceiling), places in zip(CEILINGS.items(), counts, strict=True):
        for one in places:
            print(f"  {one}")
        within = len(places) <= ceiling
        good = good and within
        print(f"{'ok  ' if within else 'OVER'} {name}: {len(places)}, at most {ceiling}")
    lines = {
        folder: sum(len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")) for folder in FOLDERS
    }
    print(f"     lines of Python: {sum(lines.values()):,} (" + ", ".join(f"{n} {c:,}" for n, c in lines.items()) + ")")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
