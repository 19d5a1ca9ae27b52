"""A world for the monitor without threads, sleeps or processes: clock by hand, board in memory, courier on paper."""

import io
from collections.abc import Callable, Collection, Sequence

from heartwire.answers import LogPage, NodeStatus, Status
from heartwire.errors import HeartwireError, Unplugged
from heartwire.monitor.archive import Archive
from heartwire.monitor.collect import Collector
from heartwire.monitor.compose import Composer
from heartwire.monitor.courier import Letter, Outcome
from heartwire.monitor.dispatch import Partner, Postman
from heartwire.monitor.log import Log
from heartwire.monitor.outbox import Outbox
from heartwire.monitor.routing import Router
from heartwire.monitor.settings import BoardSettings, ChannelSettings, MonitorSettings
from heartwire.monitor.sources import Identity
from heartwire.monitor.store import Store
from heartwire_protocol import events
from tests.fakes.board import BOARD_ID, FakeBoard


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FakeSource:
    """A board in memory, without frames; `fault` is raised by the next call."""

    def __init__(self, board: FakeBoard, board_id: str = BOARD_ID.hex().upper()) -> None:
        self.board = board
        self.board_id = board_id
        self.fault: HeartwireError | None = None
        self.down = False
        self.opened = 0
        self.before_page: Callable[[int], None] = lambda after: None

    def _check(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        if self.down:
            raise Unplugged("fake: connection lost")

    def open(self) -> Identity:
        self._check()
        self.opened += 1
        return Identity(self.board_id, self.board.boot)

    def page(self, after: int) -> tuple[LogPage, tuple[bytes, ...]]:
        self.before_page(after)
        self._check()
        events: list[bytes] = []
        body = self.board._log({"after": after, "count": 16}, events)
        return LogPage.of(body), tuple(events)

    def status(self) -> tuple[Status, list[NodeStatus]] | None:
        self._check()
        nodes = [NodeStatus.of(self.board.node_bodies[name]) for name in ("a", "b")]
        return Status.of({"board_id": self.board_id, **self.board.status}), nodes

    def settings(self) -> str | None:
        self._check()
        return str(self.board.settings.text(show_keys=False))

    def close(self) -> None:
        pass


class PaperCourier:
    """Keeps what it was told to send; `fate` decides what becomes of an attempt."""

    def __init__(self) -> None:
        self.sent: list[Letter] = []
        self.attempts: list[tuple[str, int]] = []
        self.fate: Callable[[Letter, int], Outcome] = lambda letter, attempt: Outcome(True)
        self.recalled: dict[tuple[str, int], Outcome] = {}
        self.forgotten: list[tuple[str, int]] = []

    def send(self, channel: ChannelSettings, letter: Letter, attempt: int) -> Outcome:
        self.attempts.append((letter.uid, attempt))
        outcome = self.fate(letter, attempt)
        if outcome.sent:
            self.sent.append(letter)
        return outcome

    def recall(self, uid: str, attempt: int) -> Outcome:
        return self.recalled.get((uid, attempt), Outcome(False, "never began"))

    def forget(self, uid: str, attempt: int) -> None:
        self.forgotten.append((uid, attempt))

    def warm(self, channel: ChannelSettings) -> None:
        pass

    def close(self) -> None:
        pass

    def sweep(self, keep: Collection[str]) -> None:
        pass


class World:
    """One monitor by hand: `collect()` reads the board, `post()` lets the channels work until they wait."""

    def __init__(
        self,
        store: Store,
        board: FakeBoard,
        channels: Sequence[ChannelSettings],
        *,
        courier: PaperCourier | None = None,
        partner: Callable[[Outbox], Partner] | None = None,
        clock: Clock | None = None,
        name: str = "rack-1",
        claimant: str = "",
    ) -> None:
        self.store = store
        self.board = board
        self.clock = clock or Clock()
        self.courier = courier or PaperCourier()
        self.stream = io.StringIO()
        self.outbox = Outbox(store, claimant)
        self.archive = Archive(store, Router(channels))
        self.source = FakeSource(board)
        settings = MonitorSettings(board=(BoardSettings(name=name, port="fake"),), channel=tuple(channels))
        self.collector = Collector(name, self.source, self.archive, settings, Log(self.stream), clock=self.clock)
        self.postmen = [
            Postman(
                channel,
                self.outbox,
                Composer(store, "here"),
                self.courier,
                Log(self.stream),
                gather_ms=300,
                partner=partner(self.outbox) if partner else None,
                clock=self.clock,
            )
            for channel in channels
        ]

    def collect(self) -> None:
        """Read everything that the board has."""
        while self.collector.step() == 0.0:
            pass

    def post(self, seconds: float = 1.0) -> list[Letter]:
        """Let `seconds` pass for the channels; return what went out meanwhile."""
        before = len(self.courier.sent)
        end = self.clock.now_s + seconds
        while True:
            wait_s = min(postman.step() for postman in self.postmen)
            if wait_s > 0:
                if self.clock.now_s + wait_s > end:
                    self.clock.now_s = end
                    return self.courier.sent[before:]
                self.clock.now_s += wait_s


def goes_on(store: Store, board: FakeBoard) -> None:
    """Let a board go on in a store that is there already, and see that a channel is told of it."""
    world = World(store, board, [channel("other")])
    world.source.board_id = "E660000000000009"  # numbers of its own
    board.log(events.BOOT)
    world.collect()
    board.log(events.DEAD, 0, 1, a=2000)
    world.collect()
    assert len(world.post()) == 1


def channel(name: str = "mail", **options: object) -> ChannelSettings:
    """Return the settings of a channel."""
    return ChannelSettings(name=name, kind="command", command=("true",), **options)  # type: ignore[arg-type]
