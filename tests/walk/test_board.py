"""The supervisor's wiring, as the walk uses it: the walk has no brain, hands or intents of its own."""

from __future__ import annotations

from heartwire_firmware.brain import Brain
from heartwire_firmware.facts import FactFiller
from heartwire_firmware.following import Following
from heartwire_firmware.grants import Grants
from heartwire_firmware.hands import Hands
from heartwire_firmware.intents import Intents
from heartwire_firmware.lines import Lines
from heartwire_firmware.peers import Peers
from heartwire_firmware.selftest import SelfTest
from heartwire_firmware.sequencer import Sequencer
from heartwire_firmware.supervisor import Supervisor
from heartwire_firmware.trial import Trial
from heartwire_firmware.walltime import WallTime
from heartwire_protocol import codes, events
from tests.walk.ramble import settled
from tests.walk.steps import QUIET, apply
from tests.walk.world import World

B = 1
# What stands between a frame and a contact, and may be no other code in the walk than on the board.
SHARED = {
    "brain": Brain, "filler": FactFiller, "intents": Intents, "peers": Peers, "lines": Lines, "trial": Trial,
    "following": Following, "grants": Grants, "sequencer": Sequencer, "selftest": SelfTest, "wall": WallTime,
}  # fmt: skip
OF_THE_SUPERVISOR = ("start", "configure", "request", "_wire", "_decide", "settings_operations")
LONGEST_S = 30


def test_the_walk_runs_the_boards_own_code_between_a_frame_and_a_contact() -> None:
    board = World().board
    for name, kind in SHARED.items():
        assert type(getattr(board, name)) is kind, name
    for name in OF_THE_SUPERVISOR:
        assert getattr(type(board), name) is getattr(Supervisor, name), name
    # The observers look before anything moves; what moves is the board's.
    assert isinstance(board.hands, Hands)
    assert set(vars(type(board.hands))) & set(vars(Hands)) <= {"__init__", "carry_out", "__module__", "__doc__"}


def test_settings_that_may_be_applied_are() -> None:
    world, _demands = settled("settings")
    apply(world, ("settings", 3))
    assert world.variant == 3


def test_an_intent_ends_with_the_reset_that_it_was_for() -> None:
    world, _demands = settled("ladder_reset")
    step: tuple[str, object] = ("crash", B)
    prepared = False
    for _ in range(LONGEST_S):
        apply(world, step)
        step = QUIET
        prepared = prepared or any(row[:2] == (events.FENCE_PREPARED, B) for row in world.journal)
        if any(row[0] == events.RECOVERY_STEP and row[3] == codes.RUNG_RESET for row in world.journal):
            assert prepared
            assert world.intent[B] == 0
            return
    raise AssertionError("nobody reset it")
