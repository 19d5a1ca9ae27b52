"""`heartwire boards`: what is plugged in. Reads USB descriptors; opens a port only with --probe."""

from __future__ import annotations

from dataclasses import asdict

import click

from heartwire.cli.context import json_option
from heartwire.cli.output import Sheet, emit_json, note, show
from heartwire.errors import HeartwireError


@click.command()
@click.option("--probe", is_flag=True, help="Say hello to each one; only if all of them are Heartwire boards.")
@json_option
def boards(probe: bool, as_json: bool) -> None:
    """List the boards that are plugged in.

    Every Raspberry Pi board with MicroPython is listed by its USB descriptor (2e8a:0005), whatever program runs on it.
    A Debug Probe is none: what is sent to it goes to somebody else's machine.

    \b
    Example:
      heartwire boards
      heartwire --port id:E66118604B5C4A2A status
    """
    from heartwire import ports

    found = ports.list_ports()
    rows = [{**asdict(port), "answer": _probe(port.path) if probe else None} for port in found]
    if as_json:
        emit_json(rows)
        return
    if not rows:
        note("no board is plugged in (looked for USB 2e8a:0005); `heartwire virtual` runs one without hardware")
        return
    headers = ["port", "address", "product", "usb", *(["answer"] if probe else [])]
    sheet = Sheet(headers)
    for row in rows:
        cells = [
            (row["path"], "bold"),
            (f"id:{row['serial_number']}" if row["serial_number"] else "-", ""),
            (row["product"], ""),
            (row["location"], "dim"),
        ]
        sheet.rows.append([*cells, (row["answer"] or "", "")] if probe else cells)
    show([sheet])


def _probe(path: str) -> str:
    from heartwire.board import Board
    from heartwire.keys import Keys

    try:
        with Board.open(path, keys=Keys(), timeout_s=1.5) as board:
            return f"Heartwire, protocol {board.link.welcome.version}"
    except HeartwireError as error:
        return error.words.removeprefix(f"{path}: ").removeprefix(f"{path} ")
