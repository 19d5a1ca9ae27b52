"""The manual as one set of pages with a search: build/manual/html, made by Sphinx from the Markdown files as they are.

`python tools/manual.py [DIRECTORY]` (`make manual`) gathers every page that can be reached from the manual's index, in
the folders of the project, and builds with every warning an error: a link or an anchor that leads nowhere fails. No
script, font or style comes from elsewhere. MyST reads Markdown as GitHub does; MkDocs reads another one.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INDEX = "host/heartwire/share/manual/index.md"
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^ *```")
OPTIONS = {
    "project": "Heartwire",
    "html_title": "Heartwire",
    "extensions": "myst_parser",
    "html_theme": "alabaster",
    "html_theme_options.fixed_sidebar": "1",
    "html_theme_options.page_width": "1100px",
    "html_theme_options.show_powered_by": "0",
    "html_copy_source": "0",
    "html_show_sourcelink": "0",
    "html_permalinks": "1",
    "myst_heading_anchors": "4",
    # Words of a shell or a config that a lexer does not know are no fault of a page.
    "suppress_warnings": "misc.highlighting_failure,myst.header",
}


def targets(text: str) -> list[str]:
    """Return where the links of a page lead, without anchors and other hosts."""
    return [target for _, target, _ in LINK.findall(text) if target and "://" not in target]


def gather() -> dict[str, str]:
    """Return the pages that can be reached from the index, by their path in the project. Raises OSError."""
    found: dict[str, str] = {}
    waiting = [INDEX]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found[name] = (ROOT / name).read_text(encoding="utf-8")
        for target in targets(found[name]):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if path.endswith(".md") and (ROOT / path).is_file():
                waiting.append(path)
    return found


def staged(name: str, text: str) -> str:
    """Return a page as Sphinx gets it: the index stands at the top, and a link to a folder is its words."""
    folder = posixpath.dirname(name)
    here = "" if name == INDEX else folder

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if not target or "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if (ROOT / path).is_dir():
            return words.strip("[]")
        path = "index.md" if path == INDEX else path
        return f"{words}({posixpath.relpath(path, here or '.')}{anchor})"

    lines = []
    inside = False
    for line in text.split("\n"):
        inside ^= bool(FENCE.match(line))
        lines.append(line if inside else LINK.sub(link, line))
    return "\n".join(lines)


def contents(pages: dict[str, str]) -> str:
    """Return the table of contents: the manual in the order of its index, then everything else."""
    names = [name.removesuffix(".md") for name in pages if name != INDEX]
    return "\n```{toctree}\n:hidden:\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def stage(folder: Path) -> int:
    """Write the pages and what they show or link below `folder`; return how many pages. Raises OSError."""
    pages = gather()
    for name, text in pages.items():
        path = folder / ("index.md" if name == INDEX else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(staged(name, text) + (contents(pages) if name == INDEX else ""), encoding="utf-8")
        for target in targets(text):
            source = ROOT / posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if source.is_file() and source.suffix != ".md":
                copy = folder / source.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
    return len(pages)


def build(folder: Path) -> tuple[int, str]:
    """Build into `folder`/html; return the number of pages and what Sphinx found wrong, "" if nothing."""
    shutil.rmtree(folder / "pages", ignore_errors=True)
    shutil.rmtree(folder / "html", ignore_errors=True)
    count = stage(folder / "pages")
    command = [sys.executable, "-m", "sphinx", "-q", "-C", "-E", "-W", "--keep-going", "-n", "-b", "html"]
    for name, value in OPTIONS.items():
        command += ["-D", f"{name}={value}"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(folder / "pages"), str(folder / "html")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return count, (done.stderr or done.stdout) if done.returncode else ""


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description="Build the manual.")
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT / "build" / "manual")
    folder = parser.parse_args().directory.absolute()
    count, wrong = build(folder)
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    print(f"{count} pages: {folder / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
