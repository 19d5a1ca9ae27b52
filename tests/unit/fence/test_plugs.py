"""Which node a plug means, and on, off or cannot say."""

import pytest

from heartwire.answers import NodeStatus
from heartwire.errors import UsageProblem
from heartwire.fence import plugs

A = NodeStatus(node="a", name="alpha", power="on")
B = NodeStatus(node="b", name="", power="on")


@pytest.mark.parametrize(("plug", "node"), [("a", "a"), ("alpha", "a"), ("Alpha", "a"), ("b", "b")])
def test_found(plug: str, node: str) -> None:
    assert plugs.find([A, B], plug).node == node


@pytest.mark.parametrize("plug", ["", "c", "spare", "gamma", "A", "alpha "])
def test_not_found(plug: str) -> None:
    with pytest.raises(UsageProblem, match=r"a \(alpha\), b"):
        plugs.find([A, B], plug)


def test_a_server_named_like_the_other_nodes_letter_is_nobody() -> None:
    named = NodeStatus(node="a", name="b", power="on")
    with pytest.raises(UsageProblem, match="could mean"):
        plugs.find([named, B], "b")
    assert plugs.find([named, B], "a").node == "a"


@pytest.mark.parametrize(
    ("fence", "power", "relay", "answer"),
    [
        ("idle", "on", False, "on"),
        ("idle", "off", False, "unknown"),
        ("idle", "unknown", False, "unknown"),
        ("idle", "on", True, "unknown"),
        ("firing", "on", True, "unknown"),
        ("firing", "off", True, "unknown"),
        ("proven", "off", True, "off"),
        ("proven", "on", True, "unknown"),
        ("assumed", "unknown", True, "off"),
        ("assumed", "on", True, "unknown"),
        ("assumed", "unknown", False, "unknown"),
        ("assumed", "off", False, "unknown"),
        ("proven", "off", False, "off"),
        ("failed", "off", True, "unknown"),
        ("failed", "on", True, "unknown"),
    ],
)
def test_power(fence: str, power: str, relay: bool, answer: str) -> None:
    assert plugs.power_of(NodeStatus(node="a", fence=fence, power=power, relay=relay))[0] == answer


@pytest.mark.parametrize(
    ("fence", "power", "fenced", "rebooted"),
    [("proven", "off", True, True), ("proven", "on", False, True), ("assumed", "on", False, False)],
)
def test_a_proven_reset_is_enough_for_a_reboot(fence: str, power: str, fenced: bool, rebooted: bool) -> None:
    node = NodeStatus(node="a", fence=fence, power=power, relay=False)
    assert plugs.is_fenced(node, may_run=False) == fenced
    assert plugs.is_fenced(node, may_run=True) == rebooted


def test_rows() -> None:
    assert plugs.rows([A, B], ",", with_power=False) == "a,alpha\nb,\n"
    assert plugs.rows([A, B], ";", with_power=True) == "a;alpha;on\nb;;on\n"
