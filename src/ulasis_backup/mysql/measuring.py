"""How many rows some row packets are, found for many stretches of them at once, with numpy.

Where a row begins is only known from the row before it, so one row after the other would have to be
looked at. Instead many walks begin at places that look like the begin of a row, one step each at a
time. What such a walk says is a fact, wherever it began: from here so many rows lead to there. The
one walk that counts, from the first byte, then jumps along the facts that it meets, and goes row by
row where it meets none. A wrong guess costs time and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from ulasis_backup.mysql.rows import malformed
from ulasis_backup.mysql.wire import FULL, HEADER

STRETCH = 4096
"""Bytes from one guess to the next."""

LOOKED_AT = 512
"""Bytes in which the begin of a row is looked for; where rows are longer few walks are worth it."""

WORTH_IT = 16 * STRETCH
_HEADER = Struct("<I")

Places = NDArray[np.int64]


def measure(packets: bytes) -> tuple[int, int]:
    """Return how many rows there are, and the bytes of the longest with its headers.

    Raises IntegrityError for what is no sequence of packets. Values are not looked at.
    """
    walks = _walk(packets) if len(packets) >= WORTH_IT else None
    at = start = rows = longest = 0
    end = len(packets)
    read = _HEADER.unpack_from
    while at + HEADER <= end:
        if walks and at == start and (place := walks.places.get(at)) is not None:
            at, more, most = walks.far(place)
            start, rows, longest = at, rows + more, max(longest, most)
            continue
        header = read(packets, at)[0]
        # In the canonical form the sequence byte, the topmost, is zero.
        if header > FULL:
            raise malformed()
        at += HEADER + header
        if header < FULL:
            rows += 1
            longest = max(longest, at - start)
            start = at
    if at != end or start != at:
        raise malformed()
    return rows, longest


@dataclass(frozen=True, slots=True)
class _Walks:
    """Walks over rows of one packet each that lead to where the next walk begins, or to the end.

    ``places`` are the numbers of those that do, by where they begin; ``broken`` the others, in
    order. ``rows`` and ``longest`` (headers without their four bytes) are of each.
    """

    places: dict[int, int]
    goals: Places
    broken: Places
    rows: Places
    longest: Places

    def far(self, first: int) -> tuple[int, int, int]:
        """Return where walk *first* and those behind it lead, over how many rows, the longest."""
        following = int(np.searchsorted(self.broken, first))
        last = int(self.broken[following]) if following < len(self.broken) else len(self.goals)
        rows, longest = self.rows[first:last], self.longest[first:last]
        return int(self.goals[last - 1]), int(rows.sum()), int(longest.max()) + HEADER


def _walk(packets: bytes) -> _Walks:
    # Headers at any byte: read where they stand, aligned or not.
    headers = np.ndarray((len(packets) - HEADER + 1,), "<u4", packets, strides=(1,))
    starts = _guesses(packets)
    goals = np.append(starts[1:], len(packets))
    rows, longest = np.zeros_like(starts), np.zeros_like(starts)
    good = np.zeros(len(starts), np.bool_)
    at, which, most = starts.copy(), np.arange(len(starts)), np.zeros_like(starts)
    limit = np.minimum(goals, len(headers))
    steps = 0
    while len(at):
        header = headers[at].astype(np.int64)
        np.maximum(most, header, out=most)
        header += HEADER
        at += header
        steps += 1
        going = at < limit
        if going.all():
            continue
        ended = ~going
        done = which[ended]
        rows[done], longest[done] = steps, most[ended]
        # A header with all bits of a length is of a row of several packets, or of none.
        good[done] = (at[ended] == goals[done]) & (most[ended] < FULL)
        at, which, most, limit = at[going], which[going], most[going], limit[going]
    numbers = np.flatnonzero(good)
    places = dict(zip(starts[good].tolist(), numbers.tolist(), strict=True))
    return _Walks(places, goals, np.flatnonzero(~good), rows, longest)


def _guesses(packets: bytes) -> Places:
    """Return places that look like begins of rows, about one a stretch; the first byte is one.

    Most headers end in two zeros, of rows shorter than 64 KiB, and other zeros are rare: values
    are text.
    """
    count = len(packets) // STRETCH - 1
    data = np.frombuffer(packets, np.uint8, count * STRETCH).reshape(count, STRETCH)
    zero = data[:, : LOOKED_AT + 3] == 0
    likely = zero[:, 2:-1] & zero[:, 3:]
    likely &= ~np.pad(zero[:, 4:], ((0, 0), (0, 1)))
    place = likely.argmax(axis=1)
    there = likely[np.arange(count), place]
    there[0], place[0] = True, 0
    places: Places = np.asarray(np.arange(count) * STRETCH + place, np.int64)
    return np.compress(there, places)
