"""What commands share: the connection options, opening the board, and asking before something dangerous.

The options may stand before or behind the command's name. Opening prints what the user should know (other tables) and
sets a missing wall time quietly. Nothing here prints results.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire.errors import Cancelled, HeartwireError, NotAllowed, ProtocolMismatch, Refused, UsageProblem
from heartwire_protocol import codes

if TYPE_CHECKING:
    from heartwire.answers import NodeStatus, Status
    from heartwire.board import Board
    from heartwire.keys import Keys

Command = TypeVar("Command", bound=Callable[..., Any])
NODE = click.Choice(codes.NODES)


@dataclass
class Session:
    """The connection options of one command line."""

    port: str | None = None
    timeout: float | None = None
    key_file: str | None = None
    board_id: str | None = None
    unsigned: bool | None = None

    def keys(self) -> Keys:
        """Return the keys to talk with: none if that is wanted."""
        from heartwire import keys

        if self.unsigned and self.key_file:
            raise UsageProblem("--unsigned and --key-file say the opposite", "leave one of them out")
        return keys.Keys() if self.unsigned else keys.find(self.key_file)

    @contextlib.contextmanager
    def board(self, board_id: str = "") -> Iterator[Board]:
        """Open the board, and close it whatever happens; `board_id` is the only one wanted, if nobody says another."""
        from heartwire.board import Board
        from heartwire.link import DEFAULT_TIMEOUT_S

        timeout_s = self.timeout or DEFAULT_TIMEOUT_S
        with Board.open(self.port, keys=self.keys(), timeout_s=timeout_s, board_id=self.board_id or board_id) as board:
            if board.link.limited:
                warn(board.link.limited)
            yield board


def ignore_interrupts() -> None:
    """Let Ctrl-C and SIGTERM do nothing from here to the end of the program: what follows cannot be taken back, so a
    command that said "cancelled" would lie. One that came before this is raised here.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    session = context.ensure_object(Session)
    if value is not None:
        setattr(session, str(parameter.name), value)


def connection_options(command: Command) -> Command:
    """Give a command --port, --timeout, --key-file, --board-id and --unsigned; their values go to the Session."""
    for option in (
        click.option(
            "--unsigned",
            is_flag=True,
            default=None,
            expose_value=False,
            callback=_remember,
            help="Hold no key, and believe what answers: for a new board, that has none yet.",
        ),
        click.option(
            "--board-id",
            metavar="ID",
            expose_value=False,
            callback=_remember,
            help="Talk to the board of this id only. [env: HEARTWIRE_BOARD_ID]",
        ),
        click.option(
            "--key-file",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            expose_value=False,
            callback=_remember,
            help="File with the keys of the host link. [env: HEARTWIRE_KEY_FILE]",
        ),
        click.option(
            "--timeout",
            metavar="SECONDS",
            type=click.FloatRange(0.1, 300),
            expose_value=False,
            callback=_remember,
            help="How long an answer may take (default 5).",
        ),
        click.option(
            "-p",
            "--port",
            metavar="PORT",
            expose_value=False,
            callback=_remember,
            help="Device file, id:SERIAL or socket://HOST:PORT; else the one board plugged in. [env: HEARTWIRE_PORT]",
        ),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    """Give a reading command --json."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON with the keys of `heartwire help json`.")
    return option(command)


def yes_option(command: Command) -> Command:
    """Give a dangerous command --yes."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask; for scripts.")(command)


def warn(words: str) -> None:
    """Print a warning to stderr."""
    click.echo(click.style("warning: ", fg="yellow") + words, err=True)


def ask(question: str, yes: bool) -> None:
    """Return if the user says yes (or said --yes). Raises Cancelled on no, UsageProblem where nobody can be asked."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageProblem(f"{question} Nobody is there to answer", "add --yes to do it without a question")
    if not click.confirm(question, default=False, err=True):
        raise Cancelled("nothing was changed")


def keep_time(board: Board, status: Status) -> None:
    """Set the board's wall time if it has none or a wrong one, and we may; say nothing either way."""
    from heartwire.hostclock import is_off

    if is_off(status):
        with contextlib.suppress(NotAllowed, Refused, ProtocolMismatch):
            board.set_time()


def labels(nodes: list[NodeStatus]) -> dict[str, str]:
    """Return what to call each node in sentences: "a (alpha)"."""
    return {node.node: node.label for node in nodes}


def labels_of(board: Board) -> dict[str, str]:
    """Return the labels of all nodes, or none if the board does not tell."""
    with contextlib.suppress(HeartwireError):
        return labels(board.nodes())
    return {}
