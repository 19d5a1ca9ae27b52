"""Lines: takes frames from the three node lines in turn, hands on what they brought, and answers.

It moves data between intake, liveness, grants and the request of a peer; it decides nothing. At most one frame a pass
is taken and one answered, so that no line makes another one wait for long. Called by supervisor in each pass.
"""

from heartwire_firmware import policy_requests
from heartwire_firmware.intake import BAD, EVENTS_WANTED, FENCE_WANTED, GOOD, NOTHING, SIGN
from heartwire_firmware.journal_reader import WAITS, Reader
from heartwire_firmware.policy_state import PREPARING
from heartwire_firmware.sequencer import FIRED, IDLE
from heartwire_firmware.timeslots import HEAVY_MS
from heartwire_protocol import auth, bits, codes, events, framing, messages, operations, reasons, records
from heartwire_protocol.codes import NO_NODE, NODE_COUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Frames of a line looked at in a pass until one counts.
FRAMES_MAX = 4
# After a stall, at most this many turns to drain the lines before anything is judged.
DRAIN_TURNS = 64
# Fences that may be asked for over one line in a window: a cluster that retries asks every few seconds.
ASKS_MAX = 12
ASKS_WINDOW_MS = 60000


class Lines:
    """The node lines of `board` (supervisor.Supervisor)."""

    def __init__(self, board):
        self._board = board
        self._turn = 0
        self._good = [False] * NODE_COUNT
        self.behind = False  # a line has more than was taken
        self.events_left = 0  # of the page that a node reads, and the one message that ends it
        self._asks = [0] * NODE_COUNT  # fences that each node asked for since the window began
        self._asks_ms = 0
        self._event_node = NO_NODE
        self._event_after = 0
        self._event_count = 0
        self._signer: "auth.Signer | None" = None  # of the page
        self._page: "Any" = None  # its MAC so far
        self._reader = Reader(board.journal)
        self._record = bytearray(records.LENGTH)
        self._frame = bytearray(framing.wire_length(records.LENGTH))
        self._frame_view = memoryview(self._frame)
        self._reply = messages.layout_of(messages.FENCE_REPLY)
        self._end = messages.layout_of(messages.EVENTS_END)

    def advance(self, elapsed_ms: int) -> None:
        """Let time pass; called in quiet slots."""
        if self._asks_ms:
            self._asks_ms = max(0, self._asks_ms - elapsed_ms)

    def catch_up(self) -> None:
        """Take what waits on the lines, a few frames of each at most."""
        for node in range(NODE_COUNT):
            for _frame in range(FRAMES_MAX):
                if not self._board.intakes[node].gather():
                    break
                self._take(node)

    def count_errors(self) -> None:
        """Count what one line's receiver complains of, another one each time; tell of an interrupt that it has lost."""
        self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
        losses = self._board.intakes[self._turn].count_errors()
        if losses:
            self._board.journal.append(events.INTERRUPT_LOST, self._turn, 0, losses)

    def take(self, near: bool) -> bool:
        """Take what the lines brought: one frame, after a stall all of them before anything is judged. `near`: a
        deadline is near, so only what late nodes bring is taken, unless the loop stood for longer than one heavy thing
        takes; the rest keeps the time it came at.
        """
        board = self._board
        stalled = board.clock.stalled
        taken = False
        if stalled:
            for intake in board.intakes:
                intake.note_stall(board.clock.elapsed_ms)
            if near and board.clock.elapsed_ms <= HEAVY_MS:
                stalled = False
        for _turn in range(DRAIN_TURNS if stalled else 1):
            self._turn = self._turn + 1 if self._turn < NODE_COUNT - 1 else 0
            busy = False
            for step in range(NODE_COUNT):
                node = self._turn + step
                if node >= NODE_COUNT:
                    node -= NODE_COUNT
                intake = board.intakes[node]
                if not stalled and (taken or (near and board.livenesses[node].verdict != codes.VERDICT_LATE)):
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
        board = self._board
        intake = board.intakes[node]
        kind = intake.pump(True)
        if kind == NOTHING:
            return False
        liveness = board.livenesses[node]
        board.changed = True
        board.filler.moved[node] = True
        if kind == GOOD:
            liveness.good()
            # What the frame had to wait for its turn, and the loop to look at it, is no later heartbeat.
            intake.good_us = intake.heard_us
            liveness.age_ms = board.clock.before(board.ticks_diff(board.ticks_us(), intake.heard_us) // 1000)
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
            self.fence_for_peer(node, intake.request_target)
        return True

    def fence_for_peer(self, node: int, asked: int) -> None:
        """Fence for a node that asks on its own line, or only tell how the target is; `asked`: fence_request.target."""
        board = self._board
        target = asked & bits.NODE_MASK
        by = asked & bits.TOOL_MASK | node
        state = board.state
        result = 1
        if asked & messages.FENCE_QUESTION:
            result = 2
            reason = policy_requests.may_ask(board.policy, node, target)
        elif board.sequencer.status[target] == IDLE and self._asks_too_often(node):
            reason = reasons.TOO_OFTEN
            board.refuse(operations.FENCE, target, reason, by << bits.BY_AT)
        else:
            reason = board.request(policy_requests.PEER_FENCE, target, by << bits.BY_AT, reasons.PEER)
        fence = board.sequencer.status[target]
        if fence == IDLE and state.phase == PREPARING and state.target == target:
            fence = FIRED
        intake = board.intakes[node]
        payload = bytearray(self._reply.length)
        shown = fence | board.senses.power[target] << bits.IS_POWER_AT | state.mode << bits.IS_MODE_AT
        if board.relays.commanded[target]:
            shown |= 1 << bits.IS_RELAY_AT
        values = (asked, 0 if reason else result, reason, shown, intake.request_sequence)
        for index in range(len(values)):
            self._reply.put(payload, self._reply.names[index], values[index])
        if intake.signer is not None:
            body = bytes(payload[: self._reply.offset("mac")])
            self._reply.put(payload, "mac", auth.fence_reply_mac(intake.signer, intake.incarnation, body))
        self._send(node, messages.FENCE_REPLY, payload)

    def _send(self, node: int, message_type: int, payload) -> None:
        length = framing.encode_into(self._frame, message_type, payload, len(payload))
        self._board.intakes[node].send(self._frame_view[:length])

    def _asks_too_often(self, node: int) -> bool:
        """Count a request that may move something; a peer that goes wrong must not keep the board busy."""
        if not self._asks_ms:
            self._asks_ms = ASKS_WINDOW_MS
            self._asks = [0] * NODE_COUNT
        self._asks[node] += 1
        return self._asks[node] > ASKS_MAX

    def reply(self) -> bool:
        """Answer one node whose newest frame the policy has judged; after it has decided, also one that is to be told
        something new.
        """
        board = self._board
        if board.filler.tell:
            board.filler.tell = False
            for node in range(NODE_COUNT):
                intake = board.intakes[node]
                if board.grants.has_changed(node) and intake.answers_good:
                    if board.facts.verdict[node] == codes.VERDICT_GOOD:
                        intake.reply_due = True
                        self._good[node] = True
        for node in range(NODE_COUNT):
            intake = board.intakes[node]
            if not intake.reply_due or board.filler.moved[node]:
                continue
            intake.reply_due = False
            if intake.text:
                intake.send(board.grants.text(intake))
            else:
                intake.send(board.grants.frame(intake, board.journal.durable, self._good[node]))
            self._good[node] = False
            return True
        return False

    def answers_wait(self) -> bool:
        """Tell whether a node waits for its answer."""
        for intake in self._board.intakes:
            if intake.reply_due:
                return True
        return False

    def send_events(self, slots) -> None:
        """Send one journal record to the node that reads, or what ends its page, in a quiet slot."""
        left = self.events_left
        if not left or not slots.is_quiet():
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
