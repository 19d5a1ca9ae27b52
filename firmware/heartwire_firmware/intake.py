"""Intake: bytes of one node line -> frames -> heartbeats that count, each drop counted by kind.

It checks what a heartbeat is worth (right node, right answer, rising sequence, not too early) and answers it with a
grant when the supervisor says which. It never judges whether a node lives (liveness) or may be active (policy). Bounded
per pass: at most READ_MAX bytes and one frame; a frame whose signature cannot be checked in this pass waits for the
next.
"""

from heartwire_firmware.challenge import Challenge
from heartwire_protocol import auth, bits, codes, framing, messages

READ_MAX = 48  # bytes a pass and line: four times what 115200 baud brings in 1 ms
PAYLOAD_MAX = 40  # longest payload a node may send, with room to tell "wrong length" from "too long"
TEXT_MAX = 80
# Heartbeats in a row that a stall excuses for looking early: the longest flash write lets up to five wait, and the next
# one follows soon. More are early: else each write of "altered" would excuse the next ones.
EXCUSED_MAX = 6

# What a pass brought.
NOTHING = 0
GOOD = 1
SIGN = 2  # a sign of life that proves nothing more: no answer, or only to an old challenge
BAD = 3
EVENTS_WANTED = 4
FENCE_WANTED = 5

_ALTERED_LIMIT = 3  # bad heartbeats in a row before the line counts as altered


