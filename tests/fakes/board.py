"""A fake board: the board's side of the host link, with scripted answers and faults, in memory or behind a pty.

It speaks the real frames of the contract, checks signatures like a board, and keeps settings and a journal. It knows no
policy: what an operation answers is what the test scripted. `MemoryChannel` gives it to a Link with a clock that
jumps, so nothing sleeps; `PtyBoard` serves it behind a real pseudo terminal for tests of whole commands.
"""

from __future__ import annotations

import json
import os
import select
import threading
import tty
from collections.abc import Callable
from typing import Any

from heartwire.errors import Unplugged
from heartwire.link import MAX_PAYLOAD
from heartwire_firmware.hostlink import wrong_argument
from heartwire_protocol import auth, codes, framing, messages, operations, records, settings, settings_rules
from heartwire_protocol.version import TABLE_HASH

BOARD_ID = bytes.fromhex("E66118604B5C4A2A")
Answer = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


def status_body(**changes: Any) -> dict[str, Any]:
    """Return a plausible status answer."""
    return {
        "name": "rack-1", "version": "0.1.0", "boot": 3, "uptime_s": 273845, "mode": "auto", "safe": 0, "epoch": 7,
        "holder": "a", "active": "a", "phase": "watching", "target": None, "successor": None, "held": None,
        "advisory": 0, "bench": 0, "generation": 3, "crc": 0, "trial_s": 0, "newest": 0, "lost": 0, "maintenance_s": 0,
        "approval": None, "free": 81232, "loop_ms": 3, "key": 0, "wall": [20821, 57845000], "alarm": 0, **changes,
    }  # fmt: skip


def node_body(node: str, **changes: Any) -> dict[str, Any]:
    """Return a plausible answer about one node."""
    name = {"a": "alpha", "b": "beta", "spare": ""}[node]
    active = node == "a"
    return {
        "node": node, "name": name, "enabled": int(node != "spare"), "role": "active" if active else "standby",
        "verdict": "good", "age_ms": 310 if active else 420, "state": "healthy", "flags": 33 if active else 34,
        "epoch": 7, "lease_ms": 7600 if active else 0, "incarnation": 90210, "sequence": 1234, "power": "on",
        "relay": 0, "fence": "idle", "half_line": 0, "altered": 0, "beats": 1230, "drops": {}, "grace_s": 0,
        "actions": 0, "locked": 0, "maintenance_s": 0, **changes,
    }  # fmt: skip


