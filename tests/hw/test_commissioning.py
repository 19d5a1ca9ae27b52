"""The printable sheets: every line is complete, its words stay in their column, and a sheet is one A4 page."""

import re

import commissioning
import pytest

LETTER_MM = 1.75  # widest average of a line of DejaVu Sans at 2.6 mm, measured on the page


@pytest.mark.parametrize("build", sorted(commissioning.BUILDS))
def test_a_sheet_is_one_page_and_no_words_run_into_the_next_column(build: str) -> None:
    lefts = [left for _, left, _ in commissioning.COLUMNS] + [204]
    texts = re.findall(r"<text x='([\d.]+)' y='([\d.]+)'[^>]*font-size='2.6'[^>]*>([^<]*)<", commissioning.sheet(build))
    assert len(texts) > 60
    for x, y, words in texts:
        following = min(left for left in lefts if left > float(x))
        assert float(x) + LETTER_MM * len(words) < following + 6, words
        assert float(y) < 280


@pytest.mark.parametrize("build", sorted(commissioning.BUILDS))
def test_every_measure_is_complete_on_both_builds(build: str) -> None:
    for measure in commissioning.measures():
        assert all((measure.what, getattr(measure, build), measure.right, measure.wrong)), measure.what
        assert measure.what.split()[0] in commissioning.sheet(build)
