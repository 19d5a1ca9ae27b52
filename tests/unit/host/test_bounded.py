"""JSON of others: a value or a ValueError, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartwire import bounded


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[", b"[" * 100_000, b"{" * 2000, b'{"a":' * 500 + b"1" + b"}" * 500, b'["' + b"[" * 50, b'"\\', b'"\\"',
        b"NaN", b"Infinity", b"-Infinity", b'{"a": NaN}', b"9" * 5000, b"\xff", b"\xff\xfe", b"\0", b"{}x",
        b"[" * 17 + b"]" * 17,
        *[f'["\u2200",{"[" * 5000}'.encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32")],
    ],
)  # fmt: skip
def test_what_is_no_small_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        bounded.load(data, 1_000_000)


def test_brackets_in_texts_are_no_depth() -> None:
    assert bounded.load(b'["' + b"[" * 99 + b'\\"{{{", [[]]]', 1000) == ["[" * 99 + '"{{{', [[]]]
    assert bounded.load(b"[" * 16 + b"]" * 16, 100)
    assert bounded.load(b"[" + b"[],{}," * 3000 + b"1]", 100_000)[-1] == 1


def test_too_long_is_refused_unread_and_other_values_are_no_objects() -> None:
    with pytest.raises(ValueError, match="longer than 3"):
        bounded.load(b"1234", 3)
    assert bounded.load_object(b'{"a": 1}', 10) == {"a": 1}
    with pytest.raises(ValueError, match="no object"):
        bounded.load_object(b"[1]", 10)


@given(st.lists(st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"1", b"a", b"\xe9"])).map(b"".join))
def test_whatever_comes_it_is_a_value_or_a_value_error(data: bytes) -> None:
    try:
        bounded.load(data, 1000)
    except ValueError:
        return
