"""The anomaly watch: is a backup unlike those before it? Pure; what is usual is learned.

A table may double every night, or come and go: what its own history has shown is no news. What
remains are the things that a person wants to hear of before the last good backup is too old:
tables gone or emptied, rows far fewer or far more, and data that suddenly cannot be compressed, as
when somebody else has encrypted it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

FEWEST = 3
"""Backups before this one, without which nothing is known of what is usual."""

MOST = 30
"""Backups that are looked back at."""

FALL, GROWTH = math.log(1.5), math.log(3)
"""How far beyond what was seen before a change is news, as the logarithm of a ratio."""

FEWEST_ROWS = 100
FEWEST_BYTES = 1 << 20
DENSER = 1.4
"""How many times denser than ever before stored bytes must be to be news."""

LEAST_DENSITY = 0.4
"""Stored bytes per plain byte below which data is compressible, whatever it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one backup says about itself.

    ``rows`` is by table, None where they cannot be counted. ``plain_bytes`` are those of all
    tables, ``added_bytes`` what it added to the repository.
    """

    backup: str
    rows: Mapping[str, int | None]
    plain_bytes: int
    added_bytes: int

    @property
    def density(self) -> float:
        """Return stored bytes per plain byte: near 1 for what cannot be compressed."""
        return self.added_bytes / self.plain_bytes if self.plain_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One thing that is unlike before; ``subject`` is a table, or empty for the whole."""

    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}" if self.subject else self.what


def anomalies(now: Facts, before: Sequence[Facts]) -> tuple[Anomaly, ...]:
    """Return what in *now* is unlike *before*, oldest first and of the same series and method."""
    before = before[-MOST:]
    if len(before) < FEWEST:
        return ()
    return (*_tables(now, before), *_whole(now, before))


def _tables(now: Facts, before: Sequence[Facts]) -> Iterator[Anomaly]:
    last = before[-1].rows
    for name in sorted(last):
        counts = [facts.rows.get(name) for facts in before]
        if name not in now.rows:
            if last[name] != 0 and not _comes_and_goes(name, before):
                yield Anomaly(subject=name, what=f"the table is gone; it had {_rows(last[name])}")
        elif found := _count(now.rows[name], [count for count in counts if count is not None]):
            yield Anomaly(subject=name, what=found)


def _comes_and_goes(name: str, before: Sequence[Facts]) -> bool:
    """Tell whether the table has been gone since it was first seen."""
    there = [name in facts.rows for facts in before]
    return not all(there[there.index(True) :])


def _count(now: int | None, counts: Sequence[int]) -> str:
    if now is None or len(counts) < FEWEST:
        return ""
    last = counts[-1]
    if now == 0 and last >= FEWEST_ROWS and 0 not in counts:
        return f"it is empty; it had {_rows(last)}"
    if abs(now - last) < FEWEST_ROWS:
        return ""
    steps = [_step(one, two) for one, two in itertools.pairwise(counts)]
    step = _step(last, now)
    if step < min(*steps, 0.0) - FALL:
        return f"{_rows(now)}, {last:,} the time before: fallen further than ever before"
    if step > max(*steps, 0.0) + GROWTH:
        return f"{_rows(now)}, {last:,} the time before: grown further than ever before"
    return ""


def _whole(now: Facts, before: Sequence[Facts]) -> Iterator[Anomaly]:
    sizes = [facts.plain_bytes for facts in before]
    if abs(now.plain_bytes - sizes[-1]) >= FEWEST_BYTES:
        steps = [_step(one, two) for one, two in itertools.pairwise(sizes)]
        step = _step(sizes[-1], now.plain_bytes)
        if step < min(*steps, 0.0) - FALL or step > max(*steps, 0.0) + GROWTH:
            yield Anomaly(subject="", what=_share("all data together", now, sizes[-1]))
    densest = max(facts.density for facts in before)
    enough = min(now.plain_bytes, sizes[-1]) >= FEWEST_BYTES
    if enough and now.density > max(LEAST_DENSITY, DENSER * densest):
        yield Anomaly(
            subject="",
            what=f"the data hardly compresses: {now.density:.0%} of its size is stored, at most "
            f"{densest:.0%} before. Was it encrypted by somebody else?",
        )


def _share(what: str, now: Facts, last: int) -> str:
    return f"{what} is {now.plain_bytes / max(1, last):.0%} of what it was the time before"


def _step(before: int, after: int) -> float:
    """Return the logarithm of the change; one more each, so that zero has one."""
    return math.log((after + 1) / (before + 1))


def _rows(count: int | None) -> str:
    return "rows that could not be counted" if count is None else f"{count:,} rows"
