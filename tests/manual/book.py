"""The pages of the manual as blocks, and how each block with command lines is tested.

A comment stands above each block of a language in TESTED; readers do not see it:

    <!-- run -->                 each line in order, exit code 0
    <!-- run: exit 15 -->        with this exit code
    <!-- run: until WORDS -->    again and again until the output has WORDS (a regular expression), for WAIT_S at most
    <!-- run: in NAME -->        in a terminal of its own, where it goes on; "in NAME, until WORDS" waits for its output
    <!-- run: typed NAME -->     the lines are typed into that terminal
    <!-- file: NAME -->          the reader saves it as that file
    <!-- parsed: REASON -->      not run, for this reason: read by the parsers of the programs only
    <!-- rack: FAULT NODE -->    above a comment of another kind: done to the page's virtual rack first

`python -m tests.manual.book` prints what is run and what is only parsed. It runs nothing itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import heartwire

PACKAGE = Path(heartwire.__file__).parent
FOLDER = PACKAGE / "share" / "manual"
TESTED = ("console", "toml", "yaml", "text")
COMMENT = re.compile(r"^ *<!-- (run|file|parsed|rack)(?:: (.*))? -->$")
FENCE = re.compile(r"^( *)```(\w*)$")


@dataclass
class Block:
    """One fenced block: where it stands, what it holds, how it is tested."""

    page: str
    line: int
    language: str
    lines: list[str] = field(default_factory=list)
    how: str = ""
    words: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """The command lines, without their prompt; one that ends in a backslash goes on."""
        text = "\n".join(self.lines).replace("\\\n", " ")
        return [line[2:] for line in text.split("\n") if line.startswith("$ ")]

    @property
    def place(self) -> str:
        """Where it stands, to be read."""
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return the files of the manual, and the runbook, which belongs to it."""
    return [*sorted(FOLDER.glob("*.md")), PACKAGE / "share" / "runbook.md"]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, each with what the comments above it say."""
    block: Block | None = None
    indent = 0
    how, words = "", ""
    faults: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if block is not None:
            if fence and not fence[2]:
                yield block
                block, how, words, faults = None, "", "", []
            else:
                block.lines.append(line[indent:])
        elif fence:
            indent = len(fence[1])
            block = Block(page.name, number, fence[2], how=how, words=words, faults=faults)
        elif comment := COMMENT.match(line):
            if comment[1] == "rack":
                faults.append(comment[2])
            else:
                how, words = comment[1], comment[2] or ""
        elif line.strip():
            how, words, faults = "", "", []


def main() -> int:
    """Print each command line of the manual with how it is tested; return 0."""
    for page in pages():
        for block in blocks(page):
            for command in block.commands:
                why = f" ({block.words})" if block.how == "parsed" else ""
                print(f"{block.place:<28} {block.how or 'NOT TESTED'}{why}: {command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
