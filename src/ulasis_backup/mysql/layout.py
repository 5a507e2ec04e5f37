"""Where in row packets the values stand: found for many rows at once, with numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from

import numpy as np
from numpy.typing import NDArray

from ulasis_backup.mysql.rows import NULL, malformed
from ulasis_backup.mysql.wire import FULL, HEADER

Bytes = NDArray[np.uint8]
Places = NDArray[np.int32]
Flags = NDArray[np.bool_]

TWO, THREE = 0xFC, 0xFD
"""The first byte of a length of two bytes, of three."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole rows of a range. ``starts`` is None where one row spans packets."""

    packets: bytes
    starts: list[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the values of some rows stand, each a table of rows and columns but ``starts``.

    ``places`` is the first byte of a value's length (or its NULL), ``heads`` the bytes of that
    length, ``sizes`` the bytes of the value behind it.
    """

    data: Bytes
    starts: Places
    places: Places
    heads: Places
    sizes: Places
    nulls: Flags | None

    def zeros(self, columns: list[int]) -> int:
        """Return how many values of *columns* are ``0``."""
        found = 0
        for column in columns:
            single = self.places[self.sizes[:, column] == 1, column]
            found += int(np.count_nonzero(self.data[single + 1] == ord("0")))
        return found


def pieces(packets: bytes, most: int) -> Iterator[Piece]:
    """Cut *packets* into pieces of about *most* bytes; a row that has more is one by itself.

    Raises IntegrityError where they are not whole.
    """
    at, end = 0, len(packets)
    while at < end:
        starts, following = _walk(packets, at, min(at + most, end), most)
        if starts:
            if following > end:
                raise malformed()
            yield Piece(packets[at:following], starts)
        else:
            following, whole = _large(packets, at)
            yield Piece(packets[at:following], [0] if whole else None)
        at = following


def _walk(packets: bytes, begin: int, stop: int, most: int) -> tuple[list[int], int]:
    """Return where rows begin, counted from *begin*, and where the last one ends.

    It ends before a row of more than *most* bytes.
    """
    starts: list[int] = []
    add, read = starts.append, unpack_from
    large = min(most, FULL - 1)
    at, last = begin, len(packets) - HEADER
    while at < stop:
        if at > last:
            raise malformed()
        length = read("<I", packets, at)[0] & FULL
        if length > large:
            break
        add(at - begin)
        at += HEADER + length
    return starts, at


def _large(packets: bytes, at: int) -> tuple[int, bool]:
    """Return where the row at *at* ends, and whether it is in one packet."""
    length, count = FULL, 0
    while length == FULL:
        if at + HEADER > len(packets):
            raise malformed()
        length = unpack_from("<I", packets, at)[0] & FULL
        at, count = at + HEADER + length, count + 1
    if at > len(packets):
        raise malformed()
    return at, count == 1


def layout(piece: Piece, columns: int) -> Layout | None:
    """Return where the values of *piece* stand; None where only ``rows.fields`` can tell.

    Raises IntegrityError for what is no sequence of rows of so many *columns*.
    """
    if piece.starts is None:
        return None
    data: Bytes = np.frombuffer(piece.packets, np.uint8)
    starts: Places = np.array(piece.starts, np.int32)
    ends: Places = np.append(starts[1:], np.int32(len(data)))
    if data[starts + 3].any():
        raise malformed()
    shape = (len(starts), columns)
    places, heads, sizes = (np.empty(shape, np.int32) for _ in range(3))
    nulls: Flags | None = None
    at = starts + HEADER
    for column in range(columns):
        if (at >= ends).any():
            raise malformed()
        first = data[at]
        head, size = np.ones(len(at), np.int32), first.astype(np.int32)
        longer = np.flatnonzero(first >= NULL)
        if len(longer):
            if (first[longer] > THREE).any():
                return None
            _read_long(data, (at, ends), first, (head, size))
            null = first == NULL
            if null.any():
                nulls = np.zeros(shape, np.bool_) if nulls is None else nulls
                nulls[:, column] = null
        places[:, column], heads[:, column], sizes[:, column] = at, head, size
        at = at + head + size
    if (at != ends).any():
        raise malformed()
    return Layout(
        data=data, starts=starts, places=places, heads=heads, sizes=sizes, nulls=nulls
    )  # fmt: skip


def _read_long(
    data: Bytes, where: tuple[Places, Places], first: Bytes, found: tuple[Places, Places]
) -> None:
    """Read lengths of more than one byte, and NULLs, into *found*: heads and sizes."""
    at, ends = where
    heads, sizes = found
    sizes[first == NULL] = 0
    for mark, count in ((TWO, 2), (THREE, 3)):
        rows = np.flatnonzero(first == mark)
        if not len(rows):
            continue
        begin = at[rows]
        if (begin + count >= ends[rows]).any():
            raise malformed()
        size = data[begin + 1].astype(np.int32)
        for byte in range(1, count):
            size |= data[begin + 1 + byte].astype(np.int32) << (8 * byte)
        sizes[rows], heads[rows] = size, count + 1


def spread(data: Bytes, places: Places, fill: Bytes) -> Bytes:
    """Return *data* with the bytes *fill* inserted, each before the byte at its place.

    The same as ``numpy.insert``, in half the time; *places* must not descend.
    """
    out = np.empty(len(data) + len(places), np.uint8)
    here = places + np.arange(len(places), dtype=np.int32)
    old = np.ones(len(out), np.bool_)
    old[here] = False
    out[old] = data
    out[here] = fill
    return out
