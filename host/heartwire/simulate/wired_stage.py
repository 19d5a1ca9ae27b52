"""A scenario on a board with real lines and pins: the fake rack's bytes and levels go to it, its journal is read.

What fake nodes do is rack.py's, what statements mean is statements.py's; this joins them to a WiredBoard, which says
how bytes and pins get there and how time passes: real for the virtual board, made step by step for an emulated one. It
never looks into the board but through its host link, its outputs and its lines. Called through tiers.open_stage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from heartwire.board import Board
from heartwire.errors import HeartwireError, Refused, Unplugged
from heartwire.journal import Entry, decode
from heartwire.keys import Keys
from heartwire.simulate import operators, statements
from heartwire.simulate.hardware import FakeFiles
from heartwire.simulate.language import Action, Scenario, ScenarioError
from heartwire.simulate.rack import KINDS, POSITIONS, Rack, settings_of
from heartwire.simulate.rules import Rules
from heartwire.simulate.run import Happened
from heartwire_firmware import config, slots
from heartwire_protocol import codes, messages

T = TypeVar("T")
SETTLE_MS = 60000
LOOK_MS = 150  # between two questions while the scene is set
SENT_MS = 20  # after its moment, a heartbeat is surely on its line
POLL_MS = 1000  # between two looks into the journal
BUSY_MS = 8000  # the board may keep an answer for so long, while a fence needs all its time
PAGE = 16
LAMPS = {"led": "LED_STATUS", "guarding": "GUARDING"}


class WiredBoard(Protocol):
    """A board with lines and pins, and the time it lives in. Times are its own ms, which only rise."""

    slack_ms: int  # how exact its times are

    def now_ms(self) -> int:
        """Return the time."""

    def start(self, files: dict[str, bytes], tick: Callable[[], None]) -> None:
        """Put `files` into its data folder and give it power; from now on call `tick` every few ms.

        Never two ticks at once. A tick comes before the board sees that moment, so that what it feeds and shows is
        there in time.
        """

    def wait_until(self, ms: int) -> None:
        """Let time pass; ticks come meanwhile."""

    def call(self, function: Callable[[], None]) -> None:
        """Call `function` between two ticks, and wait for it."""

    def feed(self, line: int, data: bytes) -> None:
        """Let bytes arrive on a node's line; they are lost while the board is off."""

    def take(self, line: int) -> bytes:
        """Return what the board has sent on a node's line since the last call."""

    def set_input(self, signal: str, asserted: bool) -> None:
        """Set an input pin."""

    def take_edges(self) -> list[tuple[int, str, bool]]:
        """Return the edges of outputs since the last call, in order, as (ms, signal, asserted).

        POWER_* stand for the coils, which get current only while the charge pump on ARM is kept alive.
        """

    def is_on(self) -> bool:
        """Tell whether the board has power and is not in the middle of losing it."""

    def starts_ms(self) -> list[int]:
        """Return when its program began, once for each start."""

    def open(self, keys: Keys) -> Board:
        """Open its host link as somebody who holds `keys`. Raises HeartwireError while it cannot be had."""

    def act(self, verb: str) -> None:
        """Let a board statement happen (vocabulary.BOARD_VERBS)."""

    def close(self) -> None:
        """End everything."""


def first_files(rack: Rack) -> dict[str, bytes]:
    """Return the data folder of a board that has the rack's settings, confirmed, and has never run."""
    files = FakeFiles()
    slots.TwoSlots(files, "settings").save(rack.settings.text().encode(), config.CONFIRMED)
    return dict(files.contents)


