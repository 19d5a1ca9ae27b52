"""`heartwire monitor`: collect from boards and tell people. Thin over heartwire.monitor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire import extras
from heartwire.cli.context import NODE, json_option, warn
from heartwire.cli.installing import install_files, install_options, own_program
from heartwire.cli.monitor_options import NEEDED, config_option, load, opened, store_options
from heartwire.cli.monitor_store import COMMANDS as STORE_COMMANDS
from heartwire.cli.output import Sheet, emit, emit_json, line, note, show
from heartwire.errors import BadConfig, JournalDamaged, NotAsAsked, StorageProblem, UsageProblem
from heartwire_protocol import codes

if TYPE_CHECKING:
    from heartwire.monitor.colleagues import Colleague
    from heartwire.monitor.settings import ChannelSettings

Command = TypeVar("Command", bound=Callable[..., Any])
EXAMPLES = {
    "config": "monitor.example.toml",
    "alerts": "heartwire-alerts.yml",
    "dashboard": "heartwire-dashboard.json",
    "icinga": "heartwire-icinga2.conf",
    "unit": "heartwire-monitor.service",
    "user": "heartwire-sysusers.conf",
}

CHECK_DOC = (
    ("boards, channels", "how many the settings name"),
    ("store", "the file or URL, without a password"),
    ("store_needs", "in words, what it needs before it is used"),
)
STATUS_DOC = (
    ("events", "records in the store"),
    ("running", "a monitor is at work on the store; null where that cannot be seen"),
    ("unsent", "messages and mentions that have not gone out"),
    (
        "boards",
        "list of {board_id, name, boot, journal, stored, reached}: reached is when its newest record was stored",
    ),
    ("problems", "list of {board, kind, node, since, alarm}: what is open; alarm: an alarm opened it"),
    ("monitors", "of a store that many share, list of {name, seen, at_work, ended}: seen is its last word"),
    ("channels", "channel to states of its messages, each with how many"),
)


def filter_options(command: Command) -> Command:
    """Give a command the filters of the store."""
    for option in (
        click.option("--until", metavar="WHEN", help="Up to this time."),
        click.option("--since", metavar="WHEN", help="A sequence number, a span (10m, 2h, 1d) or a time."),
        click.option("--event", metavar="NAME", help="Only this event, for instance fence_fired."),
        click.option("--severity", type=click.Choice(codes.SEVERITIES), help="This and worse."),
        click.option("--node", type=NODE, help="Only events of this node."),
        click.option("--board", metavar="NAME", help="Only this board, by name or id."),
    ):
        command = option(command)
    return command


@click.group(name="monitor")
@click.pass_context
def monitor(context: click.Context) -> None:
    """Collect the board's events and notify people.

    \b
    heartwire monitor example config > monitor.toml
    heartwire monitor check -c monitor.toml
    heartwire monitor test -c monitor.toml
    heartwire monitor run -c monitor.toml
    """
    if context.invoked_subcommand not in ("example", "install"):  # which only write text
        extras.require("the monitor", "monitor", *NEEDED)


@monitor.command()
@config_option
def run(config: Path | None) -> None:
    """Collect and notify until SIGTERM or Ctrl-C.

    \b
    Example:
      heartwire monitor run --config /etc/heartwire/monitor.toml
    """
    from heartwire.monitor import run as monitor_run

    found = monitor_run.Monitor(load(config))
    with monitor_run.stopping_by_signals(found):
        found.run()


for _command in STORE_COMMANDS:
    monitor.add_command(_command)


@monitor.command()
@config_option
@json_option
def check(config: Path | None, as_json: bool) -> None:
    """Check the settings, the secret files that they name, and what the store needs; nothing is sent, shown or changed.

    \b
    Example:
      heartwire monitor check --config monitor.toml
    """
    from heartwire.monitor import needs

    settings = load(config)
    problems = needs.check_secrets(settings)
    if problems:
        raise BadConfig("the settings name files that cannot be used", problems=tuple(problems))
    if not settings.channel:
        warn("there is no [[channel]]: nobody will be told")
    _, _, store = needs.place(settings)
    needed = needs.store_needs(settings)
    if as_json:
        emit_json(
            {"boards": len(settings.board), "channels": len(settings.channel), "store": store, "store_needs": needed}
        )
        return
    emit(f"good: {len(settings.board)} boards, {len(settings.channel)} channels")
    emit(f"store {store}: {needed}")


@monitor.command()
@click.argument("what", type=click.Choice(sorted(EXAMPLES)))
def example(what: str) -> None:
    """Print an example: the config, the systemd unit, its user for sysusers.d, or what other monitoring needs.

    That is: alert rules for Prometheus, a dashboard for Grafana, a check command for Icinga 2.

    \b
    Example:
      heartwire monitor example alerts > /etc/prometheus/heartwire-alerts.yml
    """
    from heartwire.monitor.install import shared

    emit(shared(EXAMPLES[what], own_program()).rstrip("\n"))


@monitor.command()
@install_options
def install(program: str | None, root: Path, force: bool, dry_run: bool) -> None:
    """Write the systemd units, the monitor's user and settings to begin with.

    \b
    Example:
      heartwire monitor install
    """
    from heartwire.agent.install import demand_roots
    from heartwire.monitor.install import next_steps, plan

    found = program or own_program()
    demand_roots(found, root)  # the proof test's unit is root's
    install_files(plan(found), next_steps(root), root, force=force, dry_run=dry_run)


@monitor.command()
@config_option
@click.option("--channel", "names", metavar="NAME", multiple=True, help="Only this channel; may be repeated.")
@click.option(
    "--severity", type=click.Choice(codes.SEVERITIES), default="notice", show_default=True, help="Of the test message."
)
@json_option
def test(config: Path | None, names: tuple[str, ...], severity: str, as_json: bool) -> None:
    """Send a test message by each channel, now and once: a made-up failover, as long as the news of a real one.

    \b
    Example:
      heartwire monitor test --channel mail
    """
    settings = load(config)
    chosen = [channel for channel in settings.channel if not names or channel.name in names]
    unknown = sorted(set(names) - {channel.name for channel in settings.channel})
    if unknown or not chosen:
        known = ", ".join(channel.name for channel in settings.channel) or "none"
        raise UsageProblem(f"no channel {unknown[0] if unknown else 'in the settings'}", f"channels: {known}")
    results = [_test_one(channel, severity) for channel in chosen]
    if as_json:
        emit_json(results)
    else:
        for result in results:
            words = f"told in {result['seconds']:.1f} s" if result["sent"] else f"NOT told: {result['trouble']}"
            emit(f"{result['channel']}: {words}")
    if not all(result["sent"] for result in results):
        raise NotAsAsked("a channel could not tell", "mend it and test it again with --channel")


def _test_one(channel: ChannelSettings, severity: str) -> dict[str, Any]:
    import tempfile
    import time
    import uuid

    from heartwire.monitor import sample
    from heartwire.monitor.courier import ProcessCourier

    letter = sample.letter(uuid.uuid4().hex, channel.name, severity)
    with tempfile.TemporaryDirectory(prefix="heartwire-") as spool:
        began_s = time.monotonic()
        courier = ProcessCourier(Path(spool))
        outcome = courier.send(channel, letter, 1)
        courier.close()
    return {
        "channel": channel.name,
        "sent": outcome.sent,
        "trouble": outcome.trouble,
        "seconds": round(time.monotonic() - began_s, 3),
    }


@monitor.command()
@store_options
@click.option("--check", is_flag=True, help="Exit with 15 if a problem is open or no monitor is at work; for scripts.")
@json_option
def status(store: str | None, config: Path | None, check: bool, as_json: bool) -> None:
    """Show what the store knows: boards, open problems, and what is not yet told.

    \b
    Example:
      heartwire monitor status --json
    """
    from heartwire.monitor.standing import standing, when

    with opened(store, config) as opened_store:
        found = standing(opened_store)
    if as_json:
        emit_json(found.as_json())
    else:
        sheet = Sheet(("board", "id", "boot", "stored", "newest record stored at"), right=frozenset({2, 3}))
        for board in found.boards:
            cells = (board.name, board.board_id, str(board.boot), str(board.cursor), when(board.reached_ms))
            sheet.rows.append([(cell, "") for cell in cells])
        told = Sheet(("channel", "waiting", "pending", "sending", "sent"), right=frozenset({1, 2, 3, 4}))
        for channel, states in sorted(found.channels.items()):
            numbers = [str(states.get(state, 0)) for state in ("waiting", "pending", "sending", "sent")]
            told.rows.append([(cell, "") for cell in (channel, *numbers)])
        show([line(f"{found.events} events"), line(), sheet])
        if found.channels:
            show([line(), told])
        if found.monitors:
            show([line(), _monitors(found.monitors)])
        emit()
        emit(f"{len(found.problems) or 'no'} open problem{'' if len(found.problems) == 1 else 's'}")
        for problem in found.problems:
            emit(f"  {problem.words}")
        if found.running is False:
            note("-- no monitor is at work on this store")
    if check and (troubles := found.troubles()):
        raise NotAsAsked(f"needs attention: {'; '.join(words for words, _ in troubles)}")


def _monitors(found: Sequence[Colleague]) -> Sheet:
    from heartwire.monitor.standing import when

    sheet = Sheet(("monitor", "", "last word"))
    for one in found:
        state = "at work" if one.at_work else "ended" if one.ended else "GONE"
        sheet.rows.append([(cell, "") for cell in (one.name, state, when(one.seen_ms))])
    return sheet


@monitor.command()
@click.argument("name")
@config_option
@click.option("--file", "path", metavar="FILE", type=click.Path(path_type=Path), help="Not what the settings name.")
@click.option("--remove", is_flag=True, help="Take the person out: a session that stands ends as well.")
def password(name: str, config: Path | None, path: Path | None, remove: bool) -> None:
    """Let NAME log in on the page: ask for a password, without echo, and keep its hash in the password file.

    \b
    Example:
      heartwire monitor password anna
      heartwire monitor password anna --remove
    """
    extras.require("a password", "web", "argon2")
    from heartwire.web import passwords

    if path is None:
        web = load(config).web
        if web is None or web.password_file is None:
            raise UsageProblem("the settings name no password_file in [web]", "name one there, or give --file")
        path = web.password_file
    if remove:
        if not passwords.put(path, name, None):
            raise UsageProblem(f"{path} has no {name!r}", "look into the file: each line begins with a name")
        emit(f"{name} may not log in any more")
        return
    wrong = passwords.problem_with(name, "x" * passwords.LENGTH_MIN)
    if wrong:
        raise UsageProblem(wrong, "choose another")
    said = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt="Once more", err=True)
    is_new = not path.exists()
    had = passwords.put(path, name, said)
    if is_new and os.geteuid() == 0:
        note(f"-- {path} is root's: `chown heartwire {path}`, if the monitor runs as that user")
    emit(f"{name} may log in with {'the new' if had else 'this'} password ({path})")


@monitor.command()
@store_options
@click.option("--unsent", is_flag=True, help="Only what has not gone out.")
@click.option("--limit", metavar="N", type=click.IntRange(1), default=20, show_default=True, help="The newest N.")
@json_option
def outbox(store: str | None, config: Path | None, unsent: bool, limit: int, as_json: bool) -> None:
    """Show messages: what was told when (else since when it waits), by which channel, and what keeps the rest.

    \b
    Example:
      heartwire monitor outbox --unsent
    """
    from heartwire.answers import iso
    from heartwire.monitor.outbox import Outbox

    with opened(store, config) as found:
        rows = Outbox(found).latest(limit, unsent=unsent)
    if as_json:
        emit_json(rows)
        return
    for row in reversed(rows):
        trouble = f" ({row['attempts']} attempts: {row['trouble']})" if row["trouble"] else ""
        at_ms = row["sent_ms"] or row["made_ms"]
        when = iso(datetime.fromtimestamp(int(str(at_ms)) / 1000, UTC))
        emit(f"{row['channel']}: {row['state']} {when}{trouble}: {row['title']}")
    if not rows:
        note("-- no such message")


@monitor.command()
@store_options
@filter_options
@click.option("--csv", "form", flag_value="csv", help="Print CSV with a header line; times in UTC.")
@click.option("--json", "form", flag_value="json", default=True, help="Print one JSON object a line (the default).")
@click.option("--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write here instead of stdout.")
def export(store: str | None, config: Path | None, form: str, output: Path | None, **filters: Any) -> None:
    """Write stored events as CSV or JSON lines, all or by filter.

    \b
    Example:
      heartwire monitor export --since 30d --csv -o june.csv
      heartwire monitor export --severity alarm --board rack-1
    """
    from heartwire.monitor import export as exporting
    from heartwire.monitor.query import Reader

    with opened(store, config) as found:
        reader = Reader(found)
        wanted = exporting.filter_of(reader, now=datetime.now(UTC), **filters)
        if output is None:
            if sys.stdout is None:
                raise StorageProblem("standard output is closed", "send the output somewhere")
            count = exporting.write(reader, wanted, form, sys.stdout)
        else:
            count = exporting.write_file(reader, wanted, form, output)
            note(f"-- {count} events written to {output}")
    if not count:
        note("-- no such event")


@monitor.command()
@store_options
@click.option("--board", metavar="NAME", help="Which board, by name or id; needed where there are several.")
@click.option("--before", metavar="SEQUENCE", type=click.IntRange(1), help="Not the last one: the last up to here.")
@click.option("--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write here instead of stdout.")
def timeline(
    store: str | None, config: Path | None, board: str | None, before: int | None, output: Path | None
) -> None:
    """Draw the last failover or switchover as an SVG picture.

    \b
    Example:
      heartwire monitor timeline --board rack-1 -o failover.svg
    """
    from heartwire.monitor import export as exporting
    from heartwire.monitor.query import Reader

    with opened(store, config) as found:
        picture = exporting.timeline(Reader(found), board, before)
    if output is None:
        emit(picture.rstrip("\n"))
        return
    exporting.write_text(output, picture)
    note(f"-- written to {output}")


@monitor.command()
@store_options
@click.option("--board", metavar="NAME", help="Only this board, by name or id.")
def verify(store: str | None, config: Path | None, board: str | None) -> None:
    """Check the hash chain of everything stored: was the store altered?

    \b
    Example:
      heartwire monitor verify
    """
    from heartwire.monitor import export as exporting
    from heartwire.monitor.query import Reader

    bad = 0
    with opened(store, config) as found:
        reader = Reader(found)
        rows = [row] if (row := reader.board(board) if board else None) else reader.boards()
        for row in rows:
            count = 0
            for item in exporting.verify(reader, row.board_id):
                if isinstance(item, str):
                    emit(f"{row.name}: {item}")
                    bad += 1
                else:
                    count += 1
            emit(f"{row.name}: {count} records checked")
    if bad:
        raise JournalDamaged(f"the store is not whole: {bad} findings")
