"""Exchanged wires: the self-test names them, and the model of the rack does what a rack does."""

import pytest
import swaps
from wired import FEEDS, NODES, Wired, rack_wires


def _swap(*pairs: tuple[str, str]) -> swaps.Swap:
    return swaps.Swap("planted", pairs)


def test_a_rack_wired_right_passes_every_step() -> None:
    wired = Wired(rack_wires(), leaky=True)
    assert swaps.Tester(wired).first_failed() == ""
    assert all(wired.untested().values())


def test_every_board_terminal_of_the_harness_is_tried() -> None:
    tried = {end for swap in swaps.every() for pair in swap.pairs for end in pair}
    assert tried == set(rack_wires())
    assert len(swaps.every()) == len({swap.words for swap in swaps.every()}) > 1400


@pytest.mark.parametrize(
    ("pairs", "group"),
    [
        ((("J31.2", "J32.2"),), "relays"),  # contactors of a and b crossed
        ((("J31.3", "J32.2"),), "relays"),
        ((("J51.1", "J53.1"),), "senses"),
        ((("J51.1", "J51.2"),), "senses"),
        ((("J21.2", "J21.3"),), "lines"),
        ((("J41.1", "J41.2"),), "front"),
        ((("J71.1", "J72.1"),), "button"),
        ((("J73.1", "J73.2"),), "lamps"),
        ((("J74.2", "J41.1"),), "alarm"),
        ((("J31.2", "J31.3"),), swaps.HARMLESS),
        ((("J71.2", "J72.2"),), swaps.HARMLESS),
        ((("J64.1", "J65.1"),), swaps.NOT_TOLD),
        ((("J1.1", "J1.2"),), swaps.NOT_TOLD),
    ],
)
def test_a_swap_has_its_outcome(pairs: tuple[tuple[str, str], ...], group: str) -> None:
    assert swaps.outcome(_swap(*pairs)) == group


def test_only_the_shared_device_and_the_supplies_go_untold() -> None:
    for swap in swaps.every():
        if swaps.outcomes()[swap.words] == swaps.NOT_TOLD:
            refs = {end.partition(".")[0] for pair in swap.pairs for end in pair}
            assert refs <= {"J1", "J2", "J63", "J64", "J65"}, swap.words


def test_a_cut_node_loses_all_its_feeds_and_no_other() -> None:
    wired = Wired(rack_wires(), leaky=False)
    for node in NODES:
        wired.cut = {node}
        assert {feed for feed in FEEDS if not wired.senses()[f"SENSE_{feed}"]} == {
            feed for feed, owner in FEEDS.items() if owner == node
        }
