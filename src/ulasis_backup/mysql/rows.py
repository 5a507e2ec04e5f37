"""Row packets and the values in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import unpack_from

from ulasis_backup.errors import IntegrityError
from ulasis_backup.mysql.columns import Column
from ulasis_backup.mysql.wire import FULL, HEADER

NULL = 0xFB
LONG = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""Bytes of a length, by the byte that says that it has more than one."""

HINT = "do not restore it; use another backup"
Values = tuple[bytes | None, ...]


def fields(packets: bytes, columns: int, *, most: int | None = None) -> Iterator[Values]:
    """Yield the values of each row (None: NULL), of the first *most* rows only where given.

    Raises IntegrityError for what is no sequence of rows of so many *columns*.
    """
    for number, row in enumerate(payloads(packets)):
        if most is not None and number >= most:
            return
        yield _values(row, columns)


def check(packets: bytes, columns: int) -> int:
    """Return the number of rows; raises IntegrityError unless *packets* are well-formed."""
    return sum(1 for _ in fields(packets, columns))


def payloads(packets: bytes) -> Iterator[bytes]:
    """Yield the payload of each row, put together where it spans packets."""
    at, end = 0, len(packets)
    parts: list[bytes] = []
    while at < end:
        if at + HEADER > end or packets[at + 3]:
            raise malformed()
        length = unpack_from("<I", packets, at)[0] & FULL
        following = at + HEADER + length
        if following > end:
            raise malformed()
        parts.append(packets[at + HEADER : following])
        at = following
        if length < FULL:
            yield parts[0] if len(parts) == 1 else b"".join(parts)
            parts = []
    if parts:
        raise malformed()


def to_values(packets: bytes, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield each row as SQL: ``(value, value, …)`` for an INSERT that names *columns*."""
    binds = [tuple(column.bind.encode().split(b"{}")) for column in columns]
    literals = [column.literal for column in columns]
    for row in fields(packets, len(columns)):
        written = [
            before + _literal(value, literal) + after
            for value, literal, (before, after) in zip(row, literals, binds, strict=True)
        ]
        yield b"(" + b",".join(written) + b")"


def _literal(value: bytes | None, literal: str) -> bytes:
    if value is None:
        return b"NULL"
    if literal == "number":
        return value
    if literal == "moment":
        return b"'" + value + b"'"
    return b"x'" + value.hex().encode() + b"'" if value else b"''"


def _values(row: bytes, columns: int) -> Values:
    values: list[bytes | None] = []
    at, end = 0, len(row)
    for _ in range(columns):
        if at >= end:
            raise malformed()
        first = row[at]
        at += 1
        if first == NULL:
            values.append(None)
            continue
        if first > NULL:
            size = LONG.get(first, 0)
            if not size or at + size > end:
                raise malformed()
            first = int.from_bytes(row[at : at + size], "little")
            at += size
        values.append(row[at : at + first])
        at += first
        if at > end:
            raise malformed()
    if at != end:
        raise malformed()
    return tuple(values)


def malformed() -> IntegrityError:
    """Return the error for bytes that are no row packets."""
    return IntegrityError("what should be rows of a table is not", hint=HINT)
