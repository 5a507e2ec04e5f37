"""What mysqldump's text cannot hold, found beforehand so that it can be named.

FLOAT is printed with six significant digits. A member ``''`` of an ENUM or SET cannot be told
from "no value". A sequence's number of cycles has no statement that sets it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ulasis_backup.errors import DumpFailed
from ulasis_backup.model import ObjectKind, TextLoss
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, quote

FLOAT = "digits of FLOAT beyond the sixth"
EMPTY_MEMBER = "ENUM or SET values with the member ''"
CYCLES = "the number of cycles of a sequence"


def find_losses(server: Server, database: str, found: Catalogue) -> tuple[TextLoss, ...]:
    """Return what a dump of *database* would lose; tables with FLOAT columns are read once.

    Raises DumpFailed where the loss would make the dump unloadable: values of a unique key that
    print alike.
    """
    losses = [*_floats(server, database), *_empty_members(server, database)]
    losses += _cycled_sequences(server, database, found)
    return tuple(losses)


def _floats(server: Server, database: str) -> Iterator[TextLoss]:
    columns = server.query(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME, EXISTS (SELECT 1 FROM information_schema.STATISTICS s "
        "WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME "
        "AND s.COLUMN_NAME = c.COLUMN_NAME AND s.NON_UNIQUE = 0) "
        "FROM information_schema.COLUMNS c JOIN information_schema.TABLES t "
        "ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
        "WHERE c.TABLE_SCHEMA = %s AND c.DATA_TYPE = 'float' AND t.TABLE_TYPE <> 'VIEW' "
        "AND COALESCE(c.GENERATION_EXPRESSION, '') = ''",
        (database,),
    )
    for table, column, in_key in columns:
        lossy = _count_floats(server, database, table, column)
        if lossy and in_key:
            message = f"FLOAT values in a unique key of {database}.{table} print alike"
            hint = f"an sql dump of it could not be loaded; make {column} DOUBLE or DECIMAL"
            raise DumpFailed(message, hint=hint)
        if lossy != 0:
            yield TextLoss(table=table, column=column, what=FLOAT, values=lossy)


def _count_floats(server: Server, database: str, table: str, column: str) -> int | None:
    """Return how many values differ from what their printed form reads back as."""
    name = quote(column)
    sql = (
        f"SELECT COUNT(*) FROM {quote(database)}.{quote(table)} WHERE CAST({name} AS DOUBLE) <> "
        f"CAST(CAST(CONCAT({name}) AS FLOAT) AS DOUBLE)"
    )
    try:
        return int(server.value(sql))
    except QueryFailed:
        return None


def _empty_members(server: Server, database: str) -> Iterator[TextLoss]:
    columns = server.query(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE "
        "FROM information_schema.COLUMNS c JOIN information_schema.TABLES t "
        "ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
        "WHERE c.TABLE_SCHEMA = %s AND c.DATA_TYPE IN ('enum', 'set') AND t.TABLE_TYPE <> 'VIEW'",
        (database,),
    )
    for table, column, kind, members in columns:
        inside = members[members.index("(") + 1 : -1]
        if "''" not in inside.replace("'''", "").split(","):
            continue
        name = quote(column)
        lost = (
            f"{name} + 0 = 0" if kind == "enum" else f"FIND_IN_SET('', {name}) AND {name} + 0 > 0"
        )
        sql = f"SELECT COUNT(*) FROM {quote(database)}.{quote(table)} WHERE {lost}"
        try:
            count = int(server.value(sql))
        except QueryFailed:
            count = -1
        if count:
            values = None if count < 0 else count
            yield TextLoss(table=table, column=column, what=EMPTY_MEMBER, values=values)


def _cycled_sequences(server: Server, database: str, found: Catalogue) -> Iterator[TextLoss]:
    for name in found.names(ObjectKind.SEQUENCE):
        sequence = f"{quote(database)}.{quote(name)}"
        if server.value(f"SELECT cycle_count FROM {sequence}"):
            yield TextLoss(table=name, column="", what=CYCLES, values=1)
