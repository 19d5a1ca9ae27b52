"""The host link: hello and welcome, then one signed request at a time and its signed answer, over any channel.

With a key nothing is believed that the key does not prove: each request and each answer is signed over a nonce of this
host, the board's session and the board's id, so an answer is the board's own, to this request, whole. There is no way
back to unsigned. Without a key all is as good as the cable. It numbers requests, waits with a deadline, and repeats
only what the table of operations calls idempotent or what the board said it did not do; anything else that stays
unanswered is OutcomeUnknown. It never interprets a result (board does) and never opens a channel. Called by board; one
Link at a time on a channel.
"""

from __future__ import annotations

import json
import random
import secrets
import string
from dataclasses import dataclass
from typing import Any

from heartwire import bounded, refusals
from heartwire.errors import (
    AtPrompt,
    Cancelled,
    HeartwireError,
    NoAnswer,
    NotAuthentic,
    OtherBoard,
    OutcomeUnknown,
    ProtocolMismatch,
    TurnLost,
    Unplugged,
    UsageProblem,
)
from heartwire.keys import Keys
from heartwire.ports import holder_of
from heartwire.refusals import Reply
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
# A nonce of 48 random bits, in letters: a prompt that gets hello takes each byte for a key, and none may do anything.
NONCE_BYTES = 8
NONCE_LETTERS = string.ascii_letters + string.digits + "-_"
SPACE = 32
# After an answer with a wrong signature the right one may still come: the wrong one was noise, or somebody else's.
WRONG_GRACE_S = 0.5
LOOK_FIRST = OutcomeUnknown.default_next
FORGED = "the answer is not signed with your key for this question, so it is not your board's"
# Request and response carry up to JSON_MAX bytes of text behind their fixed fields (13 and 12 bytes).
MAX_PAYLOAD = messages.JSON_MAX + 16
# How much of what is no frame is kept, to tell the user what kind of device talks there.
NOISE_KEPT = 512
HOST_RIGHTS = (codes.RIGHT_VIEW, codes.RIGHT_OPERATE, codes.RIGHT_CONFIGURE)
_MESSAGES = (messages.HELLO, messages.WELCOME, messages.REQUEST, messages.RESPONSE, messages.EVENT)


@dataclass(frozen=True)
class Welcome:
    """What the board says about itself in answer to hello."""

    version: int
    tables: bytes
    session: bytes
    board_id: str
    boot: int
    keys: int

    def has_key(self, right: int) -> bool:
        """Tell whether the board says that it has a key of `right`."""
        return bool(self.keys >> right & 1)


