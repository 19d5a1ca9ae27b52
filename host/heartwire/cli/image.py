"""`heartwire image`: get the pinned MicroPython image into the cache, or say that it is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from heartwire.cli.context import json_option
from heartwire.cli.output import Sheet, emit, emit_json


@click.command()
@click.option(
    "--from", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take this file instead."
)
@click.option("--list", "listed", is_flag=True, help="List the boards and images that are known, and get none.")
@json_option
def image(source: Path | None, listed: bool, as_json: bool) -> None:
    """Get the official MicroPython image for the board.

    Downloads it once, checks it against the pinned SHA-256 and keeps it; after that no network is needed.

    \b
    Example:
      heartwire image
      heartwire image --list
      heartwire image --from ~/Downloads/RPI_PICO-20241025-v1.24.0.uf2
    """
    from heartwire.flash import images

    if listed:
        _list(as_json)
        return

    def progress(done: int, total: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            click.echo(f"\r{done // 1024} of {total // 1024} KiB", nl=done >= total > 0, err=True)

    path, fresh = images.get(progress, source=source)
    if as_json:
        emit_json({"micropython": images.VERSION, "path": str(path), "fresh": fresh})
    else:
        emit(f"MicroPython {images.VERSION}, {'now' if fresh else 'already'} in {path}")


def _list(as_json: bool) -> None:
    from heartwire.flash import boards, images

    rows: list[dict[str, Any]] = []
    for board in boards.BOARDS:
        known = [found for found in images.IMAGES if found.board == board.name]
        for found in known:
            use = "preferred" if found is images.PREFERRED else "known"
            version = {"micropython": found.version, "bytes": found.size, "in_cache": images.is_kept(found)}
            rows.append({"board": board.name, **version, "use": use})
        if not known:
            use = f"not supported: {board.refused}" if board.refused else "no image is known"
            rows.append({"board": board.name, "micropython": None, "bytes": None, "in_cache": False, "use": use})
    if as_json:
        emit_json(rows)
        return
    sheet = Sheet(("board", "micropython", "bytes", "in cache", "use"), right=frozenset({2}))
    for row in rows:
        cells = [row["board"], row["micropython"], row["bytes"], "yes" if row["in_cache"] else "", row["use"]]
        sheet.rows.append([(str(cell or ""), "") for cell in cells])
    emit(sheet.plain())
