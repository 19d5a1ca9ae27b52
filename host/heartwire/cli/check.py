"""`heartwire check`: a plugin of Nagios, Icinga and their kin. One line whatever happens, exit code 0 to 3.

What is wrong is what `heartwire status --check` says; the words of an error, even of a wrong command line, are the line
of state UNKNOWN. Thin over heartwire.plugin.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click

from heartwire import plugin
from heartwire.cli.context import Session, connection_options
from heartwire.cli.output import emit
from heartwire.errors import HeartwireError, NoAnswer, UsageProblem


class Plugin(click.Command):
    """A command whose every failure is one line and exit code 3."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line."""
        with _unknown():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _unknown():
            return super().invoke(ctx)


@contextlib.contextmanager
def _unknown() -> Iterator[None]:
    """Turn what goes wrong into the line of state UNKNOWN."""
    try:
        yield
    except (click.exceptions.Exit, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        _end(plugin.UNKNOWN, "interrupted")
    except click.ClickException as error:
        _end(plugin.UNKNOWN, error.format_message())
    except HeartwireError as error:
        _end(plugin.UNKNOWN, f"{error.words}; {error.next_step}" if error.next_step else error.words)
    except Exception as error:
        _end(plugin.UNKNOWN, f"a fault inside heartwire: {type(error).__name__}: {error}")


def _end(state: int, words: str, data: list[plugin.Datum] | None = None) -> None:
    emit(plugin.line(state, words, data or []))
    raise click.exceptions.Exit(state)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Give up after `seconds`: a plugin that hangs says nothing at all. Raises NoAnswer."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise NoAnswer(f"no answer within {seconds:g} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@click.command(cls=Plugin)
@click.option(
    "-w", "--warning", "warning_s", metavar="SECONDS", type=click.FloatRange(0), help="WARNING for an older heartbeat."
)
@click.option(
    "-c", "--critical", "critical_s", metavar="SECONDS", type=click.FloatRange(0), help="CRITICAL for an older one."
)
@click.option("--store", metavar="FILE|URL", help="Ask a monitor's store for open problems, and no board.")
@click.option("--board", "board_name", metavar="NAME", help="With --store: only this board, by name or id.")
@click.option(
    "--within",
    "within_s",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 300),
    default=10.0,
    show_default=True,
    help="UNKNOWN if it takes longer.",
)
@connection_options
@click.pass_obj
def check(
    session: Session,
    warning_s: float | None,
    critical_s: float | None,
    store: str | None,
    board_name: str | None,
    within_s: float,
) -> None:
    """Be a plugin of Nagios or Icinga: one line, exit code 0 to 3.

    0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; performance data behind the bar. Without limits the board's own verdict on
    its nodes counts.

    \b
    Example:
      heartwire -p socket://rack:4000 --key-file /etc/heartwire/view.key check
      heartwire check --store /var/lib/heartwire-monitor/monitor.db
    """
    if board_name and not store:
        raise UsageProblem("--board needs --store", "a board itself is chosen with --port")
    with _within(within_s):
        state, words, data = _stored(store, board_name) if store else _board(session, warning_s, critical_s)
    _end(state, words, data)


def _board(session: Session, warning_s: float | None, critical_s: float | None) -> tuple[int, str, list[plugin.Datum]]:
    from heartwire.cli.status import read
    from heartwire.cli.status_view import judged

    with session.board() as board:
        status, nodes = read(board)
    found = [*judged(status, nodes), *plugin.old(nodes, warning_s, critical_s)]
    active = next((node.label for node in nodes if node.node == status.active), "nobody")
    words = f"{status.name}: {active} is active, mode {status.mode}"
    if found:
        first = sorted(found, key=lambda one: not one[1])
        words += f": {'; '.join(text for text, _ in first)}"
    return plugin.worst(found), words, plugin.board_data(status, nodes, warning_s, critical_s)


def _stored(store: str, name: str | None) -> tuple[int, str, list[plugin.Datum]]:
    from heartwire.cli.monitor_options import require_store

    require_store()
    from heartwire.monitor.standing import standing
    from heartwire.monitor.store import Store

    with Store.named(store) as opened:
        found = standing(opened, name)
    troubles = found.troubles()
    words = f"{len(found.boards)} board{'' if len(found.boards) == 1 else 's'}, {len(found.problems)} open problems"
    if troubles:
        words = "; ".join(text for text, _ in sorted(troubles, key=lambda one: not one[1]))
    data = [
        plugin.Datum("boards", len(found.boards)),
        plugin.Datum("problems", len(found.problems)),
        plugin.Datum("unsent", found.unsent),
        plugin.Datum("records", found.events, "c"),
    ]
    return plugin.worst(troubles), words, data
