"""A click group whose commands are imported when they are run, not when their names are shown.

The table gives name, module and one line of help; a test holds that line and the command's own together. Modules that
are not part of an installation are not listed. Called by cli.main only.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from heartwire.errors import UsageProblem

# Which extra of the distribution holds what a command needs beyond the basics.
EXTRAS = {"virtual": "virtual", "demo": "virtual", "flash": "flash"}


# What people type at the top and what it is called; and names that other programs of this kind use.
ELSEWHERE = {
    "doctor": "agent doctor", "install": "agent install", "busy": "agent busy", "planned-off": "agent planned-off",
    "apply": "config apply", "diff": "config diff", "new": "config new",
    "events": "log", "journal": "log", "promote": "switchover", "failover": "switchover", "move": "switchover",
    "arm": "mode auto", "disarm": "mode observe", "pause": "maintenance board", "resume": "maintenance board off",
    "unlock": "clear", "reset": "clear", "reboot": "restart", "upgrade": "flash", "run": "agent run",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One command: where it lives and what `heartwire --help` says of it. Its attribute has the command's name."""

    name: str
    module: str
    section: str
    help: str


class LazyGroup(click.Group):
    """A group that knows its commands from a table."""

    def __init__(self, *, commands_table: Sequence[Entry], **options: Any) -> None:
        super().__init__(**options)
        self._table = {entry.name: entry for entry in commands_table}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands of this installation, in the order of the table."""
        return [name for name, entry in self._table.items() if importlib.util.find_spec(entry.module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None if there is no such one."""
        entry = self._table.get(cmd_name)
        if entry is None or importlib.util.find_spec(entry.module) is None:
            return None
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            from heartwire.extras import install_hint

            missing = str(error.name)
            if missing.startswith("heartwire"):
                raise
            raise UsageProblem(
                f"{cmd_name} needs {missing}, which is not installed",
                install_hint(EXTRAS.get(cmd_name, "dev")),
            ) from None
        command = getattr(module, cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest name."""
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            import difflib

            close = [ELSEWHERE[args[0]]] if args[0] in ELSEWHERE and ctx.parent is None else []
            close = close or difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing any."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            entry = self._table[name]
            sections.setdefault(entry.section, []).append((name, entry.help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names from the table, without importing any."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=self._table[name].help)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ] + click.Command.shell_complete(self, ctx, incomplete)
