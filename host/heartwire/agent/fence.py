"""Ask the board over this node's own line to fence another node, or how that node is; believe only its signed reply.

One request at a time, sent right behind the grant for the newest heartbeat: the board accepts it only with the
challenge of that grant. A question that got no reply is sent again behind the next grant, and so is a fence, for
RESEND_NS: a board that has just started does not know this agent yet, and one that has fenced already answers without
moving anything. After that a fence without a reply is reported as unknown. The agent feeds grants, replies and time in,
and writes the frames; control.py brings the requests. It decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heartwire.agent.beat import Incarnation
from heartwire_protocol import auth, bits, codes, framing, messages, reasons
from heartwire_protocol.auth import Signer

NS_PER_S = 1_000_000_000
QUEUE_MAX = 4
SECONDS_MAX = 120
# Each request costs the board two signatures.
PAUSE_NS = NS_PER_S // 10
# Two heartbeats after its start a board knows a node again. Power that a fence has cut comes back after 10 s (off_ms),
# and then boot grace keeps it: a request is not sent again for so long.
RESEND_NS = 5 * NS_PER_S
# The board knows an incarnation once it gave a right answer: the second grant at the earliest.
ANSWERS_NEEDED = 2

Answer = Callable[[dict[str, Any]], None]


@dataclass
class _Request:
    """One request: `asked` is the field `target` of its message."""

    asked: int
    until_ns: int
    answer: Answer
    sent: tuple[int, int] | None = None  # incarnation and sequence that it was bound to
    first_ns: int = 0  # when it was sent first


class FenceAsker:
    """Fence requests of one node."""

    def __init__(self, node: int, signer: Signer | None) -> None:
        self.refused_replies = 0
        self.next_ns = 0  # no request before this
        self._node = node
        self._signer = signer
        self._queue: list[_Request] = []
        self._request = messages.layout_of(messages.FENCE_REQUEST)
        self._reply = messages.layout_of(messages.FENCE_REPLY)

    def begin(self, request: dict[str, Any], now_ns: int, answer: Answer) -> str:
        """Take a request of the control socket, to be answered later; return what is wrong with it, or "".

        `target` is a node, `question` only asks how it is, `tool` is of codes.TOOL_*, `seconds` how long it may take.
        """
        target, seconds, tool = request.get("target"), request.get("seconds"), request.get("tool", 0)
        if target not in codes.NODES:
            return f"target must be one of {', '.join(codes.NODES)}"
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= SECONDS_MAX:
            return f"seconds must be a number up to {SECONDS_MAX}"
        if isinstance(tool, bool) or not isinstance(tool, int) or not 0 <= tool < len(codes.TOOLS):
            return "tool must be a number of the table of tools"
        if self._signer is None:
            return "a fence can be asked for only with a key: this agent has no key_file"
        if len(self._queue) >= QUEUE_MAX:
            return "too many requests wait already"
        node, question = codes.NODES.index(target), int(bool(request.get("question")))
        asked = bits.pack(bits.TARGET, node=node, tool=tool, question=question)
        self._queue.append(_Request(asked, now_ns + int(seconds * NS_PER_S), answer))
        return ""

    def use(self, signer: Signer) -> None:
        """Sign with another key from now on."""
        self._signer = signer

    @property
    def waits(self) -> bool:
        """Tell whether a request waits to be sent or answered."""
        return bool(self._queue)

    def frame(self, incarnation: Incarnation, now_ns: int) -> bytes:
        """Return the frame to be sent now, or b"". What is returned counts as sent."""
        if not self._queue or self._signer is None or now_ns < self.next_ns:
            return b""
        request = self._queue[0]
        current = incarnation.newest_answered == incarnation.sequence and incarnation.answers >= ANSWERS_NEEDED
        now_as = (incarnation.number, incarnation.sequence)
        may_repeat = request.asked & messages.FENCE_QUESTION or now_ns - request.first_ns < RESEND_NS
        asked_once = request.sent == now_as or (request.sent and not may_repeat)
        if asked_once or not current or incarnation.challenge is None:
            return b""
        if request.sent is None:
            request.first_ns = now_ns
        request.sent = now_as
        self.next_ns = now_ns + PAUSE_NS
        body = self._request.pack(target=request.asked, sequence=incarnation.sequence, mac=bytes(8))[:-8]
        mac = auth.fence_request_mac(self._signer, incarnation.challenge, incarnation.number, body)
        return bytes(framing.encode(messages.FENCE_REQUEST, body + mac))

    def take(self, payload: bytes) -> bool:
        """Take the payload of a reply; tell whether it answers the request under way."""
        if not self._take(payload):
            self.refused_replies += 1
            return False
        return True

    def _take(self, payload: bytes) -> bool:
        request = self._queue[0] if self._queue else None
        if request is None or request.sent is None or self._signer is None or len(payload) != self._reply.length:
            return False
        incarnation, sequence = request.sent
        try:
            fields = self._reply.unpack(payload)
        except ValueError:
            return False
        mac = auth.fence_reply_mac(self._signer, incarnation, payload[: self._reply.offset("mac")])
        if not auth.same(mac, fields["mac"]) or (fields["target"], fields["sequence"]) != (request.asked, sequence):
            return False
        self._queue.pop(0)
        shown = bits.unpack(bits.TARGET_IS, fields["target_is"])
        request.answer(
            {
                "ok": True,
                "node": codes.NODES[self._node],
                "result": codes.name_of(messages.FENCE_RESULTS, fields["result"]),
                "reason": codes.name_of(reasons.REASONS, fields["reason"]),
                "fence": codes.name_of(codes.FENCES, shown["fence"]),
                "power": codes.name_of(codes.POWERS, shown["power"]),
                "relay": bool(shown["relay"]),
                "mode": codes.name_of(codes.MODES, shown["mode"]),
            }
        )
        return True

    def step(self, now_ns: int) -> None:
        """End what has waited too long. A fence that was sent may have been carried out."""
        for request in list(self._queue):
            if now_ns < request.until_ns:
                continue
            self._queue.remove(request)
            unknown = request.sent is not None and not request.asked & messages.FENCE_QUESTION
            words = "sent, but the board did not reply" if request.sent else "the board does not answer heartbeats"
            request.answer({"error": words, "code": "unknown" if unknown else "no_answer"})
