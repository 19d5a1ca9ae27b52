"""A lease for the server that would stop its services while the board is updated: asked for, and seen to arrive.

Only the board's own `update` gives it, durably, and only a heartbeat's reply carries it to the server, so the board
must not leave before. Called by update before it stops a guard.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from heartwire.answers import Status
from heartwire.board import Board
from heartwire.errors import NoAnswer, NotAllowed

# Longer than an update takes, as long as nobody has to find a cable: until it is over nobody else is granted.
LEASE_S = 300
# The next reply but one to a server that beats slowly.
ARRIVES_S = 20.0
# A reply may be as old as that when the board tells what it granted.
OLD_MS = 5000


def is_wanted(board: Board, status: Status) -> bool:
    """Tell whether the active server would stop its services without the board, and has no long lease."""
    if status.mode not in ("approve", "auto") or status.active is None:
        return False
    if board.settings().values.get(f"node.{status.active}.on_board_loss", "hold") != "stop":
        return False
    return not board.plans().get("long_lease_s")


def give(board: Board, status: Status, tell: Callable[[str], None]) -> None:
    """Have the board give the active server its lease, and wait until it has it; the board is in maintenance from then
    on, for as long. Raises NotAllowed, Refused, NoAnswer.
    """
    active = str(status.active)
    seconds = min(LEASE_S, int(board.settings().values.get("board.update_max_s", LEASE_S)))
    try:
        board.update(seconds)
    except NotAllowed as error:
        raise NotAllowed(
            f"{active} stops its services without the board, and the lease that it would need instead is refused: "
            f"{error.words}",
            error.next_step,
        ) from None
    began_s = time.monotonic()
    while True:
        passed_s = time.monotonic() - began_s
        if board.node(active).lease_ms >= (seconds - passed_s) * 1000 - OLD_MS:
            break
        if passed_s > ARRIVES_S:
            raise NoAnswer(
                f"{active} did not take the lease for the update within {ARRIVES_S:g} s",
                "see `heartwire status`: it must be heard before the board may leave; then repeat the command",
            )
        time.sleep(0.2)
    tell(f"{active} has a lease for {seconds} s; nobody else is granted before it is over")
