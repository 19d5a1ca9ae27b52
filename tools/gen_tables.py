"""Generate the decision tables of firmware/DESIGN.md, the boards of firmware/README.md, and the settings and alarms of
the manual from the tables in the code.

`python tools/gen_tables.py` writes between the markers, `--check` compares and exits 1 on a difference. Run by `make
docs` and `make check`.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "firmware")]

from heartwire import config_template  # noqa: E402
from heartwire.flash import boards, images  # noqa: E402
from heartwire_firmware import guards, lights, policy, policy_requests, policy_state  # noqa: E402
from heartwire_protocol import alarms, codes, operations, reasons, rules, settings  # noqa: E402


def words(thing: object) -> str:
    """Return the first paragraph of a docstring on one line."""
    text = (getattr(thing, "__doc__", "") or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def row(*cells: object) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |\n"


def table(*heads: str) -> str:
    """Return the head of a table."""
    return row(*heads) + row(*["---"] * len(heads))


def rule_table() -> str:
    """The rules, and what holds each."""
    guarded: dict[str, list[str]] = {}
    for guard in dict.fromkeys(guard for _, rows in guards.TABLES for _, guard in rows):
        number = words(guard).split(":")[0].split(",")[0]
        guarded.setdefault(number, []).append(f"`{guard.__name__}`")
    text = table("rule", "guards", "where else", "argument")
    for number, sentence, where, argument, _, _ in rules.RULES:
        text += row(f"**{number}** {sentence}", ", ".join(guarded.get(number, [])), where, argument)
    return text


def prose(text: str) -> str:
    """Return a paragraph, wrapped as the page is."""
    return textwrap.fill(text, 119, break_long_words=False, break_on_hyphens=False) + "\n\n"


def guard_tables() -> str:
    """Who asks which guard, and what each one forbids."""
    found: dict[Any, tuple[str, list[int]]] = {}
    for index, (_, rows) in enumerate(guards.TABLES):
        for number, guard in rows:
            entry = found.setdefault(guard, (reasons.NAMES[number], []))
            if index not in entry[1]:
                entry[1].append(index)
    columns = "; ".join(f"{n + 1} {name}" for n, (name, _) in enumerate(guards.TABLES))
    text = "### Guards: what forbids a fence\n\n" + prose(
        "Each table is asked from top to bottom; the first guard that forbids names the reason. Columns: "
        + columns
        + "."
    )
    text += table("reason", "forbids", *[str(n + 1) for n in range(len(guards.TABLES))])
    for guard, (reason, asked) in found.items():
        marks = ["x" if n in asked else "" for n in range(len(guards.TABLES))]
        text += row(f"`{reason}`", words(guard), *marks)
    return text


def phase_table() -> str:
    """The phases of the one operation under way."""
    text = "### Phases: the one operation under way\n\n" + table("phase", "step", "what it does", "may be followed by")
    for name, step, after in zip(policy_state.PHASES, policy.PHASE_STEPS, policy_state.NEXT, strict=True):
        text += row(name, f"`{step.__name__}`", words(step), ", ".join(policy_state.PHASES[one] for one in after))
    return text


def request_table() -> str:
    """What may be asked."""
    names = {line[0]: line for line in operations.OPERATIONS}
    text = "### Requests\n\n" + table("operation", "right", "meaning")
    for number, function in sorted(policy_requests.REQUESTS.items()):
        if number == policy_requests.PEER_FENCE:
            continue
        line = names[number]
        text += row(line[1], codes.RIGHTS[line[2]], words(function) or line[5])
    return text


def light_table() -> str:
    """What LED_STATUS shows."""
    text = "### Status LED\n\nTen tenths of a second, `#` lit; the first that applies.\n\n" + table(
        "state", "pattern", "meaning"
    )
    for name, bits, meaning in lights.PATTERNS:
        pattern = "".join("#" if bits >> tenth & 1 else "." for tenth in range(10))
        text += row(name, f"`{pattern}`", meaning)
    return text


def alarm_table() -> str:
    """Each abnormal state and what shows it."""
    text = "### Alarms: each abnormal state\n\n" + prose(
        "Any of them opens the alarm contact of an armed board (GUARDING goes dark) and LED_STATUS shows `degraded`, "
        "unless a more urgent pattern applies; `heartwire status` names it."
    )
    text += table("name in `status`", "severity", "what is wrong", "what closes it")
    for _, name, severity, wrong, closes in alarms.ALARMS:
        text += row(f"`{name}`", codes.SEVERITIES[severity], wrong, closes)
    return text


def choice_table() -> str:
    """The choices that change decisions."""
    text = "### Settings that change decisions\n\n" + table("setting", "choices", "meaning")
    for section, rows in (("board", settings.BOARD), ("node", settings.NODE)):
        for line in rows:
            if line[1] == settings.CHOICE and line[0] != "profile":
                text += row(f"{section}.{line[0]}", ", ".join(f"`{one}`" for one in line[2]), line[5])
    return text


def decisions() -> str:
    """Return the tables of DESIGN.md."""
    parts = [guard_tables(), phase_table(), request_table(), light_table(), alarm_table(), choice_table()]
    return "\n" + "\n".join(parts) + "\n"


def board_tables() -> str:
    """The boards that are known, and the images that are pinned."""
    heads = ("board", "`--board`", "chip", "flash", "files from, blocks", "MicroPython", "Heartwire runs on it")
    text = "\n" + table(*heads)
    for board in boards.BOARDS:
        megabytes = f"{board.flash_bytes // (1 << 20)} MB"
        files = f"{board.filesystem_start:#x}, {board.blocks}"
        versions = "" if board.refused else f"{board.chip.minimum} or later, best {images.PREFERENCES[board.id]}"
        runs = f"no: {board.refused}" if board.refused else f"yes; {board.unproven}".rstrip("; ")
        text += row(board.name, f"`{board.id}`", board.chip.name, megabytes, files, versions, runs)
    text += "\n" + table("image", "bytes", "SHA-256")
    for image in images.IMAGES:
        text += row(f"`{image.name}`", f"{image.size:,}", f"`{image.sha256}`")
    return text + "\n"


def settings_tables() -> str:
    """Every setting with its range and default, for the manual."""
    text = ""
    for section, words, rows in (
        ("board", "The board", settings.BOARD),
        ("node.a", "Each node: `node.a`, `node.b`, `node.spare`", settings.NODE),
    ):
        text += f"\n## {words}\n\n" + table("setting", "meaning", "range, default")
        for line in rows:
            sentence, _, limits = config_template.describe(line, section).rpartition(" (")
            text += row(f"`{line[0]}`", sentence, limits.removesuffix(")"))
    return text + "\n"


def alarm_words(line: tuple[int, str, int, str, str]) -> str:
    """What one alarm is, and what ends it, for its part of the manual."""
    _, _, severity, wrong, closes = line
    return f"\n*{codes.SEVERITIES[severity].capitalize()}*: {wrong}. It ends with: {closes}.\n\n"


# Page, what stands between which markers.
DESIGN, README = ROOT / "firmware" / "DESIGN.md", ROOT / "firmware" / "README.md"
MANUAL = ROOT / "host" / "heartwire" / "share" / "manual"
PARTS: tuple[tuple[Path, str, Callable[[], str]], ...] = (
    (DESIGN, "rules", rule_table),
    (DESIGN, "tables", decisions),
    (README, "tables", board_tables),
    (MANUAL / "settings.md", "settings", settings_tables),
    *((MANUAL / "alarms.md", f"alarm {line[1]}", partial(alarm_words, line)) for line in alarms.ALARMS),
)


def main() -> int:
    """Write or compare; return 1 if a page differs or has no markers."""
    parser = argparse.ArgumentParser(description="Tables of firmware/DESIGN.md, firmware/README.md and the manual.")
    parser.add_argument("--check", action="store_true", help="only compare")
    arguments = parser.parse_args()
    wrong = 0
    for page, name, generate in PARTS:
        text, where = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
        begin, end = f"<!-- {name}: generated by tools/gen_tables.py -->\n", f"<!-- end of {name} -->\n"
        if begin not in text or end not in text:
            print(f"{where}: no markers for the {name}")
            return 1
        before, rest = text.split(begin, 1)
        wanted = before + begin + generate() + end + rest.split(end, 1)[1]
        if not arguments.check:
            page.write_text(wanted, encoding="utf-8")
            print(f"{where}: {name} written")
        elif wanted != text:
            print(f"{where}: {name} differ from the code; run tools/gen_tables.py")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
