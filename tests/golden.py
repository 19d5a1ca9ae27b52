"""Golden files: expected output kept under tests/golden, rewritten by `GOLDEN=update pytest`."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Hold `text` against tests/golden/NAME, or write it there if GOLDEN=update is set."""
    path = FOLDER / name
    # A terminal view is padded to its width; what is kept is what can be seen.
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    if os.environ.get("GOLDEN") == "update":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing; write it with GOLDEN=update"
    assert text == path.read_text(encoding="utf-8"), f"differs from {path}; if that is wanted: GOLDEN=update"
