"""`heartwire release|clear|readopt|declare`: what a person does after a fault, once the cause is understood."""

from __future__ import annotations

import click

from heartwire.cli.acting import acts
from heartwire.cli.context import NODE, Session, ask, connection_options, labels, yes_option
from heartwire.cli.output import emit
from heartwire.cli.status import explained, read
from heartwire.cli.waiting import wait_option, wait_until_done


@click.command()
@click.argument("node", type=NODE)
@yes_option
@connection_options
@acts
@click.pass_obj
def release(session: Session, node: str, yes: bool) -> None:
    """Give a fenced node its power back.

    It comes back quarantined, in fencer mode too: it runs no services until it is cleared, or has made a clean start
    where the settings say so.

    \b
    Example:
      heartwire release a
    """
    with session.board() as board:
        _, nodes = read(board)
        with explained(board, node):
            board.release(node)
        emit(f"{labels(nodes).get(node, node)} gets its power back")


@click.command()
@click.argument("node", type=NODE)
@yes_option
@connection_options
@acts
@click.pass_obj
def clear(session: Session, node: str, yes: bool) -> None:
    """End a node's quarantine or lock-out.

    Do it once you know why it failed; from then on it may become active again.

    \b
    Example:
      heartwire clear a
    """
    with session.board() as board:
        _, nodes = read(board)
        with explained(board, node):
            board.clear(node)
        emit(f"{labels(nodes).get(node, node)} is cleared")


@click.command()
@click.argument("node", type=NODE)
@wait_option
@yes_option
@connection_options
@acts
@click.pass_obj
def readopt(session: Session, node: str, wait: bool, yes: bool) -> None:
    """Take a running node as active again.

    For a node whose fence could not be proven and which still runs, while nobody else is active. It gets a new epoch.

    \b
    Example:
      heartwire readopt a
    """
    with session.board() as board:
        found, nodes = read(board)
        name = labels(nodes).get(node, node)
        ask(f"Make {name}, which runs, active again with epoch {found.epoch + 1} or higher?", yes)
        with explained(board, node):
            board.readopt(node)
        emit(f"{name} is taken as active again")
        wait_until_done(board, found, wait, labels(nodes), active=node)


@click.command()
@click.argument("node", type=NODE)
@wait_option
@yes_option
@connection_options
@acts
@click.pass_obj
def declare(session: Session, node: str, wait: bool, yes: bool) -> None:
    """Say which node may be active.

    For a board that cannot know it: new, replaced or reformatted. Be sure that no other node runs the services.

    \b
    Example:
      heartwire declare a
      heartwire declare b --yes --wait
    """
    with session.board() as board:
        found, nodes = read(board)
        name = labels(nodes).get(node, node)
        others = " and ".join(other.label for other in nodes if other.node != node) or "any other node"
        ask(f"Are you sure that {others} does not run the services, and that {name} may be active?", yes)
        with explained(board, node):
            board.declare(node)
        emit(f"{name} may be active")
        wait_until_done(board, found, wait, labels(nodes), active=node)
