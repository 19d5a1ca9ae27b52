"""Whose turn it is at one board: sessions in, frames and turns out. Pure: no sockets, no ports, and a clock by hand.

A board has one session at a time: the last program that said hello. So a program asks for a turn, says hello if
another one has had the board since, and sends its request; its turn goes on while it keeps asking and nobody is more
urgent. Nothing of the board's session is shared: each program has its own nonce, numbers and key, and the broker sees
frames only. A fence goes before a command, a command before a question, a question before reading the log; a page of
the log that is under way is given up for those, since hello ends it on the board. Called by server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from heartwire import bounded
from heartwire.broker import wire
from heartwire.errors import Refused
from heartwire_protocol import codes, framing, messages, operations

FENCE, COMMAND, QUESTION, READING = range(4)
RANKS = ("fence", "command", "question", "reading")
# Between an answer and the next question of the same program. Where the machine is busy both take longer, so who is
# less urgent waits as long as the answer took, up to a limit: without that each question would wait for a page of the
# log. It costs a reader that time once after a row of questions, and nothing if their program has ended.
THINK_S = 0.010
THINK_MAX_S = 0.1
# A program that was given its turn signs and sends; one that is stopped in between costs the others this much, once.
TURN_S = 0.1
# A turn that goes on ends after this long if others of the same rank wait.
BURST_S = 0.5
# A question waits at most this long behind others before it counts as a rank more urgent; never as a fence. So does
# reading while nobody gets a page.
AGE_S = 1.0
# The board answers everything but a page of the log within one flash write, 0.5 s, and a hello within a second.
ANSWER_S = 2.0
HELLO_S = 1.0
# Longer than a trial of settings and its confirmation.
CHANGE_S = 120.0
LOG, FENCE_OPERATION = "log", "fence"
CHANGES = ("settings_begin", "settings_put", "settings_apply", "settings_confirm", "settings_revert")
CHANGES_END = ("settings_confirm", "settings_revert")
PAYLOAD_MAX = messages.JSON_MAX + 64
_READS = {row[1] for row in operations.OPERATIONS if row[2] <= codes.RIGHT_VIEW}


@dataclass(eq=False)
class Session:
    """One program at the board. `send` takes what goes to it; it never blocks."""

    program: str
    send: Callable[[bytes], None]
    urgent: bool = False
    wants: str | None = None
    since: float = 0.0
    requests: int = 0
    gone: bool = False
    yielded: bool = field(default=False, repr=False)  # its page was given up for somebody, and is not again


def rank_of(operation: str, urgent: bool) -> int:
    """Return the rank of an operation; hello ("") ranks as a question. All that an urgent program asks is a fence's."""
    if urgent or operation == FENCE_OPERATION:
        return FENCE
    if operation == LOG:
        return READING
    return QUESTION if operation in _READS or not operation else COMMAND


@dataclass
class _Flight:
    """What is at the board and not answered yet."""

    session: Session
    began: float
    operation: str = ""  # "" for a hello
    number: int = -1


class NoFrame(ValueError):
    """A program sent something that is not one frame of the host link."""


