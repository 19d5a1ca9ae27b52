"""Two monitors: one notification, and the survivor's where the other cannot."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from heartwire.errors import StorageProblem
from heartwire.monitor import peer, run
from heartwire.monitor.courier import Outcome
from heartwire.monitor.dispatch import Partner
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.peer import PATIENCE, Other, Unreachable, _answer, asker
from heartwire.monitor.settings import BoardSettings, MonitorSettings, PeerSettings
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import FakeBoard
from tests.unit.monitor.conftest import hasty
from tests.unit.monitor.helpers import Clock, PaperCourier, World, channel

TAKEOVER_S = 5.0
CHANNELS = frozenset({"mail"})


class Pair:
    """Two monitors of one board; `cut` breaks the way between them, `dead` holds the ranks that do not run."""

    def __init__(self, board: FakeBoard, stores: Sequence[Store]) -> None:
        self.board = board
        self.cut = False
        self.dead: set[int] = set()
        self.clock = Clock()
        self.stores = stores
        board.log(events.BOOT)
        self.worlds = {rank: self.make(rank) for rank in (1, 2)}
        self.collect()
        self.pass_time(0.5)

    def make(self, rank: int) -> World:
        settings = PeerSettings(url="http://x:1", listen="x:1", rank=rank, takeover_s=TAKEOVER_S)

        def ask(name: str, subjects: Sequence[str], claim: Sequence[str]) -> dict[str, str]:
            other = 3 - rank
            if self.cut or other in self.dead:
                raise Unreachable("cut")
            body = {"channel": name, "subjects": list(subjects), "claim": list(claim)}
            return _answer(self.worlds[other].outbox, CHANNELS, body)

        def partner(outbox: Outbox) -> Partner:
            return Other(settings, outbox, ask, Log(io.StringIO()), clock=self.clock)

        return World(self.stores[rank - 1], self.board, [channel()], partner=partner, clock=self.clock)

    def collect(self) -> None:
        for rank, world in self.worlds.items():
            if rank not in self.dead:
                world.collect()

    def pass_time(self, seconds: float) -> None:
        """Let both work side by side, in steps of 0.5 s."""
        end = self.clock.now_s + seconds
        while self.clock.now_s < end:
            for rank, world in self.worlds.items():
                while rank not in self.dead and world.postmen[0].step() == 0.0:
                    pass
            self.clock.now_s += 0.5

    def told(self, rank: int) -> int:
        return len(self.worlds[rank].courier.sent)


@pytest.fixture
def pair(board: FakeBoard, tmp_path: Path) -> Iterator[Pair]:
    with hasty(Store.open(tmp_path / "1.db")) as first, hasty(Store.open(tmp_path / "2.db")) as second:
        yield Pair(board, (first, second))


def dies(pair: Pair) -> None:
    pair.board.log(events.DEAD, 0, 1, a=2000)
    pair.collect()


def test_both_alive_the_first_tells_and_the_second_knows(pair: Pair) -> None:
    dies(pair)
    pair.pass_time(60)
    assert (pair.told(1), pair.told(2)) == (1, 0)
    assert pair.worlds[2].outbox.waiting("mail") == []


def test_the_second_tells_after_takeover_if_the_first_is_dead(pair: Pair) -> None:
    pair.dead.add(1)
    dies(pair)
    pair.pass_time(TAKEOVER_S - 1)
    assert pair.told(2) == 0
    pair.pass_time(3)
    assert pair.told(2) == 1
    # The first comes back, reads the same event, and finds that it was told.
    pair.dead.clear()
    pair.worlds[1] = pair.make(1)
    pair.collect()
    pair.pass_time(60)
    assert (pair.told(1), pair.told(2)) == (1 - 1, 1)


def test_a_first_that_died_with_a_message_waiting_asks_before_it_tells(pair: Pair) -> None:
    pair.worlds[1].collect()
    pair.board.log(events.DEAD, 0, 1, a=2000)
    pair.collect()
    pair.dead.add(1)
    pair.pass_time(20)
    assert pair.told(2) == 1
    pair.dead.clear()
    pair.worlds[1] = pair.make(1)
    pair.pass_time(20)
    assert pair.told(1) == 0
    assert pair.worlds[1].outbox.waiting("mail") == []


def test_the_second_claims_what_the_first_cannot_tell(pair: Pair) -> None:
    pair.worlds[1].courier.fate = lambda letter, attempt: Outcome(False, "refused")
    dies(pair)
    pair.pass_time(30)
    assert (pair.told(1), pair.told(2)) == (0, 1)
    pair.worlds[1].courier.fate = lambda letter, attempt: Outcome(True)
    pair.pass_time(100)
    assert (pair.told(1), pair.told(2)) == (0, 1)
    assert pair.worlds[1].outbox.counts().get("mail", {}) == {}


def test_a_claim_of_what_the_first_has_not_seen_yet_binds_it(pair: Pair) -> None:
    pair.board.log(events.DEAD, 0, 1, a=2000)
    pair.worlds[2].collect()  # the first has lost its way to the board
    pair.pass_time(30)
    assert pair.told(2) == 1
    pair.worlds[1].collect()
    pair.pass_time(60)
    assert pair.told(1) == 0


def test_what_was_ceded_to_one_that_then_died_is_taken_back(pair: Pair) -> None:
    pair.worlds[1].courier.fate = lambda letter, attempt: Outcome(False, "refused")
    pair.worlds[2].courier.fate = lambda letter, attempt: Outcome(False, "refused")
    dies(pair)
    pair.pass_time(12)
    assert [mention.state for mention in pair.worlds[1].outbox.waiting("mail")] == ["ceded"]
    pair.dead.add(2)
    pair.worlds[1].courier.fate = lambda letter, attempt: Outcome(True)
    pair.pass_time(TAKEOVER_S)
    assert pair.told(1) == 0
    pair.pass_time(PATIENCE * TAKEOVER_S + 5)
    assert pair.told(1) == 1


def test_cut_from_each_other_both_tell_and_nothing_is_silent(pair: Pair) -> None:
    pair.cut = True
    dies(pair)
    pair.pass_time(60)
    assert (pair.told(1), pair.told(2)) == (1, 1)  # the documented limit: silence would be worse


def test_what_is_being_sent_is_not_ceded(pair: Pair) -> None:
    dies(pair)
    first = pair.worlds[1]
    states: list[str] = []

    def slow(letter: object, attempt: int) -> Outcome:
        subjects = [mention.subject for mention in pair.worlds[2].outbox.waiting("mail")]
        states.extend(first.outbox.cede("mail", subjects).values())
        return Outcome(True)

    first.courier.fate = slow
    pair.pass_time(20)
    assert states == ["sending"]
    assert (pair.told(1), pair.told(2)) == (1, 0)


KEY, WRONG = b"k" * 32, b"w" * 32


@pytest.fixture
def listener(store: Store, board: FakeBoard) -> Iterator[tuple[World, Callable[[bytes], str]]]:
    """Return a monitor that listens, and a function from a key to its address."""
    board.log(events.BOOT)
    world = World(store, board, [channel()])
    world.collect()
    found = peer.server(PeerSettings(listen="127.0.0.1:0"), KEY, world.outbox, ["mail"])
    found.start()
    yield world, lambda key: f"http://127.0.0.1:{found.port}"
    found.close()


def test_over_the_network_the_right_key_is_answered(listener: tuple[World, Callable[[bytes], str]]) -> None:
    world, url = listener
    world.board.log(events.DEAD, 0, 1, a=2000)
    world.collect()
    (mention,) = world.outbox.waiting("mail")
    ask = asker(url(KEY), KEY)
    assert ask("mail", [mention.subject], []) == {mention.subject: "waiting"}
    assert ask("other", [mention.subject], [mention.subject]) == {mention.subject: "none"}
    world.post()
    assert ask("mail", [mention.subject], []) == {mention.subject: "sent"}


def test_over_the_network_a_wrong_key_moves_nothing(listener: tuple[World, Callable[[bytes], str]]) -> None:
    world, url = listener
    world.board.log(events.DEAD, 0, 1, a=2000)
    world.collect()
    (mention,) = world.outbox.waiting("mail")
    with pytest.raises(Unreachable):
        asker(url(KEY), WRONG)("mail", [], [mention.subject])
    assert world.outbox.waiting("mail")[0].state == "waiting"
    with pytest.raises(Unreachable):
        asker("http://127.0.0.1:1", KEY)("mail", [], [])


def test_the_watch_tells_once_that_the_other_is_gone_and_once_that_it_is_back() -> None:
    clock = Clock()
    here = [True]
    told: list[bool] = []
    troubles = [StorageProblem("disk full")]

    def ask(name: str, subjects: Sequence[str], claim: Sequence[str]) -> dict[str, str]:
        if not here[0]:
            raise Unreachable("URLError")
        return {}

    def tell(gone: bool, words: str) -> None:
        if gone and troubles:
            raise troubles.pop()
        told.append(gone)
        assert words == ("the other monitor does not answer for 70 s: URLError" if gone else words)

    watch = peer.Watch(ask, tell, clock=clock)
    assert not watch.reachable
    assert watch.step() == peer.WATCH_S
    assert watch.reachable and told == [False]
    here[0] = False
    for _ in range(6):
        watch.step()
        clock.now_s += peer.WATCH_S
    assert not watch.reachable and told == [False]  # a restart takes no minute
    with pytest.raises(StorageProblem):
        watch.step()
    clock.now_s += peer.WATCH_S
    watch.step()
    watch.step()
    here[0] = True
    watch.step()
    watch.step()
    assert told == [False, True, False]


def test_people_hear_that_the_other_monitor_is_gone(
    tmp_path: Path, listener: tuple[World, Callable[[bytes], str]]
) -> None:
    _, url = listener
    key = tmp_path / "peer.key"
    key.write_text(KEY.hex() + "\n")
    key.chmod(0o600)
    settings = MonitorSettings(
        store=str(tmp_path / "m.db"),
        metrics="",
        gather_ms=0,
        board=(BoardSettings(name="rack-1", port="/no"),),
        channel=(channel(),),
        peer=PeerSettings(url="http://127.0.0.1:1", listen="127.0.0.1:0", key_file=key),
    )
    courier = PaperCourier()
    monitor = run.Monitor(settings, stream=io.StringIO(), courier=courier)
    clock = Clock()
    try:
        assert monitor.watch is not None

        def told() -> list[str]:
            before = len(courier.sent)
            for _ in range(3):
                monitor.postmen[0].step()
            return [f"{letter.title}\n{letter.body}" for letter in courier.sent[before:]]

        monitor.watch._clock = clock
        for _ in range(8):
            monitor.watch.step()
            clock.now_s += peer.WATCH_S
        (words,) = told()
        assert words.startswith("WARNING monitor: the other monitor does not answer for 60 s")
        assert "Start the other monitor" in words
        assert monitor._facts()["peer_reachable"] == 0
        # It is still known after a restart of this one, so it is not told again; and it is told that it is back.
        monitor.watch = peer.Watch(asker(url(KEY), KEY), monitor._tell_of_partner)
        monitor.watch.step()
        (words,) = told()
        assert words.startswith("CLEARED monitor: the other monitor answers again")
        assert monitor._facts()["peer_reachable"] == 1
    finally:
        monitor.close()
