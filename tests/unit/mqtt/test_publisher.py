"""The publisher against a real mosquitto: what is retained, what a death says, what comes after it was away."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from heartwire.monitor.store import Store
from heartwire.mqtt import publisher as publishing
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World as Collecting
from tests.unit.mqtt.conftest import PATIENCE_S, Listener, Server, World, until

STATE = "heartwire/rack/rack-1/state"
NODE_A = "heartwire/rack/rack-1/node/a/state"
MONITOR = "heartwire/monitor/here"
JOURNAL = "heartwire/rack/rack-1/journal"


def said(listener: Listener, topic: str) -> Any:
    return json.loads(listener.newest[topic])


def test_who_comes_later_finds_everything_retained(world: World, server: Server) -> None:
    world.see()
    world.tell()
    with Listener(server) as listener:
        until(lambda: MONITOR in listener.newest and NODE_A in listener.newest)
        until(lambda: len(listener.newest) >= 10)
        assert listener.newest[MONITOR] == "online"
        assert listener.newest["heartwire/rack/rack-1/availability"] == "online"
        assert listener.newest["heartwire/rack/rack-2/availability"] == "offline"
        assert "heartwire/rack/rack-2/state" not in listener.newest
        assert said(listener, STATE)["active"] == "a"
        assert said(listener, NODE_A)["role"] == "active"
        assert said(listener, "heartwire/rack/rack-1/node/a/measures")["age_s"] == 0.31
        configs = [topic for topic in listener.newest if topic.startswith("homeassistant/device/")]
        assert len(configs) == 3


def test_only_what_is_new_is_said_and_measures_now_and_then(world: World, server: Server) -> None:
    world.see()
    world.tell()
    with Listener(server) as listener:
        until(lambda: len(listener.newest) >= 10)
        before = len(listener.all)
        world.see(a={"age_ms": 700})
        world.tell()
        world.see(b={"role": "quarantined"})
        world.tell()
        until(lambda: said(listener, "heartwire/rack/rack-1/node/b/state")["role"] == "quarantined")
        assert [topic for topic, _ in listener.all[before:]] == ["heartwire/rack/rack-1/node/b/state"]
        world.see(a={"age_ms": 700}, b={"role": "quarantined"})
        world.now_s += 10
        world.tell()
        until(lambda: said(listener, "heartwire/rack/rack-1/node/a/measures")["age_s"] == 0.7)


def test_a_board_that_is_not_reached_is_offline_with_its_last_state(world: World, server: Server) -> None:
    world.see()
    world.tell()
    world.view.up = False
    world.tell()
    with Listener(server) as listener:
        until(lambda: listener.newest.get("heartwire/rack/rack-1/availability") == "offline")
        until(lambda: STATE in listener.newest)


def dies(world: World) -> None:
    """Cut the publisher's connection without a goodbye."""
    link = world.publisher._link
    assert link is not None
    sock = link._client.socket()
    assert sock is not None
    cast(socket.socket, sock).shutdown(socket.SHUT_RDWR)  # its type names less than it is


def test_the_last_will_says_that_a_monitor_died_and_a_goodbye_says_so_too(world: World, server: Server) -> None:
    world.see()
    world.tell()
    with Listener(server) as listener:
        until(lambda: listener.newest.get(MONITOR) == "online")
        dies(world)
        until(lambda: listener.newest[MONITOR] == "offline", "the will")
        world.tell()
        until(lambda: listener.newest[MONITOR] == "online")
        world.publisher.close()
        until(lambda: listener.newest[MONITOR] == "offline", "the goodbye")
    with Listener(server) as later:
        until(lambda: later.newest.get(MONITOR) == "offline", "retained")


@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_was_away_and_forgot_all_has_the_newest_state_and_no_older_one(
    world: World, server: Server, times: int
) -> None:
    world.see()
    world.tell()
    for number in range(times):
        server.kill()
        world.see(epoch=20 + number, active="b")
        while world.publisher.step() == 0.5:
            pass  # until it notices
        world.see(epoch=30 + number, active="b")
        assert world.publisher.step() > 0.5
        server.start()
        with Listener(server) as listener:
            world.tell()
            until(lambda: STATE in listener.newest and MONITOR in listener.newest)
            assert said(listener, STATE)["epoch"] == 30 + number
            assert [json.loads(words)["epoch"] for topic, words in listener.all if topic == STATE] == [30 + number]
    assert world.stream.getvalue().count("mqtt_failed") >= times
    assert world.stream.getvalue().count("mqtt_works") == times


