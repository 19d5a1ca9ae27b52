"""The host link: sessions, signatures, rights, bounded answers, and a host that misbehaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from heartwire_protocol import auth, codes, framing, messages, operations, settings, settings_rules, version
from tests.fakes.bench import Bench

VIEW, OPERATE, CONFIGURE = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
KEYED = f"board.view_key={VIEW.hex()}\nboard.operate_key={OPERATE.hex()}\nboard.configure_key={CONFIGURE.hex()}\n"
REQUEST = messages.layout_of(messages.REQUEST)
RESPONSE = messages.layout_of(messages.RESPONSE)
WELCOME = messages.layout_of(messages.WELCOME)


class Host:
    """A host with keys, in virtual time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.decoder = framing.Decoder(600)
        self.number = 0
        self.session = b""
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
                if self.decoder.ready and self.decoder.message_type == wanted:
                    layout = messages.layout_of(wanted)
                    return layout.unpack(bytes(self.decoder.payload[: self.decoder.length]))
        return None

    def hello(self) -> dict[str, Any]:
        found = self.exchange(framing.encode(messages.HELLO, b"\x01"), messages.WELCOME)
        assert found is not None
        self.session, self.number = found["session"], 0
        return found

    def frame(self, body: bytes, right: int, key: bytes | None, number: int) -> bytes:
        mac = bytes(8)
        if key:
            mac = auth.Signer(key).mac(b"R", self.session, bytes([right]), number.to_bytes(4, "little"), body)
        return framing.encode(messages.REQUEST, REQUEST.pack(right=right, number=number, mac=mac, body=body))

    def ask(self, right: int = 0, key: bytes | None = None, **request: object) -> dict[str, Any]:
        self.number += 1
        found = self.exchange(self.frame(json.dumps(request).encode(), right, key, self.number), messages.RESPONSE)
        assert found is not None, "no answer"
        return json.loads(found["body"])  # type: ignore[no-any-return]


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
    wrong: dict[str, object] = {"node": "c", "mode": "war", "int": -1, "text": 5, "bool": "yes"}
    checked = 0
    for row in operations.OPERATIONS:
        for name, kind, _ in row[4]:
            request: dict[str, object] = {"op": row[1], name: wrong[kind]}
            assert host.ask(3, CONFIGURE, **request)["error"] == "bad_argument", (row[1], name)
            checked += 1
    assert checked > 15


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
    assert host.hello()["version"] == 1
    assert host.ask(1, VIEW, op="status")["mode"] == "observe"


def test_log_pages_give_every_record_once_and_in_order(host: Host) -> None:
    usb = host.bench.hardware.usb
    after, found = 0, []
    for _ in range(20):
        host.number += 1
        body = json.dumps({"op": "log", "after": after, "count": 4}).encode()
        usb.incoming.extend(host.frame(body, 1, VIEW, host.number))
        page: list[int] = []
        done = False
        while not done:
            host.bench.step()
            data, at = bytes(usb.sent), 0
            usb.sent.clear()
            while at < len(data):
                at = host.decoder.feed(data, at, len(data))
                if host.decoder.ready and host.decoder.message_type == messages.EVENT:
                    page.append(int.from_bytes(host.decoder.payload[:4], "little"))
                done = done or (host.decoder.ready and host.decoder.message_type == messages.RESPONSE)
        found += page
        if not page:
            break
        assert len(page) <= 4
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
