"""Row packets in the forms that load them: what numpy makes of many rows at once is right."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ulasis_backup.errors import IntegrityError
from ulasis_backup.mysql.bulk import to_bulk
from ulasis_backup.mysql.layout import Piece, layout, pieces
from ulasis_backup.mysql.load_data import Marks, choose, to_text
from ulasis_backup.mysql.loads import counted
from ulasis_backup.mysql.rows import Values, fields

FULL = 0xFFFFFF
LOW = bytes(range(0x80))
SHORT = st.binary(max_size=6)
VALUES = st.one_of(
    st.none(), SHORT, st.sampled_from([b"", b"0", LOW, b"\x03N"]),
    st.integers(0, 400),
)  # fmt: skip
"""Values, long ones by their size."""

Plan = tuple[bytes | int | None, ...]


def plans_of(width: int) -> st.SearchStrategy[list[Plan]]:
    return st.lists(st.tuples(*[VALUES] * width), min_size=1, max_size=12)


PLANS = st.integers(1, 5).flatmap(plans_of)


def grown(plans: list[Plan]) -> list[Values]:
    return [
        tuple((LOW * (v // 128 + 1))[:v] if isinstance(v, int) else v for v in plan)
        for plan in plans
    ]


def length(size: int) -> bytes:
    if size < 251:
        return bytes([size])
    for mark, count in ((b"\xfc", 2), (b"\xfd", 3)):
        if size < 1 << 8 * count:
            return mark + size.to_bytes(count, "little")
    return b"\xfe" + size.to_bytes(8, "little")


def packets(rows: list[Values]) -> bytes:
    out = []
    for row in rows:
        body = b"".join(b"\xfb" if v is None else length(len(v)) + v for v in row)
        while len(body) >= FULL:
            out.append(b"\xff\xff\xff\0" + body[:FULL])
            body = body[FULL:]
        out.append(len(body).to_bytes(3, "little") + b"\0" + body)
    return b"".join(out)


def whole(data: bytes) -> Piece:
    (piece,) = pieces(data, FULL - 1)
    return piece


def read_text(text: bytes, marks: Marks) -> list[Values]:
    """Read what LOAD DATA would, one byte after the other."""
    rows: list[Values] = []
    row: list[bytes | None] = []
    value, at, null = bytearray(), 0, False
    while at < len(text):
        byte = text[at]
        at += 1
        if byte == marks.escape:
            null = text[at] == ord("N") and not value
            value.append(text[at])
            at += 1
        elif byte in (marks.field, marks.line):
            row.append(None if null else bytes(value))
            value, null = bytearray(), False
            if byte == marks.line:
                rows.append(tuple(row))
                row = []
        else:
            value.append(byte)
    assert not row
    assert not value
    return rows


@settings(max_examples=60, deadline=None)
@given(PLANS)
@example([(65_535, 65_536), (None, 70_000)])
@example([(None,)])
@example([(None, None), (b"", None), (None, b"x")])
@example([(LOW, None), (None, LOW)])
def test_many_rows_at_once_are_what_row_by_row_gives(plans: list[Plan]) -> None:
    rows = grown(plans)
    width = len(rows[0])
    piece = whole(packets(rows))
    found = layout(piece, width)
    assert found is not None
    assert to_bulk(piece, width, found) == to_bulk(piece, width, None)
    for way in (found, None):
        text, marks = to_text(piece, width, way)
        assert read_text(text, marks) == rows
    columns = list(range(width))
    zeros = sum(value == b"0" for row in rows for value in row)
    assert counted(piece, width, found, columns) == (len(rows), zeros)
    assert counted(piece, width, None, columns) == (len(rows), zeros)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(1, 100_000))
def test_pieces_are_whole_rows_and_lose_none(plans: list[Plan], most: int) -> None:
    rows = grown(plans)
    data = packets(rows)
    cut = list(pieces(data, most))
    assert b"".join(piece.packets for piece in cut) == data
    assert [row for piece in cut for row in fields(piece.packets, len(rows[0]))] == rows


@pytest.mark.parametrize("size", [FULL - 5, FULL - 4, FULL - 3, FULL + 9])
def test_rows_around_the_size_of_a_packet(size: int) -> None:
    rows: list[Values] = [(b"a", None), (b"x" * size, b"b"), (b"c", b"d")]
    cut = list(pieces(packets(rows), 1 << 20))
    assert len(cut) == 3
    assert (cut[1].starts is None) == (size >= FULL - 6)
    assert [row for piece in cut for row in fields(piece.packets, 2)] == rows
    for piece in cut:
        assert to_bulk(piece, 2, layout(piece, 2)) == to_bulk(piece, 2, None)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(0, 1 << 20), st.sampled_from(["cut", "changed", "columns"]))
def test_what_is_no_sequence_of_rows_is_refused(plans: list[Plan], at: int, kind: str) -> None:
    rows = grown(plans)
    right, width = packets(rows), len(rows[0])
    at %= len(right)
    wrong = {
        "cut": right[:at],
        "changed": right[:at] + bytes([right[at] ^ 0x55]) + right[at + 1 :],
        "columns": right,
    }[kind]
    width += kind == "columns"
    try:
        expected: list[Values] | None = list(fields(wrong, width))
    except IntegrityError:
        expected = None
    try:
        bulk = b"".join(to_bulk(p, width, layout(p, width)) for p in pieces(wrong, 1 << 20))
        text = [
            row for p in pieces(wrong, 1 << 20)
            for row in read_text(*to_text(p, width, layout(p, width)))
        ]  # fmt: skip
    except IntegrityError:
        assert expected is None
    else:
        assert expected is not None
        assert text == expected
        assert len(bulk) > 0 or not wrong


def test_marks_are_bytes_that_are_absent() -> None:
    assert choose(b"") == Marks(field=1, line=2, escape=3)
    assert choose(b"\x01\x03\x04") == Marks(field=2, line=5, escape=6)
    few = bytes(set(range(256)) - {0x10, 0x7E, 0x20, ord("N"), ord("0"), 0x80, 0xFF})
    assert choose(few) == Marks(field=0x10, line=0x20, escape=0x7E)
    assert choose(bytes(set(range(256)) - {0x10, 0x7E, 0x80, 0xFF})).escapes
