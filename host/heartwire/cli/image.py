"""`heartwire image`: get the pinned MicroPython image into the cache, or say that it is there."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from heartwire.cli.output import emit


@click.command()
@click.option(
    "--from", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take this file instead."
)
def image(source: Path | None) -> None:
    """Get the official MicroPython image for the board.

    Downloads it once, checks it against the pinned SHA-256 and keeps it; after that no network is needed.

    \b
    Example:
      heartwire image
      heartwire image --from ~/Downloads/RPI_PICO-20241025-v1.24.0.uf2
    """
    from heartwire.flash import images

    def progress(done: int, total: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            click.echo(f"\r{done // 1024} of {total // 1024} KiB", nl=done >= total > 0, err=True)

    path, fresh = images.get(progress, source=source)
    emit(f"MicroPython {images.VERSION}, {'now' if fresh else 'already'} in {path}")
