"""`heartwire update`: let the servers go on by themselves while the board is updated, and guard them again."""

from __future__ import annotations

import click

from heartwire.cli.acting import acts
from heartwire.cli.context import Session, ask, connection_options, keep_time, labels, yes_option
from heartwire.cli.output import emit, note
from heartwire.cli.status import read
from heartwire.errors import UsageProblem
from heartwire.times import parse_span, span_words


@click.command()
@click.argument("duration", metavar="DURATION|off")
@yes_option
@connection_options
@acts
@click.pass_obj
def update(session: Session, duration: str, yes: bool) -> None:
    """Prepare an update of the board, or end it.

    The board enters maintenance for DURATION. An active server that would stop its services without the board first
    gets a lease for as long; it is durable, and nobody else is granted until it is over, whatever happens meanwhile.
    Needs the configure key. `off` ends the maintenance; a lease that was given out cannot be taken back and runs out.

    \b
    Example:
      heartwire update 10m
      heartwire update off
    """
    seconds = 0 if duration == "off" else round(parse_span(duration).total_seconds())
    if duration != "off" and seconds < 1:
        raise UsageProblem("an update lasts at least a second", "to end it: `heartwire update off`")
    with session.board() as board:
        status, nodes = read(board)
        keep_time(board, status)
        if not seconds:
            board.maintenance(None, 0)
            left_s = int(board.plans().get("long_lease_s") or 0)
            emit("maintenance is over: the board guards again")
            if left_s:
                emit(f"the lease for the update still runs for {span_words(left_s)}; until then nobody else is granted")
            return
        active = labels(nodes).get(status.active or "", "nobody")
        note(f"active now: {active}; for {span_words(seconds)} the board does nothing by itself")
        ask(f"Leave all servers alone for {span_words(seconds)}, for an update of the board?", yes)
        board.update(seconds)
        left_s = int(board.plans().get("long_lease_s") or 0)
        emit(f"the board is in maintenance for {span_words(seconds)}; `heartwire update off` ends it")
        if left_s:
            emit(f"{active} has a lease for {span_words(left_s)}; nobody else is granted before it is over")
        else:
            emit("no long lease was needed: nobody is active, or the active server goes on without the board")
