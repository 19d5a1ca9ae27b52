"""The manual as it is installed: its topics, the part about each alarm, and both as plain text for a terminal.

A page is a Markdown file of the package, or a hardware page of the project, which a wheel keeps below share/hw. Links
between pages become the names of their topics. Called by `heartwire help`; the monitor and status name `runbook_of`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from heartwire_protocol import alarms

PACKAGE = Path(__file__).parent
# As a link from a page of the package leads to the hardware's.
OUTSIDE = "../../hw/"


@dataclass(frozen=True)
class Topic:
    """One page: what it is called, what it is about, and its file below the package."""

    name: str
    words: str
    file: str


TOPICS = (
    Topic("first-evening", "virtual racks, a failover, a mail, Prometheus", "share/manual/first-evening.md"),
    Topic("install", "servers, monitor host, Raspberry Pi", "share/manual/install.md"),
    Topic("wire", "from parts to a board in the rack, in order", "share/manual/wire.md"),
    Topic("commission", "prove the relays, observe, arm", "share/manual/commission.md"),
    Topic("operate", "from day to day", "share/manual/operate.md"),
    Topic("runbook", "what to do, by what status says", "share/runbook.md"),
    Topic("alarms", "what each alarm is, and what to do; an alarm's name prints its part", "share/manual/alarms.md"),
    Topic("upgrade", "hosts and board to a new version", "share/manual/upgrade.md"),
    Topic("roll-keys", "replace keys on a running rack", "share/manual/roll-keys.md"),
    Topic("replace-board", "another board, without an interruption", "share/manual/replace-board.md"),
    Topic("replace-server", "another server in the place of one", "share/manual/replace-server.md"),
    Topic("ups", "a rack on a UPS", "share/ups/README.md"),
    Topic("kdump", "servers that write a crash dump", "share/kdump/README.md"),
    Topic("pacemaker", "inside a cluster", "share/cluster/README.md"),
    Topic("settings", "every setting of the board, with range and default", "share/manual/settings.md"),
    Topic("troubleshoot", "what you see, what it is, what to do", "share/manual/troubleshoot.md"),
    Topic("hooks", "what starts, stops and checks your services", "share/hooks/README.md"),
    Topic("about-agent", "how the program on a server works", "agent/README.md"),
    Topic("about-monitor", "how people are told, and what is promised", "monitor/README.md"),
    Topic("about-page", "the monitor's page: who may read, who may act", "web/README.md"),
    Topic("about-mqtt", "what an MQTT server is told", "mqtt/README.md"),
    Topic("about-broker", "how programs share a board", "broker/README.md"),
    Topic("about-adviser", "how timings are proposed", "adviser/README.md"),
    Topic("hardware", "parts, wiring, first power-up, commissioning", OUTSIDE + "README.md"),
    Topic("harness", "every cable from the board into the rack", OUTSIDE + "HARNESS.md"),
    Topic("safety", "what happens when a part fails; mains", OUTSIDE + "SAFETY.md"),
)  # fmt: skip
BY_NAME = {topic.name: topic for topic in TOPICS}
_BY_FILE = {topic.file: topic.name for topic in TOPICS}
# Problems of the monitor that the part about another name covers.
_SAME = {"silent": "missing", "unproven": "fence_failed", "epoch_refused": "epoch_claim", "degraded": "service_failed"}
# Nobody is woken by these, and a person began them.
QUIET = frozenset(("maintenance", "long_lease"))
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"^ *<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^( *)```", re.MULTILINE)


def path_of(topic: Topic) -> Path:
    """Return the file of a topic; it need not exist."""
    if not topic.file.startswith(OUTSIDE):
        return PACKAGE / topic.file
    name = topic.file.removeprefix(OUTSIDE)
    kept = PACKAGE / "share" / "hw" / name
    return kept if kept.exists() else PACKAGE.parent.parent / "hw" / name


def text_of(name: str) -> str:
    """Return the page of a topic for a terminal. KeyError if there is no such one; OSError."""
    topic = BY_NAME[name]
    return _shown(path_of(topic).read_text(encoding="utf-8"), topic.file)


@cache
def parts() -> dict[str, str]:
    """Return what to do about each alarm and each problem of the monitor, by its name. OSError."""
    topic = BY_NAME["alarms"]
    text = _shown(path_of(topic).read_text(encoding="utf-8"), topic.file)
    found = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].strip(): f"## {part}".strip() for part in found}


def part_named(name: str) -> str | None:
    """Return the part about an alarm or a problem, its name written with - or _; None if there is none."""
    plain = name.replace("-", "_")
    return parts().get(_SAME.get(plain, plain))


def runbook_of(problem: str) -> str:
    """Return the command that prints what to do about an alarm or a problem of the monitor; "" for none of these."""
    name = _SAME.get(problem, problem)
    return f"heartwire help {name.replace('_', '-')}" if name and name not in QUIET else ""


def runbooks(bits: int) -> list[str]:
    """Return these commands for the alarms of a board's status, the gravest first."""
    rows = sorted((row for row in alarms.ALARMS if bits & row[0]), key=lambda row: -row[2])
    return [runbook_of(name) for _, name, *_ in rows]


def _shown(text: str, file: str) -> str:
    folder = posixpath.dirname(file)

    def link(match: re.Match[str]) -> str:
        words, target = match[1], match[2].partition("#")[0]
        if match[0].startswith("!"):
            return f"(picture: {words})"
        if "://" in target:
            return f"{words} ({target})"
        name = _BY_FILE.get(posixpath.normpath(posixpath.join(folder, target)))
        return f"{words} (`heartwire help {name}`)" if name and target else words

    lines = []
    inside = False
    for line in _COMMENT.sub("", text).split("\n"):
        inside ^= bool(_FENCE.match(line))
        lines.append(line if inside else _LINK.sub(link, line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