class WiredStage:
    """A scenario's rack around `wired`, settled; fulfils run.Stage."""

    def __init__(self, scenario: Scenario, wired: WiredBoard, kind: str = KINDS[0]) -> None:
        self.slack_ms = wired.slack_ms
        self.happened: list[Happened] = []
        self._wired = wired
        count = len(scenario.nodes)
        self._host_keys = scenario.host_keys
        text = operators.with_host_keys(scenario.settings_text, scenario.host_keys)
        self._rack = Rack(settings_of(text, count, scenario.keyed), count, scenario.keyed, kind)
        self._desk = operators.Desk(self._rack)
        self._rules = Rules(self._rack, scenario, wired.slack_ms)
        self._outputs: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._host: Board | None = None
        self._after = 0
        self._kept_after = 0
        self._began: dict[int, int] = {}
        self._zero_ms = 0
        # Asking takes time, for which the board waits with its answer until nothing else is urgent.
        self._loses_store = any(action.verb in ("forgets", "stores", "restores") for action in scenario.actions)
        try:
            self._set_scene(scenario)
        except BaseException:
            self.close()
            raise

    def _set_scene(self, scenario: Scenario) -> None:
        wired, rack = self._wired, self._rack
        rack.ms = wired.now_ms()
        statements.set_scene(rack, scenario)
        self._show()
        wired.start(first_files(rack), self._tick)
        if scenario.settled is None:
            self._zero_ms = wired.now_ms()
        else:
            self._settle(scenario)
            self._poll()
            self._zero_ms = statements.next_beat_ms(rack) + SENT_MS
            wired.wait_until(self._zero_ms)
            self.happened.clear()
        rack.violations.clear()

    def _settle(self, scenario: Scenario) -> None:
        settled = str(scenario.settled)
        fake = self._rack.nodes[codes.NODES.index(settled)]
        self._wait(lambda board: board.node(settled).verdict == "good", f"{settled} is not heard")
        self._ask(lambda board: board.set_mode(scenario.mode))
        self._wait(lambda board: board.status().active == settled, f"{settled} is not active")
        running = messages.FLAG_RUNNING
        self._wait(lambda board: bool(board.node(settled).flags & running), f"{settled} does not run")
        late = [codes.NODES[node] for node in statements.late_off(self._rack, scenario)]
        for other in scenario.nodes:
            if other not in scenario.off or other in late:
                self._wait(lambda board, other=other: board.node(other).verdict == "good", f"{other} is not heard")  # type: ignore[misc]
        for other in late:
            self._wired.call(self._rack.supplies[codes.NODES.index(other)].off_before_start)
            self._wait(lambda board, other=other: board.node(other).verdict == "dead", f"{other} is not off")  # type: ignore[misc]
        armed = codes.MODES.index(scenario.mode) >= codes.MODE_APPROVE
        self._wait(lambda _board: not armed or fake.serving, f"{settled} has no lease")
        # The evidence of the senses is durable: nothing waits to be written for a while.
        newest = [-1, -1, -1, -1, -1]

        def rests(board: Board) -> bool:
            newest.append(board.status().newest)
            return len(set(newest[-6:])) == 1

        self._wait(rests, "no rest")

    def _wait(self, condition: Callable[[Board], bool], words: str) -> None:
        wired = self._wired
        end_ms = wired.now_ms() + SETTLE_MS
        while not self._ask(condition):
            if wired.now_ms() >= end_ms:
                raise ScenarioError(f"the scenario cannot start: {words}")
            wired.wait_until(wired.now_ms() + LOOK_MS)

    # The rack and the wires.

    def _tick(self) -> None:
        """Bring the rack to now: outputs move it at their own moments, then it is heard and shown."""
        wired, rack = self._wired, self._rack
        for at_ms, signal, asserted in wired.take_edges():
            self._pass_time(max(0, at_ms - rack.ms))
            self._outputs[signal] = int(asserted)
            self._pass_time(0)
        for line in range(len(rack.nodes)):
            data = wired.take(line)
            if data:
                try:
                    rack.hear(line, data)
                except AssertionError as error:
                    rack.violate(str(error))
        self._pass_time(max(0, wired.now_ms() - rack.ms))
        self._show()
        self._rules.look(self._outputs if wired.is_on() else {})

    def _pass_time(self, elapsed: int) -> None:
        for line, data in self._rack.pass_time(elapsed, self._outputs):
            self._wired.feed(line, data)

    def _show(self) -> None:
        for signal, asserted in self._rack.inputs().items():
            if self._shown.get(signal) != asserted:
                self._shown[signal] = asserted
                self._wired.set_input(signal, bool(asserted))

    # The host link.

    def _ask(self, question: Callable[[Board], T]) -> T:
        """Ask the board over its host link; once more where the port was gone before anything was asked."""
        for last in (False, True):
            if self._host is None:
                self._host = self._wired.open(operators.keys_of(self._host_keys, None))
            try:
                return question(self._host)
            except Refused:
                raise
            except Unplugged:
                self._hang_up()
                if last:
                    raise
            except HeartwireError:
                self._hang_up()
                raise
        raise AssertionError("asked twice")

    def _hang_up(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None

    def _poll(self) -> None:
        """Read what the journal has got since the last time."""
        if not self._wired.is_on():
            self._hang_up()
            return
        try:
            while self._ask(self._read):
                pass
        except HeartwireError:
            return  # the board is on its way down or up; it keeps its journal

    def _read(self, board: Board) -> bool:
        """Read a page; tell whether there may be more."""
        boot = board.link.boot
        if boot not in self._began:
            self._began[boot] = self._wired.starts_ms()[-1]
        page, raws = board.page(self._after, PAGE)
        if page.newest < self._after:
            self._after = 0  # another store
            return page.newest > 0
        for raw in raws:
            entry = decode(raw)
            self._after = entry.sequence
            self._take(entry, boot)
        return bool(raws) and self._after < page.newest

    def _take(self, entry: Entry, boot: int) -> None:
        starts = self._wired.starts_ms()
        began = self._began.get(entry.boot)
        if began is None:  # a start too short to be asked
            began = starts[max(0, len(starts) - 1 - (boot - entry.boot))]
        ms = began - self._zero_ms + entry.uptime_ms
        self.happened.append(Happened(ms, entry.event, entry.node, entry.reason, entry.a, entry.b))

    # What run.Stage asks for.

    def run_until(self, ms: int) -> None:
        """Let time pass up to `ms` of the scenario, reading the journal where it is long enough."""
        wired = self._wired
        end_ms = self._zero_ms + ms
        while wired.now_ms() < end_ms:
            wired.wait_until(min(end_ms, wired.now_ms() + POLL_MS))
            if wired.now_ms() + BUSY_MS < end_ms:
                self._poll()
            if self._desk.is_due(wired.now_ms()):
                with contextlib.suppress(HeartwireError):
                    self._ask(self._desk.follow_up)

    def catch_up(self) -> None:
        """Read the rest of the journal."""
        self._poll()

    def violations(self) -> list[tuple[int, str]]:
        """Return the laws of physics that were broken."""
        return [(ms - self._zero_ms, words) for ms, words in self._rack.violations]

    def close(self) -> None:
        """End everything."""
        self._hang_up()
        self._wired.close()

    def look(self, what: str, node: str | None) -> str:
        """Return what is to be seen now."""
        if what == "transfer":
            return POSITIONS[self._rack.transfer_at]
        if what in LAMPS:
            return "on" if self._outputs.get(LAMPS[what]) else "off"
        if node is not None:
            found = statements.seen(self._rack, what, node)
            if found is not None:
                return found
        if not self._wired.is_on():
            return "the board is off"
        try:
            return self._ask(lambda board: _look_at(board, what, node))
        except HeartwireError as error:
            return f"not to be had: {error}"

    def do(self, action: Action) -> str | None:
        """Let something happen."""
        # What is asked may be done before its answer is here.
        self._rules.note(action)
        if action.subject == "operator":
            refused = self._operate(action)
            if refused is not None:
                self._rules.take_back()
            return refused
        self._happen(action)
        return None

    def _happen(self, action: Action) -> None:
        if action.subject != "board":
            self._wired.call(lambda: statements.act(self._rack, action))
            return
        if self._loses_store:
            self._poll()  # or what is not read yet is gone with the store
        if action.verb == "stores":
            self._kept_after = self._after
        elif action.verb in ("forgets", "restores"):
            self._after = 0 if action.verb == "forgets" else self._kept_after
            self._began.clear()
        if action.verb != "stalls":
            self._hang_up()
        self._wired.act(action.verb)

    def _operate(self, action: Action) -> str | None:
        if "old" in action.words:
            self._poll()
        if action.holds is not None:
            return self._ask_as(action)
        try:
            return self._ask(lambda board: self._desk.ask(board, action, self.happened))
        except HeartwireError as error:
            return f"nothing; {error}"
        finally:
            if action.verb == "restart":
                self._hang_up()

    def _ask_as(self, action: Action) -> str | None:
        """Ask as somebody with fewer keys, who opens the host link for it."""
        self._hang_up()
        board = None
        try:
            board = self._wired.open(operators.keys_of(self._host_keys, action.holds))
            return self._desk.ask(board, action, self.happened)
        except HeartwireError as error:
            return f"nothing; {error}"
        finally:
            if board is not None:
                board.close()


def _look_at(board: Board, what: str, node: str | None) -> str:
    found: dict[str, Any]
    if what == "led-pattern":
        return str(board.plans()["led"]).replace(" ", "-")
    if node is not None:
        row = board.node(node)
        found = {
            "role": row.role, "verdict": row.verdict, "relay": "cut" if row.relay else "closed",
            "quarantined": "yes" if row.role == "quarantined" else "no", "locked": "yes" if row.locked else "no",
        }  # fmt: skip
    else:
        status = board.status()
        found = {
            "active": status.active or "nobody", "holder": status.holder or "nobody", "mode": status.mode,
            "epoch": status.epoch, "phase": status.phase, "alarm": "on" if status.alarm else "off",
            "held": status.held or "nothing", "safe-mode": "on" if status.safe else "off",
        }  # fmt: skip
    return str(found[what])
