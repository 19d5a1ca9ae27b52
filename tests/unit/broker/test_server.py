"""The broker between real sockets and a fake board behind a pseudo terminal."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartwire import transport
from heartwire.board import Board
from heartwire.broker import client, server, wire
from heartwire.errors import (
    BoardNotFound,
    HeartwireError,
    NoAnswer,
    NotPermitted,
    PortBusy,
    PortLent,
    Refused,
    Unplugged,
)
from heartwire.journal import Entry
from heartwire.keys import Keys
from heartwire_protocol import codes, events
from tests.fakes.board import FakeBoard, PtyBoard
from tests.unit.broker.conftest import Running
from tests.unit.broker.frames import hello, request

KEY = "5a" * 32


def open_board(pty: PtyBoard, **more: object) -> Board:
    """Open a board through the broker."""
    board = Board.open(pty.path, keys=Keys(), timeout_s=2.0, **more)  # type: ignore[arg-type]
    assert isinstance(board.link.channel, client.BrokerChannel)
    return board


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until `condition()`; a test that waits longer has failed."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def dial(broker: Running) -> socket.socket:
    """Return a connection to the broker that says nothing yet."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(str(broker.place))
    connection.settimeout(10)
    return connection


def device(path: str) -> list[int]:
    """Return the numbers of a device."""
    number = os.stat(path).st_rdev  # noqa: PTH116
    return [os.major(number), os.minor(number)]


def enter(broker: Running, pty: PtyBoard, **more: object) -> socket.socket:
    """Return a connection that the broker has let in."""
    connection = dial(broker)
    body = {"v": wire.VERSION, "port": pty.path, "device": device(pty.path), "program": "test", **more}
    connection.send(wire.pack(wire.OPEN, body))
    assert connection.recv(100) == wire.OPENED
    return connection


