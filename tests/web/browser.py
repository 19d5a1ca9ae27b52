"""A real Chromium, and a page for it: for tests and for the bench."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from heartwire.monitor.log import Log
from heartwire.web.server import Server
from tests.unit.web.room import Room

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing is asked of any host but ours; a sandbox of its own needs more than a container gives.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Give a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield made
        finally:
            made.close()


@contextlib.contextmanager
def served(room: Room) -> Iterator[str]:
    """Serve the page of a room; give its address."""
    server = Server("127.0.0.1:0", room.app(), Log(room.log))
    server.start()
    try:
        yield f"http://localhost:{server.port}"
    finally:
        server.close()