def test_it_tries_ever_more_slowly_and_says_so_once(store: Store, mosquitto: str) -> None:
    world = World(store, "127.0.0.1:1")
    waits = [world.publisher.step() for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert world.stream.getvalue().count("mqtt_failed") == 1
    assert "refused" in world.stream.getvalue()


def test_a_server_that_takes_the_call_and_says_nothing_holds_nobody_up(
    store: Store, mosquitto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CONNECT_S", 0.3)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        world = World(store, f"127.0.0.1:{mute.getsockname()[1]}")
        assert world.publisher.step() == 1.0
    assert "no answer within 0.3 s" in world.stream.getvalue()


def test_a_server_that_stands_still_says_the_newest_when_it_goes_on(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.see()
    world.tell()
    with Listener(server) as listener:
        until(lambda: STATE in listener.newest)
        server.signal(signal.SIGSTOP)
        monkeypatch.setattr(publishing, "ACKNOWLEDGE_S", 0.3)
        monkeypatch.setattr(publishing, "CONNECT_S", 0.3)
        world.see(epoch=50)
        assert world.publisher.step() == 1.0
        assert "not acknowledged" in world.stream.getvalue()
        assert not world.publisher.connected
        world.see(epoch=51)
        assert world.publisher.step() == 2.0
        server.signal(signal.SIGCONT)
        monkeypatch.setattr(publishing, "ACKNOWLEDGE_S", PATIENCE_S)
        monkeypatch.setattr(publishing, "CONNECT_S", PATIENCE_S)
        world.see(epoch=52)
        world.tell()
        until(lambda: said(listener, STATE)["epoch"] == 52 and listener.newest[MONITOR] == "online")
    with Listener(server) as later:
        until(lambda: STATE in later.newest and MONITOR in later.newest)
        assert said(later, STATE)["epoch"] == 52
        assert later.newest[MONITOR] == "online"
    assert world.publisher.connected


def test_the_journal_is_a_stream_from_now_on_with_its_sequence(
    world: World, server: Server, store: Store, board: FakeBoard
) -> None:
    board.log(events.BOOT)
    collecting = Collecting(store, board, [])
    collecting.collect()
    world.see()
    with Listener(server) as listener:
        world.tell()
        board.log(events.LATE, 0, a=3000)
        board.log(events.GOOD_AGAIN, 0, a=4000)
        collecting.collect()
        world.tell()
        until(lambda: len([topic for topic, _ in listener.all if topic == JOURNAL]) >= 2)
        found = [json.loads(words) for topic, words in listener.all if topic == JOURNAL]
    assert [(row["sequence"], row["event"], row["a"]) for row in found] == [(2, "late", 3000), (3, "good_again", 4000)]
    assert {(row["board"], row["board_id"], row["journal"]) for row in found} == {("rack-1", "E66118604B5C4A2A", 1)}
    assert "a (alpha) is late" in found[0]["sentence"]
    with Listener(server) as later:
        until(lambda: MONITOR in later.newest)
        assert JOURNAL not in later.newest  # not retained


def test_records_written_while_the_server_or_the_monitor_is_away_are_told_in_order(
    world: World, server: Server, store: Store, board: FakeBoard
) -> None:
    collecting = Collecting(store, board, [])
    world.see()
    world.tell()
    heard: list[int] = []

    def hear(listener: Listener) -> list[int]:
        return [json.loads(words)["sequence"] for topic, words in listener.all if topic == JOURNAL]

    for number in range(4):
        for _ in range(70):
            board.log(events.LATE, 0, a=3000)
        collecting.collect()
        if number % 2:
            world.publisher.close()
            world = World(store, server.address)
            world.see()
        server.kill()
        while world.publisher.step() == 0.5:
            pass
        server.start()
        with Listener(server) as listener:
            world.tell()
            until(lambda: board.status["newest"] in hear(listener), "the newest record")
            heard += hear(listener)
    world.publisher.close()
    assert sorted(set(heard)) == list(range(1, 281))
    assert heard == sorted(heard)
    # What was acknowledged is not told again.
    assert len(heard) == 280


def test_whatever_is_published_changes_nothing(
    world: World, server: Server, store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.log(events.BOOT)
    collecting = Collecting(store, board, [])
    collecting.collect()
    world.see()
    world.tell()
    asked = list(board.asked)
    before = {table: rows(store, table) for table in ("event", "board", "problem", "mention", "message")}
    with Listener(server) as listener:
        until(lambda: len(listener.newest) >= 10)
        ours = dict(listener.newest)
        topics = [*ours, *[f"{topic}/set" for topic in ours], "heartwire/rack/rack-1/mode/set", "heartwire/cmd", "x"]
        orders = ("auto", '{"op":"fence","node":"a"}', "offline", "", "\0", "ON", "{" * 5000)
        for topic in topics:
            for order in orders:
                listener.client.publish(topic, order, qos=1, retain=True).wait_for_publish(10)
        world.tell()
        collecting.collect()
        assert board.asked == asked
        assert before == {table: rows(store, table) for table in before}
        assert world.view.status is not None and world.view.status.mode == "auto"
        # What stands under its topics is its own again, soon.
        world.now_s += publishing.AGAIN_S + 1
        world.tell()
        until(lambda: all(listener.newest[topic] == words for topic, words in ours.items() if "measures" not in topic))
    log = server.log.read_text()
    assert " as here (" in log and "Received SUBSCRIBE from auto-" in log
    assert "Received SUBSCRIBE from here" not in log
    assert "Sending PUBLISH to here" not in log


def rows(store: Store, table: str) -> list[Any]:
    import sqlalchemy

    with store.read() as connection:
        return [tuple(row) for row in connection.execute(sqlalchemy.text(f"SELECT * FROM {table}"))]


def hashed(folder: Path) -> Path:
    """Return a password file of mosquitto with one user."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("not installed: mosquitto")
    path = folder / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "rack", "s3cret-right"], check=True, capture_output=True)
    return path


def secret(folder: Path, text: str) -> Path:
    path = folder / f"secret-{text}"
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def test_a_password_from_a_file_and_a_wrong_one_that_nobody_is_shown(
    store: Store, mosquitto: str, tmp_path: Path
) -> None:
    server = Server(tmp_path, mosquitto, f"password_file {hashed(tmp_path)}", "allow_anonymous false")
    try:
        right = World(store, server.address, user="rack", password_file=secret(tmp_path, "s3cret-right"))
        right.see()
        right.tell()
        with Listener(server, username="rack", password="s3cret-right") as listener:
            until(lambda: listener.newest.get(MONITOR) == "online")
        right.publisher.close()
        wrong = World(store, server.address, user="rack", password_file=secret(tmp_path, "s3cret-wrong"))
        assert wrong.publisher.step() == 1.0
        said_ = wrong.stream.getvalue()
        assert "the server refuses" in said_ and "s3cret" not in said_
        open_ = tmp_path / "open"
        open_.write_text("s3cret-right")
        open_.chmod(0o644)
        loose = World(store, server.address, user="rack", password_file=open_)
        assert loose.publisher.step() == 1.0
        assert "others may read" in loose.stream.getvalue() and "s3cret-right" not in loose.stream.getvalue()
    finally:
        server.kill()


def certificate(folder: Path, name: str, ca: str | None = None) -> Path:
    """Make a key and a certificate for 127.0.0.1, signed by itself or by `ca`; return the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    by = ["-CA", f"{folder}/{ca}.pem", "-CAkey", f"{folder}/{ca}.key"] if ca else []
    more = ["-addext", "subjectAltName=IP:127.0.0.1"] if ca else []
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    places = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    subprocess.run([*words, *places, *by, *more], check=True, capture_output=True)
    return folder / f"{name}.pem"


def test_tls_checks_the_servers_certificate_and_shows_one_of_its_own(
    store: Store, mosquitto: str, tmp_path: Path
) -> None:
    ca, other = certificate(tmp_path, "ca"), certificate(tmp_path, "other")
    certificate(tmp_path, "server", "ca")
    mine = certificate(tmp_path, "monitor", "ca")
    lines = [f"{name} {tmp_path}/{file}" for name, file in (
        ("cafile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key"))]  # fmt: skip
    server = Server(tmp_path, mosquitto, *lines, "require_certificate true")
    own = {"certificate_file": mine, "certificate_key_file": tmp_path / "monitor.key"}
    try:
        good = World(store, server.address, tls=True, ca_file=ca, **own)
        good.see()
        good.tell()
        good.publisher.close()
        stranger = World(store, server.address, tls=True, ca_file=other, **own)
        assert stranger.publisher.step() == 1.0
        assert "the server's certificate is refused" in stranger.stream.getvalue()
        nobody = World(store, server.address, tls=True, ca_file=ca)
        assert nobody.publisher.step() == 1.0
        plain = World(store, server.address)
        assert plain.publisher.step() == 1.0
    finally:
        server.kill()


def test_a_server_that_ends_between_two_messages_is_tried_again(
    world: World, server: Server, store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library queues no message then, and raises when it is asked what became of it."""
    from paho.mqtt.client import Client

    world.see()
    world.tell()
    publish = Client.publish

    def once_too_late(client: Client, *said: Any, **how: Any) -> Any:
        monkeypatch.setattr(Client, "publish", publish)
        server.kill()
        until(lambda: not client.is_connected())
        return publish(client, *said, **how)

    board.log(events.LATE, 0, a=3000)
    Collecting(store, board, []).collect()
    monkeypatch.setattr(Client, "publish", once_too_late)
    assert world.publisher.step() == publishing.RETRY_FIRST_S
    assert not world.publisher.connected
    server.start()
    with Listener(server) as listener:
        world.tell()
        until(lambda: JOURNAL in listener.newest)