class Turns:
    """The sessions of one port. `write` takes bytes for the board; send what comes from it to `heard`."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._layouts = {kind: messages.layout_of(kind) for kind in (messages.REQUEST, messages.RESPONSE)}
        self._decoder = framing.Decoder(PAYLOAD_MAX)
        self.sessions: list[Session] = []
        self._holder: Session | None = None  # whose turn it is
        self._owner: Session | None = None  # whose session stands on the board
        self._flight: _Flight | None = None
        self._before: _Flight | None = None  # was given up; what comes before the next welcome is its
        self._held = bytearray()  # heard, and not known yet whose it is
        self._burst_from = 0.0
        self._idle_from = 0.0
        self._idle_s = 0.0
        self._peers_wait_s = TURN_S  # of that, others of the same rank wait this much
        self._rank = READING
        self._read_at = 0.0  # when somebody last got a page of the log
        self._changing: Session | None = None
        self._changing_until = 0.0

    def join(self, session: Session) -> None:
        """Take a session in."""
        self.sessions.append(session)

    def leave(self, session: Session, now: float) -> None:
        """Forget a session; what it has at the board is waited for, and goes nowhere."""
        if session in self.sessions:
            self.sessions.remove(session)
        session.gone = True
        session.wants = None
        if self._changing is session:
            self._changing = None
        if self._owner is session:
            self._owner = None
        if self._holder is session and self._flight is None:
            self._holder = None
        self.step(now)

    def want(self, session: Session, operation: str, now: float) -> None:
        """Note that `session` wants to ask for an operation ("" for hello), and give it its turn as soon as it is."""
        session.wants = operation
        session.since = now
        self.step(now)

    def take(self, session: Session, frame: bytes, now: float) -> None:
        """Pass a frame of `session` on to the board, or tell it that it was not. Raises NoFrame."""
        kind, operation, number = self._look(frame)
        hello = kind == messages.HELLO
        if self._holder is not session or (not hello and self._owner is not session):
            session.send(wire.LOST)
            return
        if not hello and self._flight is not None:
            raise NoFrame("a second request before the answer to the first")
        if operation in CHANGES and not self._may_change(session, operation, now):
            return
        if hello and self._flight is not None and self._flight.operation:
            # It asks anew before its answer came: the board ends what it was doing.
            self._before = self._flight
        elif hello and self._flight is not None:
            self._before = None  # a hello that is repeated: what was before it is over
        session.requests += not hello
        self._rank = rank_of(operation, session.urgent)
        self._flight = _Flight(session, now, operation, number)
        self._write(frame)

    def heard(self, data: bytes, now: float) -> None:
        """Give what the board sends to whom it is for; end a turn's flight with its answer."""
        at = 0
        while at < len(data):
            end = self._decoder.feed(data, at, len(data))
            self._held += data[at:end]
            at = end
            # Before a welcome all is the earlier program's.
            flight = self._before or self._flight
            if self._decoder.ready:
                kind = self._decoder.message_type
                piece, self._held = bytes(self._held), bytearray()
                if kind == messages.WELCOME and self._flight is not None and not self._flight.operation:
                    self._welcome(self._flight, piece, now)
                elif kind == messages.RESPONSE:
                    self._answered(piece, now)
                elif flight is not None:
                    self._pass(flight.session, piece)
            elif self._before is None and self._flight is not None and not self._flight.operation:
                # Noise too: a program that says hello tells its user what else talks there.
                self._pass(self._flight.session, bytes(self._held))
                self._held.clear()
            else:
                del self._held[: -2 * PAYLOAD_MAX]
        self.step(now)

    def step(self, now: float) -> float | None:
        """Give the next turn if it is time; return when to call again at the latest, None if nothing is waited for."""
        waiting = sorted(
            (one for one in self.sessions if one.wants is not None),
            key=lambda one: (self._rank_of(one, now), one.since),
        )
        if not waiting:
            return None
        best = waiting[0]
        holder = self._holder
        if holder is None or (holder.gone and self._flight is None):
            self._give(best, now)
            return None if len(waiting) == 1 else now + TURN_S
        if self._flight is not None:
            return self._interrupt(best, self._flight, now)
        rank = self._rank_of(best, now)
        if holder.wants is not None and (
            rank >= self._rank_of(holder, now) and (best is holder or now - self._burst_from < BURST_S)
        ):
            self._give(holder, now, goes_on=True)
            return now + TURN_S
        until = self._idle_from + (min(self._idle_s, self._peers_wait_s) if rank == self._rank else self._idle_s)
        over = rank == self._rank and now - self._burst_from >= BURST_S
        if holder.wants is not None or rank < self._rank or over or now >= until:
            self._give(best, now)
            return now + TURN_S
        return until

    def state_of(self, session: Session) -> str:
        """Return what a session does, in a word."""
        if self._flight is not None and self._flight.session is session:
            return self._flight.operation or "hello"
        if session.wants is not None:
            return "waits"
        return "has its turn" if self._holder is session else "idle"

    def _interrupt(self, best: Session, flight: _Flight, now: float) -> float:
        """Let `best` have the board in the middle of what is under way, where that may be given up."""
        rank = self._rank_of(best, now)
        limit = flight.began + (ANSWER_S if flight.operation else HELLO_S)
        if best is flight.session:
            limit = now  # it waits no longer for its own
        elif flight.operation == LOG and (flight.session.gone or rank == FENCE):
            limit = now
        elif flight.operation == LOG and rank < READING and not flight.session.yielded and not self._aged(best, now):
            flight.session.yielded = True
            limit = now
        if now < limit:
            return limit
        if self._before is None or flight.operation:
            self._before = flight
        self._flight = None
        self._owner = None
        self._give(best, now)
        return now + TURN_S

    def _rank_of(self, session: Session, now: float) -> int:
        """Return how urgent what a session waits for is; lower goes first. Reading ages only while nobody reads."""
        rank = rank_of(session.wants or "", session.urgent)
        since = max(session.since, self._read_at) if rank == READING else session.since
        return rank - 1 if rank > COMMAND and now - since > AGE_S else rank

    def _aged(self, session: Session, now: float) -> bool:
        """Tell whether it reads the log, and is more urgent only because it has waited."""
        return session.wants == LOG and self._rank_of(session, now) < READING

    def _give(self, session: Session, now: float, goes_on: bool = False) -> None:
        self._rank = self._rank_of(session, now)
        if not goes_on and session is not self._holder:
            self._burst_from = now
        self._holder = session
        session.wants = None
        self._idle_from, self._idle_s, self._peers_wait_s = now, TURN_S, TURN_S
        session.send(wire.KEPT if self._owner is session else wire.ANEW)

    def _welcome(self, flight: _Flight, piece: bytes, now: float) -> None:
        before = self._before
        if before is not None and before.session is not flight.session and before.operation == LOG:
            # The board has given the page up; reading it again harms nothing.
            self._tell(before.session, wire.LOST)
        self._before = self._flight = None
        self._owner = None if flight.session.gone else flight.session
        self._idle_from, self._idle_s, self._peers_wait_s = now, TURN_S, TURN_S
        self._pass(flight.session, piece)
        if flight.session.gone:
            self._holder = None

    def _answered(self, piece: bytes, now: float) -> None:
        number = int.from_bytes(self._decoder.payload[:4], "little") if self._decoder.length >= 4 else -1
        for flight in (self._before, self._flight):
            if flight is None or flight.number != number:
                continue
            self._pass(flight.session, piece)
            if flight.operation == LOG:
                flight.session.yielded = False
                self._read_at = now
            if flight.operation in CHANGES_END and self._changing is flight.session:
                self._changing = None
            if flight is self._before:
                self._before = None
            else:
                self._flight = None
                self._idle_from, self._peers_wait_s = now, THINK_S
                self._idle_s = min(max(THINK_S, now - flight.began), THINK_MAX_S)
                if flight.session.gone:
                    self._holder = None
            return

    def _may_change(self, session: Session, operation: str, now: float) -> bool:
        """Tell whether nobody else is changing the settings; the board keeps one upload."""
        other = self._changing
        if other is not None and other is not session and now < self._changing_until:
            refusal = Refused(
                f"{operation}: {other.program} is changing the settings of this board",
                "wait until it is over, then try again; `heartwire broker status` shows who it is",
            )
            session.send(wire.pack_error(refusal, wire.REFUSED))
            self._idle_from, self._idle_s = now, THINK_S
            return False
        self._changing, self._changing_until = session, now + CHANGE_S
        return True

    def _look(self, frame: bytes) -> tuple[int, str, int]:
        """Return kind, operation and number of a frame. Raises NoFrame."""
        decoder = framing.Decoder(PAYLOAD_MAX)
        taken = decoder.feed(frame, 0, len(frame))
        if not decoder.ready or taken != len(frame):
            raise NoFrame("not one whole frame")
        if decoder.message_type == messages.HELLO:
            return messages.HELLO, "", -1
        layout = self._layouts[messages.REQUEST]
        if decoder.message_type != messages.REQUEST or not layout.fits(decoder.length):
            raise NoFrame("neither hello nor request")
        try:
            fields = layout.unpack(bytes(decoder.payload[: decoder.length]))
            operation = bounded.load_object(fields["body"], messages.JSON_MAX)["op"]
        except (ValueError, KeyError):
            raise NoFrame("a request without an operation") from None
        if not isinstance(operation, str) or not operation:
            raise NoFrame("a request without an operation")
        return messages.REQUEST, operation, int(fields["number"])

    def _pass(self, session: Session, data: bytes) -> None:
        for at in range(0, len(data), wire.DATA_MAX):
            self._tell(session, wire.DATA + data[at : at + wire.DATA_MAX])

    def _tell(self, session: Session, message: bytes) -> None:
        if not session.gone:
            session.send(message)
