"""The host link: sessions, signatures, rights, bounded answers, and a host that misbehaves."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest

from heartwire_firmware import policy_requests
from heartwire_firmware.hostlink_operations import Operations
from heartwire_firmware.hostlink_settings import SettingsOperations
from heartwire_firmware.hostlink_status import StatusOperations
from heartwire_firmware.hostlink_tests import HardwareTests
from heartwire_protocol import auth, codes, framing, messages, operations, settings, settings_rules, version
from tests.fakes.bench import Bench

VIEW, OPERATE, CONFIGURE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
KEYED = f"board.view_key={VIEW.hex()}\nboard.operate_key={OPERATE.hex()}\nboard.configure_key={CONFIGURE.hex()}\n"
REQUEST = messages.layout_of(messages.REQUEST)
RESPONSE = messages.layout_of(messages.RESPONSE)
WELCOME = messages.layout_of(messages.WELCOME)
HELLO = messages.layout_of(messages.HELLO)
NONCE = b"\x00nonce\xff\x00"


class Host:
    """A host with keys, in virtual time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.decoder = framing.Decoder(600)
        self.number = 0
        self.binding = b""
        self.records: list[bytes] = []
        self.hello()

    def exchange(self, frame: bytes, wanted: int, limit_ms: int = 3000) -> dict[str, Any] | None:
        """Send a frame; return the fields of the first answer of type `wanted`."""
        usb = self.bench.hardware.usb
        usb.incoming.extend(frame)
        for _ in range(limit_ms):
            self.bench.step()
            data, at = bytes(usb.sent), 0
            usb.sent.clear()
            while at < len(data):
                at = self.decoder.feed(data, at, len(data))
                if self.decoder.ready and self.decoder.message_type == messages.EVENT:
                    self.records.append(bytes(self.decoder.payload[: self.decoder.length]))
                if self.decoder.ready and self.decoder.message_type == wanted:
                    layout = messages.layout_of(wanted)
                    return layout.unpack(bytes(self.decoder.payload[: self.decoder.length]))
        return None

    def hello(self) -> dict[str, Any]:
        frame = framing.encode(messages.HELLO, HELLO.pack(version=messages.PROTOCOL_VERSION, nonce=NONCE))
        found = self.exchange(frame, messages.WELCOME)
        assert found is not None
        self.binding, self.number = NONCE + found["session"] + found["board_id"], 0
        return found

    def frame(self, body: bytes, right: int, key: bytes | None, number: int) -> bytes:
        mac = bytes(8)
        if key:
            mac = auth.request_mac(auth.Signer(key), self.binding, right, number, body)
        return framing.encode(messages.REQUEST, REQUEST.pack(right=right, number=number, mac=mac, body=body))

    def ask(self, right: int = 0, key: bytes | None = None, **request: object) -> dict[str, Any]:
        """Return the answer's body; it is signed over the request's number if the request was rightly signed."""
        self.number += 1
        self.records.clear()
        found = self.exchange(self.frame(json.dumps(request).encode(), right, key, self.number), messages.RESPONSE)
        assert found is not None, "no answer"
        body: dict[str, Any] = json.loads(found["body"])
        signed = key is not None and body.get("error") != "bad_mac"
        assert found["mac"] == (self.proof(key, found, self.number) if key and signed else bytes(8)), "wrongly signed"
        return body

    def proof(self, key: bytes, answer: dict[str, Any], number: int) -> bytes:
        """Return what signs `answer`, written out."""
        text = b"A" + self.binding + number.to_bytes(4, "little") + b"".join(self.records) + answer["body"]
        return hmac.new(key, text, "sha256").digest()[:8]


@pytest.fixture
def host() -> Host:
    bench = Bench(KEYED)
    bench.run(4000)
    return Host(bench)


def test_welcome_says_who_and_what(host: Host) -> None:
    welcome = host.hello()
    assert welcome["version"] == messages.PROTOCOL_VERSION
    assert welcome["tables"] == version.TABLE_HASH
    assert welcome["board_id"] == b"FAKE0001"


@pytest.mark.parametrize(
    ("operation", "right", "key", "error"),
    [
        ("status", 0, None, "not_allowed"),
        ("status", 1, VIEW, None),
        ("status", 2, OPERATE, None),
        ("status", 1, OPERATE, "bad_mac"),
        ("clear", 1, VIEW, "not_allowed"),
        ("clear", 2, OPERATE, "refused"),
        ("settings_revert", 2, OPERATE, "not_allowed"),
        ("settings_revert", 3, CONFIGURE, None),
        ("fly", 3, CONFIGURE, "unknown_operation"),
    ],
)
def test_rights(host: Host, operation: str, right: int, key: bytes | None, error: str | None) -> None:
    assert host.ask(right, key, op=operation, node="a").get("error") == error


