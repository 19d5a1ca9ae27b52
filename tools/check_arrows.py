"""Check the arrows between modules: who may import whom. Exit 1 with every wrong arrow.

The stages of the firmware know no neighbour; only the supervisor joins them. `machine` is imported in one module. The
contract imports nothing but itself. The host reads the contract and never the firmware, but for the virtual board and
the simulator. What a module's docstring says of its callers is so. Run by `make lint`.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware" / "heartwire_firmware"
PROTOCOL = ROOT / "firmware" / "heartwire_protocol"
HOST = ROOT / "host" / "heartwire"

# What MicroPython 1.24 has on the board, as far as the firmware may use it.
BOARD_LIBRARY = {"binascii", "gc", "hashlib", "json", "micropython", "os", "select", "struct", "sys", "time", "uctypes"}

# Module of the firmware -> the firmware modules it may import. The order is the flow of the data.
ARROWS: dict[str, set[str]] = {
    "board": set(),
    "clock": set(),
    "ports": set(),
    "hw_pio_programs": set(),
    "idle": set(),
    "hw_pio": {"idle", "ports", "hw_pio_programs"},
    "hw_rp2": {"board", "hw_pio", "idle", "ports"},
    "slots": set(),
    "config": {"slots"},
    "durable": {"slots"},
    "challenge": {"clock"},
    "intake": {"challenge", "clock"},
    "liveness": {"clock"},
    "relays": {"clock"},
    "button": set(),
    "sequencer": {"clock"},
    # The policy and its parts: pure, so nothing that touches hardware or storage.
    "policy_state": {"sequencer"},
    "fitness": {"sequencer"},
    "guards": {"fitness", "policy_state", "sequencer"},
    "policy_core": {"fitness", "guards", "policy_state"},
    "policy_observe": {"clock", "fitness", "guards", "policy_core", "policy_state", "sequencer"},
    "policy_seek": {"fitness", "guards", "policy_core", "policy_observe", "sequencer"},
    "policy_fence": {"fitness", "guards", "policy_core", "policy_seek", "policy_state", "sequencer"},
    "policy_switch": {"clock", "fitness", "guards", "policy_core", "policy_fence", "policy_state"},
    "policy_recover": {"fitness", "guards", "policy_core", "policy_state", "policy_switch", "sequencer"},
    "policy": {"fitness", "policy_core", "policy_recover", "policy_state", "sequencer"},
    "policy_requests": {"fitness", "guards", "policy_core", "policy_state", "sequencer"},
    "grants": {"policy_core", "policy_state"},
    "lights": {"fitness", "policy_core", "policy_state"},
    "journal": set(),
    "selftest": {"clock", "sequencer"},
    "journal_reader": {"journal"},
    "hostlink": {"journal_reader"},
    "trial": {"clock", "policy_core"},
    "wiring": {"fitness", "policy_state", "sequencer"},
    "starts": set(),
    "hostlink_status": {"board", "fitness", "hostlink", "lights", "policy_core", "policy_state", "sequencer"},
    "hostlink_settings": {"hostlink", "starts", "trial", "wiring"},
    "hostlink_tests": {"hostlink", "selftest"},
    "hostlink_operations": {"hostlink", "starts"},
    "pace": {"brain", "clock", "policy_state", "ports"},
    "intents": set(),
    "reports": set(),
    "walltime": set(),
    "facts": {"clock"},
    "hands": {"guards", "policy_state", "selftest"},
    "brain": {"policy_requests", "policy_state"},
    "peers": {"policy_requests", "policy_state", "sequencer"},
    "lines": {"intake", "journal_reader", "pace"},
    "lastlook": {"clock", "policy_state"},
    "storage": {"clock"},
    "repeats": set(),
    "following": {"relays"},
    "start": {"hw_rp2", "starts", "supervisor"},
    "supervisor": {
        "brain", "button", "clock", "config", "durable", "facts", "following", "grants", "hands", "hostlink",
        "hostlink_operations", "hostlink_settings", "hostlink_status", "hostlink_tests", "intake", "intents", "journal",
        "lastlook", "lights", "lines", "liveness", "pace", "peers", "policy", "policy_state", "ports", "relays",
        "repeats", "reports", "selftest", "sequencer", "starts", "storage", "trial", "walltime",
    },
}  # fmt: skip
# Host packages that may import the firmware's policy: they run it.
FIRMWARE_USERS = {"virtual", "simulate"}
HARDWARE_MODULES = {"machine": {"hw_rp2"}, "rp2": {"hw_pio", "hw_pio_programs"}}
# "Called by link with each reply", "Used by server and client.": the names up to the first other word.
CALLERS = re.compile(r"\b(?:Called|Used|Stepped) by ([\w.]+(?:(?:, and |, | and )[\w.]+)*)")
# Words that begin such a list and are no module there.
NO_MODULES = {"agent", "monitor", "main"}


def imports_of(path: Path) -> set[str]:
    """Return the dotted names a file imports, those under TYPE_CHECKING left out."""
    found: set[str] = set()
    skipped: set[ast.AST] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(child for statement in node.body for child in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def check_firmware(problems: list[str]) -> None:
    """Check every module of the firmware against ARROWS."""
    for path in sorted(FIRMWARE.glob("*.py")):
        module = path.stem
        if module == "__init__":
            continue
        if module not in ARROWS:
            problems.append(f"{path.name}: no arrows are listed for it in tools/check_arrows.py")
            continue
        for name in sorted(imports_of(path)):
            parts = name.split(".")
            if parts[0] == "heartwire_firmware":
                if parts[1] not in ARROWS[module] and parts[1] != module:
                    problems.append(f"{path.name}: may not import {parts[1]}")
            elif parts[0] in HARDWARE_MODULES:
                if module not in HARDWARE_MODULES[parts[0]]:
                    problems.append(f"{path.name}: only {', '.join(HARDWARE_MODULES[parts[0]])} may import {parts[0]}")
            elif parts[0] != "heartwire_protocol" and parts[0] not in BOARD_LIBRARY and parts[0] != "typing":
                problems.append(f"{path.name}: {parts[0]} is not in the board's library")


def check_protocol(problems: list[str]) -> None:
    """Check that the contract imports only itself and the board's library."""
    for path in sorted(PROTOCOL.glob("*.py")):
        for name in sorted(imports_of(path)):
            top = name.split(".")[0]
            if top not in BOARD_LIBRARY | {"heartwire_protocol", "typing"}:
                problems.append(f"heartwire_protocol/{path.name}: may not import {top}")


