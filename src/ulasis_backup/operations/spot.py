"""Where two dumps of a table part: the first row that differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.methods.summary import keyed
from ulasis_backup.streams.keys import DataKey

LONGEST_KEY = 40
_FIRST_VALUE = re.compile(rb"\((?:'(?:[^'\\]|\\.|'')*'|[^,)]*)")


def first_difference(
    wanted: Iterable[Piece], got: Iterable[Piece], table: str, data_key: DataKey | None
) -> str:
    """Return where the rows of *table* in *got* part from those in *wanted*; empty for nowhere.

    Names the row by its number and first column, and the digests of both rows.
    """
    pairs = zip_longest(_rows(wanted, table), _rows(got, table))
    for number, (one, other) in enumerate(pairs, start=1):
        if one != other:
            seen = one if one is not None else other or b""
            return (
                f" (row {number}, first column {_key(seen)}: {_digest(one, data_key)} in the "
                f"backup, {_digest(other, data_key)} now)"
            )
    return ""


def _rows(pieces: Iterable[Piece], table: str) -> Iterator[bytes]:
    """Yield the lines that are rows; the mark behind a row is not part of it."""
    rest = b""
    for piece in pieces:
        if piece.part is not Part.ROWS or piece.name != table:
            continue
        *lines, rest = (rest + piece.data).split(b"\n")
        for line in lines:
            if line.startswith(b"("):
                yield line.rstrip(b",;")


def _key(row: bytes) -> str:
    match = _FIRST_VALUE.match(row)
    text = (match[0][1:] if match else row).decode("utf-8", "backslashreplace")
    return text if len(text) <= LONGEST_KEY else text[:LONGEST_KEY] + "…"


def _digest(row: bytes | None, data_key: DataKey | None) -> str:
    return "no row" if row is None else keyed(row, data_key)[:12]
