"""The host link: hello and welcome, then one signed request at a time and its answer, over any channel.

It numbers and signs requests, waits with a deadline, and repeats only what the table of operations calls idempotent
or what the board said it did not do; anything else that stays unanswered is OutcomeUnknown. It never interprets a
result (board does) and never opens a channel. Called by board; one Link at a time on a channel.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from heartwire import bounded
from heartwire.errors import (
    AtPrompt,
    BadConfig,
    Cancelled,
    HeartwireError,
    NoAnswer,
    NotAllowed,
    OutcomeUnknown,
    ProtocolMismatch,
    Refused,
    StorageProblem,
    TurnLost,
    Unplugged,
    UsageProblem,
)
from heartwire.journal import reason_words
from heartwire.keys import Keys
from heartwire.ports import holder_of
from heartwire.transport import Channel, SharedChannel
from heartwire_protocol import auth, codes, framing, messages, operations, records
from heartwire_protocol.version import TABLE_HASH

DEFAULT_TIMEOUT_S = 5.0
# Two more tries after the first one: the board is back from its longest flash write by then, or something is broken.
RETRIES = 2
# A board says "busy" for less than a second at a time; between two questions it gets this much quiet.
BUSY_PAUSE_S = 0.2
HELLO_INTERVAL_S = 1.0
NO_MAC = bytes(8)
LOOK_FIRST = OutcomeUnknown.default_next
# Request and response carry up to JSON_MAX bytes of text behind their fixed fields (13 and 4 bytes).
MAX_PAYLOAD = messages.JSON_MAX + 16
# How much of what is no frame is kept, to tell the user what kind of device talks there.
NOISE_KEPT = 512
# What helps where the reason of a refusal says it; the board has no room for such words.
NEXT_STEPS = {
    "not_in_maintenance": "`heartwire maintenance NODE` first, for longer than its boot_grace_ms; or observe mode",
    "settings_lost": "turn the board's key switch on, then `heartwire config apply` puts its settings back",
    "not_good_again": "`heartwire status` shows why; `heartwire config revert` goes back to the settings before",
}
# Why a change of settings is refused by what a node is (firmware: wiring.standing), and what helps.
IN_USE = {
    "active": (
        "is active",
        "make another node active first: `heartwire switchover`; or `heartwire mode observe`, apply, and arm again",
    ),
    "holder": (
        "holds the role",
        "make another node active first: `heartwire switchover`, or `heartwire declare` if it is gone for good",
    ),
    "late": ("is late, and its silence is being judged", "wait until it is good again or dead, then try again"),
    "fenced": ("is being fenced or has no power", "`heartwire release {node}` when that is over, then try again"),
    "under_way": ("is part of what is under way", "wait until it is over: `heartwire status --watch`"),
    "tested": ("has its relay tested", "wait until the test is over, then try again"),
    "running": ("runs its services", "stop its services first: unheard they could run beside another node's"),
}
_MESSAGES = (messages.HELLO, messages.WELCOME, messages.REQUEST, messages.RESPONSE, messages.EVENT)


@dataclass(frozen=True)
class Welcome:
    """What the board says about itself in answer to hello."""

    version: int
    tables: bytes
    session: bytes
    board_id: str
    boot: int


@dataclass(frozen=True)
class Reply:
    """The body of a response, and the journal records that came before it."""

    body: dict[str, Any]
    records: tuple[bytes, ...]


class Link:
    """One conversation with a board. `hello` first; `limited` holds a warning if the tables of both ends differ."""

    def __init__(self, channel: Channel, keys: Keys | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.channel = channel
        self.keys = keys or Keys()
        self.timeout_s = timeout_s
        self.limited = ""
        self._layouts = {kind: messages.layout_of(kind) for kind in _MESSAGES}
        self._decoder = framing.Decoder(MAX_PAYLOAD)
        self._pending = b""
        self._noise = b""
        self._welcome: Welcome | None = None
        self._boot = -1
        # Rises over sessions as well, so that a late answer from before a hello is never taken for a new one.
        self._number = 0

    @property
    def welcome(self) -> Welcome:
        """What the board said in answer to the last hello. Raises NoAnswer before that."""
        if self._welcome is None:
            raise NoAnswer(f"{self.channel.name}: the board was not asked yet")
        return self._welcome

    @property
    def boot(self) -> int:
        """The board's boot number at the last hello that it answered; -1 before that."""
        return self._boot

    def use_channel(self, channel: Channel) -> None:
        """Go on over a newly opened channel; `hello` must follow."""
        self.channel = channel
        self._pending = b""
        self._decoder = framing.Decoder(MAX_PAYLOAD)

    @property
    def drops(self) -> dict[str, int]:
        """Frames thrown away so far, by kind (codes.DROPS); only those that happened."""
        return {codes.name_of(codes.DROPS, kind): count for kind, count in enumerate(self._decoder.drops) if count}

    def hello(self) -> Welcome:
        """Start a session with the board; return its welcome. Raises NoAnswer, ProtocolMismatch, Unplugged."""
        deadline = self.channel.now() + self.timeout_s
        self._welcome = None
        self._noise = b""
        frame = framing.encode(messages.HELLO, self._layouts[messages.HELLO].pack(version=messages.PROTOCOL_VERSION))
        try:
            while self._welcome is None and self.channel.now() < deadline:
                self.channel.write(frame)
                self._wait(min(deadline, self.channel.now() + HELLO_INTERVAL_S), (messages.WELCOME,))
        except Unplugged:
            # It has said why it goes away.
            if b"Traceback" not in self._noise:
                raise
        if self._welcome is None:
            raise self._no_board()
        if self._welcome.version != messages.PROTOCOL_VERSION:
            board, host = self._welcome.version, messages.PROTOCOL_VERSION
            older = "the board" if board < host else "this host"
            raise ProtocolMismatch(
                f"{self.channel.name}: the board speaks protocol version {board}, this host speaks version {host}",
                f"{older} is older: "
                + ("`heartwire flash` brings the board up to date" if board < host else "install a newer heartwire"),
            )
        self._boot = self._welcome.boot
        self.limited = _compare_tables(self._welcome.tables)
        return self._welcome

    def request(self, op: str, *, sign_with: int = 0, **arguments: Any) -> Reply:
        """Ask for one operation and return the reply.

        `sign_with` asks for a key of at least that right (codes.RIGHT_*), beyond what the operation needs. Raises
        Refused, NotAllowed, BadConfig, StorageProblem, ProtocolMismatch as the board answers; NoAnswer, Unplugged,
        OutcomeUnknown if it does not.
        """
        row = operations.operation_row(op)
        if row is None:
            raise UsageProblem(f"there is no operation {op}")
        idempotent = row[3]
        # The board may want a lesser key where it has none of the operation's own right.
        key = self.keys.signer(max(row[2], sign_with)) or self.keys.signer(row[2]) or self.keys.best()
        body = json.dumps({"op": op, **arguments}, separators=(",", ":"), ensure_ascii=True).encode()
        if len(body) > messages.JSON_MAX:
            raise UsageProblem(f"{op}: a request of {len(body)} bytes is longer than {messages.JSON_MAX}")
        for attempt in range(1 + RETRIES):
            if attempt:
                # Nothing came: the board may have restarted and know no session any more.
                self.hello()
            try:
                reply = self._ask_until_signed(key, body)
            except KeyboardInterrupt:
                if idempotent:
                    raise
                raise Cancelled(f"cancelled while {op} was under way: it may have happened", LOOK_FIRST) from None
            if reply is not None:
                return _checked(op, reply)
            if not idempotent:
                raise OutcomeUnknown(f"{op}: sent, but no answer within {self.timeout_s:g} s")
        raise _no_answer(self.channel, f"no answer to {op} in {1 + RETRIES} tries of {self.timeout_s:g} s")

    def pause(self, seconds: float) -> None:
        """Let `seconds` pass, reading what comes in."""
        self._wait(self.channel.now() + seconds, ())

    def _ask_until_signed(self, key: tuple[int, auth.Signer] | None, body: bytes) -> Reply | None:
        """Ask once; again with a new session, then unsigned, where the board says it did nothing because of the MAC."""
        reply = self._ask(key, body)
        if reply is None or key is None or reply.body.get("error") != "bad_mac":
            return reply
        self.hello()
        again = self._ask(key, body)
        if again is None or again.body.get("error") != "bad_mac":
            return again
        # A board without a key of this right takes the request unsigned; one that has another key still says no.
        unsigned = self._ask(None, body)
        if unsigned is None or unsigned.body.get("reason") == "not_armed":
            return unsigned
        return again if unsigned.body.get("error") in ("not_allowed", "bad_mac") else unsigned

    def _ask(self, key: tuple[int, auth.Signer] | None, body: bytes) -> Reply | None:
        """Send one request, going on as long as the board says busy; None if no answer came in time."""
        busy_until = self.channel.now() + self.timeout_s
        operation = json.loads(body)["op"]
        while True:
            if isinstance(self.channel, SharedChannel) and not self.channel.turn(operation, self.timeout_s):
                # Another program has said hello since.
                self.hello()
            right, signer = key or (codes.RIGHT_NONE, None)
            self._number += 1
            number = self._number
            mac = NO_MAC
            if signer is not None:
                mac = signer.mac(b"R", self.welcome.session, bytes([right]), number.to_bytes(4, "little"), body)
            payload = self._layouts[messages.REQUEST].pack(right=right, number=number, mac=mac, body=body)
            self.channel.write(framing.encode(messages.REQUEST, payload))
            try:
                reply = self._collect(number, self.channel.now() + self.timeout_s)
            except TurnLost:
                if self.channel.now() >= busy_until:
                    raise
                continue
            if reply is None or reply.body.get("error") != "busy" or self.channel.now() >= busy_until:
                return reply
            self._wait(self.channel.now() + BUSY_PAUSE_S * random.uniform(0.5, 1.5), ())  # noqa: S311

    def _collect(self, number: int, deadline: float) -> Reply | None:
        found: list[bytes] = []
        while True:
            frame = self._wait(deadline, (messages.RESPONSE, messages.EVENT))
            if frame is None:
                return None
            kind, fields = frame
            if kind == messages.EVENT:
                found.append(fields["record"])
                continue
            if fields["number"] != number:
                continue  # the late answer to a request that was given up
            try:
                body = bounded.load_object(fields["body"], MAX_PAYLOAD)
            except ValueError:
                raise ProtocolMismatch(f"{self.channel.name}: the board's answer is no JSON object") from None
            return Reply(body, tuple(found))

    def _wait(self, deadline: float, wanted: tuple[int, ...]) -> tuple[int, dict[str, Any]] | None:
        """Return the first frame of a wanted kind before `deadline`; note every welcome on the way."""
        while True:
            while self._pending:
                chunk = self._pending
                taken = self._decoder.feed(chunk, 0, len(chunk))
                self._pending = chunk[taken:]
                if not self._decoder.ready:
                    continue
                fields = self._fields()
                if fields is None:
                    continue
                kind = self._decoder.message_type
                if kind == messages.WELCOME:
                    fields["board_id"] = fields["board_id"].hex().upper()
                    self._welcome = Welcome(**fields)
                if kind in wanted:
                    return kind, fields
            left = deadline - self.channel.now()
            if left <= 0:
                return None
            self._pending = self.channel.read(left)
            self._noise = (self._noise + self._pending)[-NOISE_KEPT:]

    def _fields(self) -> dict[str, Any] | None:
        layout = self._layouts.get(self._decoder.message_type)
        if layout is None:
            self._decoder.count_drop(codes.DROP_UNKNOWN_TYPE)
            return None
        payload = bytes(self._decoder.payload[: self._decoder.length])
        if not layout.fits(len(payload)):
            # A welcome of another version may have another length; its version still stands in the first byte.
            if self._decoder.message_type == messages.WELCOME and payload and payload[0] != messages.PROTOCOL_VERSION:
                return {"version": payload[0], "tables": b"", "session": b"", "board_id": b"", "boot": 0}
            self._decoder.count_drop(codes.DROP_WRONG_LENGTH)
            return None
        if self._decoder.message_type == messages.EVENT and len(payload) != records.LENGTH:
            self._decoder.count_drop(codes.DROP_WRONG_LENGTH)
            return None
        try:
            fields: dict[str, Any] = layout.unpack(payload)
        except ValueError:
            self._decoder.count_drop(codes.DROP_OUT_OF_RANGE)
            return None
        return fields

    def _no_board(self) -> HeartwireError:
        name = self.channel.name
        text = self._noise.decode("ascii", "replace")
        if _at_prompt(text):
            return AtPrompt(
                f"{name}: MicroPython answers, but Heartwire does not run on it",
                "put it there with `heartwire flash`",
                port=name,
            )
        if "Traceback" in text:
            last = [line for line in text.splitlines() if line.strip()][-1].strip()
            return NoAnswer(
                f"{name}: the board's program does not start: {last[:100]}",
                "turn the board's key switch on and repeat `heartwire flash` until it finds the prompt, or flash it "
                "from its boot loader",
            )
        if self._noise:
            return _no_answer(self.channel, "something talks there, but it is no Heartwire board")
        return _no_answer(self.channel, f"no answer within {self.timeout_s:g} s")


