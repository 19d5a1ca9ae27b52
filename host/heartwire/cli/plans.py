"""`heartwire plans`: what the board would do now if a node fell silent, and what it has planned."""

from __future__ import annotations

import click

from heartwire.cli.context import Session, connection_options, json_option
from heartwire.cli.output import emit, emit_json
from heartwire.cli.status import read
from heartwire.times import span_words


@click.command()
@json_option
@connection_options
@click.pass_obj
def plans(session: Session, as_json: bool) -> None:
    """Show what would happen now if each node failed.

    For each node: who would take over, what forbids it, what it waits for. The board's own rules are asked about its
    status, on this host; nothing on the board changes. A scheduled switchover and an update's long lease are shown as
    well.

    \b
    Example:
      heartwire plans
      heartwire plans --json
    """
    from heartwire.simulate import foresee

    with session.board() as board:
        status, nodes = read(board)
        found = foresee.read_settings(board.settings().text)
    long_lease_s = status.long_lease_s
    rows = foresee.foresee(found, status, nodes, long_lease_s)
    if as_json:
        emit_json({
            "mode": status.mode, "phase": status.phase, "active": status.active,
            "nodes": [row.as_json() for row in rows], "schedule": status.schedule,
            "schedule_s": status.schedule_s, "long_lease_s": long_lease_s,
        })  # fmt: skip
        return
    emit(f"{status.name or 'the board'} is in {status.mode} mode; if a node fell silent now:")
    for row in rows:
        emit(f"  {row.words}")
    if board.link.limited:
        emit("The board's tables are of another version: it may decide by other rules than those asked here.")
    if status.phase != "watching":
        emit(f"An operation is under way ({status.phase}): this may change when it is over.")
    if status.schedule:
        left = status.schedule_s
        when = f"in {span_words(left)}" if left is not None else "once a host has told the wall time"
        emit(f"Scheduled: a switchover to {status.schedule} {when}.")
    if long_lease_s:
        emit(f"An update is under way: nobody else is granted for another {span_words(long_lease_s)}.")
