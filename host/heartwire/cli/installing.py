"""What the install commands of agent, monitor and broker share: their options, and what they do and say."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire.cli.output import emit

if TYPE_CHECKING:
    from heartwire.agent.install import Wanted

NAME = "heartwire"
Command = TypeVar("Command", bound=Callable[..., Any])


def install_options(command: Command) -> Command:
    """Give a command --program, --root, --force and --dry-run."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would be written."),
        click.option("--force", is_flag=True, help="Overwrite what somebody changed; never settings."),
        click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Directory to install below."),
        click.option("--program", type=click.Path(), help="Path of heartwire for the units (default: this one)."),
    ):
        command = option(command)
    return command


def own_program() -> str:
    """Return the path of this very heartwire, for units; another one may come first in the PATH."""
    called = Path(sys.argv[0])
    if called.name == NAME and called.exists():
        return str(called.absolute())
    return shutil.which(NAME) or str(called.absolute())


def install_files(files: list[Wanted], steps: Iterable[str], root: Path, *, force: bool, dry_run: bool) -> None:
    """Write the files below `root`, and say what became of each and the next steps. Raises StorageProblem."""
    from heartwire.agent.install import carry_out

    for outcome in carry_out(files, root, force, dry_run):
        emit(f"{outcome.what:17}{root / outcome.path}")
    for step in () if dry_run else steps:
        emit(f"next: {step}")