class Link:
    """One conversation with a board. `hello` first; `limited` holds a warning if the tables of both ends differ.

    `board_id` (hexadecimal digits) is the only board that it talks to; "" takes any.
    """

    versions: tuple[int, ...] = (messages.PROTOCOL_VERSION,)

    def __init__(
        self, channel: Channel, keys: Keys | None = None, timeout_s: float = DEFAULT_TIMEOUT_S, board_id: str = ""
    ) -> None:
        self.channel = channel
        self.keys = keys or Keys()
        self.board_id = board_id.upper()
        self.timeout_s = timeout_s
        self.limited = ""
        self._layouts = {kind: messages.layout_of(kind) for kind in _MESSAGES}
        self._nonce = bytes(NONCE_BYTES)
        self._forged = 0
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
    def signed(self) -> bool:
        """Whether answers are believed only if a key signs them."""
        return bool(self.keys)

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
        """Start a session with the board; return its welcome.

        Raises NoAnswer, ProtocolMismatch, Unplugged, and OtherBoard if it is not the one that is named.
        """
        deadline = self.channel.now() + self.timeout_s
        self._welcome = None
        self._noise = b""
        frame = self._greeting()
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
        if self._welcome.version not in self.versions:
            board, host = self._welcome.version, messages.PROTOCOL_VERSION
            older = "the board" if board < host else "this host"
            raise ProtocolMismatch(
                f"{self.channel.name}: the board speaks protocol version {board}, this host speaks version {host}",
                f"{older} is older: "
                + (
                    "`heartwire flash`, on the machine that its USB cable is plugged into, brings it up to date"
                    if board < host
                    else "install a newer heartwire"
                ),
            )
        self._demand_named(self._welcome)
        self._boot = self._welcome.boot
        self.limited = _compare_tables(self._welcome.tables)
        return self._welcome

    def request(self, op: str, *, sign_with: int = 0, **arguments: Any) -> Reply:
        """Ask for one operation and return the reply.

        `sign_with` asks for a key of at least that right (codes.RIGHT_*), beyond what the operation needs. Raises
        Refused, NotAllowed, BadConfig, StorageProblem, ProtocolMismatch as the board answers; NoAnswer, Unplugged,
        OutcomeUnknown if it does not; NotAuthentic if what answers does not prove that it is this board.
        """
        row = operations.operation_row(op)
        if row is None:
            raise UsageProblem(f"there is no operation {op}")
        idempotent = row[3]
        body = json.dumps({"op": op, **arguments}, separators=(",", ":"), ensure_ascii=True).encode()
        if len(body) > messages.JSON_MAX:
            raise UsageProblem(f"{op}: a request of {len(body)} bytes is longer than {messages.JSON_MAX}")
        self._forged = 0
        for attempt in range(1 + RETRIES):
            if attempt:
                # Nothing came: the board may have restarted and know no session any more.
                self.hello()
            try:
                reply = self._ask_anew(row[2], sign_with, body)
            except KeyboardInterrupt:
                if idempotent:
                    raise
                raise Cancelled(f"cancelled while {op} was under way: it may have happened", LOOK_FIRST) from None
            if reply is not None:
                return refusals.checked(op, reply)
            if not idempotent and self._forged:
                raise NotAuthentic(f"{op}: {FORGED}; whether the board did it nobody knows", LOOK_FIRST)
            if not idempotent:
                raise OutcomeUnknown(f"{op}: sent, but no answer within {self.timeout_s:g} s")
        if self._forged:
            raise NotAuthentic(f"{op}: {FORGED}")
        raise _no_answer(self.channel, f"no answer to {op} in {1 + RETRIES} tries of {self.timeout_s:g} s")

    def pause(self, seconds: float) -> None:
        """Let `seconds` pass, reading what comes in."""
        self._wait(self.channel.now() + seconds, ())

    def _greeting(self) -> bytes:
        """Draw a nonce; return the frame of hello, which holds no control character behind its version."""
        while True:
            self._nonce = "".join(secrets.choice(NONCE_LETTERS) for _ in range(NONCE_BYTES)).encode()
            hello = self._layouts[messages.HELLO].pack(version=messages.PROTOCOL_VERSION, nonce=self._nonce)
            frame = framing.encode(messages.HELLO, hello)
            if min(frame[-3:-1]) >= SPACE:
                return bytes(frame)

    def _welcomed(self, fields: dict[str, Any]) -> Welcome:
        return Welcome(**{**fields, "board_id": fields["board_id"].hex().upper()})

    def _demand_named(self, welcome: Welcome) -> None:
        """Raise OtherBoard if another board answers than the one that is named."""
        if self.board_id and welcome.version in self.versions and welcome.board_id != self.board_id:
            raise OtherBoard(
                f"{self.channel.name}: board {welcome.board_id} answers, {self.board_id} is wanted; nothing was asked"
            )

    def _key_for(self, right: int, sign_with: int) -> tuple[int, auth.Signer] | None:
        """Return (right, signer) for an operation of `right`; None where this host holds no key.

        The board may want a lesser key where it has none of the operation's own right. Raises NotAuthentic where it has
        none that this host holds, as it could prove nothing.
        """
        if not self.keys:
            return None
        shared = [one for one in HOST_RIGHTS if self.keys.key(one) and self.welcome.has_key(one)]
        for least in (max(right, sign_with), right):
            for one in shared:
                if one >= least:
                    return self.keys.signer(one)
        if shared:
            return self.keys.signer(shared[-1])
        name = f"{self.channel.name}: board {self.welcome.board_id}"
        if not self.welcome.keys:
            raise NotAuthentic(
                f"{name} has no keys and you hold one: nothing proves that it is yours",
                "a new board, or one that lost its settings: `--unsigned` talks to it without a key until "
                "`heartwire config apply` gave it yours. Else it is not your board",
            )
        has = ", ".join(codes.RIGHTS[one] for one in HOST_RIGHTS if self.welcome.has_key(one))
        raise NotAuthentic(
            f"{name} has no key of a right that you hold one of (it has {has}): nothing proves that it is yours",
            "give the file with this board's keys: --key-file or HEARTWIRE_KEY_FILE; see `heartwire help keys`",
        )

    def _ask_anew(self, right: int, sign_with: int, body: bytes) -> Reply | None:
        """Ask once; again with a new session where the board says that it did nothing because of the signature."""
        key = self._key_for(right, sign_with)
        reply = self._ask(key, body)
        if reply is None or key is None or reply.body.get("error") != "bad_mac":
            return reply
        self.hello()
        return self._ask(self._key_for(right, sign_with), body)

    def _binding(self) -> bytes:
        """Return what signatures of this session are bound to."""
        welcome = self.welcome
        return self._nonce + welcome.session + bytes.fromhex(welcome.board_id)

    def _request(self, key: tuple[int, auth.Signer] | None, number: int, body: bytes) -> bytes:
        """Return the payload of a request."""
        right, signer = key or (codes.RIGHT_NONE, None)
        mac = NO_MAC if signer is None else auth.request_mac(signer, self._binding(), right, number, body)
        return self._layouts[messages.REQUEST].pack(right=right, number=number, mac=mac, body=body)

    def _ask(self, key: tuple[int, auth.Signer] | None, body: bytes) -> Reply | None:
        """Send one request, going on as long as the board says busy; None if no answer came in time."""
        busy_until = self.channel.now() + self.timeout_s
        operation = json.loads(body)["op"]
        while True:
            if isinstance(self.channel, SharedChannel) and not self.channel.turn(operation, self.timeout_s):
                # Another program has said hello since.
                self.hello()
            self._number += 1
            number = self._number
            payload = self._request(key, number, body)
            proof = None if key is None else (key[1], self._binding())
            self.channel.write(framing.encode(messages.REQUEST, payload))
            try:
                reply = self._collect(number, proof, self.channel.now() + self.timeout_s)
            except TurnLost:
                if self.channel.now() >= busy_until:
                    raise
                continue
            if reply is None or reply.body.get("error") != "busy" or self.channel.now() >= busy_until:
                return reply
            self._wait(self.channel.now() + BUSY_PAUSE_S * random.uniform(0.5, 1.5), ())  # noqa: S311

    def _collect(self, number: int, proof: tuple[auth.Signer, bytes] | None, deadline: float) -> Reply | None:
        """Return the answer to request `number`; None if none came in time that `proof` (signer, binding) holds.

        A board that knows no key for the request cannot sign that. Anybody can say so, therefore what is signed goes
        before it: else a request that was carried out would be sent once more.
        """
        found: list[bytes] = []
        denied: Reply | None = None
        while True:
            frame = self._wait(deadline, (messages.RESPONSE, messages.EVENT))
            if frame is None:
                return denied
            kind, fields = frame
            if kind == messages.EVENT:
                found.append(fields["record"])
                continue
            if fields["number"] != number:
                continue  # the late answer to a request that was given up
            try:
                body = bounded.load_object(fields["body"], MAX_PAYLOAD)
            except ValueError:
                body = None
            if proof is not None and not self._is_authentic(number, proof, found, fields):
                if body == {"error": "bad_mac"}:
                    denied = denied or Reply(body, ())
                else:
                    self._forged += 1
                found.clear()
                deadline = min(deadline, self.channel.now() + WRONG_GRACE_S)
                continue
            if body is None:
                raise ProtocolMismatch(f"{self.channel.name}: the board's answer is no JSON object")
            return Reply(body, tuple(found))

    def _is_authentic(
        self, number: int, proof: tuple[auth.Signer, bytes], found: list[bytes], fields: dict[str, Any]
    ) -> bool:
        signer, binding = proof
        mac = auth.answer_begin(signer, binding, number)
        for record in found:
            mac.update(record)
        mac.update(fields["body"])
        return auth.same(signer.end(mac), fields["mac"])

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
                    self._welcome = self._welcomed(fields)
                    self._demand_named(self._welcome)
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
            if self._decoder.message_type == messages.WELCOME and payload and payload[0] not in self.versions:
                return {"version": payload[0], "tables": b"", "session": b"", "board_id": b"", "boot": 0, "keys": 0}
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
    """Tell whether MicroPython's prompt answered hello, which begins with Enter there, and held Ctrl-A once.

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
