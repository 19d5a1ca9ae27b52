"""(epoch, holder) and what is kept with them: whole at every power cut, and read by earlier and later firmware."""

from __future__ import annotations

from typing import Any

import pytest

from heartwire_firmware import durable, policy_state, slots
from tests.fakes.hardware import FakeFiles, PowerCut


def test_durable_state_keeps_epoch_and_holder_together_at_every_cut() -> None:
    for cut in range(6):
        for after in (False, True):
            files = FakeFiles()
            files.cut_at, files.cut_after = cut, after
            state = policy_state.State()
            store = durable.Durable(files)
            try:
                for epoch in range(1, 7):
                    state.epoch, state.holder = epoch, epoch % 3
                    store.save(state)
            except PowerCut:
                pass
            found = policy_state.State()
            again = durable.Durable(FakeFiles(files.contents))
            again.load(found)
            if not again.empty:
                assert found.holder == found.epoch % 3, (cut, after)
                assert found.epoch in (cut, cut + 1)


def test_durable_state_survives_a_round_trip_and_refuses_nonsense() -> None:
    state = policy_state.State()
    state.epoch, state.holder, state.mode = 77, 1, 3
    state.quarantined[0] = state.locked[2] = 1
    state.window_ms[1], state.maintenance_ms[3] = 86400000, 604800000
    packed = durable.pack(state)
    found = policy_state.State()
    assert durable.unpack(packed, found)
    assert (found.epoch, found.holder, found.mode, found.quarantined, found.window_ms) == (
        77,
        1,
        3,
        [1, 0, 0],
        [0, 86400000, 0],
    )
    assert not durable.unpack(packed[:-1], found)
    assert not durable.unpack(packed[:4] + b"\x09" + packed[5:], found), "holder 9"
    assert not durable.unpack(packed[:3] + b"\x40" + packed[4:], found), "epoch of 2^30"


def test_durable_state_of_an_older_version_keeps_what_it_has_and_the_rest_is_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = FakeFiles()
    state: Any = policy_state.State()
    state.epoch, state.holder, state.mode, state.watchdog_seen[1] = 77, 1, 3, 1
    assert durable.Durable(files).save(state)
    monkeypatch.setattr(durable, "FIELDS", (*durable.FIELDS, ("new", 2, 1), ("each", 4, 3)))
    found: Any = policy_state.State()
    found.new, found.each = 5, [6, 7, 8]
    again = durable.Durable(files)
    again.load(found)
    assert not again.empty and (again.epoch, again.holder) == (77, 1)
    assert (found.epoch, found.mode, found.watchdog_seen, found.new, found.each) == (77, 3, [0, 1, 0], 5, [6, 7, 8])
    found.new, found.each[2] = 300, 9
    assert again.save(found)
    found = policy_state.State()
    found.new, found.each = 5, [6, 7, 8]
    durable.Durable(files).load(found)
    assert (found.epoch, found.new, found.each) == (77, 300, [6, 7, 9])


def test_durable_state_of_a_newer_version_loads_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    files = FakeFiles()
    state: Any = policy_state.State()
    state.epoch, state.holder, state.mode, state.new = 77, 1, 3, 0x3FFF
    with monkeypatch.context() as newer:
        newer.setattr(durable, "FIELDS", (*durable.FIELDS, ("new", 2, 1)))
        assert durable.Durable(files).save(state)
    found: Any = policy_state.State()
    again = durable.Durable(files)
    again.load(found)
    assert not again.empty and (found.epoch, found.holder, found.mode) == (77, 1, 3)
    # It writes what it knows, in its own version, and reads that again.
    assert again.save(found)
    again.load(found)
    assert not again.empty and found.epoch == 77


def test_durable_state_of_firmware_that_wrote_no_version_is_not_forgotten() -> None:
    files = FakeFiles()
    state = policy_state.State()
    state.epoch, state.holder, state.mode = 77, 1, 3
    length = durable.length_of(durable.UNVERSIONED)
    assert length == 71
    assert slots.TwoSlots(files, "state").save(durable.pack(state)[:length])
    found = policy_state.State()
    again = durable.Durable(files)
    again.load(found)
    assert not again.empty and (found.epoch, found.holder, found.mode) == (77, 1, 3)


@pytest.mark.parametrize(
    ("length", "version"), [(71, 1), (70, 18), (72, 18), (70, 0), (72, 0), (70, 40), (0, 18), (0, 40)]
)
def test_durable_state_whose_length_is_not_that_of_its_version_is_nonsense(
    length: int, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "FIELDS", durable.FIELDS[: durable.UNVERSIONED])
    files = FakeFiles()
    state = policy_state.State()
    state.epoch = 77
    assert slots.TwoSlots(files, "state").save((durable.pack(state) + bytes(2))[:length], version)
    found = policy_state.State()
    again = durable.Durable(files)
    again.load(found)
    assert again.empty and found.epoch == 0
