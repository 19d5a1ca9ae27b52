"""A stranger's first evening: the page first-evening.md, done line by line with a wheel in an empty folder.

`python -m tests.manual.evening [FOLDER]` (`make first-evening`) builds the wheel, walks, prints each step with its
time, and leaves pictures of the page in build/manual where Chromium is installed. Reading is not in the times.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import golden
from tests.manual.book import FOLDER, blocks
from tests.manual.walk import Stuck, Walk

ROOT = golden.FOLDER.parent.parent
PAGE = FOLDER / "first-evening.md"
PORTS = ("8025", "9732", "9734", "9099")
HEADING = re.compile(r"^## (.*)$")
PICTURES = ROOT / "build" / "manual"


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this very tree into `folder`."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("heartwire-*.whl")
    return wheel


def taken_ports() -> dict[str, str]:
    """Return what stands for each port of the page that another program of this machine has."""
    found = {}
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", int(port)))
            except OSError:
                probe.bind(("127.0.0.1", 0))
                found[port] = str(probe.getsockname()[1])
    return found


def environment(folder: Path) -> dict[str, str]:
    """Return what a new user has in the environment, with the page's `. venv/bin/activate` done."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "LC_"))}
    path = f"{folder}/venv/bin:/usr/local/bin:/usr/bin:/bin"
    return {**kept, "PATH": path, "HOME": str(folder), "VIRTUAL_ENV": f"{folder}/venv", "NO_COLOR": "1"}


def steps() -> dict[int, str]:
    """Return the headings of the page by line."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return {number: match[1] for number, line in enumerate(lines, 1) if (match := HEADING.match(line))}


def look(url: str, name: str) -> str:
    """Return the page as it is served; a picture of it too, where a Chromium is here."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
    from tests.web import browser

    if browser.CHROMIUM:
        try:
            with browser.browser() as chromium:
                sheet = chromium.new_page(viewport={"width": 1280, "height": 900})
                sheet.goto(url)
                PICTURES.mkdir(parents=True, exist_ok=True)
                sheet.screenshot(path=str(PICTURES / f"{name}.png"), full_page=True)
        except ImportError:
            pass  # the words are looked at all the same
    return text


def walk(folder: Path, say: Callable[[str], object], *, without: Mapping[str, str] | None = None) -> float:
    """Do the page in `folder`, which holds the wheel; return the seconds. Raises Stuck.

    `without` has reasons why a terminal of the page is left out: name -> reason.
    """
    ports = taken_ports()
    web = f"http://127.0.0.1:{ports.get('9734', '9734')}/"
    headings = steps()
    began = time.monotonic()
    skipped = dict(without or {})
    with Walk(folder, environment(folder), ports) as reader:
        heading, since = "", began
        for block in blocks(PAGE):
            now = [words for line, words in headings.items() if line < block.line][-1]
            if now != heading:
                since = _told(say, heading, since)
                heading = now
            if any(name in block.words or name in " ".join(block.commands) for name in skipped):
                continue
            if "prometheus" in skipped and ":9099" in " ".join(block.commands):
                continue
            reader.do(block)
            if block.words.startswith("until b "):
                _has(look(web, "first-evening-failover"), "rack-1", "rack-2")
            elif block.words.startswith("in monitor"):
                _has(look(web, "first-evening-start"), "rack-1", "rack-2")
        _told(say, heading, since)
    return time.monotonic() - began


def _told(say: Callable[[str], object], heading: str, since: float) -> float:
    now = time.monotonic()
    if heading:
        say(f"{now - since:6.1f} s  {heading}")
    return now


def _has(text: str, *words: str) -> None:
    missing = [word for word in words if word not in text]
    if missing:
        raise Stuck(f"the page does not show {', '.join(missing)}:\n{text}")


def main() -> int:
    """Run; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="heartwire-evening-") as name:
        folder = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"built {build_wheel(folder).name} into {folder}")
        without = {} if shutil.which("prometheus") else {"prometheus": "not installed"}
        for what, why in without.items():
            print(f"without {what}: {why}")
        try:
            total_s = walk(folder, print, without=without)
        except Stuck as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{total_s:6.1f} s  together, without reading")
    return 0


if __name__ == "__main__":
    sys.exit(main())
