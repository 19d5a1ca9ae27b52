"""`heartwire image`: get a pinned MicroPython image into the cache, or say that it is there."""

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
@click.option("--board", "board", help="For this board, as --list names it.  [default: RPI_PICO]")
@click.option("--micropython", "version", help="This version.  [default: the preferred one]")
@click.option("--list", "listed", is_flag=True, help="List the boards and images that are known, and get none.")
@json_option
def image(source: Path | None, board: str | None, version: str | None, listed: bool, as_json: bool) -> None:
    """Get the official MicroPython image for the board.

    Downloads it once, checks it against the pinned size and SHA-256 and keeps it; after that no network is needed.
    Bytes that differ are never kept, and it says in what they differ.

    \b
    Example:
      heartwire image
      heartwire image --list
      heartwire image --board RPI_PICO --micropython 1.29.0
      heartwire image --from ~/Downloads/RPI_PICO-20241025-v1.24.0.uf2
    """
    from heartwire.flash import boards, images

    chosen = boards.by_id(board) if board else None
    if listed:
        _list(boards.BOARDS if chosen is None else (chosen,), as_json)
        return

    def progress(done: int, total: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            click.echo(f"\r{done // 1024} of {total // 1024} KiB", nl=done >= total > 0, err=True)

    wanted = images.of(chosen or boards.PICO, version)
    path, fresh = images.get(progress, image=wanted, source=source)
    if as_json:
        emit_json({"board": wanted.board, "micropython": wanted.version, "path": str(path), "fresh": fresh})
    else:
        emit(f"MicroPython {wanted.version}, {'now' if fresh else 'already'} in {path}")


def _list(listed: Any, as_json: bool) -> None:
    from heartwire.flash import images

    rows: list[dict[str, Any]] = []
    for board in listed:
        facts = {"board": board.id, "name": board.name, "chip": board.chip.name, "oldest": board.chip.minimum}
        known = [found for found in images.IMAGES if found.board == board.id]
        preference = images.PREFERENCES.get(board.id)
        for found in known:
            use = "preferred" if found.version == preference else "known"
            version = {"micropython": found.version, "bytes": found.size, "in_cache": images.is_kept(found)}
            rows.append({**facts, **version, "use": use})
        if not known:
            use = f"not supported: {board.refused}" if board.refused else f"no image is pinned; {board.unproven}"
            version = {"micropython": None if board.refused else preference, "bytes": None, "in_cache": False}
            rows.append({**facts, **version, "use": use})
    if as_json:
        emit_json(rows)
        return
    sheet = Sheet(("board", "name", "chip", "oldest", "micropython", "bytes", "in cache", "use"), right=frozenset({5}))
    for row in rows:
        cells = [*list(row.values())[:6], "yes" if row["in_cache"] else "", row["use"]]
        sheet.rows.append([(str(cell or ""), "") for cell in cells])
    emit(sheet.plain())
