"""How a table is cut into ranges: inherited boundaries first, guesses for what is new.

Boundaries come from the last backup, so that a range in which nothing changed gives the same bytes
and is stored once. What grew is cut while it is read; ranges that became small are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from ulasis_backup.methods.index import Range, TableRows
from ulasis_backup.mysql.keys import Boundary, Key

TARGET = 8 << 20
"""Bytes of row packets in a range."""

SMALL = 8
"""Neighbours that are together smaller than the target divided by this are joined."""

SEGMENTS = 16
"""Parts that a large table is cut into before anything is known of its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a table to be read by one query: ``begin <= key < end``.

    ``base`` is the range of the last backup that lies here, None where there is none. An inherited
    span is cut only when it has outgrown its ``limit`` of bytes.
    """

    begin: Boundary | None
    end: Boundary | None
    limit: int
    base: Range | None = None


def spans(
    key: Key | None,
    before: TableRows | None,
    *,
    bounds: tuple[int, int] | None,
    size: int,
    target: int = TARGET,
) -> Iterator[Span]:
    """Yield the spans of a table, in the order of its *key*; together they cover every row.

    *before* is the table in the last backup. *bounds* are the smallest and largest value of the
    key's first column where it is an integer, *size* roughly the bytes of all rows.
    """
    if key is None or not key.cuttable:
        yield Span(begin=None, end=None, limit=target, base=_only(before))
        return
    if before is not None and before.head.key == key and before.ranges:
        yield from _inherited(before.ranges, target)
        return
    points = _points(bounds, size, target) if key.by_integer and bounds else ()
    edges = [None, *((b"%d" % point,) for point in points), None]
    for begin, end in pairwise(edges):
        yield Span(begin=begin, end=end, limit=target)


def _only(before: TableRows | None) -> Range | None:
    """Return the range of a table that is one piece: a base for the next one, whatever its key."""
    return before.ranges[0] if before is not None and len(before.ranges) == 1 else None


def _inherited(ranges: Iterable[Range], target: int) -> Iterator[Span]:
    # The first range of a table has no lower bound, the last none above: rows may come anywhere.
    begin: Boundary | None = None
    for group, following in pairwise(chain(_joined(ranges, target), [None])):
        if group is None:
            break
        end = following[0].begin if following else None
        base = max(group, key=lambda part: part.bytes)
        yield Span(begin=begin, end=end, limit=2 * target, base=base)
        begin = end


def _joined(ranges: Iterable[Range], target: int) -> Iterator[list[Range]]:
    group: list[Range] = []
    for part in ranges:
        if group and sum(one.bytes for one in group) + part.bytes > target // SMALL:
            yield group
            group = []
        group.append(part)
    yield group


def _points(bounds: tuple[int, int], size: int, target: int) -> tuple[int, ...]:
    """Return integers that cut *bounds* into even segments, none for a table of one target."""
    low, high = bounds
    count = min(SEGMENTS, size // target, high - low + 1)
    return tuple(low + (high - low + 1) * number // count for number in range(1, count))
