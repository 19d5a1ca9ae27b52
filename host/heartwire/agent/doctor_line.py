"""Ask the board over the line while no agent runs.

It sends a few heartbeats without an answer to a challenge; the board replies to those, and they prove nothing, so that
asking changes neither a verdict nor a lease. It tells the usual wiring faults apart as far as one end can: another
node's board end, a wrong key, noise or a wrong baud rate, a plug that loops back, silence. Called by doctor.py.
"""

import select
import time

from heartwire import serial_servers
from heartwire.agent.beat import HeartbeatBuilder, Incarnation, Report
from heartwire.agent.doctor_findings import BAD, OK, Finding
from heartwire.agent.grants import GrantReader, Refusal
from heartwire.agent.port import Port
from heartwire_protocol import framing, messages
from heartwire_protocol.auth import Signer

BEATS = 3
# Longest wait for the answer to one heartbeat: the board may be writing its flash (450 ms).
ANSWER_S = 1.0
# Longest wait for a connection.
CONNECT_S = 3.0


def ask_board(port: Port, node: int, key: bytes | None, answer_s: float = ANSWER_S) -> Finding:
    """Send up to three heartbeats on an open `port`; return what came of it."""
    signer = Signer(key) if key else None
    builder = HeartbeatBuilder(node, signer)
    reader = GrantReader(node, signer)
    incarnation = Incarnation()
    decoder = framing.Decoder(64)
    heard = 0
    greeting = serial_servers.Greeting()
    echoed = False
    try:
        connected = _connected(port)
    except OSError as error:
        return Finding(BAD, "line", f"cannot connect: {error.strerror}", "check address, port and network")
    if not connected:
        hint = "check address, network and firewall"
        return Finding(BAD, "line", f"no connection within {CONNECT_S:g} s", hint)
    for _ in range(BEATS):
        sent_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            port.write(builder.build(incarnation, incarnation.next_sequence(sent_ns), Report()))
        except OSError as error:
            return Finding(BAD, "line", f"cannot write: {error.strerror}", "check the cable and the adapter")
        end = time.monotonic() + answer_s
        while (left_s := end - time.monotonic()) > 0:
            if not select.select([port.fileno()], [], [], left_s)[0]:
                break
            try:
                data = port.read()
            except BlockingIOError:
                continue
            except OSError as error:
                return Finding(BAD, "line", f"cannot read: {error.strerror}", "check the cable and the adapter")
            if not data:
                hint = "check the cable and the adapter, or the settings of the server"
                return Finding(BAD, "line", greeting.end, hint)
            heard += len(data)
            greeting.take(data)
            if greeting.is_telnet:
                return Finding(BAD, "line", serial_servers.TELNET, serial_servers.TELNET_NEXT)
            at = 0
            while at < len(data):
                at = decoder.feed(data, at, len(data))
                if not decoder.ready:
                    continue
                if decoder.message_type == messages.HEARTBEAT:
                    echoed = True
                    continue
                payload = decoder.payload[: decoder.length]
                if not isinstance(reader.read(decoder.message_type, payload, incarnation), Refusal):
                    return Finding(OK, "line", "the board answers, with the right key, for this node")
    return _explain(reader, heard, echoed)


def _connected(port: Port) -> bool:
    """Wait until `port` is connected; tell whether it is. OSError if it was refused."""
    end = time.monotonic() + CONNECT_S
    while not port.ready():
        left_s = end - time.monotonic()
        if left_s <= 0:
            return False
        select.select([], [port.fileno()], [], left_s)
    return True


def _explain(reader: GrantReader, heard: int, echoed: bool) -> Finding:
    if reader.refused[Refusal.WRONG_NODE]:
        return Finding(BAD, "line", "the board answers for another node", "cables are crossed, or node is wrong")
    if reader.refused[Refusal.WRONG_MAC]:
        return Finding(BAD, "line", "the board's answers have a wrong signature", "give both ends the same key")
    if echoed:
        return Finding(BAD, "line", "our own heartbeats come back", "a loop-back plug, or RX and TX are bridged")
    if heard:
        hint = "compare baud on both ends, check the ground wire, and that no login prompt runs on the port"
        return Finding(BAD, "line", f"{heard} bytes arrived, but no answer of the board", hint)
    hint = "wrong port or cable, RX and TX swapped, crossed cables, another baud rate, another key, or no power"
    return Finding(BAD, "line", "nothing arrives from the board", hint)
