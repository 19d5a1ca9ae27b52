"""`heartwire advise`: settings that a board's own history proposes, with their odds. Thin over heartwire.adviser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heartwire.cli.context import Session, connection_options, json_option
from heartwire.cli.output import Line, Part, Sheet, emit_json, line, show
from heartwire.times import parse_span, span_words

if TYPE_CHECKING:
    from heartwire.adviser.history import History
    from heartwire.adviser.odds import Odds
    from heartwire.adviser.proposal import Advice

JSON_DOC = (
    ("watched_s", "seconds of watched nodes in the history, added up"),
    ("silences", "{count, least_ms, longest_ms}: silences of healthy nodes, those of least_ms and more"),
    ("fenced, restarted", "silences that ended in a fence, or with a server that started anew: not among the others"),
    ("outages", "silences longer than a minute: no dead_ms is proposed to outlast them"),
    ("looks", "how often a monitor looked at the age of a heartbeat"),
    ("jitter_ms", "bound in ms to heartbeats that strayed by no more from their interval; 0 for above all bounds"),
    ("target_per_year", "false failovers of the rack that are aimed at"),
    ("sure", "probability with which every bound holds"),
    ("shown", "what shows that the proposed dead_ms keeps to the target: counting, tail, or no for nothing"),
    ("settings", "list of {path, running, proposed, why}"),
    ("odds", "list of {name, dead_ms, seen, per_year, tail_per_year}: now, then, and by others; null: not known"),
)


@click.command()
@click.option("--store", metavar="FILE|URL", help="Read a monitor's store, and no board.")
@click.option("--board", "board_name", metavar="NAME", help="With --store: which board, by name or id.")
@click.option(
    "--settings",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Config file with what runs; else the board is asked, and for a store the defaults count.",
)
@click.option(
    "--years",
    metavar="N",
    type=click.FloatRange(0.01, 1000),
    default=10.0,
    show_default=True,
    help="Aim at one false failover of the rack in N years.",
)
@click.option(
    "--least", metavar="SPAN", default="7d", show_default=True, help="Refuse to advise from less time of watched nodes."
)
@json_option
@connection_options
@click.pass_obj
def advise(
    session: Session,
    store: str | None,
    board_name: str | None,
    file: Path | None,
    years: float,
    least: str,
    as_json: bool,
) -> None:
    """Propose timings from what was seen, with their odds.

    From silences of healthy servers, their starts, and proofs that power is off: how often a healthy server would be
    taken for dead, how sure that is, and what the defaults of other programs would have done. It changes nothing; what
    it prints is for your config file.

    \b
    Example:
      heartwire advise --store /var/lib/heartwire-monitor/monitor.db --settings rack.toml
      heartwire advise --least 2d --json
    """
    from heartwire.adviser import proposal

    least_s = parse_span(least).total_seconds()
    history, running = _of_store(store, board_name) if store else _of_board(session)
    if file is not None:
        running = _of_file(file)
    found = proposal.advise(history, running, least_s=least_s, years=years)
    rows = _odds(found)
    if as_json:
        emit_json(_as_json(found, rows))
        return
    show(_parts(found, rows, known=file is not None or not store))


def _of_board(session: Session) -> tuple[History, dict[str, str]]:
    from heartwire.adviser.history import Reader
    from heartwire.journal import Entry

    reader, gap = Reader(), False
    with session.board() as board:
        for item in board.events():
            if isinstance(item, Entry):
                reader.take(item, gap=gap)
            gap = not isinstance(item, Entry)
        status, nodes = board.status(), board.nodes()
        running = board.settings().values
    good = [node.node for node in nodes if node.verdict == "good"]
    history = reader.finish(uptime_ms=status.uptime_s * 1000, good=good)
    for node in nodes:
        if node.slowest_boot_s:
            starts = history.of(node.node)
            starts.slowest_ms = max(starts.slowest_ms, node.slowest_boot_s * 1000)
    return history, running


def _of_store(where: str, name: str | None) -> tuple[History, dict[str, str]]:
    from heartwire.cli.monitor_options import require_store

    require_store()
    from heartwire.adviser.history import Reader
    from heartwire.monitor.export import one_board
    from heartwire.monitor.query import Filter
    from heartwire.monitor.query import Reader as StoreReader
    from heartwire.monitor.store import Store

    reader, number, changed_ms = Reader(), 0, 0
    with Store.named(where) as store:
        rows = StoreReader(store)
        board = one_board(rows, name)
        for found in rows.all(Filter(board.board_id)):
            reader.take(found.entry, gap=found.journal != number)
            number = found.journal
            if found.entry.event == "settings_confirmed":
                changed_ms = found.at_ms
        looks = rows.looks(board.board_id, changed_ms)
    history = reader.finish()
    for (_, kind, bound_ms), count in looks.items():
        history.looks.count(kind, bound_ms, count)
    return history, {}


def _of_file(file: Path) -> dict[str, str]:
    from heartwire import config
    from heartwire.settings_transfer import public_text, values_of

    found = config.load(file)
    found.require_good()
    return values_of(public_text(found.settings))


def _odds(found: Advice) -> list[tuple[str, Odds]]:
    """Return what would have been false failovers: with what runs, with what is proposed, and by others' defaults."""
    from heartwire.adviser.peers import PEERS
    from heartwire.adviser.proposal import SURE

    rows = []
    if found.running_odds is not None and found.proposed_odds is not None:
        rows = [("what runs now", found.running_odds), ("what is proposed", found.proposed_odds)]
    silences = found.silences
    return rows + [(f"{peer.name}: {peer.what}", silences.odds(peer.silence_ms, SURE)) for peer in PEERS]


