"""`heartwire approve|deny`: answer the board when approve mode asks before it acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from heartwire import next_steps
from heartwire.cli.acting import acts
from heartwire.cli.context import Session, ask, connection_options, labels, yes_option
from heartwire.cli.output import emit, note
from heartwire.cli.status import read
from heartwire.cli.waiting import wait_option, wait_until_done
from heartwire.errors import Refused
from heartwire.times import span_words

if TYPE_CHECKING:
    from heartwire.answers import NodeStatus, Status


@click.command()
@click.argument("request", type=click.IntRange(1), required=False)
@wait_option
@yes_option
@connection_options
@acts
@click.pass_obj
def approve(session: Session, request: int | None, wait: bool, yes: bool) -> None:
    """Let the action happen that the board asks for.

    Without REQUEST it is the one that stands. The board judges its evidence again first.

    \b
    Example:
      heartwire approve
      heartwire approve 4 --yes
    """
    with session.board() as board:
        found, nodes = read(board)
        number = _chosen(found, request)
        _explain(found, nodes)
        ask(f"Approve request {number}?", yes)
        board.approve(number)
        emit(f"request {number} approved")
        wait_until_done(board, found, wait, labels(nodes))


@click.command()
@click.argument("request", type=click.IntRange(1), required=False)
@yes_option
@connection_options
@acts
@click.pass_obj
def deny(session: Session, request: int | None, yes: bool) -> None:
    """Do not let it happen.

    \b
    Example:
      heartwire deny 4
    """
    with session.board() as board:
        number = _chosen(board.status(), request)
        board.deny(number)
        emit(f"request {number} denied")


def _chosen(found: Status, request: int | None) -> int:
    """Return the number of the standing request; a number that no longer stands is refused before it is sent."""
    standing = int(found.approval.get("request", 0)) if found.approval else 0
    if not standing:
        raise Refused("the board asks for no approval", "`heartwire log --limit 10` shows what became of it")
    if request not in (None, standing):
        raise Refused(
            f"request {request} does not stand any more; request {standing} does", "`heartwire status` shows it"
        )
    return standing


def _explain(found: Status, nodes: list[NodeStatus]) -> None:
    left_s = found.approval.get("left_s", 0) if found.approval else 0
    note(f"asked: {next_steps.approval_words(found, nodes)}; {span_words(left_s)} left")
    for node in nodes:
        if node.node == found.target:
            heard = f"{span_words((node.age_ms or 0) / 1000)} ago" if node.was_heard else "never"
            note(f"{node.label} is {node.verdict}, last heard {heard}, power {node.power}")
