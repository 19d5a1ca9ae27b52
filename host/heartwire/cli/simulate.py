"""`heartwire simulate`: run scenario files and say whether everything expected of them came true."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.output import emit, emit_json, note
from heartwire.errors import BadConfig, NotAsAsked, StorageProblem

if TYPE_CHECKING:
    from heartwire.simulate.language import Scenario

TIERS = ("policy", "virtual", "emulated")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tier", type=click.Choice(TIERS), default="policy", show_default=True, help="What runs it.")
@click.option("--timeline", is_flag=True, help="Print everything that happened, also where all held.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(files: tuple[Path, ...], tier: str, timeline: bool, as_json: bool) -> None:
    """Run scenario files and check what they expect.

    A scenario is plain text: what happens to servers, cables and the board, and what the board must do. The exit code
    is 0 only if every expectation holds; a failing one prints the timeline around it.

    \b
    Example:
      heartwire simulate tests/scenarios/failover.txt
      heartwire simulate tests/scenarios/*.txt --tier virtual
    """
    from heartwire.simulate import run, tiers

    verdicts = []
    for scenario in _read(files):
        if tier not in scenario.tiers:
            note(f"-- {scenario.name}: not for the {tier} tier")
            continue
        stage = tiers.open_stage(tier, scenario)
        try:
            verdict = run.run(scenario, stage)
        finally:
            stage.close()
        verdicts.append(verdict)
        if as_json:
            continue
        emit(f"{'ok    ' if verdict.held else 'FAILED'} {scenario.name}: {scenario.title}")
        for text in verdict.failures:
            emit(text)
        if timeline:
            for one in verdict.timeline:
                emit(f"  {one}")
    failed = [verdict.scenario.name for verdict in verdicts if not verdict.held]
    if as_json:
        emit_json({"tier": tier, "held": not failed, "scenarios": [verdict.as_json() for verdict in verdicts]})
    if failed:
        raise NotAsAsked("" if as_json else f"{len(failed)} of {len(verdicts)} scenarios failed: {', '.join(failed)}")


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
