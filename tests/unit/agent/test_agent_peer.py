"""The network path between agents: what counts as a sign of life, and what does not."""

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartwire.agent.errors import SettingsError
from heartwire.agent.log import Log
from heartwire.agent.peer import PACKET_LENGTH, PeerLink, PeerView
from heartwire.agent.settings import PeerSettings, settings_from
from heartwire_protocol import messages
from tests.unit.agent.agent_fakes import KEY, World, ms

MINIMAL = {"node": "a", "port": "/dev/x", "state_directory": "/tmp/x"}


def pair() -> tuple[PeerView, PeerView]:
    return PeerView(0, 1, KEY, 3000), PeerView(1, 0, KEY, 3000)


def talk(one: PeerView, two: PeerView, now_ms: int) -> None:
    two.take(one.packet(ms(now_ms)), ms(now_ms))
    one.take(two.packet(ms(now_ms)), ms(now_ms))


def test_two_agents_see_each_other_after_two_packets() -> None:
    one, two = pair()
    talk(one, two, 0)
    assert one.seen(ms(1))
    talk(one, two, 1000)
    assert two.seen(ms(1001)) and one.heard_back
    assert one.seen(ms(3999)) and not one.seen(ms(4000))


def test_a_recorded_packet_proves_nothing() -> None:
    one, two = pair()
    recorded = []
    for second in range(5):
        two.take(one.packet(ms(1000 * second)), ms(1000 * second))
        recorded.append(two.packet(ms(1000 * second)))
        one.take(recorded[-1], ms(1000 * second))
    for packet in recorded:
        assert not one.take(packet, ms(4500))
    assert not one.seen(ms(8000))
    restarted = PeerView(0, 1, KEY, 3000)
    restarted.packet(0)
    assert not any(restarted.take(packet, ms(1)) for packet in recorded)


def test_a_flood_of_recorded_packets_does_not_keep_the_real_ones_out() -> None:
    one, two = pair()
    talk(one, two, 0)
    old = two.packet(0)
    for second in range(1, 6):
        packet = one.packet(ms(1000 * second))
        one.take(old, ms(1000 * second))
        two.take(packet, ms(1000 * second))
        assert one.take(two.packet(ms(1000 * second)), ms(1000 * second))
        one.take(old, ms(1000 * second))


def test_own_packets_reflected_prove_nothing() -> None:
    one, _ = pair()
    for _ in range(3):
        assert not one.take(one.packet(0), 0)
    assert not one.seen(1)


@given(st.integers(0, PACKET_LENGTH - 1), st.integers(1, 255))
def test_no_changed_byte_is_accepted(at: int, difference: int) -> None:
    one, two = pair()
    two.take(one.packet(0), 0)
    packet = bytearray(two.packet(0))
    packet[at] ^= difference
    assert not one.take(bytes(packet), 0)
    assert one.refused == 1


@given(st.binary(max_size=80))
def test_any_packet_is_taken_without_an_error(packet: bytes) -> None:
    assert not pair()[0].take(packet, 0)


def test_another_key_is_not_heard() -> None:
    one = PeerView(0, 1, KEY, 3000)
    two = PeerView(1, 0, bytes(32), 3000)
    talk(one, two, 0)
    talk(one, two, 1000)
    assert not one.seen(ms(1001)) and not two.seen(ms(1001))


def links() -> tuple[PeerLink, PeerLink]:
    found = []
    holes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for hole in holes:
        hole.bind(("127.0.0.1", 0))
    ports = [hole.getsockname()[1] for hole in holes]
    for hole in holes:
        hole.close()
    for node, other in ((0, 1), (1, 0)):
        # The first path is dead; the second one is good.
        settings = PeerSettings(
            "ab"[other],
            (("127.0.0.1", 1), ("127.0.0.1", ports[other])),
            Path("k"),
            ("127.0.0.1", ports[node]),
            1000,
            3000,
        )
        found.append(PeerLink(node, settings, KEY, Log(io.StringIO(), "a"), 0))
    return found[0], found[1]


def test_links_over_the_network_with_a_dead_path() -> None:
    one, two = links()
    for second in range(4):
        one.step(ms(1000 * second))
        two.step(ms(1000 * second))
    assert one.step(ms(3500)) and two.step(ms(3500))
    two.close()
    assert not one.step(ms(20_000))
    one.close()


def test_a_flood_does_not_hold_up_the_loop() -> None:
    one, two = links()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        for _ in range(500):
            flood.sendto(b"x" * 2000, ("127.0.0.1", one.port))
    one.step(0)
    assert one.view.refused <= 16
    one.close()
    two.close()


def test_the_heartbeat_says_what_is_seen(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go(1000)
    assert not world.board.beats[-1]["flags"] & messages.FLAG_PEER_KNOWN
    one, two = links()
    world.agent.peer = one
    for _ in range(5):
        world.go(1000)
        two.step(world.clock.now_ns)
    both = messages.FLAG_PEER_KNOWN | messages.FLAG_PEER_SEEN
    assert world.board.beats[-1]["flags"] & both == both
    world.go(5000)
    assert world.board.beats[-1]["flags"] & both == messages.FLAG_PEER_KNOWN
    one.close()
    two.close()


def test_peer_settings() -> None:
    peer = settings_from(
        {**MINIMAL, "peer": {"node": "b", "addresses": ["192.0.2.1:7411", "[2001:db8::1]:7411"], "key_file": "/k"}}
    ).peer
    assert peer is not None
    assert peer.addresses == (("192.0.2.1", 7411), ("2001:db8::1", 7411))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"node": "a"}, "peer.node"),
        ({"addresses": []}, "peer.addresses"),
        ({"addresses": ["peer.example:1"]}, "peer.addresses[0]"),
        ({"addresses": ["192.0.2.1:x"]}, "peer.addresses[0]"),
        ({"addresses": ["192.0.2.1:70000"]}, "peer.addresses[0]"),
        ({"listen": 5}, "peer.listen"),
        ({"key_file": None}, "peer.key_file"),
        ({"dead_ms": 1500}, "peer.dead_ms"),
        ({"port": 5}, "peer.port"),
    ],
)
def test_wrong_peer_settings_name_their_path(change: dict[str, Any], path: str) -> None:
    values = {"node": "b", "addresses": ["192.0.2.1:7411"], "key_file": "/k", **change}
    with pytest.raises(SettingsError) as caught:
        settings_from({**MINIMAL, "peer": values})
    assert str(caught.value).startswith(f"{path}: ")
