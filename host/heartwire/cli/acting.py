"""--json of the commands that act: what was done, or why not, as one object.

What such a command prints to stdout becomes its `words`; questions and remarks stay on stderr, exit codes as they are.
Used as a decorator by all commands that change something.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Any, TypeVar

import click

from heartwire.cli.context import json_option
from heartwire.cli.output import emit_json
from heartwire.errors import HeartwireError

Callback = TypeVar("Callback", bound=Callable[..., Any])
JSON_DOC = (
    ("command", 'what was typed, such as "switchover" or "config apply"'),
    ("target", "node, board, key or request that it was for; null where there is none"),
    ("done", "true if it was done; with --wait, if it succeeded and the services run"),
    ("words", "list of the lines that it prints without --json"),
    ("exit_code", "as of `heartwire help exit-codes`"),
    ("error", "what is wrong, in words; null if it was done"),
    ("reason", "why the board refused it, a name from the table of reasons; null if it did not"),
    ("next", "what to do then, in words; null if it was done"),
)
# Parameters that name what a command is for.
TARGETS = ("node", "target", "what", "request")


def acts(callback: Callback) -> Callback:
    """Give a command that does something --json; stands right above pass_obj or the function."""

    @functools.wraps(callback)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        if not as_json:
            return callback(*args, **kwargs)
        printed = io.StringIO()
        problem: HeartwireError | None = None
        try:
            with contextlib.redirect_stdout(printed):
                callback(*args, **kwargs)
        except HeartwireError as error:
            problem = error
        context = click.get_current_context()
        target = next((kwargs[name] for name in TARGETS if kwargs.get(name) is not None), None)
        emit_json(
            {
                "command": context.command_path.partition(" ")[2],
                "target": target,
                "done": problem is None,
                "words": printed.getvalue().splitlines(),
                "exit_code": problem.exit_code if problem else 0,
                "error": problem.words if problem else None,
                "reason": getattr(problem, "reason", None) or None,
                "next": problem.next_step if problem else None,
            }
        )
        if problem is not None:
            raise problem
        return None

    return json_option(run)  # type: ignore[return-value]
