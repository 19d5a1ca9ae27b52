"""Tests of the contract that run on CPython and on the MicroPython VM alike: plain functions, plain asserts, no pytest.

test_contract.py collects them for CPython and runs this same file on the VM. `VECTORS` is set by whoever runs them.
"""

from heartwire_protocol import auth, bits, codes, events, framing, messages, reasons, records, settings, settings_rules

VECTORS: "dict" = {}
KEY = bytes(range(32))


def unhex(text):
    return bytes([int(text[at : at + 2], 16) for at in range(0, len(text), 2)])


def frames_of(decoder, data):
    found = []
    at = 0
    while at < len(data):
        at = decoder.feed(data, at, len(data))
        if decoder.ready:
            found.append((decoder.message_type, bytes(decoder.payload[: decoder.length])))
    return found


def noise(seed, count):
    """A small generator of bytes that is the same on both interpreters."""
    out = bytearray(count)
    state = seed
    for at in range(count):
        state = (state * 1103515245 + 12345) & 0x3FFFFFFF
        out[at] = state >> 16 & 0xFF
    return out


def test_crc_check_value():
    assert framing.crc16(b"123456789", 9) == 0x29B1


def test_hot_frames_fit_the_uart_fifo():
    for message_type in (messages.HEARTBEAT, messages.GRANT):
        layout = messages.layout_of(message_type)
        worst = 0
        for fill in (0, 1, 255):
            worst = max(worst, len(framing.encode(message_type, bytes([fill] * layout.length))))
        assert worst <= messages.HOT_FRAME_MAX, (layout.name, worst)
        assert framing.wire_length(layout.length) <= messages.HOT_FRAME_MAX


def test_every_length_survives_a_round_trip():
    for length in (0, 1, 2, 23, 24, 252, 253, 254, 255, 256, 300, 507, 508, 509, 525):
        for fill in (0, 1, 255, None):
            payload = noise(length + 1, length) if fill is None else bytes([fill] * length)
            frame = framing.encode(7, payload)
            assert 0 not in frame[1:-1]
            assert len(frame) <= framing.wire_length(length)
            assert frames_of(framing.Decoder(525), frame) == [(7, bytes(payload))]


def test_a_frame_may_arrive_in_any_pieces():
    frame = framing.encode(3, b"\x00\x01\x02\x00\x00abc")
    for size in range(1, len(frame) + 1):
        decoder = framing.Decoder(40)
        found = []
        for at in range(0, len(frame), size):
            piece = frame[at : at + size]
            found += frames_of(decoder, piece)
        assert found == [(3, b"\x00\x01\x02\x00\x00abc")], size


def test_noise_before_a_frame_costs_only_itself():
    frame = framing.encode(1, b"hello")
    decoder = framing.Decoder(40)
    for seed in range(60):
        junk = noise(seed, 37)
        assert frames_of(decoder, bytes(junk) + frame)[-1] == (1, b"hello")
    assert sum(decoder.drops) > 0


def test_each_kind_of_damage_is_counted_by_its_kind():
    frame = bytearray(framing.encode(1, b"payload"))
    decoder = framing.Decoder(40)
    damaged = bytearray(frame)
    damaged[4] ^= 0x40
    assert frames_of(decoder, damaged) == [] and decoder.drops[codes.DROP_CRC] == 1
    assert frames_of(decoder, frame[:5] + b"\x00") == [] and decoder.drops[codes.DROP_COBS] == 1
    assert frames_of(decoder, framing.encode(1, bytes(60))) == [] and decoder.drops[codes.DROP_LONG] == 1
    assert frames_of(decoder, b"\x00\x02\x07\x00") == [] and decoder.drops[codes.DROP_SHORT] == 1
    assert frames_of(decoder, frame) == [(1, b"payload")] and decoder.frames == 1


def test_every_single_byte_error_is_found():
    frame = framing.encode(1, bytes(range(1, 25)))
    for at in range(1, len(frame) - 1):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(frame)
            damaged[at] ^= flip
            assert frames_of(framing.Decoder(40), damaged) == [], (at, flip)


def test_golden_frames():
    for row in messages.MESSAGES:
        layout = messages.layout_of(row[0])
        values = {}
        for at in range(len(layout.names)):
            kind = row[4][at][1]
            values[layout.names[at]] = (
                at + 1 if kind[0] == "u" else b"{}" if kind == "tail" else bytes(range(at, at + int(kind[1])))
            )
        payload = layout.pack(**values)
        assert framing.encode(row[0], payload) == unhex(VECTORS["frames"][row[1]]), row[1]
        assert layout.unpack(payload) == values, row[1]


