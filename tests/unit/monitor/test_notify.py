"""From events to messages: once per event and channel, grouped, retried, cleared, and worded for a person."""

import json
import re

import pytest

from heartwire import manual
from heartwire.errors import StorageProblem
from heartwire.monitor import advice
from heartwire.monitor.courier import Letter, Outcome
from heartwire.monitor.dispatch import RETRY_MOST_S
from heartwire.monitor.query import Reader
from heartwire.monitor.shorten import ENDED
from heartwire.monitor.store import Store
from heartwire_protocol import codes, events, reasons
from tests.fakes.board import FakeBoard
from tests.unit.monitor.helpers import World, channel
from tests.unit.monitor.test_reading import heartwire

WHY = reasons.DEAD


def started(store: Store, board: FakeBoard, *channels: object, **options: object) -> World:
    """Return a world that has met its board."""
    board.log(events.BOOT)
    world = World(store, board, channels or (channel(),), **options)  # type: ignore[arg-type]
    world.collect()
    world.post(0)
    return world


def spoken_of(letter: Letter) -> int:
    """Return how many events a message is about."""
    return 1 + (int(letter.title.rpartition("(and ")[2].split()[0]) if "(and " in letter.title else 0)


def test_every_event_of_the_contract_has_its_advice() -> None:
    missing = {row[1] for row in events.EVENTS} - set(advice.ADVICE)
    assert not missing, "give each a row in heartwire.monitor.advice"
    assert set(advice.ADVICE) <= {row[1] for row in events.EVENTS}
    opened = {row.opens for row in advice.ADVICE.values() if row.opens}
    closed = {kind for row in advice.ADVICE.values() for kind in row.closes}
    assert opened == closed
    for name, row in advice.ADVICE.items():
        assert row.do.endswith("."), name
        assert not row.why.endswith("."), name
        if events.ALARM in {found[2] for found in events.EVENTS if found[1] == name}:
            assert row.do != "Nothing.", f"{name} is an alarm: say what to do"


@pytest.mark.parametrize(
    ("number", "command"),
    [(events.OFF_FAILED, "fence-failed"), (events.APPROVAL_ASKED, "approval"), (events.RELAY_SUSPECT, "relay-suspect")],
)
def test_a_message_names_the_steps_of_its_alarm(store: Store, board: FakeBoard, number: int, command: str) -> None:
    world = started(store, board)
    board.log(number, 0, reasons.STILL_ON, a=1)
    world.collect()
    (letter,) = world.post()
    assert f"All steps: `heartwire help {command}`." in letter.body
    assert manual.part_named(command)


def test_what_is_over_names_no_steps(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.RELAY_SUSPECT, 0, reasons.STILL_ON, a=1)
    world.collect()
    world.post()
    board.log(events.OFF_PROVEN, 0, a=410)
    world.collect()
    (letter,) = world.post()
    assert letter.title.startswith("CLEARED")
    assert "heartwire help" not in letter.body


def test_a_message_says_what_why_what_was_done_and_what_to_do(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.LATE, 0, a=600)
    board.log(events.DEAD, 0, WHY, a=2003)
    board.log(events.FENCE_FIRED, 0, WHY, a=1, b=2004)
    board.log(events.OFF_PROVEN, 0, a=410)
    board.log(events.GRANTED, 1, reasons.FENCE_PROVEN, a=8, b=2500)
    world.collect()
    (letter,) = world.post()
    assert letter.severity == "alarm"
    assert letter.title.startswith("ALARM rack-1: b (beta) is active with epoch 8")
    parts = {part.partition(":")[0]: part for part in letter.body.split("\n\n")}
    assert "b (beta) is active with epoch 8" in parts["What happened"]
    told = json.loads(json.dumps(letter.as_json()))
    assert (told["board"], told["node"], told["event"], told["epoch"]) == ("rack-1", "b", "granted", 8)
    assert [(one["event"], one["node"], one["epoch"]) for one in told["events"]] == [
        ("late", "a", None), ("dead", "a", None), ("fence_fired", "a", None), ("granted", "b", 8),
    ]  # fmt: skip
    assert told["sequence"] == told["events"][-1]["sequence"] and told["board_id"] == told["events"][0]["board_id"]
    assert "no good heartbeat for dead_ms; then: the node was proven off" in parts["Why"]
    done = parts["What the board did"].splitlines()
    assert [words in line for words, line in zip(("fired", "proven off", "active"), done[-3:], strict=True)] == [
        True
    ] * 3
    assert "Check that the services answer" in parts["What to do now"]
    assert "heartwire clear" in parts["What to do now"]
    assert parts["What to do now"].endswith("All steps: `heartwire help fenced`.")
    assert "records 2 to 6" in parts["Board rack-1, records 2 to 6. Told by the monitor on here."]


