"""Each target of targets.py with what Hypothesis makes of its tokens; bounded, so that it takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.profile import PROFILE
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.__name__)
def test_whatever_comes_nothing_ends(kind: type[Target], tmp_path: Path) -> None:
    pieces = st.one_of(st.binary(max_size=64), st.sampled_from(kind.tokens))

    @PROFILE
    @given(st.lists(pieces, max_size=24).map(b"".join))
    def run(data: bytes) -> None:
        target.feed(data)

    with kind(tmp_path) as target:
        run()
        target.finish()