def test_arming_needs_the_configure_key_or_the_key_switch(host: Host) -> None:
    assert host.ask(2, OPERATE, op="mode", mode="auto")["reason"] == "not_armed"
    assert host.bench.board.state.mode == codes.MODE_OBSERVE
    host.bench.hardware.pins.levels["KEY"] = 1
    host.bench.run(50)
    assert host.ask(2, OPERATE, op="mode", mode="auto") == {"ok": 1}
    assert host.ask(2, OPERATE, op="mode", mode="observe") == {"ok": 1}
    host.bench.hardware.pins.levels["KEY"] = 0
    host.bench.run(50)
    assert host.ask(3, CONFIGURE, op="mode", mode="auto") == {"ok": 1}


def test_replayed_request_is_refused(host: Host) -> None:
    body = b'{"op":"mode","mode":"fencer"}'
    frame = host.frame(body, 3, CONFIGURE, 1)
    assert json.loads((host.exchange(frame, messages.RESPONSE) or {})["body"]) == {"ok": 1}
    again = host.exchange(frame, messages.RESPONSE)
    assert again is not None and json.loads(again["body"])["error"] == "bad_mac"
    host.hello()
    later = host.exchange(frame, messages.RESPONSE)
    assert later is not None and json.loads(later["body"])["error"] == "bad_mac", "an old session's signature"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"status"', b"{}", b'{"op":1}', b'{"op":"status"', b"\xff\xfe", b"7" * 512, b"[" * 200]
)
def test_bad_json_gets_a_clear_answer(host: Host, body: bytes) -> None:
    host.number += 1
    found = host.exchange(host.frame(body, 3, CONFIGURE, host.number), messages.RESPONSE)
    assert found is not None and json.loads(found["body"])["error"] == "bad_request"
    assert host.ask(1, VIEW, op="status")["mode"] == "observe"


def test_arguments_of_every_operation_are_checked(host: Host) -> None:
    wrong: dict[str, object] = {"node": "c", "node?": "c", "mode": "war", "int": -1, "text": 5, "bool": "yes"}
    checked = 0
    for row in operations.OPERATIONS:
        for name, kind, lowest, highest, _ in row[4]:
            good: dict[str, object] = {"node": "a", "node?": "a", "mode": "observe", "text": "", "bool": 1}
            request = {"op": row[1], **{one[0]: good.get(one[1], one[2]) for one in row[4]}}
            for bad in (wrong[kind], *((lowest - 1, highest + 1, True, None) if kind == "int" else ())):
                answer = host.ask(3, CONFIGURE, **{**request, name: bad})
                assert answer == {"error": "bad_argument", "argument": name}, (row[1], name, bad)
                checked += 1
    assert checked > 80


def test_every_operation_is_carried_out_by_a_method_or_by_the_policy() -> None:
    parts = (Operations, StatusOperations, SettingsOperations, HardwareTests)
    for row in operations.OPERATIONS:
        own = any(hasattr(part, "do_" + row[1]) for part in parts) or row[1] == "log"
        assert own or row[0] in policy_requests.REQUESTS, row[1]


def test_what_only_the_policy_decides_gets_its_number(host: Host) -> None:
    assert host.ask(2, OPERATE, op="maintenance", node="b", seconds=77) == {"ok": 1}
    assert host.bench.board.state.maintenance_ms[1] // 1000 in (76, 77)
    assert host.ask(2, OPERATE, op="maintenance", seconds=60) == {"ok": 1}
    assert host.bench.board.state.maintenance_ms[3] // 1000 in (59, 60)
    assert host.ask(2, OPERATE, op="approve", request=5) == {"error": "refused", "reason": "wrong_phase"}


def test_the_welcome_says_which_keys_there_are() -> None:
    for text, keys in (("", 0), (KEYED, 0b1110), (f"board.configure_key={CONFIGURE.hex()}\n", 0b1000)):
        bench = Bench(text)
        bench.run(1000)
        assert Host(bench).hello()["keys"] == keys


def test_a_request_for_another_board_or_another_hello_is_refused_unsigned(host: Host) -> None:
    body = b'{"op":"mode","mode":"fencer"}'
    right = host.binding
    for wrong in (right[:-1] + b"2", b"\1" + right[1:], right[:8] + bytes(8) + right[16:]):
        host.binding = wrong
        found = host.exchange(host.frame(body, 3, CONFIGURE, 1), messages.RESPONSE)
        assert found is not None and json.loads(found["body"]) == {"error": "bad_mac"} and found["mac"] == bytes(8)
    assert host.bench.board.state.mode == codes.MODE_OBSERVE


def test_a_host_of_version_1_is_told_the_version(host: Host) -> None:
    found = host.exchange(framing.encode(messages.HELLO, b"\x01"), messages.WELCOME)
    assert found is not None and found["version"] == messages.PROTOCOL_VERSION


