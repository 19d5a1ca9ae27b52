"""`heartwire completion`: the script that makes a shell complete commands, options and choices."""

from __future__ import annotations

import click

from heartwire.cli.output import emit


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print shell completion for bash, zsh or fish.

    \b
    Example:
      heartwire completion bash > ~/.local/share/bash-completion/completions/heartwire
      heartwire completion zsh > "${fpath[1]}/_heartwire"
      heartwire completion fish > ~/.config/fish/completions/heartwire.fish
    """
    from click.shell_completion import get_completion_class

    from heartwire.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    complete = kind(cli, {}, "heartwire", "_HEARTWIRE_COMPLETE")
    # Not source(): that one looks for an installed shell first, which printing a script does not need.
    emit(complete.source_template % complete.source_vars())
