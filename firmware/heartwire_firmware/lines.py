"""Lines: takes frames from the three node lines in turn, hands on what they brought, and answers.

It moves data between intake, liveness, grants and peers; it decides nothing. At most one frame a pass
is taken and one answered, so that no line makes another one wait for long. Called by supervisor in each pass.
"""

from heartwire_firmware.intake import BAD, EVENTS_WANTED, FENCE_WANTED, GOOD, NOTHING, SIGN
from heartwire_firmware.journal_reader import WAITS, Reader
from heartwire_firmware.pace import HEAVY_MS
from heartwire_protocol import auth, codes, events, framing, messages, records
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Frames of a line looked at in a pass until one counts.
FRAMES_MAX = 4
# After a stall, at most this many turns to drain the lines before anything is judged.
DRAIN_TURNS = 64


class Lines:
    """The node lines of `intakes`; `peers` (peers.Peers) answers what one node wants of another one."""

    def __init__(self, intakes, livenesses, filler, facts, grants, journal, clock, ticks_us, ticks_diff, peers):
        self._intakes = intakes
        self._livenesses = livenesses
        self._filler = filler
        self._facts = facts
        self._grants = grants
        self._journal = journal
        self._clock = clock
        self._ticks_us = ticks_us
        self._ticks_diff = ticks_diff
        self._peers = peers
        self._turn = 0
        self._good = [False] * NODE_COUNT
        self.behind = False  # a line has more than was taken
        self.events_left = 0  # of the page that a node reads, and the one message that ends it
        self._event_node = NO_NODE
        self._event_after = 0
        self._event_count = 0
        self._signer: "auth.Signer | None" = None  # of the page
        self._page: "Any" = None  # its MAC so far
        self._reader = Reader(journal)
        self._record = bytearray(records.LENGTH)
        self._frame = bytearray(framing.wire_length(records.LENGTH))
        self._frame_view = memoryview(self._frame)
        self._end = messages.layout_of(messages.EVENTS_END)

    def catch_up(self) -> None:
        """Take what waits on the lines, a few frames of each at most."""
        for node in range(NODE_COUNT):
            for _frame in range(FRAMES_MAX):
                if not self._intakes[node].gather():
                    break
                self._take(node)

    def count_errors(self) -> None:
        """Count what one line's receiver complains of, another one each time; tell of an interrupt that it has lost."""
        self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
        losses = self._intakes[self._turn].count_errors()
        if losses:
            self._journal.append(events.INTERRUPT_LOST, self._turn, 0, losses)

    def take(self, near: bool) -> bool:
        """Take what the lines brought: one frame, after a stall all of them before anything is judged. `near`: a
        deadline is near, so only what late nodes bring is taken, unless the loop stood for longer than one heavy thing
        takes; the rest keeps the time it came at.
        """
        stalled = self._clock.stalled
        taken = False
        if stalled:
            for intake in self._intakes:
                intake.note_stall(self._clock.elapsed_ms)
            if near and self._clock.elapsed_ms <= HEAVY_MS:
                stalled = False
        for _turn in range(DRAIN_TURNS if stalled else 1):
            self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
            busy = False
            for step in range(NODE_COUNT):
                node = self._turn + step
                if node >= NODE_COUNT:
                    node -= NODE_COUNT
                intake = self._intakes[node]
                if not stalled and (taken or (near and self._livenesses[node].verdict != codes.VERDICT_LATE)):
                    # One frame a pass; of the others only what has arrived.
                    busy = intake.gather() or busy
                    continue
                for _frame in range(FRAMES_MAX):
                    if not intake.gather():
                        break
                    if self._take(node):
                        taken = True
                        break
                busy = busy or intake.waiting
            self.behind = busy
            if not busy and stalled:
                break
        return taken

    def _take(self, node: int) -> bool:
        """Take one frame of `node`; return False if it was none that counts."""
        intake = self._intakes[node]
        kind = intake.pump(True)
        if kind == NOTHING:
            return False
        liveness = self._livenesses[node]
        self._filler.note(node)
        if kind == GOOD:
            liveness.good()
            # What the frame had to wait for its turn, and the loop to look at it, is no later heartbeat.
            intake.good_us = intake.heard_us
            liveness.age_ms = self._clock.before(self._ticks_diff(self._ticks_us(), intake.heard_us) // 1000)
            self._good[node] = True
        elif kind == SIGN:
            liveness.sign()
        elif kind == BAD:
            liveness.bad()
            self._good[node] = False
        elif kind == EVENTS_WANTED:
            self._event_node = node
            self._event_after = intake.events_after
            self.events_left = intake.events_count + 1
            self._event_count = intake.events_count
            self._signer = intake.signer
            if self._signer is not None:
                self._page = auth.page_begin(self._signer, intake.events_asked)
        elif kind == FENCE_WANTED:
            self._send(node, messages.FENCE_REPLY, self._peers.answer(intake, intake.request_target))
        return True

    def _send(self, node: int, message_type: int, payload) -> None:
        length = framing.encode_into(self._frame, message_type, payload, len(payload))
        self._intakes[node].send(self._frame_view[:length])

    def reply(self) -> bool:
        """Answer one node whose newest frame the policy has judged; after it has decided, also one that is to be told
        something new.
        """
        if self._filler.tell:
            self._filler.tell = False
            for node in range(NODE_COUNT):
                intake = self._intakes[node]
                if self._grants.has_changed(node) and intake.answers_good:
                    if self._facts.verdict[node] == codes.VERDICT_GOOD:
                        intake.reply_due = True
                        self._good[node] = True
        for node in range(NODE_COUNT):
            intake = self._intakes[node]
            if not intake.reply_due or self._filler.moved[node]:
                continue
            intake.reply_due = False
            if intake.text:
                intake.send(self._grants.text(intake))
            else:
                intake.send(self._grants.frame(intake, self._journal.durable, self._good[node]))
            self._good[node] = False
            return True
        return False

    def answers_wait(self) -> bool:
        """Tell whether a node waits for its answer."""
        for intake in self._intakes:
            if intake.reply_due:
                return True
        return False

    def send_events(self, pace) -> None:
        """Send one journal record to the node that reads, or what ends its page, in a quiet slot."""
        left = self.events_left
        if not left or not pace.is_quiet():
            return
        sequence = self._reader.step(self._event_after, self._record) if left > 1 else 0
        if sequence == WAITS:
            return
        if sequence:
            self._event_after = sequence
            self.events_left = left - 1
            if self._signer is not None:
                self._page.update(self._record)
            self._send(self._event_node, messages.EVENT, self._record)
            return
        self.events_left = 0
        mac = bytes(8) if self._signer is None else self._signer.end(self._page)
        payload = self._end.pack(count=self._event_count - left + 1, mac=mac)
        self._send(self._event_node, messages.EVENTS_END, payload)
