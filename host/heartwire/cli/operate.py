"""`heartwire mode|switchover|fence|maintenance`: the commands that act on healthy and failed servers.

Each one looks first, says what it is about to do to which server, asks, and then sends one request. The rules that keep
servers safe are the board's; nothing here overrides a refusal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from heartwire import requester
from heartwire.cli.acting import acts
from heartwire.cli.context import (
    NODE,
    Session,
    ask,
    connection_options,
    json_option,
    keep_time,
    labels,
    yes_option,
)
from heartwire.cli.output import emit, emit_json, note
from heartwire.cli.status import explained, read
from heartwire.cli.waiting import wait_option, wait_until_done
from heartwire.errors import UsageProblem
from heartwire.times import parse_span, span_words
from heartwire_protocol import codes, operations

if TYPE_CHECKING:
    from heartwire.answers import NodeStatus

MODE_WORDS = {
    "observe": "it decides and logs, but moves nothing",
    "fencer": "it acts on explicit requests only",
    "approve": "it asks a person before each action",
    "auto": "it fences a dead node and promotes the other by itself",
}


@click.command()
@click.argument("mode", type=click.Choice(codes.MODES), required=False)
@yes_option
@json_option
@connection_options
@click.pass_obj
def mode(session: Session, mode: str | None, yes: bool, as_json: bool) -> None:
    """Show or change the mode.

    \b
    observe   decides and logs, moves nothing (how a new board starts)
    fencer    acts on explicit requests only
    approve   asks a person before each action
    auto      fences a dead node and promotes the other by itself

    Leaving observe arms the board: it needs the configure key or the key switch.

    \b
    Example:
      heartwire mode
      heartwire mode auto
    """
    with session.board() as board:
        found = board.status()
        keep_time(board, found)
        if mode is not None and mode != found.mode:
            arms = found.mode == "observe"
            question = f"{'Arm' if arms else 'Set'} {found.name or 'the board'}: from {found.mode} to {mode} mode?"
            note(f"{mode} mode: {MODE_WORDS[mode]}")
            ask(question, yes or (mode == "observe" and not found.active))
            with explained(board):
                board.set_mode(mode)
            found = board.status()
        if as_json:
            emit_json({"mode": found.mode, "advisory": found.advisory})
        elif mode is None:
            emit(f"{found.mode}: {MODE_WORDS.get(found.mode, '')}")
        else:
            emit(f"{found.name or 'the board'} is in {found.mode} mode")


@click.command()
@click.argument("node", type=NODE)
@click.option("--force", is_flag=True, help="Fence the active node at once instead of asking it to stop its services.")
@click.option("--at", "when", metavar="WHEN", help="Later: a span (30m, 2h) or a time (2030-01-31T02:00).")
@wait_option
@yes_option
@connection_options
@acts
@click.pass_obj
def switchover(session: Session, node: str, force: bool, when: str | None, wait: bool, yes: bool) -> None:
    """Make another node active, in order.

    The active node is asked to stop its services and to say so; only then NODE becomes active. With --force it is
    fenced.

    \b
    Example:
      heartwire switchover b
      heartwire switchover b --yes --wait
      heartwire switchover b --at 2h
    """
    if when is not None:
        if force or wait:
            raise UsageProblem("--at goes with neither --force nor --wait", "`heartwire cancel` ends a schedule")
        _schedule(session, node, when, yes)
        return
    with session.board() as board:
        found, nodes = read(board)
        names = labels(nodes)
        active = names.get(found.active, found.active) if found.active else "nobody"
        target = names.get(node, node)
        note(f"active now: {active}; then: {_describe(node, nodes)}")
        way = f"{active}'s power is cut" if force else f"{active} stops its services first"
        ask(f"Switch over to {target} ({way})?", yes)
        with explained(board, node):
            board.switchover(node, force=force)
        emit(f"switchover to {target} has begun")
        wait_until_done(board, found, wait, names, active=node)


def _schedule(session: Session, node: str, when: str, yes: bool) -> None:
    seconds = seconds_until(when)
    with session.board() as board:
        keep_time(board, board.status())
        ask(f"Switch over to {node} in {span_words(seconds)}?", yes)
        with explained(board, node):
            board.schedule(node, seconds)
        emit(f"switchover to {node} in {span_words(seconds)}; `heartwire cancel` ends it")


def seconds_until(when: str) -> int:
    """Return the seconds until a span from now or a local time. Raises UsageProblem."""
    try:
        seconds = round(parse_span(when).total_seconds())
    except UsageProblem:
        seconds = round((_moment(when) - datetime.now(UTC)).total_seconds())
    if not 0 < seconds <= operations.SCHEDULE_MAX_S:
        raise UsageProblem(f"--at {when}: must lie within the next week")
    return seconds


def _moment(when: str) -> datetime:
    """Return a point in time; one without an offset is local, and must exist here."""
    try:
        said = datetime.fromisoformat(when)
    except ValueError:
        raise UsageProblem(f"--at {when}: neither a span such as 2h nor a time such as 2030-01-31T02:00") from None
    moment = said.astimezone()
    if said.tzinfo is None and moment.astimezone(UTC).astimezone().replace(tzinfo=None) != said:
        raise UsageProblem(
            f"--at {when}: there is no such time here, the clocks go forward then",
            "name a time before or after the change, or one with its offset, such as 2030-01-31T02:00+01:00",
        )
    return moment


@click.command()
@yes_option
@connection_options
@acts
@click.pass_obj
def cancel(session: Session, yes: bool) -> None:
    """Cancel a switchover that waits for its drain, or a scheduled one.

    \b
    Example:
      heartwire cancel
    """
    with session.board() as board:
        with explained(board):
            board.cancel()
        emit("cancelled")


@click.command()
@click.argument("node", type=NODE)
@click.option("--last", is_flag=True, help="Even if no powered node that is fit to be active would remain.")
@wait_option
@yes_option
@connection_options
@acts
@click.pass_obj
def fence(session: Session, node: str, last: bool, wait: bool, yes: bool) -> None:
    """Cut a node's power now, and prove that it is off.

    \b
    Example:
      heartwire fence a
      heartwire fence a --yes --wait
    """
    with session.board() as board:
        found, nodes = read(board)
        names = labels(nodes)
        target = names.get(node, node)
        note(f"to be fenced: {_describe(node, nodes)}")
        if found.active == node:
            others = [other.label for other in nodes if other.node != node and other.verdict == "good"]
            note(f"it is the active node; after it: {' or '.join(others) or 'nobody'}")
        ask(f"Cut the power of {target} now?", yes)
        with explained(board, node):
            board.fence(node, last=last, by=requester.of(codes.TOOL_COMMAND, nodes))
        emit(f"fence of {target} has begun")
        wait_until_done(board, found, wait, names)


@click.command()
@click.argument("target", metavar="NODE|board", type=click.Choice([*codes.NODES, "board"]))
@click.argument("duration", metavar="DURATION|off")
@yes_option
@connection_options
@acts
@click.pass_obj
def maintenance(session: Session, target: str, duration: str, yes: bool) -> None:
    """Leave a node or the board alone for a while.

    No automatic action is taken on it until the time is over; explicit requests still work.

    \b
    Example:
      heartwire maintenance a 30m
      heartwire maintenance board 2h
      heartwire maintenance a off
    """
    seconds = 0 if duration == "off" else round(parse_span(duration).total_seconds())
    if duration != "off" and seconds < 1:
        raise UsageProblem("maintenance lasts at least a second", "to end it: `heartwire maintenance ... off`")
    with session.board() as board:
        keep_time(board, board.status())
        board.maintenance(None if target == "board" else target, seconds)
        where = "the board" if target == "board" else f"node {target}"
        emit(f"{where}: maintenance for {span_words(seconds)}" if seconds else f"{where}: maintenance is over")


def _describe(node: str, nodes: list[NodeStatus]) -> str:
    for entry in nodes:
        if entry.node == node:
            heard = f"heard {span_words((entry.age_ms or 0) / 1000)} ago" if entry.was_heard else "never heard"
            return f"{entry.label}, {entry.role}, {entry.verdict}, {heard}, power {entry.power}"
    return f"{node}, which is not configured"
