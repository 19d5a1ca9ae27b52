"""The board, typed: open it, ask it, command it. The public API of the host side; the CLI and the monitor stand on it.

It turns operations of the contract into methods and their answers into dataclasses. It decides nothing, and it never
repeats a command that must not be repeated (see link). Settings go through heartwire.settings_transfer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from heartwire import journal, settings_transfer, transport
from heartwire import keys as key_files
from heartwire.answers import EPOCH_DAY, Levels, LogPage, NodeStatus, RelayTest, Status
from heartwire.board_id import wanted_id
from heartwire.chain import RESTARTED, ChainChecker, Finding
from heartwire.errors import BoardNotFound, NoAnswer, NotPermitted, PortBusy, Refused, Unplugged
from heartwire.journal import Entry
from heartwire.keys import Keys
from heartwire.link import DEFAULT_TIMEOUT_S, RETRIES, Link
from heartwire_protocol import codes
from heartwire_protocol.settings import Settings

# Records asked for at a time; the contract allows 16.
PAGE = 16
# Records of the first piece when reading back, and of the longest one.
BACK_SPAN = 32
BACK_SPAN_MOST = 512
FOLLOW_INTERVAL_S = 0.5
RECONNECT_INTERVAL_S = 1.0
# A host whose clock is before this has none, and must not set the board's.
OLDEST_WALL_YEAR = 2024


@dataclass(frozen=True)
class Notice:
    """Something about the connection that a reader of `follow` should know; no journal record."""

    words: str


class Board:
    """A board on an open link. Use `with Board.open(...) as board`; programs share it through the broker."""

    own = ""  # a node that cannot be fenced this way: none, over the host link

    def __init__(self, link: Link, reopen: Callable[[], transport.Channel] | None = None) -> None:
        self.link = link
        self._reopen = reopen

    @classmethod
    def open(
        cls,
        address: str | None = None,
        *,
        keys: Keys | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        urgent: bool = False,
        board_id: str | None = None,
    ) -> Self:
        """Open the board at `address` (see ports.resolve) and say hello; `urgent` goes before all other programs.

        Keys default to those of keys.find, `board_id` (the only board that is talked to) to HEARTWIRE_BOARD_ID. Raises
        BoardNotFound, PortBusy, NotPermitted, NoAnswer, ProtocolMismatch, OtherBoard.
        """
        keys = key_files.find(None) if keys is None else keys
        wanted = wanted_id(board_id)

        def open_channel() -> transport.Channel:
            return transport.open_channel(address, urgent=True) if urgent else transport.open_channel(address)

        link = Link(open_channel(), keys, timeout_s, wanted)
        try:
            link.hello()
        except BaseException:
            link.channel.close()
            raise
        return cls(link, open_channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self.link.channel.close()

    def status(self) -> Status:
        """Return the board's status."""
        body = self.link.request("status").body
        return Status.of({**body, "board_id": self.link.welcome.board_id, "signed": self.link.signed})

    def node(self, node: str) -> NodeStatus:
        """Return what the board knows of `node` (a, b or spare)."""
        body = self.link.request("node", node=node).body
        return NodeStatus.of({**body, **self.link.request("drops", node=node).body})

    def nodes(self) -> list[NodeStatus]:
        """Return all nodes that the settings enable, in the order a, b, spare."""
        found = []
        for name in codes.NODES:
            try:
                node = self.node(name)
            except Refused as refusal:
                if refusal.reason != "unknown_node" and refusal.code != "bad_argument":
                    raise
                continue
            if node.enabled:
                found.append(node)
        return found

    def settings(self) -> settings_transfer.Running:
        """Return the settings that the board runs, keys as fingerprints."""
        return settings_transfer.download(self.link)

    def apply_settings(
        self,
        wanted: Settings,
        *,
        progress: settings_transfer.Progress | None = None,
        confirming: Callable[[], None] | None = None,
        waiting: settings_transfer.Waiting | None = None,
    ) -> int:
        """Upload `wanted`, run it on trial, read it back and confirm it; return its generation.

        New keys go over no network in clear (NotPrivate).
        Anything that goes wrong before the confirmation, Ctrl-C included, reverts to the settings before. `confirming`
        is called just before the confirmation, which cannot be taken back: an interrupt from there on should wait.
        Every node that was good before must be good again first; `waiting` hears which one is not yet. Raises BadConfig
        if the board finds a broken rule, Refused if it takes the guard from a node in use or silences one.
        """
        return settings_transfer.apply(self.link, wanted, progress, confirming, waiting)

    def set_mode(self, mode: str) -> dict[str, Any]:
        """Change the mode; leaving observe arms, and needs the configure key or the key switch. Raises Refused."""
        return self.link.request("mode", sign_with=codes.RIGHT_CONFIGURE, mode=mode).body

    def switchover(self, node: str, *, force: bool = False) -> dict[str, Any]:
        """Make `node` active; `force` fences the active node at once instead of draining it. Raises Refused."""
        return self.link.request("switchover", node=node, force=int(force)).body

    def schedule(self, node: str, seconds: int) -> dict[str, Any]:
        """Switch over to `node` in `seconds`; the board keeps it over a restart. Raises Refused."""
        return self.link.request("schedule", node=node, seconds=seconds).body

    def cancel(self) -> dict[str, Any]:
        """Cancel a switchover that waits for a drain, or a scheduled one. Raises Refused."""
        return self.link.request("cancel").body

    def plans(self) -> dict[str, Any]:
        """Return what is planned: scheduled switchover, long lease, what the status LED shows."""
        return self.link.request("plans").body

    def platform(self) -> dict[str, Any]:
        """Return what the firmware runs on: MicroPython, board, folder, and how it last failed."""
        return self.link.request("platform").body

    def fence(self, node: str, *, last: bool = False, by: int = codes.NO_NODE) -> dict[str, Any]:
        """Cut the power of `node` now; `last` even if no fit node remains; `by` (requester.of) is journaled.

        Raises Refused.
        """
        return self.link.request("fence", node=node, last=int(last), by=by).body

    def release(self, node: str) -> dict[str, Any]:
        """Give a fenced node its power back. Raises Refused."""
        return self.link.request("release", node=node).body

    def clear(self, node: str) -> dict[str, Any]:
        """End a node's quarantine or lock-out. Raises Refused."""
        return self.link.request("clear", node=node).body

    def readopt(self, node: str) -> dict[str, Any]:
        """Take a running node as active again, with a new epoch. Raises Refused."""
        return self.link.request("readopt", node=node).body

    def declare(self, node: str) -> dict[str, Any]:
        """Say that `node` may be active where the board cannot know it. Raises Refused."""
        return self.link.request("declare", node=node).body

    def maintenance(self, node: str | None, seconds: int) -> dict[str, Any]:
        """Put `node`, or with None the whole board, into maintenance for `seconds`; 0 ends it. Raises Refused."""
        return self.link.request("maintenance", node=node, seconds=seconds).body

    def update(self, seconds: int) -> dict[str, Any]:
        """Enter maintenance for an update of the board; an active node that would stop gets a long lease first.

        `seconds` is 1 to board.update_max_s. Ended by `maintenance(None, 0)`. Raises Refused.
        """
        return self.link.request("update", sign_with=codes.RIGHT_CONFIGURE, seconds=seconds).body

    def approve(self, request: int) -> dict[str, Any]:
        """Let the asked action happen; the board judges its evidence again first. Raises Refused."""
        return self.link.request("approve", request=request).body

    def deny(self, request: int) -> dict[str, Any]:
        """Do not let the asked action happen. Raises Refused."""
        return self.link.request("deny", request=request).body

    def restart(self) -> dict[str, Any]:
        """Restart the firmware; relays of a fence under way stay as they are. Raises Refused."""
        return self.link.request("restart").body

    def inputs(self) -> Levels:
        """Return the level of every input and output of the board."""
        return Levels.of(self.link.request("inputs").body)

    def relay_test(self) -> RelayTest:
        """Return the relay test under way, or what the last one found."""
        return RelayTest.of(self.link.request("tests").body)

    def transfer_at(self) -> str | None:
        """Return the node that the transfer relay is at; None if its contacts say both or none, or there is none."""
        at = self.link.request("plans").body.get("transfer")
        return str(at) if at else None

    def proof(self, node: str, seconds: int) -> int:
        """Cut the power relay of `node` for `seconds` (1 to 10) as a test; return the test's number. Raises Refused.

        Needs the configure key or the key switch, and observe mode or maintenance of the node.
        """
        body = self.link.request("proof", sign_with=codes.RIGHT_CONFIGURE, node=node, seconds=seconds).body
        return int(body.get("number", 0))

    def press(self, node: str) -> int:
        """Press the front panel of `node` as a test; return for how many ms. Raises Refused."""
        return int(self.link.request("press", sign_with=codes.RIGHT_CONFIGURE, node=node).body.get("ms", 0))

    def transfer(self, node: str) -> dict[str, Any]:
        """Send the transfer relay to `node` (a or b) as a test, in observe mode. Raises Refused."""
        return self.link.request("transfer", node=node).body

    def lamps(self, lit: int, seconds: int) -> dict[str, Any]:
        """Light LED_BOARD (1), LED_STATUS (2), GUARDING and alarm contact (4) for up to 30 s. Raises Refused."""
        return self.link.request("lamps", lit=lit, seconds=seconds).body

    def end_tests(self) -> dict[str, Any]:
        """End tests under way: the relay is released at once, LEDs show the truth again."""
        return self.link.request("test_end").body

    def note_test(self, node: str | None, check: str, outcome: str) -> dict[str, Any]:
        """Journal the outcome (codes.OUTCOMES) of a check (codes.CHECKS) that a person or this host made."""
        return self.link.request(
            "test_note", node=node, check=codes.CHECKS.index(check), outcome=codes.OUTCOMES.index(outcome)
        ).body

    def set_time(self, now: datetime | None = None) -> bool:
        """Set the board's wall time (default: this host's); return False without asking if this host has no time."""
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        if moment.year < OLDEST_WALL_YEAR:
            return False
        since = moment - EPOCH_DAY
        self.link.request("time", day=since.days, ms=since.seconds * 1000 + since.microseconds // 1000)
        return True

    def page(self, after: int, count: int = PAGE) -> tuple[LogPage, tuple[bytes, ...]]:
        """Return up to `count` raw records after sequence `after`, and how far the journal reaches."""
        for _ in range(1 + RETRIES):
            reply = self.link.request("log", after=after, count=count)
            page = LogPage.of(reply.body)
            if len(reply.records) == page.sent:
                return page, reply.records
        raise NoAnswer(
            f"{self.link.channel.name}: records are lost on the way, {len(reply.records)} of {page.sent} arrived",
            "try again; if it stays so, check the cable",
        )

    def events(self, after: int = 0) -> Iterator[Entry | Finding]:
        """Yield the journal after sequence `after` up to its end; a Finding stands before the entry it was found at."""
        checker = ChainChecker(after)
        while True:
            found, more = self._next_page(checker)
            yield from found
            if not more:
                return

    def events_back(self, newest: int) -> Iterator[list[Entry]]:
        """Yield the journal from sequence `newest` back to its beginning, in pieces that grow, each in order.

        For what looks for the newest of something: it reads no more than is asked for. Damaged records are left out.
        """
        high, span = newest, BACK_SPAN
        while high > 0:
            low = max(0, high - span)
            piece, after, oldest = [], low, 0
            while after < high:
                page, raw_records = self.page(after)
                oldest = min(page.oldest_decision, page.oldest_routine)
                for raw in raw_records:
                    after = max(after + 1, int.from_bytes(raw[:4], "little"))
                    with contextlib.suppress(ValueError):
                        entry = journal.decode(raw)
                        if low < entry.sequence <= high:
                            piece.append(entry)
                if not raw_records:
                    break
            yield piece
            if low < oldest:
                return
            high, span = low, min(2 * span, BACK_SPAN_MOST)

    def follow(
        self, after: int, *, interval_s: float = FOLLOW_INTERVAL_S, sleep: Callable[[float], None] | None = None
    ) -> Iterator[Entry | Finding | Notice]:
        """Yield the journal after `after` for ever, as it grows; go on where it was after a lost connection.

        Ends only by an error that waiting does not mend, such as another protocol version or a missing key. A port
        that is gone or busy is waited for: a board that comes back is a new device, which others may touch first.
        """
        checker = ChainChecker(after)
        sleep = sleep or time.sleep
        while True:
            try:
                found, more = self._next_page(checker)
            except (Unplugged, NoAnswer) as error:
                yield Notice(f"{error.words}; waiting for the board")
                yield self._reconnect(sleep)
                continue
            yield from found
            if not more:
                sleep(interval_s)

    def _next_page(self, checker: ChainChecker) -> tuple[list[Entry | Finding], bool]:
        """Read the next page; return its entries and findings, and whether there is more to read at once."""
        page, raw_records = self.page(checker.last)
        found: list[Entry | Finding] = []
        if page.newest < checker.last:
            words = f"the journal starts over: its newest record is {page.newest}, {checker.last} was read before"
            found.append(Finding(RESTARTED, page.newest, checker.last, words))
            checker.restart()
            return found, True
        checker.oldest_decision = page.oldest_decision
        checker.oldest_routine = page.oldest_routine
        for raw in raw_records:
            entry, findings = checker.take(raw)
            found += findings
            if entry is not None:
                found.append(entry)
        return found, bool(raw_records) and checker.last < page.newest

    def reopen(self) -> bool:
        """Open the channel anew and say hello, once; tell whether the board has restarted since.

        Raises as `open` does.
        """
        boot = self.link.boot
        if self._reopen is not None:
            self.link.channel.close()
            self.link.use_channel(self._reopen())
        welcome = self.link.hello()
        return boot not in (-1, welcome.boot)

    def _reconnect(self, sleep: Callable[[float], None]) -> Notice:
        """Try until the board answers again."""
        boot = self.link.boot
        while True:
            try:
                self.reopen()
            except (Unplugged, NoAnswer, BoardNotFound, PortBusy, NotPermitted):
                sleep(RECONNECT_INTERVAL_S)
                continue
            restarted = "; it has restarted" if boot not in (-1, self.link.boot) else ""
            return Notice(f"the board answers again{restarted}")
