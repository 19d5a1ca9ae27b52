"""`heartwire status`: one look at the board, or a live screen with --watch."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

import click

from heartwire import next_steps, ports
from heartwire.cli import status_view
from heartwire.cli.context import Session, connection_options, json_option, keep_time
from heartwire.cli.output import Line, emit, emit_json, is_terminal, line, show, terminal
from heartwire.errors import (
    AtPrompt,
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotAsAsked,
    NotPermitted,
    PortBusy,
    ProtocolMismatch,
    Refused,
    Unplugged,
)

# Records under the live screen, and how far back they are looked for at first.
RECENT = 6
RECENT_SPAN = 32

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heartwire.answers import NodeStatus, Status
    from heartwire.board import Board
    from heartwire.cli.output import Part
    from heartwire.journal import Entry


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Keep a live screen until Ctrl-C; in a pipe, one block each time.")
@click.option(
    "--interval", metavar="SECONDS", type=click.FloatRange(0.2, 3600), default=1.0, help="Time between looks."
)
@click.option("--check", is_flag=True, help="Exit with 15 if anything needs attention; for scripts.")
@json_option
@connection_options
@click.pass_obj
def status(session: Session, watch: bool, interval: float, check: bool, as_json: bool) -> None:
    """Show the board and its nodes.

    Roles, heartbeat ages, leases, power and relays, the epoch, and in words what the board is doing or why it is not.

    \b
    Example:
      heartwire status
      heartwire status --watch
      heartwire status --json | jq .active
    """
    with prompt_told(), session.board() as board:
        if watch and not as_json:
            _watch(board, interval)
            return
        while True:
            found, nodes = read(board)
            found = with_platform(board, found)
            if as_json:
                next_ = [step.as_json() for step in next_steps.steps(found, nodes)]
                emit_json({**found.as_json(), "nodes": [node.as_json() for node in nodes], "next": next_})
            else:
                show(status_view.parts(found, nodes))
            if not watch:
                break
            time.sleep(interval)
        if check and (troubles := status_view.troubles(found, nodes)):
            raise NotAsAsked(f"needs attention: {'; '.join(troubles)}")


def read(board: Board) -> tuple[Status, list[NodeStatus]]:
    """Return the status with what is planned, and the nodes; set the board's time on the way if it has none."""
    found = board.status()
    keep_time(board, found)
    with contextlib.suppress(Refused, ProtocolMismatch):  # a board of an older version plans nothing
        planned = board.plans()
        found = dataclasses.replace(
            found,
            schedule=planned.get("schedule"),
            schedule_s=planned.get("schedule_s"),
            long_lease_s=int(planned.get("long_lease_s") or 0),
        )
    return found, board.nodes()


def with_platform(board: Board, found: Status) -> Status:
    """Return the status with what the firmware runs on and how it last failed, which an older board does not say."""
    with contextlib.suppress(Refused, ProtocolMismatch):
        body = board.platform()
        return dataclasses.replace(
            found,
            micropython=str(body.get("micropython") or ""),
            machine=str(body.get("machine") or ""),
            crash=str(body.get("crash") or ""),
        )
    return found


@contextlib.contextmanager
def prompt_told() -> Iterator[None]:
    """Let a board that is at its MicroPython prompt say what it is, and how its firmware last failed."""
    try:
        yield
    except AtPrompt as error:
        from heartwire.flash import install

        # Asking takes Ctrl-C, which no other device may get: a prompt behind a Debug Probe is somebody else's.
        story = "" if ports.stranger(error.port) else install.story(error.port)
        raise NoAnswer(f"{error.words}{story}", error.next_step) from None


@contextlib.contextmanager
def explained(board: Board, node: str | None = None) -> Iterator[None]:
    """Give a refusal of what is asked for `node` the next step that the board's state calls for."""
    try:
        yield
    except Refused as refusal:
        words = ""
        if refusal.reason:
            with contextlib.suppress(HeartwireError):
                words = next_steps.after_refusal(refusal.reason, node, *read(board))
        if not words:
            raise
        raise Refused(refusal.words, words, reason=refusal.reason, code=refusal.code) from None


def _watch(board: Board, interval: float) -> None:
    if not is_terminal():
        while True:
            found, nodes = read(board)
            show(status_view.parts(found, nodes))
            emit()
            time.sleep(interval)
    from rich.console import Group
    from rich.live import Live

    console = terminal()

    def group(parts: list[Part]) -> Group:
        return Group(*[part.rich(console.width) for part in parts])

    last: list[Part] = [line("waiting for the board")]
    recent = Recent()
    with Live(group(last), console=console, screen=True, auto_refresh=False) as live:
        while True:
            banner = line(f"every {interval:g} s, Ctrl-C ends", "dim")
            try:
                found, nodes = read(board)
                recent.look(board, found)
                last = [*status_view.parts(found, nodes), *recent.parts({node.node: node.label for node in nodes})]
            except (Unplugged, NoAnswer) as error:
                # What stands there is from before.
                last = status_view.dimmed(last)
                words = error.words
                try:
                    board.reopen()
                except (Unplugged, NoAnswer, BoardNotFound, PortBusy, NotPermitted) as again:
                    words = again.words  # a broker that has ended says less than a port that is gone
                banner = line(f"{words}; trying again", "bold red")
            live.update(group([*last, line(), banner]), refresh=True)
            time.sleep(interval)


class Recent:
    """The newest records under the live screen."""

    def __init__(self) -> None:
        self._after = -1
        self._entries: collections.deque[Entry] = collections.deque(maxlen=RECENT)

    def look(self, board: Board, status: Status) -> None:
        """Read what has come."""
        from heartwire.journal import Entry

        if not 0 <= self._after <= status.newest:
            self._after = max(0, status.newest - RECENT_SPAN)
        for item in board.events(self._after):
            if isinstance(item, Entry):
                self._after = item.sequence
                if item.severity != "info":
                    self._entries.append(item)

    def parts(self, names: dict[str, str]) -> list[Part]:
        """Return them as lines, the newest last."""
        from heartwire.cli.log_view import STYLES, time_words

        rows: list[Part] = [
            Line([(f"{time_words(entry, date=False)}  ", "dim"), (entry.sentence(names), STYLES[entry.severity])])
            for entry in self._entries
        ]
        return [line(), *rows] if rows else []