class Intake:
    """One node's line: `line` is a ports.Line, `node` its index."""

    def __init__(self, node: int, line, random_into, ticks_us):
        self.node = node
        self._ticks_us = ticks_us
        self._line = line
        self._raw = bytearray(READ_MAX)
        self._decoder = framing.Decoder(PAYLOAD_MAX)
        self.drops = self._decoder.drops
        self._heartbeat = messages.layout_of(messages.HEARTBEAT)
        self._mac_at = self._heartbeat.offset("mac")
        self._fields = [0] * len(self._heartbeat.names)
        self._read_events = messages.layout_of(messages.READ_EVENTS)
        self._fence_request = messages.layout_of(messages.FENCE_REQUEST)
        self._body = self._decoder.payload[: self._mac_at]
        self._mac = self._decoder.payload[self._mac_at : self._mac_at + auth.MAC_LENGTH]
        self._from = 0
        self._until = 0
        self._signer: "auth.Signer | None" = None  # what the node signed with last
        self._other: "auth.Signer | None" = None  # the other key that it may sign with
        self._keys = ("", "")
        self.rolls = False  # two keys are accepted
        self.uses_next = False  # the node signed with key_next last
        self._text = False
        self._enabled = False
        self._early_ms = 0
        self._late_ms = 0
        self._half_line_ms = 0  # so long a challenge may stand unanswered
        self.challenge = Challenge(random_into)
        # What the node said last.
        self.state = 0
        self.flags = 0
        self.epoch = 0
        self.busy_s = 0
        self.incarnation = 0
        self.sequence = 0
        self.has_incarnation = False
        self.new_incarnation = False
        self.answer_incarnation = 0
        self.answer_sequence = 0
        self.reply_due = False
        self.answers_good = False  # the heartbeat to be answered gave a right answer
        self.spoke = False  # something valid was heard, so the board may speak on this line
        self.since_good_ms = 0
        self.heard_us = 0  # when the bytes read last ended, in microseconds
        self.good_us = 0  # heard_us of the last good heartbeat: its node's deadline is counted from it
        self._unsure_ms = 0  # for this long a heartbeat may look early because an earlier one was taken late
        self._excused = 0  # heartbeats in a row that looked early, and may have been taken late
        self.bad_in_row = 0
        self.altered = False
        self.last_drop = 0
        self.half_line = False
        self.beats = 0
        self.request_target = 0
        self.request_sequence = 0
        self.events_after = 0
        self.events_count = 0
        self.events_asked = b""
        self._last_sign_incarnation = -1
        self._last_sign_sequence = -1
        self._letters = 0  # of the text line so far; -1 while it is none
        self._words = bytearray(24)  # its beginning: longer than anything that the board says

    def configure(self, board, node) -> None:
        """Take settings (Section of the board, Section of this node); forgets nothing that was heard."""
        self._enabled = bool(node.enabled)
        self._text = node.profile == "text"
        self._take_keys(node.key, node.key_next)
        self._early_ms = board.early_ms
        self._late_ms = board.late_ms
        self._half_line_ms = board.late_ms

    def _take_keys(self, key: str, key_next: str) -> None:
        """Accept `key` and, where there is one, `key_next`; the one that the node used last stays the first choice."""
        used = self._keys[1 if self.uses_next else 0]
        self._keys = (key, key_next)
        self.rolls = key_next != ""
        self.uses_next = self.rolls and used == key_next
        self._signer = auth.signer_of(key_next if self.uses_next else key)
        self._other = auth.signer_of(key if self.uses_next else key_next)

    def _swap_keys(self) -> None:
        self._signer, self._other = self._other, self._signer
        self.uses_next = not self.uses_next

    @property
    def text(self) -> bool:
        """Tell whether this line speaks the plain-text profile."""
        return self._text

    @property
    def signer(self) -> "auth.Signer | None":
        """The node's key, for its grants."""
        return self._signer

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass."""
        # Written out: a call takes 15 us on the board, and this is done for each node in each pass.
        challenge = self.challenge
        age_ms = challenge.age_ms + elapsed_ms
        challenge.age_ms = age_ms if age_ms < codes.COUNT_MAX else codes.COUNT_MAX
        since_ms = self.since_good_ms + elapsed_ms
        self.since_good_ms = since_ms if since_ms < codes.COUNT_MAX else codes.COUNT_MAX
        if self._unsure_ms:
            self._unsure_ms = max(0, self._unsure_ms - elapsed_ms)
        half_line = self.has_incarnation and age_ms > self._half_line_ms and not self._text
        if half_line != self.half_line:
            self.half_line = half_line

    def note_stall(self, stall_ms: int) -> None:
        """Note that the loop stood still: what waits now was taken late, so the early window is skipped for a while,
        and nobody could answer a challenge meanwhile: that much longer it may stand, once over at most.
        """
        self._unsure_ms = stall_ms + self._early_ms
        self._half_line_ms = min(self._half_line_ms + stall_ms, 2 * self._late_ms)

    def half_line_in(self) -> int:
        """Return the milliseconds until this may become a half line; COUNT_MAX if it cannot by time alone."""
        if self.half_line or self._text or not self.has_incarnation:
            return codes.COUNT_MAX
        return self._half_line_ms + 1 - self.challenge.age_ms

    @property
    def errors(self) -> int:
        """How often the line has shown that it carries something else than frames; a change means that it does."""
        drops = self.drops
        return drops[codes.DROP_LINE_ERROR] + drops[codes.DROP_CRC] + drops[codes.DROP_COBS] + self._decoder.endless

    def count_errors(self) -> int:
        """Count what the line's receiver complains of: breaks, framing errors, overruns; return what its stamp's rearm
        does.
        """
        line = self._line
        for _ in range(line.take_errors()):
            self._decoder.count_drop(codes.DROP_LINE_ERROR)
        for _ in range(line.take_overruns()):
            self._decoder.count_drop(codes.DROP_OVERRUN)
        return line.idle.rearm()

    def gather(self) -> bool:
        """Take bytes that have arrived up to the end of a frame, cheaply; return True if `pump` has something to do."""
        decoder = self._decoder
        if decoder.ready:
            return True
        if self._from == self._until:
            until = self._line.read_into(self._raw, READ_MAX)
            if not until:
                return False
            self._from = 0
            self._until = until
            idle_us = self._line.idle.us
            self.heard_us = self._ticks_us() if idle_us < 0 else idle_us
        if not self._text:
            self._from = decoder.feed(self._raw, self._from, self._until)
            return decoder.ready
        return True

    def pump(self, may_verify: bool) -> int:
        """Take what has arrived, up to one frame; return what it brought. `may_verify`: a MAC may be checked in this
        pass.
        """
        if not self.gather():
            return NOTHING
        if self._text:
            return self._take_text()
        decoder = self._decoder
        if (self._signer is not None or self.rolls) and not may_verify:
            return NOTHING
        decoder.ready = False
        if not self._enabled:
            decoder.count_drop(codes.DROP_NOT_ALLOWED)
            return NOTHING
        return self._take(decoder.message_type, decoder.length)

    @property
    def waiting(self) -> bool:
        """Tell whether bytes or a frame wait to be handled."""
        return self._decoder.ready or self._from != self._until

    def _take_text(self) -> int:
        """Take plain text: any line of 1 to TEXT_MAX printable characters is a sign of life, anything else is noise."""
        found = False
        for index in range(self._from, self._until):
            byte = self._raw[index]
            if byte == 10 or byte == 13:
                if 0 < self._letters <= TEXT_MAX:
                    found = found or not self._is_echo(self._letters)
                elif self._letters:
                    self._decoder.count_drop(codes.DROP_LINE_ERROR)
                self._letters = 0
            elif 32 <= byte < 127 and 0 <= self._letters <= TEXT_MAX:
                if self._letters < len(self._words):
                    self._words[self._letters] = byte
                self._letters += 1
            else:
                self._letters = -1
        self._from = self._until
        if not found or not self._enabled:
            return NOTHING
        if self.beats and self.since_good_ms < self._early_ms:
            # What comes right behind an answer may be its echo, mangled.
            self._decoder.count_drop(codes.DROP_EARLY)
            return NOTHING
        self.state = codes.STATE_HEALTHY
        self.spoke = True
        return self._accept()

    def _is_echo(self, letters: int) -> bool:
        """Tell whether a line of text is what the board itself says, such as "active 7": an echo is no sign of life."""
        words = self._words
        at = letters if letters < len(words) else 0
        while at and 48 <= words[at - 1] < 58:
            at -= 1
        if not at or at == letters or words[at - 1] != 32:
            return False
        for role in codes.ROLES:
            if len(role) == at - 1:
                for index in range(at - 1):
                    if words[index] != ord(role[index]):
                        break
                else:
                    self._decoder.count_drop(codes.DROP_NOT_ALLOWED)
                    return True
        return False

    def _take(self, message_type: int, length: int) -> int:
        decoder = self._decoder
        payload = decoder.payload
        if message_type == messages.HEARTBEAT:
            if length != self._heartbeat.length:
                return self._drop(codes.DROP_WRONG_LENGTH)
            if not self._heartbeat.read_into(self._fields, payload):
                return self._drop(codes.DROP_OUT_OF_RANGE)
            return self._judge()
        if message_type == messages.READ_EVENTS:
            if length != self._read_events.length:
                return self._drop(codes.DROP_WRONG_LENGTH)
            if not self._read_events.read_into(self._fields, payload) or not 1 <= self._fields[1] <= 16:
                return self._drop(codes.DROP_OUT_OF_RANGE)
            if not self.has_incarnation:
                return self._drop(codes.DROP_NOT_ALLOWED)
            self.events_after = self._fields[0]
            self.events_count = self._fields[1]
            self.events_asked = bytes(payload[:length])
            return EVENTS_WANTED
        if message_type == messages.FENCE_REQUEST:
            if length != self._fence_request.length:
                return self._drop(codes.DROP_WRONG_LENGTH)
            return self._take_fence_request()
        if message_type == messages.GRANT or (message_type >= messages.EVENT and message_type <= messages.RESPONSE):
            return self._drop(codes.DROP_NOT_ALLOWED)
        return self._drop(codes.DROP_UNKNOWN_TYPE)

    def _take_fence_request(self) -> int:
        # Bound to the requester's newest heartbeat and to a challenge, so that it can be neither replayed nor kept for
        # later.
        signer = self._signer
        payload = self._decoder.payload
        if (
            not self._fence_request.read_into(self._fields, payload)
            or self._fields[0] & bits.NODE_MASK == codes.NO_NODE
        ):
            return self._drop(codes.DROP_OUT_OF_RANGE)
        if signer is None or not self.has_incarnation or self.half_line:
            return self._drop(codes.DROP_NOT_ALLOWED)
        behind = self.sequence - self._fields[1]
        if behind < 0 or behind > 1:
            return self._drop(codes.DROP_NOT_ALLOWED)
        # A heartbeat may have crossed it: then it is bound to the one before, and to that one's challenge.
        challenge = self.challenge.previous if behind else self.challenge.current
        right = auth.fence_request_mac(signer, challenge, self.incarnation, bytes(payload[:5]))
        if not auth.same(right, payload[5:13]):
            return self._drop(codes.DROP_WRONG_ANSWER)
        self.request_target = self._fields[0]
        self.request_sequence = self._fields[1]
        return FENCE_WANTED

    def _judge(self) -> int:
        fields = self._fields
        if fields[0] & bits.NODE_MASK != self.node:
            return self._bad(codes.DROP_WRONG_NODE)
        if fields[0] >> bits.STATE_AT >= len(codes.STATES):
            return self._bad(codes.DROP_OUT_OF_RANGE)
        flags = fields[1]
        incarnation = fields[2]
        sequence = fields[3]
        self.spoke = True
        if not flags & messages.FLAG_ANSWERED:
            return self._unanswered(incarnation, sequence)
        challenge = self.challenge.pick(1 if flags & messages.FLAG_CHALLENGE_ODD else 0)
        same = self.has_incarnation and incarnation == self.incarnation
        answers = self._answers(challenge)
        if not answers or (challenge is self.challenge.previous and not same):
            if self.rolls and not answers:
                # A node that answers what the board asked before its restart takes a new challenge only under its own
                # key; which one that is, nobody knows yet.
                self._swap_keys()
            self._answer(incarnation, sequence)
            return self._bad(codes.DROP_WRONG_ANSWER)
        if same and sequence <= self.sequence:
            return self._bad(codes.DROP_FROZEN if sequence == self.sequence else codes.DROP_REPLAYED)
        early = same and self.since_good_ms < self._early_ms
        if not early:
            self._excused = 0
        elif self._unsure_ms and self._excused < EXCUSED_MAX:
            self._excused += 1
            early = False
        self.sequence = sequence
        if self.challenge.accept(challenge):
            self._half_line_ms = self._late_ms
        if not same:
            self.incarnation = incarnation
            self.has_incarnation = True
            self.new_incarnation = True
        self.state = fields[0] >> bits.STATE_AT
        self.flags = flags
        self.epoch = fields[4]
        self.busy_s = fields[5]
        self._answer(incarnation, sequence)
        if early:
            # Authentic but too soon: it tells the truth about the node, and does not count as good.
            self.since_good_ms = 0
            return self._bad(codes.DROP_EARLY)
        return self._accept()

    def _accept(self) -> int:
        self.answers_good = True
        self.since_good_ms = 0
        self.bad_in_row = 0
        self.altered = False
        self.half_line = self.half_line and self.challenge.age_ms > self._half_line_ms
        if self.beats < codes.COUNT_MAX:
            self.beats += 1
        if self._text:
            self.reply_due = True
        return GOOD

    def _unanswered(self, incarnation: int, sequence: int) -> int:
        """Take a heartbeat without an answer: the node has just started, or hears nothing. A stuck sender repeats
        itself.
        """
        moving = incarnation != self._last_sign_incarnation or sequence > self._last_sign_sequence
        self._last_sign_incarnation = incarnation
        self._last_sign_sequence = sequence
        if not moving:
            return self._bad(codes.DROP_FROZEN)
        if not self._answers(_NO_CHALLENGE):
            return self._bad(codes.DROP_WRONG_ANSWER)
        self._decoder.count_drop(codes.DROP_UNANSWERED)
        self._answer(incarnation, sequence)
        return SIGN

    def _answers(self, challenge) -> bool:
        if self._matches(self._signer, challenge):
            return True
        if not self.rolls or not self._matches(self._other, challenge):
            return False
        self._swap_keys()
        return True

    def _matches(self, signer, challenge) -> bool:
        if signer is not None:
            return auth.same(auth.heartbeat_mac(signer, challenge, self._body), self._mac)
        for index in range(4):
            if self._mac[index] != challenge[index] or self._mac[index + 4]:
                return False
        return True

    def _answer(self, incarnation: int, sequence: int) -> None:
        self.answers_good = False
        self.answer_incarnation = incarnation
        self.answer_sequence = sequence
        self.reply_due = True

    def _drop(self, kind: int) -> int:
        self._decoder.count_drop(kind)
        return NOTHING

    def _bad(self, kind: int) -> int:
        self._decoder.count_drop(kind)
        self.last_drop = kind
        if self.bad_in_row < codes.COUNT_MAX:
            self.bad_in_row += 1
        if self.bad_in_row >= _ALTERED_LIMIT:
            self.altered = True
        return BAD

    def send(self, buffer) -> None:
        """Send bytes on this line, but only after something valid was heard on it: boot loaders listen on serial
        ports.
        """
        if self.spoke:
            self._line.write(buffer)


_NO_CHALLENGE = bytes(4)