def test_each_event_goes_to_each_channel_once_by_severity_and_board(store: Store, board: FakeBoard) -> None:
    world = started(
        store, board, channel("alarms", severity="alarm"), channel("all", severity="info"), channel("x", boards=("y",))
    )
    board.log(events.LATE, 0, a=600)
    world.collect()
    world.post(5)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    world.post(5)
    world.collect()
    World(store, board, [channel("alarms", severity="alarm")], courier=world.courier).post(5)
    titles = sorted(letter.title.split(":")[0] for letter in world.courier.sent)
    assert titles == ["ALARM rack-1", "ALARM rack-1", "WARNING rack-1"]


def test_an_event_is_told_at_once_and_what_follows_at_once_is_in_it(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    assert world.post(0.2) == []
    board.log(events.FENCE_FIRED, 0, WHY, a=1, b=2000)
    world.collect()
    (letter,) = world.post(0.2)
    assert "(and 1 more)" in letter.title


def test_a_storm_is_grouped_and_nothing_of_it_is_lost(store: Store, board: FakeBoard) -> None:
    world = started(store, board, channel(burst=3, refill_s=30))
    for _ in range(50):
        board.log(events.LATE, 0, a=600)
        world.collect()
        world.post(1)
    assert len(world.courier.sent) == 3 + 1
    world.post(60)
    assert len(world.courier.sent) <= 3 + 3
    more = [
        int(letter.title.rpartition("(and ")[2].split()[0]) if "(and " in letter.title else 0
        for letter in world.courier.sent
    ]
    assert sum(more) + len(more) == 50


@pytest.mark.parametrize("ends_well", [True, False])
def test_the_last_message_of_a_storm_says_how_it_ended(store: Store, board: FakeBoard, ends_well: bool) -> None:
    """Also to a channel that hears of no end of anything."""
    world = started(store, board, channel(burst=2, refill_s=30, severity="warning", cleared=False))
    for number in range(40):
        board.log(events.DEAD, 0, WHY, a=2000)
        if ends_well or number < 39:
            board.log(events.GOOD_AGAIN, 0, a=2000)
        world.collect()
        world.post(1)
    world.post(120)
    last = world.courier.sent[-1]
    assert "more)" in last.title
    assert ("; over now" in last.title) is ends_well
    (line,) = [line for line in last.body.splitlines() if line.startswith(ENDED)]
    assert ("nothing of it stands open" in line) is ends_well
    assert ("open: a (alpha): silent" in line or "open: a: silent" in line) is not ends_well


def test_many_boards_in_a_storm_share_one_message(store: Store) -> None:
    channels = [channel(burst=2, refill_s=30)]
    worlds = []
    for number in range(4):
        fake = FakeBoard()
        fake.log(events.BOOT)
        world = World(store, fake, channels, name=f"rack-{number}")
        world.source.board_id = f"AA{number:014}"
        world.collect()
        fake.log(events.DEAD, 0, WHY, a=2000 + number)
        world.collect()
        worlds.append(world)
    (letter,) = worlds[0].post(1)
    assert "4 boards" in letter.title
    for number in range(4):
        assert f"rack-{number}" in letter.body


def test_a_degraded_server_is_a_problem_until_it_says_otherwise(store: Store, board: FakeBoard) -> None:
    world = started(store, board, channel(severity="warning"))
    board.log(events.STATE_REPORTED, 1, a=codes.STATE_DEGRADED)
    world.collect()
    (letter,) = world.post(2)
    assert letter.title == "WARNING rack-1: b (beta) reports degraded, flags none"
    assert "heartwire agent doctor" in letter.body
    reader = Reader(store)
    assert [(row["kind"], row["node"]) for row in reader.problems()] == [("degraded", codes.NODE_B)]
    board.log(events.STATE_REPORTED, 0, a=codes.STATE_HEALTHY)
    world.collect()
    assert world.post(2) == [] and reader.problems()
    board.log(events.STATE_REPORTED, 1, a=codes.STATE_HEALTHY)
    world.collect()
    (letter,) = world.post(2)
    assert letter.title.startswith("CLEARED rack-1: b (beta) reports healthy")
    assert "agent doctor" not in letter.body
    assert reader.problems() == []


def test_cleared_is_told_to_those_who_were_told(store: Store, board: FakeBoard) -> None:
    world = started(store, board, channel("warnings"), channel("alarms", severity="alarm"), channel("q", cleared=False))
    board.log(events.LATE, 0, a=600)
    world.collect()
    world.post(2)
    assert len(world.courier.sent) == 2
    board.log(events.GOOD_AGAIN, 0, a=900)
    world.collect()
    world.post(2)
    last = world.courier.sent[2:]
    assert [letter.severity for letter in last] == ["cleared"]
    assert last[0].title.startswith("CLEARED rack-1: a (alpha) is good again")
    board.log(events.GOOD_AGAIN, 0, a=900)
    world.collect()
    assert world.post(2) == []


def test_a_failing_channel_is_retried_ever_slower_and_gets_few_messages(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    world.courier.fate = lambda letter, attempt: Outcome(False, "the server answered 503")
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    world.post(10)
    assert 3 <= len(world.courier.attempts) <= 5
    for _ in range(100):
        board.log(events.DEAD, 0, WHY, a=2000)
        world.collect()
        world.post(36)
    assert len(world.courier.attempts) < 250
    assert world.outbox.counts()["mail"] == {"pending": 1}
    world.courier.fate = lambda letter, attempt: Outcome(True)
    world.post(2 * RETRY_MOST_S)
    assert world.outbox.counts()["mail"] == {"sent": 1}
    assert spoken_of(world.courier.sent[0]) == 101


def test_a_message_that_is_refused_for_ever_does_not_keep_the_others(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    world.courier.fate = lambda letter, attempt: Outcome("half-way" in letter.body, "half-way", unsure=True)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    world.post(5)
    poison = world.courier.attempts[0][0]
    world.courier.fate = lambda letter, attempt: Outcome(letter.uid != poison, "refused", unsure=True)
    board.log(events.DEAD, 0, WHY, a=2001)
    world.collect()
    assert len(world.post(60)) == 1
    assert world.outbox.counts()["mail"] == {"pending": 1, "sent": 1}


def test_one_channel_that_fails_does_not_keep_another(store: Store, board: FakeBoard) -> None:
    world = started(store, board, channel("bad"), channel("good"))
    fates = iter(lambda: None, 0)

    def fate(letter: Letter, attempt: int) -> Outcome:
        next(fates)
        row = next(row for row in world.outbox.latest() if row["uid"] == letter.uid)
        return Outcome(row["channel"] == "good", "no")

    world.courier.fate = fate
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    assert len(world.post(5)) == 1


def test_a_clock_that_jumps_back_delays_no_retry(
    store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heartwire.monitor import outbox
    from heartwire.monitor import store as store_module

    world = started(store, board)
    world.courier.fate = lambda letter, attempt: Outcome(attempt > 1, "no")
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    day_ms = 86_400_000
    monkeypatch.setattr(outbox, "now_ms", lambda: store_module.now_ms() - day_ms)
    assert len(world.post(5)) == 1


def test_an_attempt_that_outlived_its_monitor_is_waited_for_and_not_repeated(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()

    def killed(letter: Letter, attempt: int) -> Outcome:
        raise KeyboardInterrupt

    world.courier.fate = killed
    with pytest.raises(KeyboardInterrupt):
        world.post()
    uid = world.courier.attempts[0][0]
    again = World(store, board, [channel()])
    again.courier.recalled[uid, 1] = Outcome(False, "still being sent", busy=True)
    assert again.post(3) == []
    again.courier.recalled[uid, 1] = Outcome(True)
    assert again.post(3) == []
    assert again.courier.attempts == []
    assert again.outbox.counts()["mail"] == {"sent": 1}
    assert again.courier.forgotten == [(uid, 1)]


def test_what_may_have_gone_out_is_sent_again_under_the_same_id_and_says_so(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    world.courier.fate = lambda letter, attempt: Outcome(attempt == 2, "half-way", unsure=attempt == 1)
    world.post(5)
    assert len({uid for uid, _ in world.courier.attempts}) == 1
    assert world.outbox.latest()[0]["unsure"]


def test_a_store_that_fails_is_an_error_and_the_message_goes_out_later(
    store: Store, board: FakeBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = started(store, board)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()

    def broken(number: int) -> int:
        raise StorageProblem("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.outbox, "begin", broken)
        with pytest.raises(StorageProblem):
            world.post()
    assert world.courier.attempts == []
    assert len(world.post(5)) == 1


def test_the_outbox_says_when_it_told_and_since_when_it_waits(store: Store, board: FakeBoard) -> None:
    world = started(store, board)
    board.log(events.DEAD, 0, WHY, a=2000)
    world.collect()
    world.courier.fate = lambda letter, attempt: Outcome(False, "the server answered 503")
    world.post(1)
    path = str(store.engine.url.database)
    (line,) = heartwire("monitor", "outbox", "--store", path).output.splitlines()
    assert re.match(r"mail: pending 20\d\d-\d\d-\d\dT\S+Z \(1 attempts: the server answered 503\): ALARM rack-1", line)
    world.courier.fate = lambda letter, attempt: Outcome(True)
    world.post(60)
    (line,) = heartwire("monitor", "outbox", "--store", path).output.splitlines()
    assert re.match(r"mail: sent 20\d\d-\d\d-\d\dT\S+Z: ALARM rack-1", line)
