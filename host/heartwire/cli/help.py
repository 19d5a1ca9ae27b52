"""`heartwire help`: the manual's topics, topics that belong to no single command, and help of a command by its name.

Exit codes come from the error tree and JSON keys from the dataclasses that are printed, so this page cannot go stale.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import fields
from importlib import resources

import click

from heartwire import manual
from heartwire.cli.output import Sheet, emit, emit_json, show_markdown
from heartwire_protocol import rules

KEYS = """\
The host link may need keys, one for each right:

  view        reading: status, log, config show
  operate     switchover, fence, maintenance, approve
  configure   config apply, arming, restart (and everything else)

A key file holds one a line and must belong to you, or to root, alone (chmod 600):

  operate=<64 hexadecimal digits>

It is taken from --key-file, else HEARTWIRE_KEY_FILE, else ~/.config/heartwire/keys.
Keys are never shown: `key:1a2b3c4d` is a fingerprint.

`heartwire config new --keys` makes keys for the host and for both nodes. A board
without any key lets anybody with the cable use it; where a right has no key of its
own, the next higher one is needed; reading is open without a view key. Arming always
needs the configure key or the key switch on the board.

With a key only answers that it signs are believed, whatever is asked. A new board has
no keys yet, and one that lost its settings has none any more: `--unsigned` leaves the
key file out, so that `heartwire config apply` can give it yours. `--board-id ID` (or
HEARTWIRE_BOARD_ID) talks to that board only. A key never crosses a network in clear:
over socket://, settings with a new key are refused, and a tunnel is named.

`heartwire key roll a NEW.key` replaces a key on a running rack: both are taken until
the new one is in use. `heartwire key list` shows which keys are in use.
"""

PORTS = """\
Which board: --port, else HEARTWIRE_PORT, else the only one that is plugged in.

  /dev/ttyACM0           a serial port, or the pseudo terminal of a virtual board
  id:E66118604B5C4A2A    by USB serial number (its beginning is enough)
  socket://rack:4000     a TCP connection to something that passes the bytes on, such as ser2net (`accepter: tcp,4000`)
  rfc2217://rack:4000    the same to a server that speaks Telnet with serial options (`accepter: telnet(rfc2217),4000`)

