"""Estimates from what was measured: how long a restore takes, when storage is full. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import linear_regression, median

MOST = 12
"""Measurements that count: the newest."""

MARGIN = 1.5
"""With a single measurement nothing is known of how they differ: half as much again, or less."""

FEWEST_DAYS = 2.0
"""Days of history below which a trend is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A restore that was measured: plain bytes, and seconds from nothing to all of them."""

    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """An estimate in seconds: ``likely``, and what it may be at least and at most."""

    likely: float
    least: float
    most: float
    measurements: int


def restore_seconds(measured: Sequence[Measurement], size: int) -> Duration | None:
    """Return how long a restore of *size* plain bytes takes, from *measured*, oldest first.

    Each measurement is scaled to *size* by its own rate: that overestimates large databases after
    small ones, whose rate holds the start of a server. None where nothing was measured.
    """
    rates = [m.seconds / m.bytes for m in measured if m.bytes > 0 and m.seconds > 0][-MOST:]
    if not rates or size <= 0:
        return None
    seconds = [rate * size for rate in rates]
    likely = median(seconds)
    if len(seconds) == 1:
        return Duration(likely=likely, least=likely / MARGIN, most=likely * MARGIN, measurements=1)
    return Duration(likely=likely, least=min(seconds), most=max(seconds), measurements=len(seconds))


def full_at(
    sizes: Sequence[tuple[datetime, int]], *, free: int, moment: datetime
) -> datetime | None:
    """Return when *free* bytes are used up if *sizes*, of the whole over time, go on as they do.

    None where they do not grow, or too little is known.
    """
    if len(sizes) < 3:  # noqa: PLR2004 (a line through two points is always right)
        return None
    begin = sizes[0][0]
    days = [(at - begin) / timedelta(days=1) for at, _ in sizes]
    if days[-1] - days[0] < FEWEST_DAYS:
        return None
    slope, _ = linear_regression(days, [float(size) for _, size in sizes])
    if slope <= 0 or free / slope > 36500:  # noqa: PLR2004 (a hundred years is never)
        return None
    return moment + timedelta(days=free / slope)
