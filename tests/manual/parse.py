"""A command line of the manual, read by the parsers of the programs themselves, which run nothing."""

from __future__ import annotations

import shlex

import click

from heartwire.cli.main import cli
from heartwire.errors import HeartwireError
from heartwire.fence import options

# What else a reader is told to type: programs of Debian, and of the virtual environment.
OTHERS = frozenset((
    "cat", "chmod", "cp", "echo", "ln", "ls", "mkdir", "pip", "prometheus", "promtool", "python3", "systemctl",
))  # fmt: skip


def problem(command: str) -> str:
    """Return what is wrong with a command line, "" if nothing is."""
    words = [word for word in shlex.split(command) if word not in (">", "2>")]
    if ">" in command:
        words = words[:-1]
    name = words[0].rpartition("/")[2]
    if name == "heartwire":
        return _of_heartwire(words[1:])
    if name == "fence_heartwire":
        try:
            return ", ".join(options.from_arguments(words[1:]).ignored)
        except HeartwireError as error:
            return error.words
    return "" if name in OTHERS else f"{name}: no program that the manual may name"


def _of_heartwire(words: list[str]) -> str:
    command: click.Command = cli
    try:
        context = cli.make_context("heartwire", list(words), resilient_parsing=False)
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            if found is None:
                return f"{name}: no command"
            context, command = found.make_context(name, rest, parent=context), found
    except click.exceptions.Exit:
        return ""  # --version, --help
    except click.ClickException as error:
        return error.format_message()
    except HeartwireError as error:
        return error.words
    return ""
