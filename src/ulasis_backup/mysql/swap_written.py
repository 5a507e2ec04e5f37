"""Which tables were written to since a restore, as far as that is known without reading them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ulasis_backup.mysql.server import QueryFailed, Server, quote

MOST_ROWS = 2_000_000
"""Rows, as the server estimates them, up to which a table is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Tables that were written to for certain, and those of which it cannot be told."""

    tables: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def written_since(
    server: Server, database: str, moment: str, *, rows: Mapping[str, int]
) -> Written:
    """Return which tables of *database* were written to after *moment* (ISO 8601).

    By the server's own time of the last change, which it forgets, and by the number of *rows*
    that they had. No table is read that the server holds for a large one.
    """
    with contextlib.suppress(QueryFailed):
        # MySQL: else what it knew a day ago.
        server.run("SET SESSION information_schema_stats_expiry = 0")
    found = server.query(
        "SELECT TABLE_NAME, UPDATE_TIME, TABLE_ROWS FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME",
        (database,),
    )
    since = datetime.fromisoformat(moment) if moment else None
    written: list[str] = []
    unknown: list[str] = []
    for name, changed, estimate in found:
        is_known = bool(since and changed and changed.replace(tzinfo=UTC) > since)
        if not is_known and name in rows and (estimate or 0) <= MOST_ROWS:
            is_known = _count(server, database, name) != rows[name]
        (written if is_known else unknown).append(str(name))
    return Written(tables=tuple(written), unknown=tuple(unknown))


def _count(server: Server, database: str, name: str) -> int:
    return int(server.value(f"SELECT COUNT(*) FROM {quote(database)}.{quote(name)}"))
