"""The board with an RP2350 as it would ship, on rp2350js: what it is held to is what the first chip is held to.

All times are virtual. A chip of this tier cannot be forked, so each test boots and settles a rack of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heartwire.emulated.chip import MS, TIMER
from heartwire.emulated.errors import NotReady
from heartwire.flash import boards
from heartwire.simulate.rack import POWER
from heartwire_protocol import events
from tests.bodies import guarding
from tests.bodies.bench import DEAD_MS, Bench
from tests.emulated import measures
from tests.emulated.rig import EPOCH, Rig, fence_edges
from tests.emulated.rig_bench import RigBench
from tests.emulated2350.chip import EMULATOR, IMAGE, PICO_2, Rp2350Chip, image, package
from tests.unit.flash.test_boards import block

pytestmark = pytest.mark.emulated
RELAY_MAX_MS = 3.0
# What boot.py sets before anything else, and may not let go of, in the order of its table.
SAFE = (*measures.OUTPUTS, "GUARDING")
OUTPUTS_SAFE_MAX_MS = 50
# A host that reads nothing is not modelled here.
BODIES = tuple(body for body in guarding.BODIES if body is not guarding.stalled_host_costs_no_answer)


@pytest.fixture
def rack() -> Iterator[Callable[..., Rig]]:
    """What makes a rack that has settled, around a Pico 2."""
    try:
        package()
        found = image()
    except NotReady as error:
        pytest.skip(f"not installed: rp2350js ({error})")

    def made(nodes: int = 2, active: int = 0) -> Rig:
        rig = Rig(found, nodes=nodes, active=active, make=Rp2350Chip, board=PICO_2)
        rig.settle()
        return rig

    yield made


def test_an_active_node_that_falls_silent_loses_its_power_at_its_deadline(rack: Callable[..., Rig]) -> None:
    rig = rack()
    first = {edge.signal: edge for edge in reversed(rig.chip.edges)}
    for signal in SAFE:
        assert first[signal].level == 0, f"{signal} was not low first"
        assert first[signal].ns < OUTPUTS_SAFE_MAX_MS * MS
    guarding_ms = rig.chip.passes[0].ns / MS
    assert guarding_ms <= measures.GUARDING_MAX_MS
    assert not rig.fenced
    assert rig.grants[0][-1][1]["epoch"] == EPOCH
    free = int(rig.ask("status")["free"])
    assert free >= measures.HEAP_FREE_MIN
    bench = RigBench(rig)
    guarding.silent_node_is_fenced_at_its_deadline_and_the_other_granted(bench)
    relay_ms = bench.cuts_ms(0)[0] - bench.last_beat_ms(0) - DEAD_MS
    assert 0 <= relay_ms <= RELAY_MAX_MS
    assert ([fake.running for fake in rig.nodes], rig.epoch(), rig.two_active) == ([False, True], EPOCH + 1, False)
    print(f"outputs {max(first[signal].ns for signal in SAFE) / MS:.1f} ms, guard {guarding_ms:.0f} ms after power-on")
    print(f"relay {relay_ms:.2f} ms after the deadline; {free:,} bytes of heap free")


def test_hang_is_reset_and_its_fence_held_again(rack: Callable[..., Rig]) -> None:
    found = measures.hang(rack())
    assert found.reasons == [TIMER]
    assert found.restored_ms <= measures.RESTORED_MAX_MS
    assert found.guarding_ms <= measures.GUARDING_MAX_MS
    assert (events.FENCE_RESUMED, 0) in found.rows
    print(f"outputs back {found.restored_ms:.1f} ms, guard {found.guarding_ms:.0f} ms after the watchdog's reset")


def test_death_on_the_third_line_is_seen_as_on_the_others(rack: Callable[..., Rig]) -> None:
    rig = rack(nodes=3, active=2)
    bench = RigBench(rig)
    before, sent = guarding.missing(bench, 2), bench.sent(2)
    bench.run_for(600)
    assert abs(guarding.missing(bench, 2) - before) <= 1
    assert bench.sent(2) - sent > 4
    rig.cut.add(2)
    rig.chip.run_while(lambda: not any(fake.running for fake in rig.nodes[:2]), 3 * DEAD_MS * MS)
    relay_ms = [(ns - rig.beats[2][-1]) / MS - DEAD_MS for ns in fence_edges(rig, 2)]
    assert len(relay_ms) == 1
    assert 0 <= relay_ms[0] <= RELAY_MAX_MS
    assert [signal for signal in POWER if rig.chip.output(signal)] == [POWER[2]]
    assert not rig.two_active
    print(f"relay {relay_ms[0]:.2f} ms after the deadline on the third line")


@pytest.mark.parametrize("body", BODIES[1:], ids=lambda body: body.__name__)
def test_guards(rack: Callable[..., Rig], body: Callable[[Bench], None]) -> None:
    body(RigBench(rack()))


def test_an_image_of_another_chip_is_none_of_this_tier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other.uf2"
    other.write_bytes(block(boards.RP2040.family))
    monkeypatch.setenv(IMAGE, str(other))
    with pytest.raises(boards.WrongBoard, match="nothing was written"):
        image()


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(EMULATOR, raising=False)
    monkeypatch.setattr("tests.emulated2350.chip.need_node", lambda: None)
    with pytest.raises(NotReady, match=f"{EMULATOR} names no checkout"):
        package()
    monkeypatch.setenv(EMULATOR, str(tmp_path))
    with pytest.raises(NotReady, match="was built"):
        package()
    monkeypatch.delenv(IMAGE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NotReady, match=f"{IMAGE} names none"):
        image()