def _at_prompt(text: str) -> bool:
    """Tell whether MicroPython's prompt answered hello, which holds Ctrl-A: the wish for its raw mode.

    A program that only prints such words runs, and must not be interrupted for them.
    """
    lines = text.splitlines()
    return "raw REPL; CTRL-B to exit" in text or bool(lines and lines[-1].startswith(">>>"))


def _no_answer(channel: Channel, words: str) -> NoAnswer:
    """Return the error, with the program that reads the port beside us: it gets what was meant for us."""
    name = channel.name
    # A shared port is open in its broker, as it should be.
    holder = holder_of(name) if "://" not in name and not isinstance(channel, SharedChannel) else ""
    if not holder:
        return NoAnswer(f"{name}: {words}")
    return NoAnswer(
        f"{name}: {words}; {holder} has this port open too, and takes what the board says",
        "end that program, and keep it from coming back; the board goes on guarding",
    )


def _compare_tables(theirs: bytes) -> str:
    ours = TABLE_HASH
    if theirs == ours:
        return ""
    return (
        f"the board's tables ({theirs.hex()}) differ from this host's ({ours.hex()}): names may be wrong; "
        "`heartwire flash` brings both to one version"
    )


def _checked(op: str, reply: Reply) -> Reply:
    """Return the reply, or raise what its error code means."""
    code = reply.body.get("error")
    if code is None:
        return reply
    code = str(code)
    known = dict(operations.ERRORS)
    reason = str(reply.body.get("reason", ""))
    words = f"{op}: {reply.body.get('say') or known.get(code, code)}"
    if reason:
        words = f"{op}: refused: {reply.body.get('because') or reason_words(reason)}"
    next_step = reply.body.get("next")
    if code == "not_allowed":
        if not reason:
            row = operations.operation_row(op)
            said = re.fullmatch(r"use the (\w+) key", str(next_step))
            wanted = said[1] if said else codes.RIGHTS[row[2]] if row else "right"
            words, next_step = f"{op}: the board wants the {wanted} key", None
        raise NotAllowed(words, NEXT_STEPS.get(reason, next_step))
    if code == "bad_mac":
        # A session that is over was begun anew already (Link.request), so it is the key.
        raise NotAllowed(
            f"{op}: the key in your key file is not the board's",
            "give the file with this board's keys: --key-file or HEARTWIRE_KEY_FILE; see `heartwire help keys`",
        )
    if code == "bad_settings":
        problem = f"{reply.body.get('path', 'settings')}: {reply.body.get('rule', reply.body.get('say', 'refused'))}"
        raise BadConfig(f"the board refuses the settings: {problem}", next_step, problems=(problem,))
    if code == "storage":
        raise StorageProblem(
            words, next_step or "look at `heartwire status`; the board's flash may be full or worn out"
        )
    if code in ("unknown_operation", "bad_request"):
        raise ProtocolMismatch(words, next_step)
    next_step = NEXT_STEPS.get(reason, next_step)
    node = str(reply.body.get("node", ""))
    if reason == "in_use":
        stands, helps = IN_USE.get(str(reply.body.get("standing")), (reason_words(reason), None))
        words = f"{op}: refused: {reply.body.get('path')} stays as it is while {node} {stands}"
        next_step = helps.format(node=node) if helps else next_step
    elif node:
        words += f" ({node})"
    raise Refused(words, next_step, reason=reason, code=code)