def test_golden_signatures():
    heartbeat = messages.layout_of(messages.HEARTBEAT)
    found = frames_of(framing.Decoder(40), unhex(VECTORS["frames"]["heartbeat keyed"]))[0][1]
    body = found[: heartbeat.offset("mac")]
    assert auth.heartbeat_mac(auth.Signer(KEY), b"\x01\x02\x03\x04", body) == found[-8:]
    assert auth.heartbeat_mac(auth.Signer(bytes(32)), b"\x01\x02\x03\x04", body) != found[-8:]


def test_golden_signatures_of_what_is_signed_piece_by_piece():
    """Written out from the page: letter, what it is bound to, and the bytes as they were sent."""
    found = {}
    for name in VECTORS["frames"]:
        if name.endswith(" keyed") or name == "event of both":
            found[name.split(" ")[0]] = frames_of(framing.Decoder(525), unhex(VECTORS["frames"][name]))[0][1]
    signer = auth.Signer(KEY)
    binding = b"nonce...session.board id"
    request, answer, record = found["request"], found["response"], found["event"]
    assert request[5:13] == signer.mac(b"R" + binding + request[:5] + request[13:])
    assert answer[4:12] == signer.mac(b"A" + binding + answer[:4] + record + answer[12:])
    assert found["events_end"][1:] == signer.mac(b"E" + found["read_events"] + record)
    fence, reply = found["fence_request"], found["fence_reply"]
    assert fence[5:] == signer.mac(b"F\x01\x02\x03\x04\xff\xff\xff\x3f" + fence[:5])
    assert reply[9:] == signer.mac(b"P\xff\xff\xff\x3f" + reply[:9])


def test_hmac_of_rfc_4231_case_2():
    assert auth.Signer(b"Jefe").mac(b"what do ya want ", b"for nothing?") == unhex("5bdcc146bf60754e")
    assert auth.Signer(b"\xaa" * 131).mac(b"Test Using Larger Than Block-Size Key - Hash Key First") == unhex(
        "60e431591ee0b67f"
    )


def test_golden_record():
    record = bytearray(records.LENGTH)
    records.encode_into(record, [at + 1 for at in range(len(records.FIELDS))], records.CHAIN_START)
    assert bytes(record) == unhex(VECTORS["record"]) and len(record) == messages.RECORD_LENGTH
    decoded = records.decode(record)
    assert decoded["sequence"] == 1 and decoded["wall_ms"] == 11
    for at in range(records.LENGTH):
        damaged = bytearray(record)
        damaged[at] ^= 0x10
        assert not records.is_whole(damaged), at


def test_integers_at_the_limit():
    layout = messages.layout_of(messages.HEARTBEAT)
    payload = bytearray(layout.length)
    layout.put(payload, "epoch", codes.COUNT_MAX)
    values = [0] * len(layout.names)
    assert layout.read_into(values, payload) and values[layout.names.index("epoch")] == codes.COUNT_MAX
    try:
        layout.put(payload, "epoch", codes.INT_LIMIT)
        raise AssertionError("2^30 was taken")
    except ValueError:
        pass
    payload[layout.offset("epoch") + 3] = 0x40
    assert not layout.read_into(values, payload)


def test_bit_fields_hold_their_parts_apart():
    for name, _, table in bits.FIELDS:
        taken = 0
        for part, at, width, _ in table:
            mask = (1 << width) - 1
            assert not taken & mask << at, (name, part)
            taken |= mask << at
            value = bits.pack(table, **{part: mask})
            assert value == mask << at
            shown = bits.unpack(table, value | 1 << 20)
            assert shown[part] == mask and sum(shown.values()) == mask, (name, part)
        for wrong in ({table[0][0]: 1 << table[0][2]}, {"nothing": 1}):
            try:
                bits.pack(table, **wrong)
                raise AssertionError(wrong)
            except ValueError:
                pass


def test_bit_fields_stand_where_they_always_stood():
    """Records of years ago are read by them, and other agents speak them."""
    assert bits.pack(bits.NODE_STATE, node=2, state=6) == 2 | 6 << 2
    assert bits.pack(bits.NODE_ROLE, node=1, role=3) == 1 | 3 << 2
    assert bits.pack(bits.TARGET, node=1, tool=2, question=1) == 1 | 2 << 2 | 16
    assert bits.pack(bits.TARGET_IS, fence=4, power=2, relay=1, mode=3) == 4 | 2 << 3 | 1 << 5 | 3 << 6
    assert bits.pack(bits.REQUESTER, node=3, tool=1) == 3 | 1 << 2
    assert bits.pack(bits.ASKED, last=1, node=3, tool=2) == 1 | 3 << 1 | 2 << 3
    evidence = bits.pack(bits.EVIDENCE, state=1, flags=0x41, power=2, half_line=1, altered=1, verdict=3)
    assert evidence == 1 | 0x41 << 3 | 2 << 10 | 1 << 12 | 1 << 13 | 3 << 14


