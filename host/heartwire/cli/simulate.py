"""`heartwire simulate`: run scenario files and say whether everything expected of them came true."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.output import emit, emit_json, is_terminal, note
from heartwire.errors import BadConfig, NotAsAsked, StorageProblem, UsageProblem

if TYPE_CHECKING:
    from heartwire.simulate.language import Scenario
    from heartwire.simulate.run import Verdict

TIERS = ("policy", "virtual", "emulated")
NODES = ("fake", "agent")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tier", type=click.Choice(TIERS), default="policy", show_default=True, help="What runs it.")
@click.option("--nodes", type=click.Choice(NODES), default="fake", show_default=True, help="What the servers run.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="How many run at once.")
@click.option("--longest", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Leave out longer files.")
@click.option("--list", "only_list", is_flag=True, help="Only say what the tier can run, and why not the others.")
@click.option("--timeline", is_flag=True, help="Print everything that happened, also where all held.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    files: tuple[Path, ...],
    tier: str,
    nodes: str,
    jobs: int,
    longest: float | None,
    only_list: bool,
    timeline: bool,
    as_json: bool,
) -> None:
    """Run scenario files and check what they expect.

    A scenario is plain text: what happens to servers, cables and the board, and what the board must do. The exit code
    is 0 only if every expectation holds, and the rules of the whole run: never two serve, no healthy one is cut, never
    nobody for long though one is fit, no alarm that contradicts. What fails prints the timeline around it; what is seen
    to change (relays, power, services, alarm, LED) stands behind `=`. The grammar is in tests/scenarios/README.md.

    With `--nodes agent` the servers run the product's own agent; the others are the simulator's, a second reading of
    the protocol.

    The virtual tier runs in real
    time and mostly waits: several boards at once (--jobs 8) take little more than one. The emulated tier keeps a
    processor busy for about as long after `make emulator`, and for far longer without; it needs the official image
    (`heartwire image`).

    \b
    Example:
      heartwire simulate tests/scenarios/failover.txt
      heartwire simulate tests/scenarios/failover.txt --timeline
      heartwire simulate tests/scenarios/*.txt --nodes agent --jobs 2
      heartwire simulate tests/scenarios/*.txt --tier virtual --jobs 8
      heartwire simulate tests/scenarios/*.txt --tier virtual --list
      heartwire simulate tests/scenarios/*.txt --tier emulated --longest 10
    """
    from heartwire.simulate import tiers

    scenarios = _read(files)
    obstacles = {scenario.name: tiers.obstacle(tier, scenario) for scenario in scenarios}
    for scenario in scenarios:
        if longest is not None and scenario.end_ms > 1000 * longest:
            obstacles[scenario.name] = f"it takes {scenario.end_ms / 1000:g} s, --longest allows {longest:g} s"
    if only_list:
        _list(tier, obstacles, as_json)
        return
    runnable = [scenario for scenario in scenarios if not obstacles[scenario.name]]
    for name, why in obstacles.items():
        if why:
            note(f"-- {name} is left out on the {tier} tier: {why}")
    if scenarios and not runnable:
        raise UsageProblem(f"no file can run on the {tier} tier", "`--tier policy` without --longest runs every file")
    verdicts: list[Verdict] = []
    began = time.monotonic()
    with _progress(runnable) as progress:
        for verdict in tiers.judge_all(tier, runnable, jobs, nodes):
            verdicts.append(verdict)
            if not as_json:
                _print(verdict, timeline)
            progress([one.scenario for one in verdicts])
    took_s = round(time.monotonic() - began, 1)
    failed = sorted(verdict.scenario.name for verdict in verdicts if not verdict.held)
    if as_json:
        rows = sorted((verdict.as_json() for verdict in verdicts), key=lambda row: str(row["scenario"]))
        left_out = {name: why for name, why in obstacles.items() if why}
        emit_json(
            {
                "tier": tier,
                "nodes": nodes,
                "held": not failed,
                "took_s": took_s,
                "scenarios": rows,
                "left_out": left_out,
            }
        )
    else:
        good = len(verdicts) - len(failed)
        emit(f"{good} of {len(verdicts)} hold: {_seconds(runnable):g} s of scenarios in {took_s:g} s")
    if failed:
        raise NotAsAsked("" if as_json else f"{len(failed)} of {len(verdicts)} scenarios failed: {', '.join(failed)}")


def _print(verdict: Verdict, timeline: bool) -> None:
    emit(f"{'ok    ' if verdict.held else 'FAILED'} {verdict.scenario.name}: {verdict.scenario.title}")
    for text in verdict.failures:
        emit(text)
    if timeline:
        for one in verdict.timeline:
            emit(f"  {one}")


@contextlib.contextmanager
def _progress(scenarios: list[Scenario]) -> Iterator[Callable[[list[Scenario]], None]]:
    """Give what is told which scenarios are done: a bar on a terminal, which counts their seconds."""
    if not is_terminal():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.completed:.0f} of {task.total:.0f} s, {task.fields[left]} files left, elapsed")
    with Progress(BarColumn(), words, TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task("", total=_seconds(scenarios), left=len(scenarios))
        yield lambda done: bar.update(task, completed=_seconds(done), left=len(scenarios) - len(done))


def _seconds(scenarios: list[Scenario]) -> float:
    return sum(scenario.end_ms for scenario in scenarios) / 1000


def _list(tier: str, obstacles: dict[str, str], as_json: bool) -> None:
    if as_json:
        emit_json({"tier": tier, "left_out": {name: why for name, why in obstacles.items() if why},
                   "runs": [name for name, why in obstacles.items() if not why]})  # fmt: skip
        return
    for name, why in obstacles.items():
        emit(f"left out {name}: {why}" if why else f"runs     {name}")
    emit(f"{sum(not why for why in obstacles.values())} of {len(obstacles)} files run on the {tier} tier")


def _read(files: tuple[Path, ...]) -> list[Scenario]:
    from heartwire.simulate import language

    found = []
    for path in files:
        try:
            found.append(language.read(path))
        except language.ScenarioError as error:
            raise BadConfig(
                f"{path} is no scenario", "see tests/scenarios/README.md", problems=(str(error),)
            ) from error
        except (OSError, UnicodeError) as error:
            raise StorageProblem(f"{path} could not be read: {error}") from error
    return found
