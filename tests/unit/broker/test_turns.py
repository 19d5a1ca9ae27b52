"""Whose turn it is: sessions that meet at one board, with a clock by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartwire.broker import turns, wire
from heartwire.broker.turns import NoFrame, Session, Turns
from heartwire_protocol import framing, messages
from tests.unit.broker.frames import event, frame, hello, request, response, welcome


class Desk:
    """Turns, what went to the board, and the time."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.now = 1000.0
        self.turns = Turns(self.sent.append)

    def come(self, program: str, urgent: bool = False) -> Guest:
        return Guest(self, program, urgent)

    def hear(self, *frames: bytes) -> None:
        for data in frames:
            self.turns.heard(data, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass; turns are asked again when they said, and at the end."""
        end = self.now + seconds
        while (due := self.turns.step(self.now)) is not None and due <= end:
            self.now = max(due, self.now + 1e-6)
        self.now = end
        self.turns.step(self.now)


class Guest:
    """One program."""

    def __init__(self, desk: Desk, program: str, urgent: bool) -> None:
        self.desk = desk
        self.got: list[bytes] = []
        self.session = Session(program, self.got.append, urgent=urgent)
        desk.turns.join(self.session)

    def want(self, operation: str) -> bytes | None:
        """Ask for a turn; return the answer if it came at once."""
        self.got.clear()
        self.desk.turns.want(self.session, operation, self.desk.now)
        return self.got[0] if self.got else None

    def send(self, data: bytes) -> None:
        self.desk.turns.take(self.session, data, self.desk.now)

    def greet(self) -> None:
        """Have a session with the board."""
        assert self.want("") is not None
        self.send(hello())
        self.desk.hear(welcome())

    def ask(self, operation: str, number: int = 1) -> None:
        """Have a request at the board."""
        assert self.want(operation) in (wire.KEPT, wire.ANEW)
        if self.got == [wire.ANEW]:
            self.send(hello())
            self.desk.hear(welcome())
        self.send(request(operation, number))

    def leave(self) -> None:
        self.desk.turns.leave(self.session, self.desk.now)

    @property
    def data(self) -> bytes:
        return b"".join(message[1:] for message in self.got if message[:1] == wire.DATA)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_lone_program_asks_and_is_answered(desk: Desk) -> None:
    one = desk.come("one")
    assert one.want("") == wire.ANEW
    one.send(hello())
    desk.hear(welcome())
    assert one.data == welcome()
    assert one.want("status") == wire.KEPT
    one.send(request("status", 7))
    desk.hear(response(7))
    assert one.data == response(7)
    assert desk.sent == [hello(), request("status", 7)]


def test_each_program_says_hello_itself_where_another_has_been_in_between(desk: Desk) -> None:
    one, other = desk.come("one"), desk.come("other")
    one.ask("status")
    assert other.want("status") is None
    desk.hear(response())
    desk.wait(2 * turns.THINK_S)
    assert other.got == [wire.ANEW]
    other.send(hello())
    desk.hear(welcome())
    other.send(request("status"))
    desk.hear(response())
    assert other.data == welcome() + response()
    desk.wait(2 * turns.THINK_S)
    assert one.want("node") == wire.ANEW


def test_a_turn_goes_on_while_its_program_keeps_asking(desk: Desk) -> None:
    one, other = desk.come("one"), desk.come("other")
    one.ask("status")
    other.want("status")
    desk.hear(response())
    assert one.want("node") == wire.KEPT
    assert not other.got


def test_on_a_slow_machine_who_reads_waits_longer_for_the_next_question(desk: Desk) -> None:
    one, other, reader = desk.come("one"), desk.come("other"), desk.come("reader")
    one.ask("status")
    reader.want("log")
    desk.now += 0.06
    desk.hear(response())
    desk.wait(0.05)
    assert not reader.got
    assert one.want("node") == wire.KEPT
    one.send(request("node", 2))
    desk.now += 0.06
    desk.hear(response(2))
    other.want("status")
    desk.wait(turns.THINK_S)
    assert other.got == [wire.ANEW]  # one of the same rank does not
    other.leave()
    desk.wait(turns.THINK_MAX_S)
    assert reader.got == [wire.ANEW]


def test_but_not_for_ever(desk: Desk) -> None:
    one, other = desk.come("one"), desk.come("other")
    one.ask("status")
    other.want("status")
    desk.now += turns.BURST_S
    desk.hear(response())
    assert other.got == [wire.ANEW]
    one.send(request("node"))  # its turn went on, as it thought
    assert one.got[-1] == wire.LOST
    assert request("node") not in desk.sent


def test_a_fence_goes_before_a_page_of_the_log_that_is_under_way(desk: Desk) -> None:
    reader, fence = desk.come("reader"), desk.come("fence", urgent=True)
    reader.ask("log")
    desk.hear(event())
    assert fence.want("") == wire.ANEW
    fence.send(hello())
    # The board sends what it had begun, then its welcome, and no end of that page.
    desk.hear(event()[:20], event()[20:] + welcome())
    assert reader.data == welcome() + event() + event()
    assert reader.got[-1] == wire.LOST
    assert fence.data == welcome()
    fence.send(request("fence", 3))
    desk.hear(response(3))
    assert fence.data == welcome() + response(3)


def test_a_fence_waits_for_nobody_who_has_his_turn_and_does_nothing(desk: Desk) -> None:
    one, fence = desk.come("one"), desk.come("fence_heartwire", urgent=True)
    one.greet()
    assert one.want("switchover") == wire.KEPT
    assert fence.want("") == wire.ANEW
    one.send(request("switchover"))
    assert one.got[-1] == wire.LOST
    assert desk.sent == [hello()]


def test_a_fence_waits_for_an_answer_that_is_no_page(desk: Desk) -> None:
    one, fence = desk.come("one"), desk.come("fence_heartwire", urgent=True)
    one.ask("settings_apply")
    assert fence.want("") is None
    desk.hear(response())
    assert fence.got == [wire.ANEW]


def test_who_goes_first(desk: Desk) -> None:
    busy = desk.come("busy")
    busy.ask("status")
    guests = {
        operation: desk.come(operation) for operation in ("log", "status", "switchover", "fence", "node", "approve")
    }
    for operation, guest in guests.items():
        guest.want(operation)
        desk.now += 0.001
    desk.hear(response())
    order: list[str] = []
    for _ in guests:
        order += [name for name, guest in guests.items() if guest.got and name not in order]
        desk.wait(turns.TURN_S)
    assert order == ["fence", "switchover", "approve", "status", "node", "log"]


def test_a_question_has_a_page_given_up_once(desk: Desk) -> None:
    reader, one = desk.come("reader"), desk.come("one")
    reader.ask("log")
    one.ask("status")
    assert wire.LOST in reader.got
    desk.hear(response())
    reader.want("log")
    desk.wait(2 * turns.THINK_S)
    assert reader.got == [wire.ANEW]
    reader.send(hello())
    desk.hear(welcome())
    reader.send(request("log"))
    assert one.want("status") is None
    fence = desk.come("fence_heartwire", urgent=True)
    assert fence.want("") == wire.ANEW
    fence.leave()
    desk.wait(turns.TURN_S)
    one.leave()
    one = desk.come("one")
    reader.ask("log")
    assert one.want("status") is None
    desk.hear(event(), response())
    desk.wait(2 * turns.THINK_S)
    assert one.got == [wire.ANEW]


def test_who_reads_the_log_waits_no_longer_than_a_second_behind_questions(desk: Desk) -> None:
    one, reader = desk.come("one"), desk.come("reader")
    one.ask("status")
    reader.want("log")
    for number in range(1, 40):
        desk.now += 0.05
        desk.hear(response(number))
        if reader.got:
            break
        one.ask("status", number + 1)
    assert reader.got


def test_readers_that_wait_for_each_other_do_not_go_before_a_question(desk: Desk) -> None:
    first, second, third, one = (desk.come(name) for name in ("first", "second", "third", "one"))
    first.ask("log")
    second.want("log")
    third.want("log")
    desk.now += 0.4
    desk.hear(response())
    first.ask("log", 2)
    desk.now += 0.4
    desk.hear(response(2))
    assert second.got == [wire.ANEW]
    second.send(hello())
    desk.hear(welcome())
    second.send(request("log"))
    desk.now += 0.4
    assert desk.now - third.session.since > turns.AGE_S
    assert one.want("status") == wire.ANEW
    assert not third.got


def test_readers_take_turns(desk: Desk) -> None:
    readers = [desk.come(f"reader {number}") for number in range(5)]
    pages = dict.fromkeys(readers, 0)
    for reader in readers:
        reader.want("log")
    for _ in range(200):
        turn = [one for one in readers if one.got[-1:] in ([wire.KEPT], [wire.ANEW])]
        if not turn:
            desk.wait(turns.THINK_S)
            continue
        reader = turn[0]
        if reader.got[-1] == wire.ANEW:
            reader.send(hello())
            desk.hear(welcome())
        reader.send(request("log"))
        desk.now += 0.1
        desk.hear(event(), response())
        pages[reader] += 1
        reader.want("log")
    assert min(pages.values()) >= 0.7 * max(pages.values()) > 10


def test_a_program_that_stops_in_its_turn_loses_it(desk: Desk) -> None:
    stuck, one = desk.come("stuck"), desk.come("one")
    stuck.want("")
    assert one.want("") is None
    desk.wait(turns.TURN_S)
    assert one.got == [wire.ANEW]
    stuck.send(hello())
    assert stuck.got[-1] == wire.LOST
    assert desk.sent == []


@pytest.mark.parametrize(("operation", "limit_s"), [("log", 0.0), ("switchover", turns.ANSWER_S), ("", turns.HELLO_S)])
def test_who_goes_away_with_something_at_the_board(desk: Desk, operation: str, limit_s: float) -> None:
    leaver, one = desk.come("leaver"), desk.come("one")
    if operation:
        leaver.ask(operation)
    else:
        leaver.want("")
        leaver.send(hello())
    leaver.leave()
    one.want("")
    if limit_s:
        assert not one.got
        desk.wait(limit_s + 0.01)
    assert one.got == [wire.ANEW]
    one.send(hello())
    desk.hear(response(), welcome())  # the late answer goes to nobody
    assert one.data == welcome()


def test_the_next_one_goes_as_soon_as_the_answer_to_who_left_is_there(desk: Desk) -> None:
    leaver, one = desk.come("leaver"), desk.come("one")
    leaver.ask("switchover")
    leaver.leave()
    one.want("")
    desk.hear(response())
    assert one.got == [wire.ANEW]
    assert one.data == b""


def test_a_late_answer_still_goes_to_who_asked(desk: Desk) -> None:
    slow, one = desk.come("slow"), desk.come("one")
    slow.ask("switchover", 5)
    one.want("")
    desk.wait(turns.ANSWER_S + 0.01)
    one.send(hello())
    desk.hear(response(5) + welcome())
    assert slow.data.endswith(response(5))
    assert one.data == welcome()


def test_an_answer_with_another_number_goes_to_nobody(desk: Desk) -> None:
    one = desk.come("one")
    one.ask("status", 5)
    one.got.clear()
    desk.hear(response(4))
    assert one.got == []
    desk.hear(response(5))
    assert one.data == response(5)


def test_a_program_that_gave_up_says_hello_in_its_own_turn(desk: Desk) -> None:
    one = desk.come("one")
    one.ask("status", 5)
    assert one.want("") == wire.ANEW
    one.send(hello())
    desk.hear(welcome())
    assert one.data == welcome()


def test_what_is_no_frame_is_told_to_who_says_hello(desk: Desk) -> None:
    one = desk.come("one")
    one.want("")
    one.send(hello())
    desk.hear(b"MicroPython v1.24\r\n>>> ")
    assert one.data == b"MicroPython v1.24\r\n>>> "


def test_nobody_hears_anothers_piece_of_an_answer(desk: Desk) -> None:
    one, other = desk.come("one"), desk.come("other", urgent=True)
    one.ask("log")
    other.want("")
    other.send(hello())
    whole = event() + welcome()
    for at in range(len(whole)):
        desk.hear(whole[at : at + 1])
    assert other.data == welcome()


def test_one_program_at_a_time_changes_the_settings(desk: Desk) -> None:
    one, other = desk.come("heartwire config"), desk.come("other")
    one.ask("settings_begin")
    desk.hear(response())
    desk.wait(turns.THINK_S)
    other.ask("settings_put")
    assert other.got[-1][:1] == wire.REFUSED
    assert "heartwire config is changing the settings" in wire.error_of(other.got[-1]).words
    assert request("settings_put") not in desk.sent
    desk.wait(turns.TURN_S)
    one.ask("settings_confirm")
    desk.hear(response())
    desk.wait(turns.THINK_S)
    other.ask("settings_put")
    assert request("settings_put") in desk.sent


@pytest.mark.parametrize("end", [lambda one: one.leave(), lambda one: one.desk.wait(turns.CHANGE_S)])
def test_a_change_of_settings_that_is_left_alone_is_over(desk: Desk, end: Callable[[Guest], None]) -> None:
    one, other = desk.come("one"), desk.come("other")
    one.ask("settings_begin")
    desk.hear(response())
    end(one)
    desk.wait(turns.TURN_S)
    other.ask("settings_begin")
    assert other.got[-1][:1] != wire.REFUSED


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"\0", b"hello", hello() * 2, hello() + b"\0", hello()[:-2], frame(messages.HEARTBEAT), welcome(),
        framing.encode(messages.REQUEST, b"short"), frame(messages.REQUEST, b"[" * 400), frame(messages.REQUEST, b"{}"),
        frame(messages.REQUEST, b'{"op":3}'), frame(messages.REQUEST, b'{"op":""}'), frame(messages.REQUEST, b"\xff"),
    ],
)  # fmt: skip
def test_what_is_not_one_frame_never_gets_to_the_board(desk: Desk, junk: bytes) -> None:
    one = desk.come("one")
    one.greet()
    one.want("status")
    with pytest.raises(NoFrame):
        one.send(junk)
    assert desk.sent == [hello()]


def test_a_second_request_before_the_answer_is_refused(desk: Desk) -> None:
    one = desk.come("one")
    one.ask("status")
    with pytest.raises(NoFrame):
        one.send(request("fence", 2))
    assert desk.sent[-1] == request("status")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([welcome(), event(), response(), b"\0"])), max_size=8)
)
def test_nothing_that_a_board_says_harms(pieces: list[bytes]) -> None:
    desk = Desk()
    one, other = desk.come("one"), desk.come("other", urgent=True)
    one.want("")
    one.send(hello())
    for piece in pieces:
        desk.hear(piece)
        other.want("")
        desk.wait(0.3)
    other.want("")
    desk.wait(5.0)
    assert other.got[-1] in (wire.KEPT, wire.ANEW)
    other.send(hello())
    desk.hear(welcome())
    assert welcome() in other.data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=700))
def test_nothing_that_a_program_says_harms(junk: bytes) -> None:
    desk = Desk()
    one = desk.come("one")
    one.greet()
    with pytest.raises(NoFrame):
        one.send(junk)
    assert one.want("status") == wire.KEPT
