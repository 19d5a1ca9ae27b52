"""Following: the transfer relay goes where the active node is, or where a test in observe mode sends it. Called by
supervisor, where a transfer relay is wired.
"""

from heartwire_firmware.relays import FAULT, MOVED
from heartwire_protocol import codes, events, reasons
from heartwire_protocol.codes import NO_NODE


def step_transfer(board, elapsed_ms: int) -> None:
    """Move the transfer relay of `board` on, and journal where it arrived or that it did not."""
    state = board.state
    armed = state.mode >= codes.MODE_APPROVE
    wanted = state.active if armed and state.active < codes.NODE_SPARE else NO_NODE
    if state.mode == codes.MODE_OBSERVE:
        wanted = board.selftest.transfer
    found = board.transfer.step(elapsed_ms, wanted)
    if found or state.mode != codes.MODE_OBSERVE:
        board.selftest.transfer = NO_NODE
    if found == MOVED:
        board.journal.append(events.TRANSFERRED, NO_NODE, 0, wanted)
    elif found == FAULT:
        board.journal.append(events.TRANSFER_FAULT, NO_NODE, reasons.POSITION, wanted)