def _rate(per_year: float | None) -> str:
    return "-" if per_year is None or per_year == float("inf") else f"{per_year:.3g}"


def _parts(found: Advice, rows: list[tuple[str, Odds]], *, known: bool) -> list[Part]:
    from heartwire.adviser.history import OUTAGE_MS
    from heartwire.adviser.proposal import SHOWN, SURE, config_text

    history, silences = found.history, found.silences
    longest = f", the longest {silences.lengths_ms[-1]} ms" if silences.lengths_ms else ""
    parts: list[Part] = [
        line(f"{span_words(history.node_s)} of watched nodes, {history.records} records"),
        line(f"{len(silences.lengths_ms)} silences of healthy nodes of {silences.least_ms} ms and more{longest}"),
    ]
    if history.fenced or history.restarted:
        words = f"{history.fenced} that ended in a fence and {history.restarted} with a new start are taken for real"
        parts.append(line(words))
    if history.outages:
        words = f"{history.outages} of them longer than {OUTAGE_MS // 1000} s: outages, which no dead_ms should outlast"
        parts.append(line(words))
    if history.looks.ages:
        parts.append(line(f"{sum(history.looks.ages.values())} looks of a monitor at the age of a heartbeat"))
    if not known:
        parts.append(line("what runs is not known: the defaults stand for it (--settings FILE)", "yellow"))
    sheet = Sheet(("setting", "runs", "proposed"), right=frozenset({1, 2}))
    why: list[Part] = []
    for change in found.changes:
        style = "bold green" if change.proposed != change.running else "dim"
        cells = (change.path, str(change.running), str(change.proposed))
        sheet.rows.append([(cell, style if at == 2 else "") for at, cell in enumerate(cells)])
        why.append(Line([(f"{change.path}: ", "bold"), (change.why, "")]))
    odds = Sheet(
        ("dead after", "ms", "seen", "a year at most", "by the tail"),
        right=frozenset({1, 2, 3, 4}),
    )
    for name, one in rows:
        rates = [_rate(one.per_year(found.nodes)), _rate(one.tail_per_year(found.nodes))]
        odds.rows.append([(cell, "") for cell in (name, str(one.length_ms), str(one.count), *rates)])
    parts += [
        line(), sheet, line(), *why, line(),
        line("healthy servers taken for dead, of this rack:"), odds, line(),
        line(
            f"Each bound holds with {SURE:.0%}: the first whatever may come, the second if no other kind of silence "
            f"comes than was seen. The target, {found.target_per_year:g} a year, is shown by {SHOWN[found.shown]}."
        ),
    ]  # fmt: skip
    if any(change.proposed != change.running for change in found.changes):
        parts += [line(), line("for the config file:"), line(config_text(found).rstrip("\n"))]
    return parts


def _as_json(found: Advice, rows: list[tuple[str, Odds]]) -> dict[str, Any]:
    from dataclasses import asdict

    from heartwire.adviser.proposal import SURE

    silences, history = found.silences, found.history

    def rate(per_year: float) -> float | None:
        return None if per_year == float("inf") else per_year

    return {
        "watched_s": round(history.node_s, 1),
        "silences": {
            "count": len(silences.lengths_ms),
            "least_ms": silences.least_ms,
            "longest_ms": silences.lengths_ms[-1] if silences.lengths_ms else None,
        },
        "fenced": history.fenced,
        "restarted": history.restarted,
        "outages": history.outages,
        "looks": sum(history.looks.ages.values()),
        "jitter_ms": {str(bound): count for bound, count in sorted(history.looks.strays.items())},
        "target_per_year": found.target_per_year,
        "sure": SURE,
        "shown": found.shown,
        "settings": [asdict(change) for change in found.changes],
        "odds": [
            {
                "name": name,
                "dead_ms": one.length_ms,
                "seen": one.count,
                "per_year": rate(one.per_year(found.nodes)),
                "tail_per_year": one.tail_per_year(found.nodes),
            }
            for name, one in rows
        ],
    }
