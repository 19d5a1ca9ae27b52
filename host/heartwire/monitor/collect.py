"""The collector: reads one board's journal from the cursor on, checks it, and hands pages to the archive.

A page is acknowledged by nothing but the archive's commit: after any fault, kill or full disk it is read again and
stored once. On each new connection the record at the cursor is compared with the stored one, so a journal that was
started anew is noticed even if it has grown past the cursor. It commands nothing (only the wall time is given to a
board that has none) and never blocks another board: run gives each collector a thread of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from heartwire import dating
from heartwire.answers import Status
from heartwire.chain import ALTERED, DAMAGED, LOST, RESTARTED, ROTATED, ChainChecker, Finding
from heartwire.errors import HeartwireError, StorageProblem
from heartwire.journal import Entry
from heartwire.monitor import advice, twins
from heartwire.monitor.archive import Archive, Known, Observed
from heartwire.monitor.log import Log
from heartwire.monitor.looks import WRITE_S, Looks
from heartwire.monitor.sources import Identity, Source, Watched, lost
from heartwire.monitor.store import now_ms
from heartwire.monitor.twins import Claims
from heartwire.monitor.views import View

# Pages read in one step: 1024 records, then the status has its turn.
PAGES = 64
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 15.0
KINDS = {LOST: "lost", DAMAGED: "damaged", ALTERED: "altered", ROTATED: "rotated", RESTARTED: "restarted"}


class Pace(Protocol):
    """The settings that a collector follows."""

    @property
    def poll_ms(self) -> int:
        """Pause between two looks at the journal, in ms."""

    @property
    def status_ms(self) -> int:
        """Pause between two looks at the status, in ms."""

    @property
    def unreachable_s(self) -> float:
        """A board that is silent so long is told, in s."""


class Collector:
    """One board. Call `step` again and again; it returns how long to wait."""

    def __init__(
        self,
        name: str,
        source: Source,
        archive: Archive,
        pace: Pace,
        log: Log,
        *,
        told: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        claims: Claims | None = None,
        port: str = "",
        with_settings: bool = False,
    ) -> None:
        """`claims` is shared by all collectors; `port` is where this board's own link is, "" for another way to it.

        `with_settings`: what the board runs is read too, whenever it changes.
        """
        self.view = View(name)
        self._source: Source = Watched(source, name)
        self._archive = archive
        self._pace = pace
        self._log = log
        self._told = told
        self._clock = clock
        self._claims = claims if port else None
        self._port = port
        self._own_id = ""  # what the board says, where the store has a stand-in
        self._known: Known | None = None
        self._checker = ChainChecker()
        self._connected = False
        self._source_open = False  # connected, but for the store
        self._answers = False
        self._retry_s = RETRY_FIRST_S
        self._down_since: float | None = None
        self._said_down = False
        self._storage_bad: bool | None = None
        self._status_due = 0.0
        self._looks = Looks()
        self._looks_due = clock() + WRITE_S
        # Wall time in ms at uptime 0 of boots: what records say, and to a second what the status says.
        self._starts: dict[int, int] = {}
        self._start_now: dict[int, int] = {}
        self.storage_trouble = ""
        self._with_settings = with_settings
        self._settings_of: tuple[int, int, int, bool] | None = None

    def step(self) -> float:
        """Read what is new; return seconds until the next step. Never raises: whatever fails, somebody is told."""
        try:
            if not self._connected:
                self._connect()
                self._look()  # it says how long the board has been up, which dates what is read now
            more = self._read()
            self._look()
            if not self._answers:
                self._back()
        except StorageProblem as problem:
            # Not the board's fault: it stays connected, and its journal keeps what we could not store.
            self.storage_trouble = problem.words
            if self._log.changed(f"store {self.view.name}", problem.words):
                self._log.error("store_failed", board=self.view.name, words=problem.words, next=problem.next_step)
            return self._watch_only()
        except Exception as error:
            return self._lost(lost(self.view.name, error))
        if self.storage_trouble:
            self._log.changed(f"store {self.view.name}", None)
            self._log.info("store_works", board=self.view.name)
            self.storage_trouble = ""
        return 0.0 if more else self._pace.poll_ms / 1000

    def _watch_only(self) -> float:
        """Look at the board although nothing can be stored; return seconds until the next step.

        What it shows is seen live; what it writes stays in its journal, and is read from the cursor on when it can be.
        """
        try:
            if self._source_open and self._clock() >= self._status_due:
                self._status_due = self._clock() + self._pace.status_ms / 1000
                self._see()
        except StorageProblem:
            pass
        except Exception as error:
            return self._lost(lost(self.view.name, error))
        return RETRY_FIRST_S

    def close(self) -> None:
        """Keep what was counted, as far as the store takes it, and give the port back."""
        with contextlib.suppress(StorageProblem):
            self._write_looks()
        self._source.close()

    def _connect(self) -> None:
        opened = self._source.open()
        self._source_open = True
        self.view.up, self.view.trouble = True, ""
        self.view.board_id = self.view.board_id or opened.board_id
        identity = self._told_apart(opened)
        self._resume(identity)
        self._connected = True
        self._status_due = self._clock()
        self.view.up, self.view.trouble, self.view.board_id = True, "", identity.board_id

    def _back(self) -> None:
        """Note that the board gave all that is asked of it: one that fails at every look has not come back."""
        known = self._known or self._archive.named(self.view.name)
        for board_id in {known.board_id, self._archive.named(self.view.name).board_id, f"?{self.view.name}"[:16]}:
            if self._archive.is_open(board_id, "unreachable"):
                again = replace(known, board_id=board_id)
                if self._archive.observe(again, Observed("reachable", "the board answers again")):
                    self._told()
        self._log.changed(f"board {self.view.name}", None)
        self._log.info("connected", board=self.view.name, board_id=known.board_id, boot=known.boot)
        self._answers, self._said_down, self._down_since = True, False, None
        self._retry_s = RETRY_FIRST_S

    def _told_apart(self, identity: Identity) -> Identity:
        """Return who answers, under a stand-in for its id where another board here has that too."""
        self._own_id = identity.board_id
        if self._claims is None:
            return identity
        name = self.view.name
        other = twins.stand_in(identity.board_id, name)
        may_keep = not self._archive.knows(other)
        if self._claims.claim(identity.board_id, name, self._port, may_keep=may_keep):
            return identity
        return replace(identity, board_id=other)

    def _look_at_twins(self, known: Known) -> None:
        """Tell of a second board with the id of this one, once: by the one that has the stand-in."""
        if self._claims is None or known.board_id == self._own_id:
            return
        others = self._claims.others(self._own_id, self.view.name)
        if bool(others) == self._archive.is_open(known.board_id, "same_id"):
            return
        words = f"{self.view.name} at {self._port} and {', '.join(others)} all say that they are board {self._own_id}"
        if not others:
            words = f"no other board says any more that it is {self._own_id}"
        if self._archive.observe(known, Observed("same_id" if others else "own_id", words)):
            self._told()

    def _resume(self, identity: Identity) -> None:
        """Find the place to go on from; tell of another board, a reset, or a journal started anew."""
        before = self._known
        known = self._archive.meet(identity.board_id, self.view.name)
        observed = []
        if before is not None and before.board_id != known.board_id:
            words = f"another board answers here: {known.board_id} instead of {before.board_id}"
            observed.append(Observed("replaced", words))
            self._looks = Looks()
        if known.boot and identity.boot > known.boot:
            observed.append(_reset(known.boot, identity.boot))
        anew = self._started_anew(known)
        if anew:
            words = f"the journal was started anew: record {known.cursor} is not the one that was read before"
            observed.append(Observed("restarted", words, known.cursor, known.cursor))
        elif 0 < identity.boot < known.boot:
            words = f"the board counts its boots from {identity.boot} again, it was at {known.boot}"
            observed.append(Observed("restarted", words))
        history = self._source.page(0)[0].newest if not known.boot else None
        known, _, waiting = self._archive.add(
            known, (), observed, new_journal=anew, boot=identity.boot, history=history
        )
        self._known = known
        self._starts, self._start_now = {}, {}
        self._checker = ChainChecker(known.cursor)
        if known.cursor:
            self._checker.resume(known.cursor, known.chains)
        if waiting:
            self._told()

    def _started_anew(self, known: Known) -> bool:
        """Compare the record at the cursor with the stored one."""
        if not known.cursor:
            return False
        page, found = self._source.page(known.cursor - 1)
        if page.newest < known.cursor:
            return True
        stored = self._archive.record_at(known)
        if stored is None or not found or int.from_bytes(found[0][:4], "little") != known.cursor:
            return False  # rotated out here or there: a gap will tell
        return found[0] != stored

    def _read(self) -> bool:
        """Read pages until the journal's end or the step's share; tell whether there is more."""
        for _ in range(PAGES):
            known = self._known
            if known is None:
                return False
            page, raw_records = self._source.page(self._checker.last)
            self.view.newest = page.newest
            if page.newest < self._checker.last:
                words = f"the journal starts over: its newest record is {page.newest}, {self._checker.last} was read"
                self._checker.restart()
                self._keep(known, [], [Observed("restarted", words, page.newest, known.cursor)], new_journal=True)
                continue
            self._checker.oldest_decision = page.oldest_decision
            self._checker.oldest_routine = page.oldest_routine
            if not raw_records:
                return False
            self._take(known, raw_records)
            if self._checker.last >= page.newest:
                return False
        return True

    def _take(self, known: Known, raw_records: tuple[bytes, ...]) -> None:
        """Check one page and hand it on in runs that belong to one journal."""
        entries: list[Entry] = []
        observed: list[Observed] = []
        boot = known.boot
        for raw in raw_records:
            entry, findings = self._checker.take(raw)
            for finding in findings:
                if finding.kind == RESTARTED:
                    known = self._keep(known, entries, observed)
                    known = self._keep(known, [], [_observed(finding)], new_journal=True)
                    entries, observed, boot = [], [], 0
                    self._starts = {}
                else:
                    observed.append(_observed(finding))
            if entry is None:
                continue
            if boot and entry.boot > boot:
                observed.append(_reset(boot, entry.boot))
            boot = max(boot, entry.boot)
            entries.append(entry)
        self._keep(known, entries, observed, cursor=self._checker.last)

    def _keep(
        self,
        known: Known,
        entries: list[Entry],
        observed: list[Observed],
        *,
        cursor: int | None = None,
        new_journal: bool = False,
    ) -> Known:
        for boot, start_ms in dating.starts_in(entries).items():
            self._starts.setdefault(boot, start_ms)
        dates = dating.dates(entries, {**self._start_now, **self._starts}, [now_ms()] * len(entries))
        dated = list(zip(entries, dates, strict=True))
        try:
            later, count, waiting = self._archive.add(known, dated, observed, cursor=cursor, new_journal=new_journal)
        except BaseException:
            # The checker has gone ahead of the store: go back to what is stored.
            self._connected = False
            raise
        self._known = later
        self.view.cursor = later.cursor
        self.view.records += count
        for item in observed:
            usual = advice.OBSERVATIONS[item.kind][0] in ("info", "notice")
            log = self._log.info if usual else self._log.warning
            log("observed", board=self.view.name, kind=item.kind, words=item.words)
        if waiting:
            self._status_due = self._clock()  # a message says what the board takes now, not before this page
            self._told()
        return later

    def _look(self) -> None:
        """Look at the status when it is due."""
        now_s = self._clock()
        if now_s < self._status_due:
            return
        self._status_due = now_s + self._pace.status_ms / 1000
        before = self.view.labels()
        status = self._see()
        if status is None or self._known is None:
            return
        if self._clock() >= self._looks_due:
            self._write_looks()
        self._start_now = {status.boot: now_ms() - status.uptime_s * 1000}
        if self.view.labels() != before:
            self._archive.label(self._known, self.view.labels())
        self._look_at_settings(status)
        self._look_at_storage(self._known, status.storage_bad)
        self._look_at_twins(self._known)

    def _see(self) -> Status | None:
        """Take the board's status into the view and the looks; return it, None where the way gives none."""
        found = self._source.status()
        if found is None:
            return None
        status, nodes = found
        self.view.take(status, nodes, self._clock())
        self._looks.take(status, nodes, self.view.jitter, self._clock())
        return status

    def _look_at_settings(self, status: Status) -> None:
        """Read what the board runs, where that is another than before."""
        now = (status.boot, status.generation, status.crc, bool(status.trial_s))
        if self._with_settings and now != self._settings_of:
            self.view.settings = self._source.settings()
            self._settings_of = now

    def _write_looks(self) -> None:
        """Store the looks that were counted. Raises StorageProblem: then they are kept until the next time."""
        self._looks_due = self._clock() + WRITE_S
        sums = self._looks.sums()
        if sums and self._known is not None:
            self._archive.count(self._known, sums)
            self._looks.clear()

    def _look_at_storage(self, known: Known, bad: bool) -> None:
        """Tell of a board whose flash takes no writes: it cannot give a record of that."""
        if bad == self._storage_bad:
            return
        self._storage_bad = bad
        if bad == self._archive.is_open(known.board_id, "storage_bad"):
            return
        words = "the board's flash does not take what is written" if bad else "the board's flash takes writes again"
        if self._archive.observe(known, Observed("flash_failing" if bad else "flash_works", words)):
            self._told()

    def _lost(self, error: HeartwireError) -> float:
        """Note that the board does not answer; return seconds until the next try."""
        self._source.close()
        if self._claims is not None:
            self._claims.release(self.view.name)
        now_s = self._clock()
        self._connected = self._answers = self._source_open = False
        self.view.up, self.view.trouble = False, error.words
        if self._down_since is None:
            self._down_since = now_s
        if self._log.changed(f"board {self.view.name}", error.words):
            self._log.warning("unreachable", board=self.view.name, words=error.words, next=error.next_step)
        if not self._said_down and now_s - self._down_since >= self._pace.unreachable_s:
            words = f"the board does not answer for {now_s - self._down_since:.0f} s: {error.words}"
            try:
                known = self._known or self._archive.named(self.view.name)
                if self._archive.is_maintained(known):
                    return self._again()  # somebody took it away; told when its maintenance would be over
                if not self._archive.is_open(known.board_id, "unreachable") and self._archive.observe(
                    known, Observed("unreachable", words)
                ):
                    self._told()
                self._said_down = True
            except StorageProblem as problem:
                self.storage_trouble = problem.words
        return self._again()

    def _again(self) -> float:
        """Return seconds until the next try, ever more."""
        wait_s = self._retry_s
        self._retry_s = min(RETRY_MOST_S, self._retry_s * 2)
        return wait_s


def _observed(finding: Finding) -> Observed:
    return Observed(KINDS[finding.kind], finding.words, finding.first, finding.last)


def _reset(before: int, after: int) -> Observed:
    times = after - before
    words = "the board has restarted" + (f" {times} times" if times > 1 else "") + f": boot {after} after {before}"
    return Observed("reset", words)
