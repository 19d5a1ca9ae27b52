"""The manual as pages: every link and anchor leads somewhere, all is searched, nothing comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import manual

pytest.importorskip("sphinx", reason="not installed: sphinx")
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?:https?:)?//")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    count, wrong = manual.build(folder)
    assert wrong == ""
    assert count > 30
    return folder / "html"


def test_all_pages_are_searched(built: Path) -> None:
    index = (built / "searchindex.js").read_text()
    assert (built / "search.html").exists()
    for name in manual.gather():
        assert ("index" if name == manual.INDEX else name.removesuffix(".md")) in index


def test_nothing_comes_from_elsewhere(built: Path) -> None:
    found = [(page.name, match[0]) for page in built.rglob("*.html") if (match := ELSEWHERE.search(page.read_text()))]
    assert found == []
    for style in (built / "_static").rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", style.read_text()), style.name


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Page\n\n[a](other.md#no-such) [b](gone.md)\n"
    monkeypatch.setattr(manual, "gather", lambda: {manual.INDEX: text, "host/heartwire/share/manual/other.md": "# O\n"})
    _, wrong = manual.build(tmp_path)
    assert "no-such" in wrong and "gone.md" in wrong
