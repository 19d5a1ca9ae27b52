"""Each decoder of decoders.py: its seeds, and what Hypothesis makes of them by cutting, repeating and replacing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.decoders import DECODERS, SEEDS, Decoder
from tests.fuzz.profile import PROFILE

_WORDS = (
    b"= [ ] \" { } [[ 0 -1 1e999 nan true .. [] 2026-01-01 ''' \\u0000 99999999999999999999999999 \xe2\x82 \x00 \xff"
)
PIECES = (*_WORDS.split(b" "), b"\n")


def mutated(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return `seed` with parts replaced: each edit is (where, how many bytes go, what comes)."""
    for where, gone, new in edits:
        at = where % (len(seed) + 1)
        seed = seed[:at] + new + seed[at + gone :]
    return seed


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_its_seeds_are_read(decoder: Decoder, tmp_path: Path) -> None:
    for seed in decoder.shipped():
        decoder.read(seed, tmp_path)
    for seed in decoder.seeds():
        with contextlib.suppress(*decoder.allowed):
            decoder.read(seed, tmp_path)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_whatever_comes_it_raises_what_it_may(decoder: Decoder, tmp_path: Path) -> None:
    pieces = st.one_of(st.binary(max_size=8), st.sampled_from(PIECES))
    edits = st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 40), pieces), min_size=1, max_size=6)
    whole = st.builds(mutated, st.sampled_from(decoder.seeds()), edits)

    @PROFILE
    @given(st.one_of(whole, st.binary(max_size=200)))
    def run(data: bytes) -> None:
        with contextlib.suppress(*decoder.allowed):
            decoder.read(data, tmp_path)

    run()


def test_no_example_of_any_test_has_a_limit_of_time() -> None:
    assert settings().deadline is None


def test_every_kept_seed_belongs_to_a_decoder() -> None:
    assert {path.name for path in SEEDS.iterdir() if path.is_dir()} <= {decoder.name for decoder in DECODERS}
