"""Generate what comes from the contract's tables: TABLE_HASH, the tables of PROTOCOL.md, the golden vectors.

`python tools/gen_protocol.py` writes, `--check` compares and exits 1 on a difference. Run by `make docs` and `make
check`.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "firmware"))

from heartwire_protocol import (  # noqa: E402 - the path above must come first
    auth,
    bits,
    codes,
    events,
    framing,
    messages,
    operations,
    reasons,
    records,
    settings,
    settings_rules,
)

PROTOCOL_MD = ROOT / "firmware" / "heartwire_protocol" / "PROTOCOL.md"
VERSION_PY = ROOT / "firmware" / "heartwire_protocol" / "version.py"
VECTORS = ROOT / "tests" / "vectors" / "contract.json"
KEY = bytes(range(32))


def table_hash() -> bytes:
    """Return the CRC-32 of everything both ends must agree on; the wording of sentences does not count."""
    tables: list[object] = [
        messages.PROTOCOL_VERSION,
        [[row[0], row[1], [field[:2] for field in row[4]]] for row in messages.MESSAGES],
        [row[:2] for row in messages.FLAGS + messages.ORDERS],
        [[row[0], [part[:3] for part in row[2]]] for row in bits.FIELDS],
        codes.NODES, codes.ROLES, codes.STATES, codes.MODES, codes.RIGHTS, codes.POWERS, codes.VERDICTS,
        messages.FENCE_RESULTS, codes.FENCES, codes.TOOLS,
        [row[:2] for row in codes.DROPS],
        [row[:2] for row in codes.PROOFS], codes.CHECKS, codes.OUTCOMES,
        [row[:4] for row in events.EVENTS],
        [row[:2] for row in reasons.REASONS],
        [row[:2] for row in records.FIELDS],
        [row[:5] for row in settings.BOARD + settings.NODE],
        [row[0] for row in settings_rules.RULES + settings_rules.KEY_RULES],
        [[row[0], row[1], row[2], row[3], [field[:4] for field in row[4]]] for row in operations.OPERATIONS],
    ]  # fmt: skip
    return zlib.crc32(json.dumps(tables).encode()).to_bytes(4, "little")


def render_version(text: str) -> str:
    """Return version.py with the hash of the tables in it."""
    lines = [line for line in text.splitlines() if not line.startswith("TABLE_HASH")]
    digits = "".join(f"\\x{byte:02x}" for byte in table_hash())
    return "\n".join(lines) + f'\nTABLE_HASH = b"{digits}"\n'


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [*lines, ""]


def bit_table(rows: tuple[tuple[int, str, str], ...]) -> list[str]:
    """Return a table of bits."""
    return table(("bit", "name", "meaning"), [(f"{row[0]:#04x}", row[1], row[2]) for row in rows])


def argument(name: str, kind: str, lowest: int, highest: int, sentence: str) -> str:
    """Return one argument of an operation, in words."""
    limits = f"{kind} {lowest} to {'2^30 - 1' if highest == codes.COUNT_MAX else highest}" if kind == "int" else kind
    return f"`{name}` {limits}: {sentence}"


def render_tables() -> str:
    """Return the generated part of PROTOCOL.md."""
    out: list[str] = ["## Messages", ""]
    for number, name, direction, line, fields, sentence in messages.MESSAGES:
        layout = messages.layout_of(number)
        size = f"{layout.length} bytes" + (" and a tail" if layout.has_tail else "")
        wire = "" if layout.has_tail else f", {framing.wire_length(layout.length)} on the wire at most"
        out += [f"### {number:#04x} {name}", "", f"{direction}, {line}: {sentence}. {size}{wire}.", ""]
        rows = [(layout.offset(field[0]), field[0], field[1], field[2]) for field in fields]
        out += table(("offset", "field", "type", "meaning"), list(rows))
    out += [
        "### Flags of a heartbeat",
        "",
        *bit_table(messages.FLAGS),
        "### Orders of a grant",
        "",
        *bit_table(messages.ORDERS),
    ]
    out += ["### Bit fields", ""]
    places: list[tuple[object, ...]] = []
    for name, place, parts in bits.FIELDS:
        for part, at, width, sentence in parts:
            places.append((f"`{name}`", place, at if width == 1 else f"{at}-{at + width - 1}", part, sentence))
    out += table(("field", "of", "bits", "part", "meaning"), places)
    out += ["## Numbers", ""]
    for title, names in (
        ("nodes", codes.NODES), ("roles", codes.ROLES), ("states", codes.STATES), ("modes", codes.MODES),
        ("rights", codes.RIGHTS), ("power", codes.POWERS), ("verdicts", codes.VERDICTS),
        ("fence results", messages.FENCE_RESULTS), ("fences", codes.FENCES), ("tools", codes.TOOLS),
        ("checks of a self-test", codes.CHECKS), ("outcomes", codes.OUTCOMES),
    ):  # fmt: skip
        out.append(f"- **{title}**: " + ", ".join(f"{at} {name}" for at, name in enumerate(names)))
    out += ["", "## Drops", "", *table(("number", "name", "meaning"), list(codes.DROPS))]
    out += ["## Results of a relay test", "", *table(("number", "name", "meaning"), list(codes.PROOFS))]
    out += ["## Operations of the host link", ""]
    described: list[tuple[object, ...]] = []
    for number, name, right, again, arguments, sentence in operations.OPERATIONS:
        words = ", ".join(argument(*row) for row in arguments) or "-"
        described.append((number, f"`{name}`", codes.RIGHTS[right], "yes" if again else "no", words, sentence or name))
    out += table(("number", "op", "right", "repeatable", "arguments", "meaning"), described)
    out += ["### Errors", "", *table(("error", "meaning"), list(operations.ERRORS))]
    out += ["## Journal record", "", f"{records.LENGTH} bytes.", ""]
    out += table(("field", "bytes", "meaning"), list(records.FIELDS))
    out += ["### Events", ""]
    out += table(
        ("number", "name", "severity", "ring", "sentence"),
        [(row[0], row[1], codes.SEVERITIES[row[2]], codes.RINGS[row[3]], row[4]) for row in events.EVENTS],
    )
    out += ["### Reasons", "", *table(("number", "name", "sentence"), list(reasons.REASONS))]
    out += ["## Settings", ""]
    for title, section in (("board", settings.BOARD), ("node.a, node.b, node.spare", settings.NODE)):
        out += [f"### {title}", ""]
        out += table(
            ("name", "kind", "range", "default", "meaning"),
            [(f"`{row[0]}`", row[1], limits(row), default(row), row[5]) for row in section],
        )
    out += ["### Rules between settings", ""]
    rules = settings_rules.RULES + settings_rules.KEY_RULES
    out += table(("rule", "of", "setting", "why"), [(row[0], row[1], row[3], row[4]) for row in rules])
    return "\n".join(out)


def limits(row: tuple[object, ...]) -> str:
    """Return the range of a setting in words."""
    if row[1] == settings.CHOICE:
        return ", ".join(row[2])  # type: ignore[arg-type] # a choice keeps its names there
    if row[1] == settings.INT:
        return f"{row[2]} to {row[3]}"
    return {"bool": "true, false", "key": "64 hex digits"}.get(str(row[1]), f"up to {row[3]} characters")


def default(row: tuple[object, ...]) -> str:
    """Return the default of a setting in words."""
    if row[1] == settings.BOOL:
        return "true" if row[4] else "false"
    return str(row[4]) if row[4] != "" else "-"


def render_markdown(text: str) -> str:
    """Return PROTOCOL.md with its generated part renewed."""
    begin, end = "<!-- tables: generated by tools/gen_protocol.py -->", "<!-- end of tables -->"
    head, rest = text.split(begin)
    return head + begin + "\n\n" + render_tables() + "\n" + end + rest.split(end)[1]


def signed_frames(signer: auth.Signer) -> dict[str, str]:
    """Return golden frames of what goes over the host link and of a page of records, signed."""
    record = bytes(range(records.LENGTH))
    binding = b"nonce..." + b"session." + b"board id"
    request = b'{"op":"log","after":0,"count":1}'
    answer = b'{"sent":1,"newest":1,"oldest_decision":1,"oldest_routine":1}'
    signed = messages.layout_of(messages.REQUEST).pack(
        right=1, number=7, mac=auth.request_mac(signer, binding, 1, 7, request), body=request
    )
    mac = auth.answer_begin(signer, binding, 7)
    mac.update(record)
    mac.update(answer)
    answered = messages.layout_of(messages.RESPONSE).pack(number=7, mac=signer.end(mac), body=answer)
    asked = messages.layout_of(messages.READ_EVENTS).pack(after=9, count=4, nonce=b"once")
    mac = auth.page_begin(signer, asked)
    mac.update(record)
    end = messages.layout_of(messages.EVENTS_END).pack(count=1, mac=signer.end(mac))
    reply = messages.layout_of(messages.FENCE_REPLY).pack(
        target=4, result=1, reason=0, target_is=0x51, sequence=3, mac=bytes(8)
    )[:-8]
    fence = messages.layout_of(messages.FENCE_REQUEST).pack(target=4, sequence=3, mac=bytes(8))[:-8]
    bodies = {
        "request keyed": (messages.REQUEST, signed),
        "response keyed": (messages.RESPONSE, answered),
        "event of both": (messages.EVENT, record),
        "read_events keyed": (messages.READ_EVENTS, asked),
        "events_end keyed": (messages.EVENTS_END, end),
        "fence_request keyed": (
            messages.FENCE_REQUEST,
            fence + auth.fence_request_mac(signer, b"\x01\x02\x03\x04", 0x3FFFFFFF, fence),
        ),
        "fence_reply keyed": (messages.FENCE_REPLY, reply + auth.fence_reply_mac(signer, 0x3FFFFFFF, reply)),
    }
    return {name: framing.encode(kind, body).hex() for name, (kind, body) in bodies.items()}


def vectors() -> str:
    """Return golden frames of every message and one record, as JSON of hexadecimal digits."""
    signer = auth.Signer(KEY)
    heartbeat = messages.layout_of(messages.HEARTBEAT)
    body = heartbeat.pack(
        node_state=1 | 1 << 2, flags=0x27, incarnation=0x3FFFFFFF, sequence=1, epoch=7, busy_s=0, mac=bytes(8)
    )
    body = body[:-8]
    frames: dict[str, str] = {}
    beat = body + auth.heartbeat_mac(signer, b"\x01\x02\x03\x04", body)
    frames["heartbeat keyed"] = framing.encode(messages.HEARTBEAT, beat).hex()
    frames["heartbeat open"] = framing.encode(messages.HEARTBEAT, body + b"\x01\x02\x03\x04\0\0\0\0").hex()
    grant = messages.layout_of(messages.GRANT)
    body = grant.pack(
        node_role=1 | 2 << 2,
        orders=0,
        epoch=7,
        lease_ms=8000,
        answers=1,
        newest_event=99,
        challenge=b"\x05\x06\x07\x08",
        mac=bytes(8),
    )[:-8]
    answered = (0x3FFFFFFF).to_bytes(4, "little") + (1).to_bytes(4, "little")
    frames["grant keyed"] = framing.encode(messages.GRANT, body + auth.grant_mac(signer, answered, body)).hex()
    frames["grant open"] = framing.encode(messages.GRANT, body + answered).hex()
    frames.update(signed_frames(signer))
    for row in messages.MESSAGES:
        layout = messages.layout_of(row[0])
        values: dict[str, object] = {}
        for at, (name, kind, _) in enumerate(row[4]):
            values[name] = (
                at + 1 if kind[0] == "u" else b"{}" if kind == "tail" else bytes(range(at, at + int(kind[1])))
            )
        frames[row[1]] = framing.encode(row[0], layout.pack(**values)).hex()
    record = bytearray(records.LENGTH)
    records.encode_into(record, [at + 1 for at in range(len(records.FIELDS))], records.CHAIN_START)
    return json.dumps({"key": KEY.hex(), "frames": frames, "record": record.hex()}, indent=1) + "\n"


def main() -> int:
    """Write or check the generated files."""
    check = "--check" in sys.argv[1:]
    wrong = 0
    for path, text in (
        (VERSION_PY, render_version(VERSION_PY.read_text())),
        (PROTOCOL_MD, render_markdown(PROTOCOL_MD.read_text())),
        (VECTORS, vectors()),
    ):
        if path.exists() and path.read_text() == text:
            continue
        if check:
            print(f"{path.relative_to(ROOT)} differs from the tables; run `make docs`")
            wrong = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{path.relative_to(ROOT)} written")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