def test_every_answer_fits_one_message_with_the_longest_names_and_counts() -> None:
    long = "x" * 24
    bench = Bench(f"board.name={long}\nnode.a.name={long}\nnode.b.name={long}\n", nodes=3)
    bench.run(4000)
    for node in range(3):
        for kind in range(len(codes.DROPS)):
            bench.board.intakes[node].drops[kind] = codes.COUNT_MAX
        bench.board.intakes[node].beats = codes.COUNT_MAX
        bench.board.state.maintenance_ms[node] = 604800000
    bench.board.state.epoch = codes.COUNT_MAX - 5
    for request in ("status", "node", "drops"):
        assert "error" not in bench.ask(op=request, node="spare"), request


def test_host_that_reads_nothing_stalls_nobody(host: Host) -> None:
    host.bench.hardware.usb.stalled = True
    body = b'{"op":"log","after":0,"count":16}'
    host.bench.hardware.usb.incoming.extend(host.frame(body, 1, VIEW, 1))
    beats = host.bench.board.intakes[0].beats
    host.bench.run(5000)
    assert host.bench.board.intakes[0].beats == beats + 5
    host.bench.hardware.usb.stalled = False
    host.decoder = framing.Decoder(600)
    assert host.hello()["version"] == messages.PROTOCOL_VERSION
    assert host.ask(1, VIEW, op="status")["mode"] == "observe"


def test_log_pages_give_every_record_once_and_in_order_and_signed(host: Host) -> None:
    after, found = 0, []
    for _ in range(20):
        answer = host.ask(1, VIEW, op="log", after=after, count=4)
        page = [int.from_bytes(record[:4], "little") for record in host.records]
        assert answer["sent"] == len(page) <= 4
        found += page
        if not page:
            break
        after = page[-1]
    assert found == list(range(1, host.bench.board.journal.durable + 1))


def kept_keys(host: Host) -> str:
    """Return settings lines that keep every key the board has, by its fingerprint."""
    current = host.bench.board.config.current
    paths = ("board.view_key", "board.operate_key", "board.configure_key", "node.a.key", "node.b.key")
    return "".join(f"{path}={settings.fingerprint(current.get(path))}\n" for path in paths)


def test_uploading_settings_over_the_link(host: Host) -> None:
    data = ("board.name=new name\nboard.dead_ms=20000\n" + kept_keys(host)).encode()
    asked = host.ask(3, CONFIGURE, op="settings_begin", length=len(data), crc=framing.crc16(data, len(data)))
    assert asked == {"ok": 1}
    for at in range(0, len(data), 300):
        assert host.ask(3, CONFIGURE, op="settings_put", offset=at, text=data[at : at + 300].decode()) == {"ok": 1}
    applied = host.ask(3, CONFIGURE, op="settings_apply")
    assert applied["trial_s"] == 60, applied
    assert host.ask(1, VIEW, op="status")["name"] == "new name"
    assert host.ask(3, CONFIGURE, op="settings_confirm", generation=applied["generation"])["ok"] == 1
    host.bench.reset()
    again = Host(host.bench)
    assert again.ask(1, VIEW, op="status")["name"] == "new name"
    shown = again.ask(1, VIEW, op="settings", offset=0)
    assert VIEW.hex() not in shown["text"] and "key:" in shown["text"]


def test_settings_are_not_stored_just_before_a_deadline(host: Host) -> None:
    data = ("board.name=later\n" + kept_keys(host)).encode()
    host.ask(3, CONFIGURE, op="settings_begin", length=len(data), crc=framing.crc16(data, len(data)))
    host.ask(3, CONFIGURE, op="settings_put", offset=0, text=data.decode())
    bench = host.bench
    bench.nodes[1].crash()
    left_ms = bench.board.config.current.board.dead_ms - settings_rules.FLASH_STALL_MS
    bench.run_until(lambda: bench.board.livenesses[1].age_ms >= left_ms)
    assert host.ask(3, CONFIGURE, op="settings_apply")["error"] == "busy"
    bench.run_until(lambda: bench.board.livenesses[1].verdict == codes.VERDICT_DEAD)
    applied = host.ask(3, CONFIGURE, op="settings_apply")
    assert applied["trial_s"] == 60


def test_trial_ends_by_itself_and_the_host_sees_it(host: Host) -> None:
    data = ("board.name=short-lived\n" + kept_keys(host)).encode()
    host.ask(3, CONFIGURE, op="settings_begin", length=len(data), crc=framing.crc16(data, len(data)))
    host.ask(3, CONFIGURE, op="settings_put", offset=0, text=data.decode())
    assert host.ask(3, CONFIGURE, op="settings_apply")["trial_s"] == 60
    assert host.bench.board.config.current.board.name == "short-lived"
    host.bench.run(60100)
    assert host.bench.board.config.current.board.name == "heartwire"
    assert host.ask(1, VIEW, op="status")["trial_s"] == 0


def test_a_fence_that_proves_nothing_keeps_nobody_waiting() -> None:
    bench = Bench()
    bench.settle()
    bench.supplies[1].welded = True
    assert bench.ask(op="fence", node="b", by=3) == {"ok": 1}
    bench.run(1000)
    began = bench.ms
    assert bench.ask(op="status")["phase"] == "fencing"
    assert bench.ms - began < 1000