def test_permanent_numbers_stand_at_their_place():
    for at in range(len(codes.DROPS)):
        assert codes.DROPS[at][0] == at, codes.DROPS[at]
    for rows in (events.EVENTS, messages.MESSAGES, reasons.REASONS):
        numbers = [row[0] for row in rows]
        assert len(set(numbers)) == len(numbers) and sorted(numbers) == numbers
    for number, name, _ in reasons.REASONS:
        assert getattr(reasons, name.upper()) == number, name
        assert reasons.NAMES[number] == codes.name_of(reasons.REASONS, number) == name
    assert codes.name_of(reasons.REASONS, 9999) == "#9999"
    for row in events.EVENTS:
        assert getattr(events, row[1].upper()) == row[0], row[1]


def test_default_settings_hold_every_rule():
    assert settings_rules.check(settings.Settings()) == []
    for path in settings.paths():
        assert settings.problem_with(path, settings.default_of(path), 0) is None, path


def test_settings_text_survives_a_round_trip():
    one = settings.Settings()
    one.put("board.name", "rack = 7")
    one.put("node.spare.enabled", 1)
    one.put("node.b.key", "ab" * 32)
    two, problems = settings.parse(one.text())
    assert problems == [] and two.text() == one.text()
    assert "ab" * 32 not in one.text(False) and "node.b.key=key:" in one.text(False)


def test_settings_are_refused_with_path_and_limit():
    text = "board.dead_ms=5\nboard.fast=1\nnode.a.fence=axe\nboard.late_ms=soon\nnode.c.key=\nboard.view_key=1234\n"
    found = settings.parse(text)[1]
    paths = [path for path, _ in found]
    assert sorted(paths) == sorted(
        ["board.dead_ms", "board.fast", "node.a.fence", "board.late_ms", "node.c.key", "board.view_key"]
    )
    assert "2500 to 300000" in dict(found)["board.dead_ms"]


def test_contradicting_settings_break_their_rule():
    broken = {
        "late_after_interval": "board.late_ms=1000\n",
        "dead_after_late": "board.dead_ms=4000\n",
        "intent_fits": "board.bench=1\nboard.interval_ms=100\nboard.late_ms=1000\n"
        "board.common_cause_ms=50\nboard.dead_ms=1400\n",
        "window": "board.early_ms=900\n",
        "lease_renews": "board.lease_ms=2000\n",
        "stall_fits": "board.interval_ms=9000\n",
        "off_fits": "board.off_timeout_ms=1000\n",
        "watchdog_slack": "board.bench=1\nboard.watchdog_ms=1000\n",
        "sense_wired": "node.a.senses=0\n",
        "hold_needs_measure": "node.a.off_proof=assumed\n",
        "assumed_covers": "node.a.off_proof=assumed\nnode.a.on_board_loss=stop\nnode.a.assumed_off_ms=5000\n",
        "text_is_measured": "node.b.profile=text\nnode.b.fence=none\n",
        "text_asks_nothing": "node.b.profile=text\nnode.b.may_fence=1\n",
        "fencer_is_keyed": "node.b.may_fence=1\n",
        "front_fits": "node.b.fence=reset\nnode.b.on_board_loss=stop\n",
        "reset_stops": "node.b.fence=reset\nnode.b.front=reset\nnode.b.on_board_loss=stop\nnode.b.off_proof=assumed\n",
        "lease_waits": "node.b.fence=lease\nnode.b.on_board_loss=stop\n",
        "cold_starts": "node.b.standby=cold\n",
        "ladder_wired": "node.b.recovery=reset\n",
        "assumed_fits": "board.hold_max_s=15\nnode.b.off_proof=assumed\nnode.b.on_board_loss=stop\n"
        "node.b.assumed_off_ms=80000\n",
        "button_fits": "board.off_timeout_ms=5000\nnode.b.fence=button\nnode.b.front=power\n",
        "some_node": "node.a.enabled=0\nnode.b.enabled=0\n",
    }
    for row in settings_rules.RULES:
        assert row[0] in broken, "no test breaks rule " + row[0]
    for rule, text in broken.items():
        found, problems = settings.parse(text)
        assert problems == [], (rule, problems)
        words = [problem[1] for problem in settings_rules.check(found)]
        assert [word for word in words if word.startswith(rule + ":")], (rule, words)