def check_host(problems: list[str]) -> None:
    """Check that the host knows the firmware only where it runs it."""
    for path in sorted(HOST.rglob("*.py")):
        place = path.relative_to(HOST).parts[0].removesuffix(".py")
        if "shim" in path.parts or place in FIRMWARE_USERS:
            continue
        for name in sorted(imports_of(path)):
            if name.split(".")[0] == "heartwire_firmware":
                problems.append(f"heartwire/{path.relative_to(HOST)}: may not import {name}")


def check_callers(problems: list[str]) -> None:
    """Check that each module that a docstring names as its caller imports the module that says so."""
    importers: dict[str, set[str]] = {}
    modules = [*sorted(FIRMWARE.glob("*.py")), *sorted(HOST.rglob("*.py"))]
    names = {path.stem for path in modules} - NO_MODULES
    for path in modules:
        for name in imports_of(path):
            for part in name.split("."):
                importers.setdefault(part, set()).update((path.stem, path.parent.name))
    for path in modules:
        words = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
        for listed in CALLERS.findall(words):
            for dotted in re.split(r",? and |, ", listed.replace(".py", "").rstrip(".")):
                caller = dotted.rpartition(".")[2]
                if caller in names and caller not in importers.get(path.stem, set()):
                    problems.append(f"{path.relative_to(ROOT)}: {caller} does not import it, though it says so")


def main() -> int:
    """Print every wrong arrow; return 1 if there is one."""
    problems: list[str] = []
    check_firmware(problems)
    check_protocol(problems)
    check_host(problems)
    check_callers(problems)
    for problem in problems:
        print(problem)
    print(f"arrows: {len(ARROWS)} firmware modules, {len(problems)} wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
