"""What a person does from the page: approve, deny, maintenance, clear; nothing else acts.

An act is shown with what will happen (`show`), and done only as it was shown, once, by who saw it (`do`): with that
person's own operate key, on a connection of its own, after the store has who asks for what. The board's rules decide,
as for the command line. Called by app.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heartwire import keys, next_steps
from heartwire.answers import NodeStatus, Status
from heartwire.board import Board
from heartwire.errors import HeartwireError, OutcomeUnknown, Refused, StorageProblem, UsageProblem
from heartwire.monitor.archive import Archive, Observed
from heartwire.monitor.settings import BoardSettings, OperatorSettings
from heartwire.monitor.sources import AGENT_SCHEME
from heartwire.monitor.views import FRESH_S, View
from heartwire.times import parse_span, span_words
from heartwire_protocol import codes

WHAT = ("approve", "deny", "maintenance", "clear")
BOARD = "board"
TIMEOUT_S = 5.0
# What was shown counts so long, and so many of it at a time.
SHOWN_S = 300.0
SHOWN_MAX = 128
SPAN_MAX = 32
NUMBER_MAX = 2**31 - 1
Opener = Callable[[BoardSettings, OperatorSettings], Board]


class MayNot(UsageProblem):
    """This person may read, and not do this."""


@dataclass(frozen=True)
class Act:
    """One thing to do on a rack: `node` is a, b, spare or board; `request` that of an approval."""

    rack: str
    what: str
    node: str = BOARD
    seconds: int = 0
    request: int = 0

    @property
    def command(self) -> str:
        """What somebody types for the same, behind "heartwire"."""
        if self.what in ("approve", "deny"):
            return f"{self.what} {self.request}"
        if self.what == "maintenance":
            return f"maintenance {self.node} {f'{self.seconds}s' if self.seconds else 'off'}"
        return f"clear {self.node}"


@dataclass(frozen=True)
class Shown:
    """An act as a person sees it before it is done."""

    act: Act
    title: str
    words: tuple[str, ...]
    once: str


@dataclass(frozen=True)
class Done:
    """What became of an act."""

    good: bool
    words: str
    next_step: str = ""


def open_board(settings: BoardSettings, operator: OperatorSettings) -> Board:
    """Open a board with the operator's keys, beside the collector's connection. Raises as Board.open does."""
    held = keys.find(operator.key_file)
    return Board.open(settings.port, keys=held, timeout_s=TIMEOUT_S, board_id=settings.board_id)


def act_of(rack: str, what: str, fields: Mapping[str, str]) -> Act:
    """Return the act that an address says. Raises UsageProblem."""
    if what not in WHAT:
        raise UsageProblem("nothing else is done from this page", "use the command line")
    node = fields.get("node", "")
    if what in ("approve", "deny"):
        text = fields.get("request", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < SPAN_MAX else 0
        if not 0 < number <= NUMBER_MAX:
            raise UsageProblem("that is no number of a request", "go back to the rack: it says what it asks for")
        return Act(rack, what, request=number)
    if node not in (*codes.NODES, *((BOARD,) if what == "maintenance" else ())):
        raise UsageProblem(f"there is no node {node[:SPAN_MAX]!r}", "go back to the rack, and choose one")
    if what == "clear":
        return Act(rack, what, node)
    span = fields.get("span", "").strip()[:SPAN_MAX]
    seconds = 0 if span == "off" else round(parse_span(span).total_seconds())
    if span != "off" and not 1 <= seconds <= NUMBER_MAX:
        raise UsageProblem("maintenance lasts at least a second", "write it as 30m or 2h; `off` ends it")
    return Act(rack, what, node, seconds)


class Acts:
    """Everything that can be done on the racks of a monitor."""

    def __init__(
        self,
        boards: Sequence[BoardSettings],
        operators: Sequence[OperatorSettings],
        archive: Archive,
        *,
        told: Callable[[], None] = lambda: None,
        opener: Opener = open_board,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._boards = {board.name: board for board in boards}
        self._operators = operators
        self._archive = archive
        self._told = told
        self._open = opener
        self._clock = clock
        self._locks = {board.name: threading.Lock() for board in boards}
        self._lock = threading.Lock()
        self._shown: OrderedDict[str, tuple[float, str, Act]] = OrderedDict()

    @property
    def are_any(self) -> bool:
        """Whether anybody may do anything."""
        return bool(self._operators)

    def may(self, person: str, rack: str) -> bool:
        """Tell whether a person may act on a rack."""
        return self._operator(person, rack) is not None

    def _operator(self, person: str, rack: str) -> OperatorSettings | None:
        board = self._boards.get(rack)
        if board is None or board.port.startswith(AGENT_SCHEME):
            return None  # an agent's line is for reading
        for one in self._operators:
            if one.name == person and (not one.boards or rack in one.boards):
                return one
        return None

    def _allowed(self, person: str, rack: str) -> OperatorSettings:
        found = self._operator(person, rack)
        if found is None:
            step = "`[[web.operator]]` of the monitor's settings names who may, with the key of each"
            raise MayNot(f"{person} may read, and not act on {rack}", step)
        return found

    def show(self, person: str, act: Act, view: View) -> Shown:
        """Return what will happen if `person` does `act`. Raises MayNot, Refused."""
        self._allowed(person, act.rack)
        status = view.status
        if status is None or not view.up or self._clock() - view.seen_s > FRESH_S:
            raise Refused("the board is not looked at right now, so nobody can say what would happen", "try again")
        title, words = _words(act, status, view.nodes)
        once = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._shown) >= SHOWN_MAX:
                self._shown.popitem(last=False)
            self._shown[once] = (self._clock(), person, act)
        return Shown(act, title, tuple(words), once)

    def do(self, person: str, act: Act, once: str) -> Done:
        """Do what was shown as `once`, and note who did what. Raises MayNot, UsageProblem, StorageProblem.

        A StorageProblem says that nothing was asked for: what cannot be noted is not done.
        """
        operator = self._allowed(person, act.rack)
        with self._lock:
            since_s, who, what = self._shown.pop(once, (0.0, "", None))
        if (who, what) != (person, act) or self._clock() - since_s > SHOWN_S:
            raise UsageProblem("this was done already, or shown too long ago", "look at the rack, and begin again")
        board = self._boards[act.rack]
        lock = self._locks[act.rack]
        if not lock.acquire(blocking=False):
            raise UsageProblem("somebody does something on this rack right now", "look at the rack, and begin again")
        try:
            return self._done(person, act, board, operator)
        finally:
            lock.release()

    def _done(self, person: str, act: Act, settings: BoardSettings, operator: OperatorSettings) -> Done:
        asked = f"{person} asks for `{act.command}` from the page"
        self._note(act, "page_asked", asked)
        try:
            with self._open(settings, operator) as board:
                words = _do(board, act)
        except OutcomeUnknown as error:
            done = Done(False, error.words, error.next_step)
        except HeartwireError as error:
            done = Done(False, error.words, error.next_step)
        except Exception as error:
            # A driver raises what it likes; how far it got is not known.
            words = f"the connection failed ({type(error).__name__}): nobody knows whether it happened"
            done = Done(False, words, OutcomeUnknown.default_next)
        else:
            done = Done(True, words)
        outcome = f"{person}, from the page: {done.words}"
        try:
            self._note(act, "page_done" if done.good else "page_refused", outcome)
        except StorageProblem as problem:
            return Done(done.good, f"{done.words}; but the store could not note it ({problem.words})", done.next_step)
        return done

    def _note(self, act: Act, kind: str, words: str) -> None:
        if self._archive.observe(self._archive.named(act.rack), Observed(kind, words)):
            self._told()


def _do(board: Board, act: Act) -> str:
    """Ask the board; return what happened. Raises HeartwireError."""
    status, nodes = board.status(), board.nodes()
    label = _label(act.node, nodes)
    try:
        if act.what in ("approve", "deny"):
            _stands(act, status)
            (board.approve if act.what == "approve" else board.deny)(act.request)
            return f"request {act.request} {'approved' if act.what == 'approve' else 'denied'}"
        if act.what == "maintenance":
            board.maintenance(None if act.node == BOARD else act.node, act.seconds)
            return f"{label}: maintenance " + (f"for {span_words(act.seconds)}" if act.seconds else "is over")
        board.clear(act.node)
        return f"{label} is cleared"
    except Refused as refusal:
        step = ""
        if refusal.reason:
            with contextlib.suppress(HeartwireError):
                node = None if act.node == BOARD else act.node
                step = next_steps.after_refusal(refusal.reason, node, board.status(), board.nodes())
        raise Refused(refusal.words, step or refusal.next_step, reason=refusal.reason, code=refusal.code) from None


def _stands(act: Act, status: Status) -> None:
    standing = int(status.approval.get("request", 0)) if status.approval else 0
    if not standing:
        raise Refused("the board asks for no approval (any more)", "the journal shows what became of it")
    if standing != act.request:
        raise Refused(f"request {act.request} does not stand any more; request {standing} does", "look at the rack")


def _label(node: str, nodes: Sequence[NodeStatus]) -> str:
    return next((one.label for one in nodes if one.node == node), "the board" if node == BOARD else f"node {node}")


def _words(act: Act, status: Status, nodes: Sequence[NodeStatus]) -> tuple[str, list[str]]:
    """Return a title and what will happen. Raises Refused where it cannot."""
    label = _label(act.node, nodes)
    if act.what in ("approve", "deny"):
        _stands(act, status)
        left_s = (status.approval or {}).get("left_s", 0)
        asked = next_steps.approval_words(status, nodes)
        about = [f"The board asks whether it may {asked}; {span_words(left_s)} are left."]
        about += [_seen(one) for one in nodes if one.node == status.target]
        if act.what == "approve":
            return f"Approve request {act.request}", [
                *about,
                f"It will {asked}, if its evidence is still the same: it judges that again first.",
            ]
        steps = next_steps.steps(status, nodes)
        words = next((step.words for step in steps if step.command == act.command), "nothing is done")
        return f"Deny request {act.request}", [*about, f"{words[:1].upper()}{words[1:]}."]
    if act.what == "maintenance":
        if not act.seconds:
            whom = "its nodes" if act.node == BOARD else label
            return f"End the maintenance of {label}", [
                f"The board acts on {whom} by itself again, as its mode says. A silence counts from then on."
            ]
        left = f"No automatic action is taken on {'any node' if act.node == BOARD else label}"
        return f"Maintenance of {label} for {span_words(act.seconds)}", [
            f"{left} for {span_words(act.seconds)}: no fence, and no failover because of it. What somebody asks for is "
            "done all the same.",
            *[_seen(one) for one in nodes if act.node in (BOARD, one.node)],
        ]
    return f"Clear {label}", [
        f"Its quarantine or lock-out ends: {label} may become active again. Do it once you know why it failed.",
        *[_seen(one) for one in nodes if one.node == act.node],
    ]


def _seen(node: NodeStatus) -> str:
    heard = f"{span_words((node.age_ms or 0) / 1000)} ago" if node.was_heard else "never"
    return f"{node.label} is {node.role} and {node.verdict}, last heard {heard}, power {node.power}."
