"""--wait: print the journal while the board carries out a command, until it is done and the services run.

Only watches; ending it with Ctrl-C changes nothing about what the board does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire import next_steps
from heartwire.cli.log_view import writer_of
from heartwire.cli.output import emit, is_terminal
from heartwire.errors import NotRunning, Refused
from heartwire.journal import Entry, reason_words
from heartwire.times import span_words
from heartwire_protocol import messages

if TYPE_CHECKING:
    from heartwire.answers import NodeStatus, Status
    from heartwire.board import Board
    from heartwire.cli.log_view import Writer

Command = TypeVar("Command", bound=Callable[..., Any])
RESTING_PHASES = ("watching", "approval", "failed")
INTERVAL_S = 0.3
# A command shows in the phase at once; if it does not within this, it was over before we looked.
BEGIN_S = 2.0
# How long services may take to come up after the grant. The agent itself waits for its hooks without a limit.
RUNNING_S = 60.0
FAILURES = ("switchover_failed", "off_failed", "start_failed")


def wait_option(command: Command) -> Command:
    """Give a command --wait."""
    words = f"Show what happens until it is done and the services run; exit 18 if they do not within {RUNNING_S:.0f} s."
    return click.option("--wait", "-w", is_flag=True, help=words)(command)


class Waiting:
    """Follows the board after `before`, the status from before the command."""

    def __init__(self, board: Board, before: Status, names: dict[str, str]) -> None:
        self._board = board
        self._before = before
        self._after = before.newest
        self._names = names
        self._seen: list[Entry] = []
        self._writer: Writer = writer_of("text", is_terminal())
        self._writer.names = names

    def until_done(self, wanted: str | None = None) -> None:
        """Print what happens until the board rests, and until the services of a newly active node run.

        `wanted` is the node that is to be active then. Raises Refused if it failed, NotRunning if nothing runs there.
        """
        status = self._until_rest()
        failed = [one for one in self._seen if one.event in FAILURES]
        if status.phase == "failed" or failed or (status.held and status.held != self._before.held):
            why = reason_words(status.held) if status.held else "see above"
            if failed and not status.held:
                why = failed[-1].sentence(self._names)
            raise Refused(f"it did not succeed: {why}", self._next(status), reason=status.held or "")
        if wanted is not None and status.active != wanted:
            name = self._names.get(wanted, wanted)
            raise Refused(f"it did not succeed: {name} is not active", self._next(status))
        if status.mode in next_steps.ARMED and status.active and (wanted or status.active != self._before.active):
            self._until_running(status.active)

    def _until_rest(self) -> Status:
        board = self._board
        deadline = board.link.channel.now() + BEGIN_S
        while True:
            status = board.status()
            self._print()
            if status.phase not in RESTING_PHASES:
                deadline = board.link.channel.now()
            elif board.link.channel.now() >= deadline:
                return status
            time.sleep(INTERVAL_S)

    def _until_running(self, node: str) -> None:
        board = self._board
        name = self._names.get(node, node)
        began = board.link.channel.now()
        while True:
            found = board.node(node)
            self._print()
            runs = next_steps.says_running(found)
            if runs and found.state != "degraded":
                emit(f"{name} runs its services")
                return
            over = board.link.channel.now() - began >= RUNNING_S
            # A failed start is reported as degraded; while it starts, the agent says so.
            if over or found.state == "degraded" or found.role != "active":
                raise NotRunning(*_not_running(name, found, self._next(board.status())))
            time.sleep(INTERVAL_S)

    def _print(self) -> None:
        for item in self._board.events(self._after):
            if isinstance(item, Entry):
                self._writer.entry(item)
                self._after = item.sequence
                self._seen.append(item)
        self._writer.flush()

    def _next(self, status: Status) -> str | None:
        steps = [step for step in next_steps.steps(status, self._board.nodes()) if step.command]
        return f"`heartwire {steps[0].command}`: {steps[0].words}" if steps else None


def _not_running(name: str, found: NodeStatus, step: str | None) -> tuple[str, str | None]:
    if found.role != "active":
        return f"{name} was made active, but is {found.role} again", step
    state = found.state.replace("_", " ")
    if found.flags & messages.FLAG_RUNNING:
        return f"{name} is active, and reports {state} services", step
    waited = "" if found.state == "degraded" else f" after {span_words(RUNNING_S)}"
    return f"{name} is active, but its services do not run{waited}: it reports {state}", step


def wait_until_done(
    board: Board, before: Status, wait: bool, names: dict[str, str], *, active: str | None = None
) -> None:
    """If `wait`, print what happens until it is done; `active` is who must be active then. Raises as until_done."""
    if wait:
        Waiting(board, before, names).until_done(active)
