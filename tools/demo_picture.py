"""Draw the picture of the README: one run of the demo as SVG, three moments of the rack and the timeline.

The numbers in it are those of the run that drew it; it is written to host/heartwire/share/demo.svg.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from heartwire.answers import NodeStatus, Status
from heartwire.cli import status_view
from heartwire.cli.output import Part, Sheet, line
from heartwire.demo import Demo
from heartwire.journal import Entry
from heartwire.virtual.product import ProductRack

PICTURE = Path(__file__).resolve().parent.parent / "host" / "heartwire" / "share" / "demo.svg"
WIDTH = 104


class Moments:
    """Keeps what the rack looked like when something happened."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, list[Part]]] = []
        self._wanted: list[tuple[str, Callable[[Status, list[NodeStatus]], bool]]] = [
            ("a is active, b stands by", lambda status, _: status.active == "a" and status.phase == "watching"),
            ("server a crashed: its fence has fired", lambda status, nodes: any(node.relay for node in nodes)),
            ("b is active, a is back in quarantine", lambda _, nodes: _is_back(nodes)),
        ]

    def tell(self, words: str) -> None:
        """Not shown in a picture."""

    def record(self, entry: Entry) -> None:
        """Not shown in a picture."""

    def update(self, status: Status, nodes: list[NodeStatus]) -> None:
        """Keep the first look at which the next wanted moment holds."""
        if self._wanted and self._wanted[0][1](status, nodes):
            self.kept.append((self._wanted.pop(0)[0], status_view.parts(status, nodes)))


def _is_back(nodes: list[NodeStatus]) -> bool:
    return any(node.role == "quarantined" and node.verdict == "good" and node.power == "on" for node in nodes)


def main() -> int:
    """Run the demo once and draw it; exit 1 if it did not go right."""
    moments = Moments()
    with tempfile.TemporaryDirectory() as temporary, ProductRack(Path(temporary)) as rack:
        outcome = Demo(rack, moments).run()
    if not outcome.is_right or len(moments.kept) != 3:
        print("the demo did not go right: " + "; ".join(outcome.wrong))
        return 1
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    parts: list[Part] = []
    for title, view in moments.kept:
        parts += [line("> " + title, "bold cyan"), view[0], *[part for part in view if isinstance(part, Sheet)], line()]
    parts.append(line("milliseconds after the crash", "bold"))
    parts.append(
        Sheet(
            ("ms", "what happened"),
            [[(str(ms), "bold"), (words, "")] for ms, words in outcome.timeline],
            frozenset({0}),
        )
    )
    parts.append(line("The failover was right.", "bold green"))
    for part in parts:
        console.print(part.rich(WIDTH))
    PICTURE.write_text(console.export_svg(title="make demo"))
    print(f"{PICTURE.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
