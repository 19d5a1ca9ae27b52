"""Host link: frames on USB -> requests -> responses, bounded per pass, never blocking, never deciding.

Only this link configures, approves and switches. Each request is signed with the key of its right over this session and
a rising number, so it can be neither forged nor replayed; its answer is signed with the same key. Management work
(JSON, journal reads, flash) waits for a quiet slot, which the supervisor announces. What an operation does stands in
hostlink_operations.py.
"""

import json

from heartwire_firmware.journal_reader import WAITS, Reader
from heartwire_protocol import auth, codes, framing, messages, operations, reasons, records, version

# A byte takes 45 us on the board, as each is asked for alone; near a deadline none is read or written.
READ_MAX = 32  # bytes read a pass
WRITE_MAX = 56  # bytes written a pass: a record whole
NOBODY = -1
_COMPACT = (",", ":")
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HostLink:
    """The link over `usb` (ports.Usb); `execute(row, request, right)` of `operations` returns an answer as a dict."""

    def __init__(self, usb, chip, journal):
        self._usb = usb
        self._chip = chip
        self._journal = journal
        self._reader = Reader(journal)
        self._raw = bytearray(READ_MAX)
        self._from = 0
        self._until = 0
        self._decoder = framing.Decoder(messages.layout_of(messages.REQUEST).length + messages.JSON_MAX)
        self.drops = self._decoder.drops
        self._request = messages.layout_of(messages.REQUEST)
        self._response = messages.layout_of(messages.RESPONSE)
        self._welcome = messages.layout_of(messages.WELCOME)
        self._fields = [0] * len(self._request.names)
        self._out = bytearray(framing.wire_length(self._response.length + messages.JSON_MAX))
        self._out_view = memoryview(self._out)
        self._sent = 0
        self._filled = 0
        self._session = bytearray(8)
        self._binding = b""  # what signatures of this session are bound to: the host's nonce, the session, the board
        # What the request under way was signed with, and the MAC of its answer so far; None for an open one.
        self._signer: "auth.Signer | None" = None
        self._answer: "Any" = None
        self._number = 0
        # Of each right: its key and the one that is to follow it.
        self._signers: "list[tuple[auth.Signer | None, auth.Signer | None]]" = [(None, None)] * len(codes.RIGHTS)
        self.locked = False  # the settings are lost: orders need the key switch
        self._record = bytearray(records.LENGTH)
        self._log_number = NOBODY
        self._log_after = 0
        self._log_left = 0
        self._log_sent = 0
        self.operations: "Any" = None  # set by the supervisor: hostlink_operations.Operations

    def configure(self, board) -> None:
        """Take the keys."""
        self._signers[1] = (auth.signer_of(board.view_key), auth.signer_of(board.view_key_next))
        self._signers[2] = (auth.signer_of(board.operate_key), auth.signer_of(board.operate_key_next))
        self._signers[3] = (auth.signer_of(board.configure_key), auth.signer_of(board.configure_key_next))

    def has_configure_key(self) -> bool:
        """Tell whether a configure key is set."""
        return self._signers[codes.RIGHT_CONFIGURE][0] is not None

    @property
    def idle(self) -> bool:
        """Tell whether everything that was answered has left."""
        return self._sent == self._filled and self._log_number == NOBODY

    @property
    def busy(self) -> bool:
        """Tell whether something is to be sent or served."""
        return not self.idle or self._decoder.ready or self._from != self._until

    def step(self, elapsed_ms: int, quiet: bool) -> bool:
        """Send, receive and, in a quiet slot, work for one message; return whether it did."""
        if self._sent < self._filled:
            end = min(self._filled, self._sent + WRITE_MAX)
            self._sent += self._usb.write(self._out_view, self._sent, end)
        decoder = self._decoder
        if not decoder.ready:
            if self._from == self._until:
                self._from = 0
                self._until = self._usb.read_into(self._raw, READ_MAX)
            if self._from < self._until:
                self._from = decoder.feed(self._raw, self._from, self._until)
        if decoder.ready and decoder.message_type == messages.HELLO:
            # A host that starts anew is not made to wait behind an answer that an earlier one never read.
            self._drop_output()
        if self._sent < self._filled or not quiet:
            return False
        if self._log_number != NOBODY:
            self._send_event()
        elif decoder.ready:
            decoder.ready = False
            self._take(decoder.message_type, decoder.length)
        else:
            return False
        return True

    def _drop_output(self) -> None:
        self._sent = self._filled = 0
        self._log_number = NOBODY

    def _take(self, message_type: int, length: int) -> None:
        payload = self._decoder.payload
        if message_type == messages.HELLO and length >= 1:
            self._greet(bytes(payload[1:length]))
        elif message_type == messages.REQUEST:
            if not self._request.fits(length) or not self._request.read_into(self._fields, payload):
                self._decoder.count_drop(codes.DROP_WRONG_LENGTH)
                return
            self._serve(self._fields[0], self._fields[1], bytes(payload[self._request.length : length]))
        else:
            known = [row[0] for row in messages.MESSAGES]
            self._decoder.count_drop(codes.DROP_NOT_ALLOWED if message_type in known else codes.DROP_UNKNOWN_TYPE)

    def _greet(self, nonce: bytes) -> None:
        self._chip.random_into(self._session)
        self._number = 0
        board_id = self._chip.unique_id()
        self._binding = nonce + bytes(self._session) + board_id
        keys = 0
        for right in range(len(codes.RIGHTS)):
            if self._signers[right][0] is not None:
                keys |= 1 << right
        payload = self._welcome.pack(
            version=messages.PROTOCOL_VERSION,
            tables=version.TABLE_HASH,
            session=self._session,
            board_id=board_id,
            boot=self._journal.boot,
            keys=keys,
        )
        self._queue(messages.WELCOME, payload)

    def _serve(self, right: int, number: int, body: bytes) -> None:
        if not self._is_signed(right, number, body):
            self._respond(number, problem("bad_mac"))
            return
        self._number = number
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            self._respond(number, problem("bad_request"))
            return
        row = operations.operation_row(request["op"])
        if row is None:
            answer = problem("unknown_operation")
        elif self.locked and row[1] != "status" and not self.operations.key_is_on:
            answer = problem("not_allowed", reason="settings_lost")
        elif right < self._needed(row[2]):
            answer = problem("not_allowed", right=codes.RIGHTS[self._needed(row[2])])
        else:
            wrong = wrong_argument(row[4], request)
            if wrong is not None:
                answer = problem("bad_argument", argument=wrong)
            elif row[1] == "log":
                self._log_number = number
                self._log_after = request["after"]
                self._log_left = request["count"]
                self._log_sent = 0
                return
            else:
                answer = self.operations.execute(row, request, right)
        self._respond(number, answer)

    def _needed(self, right: int) -> int:
        """Return the right that a request must be signed with. Where no key of its own right is set, what changes
        something needs the next higher key that is set, else the highest below: a key that anybody at the cable could
        go around would protect nothing. What only reads is open without a view key.
        """
        for wanted in (right, codes.RIGHT_CONFIGURE, codes.RIGHT_OPERATE, codes.RIGHT_VIEW):
            if self._signers[wanted][0] is not None:
                return wanted
            if right == codes.RIGHT_VIEW:
                break
        return codes.RIGHT_NONE

    def _is_signed(self, right: int, number: int, body: bytes) -> bool:
        self._signer = None
        if number <= self._number or right >= len(codes.RIGHTS):
            return False
        if right == codes.RIGHT_NONE:
            return True
        at = self._request.offset("mac")
        told = self._decoder.payload[at : at + auth.MAC_LENGTH]
        for signer in self._signers[right]:
            if signer is not None:
                if auth.same(auth.request_mac(signer, self._binding, right, number, body), told):
                    self._signer = signer
                    self._answer = auth.answer_begin(signer, self._binding, number)
                    return True
        return False

    def _send_event(self) -> None:
        sequence = self._reader.step(self._log_after, self._record) if self._log_left else 0
        if sequence == WAITS:
            return
        if sequence:
            self._log_after = sequence
            self._log_left -= 1
            self._log_sent += 1
            if self._signer is not None:
                self._answer.update(self._record)
            self._queue(messages.EVENT, self._record)
            return
        number = self._log_number
        self._log_number = NOBODY
        journal = self._journal
        self._respond(
            number,
            {
                "sent": self._log_sent,
                "newest": journal.durable,
                "oldest_decision": journal.oldest(0),
                "oldest_routine": journal.oldest(1),
            },
        )

    def _respond(self, number: int, result) -> None:
        body = json.dumps(result, separators=_COMPACT).encode()
        if len(body) > messages.JSON_MAX:
            body = json.dumps(problem("bad_request")).encode()
        mac = bytes(8)
        if self._signer is not None:
            self._answer.update(body)
            mac = self._signer.end(self._answer)
        self._queue(messages.RESPONSE, self._response.pack(number=number, mac=mac, body=body))

    def _queue(self, message_type: int, payload) -> None:
        self._sent = 0
        self._filled = framing.encode_into(self._out, message_type, payload, len(payload))


def problem(error: str, **more):
    """Return the response of a refused request: a code of the table of errors and what belongs to it. The host has the
    words.
    """
    more["error"] = error
    return more


def answer_of(reason: int):
    """Return the response of a request that the policy has granted, or refused for `reason`."""
    return {"ok": 1} if reason == reasons.NONE else problem("refused", reason=reasons.NAMES[reason])


def node_name(node: int) -> "str | None":
    """Return the name of `node`, None for no node."""
    return codes.NODES[node] if node < codes.NODE_COUNT else None


def wrong_argument(arguments, request) -> "str | None":
    """Return the name of the first of `arguments` (a column of the table of operations) that `request` has wrong."""
    for name, kind, lowest, highest, _ in arguments:
        value = request.get(name)
        if kind == "int":
            right = type(value) is int and lowest <= value <= highest
        elif kind == "text":
            right = isinstance(value, str)
        elif kind == "mode":
            right = value in codes.MODES
        elif kind == "bool":
            right = value in (None, 0, 1)
        else:
            right = value in codes.NODES or (value is None and kind == "node?")
        if not right:
            return name
    return None
