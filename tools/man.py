"""Man pages of the programs, from the parsers that read their command lines: heartwire(1), heartwire-agent(8),
heartwire-monitor(8), fence_heartwire(8).

`python tools/man.py DIRECTORY` writes DIRECTORY/man1 and DIRECTORY/man8 (`make man`: build/man); the build of a wheel
calls `write` (tools/hatch_man.py). It needs Click alone beyond the standard library. Click's own formatter is asked for
roff instead of columns, so a page says what --help says; click-man would make a page of each of the subcommands.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "host"), str(ROOT / "firmware")]

import heartwire  # noqa: E402
from heartwire import errors  # noqa: E402
from heartwire.cli.main import cli  # noqa: E402
from heartwire.fence import metadata, options  # noqa: E402

# What stands alone in a page of its own: command -> file.
OWN = {"agent": "heartwire-agent", "monitor": "heartwire-monitor"}
SECTIONS = {"heartwire": 1, "heartwire-agent": 8, "heartwire-monitor": 8, "fence_heartwire": 8}
ENVIRONMENT = re.compile(r"\[env: (HEARTWIRE_[A-Z_]+)\]")
BROKER = (
    "HEARTWIRE_BROKER",
    "off: use the board's port without the broker; a path, from the root on: the only socket of a broker that is used.",
)
QUOTED = re.compile(r"`([^`]*)`")


def plain(text: str) -> str:
    """Return `text` as roff shows it: no request, no escape, a hyphen that can be copied, commands in bold."""
    found = text.replace("\\", "\\e").replace("-", "\\-")
    found = QUOTED.sub(lambda match: f"\\fB{match[1]}\\fR", found)
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in found.split("\n"))


def lowered(text: str) -> str:
    """Return `text` with a small first letter, as the name line of a page has it."""
    return text[:1].lower() + text[1:]


def filled(text: str) -> str:
    """Return prose for a page, in lines that can be read in a diff."""
    return plain(textwrap.fill(text, 78, break_long_words=False, break_on_hyphens=False))


class Roff(click.HelpFormatter):
    """Click's formatter, with macros of man(7) in place of columns."""

    def __init__(self, heading: str = "SH", *, without: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(width=10_000)
        self._heading = heading
        self._without = without
        self._began = heading == "SH"

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the call."""
        self.write(f".B {plain(prog)}\n{plain(args)}\n" if args else f".B {plain(prog)}\n")
        self._began = False

    def write_heading(self, heading: str) -> None:
        """Write a heading of a part."""
        if self._heading == "SH":
            self.write(f".SH {plain(heading).upper()}\n")
            self._began = True
        elif heading not in ("Options", "Commands"):
            self.write_text(f"{heading}:")

    def write_paragraph(self) -> None:
        """Begin a paragraph; what follows does so by itself."""

    def write_text(self, text: str) -> None:
        r"""Write paragraphs; one that begins with \b keeps its lines."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            lines = [line.strip() for line in paragraph.strip("\n").split("\n")]
            if not self._began:
                self.write(".PP\n")
            self._began = False
            if lines[0] == "\b":
                kept = plain("\n".join(lines[1:])).split("\n")
                self.write("\n".join([".nf", *kept, ".fi", ""]))
            else:
                self.write(filled(" ".join(lines)) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names with what they mean."""
        for name, words in rows:
            if (name, words) in self._without:
                continue
            self.write(f".TP\n.B {plain(name)}\n{filled(words) or '.br'}\n")
        self._began = False

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Write a part with its heading."""
        self.write_heading(name)
        yield


@dataclass
class Page:
    """One page: name and line of its head, and all that follows."""

    name: str
    line: str
    body: str

    def text(self) -> str:
        """Return the file."""
        head = f'.TH {self.name.upper()} {SECTIONS[self.name]} "" "heartwire {heartwire.__version__}" "Heartwire"\n'
        return f"{head}.nh\n.ad l\n.SH NAME\n{plain(self.name)} \\- {filled(self.line)}\n{self.body}"


def usage(command: click.Command, context: click.Context) -> str:
    """Return the call of a command."""
    formatter = Roff()
    command.format_usage(context, formatter)
    return formatter.getvalue()


def everywhere() -> list[tuple[str, str]]:
    """Return the options that every command takes, as (names, words)."""
    context = root()
    records = [option.get_help_record(context) for option in cli.get_params(context)]
    return [record for record in records if record is not None and record[0] != "--version"]


def root() -> click.Context:
    """Return the context of the program itself."""
    return click.Context(cli, info_name="heartwire", **cli.context_settings)


def help_of(command: click.Command, context: click.Context, heading: str) -> str:
    """Return what a command's help says but for its call and its subcommands."""
    formatter = Roff(heading, without=everywhere() if heading == "SS" else ())
    command.format_help_text(context, formatter)
    if isinstance(command, click.Group):
        click.Command.format_options(command, context, formatter)
    else:
        command.format_options(context, formatter)
    command.format_epilog(context, formatter)
    return formatter.getvalue()


def subcommands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield each command below this one that has no page of its own, groups before what is in them."""
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is None or (context.parent is None and name in OWN):
            continue
        with click.Context(found, info_name=name, parent=context) as inner:
            yield found, inner
            yield from subcommands(found, inner)


def tree(command: click.Command, context: click.Context) -> str:
    """Return a part for each command below this one."""
    text = ""
    for found, inner in subcommands(command, context):
        text += f'.SS "{plain(inner.command_path)}"\n{usage(found, inner)}{help_of(found, inner, "SS")}'
    return text


def environment() -> str:
    """Return the variables that the options name."""
    rows = []
    for option in cli.params:
        words = getattr(option, "help", None) or ""
        if match := ENVIRONMENT.search(words):
            rows.append((match[1], f"{ENVIRONMENT.sub('', words).strip()} As {option.opts[-1]}."))
    formatter = Roff()
    with formatter.section("Environment"):
        formatter.write_dl(sorted([*rows, BROKER]))
    return formatter.getvalue()


def exit_status(rows: Sequence[tuple[str, str]]) -> str:
    """Return what each exit code means."""
    formatter = Roff()
    with formatter.section("Exit status"):
        formatter.write_dl(rows)
    return formatter.getvalue()


def see_also(name: str) -> str:
    """Return the other pages, and where the manual is."""
    others = [f".BR {plain(other)} ({number})" for other, number in SECTIONS.items() if other != name]
    rows = " ,\n".join(others)
    return f".SH SEE ALSO\n{rows}\n.PP\nThe manual: \\fBheartwire help\\fR lists its topics, and prints each.\n"


def of_heartwire() -> list[Page]:
    """Return the pages of the command line: the whole, and what has a page of its own."""
    context = root()
    codes = exit_status([("0", "it worked"), *((str(kind.exit_code), kind.meaning) for kind in errors.kinds())])
    body = f".SH SYNOPSIS\n{usage(cli, context)}.SH DESCRIPTION\n{help_of(cli, context, 'SH')}"
    body += ".SH COMMANDS\nEach takes the options above too, but for --version.\n"
    body += "".join(f".PP\n.BR {plain(page)} (8)\n" for page in OWN.values())
    line = "the command line of a board that guards two servers"
    pages = [Page("heartwire", line, body + tree(cli, context) + environment() + codes + see_also("heartwire"))]
    for name, page in OWN.items():
        command = cli.get_command(context, name)
        if command is None:
            raise SystemExit(f"there is no heartwire {name}")
        with click.Context(command, info_name=name, parent=context) as inner:
            text = f".SH SYNOPSIS\n{usage(command, inner)}.SH DESCRIPTION\n{help_of(command, inner, 'SH')}"
            text += f".SH COMMANDS\n{tree(command, inner)}{environment()}{codes}{see_also(page)}"
            line = lowered(command.get_short_help_str(200).rstrip("."))
        pages.append(Page(page, line, text))
    return pages


def of_fence() -> Page:
    """Return the page of the fence agent, from its table of parameters."""
    formatter = Roff()
    formatter.write(".SH SYNOPSIS\n")
    formatter.write_usage(metadata.NAME, "[OPTIONS]")
    with formatter.section("Description"):
        formatter.write_text(metadata.LONG)
        formatter.write_text("Without arguments it reads name=value lines from standard input.")
    with formatter.section("Options"):
        formatter.write_dl([
            (metadata.call_of(one), f"{one.name}: {one.sentence}.")
            for one in options.PARAMETERS
            if not one.replaced_by
        ])  # fmt: skip
    rows = [("0", "done; of status: on"), ("2", "of status: off"), ("1", "failed, or it cannot say")]
    return Page(
        metadata.NAME, lowered(metadata.SHORT), formatter.getvalue() + exit_status(rows) + see_also(metadata.NAME)
    )


def write(directory: Path) -> list[Path]:
    """Write all pages below `directory`, as man1/heartwire.1 and so on; return the files. Raises OSError."""
    found = []
    for page in (*of_heartwire(), of_fence()):
        number = SECTIONS[page.name]
        path = directory / f"man{number}" / f"{page.name}.{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.text(), encoding="utf-8")
        found.append(path)
    return found


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the man pages.")
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT / "build" / "man")
    for path in write(parser.parse_args().directory):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
