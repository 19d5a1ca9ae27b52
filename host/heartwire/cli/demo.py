"""`heartwire demo`: watch a failover on a virtual rack. Live on a terminal, plain lines in a pipe.

Exit status 0 only if the failover was right. The story is heartwire.demo's; here is only how it looks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heartwire.cli.output import Line, Part, Sheet, emit, emit_json, is_terminal, line, show, terminal
from heartwire.errors import NotAsAsked

if TYPE_CHECKING:
    from heartwire.answers import NodeStatus, Status
    from heartwire.demo import Outcome
    from heartwire.journal import Entry

SEVERITY_STYLES = {"info": "dim", "notice": "", "warning": "yellow", "alarm": "bold red"}
# Records shown live under the table; the whole journal follows at the end.
SHOWN_RECORDS = 12


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print only the outcome, as JSON.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep the rack's files in this directory."
)
def demo(as_json: bool, keep: Path | None) -> None:
    """Watch a failover on a virtual rack.

    Two virtual servers run the real agent, a virtual Pico runs the real firmware on the real MicroPython. Server a
    crashes; the board notices, cuts its power, proves that it is off, and lets b take over. Takes about 20 seconds.

    \b
    Example:
      heartwire demo
      heartwire demo --keep rack/
    """
    from heartwire.demo import Demo
    from heartwire.virtual.product import ProductRack

    screen = _Quiet() if as_json else _Live() if is_terminal() else _Plain()
    with tempfile.TemporaryDirectory(prefix="heartwire-demo-") as temporary:
        directory = keep or Path(temporary)
        with ProductRack(directory) as rack, screen:
            outcome = Demo(rack, screen).run()
    if as_json:
        emit_json(_as_json(outcome))
    else:
        show(_ending(outcome))
    if not outcome.is_right:
        raise NotAsAsked("the failover was not right: " + "; ".join(outcome.wrong), "see the journal above")


class _Quiet:
    """Shows nothing until the end."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, words: str) -> None:
        pass

    def update(self, status: Status, nodes: list[NodeStatus]) -> None:
        pass

    def record(self, entry: Entry) -> None:
        pass


class _Plain(_Quiet):
    """A line for each step, each record and each change of the state."""

    def __init__(self) -> None:
        self._last = ""

    def tell(self, words: str) -> None:
        emit(f"== {words}")

    def update(self, status: Status, nodes: list[NodeStatus]) -> None:
        roles = "  ".join(f"{node.node} {node.role}, {node.verdict}, power {node.power}" for node in nodes)
        text = f"   {status.mode}, epoch {status.epoch}, active {status.active or 'nobody'}: {roles}"
        if text != self._last:
            self._last = text
            emit(text)

    def record(self, entry: Entry) -> None:
        emit(f"   {entry.uptime_ms:>6} ms  {entry.severity:<7}  {entry.sentence()}")


class _Live(_Quiet):
    """The status table as `heartwire status --watch` shows it, the newest records under it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = terminal()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._story = ""
        self._status: list[Part] = []
        self._records: list[Part] = []

    def __enter__(self) -> _Live:
        self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._live.__exit__(*details)

    def tell(self, words: str) -> None:
        self._story = words
        self._live.console.print(Line([("> ", "bold cyan"), (words, "bold")]).rich(self._console.width))
        self._refresh()

    def update(self, status: Status, nodes: list[NodeStatus]) -> None:
        from heartwire.cli import status_view

        self._status = status_view.parts(status, nodes)
        self._refresh()

    def record(self, entry: Entry) -> None:
        text = f"{entry.uptime_ms:>6} ms  {entry.sentence()}"
        self._records = [*self._records, line(text, SEVERITY_STYLES.get(entry.severity, ""))][-SHOWN_RECORDS:]

    def _refresh(self) -> None:
        from rich.console import Group

        width = self._console.width
        parts = [line(), *self._status, line(), *self._records]
        self._live.update(Group(*[part.rich(width) for part in parts]), refresh=True)


def _ending(outcome: Outcome) -> list[Part]:
    parts: list[Part] = [line(), line("The journal", "bold")]
    parts.append(
        Sheet(
            ("ms", "severity", "what, and why"),
            [
                [(str(row.uptime_ms), "dim"), (row.severity, SEVERITY_STYLES[row.severity]), (row.sentence(), "")]
                for row in outcome.entries
                if row.severity != "info"
            ],
            frozenset({0}),
        )
    )
    parts += [line(), line("The failover in milliseconds after the crash", "bold")]
    parts.append(
        Sheet(
            ("ms", "what happened"),
            [[(str(ms), "bold"), (words, "")] for ms, words in outcome.timeline],
            frozenset({0}),
        )
    )
    written = ", then ".join(f"{node} with epoch {epoch}" for node, epoch in outcome.writers)
    parts += [line(), line(f"The services wrote to their shared disk as {written}: never both.")]
    verdict = "The failover was right." if outcome.is_right else "The failover was NOT right."
    parts.append(line(verdict, "bold green" if outcome.is_right else "bold red"))
    return parts


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "right": outcome.is_right,
        "wrong": outcome.wrong,
        "timeline": [{"ms": ms, "what": words} for ms, words in outcome.timeline],
        "writers": [{"node": node, "epoch": epoch} for node, epoch in outcome.writers],
        "journal": [entry.as_json() for entry in outcome.entries],
    }