def test_two_programs_ask_one_board_in_turn(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as one, open_board(pty) as other:
        for _ in range(3):
            assert one.status().mode == "auto"
            assert [node.node for node in other.nodes()] == ["a", "b"]


def test_each_has_its_own_keys_and_rights(broker: Running) -> None:
    board = FakeBoard()
    board.keys[codes.RIGHT_OPERATE] = KEY
    board.script["release"] = {"ok": 1}
    with PtyBoard(board) as pty:
        with_key = Board.open(pty.path, keys=Keys({codes.RIGHT_OPERATE: KEY}), timeout_s=2.0)
        with with_key, open_board(pty) as without:
            for _ in range(2):
                assert with_key.release("a") == {"ok": 1}
                with pytest.raises(HeartwireError, match="wants the operate key"):
                    without.release("a")


def test_each_has_its_own_place_in_the_log(broker: Running) -> None:
    board = FakeBoard()
    for number in range(40):
        board.log(events.LATE, node=0, a=number)
    with PtyBoard(board) as pty, open_board(pty) as one, open_board(pty) as other:
        first, second = one.events(), other.events(after=20)
        rows: list[list[object]] = [[], []]
        for _ in range(20):
            rows[0].append(next(first))
            rows[1].append(next(second))
    assert [row.sequence for row in rows[0] if isinstance(row, Entry)] == list(range(1, 21))
    assert [row.sequence for row in rows[1] if isinstance(row, Entry)] == list(range(21, 41))


def test_the_port_is_given_back_after_the_last_one(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty:
        open_board(pty).close()
        wait_for(lambda: f"{pty.path}: closed" in broker.log)
        wait_for(lambda: _is_free(pty.path))


def _is_free(path: str) -> bool:
    try:
        transport.open_port(path).close()
    except PortBusy:
        return False
    return True


def test_a_program_that_never_reads_is_dropped_and_the_board_goes_on(broker: Running) -> None:
    board = FakeBoard()
    for number in range(200):
        board.log(events.LATE, node=0, a=number)
    with PtyBoard(board) as pty:
        deaf = enter(broker, pty)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        with open_board(pty) as other:
            number = 0
            until = time.monotonic() + 30
            while not any("does not read" in line for line in broker.log):
                number += 1
                assert time.monotonic() < until
                with contextlib.suppress(OSError):
                    deaf.send(wire.WANT + b"")
                    deaf.send(wire.FRAME + hello())
                assert other.status().mode == "auto"
        deaf.close()


def test_a_program_that_does_nothing_in_its_turn_keeps_nobody_waiting(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as other:
        stuck = enter(broker, pty)
        stuck.send(wire.WANT)
        assert stuck.recv(10) == wire.ANEW
        assert other.status().mode == "auto"
        stuck.close()


def test_nonsense_ends_the_connection_that_says_it_and_no_other(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as other:
        for junk in (
            b"Z", b"F", b"O", b"O[]", b"O" + b"[" * 4000, b'O{"v":1}', b'O{"v":1,"port":3,"program":"x"}', b"W\xff",
            wire.FRAME + b"junk", wire.FRAME + hello() + hello(), b"x" * 60000,
        ):  # fmt: skip
            with dial(broker) as alone:
                alone.send(junk)
                assert not alone.recv(1000)
            with enter(broker, pty) as inside, contextlib.suppress(ConnectionError):
                inside.send(junk)
                while inside.recv(1000):
                    pass
        assert other.status().mode == "auto"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_nothing_that_a_program_sends_ends_the_broker(broker: Running, junk: bytes, inside: bool) -> None:
    with dial(broker) as connection, contextlib.suppress(OSError):
        connection.send((wire.FRAME if inside else b"") + junk)
        connection.send(wire.STATE)
        connection.recv(1000)
    with dial(broker) as connection:
        connection.send(wire.STATE)
        assert wire.body_of(connection.recv(wire.ANSWER_MAX))["ports"] == []


def test_who_says_nothing_is_shown_out(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "INTRODUCTION_S", 0.05)
    with dial(broker) as silent:
        assert silent.recv(10) == b""


def test_one_user_cannot_take_all_places(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLIENTS_MAX", 3)
    guests = [dial(broker) for _ in range(3)]
    wait_for(lambda: guests)
    with dial(broker) as late:
        error = wire.error_of(late.recv(1000))
    assert isinstance(error, PortBusy)
    assert "3 programs already" in error.words
    for guest in guests:
        guest.close()


def test_who_may_not_open_the_port_may_not_have_it_from_the_broker(broker: Running) -> None:
    broker.allowed = lambda caller, path: False
    with PtyBoard(FakeBoard()) as pty:
        with dial(broker) as connection:
            connection.send(
                wire.pack(
                    wire.OPEN, {"v": 1, "port": pty.path, "device": device(pty.path), "program": "x", "urgent": True}
                )
            )
            assert isinstance(wire.error_of(connection.recv(1000)), NotPermitted)
        # The port itself says what this program may.
        with Board.open(pty.path, keys=Keys(), timeout_s=2.0) as board:
            assert isinstance(board.link.channel, transport.SerialChannel)
    assert any("may not open" in line for line in broker.log)


def test_a_path_that_is_another_device_there_is_not_used(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, dial(broker) as connection:
        body = {"v": wire.VERSION, "port": pty.path, "device": [136, 999], "program": "test"}
        connection.send(wire.pack(wire.OPEN, body))
        assert "another device" in wire.error_of(connection.recv(1000)).words


def test_a_port_that_somebody_else_has_is_busy(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty:
        holder = transport.open_port(pty.path)
        with pytest.raises(PortBusy, match="in use by"):
            transport.open_channel(pty.path)
        holder.close()
        open_board(pty).close()


def test_unplugged_and_plugged_in_again(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty:
        one, other = open_board(pty), open_board(pty)
        one.status()
        pty.unplug()
        for board in (one, other):
            with pytest.raises(Unplugged, match="connection lost"):
                board.status()
        with pytest.raises(BoardNotFound):
            one.reopen()
    with PtyBoard(FakeBoard()) as again, open_board(again) as board:
        assert board.status().mode == "auto"


def test_a_broker_that_ends_in_the_middle(broker: Running) -> None:
    board = FakeBoard()
    with PtyBoard(board) as pty, open_board(pty) as one:
        board.before_answer = lambda op: broker.end() if op == "status" else None
        with pytest.raises(Unplugged, match="the broker of this port has ended"):
            one.status()
        board.before_answer = lambda op: None
        broker.join()
        broker.start()
        one.reopen()
        assert one.status().mode == "auto"
        broker.end()
        wait_for(lambda: _is_free(pty.path))
        one.reopen()  # nobody starts one here: it is the port
        assert isinstance(one.link.channel, transport.SerialChannel)
        assert one.status().mode == "auto"
        one.close()
        broker.start()


def test_a_broker_that_nobody_uses_ends(broker: Running) -> None:
    broker.end()
    broker.start(idle_s=0.05)
    broker.join()


def test_a_lent_port_belongs_to_one_program(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as one:
        with client.borrow(pty.path):
            with pytest.raises(Unplugged, match=r"is lent to .* needs the board for itself"):
                one.status()
            raw = transport.open_port(pty.path)
            with pytest.raises(PortLent, match="is lent to"):
                transport.open_channel(pty.path)
            raw.close()
            # Free for a moment, and still not for others.
            with pytest.raises(PortLent):
                transport.open_channel(pty.path)
            with pytest.raises(PortBusy):
                client.borrow(pty.path)
            state = next(iter(client.states()))[1]
            assert isinstance(state, dict)
            assert state["ports"][0]["state"] == "lent"
        wait_for(lambda: any("given back" in line for line in broker.log))
        one.reopen()
        assert one.status().mode == "auto"


def test_a_port_that_nobody_uses_is_lent_too(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty:
        with client.borrow(pty.path):
            transport.open_port(pty.path).close()
        wait_for(lambda: any("given back" in line for line in broker.log))
        open_board(pty).close()


def test_a_port_that_hangs_while_it_is_opened_harms_no_other(broker: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OPEN_S", 0.2)
    let_go = threading.Event()
    with PtyBoard(FakeBoard()) as pty, PtyBoard(FakeBoard()) as other:
        broker.end()
        opener = transport.open_port

        def hang(path: str) -> transport.Port:
            if path == pty.path:
                let_go.wait(20)
            return opener(path)

        running = server.Server(_listener(broker), idle_s=None, log=broker.log.append, opener=hang)
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        channel = transport.open_channel(pty.path)
        assert isinstance(channel, transport.SerialChannel)  # the port itself, as the broker does not answer for it
        channel.close()
        with open_board(other) as board:
            assert board.status().mode == "auto"
        let_go.set()
        running.stop()
        thread.join(10)
        broker.start()


def _listener(broker: Running) -> socket.socket:
    from heartwire.broker import places

    return places.listen(broker.place)


def test_a_board_that_says_nothing(broker: Running) -> None:
    board = FakeBoard()
    with PtyBoard(board) as pty:
        board.silent = True
        with pytest.raises(NoAnswer, match="no answer within"):
            Board.open(pty.path, keys=Keys(), timeout_s=0.3)


def test_a_prompt_is_recognised_through_a_broker(broker: Running) -> None:
    class Prompt(FakeBoard):
        def receive(self, data: bytes) -> bytes:
            return b"\r\nMicroPython v1.24.0\r\n>>> "

    with PtyBoard(Prompt()) as pty, pytest.raises(NoAnswer, match="MicroPython answers"):
        Board.open(pty.path, keys=Keys(), timeout_s=0.3)


def test_settings_are_changed_by_one_program_at_a_time(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as one, open_board(pty) as other:
        one.link.request("settings_begin", length=1, crc=0)
        with pytest.raises(Refused, match="is changing the settings"):
            other.link.request("settings_begin", length=1, crc=0)
        assert other.status().mode == "auto"


def test_what_the_broker_shows(broker: Running) -> None:
    with PtyBoard(FakeBoard()) as pty, open_board(pty) as one:
        one.status()
        place, state = next(iter(client.states()))
        assert place == broker.place
        assert isinstance(state, dict)
        (port,) = state["ports"]
        assert (port["port"], port["state"]) == (pty.path, "open")
        (session,) = port["sessions"]
        assert session["pid"] == os.getpid()
        assert session["requests"] >= 1
        broker.allowed = lambda caller, path: False
        assert next(iter(client.states()))[1]["ports"] == []  # type: ignore[index]


def test_a_request_out_of_turn_never_reaches_the_board(broker: Running) -> None:
    board = FakeBoard()
    asked: list[str] = []
    board.before_answer = asked.append
    with PtyBoard(board) as pty, open_board(pty) as other:
        with enter(broker, pty) as rude:
            rude.send(wire.FRAME + request("fence"))
            assert rude.recv(10) == wire.LOST
        other.status()
    assert asked == ["status"]
