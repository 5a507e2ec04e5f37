"""How values look: sizes, ages, tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.table import Table
from rich.text import Text

from ulasis_backup.model import printable

MINUTE, HOUR, DAY = 60, 3600, 86_400
KILO = 1000


def size(count: int) -> str:
    """Return *count* bytes as people say it, e.g. ``1.2 GB`` (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < KILO:
            return f"{value:,.0f} B" if unit == "B" else f"{value:,.1f} {unit}"
        value /= KILO
    return f"{value:,.1f} TB"


def age(text: str, now: datetime | None = None) -> str:
    """Return how long ago the moment *text* (ISO 8601) was, e.g. ``3 h``."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(text)).total_seconds()
    if seconds < MINUTE:
        return f"{max(0, seconds):.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.0f} h"
    return f"{seconds / DAY:.0f} d"


def rate(count: int, seconds: float) -> str:
    """Return *count* bytes in *seconds* as a rate."""
    return f"{size(int(count / seconds)) if seconds > 0 else '?'}/s"


def number(value: int | None) -> str:
    """Return *value* with thousands separated, ``not counted`` for None."""
    return "not counted" if value is None else f"{value:,}"


def add(rows: Table, *cells: str) -> None:
    """Add a row of plain text to *rows*: nothing in it is taken for markup."""
    rows.add_row(*(Text(printable(cell)) for cell in cells))


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table with *columns*; those in *right* are aligned right."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made