class FakeBoard:
    """The protocol side. Give bytes to `receive`; it returns what the board sends back."""

    def __init__(self) -> None:
        self.version = messages.PROTOCOL_VERSION
        self.tables = TABLE_HASH
        self.boot = 3
        self.board_id = BOARD_ID
        self.keys: dict[int, str] = {}
        self.script: dict[str, Answer] = {"status": self._status}
        self.status = status_body()
        self.node_bodies = {node: node_body(node) for node in codes.NODES}
        self.levels = {
            **dict.fromkeys(("SENSE_A1", "SENSE_A2", "SENSE_B1", "SENSE_B2", "SENSE_SPARE"), 1),
            "BUTTON": 0, "KEY": 0, "TRANSFER_AT_A": 1, "TRANSFER_AT_B": 0,
        }  # fmt: skip
        self.relay_test: dict[str, Any] = {"phase": "rest", "node": None, "number": 0, "result": "none"}
        self.asked: list[dict[str, Any]] = []
        self.rights: list[int] = []
        self.settings = settings.Settings()
        self.generation = 3
        self.trial: settings.Settings | None = None
        self.records: list[bytes] = []
        self.oldest = (1, 1)
        # Faults.
        self.silent = False
        self.silent_for: list[str] = []  # operations that get no answer, once each
        self.noise_before = b""
        self.before_answer: Callable[[str], None] = lambda op: None
        self._chain = [records.CHAIN_START, records.CHAIN_START]
        self._sessions = 0
        self._session = b""
        self._binding = b""
        self._number = 0
        self._upload = bytearray()
        self._upload_crc = 0
        self._layouts = {row[0]: messages.layout_of(row[0]) for row in messages.MESSAGES}
        self._decoder = framing.Decoder(MAX_PAYLOAD)

    def restart(self) -> None:
        """Come back as after a reset: next boot, no session, no trial."""
        self.boot += 1
        self.status["boot"] = self.boot
        self._session = b""
        self.trial = None

    def log(
        self, event: int, node: int = codes.NO_NODE, reason: int = 0, a: int = 0, b: int = 0, **fields: int
    ) -> bytes:
        """Append a record to the journal and return it; `fields` replace others of records.FIELDS."""
        from heartwire_protocol import events

        sequence = fields.get("sequence", self.status["newest"] + 1)
        values = {
            "sequence": sequence, "boot": self.boot, "uptime_day": 0, "uptime_ms": sequence * 1000, "event": event,
            "reason": reason, "node": node, "a": a, "b": b, "wall_day": 20818, "wall_ms": 43_200_000 + sequence * 1000,
            **fields,
        }  # fmt: skip
        row = events.event_row(event)
        ring = row[3] if row else 0
        raw = bytearray(records.LENGTH)
        self._chain[ring] = records.encode_into(raw, [values[name] for name, _, _ in records.FIELDS], self._chain[ring])
        self.records.append(bytes(raw))
        self.status["newest"] = sequence
        return bytes(raw)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the host; return the board's bytes."""
        out = b""
        at = 0
        while at < len(data):
            at = self._decoder.feed(data, at, len(data))
            if self._decoder.ready:
                payload = bytes(self._decoder.payload[: self._decoder.length])
                out += self._frame(self._decoder.message_type, payload)
        return out

    def _frame(self, kind: int, payload: bytes) -> bytes:
        if self.silent:
            return b""
        if kind == messages.HELLO:
            self._sessions += 1
            self._session = self._sessions.to_bytes(8, "little")
            self._number = 0
            self._binding = payload[1:] + self._session + self.board_id
            keys = sum(1 << right for right in self.keys)
            welcome = self._layouts[messages.WELCOME].pack(
                version=self.version, tables=self.tables, session=self._session, board_id=self.board_id, boot=self.boot,
                keys=keys,
            )  # fmt: skip
            return self.noise_before + bytes(framing.encode(messages.WELCOME, welcome))
        if kind != messages.REQUEST:
            return b""
        fields = self._layouts[messages.REQUEST].unpack(payload)
        body = json.loads(fields["body"])
        op = body["op"]
        self.asked.append(body)
        self.rights.append(fields["right"])
        events: list[bytes] = []
        signer = self._signer_of(fields)
        answer = self._denial(fields, op, signer)
        if answer is None:
            answer = self._answer(body, events)
        if op in self.silent_for:
            self.silent_for.remove(op)
            return b""
        self.before_answer(op)
        body = json.dumps(answer).encode()
        mac = self._sign(signer, fields["number"], events, body)
        response = self._layouts[messages.RESPONSE].pack(number=fields["number"], mac=mac, body=body)
        frames = [framing.encode(messages.EVENT, record) for record in events]
        return self.noise_before + b"".join(frames) + bytes(framing.encode(messages.RESPONSE, response))

    def _signer_of(self, fields: dict[str, Any]) -> auth.Signer | None:
        """Return the signer of a rightly signed request."""
        key = self.keys.get(fields["right"])
        if not key or not self._session or fields["number"] <= self._number:
            return None
        signer = auth.Signer(bytes.fromhex(key))
        mac = auth.request_mac(signer, self._binding, fields["right"], fields["number"], fields["body"])
        return signer if auth.same(mac, fields["mac"]) else None

    def _sign(self, signer: auth.Signer | None, number: int, events: list[bytes], body: bytes) -> bytes:
        if signer is None:
            return bytes(8)
        mac = auth.answer_begin(signer, self._binding, number)
        for record in events:
            mac.update(record)
        mac.update(body)
        return signer.end(mac)

    def _denial(self, fields: dict[str, Any], op: str, signer: auth.Signer | None) -> dict[str, Any] | None:
        row = operations.operation_row(op)
        if row is None:
            return {"error": "unknown_operation"}
        if not self._session or fields["number"] <= self._number:
            return {"error": "bad_mac"}
        right = fields["right"]
        if right and signer is None:
            return {"error": "bad_mac"}
        self._number = fields["number"]
        if self.keys.get(row[2]) and right < row[2]:
            return {"error": "not_allowed", "right": codes.RIGHTS[row[2]]}
        return None

    def _answer(self, body: dict[str, Any], events: list[bytes]) -> dict[str, Any]:
        op = body["op"]
        scripted = self.script.get(op)
        if scripted is not None:
            return scripted(body) if callable(scripted) else scripted
        builtin = getattr(self, "_op_" + op, None)
        row = operations.operation_row(op)
        wrong = wrong_argument(row[4], body) if row is not None and (builtin or op == "log") else None
        if wrong:
            return {"error": "bad_argument", "argument": wrong}
        if op == "log":
            return self._log(body, events)
        return builtin(body) if builtin else {"ok": 1}

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        running = self.trial or self.settings
        text = running.text().encode()
        return {
            **self.status,
            "generation": self.generation + (1 if self.trial else 0),
            "crc": framing.crc16(text, len(text)),
            "trial_s": 60 if self.trial else 0,
        }

    def _op_node(self, body: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in self.node_bodies[body["node"]].items() if name != "drops"}

    def _op_drops(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"drops": self.node_bodies[body["node"]].get("drops", {})}

    def _op_inputs(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"inputs": self.levels, "outputs": {}}

    def _op_proof(self, body: dict[str, Any]) -> dict[str, Any]:
        number = self.relay_test["number"] + 1
        self.relay_test = {
            "phase": "rest", "node": body["node"], "number": number, "result": "passed", "off_ms": 231, "on_ms": 27,
        }  # fmt: skip
        return {"ok": 1, "number": number}

    def _op_tests(self, _: dict[str, Any]) -> dict[str, Any]:
        return self.relay_test

    def _op_plans(self, _: dict[str, Any]) -> dict[str, Any]:
        at = [node for node in "ab" if self.levels[f"TRANSFER_AT_{node.upper()}"]]
        return {"transfer": at[0] if len(at) == 1 else None}

    def _op_transfer(self, body: dict[str, Any]) -> dict[str, Any]:
        for node in "ab":
            self.levels[f"TRANSFER_AT_{node.upper()}"] = int(node == body["node"])
        return {"ok": 1}

    def _op_mode(self, body: dict[str, Any]) -> dict[str, Any]:
        self.status["mode"] = body["mode"]
        return {"ok": 1}

    def _op_time(self, body: dict[str, Any]) -> dict[str, Any]:
        self.status["wall"] = [body["day"], body["ms"]]
        return {"ok": 1}

    def _log(self, body: dict[str, Any], events: list[bytes]) -> dict[str, Any]:
        after = [raw for raw in self.records if int.from_bytes(raw[:4], "little") > body["after"]]
        events += after[: body["count"]]
        return {
            "sent": len(events), "newest": self.status["newest"],
            "oldest_decision": self.oldest[0], "oldest_routine": self.oldest[1],
        }  # fmt: skip

    def _op_settings(self, body: dict[str, Any]) -> dict[str, Any]:
        running = self.trial or self.settings
        text = str(running.text(show_keys=False))
        status = self._status({})
        piece = text[body["offset"] : body["offset"] + 300]
        return {"text": piece, "length": len(text), **{name: status[name] for name in ("crc", "generation", "trial_s")}}

    def _op_settings_begin(self, body: dict[str, Any]) -> dict[str, Any]:
        self._upload = bytearray()
        self._upload_crc = body["crc"]
        return {"ok": 1}

    def _op_settings_put(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["offset"] != len(self._upload):
            return {"error": "bad_argument", "argument": "offset"}
        self._upload += body["text"].encode()
        return {"ok": 1}

    def _op_settings_apply(self, _: dict[str, Any]) -> dict[str, Any]:
        if framing.crc16(self._upload, len(self._upload)) != self._upload_crc:
            return {"error": "bad_settings", "path": "settings", "rule": "the upload is not whole"}
        lines = []
        for line in self._upload.decode().splitlines(True):
            path, _equals, value = line.rstrip("\n").partition("=")
            if value.startswith("key:"):
                known = (self.settings.get(one) for one in (path, settings.twin_of(path)))
                kept = next((one for one in known if one and settings.fingerprint(one) == value), "")
                if not kept:
                    return {"error": "bad_settings", "path": path, "rule": "no such key"}
                line = f"{path}={kept}\n"
            lines.append(line)
        new, problems = settings.parse("".join(lines))
        problems = problems or settings_rules.check(new)
        if problems:
            return {"error": "bad_settings", "path": problems[0][0], "rule": problems[0][1]}
        self.trial = new
        self._take_keys(new)
        return {"generation": self.generation + 1, "trial_s": 60}

    def _op_settings_confirm(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.trial is None or body["generation"] != self.generation + 1:
            return {"error": "bad_argument"}
        self.settings, self.trial = self.trial, None
        self.generation += 1
        return {"ok": 1}

    def _op_settings_revert(self, _: dict[str, Any]) -> dict[str, Any]:
        self.trial = None
        self._take_keys(self.settings)
        return {"ok": 1}

    def _take_keys(self, running: settings.Settings) -> None:
        for right in (1, 2, 3):
            key = running.get(f"board.{codes.RIGHTS[right]}_key")
            if key:
                self.keys[right] = key
            else:
                self.keys.pop(right, None)


class MemoryChannel:
    """A channel straight into a FakeBoard; waiting advances its clock instead of sleeping."""

    name = "memory"
    exposed = False

    def __init__(self, board: FakeBoard, *, chunk: int = 4096) -> None:
        self.board = board
        self.chunk = chunk
        self.unplugged = False
        self.closed = False
        self.waiting = b""
        self.time = 1000.0

    def read(self, timeout_s: float) -> bytes:
        if self.unplugged:
            raise Unplugged(f"{self.name}: connection lost")
        if not self.waiting:
            self.time += timeout_s
            return b""
        data, self.waiting = self.waiting[: self.chunk], self.waiting[self.chunk :]
        self.time += 0.001
        return data

    def write(self, data: bytes) -> None:
        if self.unplugged:
            raise Unplugged(f"{self.name}: connection lost")
        self.waiting += self.board.receive(data)

    def close(self) -> None:
        self.closed = True

    def now(self) -> float:
        return self.time


class PtyBoard:
    """A FakeBoard behind a pseudo terminal, served by a thread. Use as a context manager; `path` is the port."""

    def __init__(self, board: FakeBoard) -> None:
        self.board = board
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop, self._stopper = os.pipe()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> PtyBoard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        os.close(self._stop)
        os.close(self._stopper)

    def unplug(self) -> None:
        """Close both ends: whoever has the port open sees it vanish. Also from within an answer."""
        if threading.current_thread() is not self._thread:
            os.write(self._stopper, b"x")
            self._thread.join(5)
        with self._lock:
            for descriptor in (self._slave, self._master):
                if descriptor >= 0:
                    os.close(descriptor)
            self._master = self._slave = -1

    def _serve(self) -> None:
        while True:
            with self._lock:
                master = self._master
            if master < 0 or self._stop in select.select([master, self._stop], [], [])[0]:
                return
            try:
                answer = self.board.receive(os.read(master, 4096))
                if answer:
                    os.write(self._master, answer)
            except OSError:
                return
