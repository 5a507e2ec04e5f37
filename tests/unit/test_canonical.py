"""Canonical JSON: one value has one text, and any other text is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.errors import IntegrityError
from ulasis_backup.repository import canonical

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=5)


@given(value=OBJECTS)
def test_every_object_comes_back(value: canonical.Json) -> None:
    data = canonical.to_bytes(value)
    assert canonical.from_bytes(data, name="x") == value
    assert canonical.to_bytes(canonical.from_bytes(data, name="x")) == data


@given(value=OBJECTS, index=st.integers(0, 200), space=st.sampled_from([b" ", b"\n", b"\t"]))
def test_a_blank_anywhere_makes_another_text(
    value: canonical.Json, index: int, space: bytes
) -> None:
    data = canonical.to_bytes(value)
    index = min(index, len(data))
    changed = data[:index] + space + data[index:]
    try:
        found = canonical.from_bytes(changed, name="x")
    except IntegrityError:
        return
    # Only inside a string is a blank data.
    assert found != value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "1",
        '{"a":1}\n',
        ' {"a":1}',
        '\ufeff{"a":1}',
        '{"a":1,"a":1}',
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"b":1,"a":2}',
        '{"a": 1}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":1.0e0}',
        '{"a":01}',
        '{"a":-0.00}',
        '{"a":1E3}',
        '{"a":"\\u0061"}',
        '{"a":"\\/"}',
        "{'a':1}",
        '{"a":1}{"a":1}',
        '{"a":1,}',
        '{"a":"\t"}',
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        canonical.from_bytes(text.encode(), name="x")


@given(data=st.binary(max_size=60))
def test_no_bytes_make_the_reader_stumble(data: bytes) -> None:
    try:
        found = canonical.from_bytes(data, name="x")
    except IntegrityError:
        return
    assert canonical.to_bytes(found) == data


def test_deep_nesting_and_endless_numbers_are_refused() -> None:
    for text in ('{"a":' + "[" * 100_000, '{"a":' + "1" * 100_000 + "}"):
        with pytest.raises(IntegrityError):
            canonical.from_bytes(text.encode(), name="x")


def test_more_than_the_limit_is_refused_unread() -> None:
    data = b'{"a":"' + bytes(canonical.MOST_BYTES) + b'"}'
    with pytest.raises(IntegrityError, match="larger"):
        canonical.from_bytes(data, name="x")


def test_keys_are_sorted_and_text_is_utf8() -> None:
    value = {"b": [1, {"z": None, "y": True}], "a": "é😀"}
    assert canonical.to_bytes(value) == '{"a":"é😀","b":[1,{"y":true,"z":null}]}'.encode()


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical.to_bytes({"a": json.loads("NaN")})
