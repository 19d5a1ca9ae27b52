"""`heartwire selftest`: commissioning of a board in observe mode, and the proof test of its relays later on.

It walks a person through the checks, or runs by itself what needs nobody at the rack; the board measures, refuses what
its rules forbid, and journals every result. Exit code 0 only if everything asked for has passed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from heartwire import selftest as steps
from heartwire.cli.context import NODE, Session, connection_options, json_option, keep_time, labels, warn, yes_option
from heartwire.cli.output import Line, Sheet, emit_json, line, note, show
from heartwire.cli.selftest_run import PATH_WAIT_S, Runner
from heartwire.cli.status import read
from heartwire.errors import NotAsAsked, UsageProblem
from heartwire.selftest import FAILED, NOT_TESTED, PASSED, Result

if TYPE_CHECKING:
    from heartwire.board import Board
    from heartwire.cli.output import Part

STYLES = {PASSED: "green", FAILED: "bold red", NOT_TESTED: "yellow"}
DEFAULT_CUT_S = 5
# Maintenance for a test: the start of the server, the test itself, and this.
WINDOW_S = 120


def _groups(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip()) if value else ()
    for name in names:
        if name not in steps.GROUPS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(steps.GROUPS)}")
    return names


@click.command()
@click.option("--only", metavar="GROUP,...", callback=_groups, help=f"Only these: {', '.join(steps.GROUPS)}.")
@click.option("--relay", "relays", multiple=True, type=NODE, help="Only the power relay of this node; may be repeated.")
@click.option("--in-maintenance", is_flag=True, help="With --relay: put the node into maintenance for the test.")
@click.option(
    "--seconds", type=click.IntRange(1, 10), default=DEFAULT_CUT_S, show_default=True, help="How long a relay is cut."
)
@click.option(
    "--wait", "wait_s", metavar="SECONDS", type=click.FloatRange(1, 3600), default=60.0, show_default=True,
    help="How long a person has for each thing to do.",
)  # fmt: skip
@yes_option
@json_option
@connection_options
@click.pass_obj
def selftest(
    session: Session,
    only: tuple[str, ...],
    relays: tuple[str, ...],
    in_maintenance: bool,
    seconds: int,
    wait_s: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Commission a board, or prove its relays.

    In observe mode it goes through every input and output with you: it says what to do, waits until the board sees it,
    and writes each result into the board's journal. --yes runs only what needs nobody at the rack. A relay test cuts
    power for at most 10 s, measures how fast the sense goes off and comes back, and lets go by itself; it needs the
    configure key or the key switch. Ctrl-C releases relays at once. Exit code 15 unless everything passed.

    \b
    Example:
      heartwire selftest
      heartwire selftest --only lines,senses
      heartwire selftest --relay b --in-maintenance --yes
    """
    if relays and only:
        raise UsageProblem("--relay and --only exclude each other")
    if in_maintenance and not relays:
        raise UsageProblem(
            "--in-maintenance is for --relay", "for example: heartwire selftest --relay b --in-maintenance"
        )
    person = not yes
    if person and (sys.stdin is None or not sys.stdin.isatty()):
        raise UsageProblem("nobody is there to answer", "add --yes to run only what needs nobody at the rack")
    with session.board() as board:
        found, nodes = read(board)
        keep_time(board, found)
        if found.mode != "observe" and not relays:
            raise UsageProblem(
                f"commissioning needs observe mode, and the board is in {found.mode} mode",
                "`heartwire mode observe` first; to test one relay: `heartwire selftest --relay b --in-maintenance`",
            )
        settings = board.settings().values
        rack = steps.Rack(tuple(node.node for node in nodes), labels(nodes), settings)
        results = [Result(step) for step in steps.plan(rack, only, relays, person=person)]
        missing = set(relays) - {result.step.node for result in results}
        if missing:
            raise UsageProblem(f"{', '.join(sorted(missing))} has no power relay: its fence is not `power`")
        runner = Runner(board, rack.nodes, person=person, wait_s=wait_s, cut_s=seconds)
        runner.boot_grace_s = {node: _boot_grace_s(settings, node) for node in rack.nodes}
        try:
            if in_maintenance:
                _run_in_maintenance(board, runner, results, seconds)
            else:
                runner.run(results)
        except BaseException:
            note("")
            _report(results, as_json)
            raise
        _report(results, as_json)
    _raise_unless_passed(results)


def _boot_grace_s(settings: dict[str, str], node: str) -> float:
    from heartwire_protocol.settings import Settings

    path = f"node.{node}.boot_grace_ms"
    return int(settings.get(path) or Settings().get(path)) / 1000


def _run_in_maintenance(board: Board, runner: Runner, results: list[Result], seconds: int) -> None:
    """Run each relay test with its node in maintenance, and end the maintenance once the node is back."""
    for result in results:
        node = result.step.node or ""
        grace_s = runner.boot_grace_s[node]
        window_s = int(grace_s) + seconds + WINDOW_S
        before = board.node(node)
        begun = before.maintenance_s < window_s
        if begun:
            board.maintenance(node, window_s)
            note(f"{before.label} is in maintenance for {window_s} s")
        over = False
        try:
            runner.run([result])
            over = True
        finally:
            if begun and not over:
                warn(f"{before.label} stays in maintenance; `heartwire maintenance {node} off` ends it")
        if before.verdict == "good" and result.outcome != NOT_TESTED:
            note(f"waiting for {before.label} to beat for {PATH_WAIT_S:g} s, up to {grace_s:g} s from now")
            words = runner.wait_back(node, grace_s)
            if words:
                result.outcome, result.words = FAILED, "; ".join(part for part in (result.words, words) if part)
                warn(f"{before.label} stays in maintenance for now: {words}")
                continue
        if begun and not before.maintenance_s:
            board.maintenance(node, 0)
            note(f"maintenance of {before.label} has ended")


def _report(results: list[Result], as_json: bool) -> None:
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in STYLES}
    if as_json:
        emit_json(
            {
                "passed": counts[PASSED],
                "failed": counts[FAILED],
                "not_tested": counts[NOT_TESTED],
                "by_hand": list(steps.BY_HAND),
                "checks": [result.as_json() for result in results],
            }
        )
        return
    sheet = Sheet(("check", "outcome", "off ms", "on ms", "why"), right=frozenset({2, 3}))
    for result in results:
        times = ["" if value is None else str(value) for value in (result.off_ms, result.on_ms)]
        sheet.rows.append(
            [
                (result.step.title, ""), (result.outcome, STYLES[result.outcome]),
                (times[0], ""), (times[1], ""), (result.words, ""),
            ]
        )  # fmt: skip
    parts: list[Part] = [sheet, line()]
    parts.append(Line([(", ".join(f"{count} {outcome}" for outcome, count in counts.items()), "bold")]))
    parts.append(line("What no command can test, see hw/README.md:"))
    parts += [line(f"  {words}") for words in steps.BY_HAND]
    show(parts)


def _raise_unless_passed(results: list[Result]) -> None:
    bad = [result.step.title for result in results if result.outcome == FAILED]
    missing = sum(result.outcome == NOT_TESTED for result in results)
    if bad:
        raise NotAsAsked(f"failed: {'; '.join(bad)}" + (f"; {missing} not tested" if missing else ""))
    if missing:
        raise NotAsAsked(f"{missing} of {len(results)} checks not tested")