Programs share a board's port through the broker, which the first of them starts; a
socket of systemd's does it for the whole host: `heartwire broker install`. If you may not open it, install this
udev rule as /etc/udev/rules.d/70-heartwire.rules and run `udevadm control --reload`:
"""


def _exit_codes() -> str:
    from heartwire.cli.main import EXIT_BROKEN_PIPE
    from heartwire.errors import kinds

    sheet = Sheet(("code", "meaning"), right=frozenset({0}))
    sheet.rows.append([("0", ""), ("it worked", "")])
    # These bring kinds of their own into the tree.
    for module in ("heartwire.flash.images", "heartwire.flash.install", "heartwire.virtual.errors"):
        importlib.import_module(module)
    sheet.rows += [[(str(kind.exit_code), ""), (kind.meaning, "")] for kind in kinds()]
    sheet.rows.append([(str(EXIT_BROKEN_PIPE), ""), ("the program that read the output has ended", "")])
    return sheet.plain()


def _json() -> str:
    from heartwire import journal, next_steps, selftest
    from heartwire.answers import NodeStatus, Status
    from heartwire.cli import acting, advise, history, monitor, monitor_store
    from heartwire.ports import Port

    def table(kind: type) -> list[tuple[str, str]]:
        return [(entry.name, entry.metadata["doc"]) for entry in fields(kind) if "doc" in entry.metadata]

    sections = (
        (
            "status --json: an object",
            [*table(Status), ("nodes", "list of the nodes, see below"), ("next", "list of what to do now, see below")],
        ),
        ("status --json: each of nodes", table(NodeStatus)),
        ("status --json: each of next", list(next_steps.JSON_DOC)),
        ("log --json: an object a line", list(journal.JSON_DOC)),
        ("history --json: each of a list", list(history.JSON_DOC)),
        ("advise --json: an object", list(advise.JSON_DOC)),
        ("monitor status --json: an object", list(monitor.STATUS_DOC)),
        ("help --json: each of a list, or one object", list(JSON_DOC)),
        ("monitor check --json: an object", list(monitor.CHECK_DOC)),
        ("monitor migrate --json: an object", list(monitor_store.MIGRATE_DOC)),
        ("monitor copy-store --json: an object", list(monitor_store.COPY_DOC)),
        ("boards --json: each of a list", [*table(Port), ("answer", "with --probe: what answers there")]),
        (
            "broker status --json: each of a list",
            [
                (
                    "socket, pid, uid, error",
                    "where it listens, its process and user, or why it does not answer",
                ),
                ("ports", "list of {port, state, sessions}; state is open, opening, closed or lent"),
                ("sessions", "list of {program, pid, uid, does, requests, urgent}"),
            ],
        ),
        ("--json of each command that acts: an object", list(acting.JSON_DOC)),
        ("mode --json", [("mode", "the mode"), ("advisory", "grants are advisory")]),
        ("time --json", [("wall", "the board's time, UTC; null if not set"), ("offset_s", "against this host")]),
        (
            "config show --json",
            [
                ("generation, crc, trial_s", "as in status"),
                ("settings", "path to value of what differs from the default; keys as fingerprints"),
            ],
        ),
        ("config diff --json: each of a list", [("path", "setting"), ("running", "now"), ("file", "then")]),
        (
            "selftest --json: an object",
            [
                ("passed, failed, not_tested", "how many checks"),
                ("by_hand", "what no command can test"),
                ("checks", "list of the checks, see below"),
            ],
        ),
        ("selftest --json: each of checks", list(selftest.JSON_DOC)),
        (
            "config check --json",
            [
                ("file, good", "the file, and whether it may be applied"),
                ("problems", "list of {path, line, words}"),
                ("missing_keys", "path to key file that is not at hand"),
            ],
        ),
    )
    blocks = []
    for title, rows in sections:
        width = max(len(name) for name, _ in rows)
        blocks.append("\n".join([title, *(f"  {name:<{width}}  {words}" for name, words in rows)]))
    return "\n\n".join(blocks) + "\n\nKeys are added, never renamed or removed."


def _ports() -> str:
    rule = resources.files("heartwire").joinpath("share", "70-heartwire.rules").read_text(encoding="ascii")
    return f"{PORTS}\n{rule.rstrip()}"


def _timings() -> str:
    from heartwire_protocol import settings

    board = {row[0]: row[4] for row in settings.BOARD}
    dead_s, stable_s, drain_s = (board[name] / 1000 for name in ("dead_ms", "off_stable_ms", "drain_ms"))
    rows = [(name, str(value)) for name, value in board.items() if name.endswith(("_ms", "_s"))]
    width = max(len(name) for name, _ in rows)
    sentence = {row[0]: row[5] for row in settings.BOARD}
    return "\n".join([
        "How long a failover takes with the default settings, from the last heartbeat on:",
        "",
        f"  dead            {dead_s:g} s   dead_ms",
        f"  proven off      {stable_s:g} s    off_stable_ms, and what the supply takes to discharge",
        "  granted         at once, with the next heartbeat of the other node (interval_ms)",
        "  services run    whatever your on_active hook takes",
        "",
        f"So about {dead_s + stable_s:g} s and the start of the services; in approve mode a person's time as well.",
        f"A planned switchover takes what your stop hook takes (at most {drain_s:g} s, drain_ms) and the start.",
        "The demo and `heartwire virtual` without --config use bench timings, five times faster.",
        "To be faster, lower late_ms, dead_ms, lease_ms and interval_ms together; `heartwire config check` holds their",
        "rules. A dead_ms shorter than the longest pause of a healthy server fences healthy servers:",
        "`heartwire advise` says how long those were, and how sure that is.",
        "",
        *(f"  {name:<{width}}  {value:>8}  {sentence[name]}" for name, value in rows),
    ])  # fmt: skip


def _rules() -> str:
    return "\n".join([
        "Nothing overrides these; `heartwire why` names the one behind a decision.",
        "",
        *(click.wrap_text(f"{row[0]:<6}{row[1]}", 100, "", " " * 6) for row in rules.RULES),
    ])  # fmt: skip


# What is made when it is asked for; the manual's pages stand in heartwire.manual.
TOPICS: dict[str, tuple[str, Callable[[], str]]] = {
    "timings": ("how long a failover takes, and why", _timings),
    "exit-codes": ("what each exit code means", _exit_codes),
    "json": ("the keys of --json", _json),
    "rules": ("what keeps servers safe", _rules),
    "keys": ("key files and rights", KEYS.rstrip),
    "ports": ("how to name a board, and who may open it", _ports),
}
JSON_DOC = (
    ("topic", "its name"),
    ("words", "what it is about"),
    ("text", "the page, in Markdown; only of the one that was asked for"),
)


@click.command()
@click.argument("topic", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with the keys of `heartwire help json`.")
@click.pass_context
def help(context: click.Context, topic: str | None, as_json: bool) -> None:
    """Print a page of the manual, what to do about an alarm, or help of a command.

    TOPIC is one of those that are listed without it, the name of an alarm or of a command.

    \b
    Example:
      heartwire help install
      heartwire help fence-failed
      heartwire help exit-codes
      heartwire help status
    """
    root = context.find_root()
    topics = _topics()
    if topic is None:
        rows = [{"topic": name, "words": words} for name, words in topics.items()]
        if as_json:
            emit_json(rows)
            return
        emit(root.get_help())
        emit("\nTopics:")
        width = max(map(len, topics)) + 2
        for name, words in topics.items():
            emit(f"  heartwire help {name:<{width}}{words}")
        return
    text = _text(context, topic)
    if as_json:
        emit_json({"topic": topic, "words": topics.get(topic, ""), "text": text})
    elif _is_markdown(topic):
        show_markdown(text)
    else:
        emit(text)


def _topics() -> dict[str, str]:
    return {topic.name: topic.words for topic in manual.TOPICS} | {name: row[0] for name, row in TOPICS.items()}


def _is_markdown(topic: str) -> bool:
    return topic in manual.BY_NAME or (topic not in TOPICS and manual.part_named(topic) is not None)


def _text(context: click.Context, topic: str) -> str:
    root = context.find_root()
    if topic in TOPICS:
        return TOPICS[topic][1]()
    if topic in manual.BY_NAME:
        return manual.text_of(topic)
    command = root.command.get_command(root, topic) if isinstance(root.command, click.Group) else None
    if command is not None:
        with click.Context(command, info_name=topic, parent=root) as inner:
            return command.get_help(inner)
    part = manual.part_named(topic)
    if part is None:
        raise click.UsageError(f"there is no topic, alarm or command {topic!r}; topics are {', '.join(_topics())}")
    return part
