"""What mysqldump's text cannot hold, found beforehand so that it can be named.

FLOAT is printed with six significant digits. A member ``''`` of an ENUM or SET cannot be told
from "no value". A sequence's number of cycles has no statement that sets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ulasis_backup.errors import DumpFailed
from ulasis_backup.model import ObjectKind, TextLoss
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, quote

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'")
FLOAT = "digits of FLOAT beyond the sixth"
EMPTY_MEMBER = "ENUM or SET values with the member ''"
LABELS = "ENUM or SET labels that SHOW CREATE TABLE prints as '?'"
OPTIONS = "options of table or column that the server does not know"
COMMENT = "the COMMENT of a routine made in another character set"
CYCLES = "the number of cycles of a sequence"


def find_losses(server: Server, database: str, found: Catalogue) -> tuple[TextLoss, ...]:
    """Return what a dump of *database* would lose; tables with FLOAT columns are read once.

    Raises DumpFailed where the loss would make the dump unloadable: values of a unique key that
    print alike.
    """
    losses = [*_floats(server, database), *_empty_members(server, database)]
    losses += _cycled_sequences(server, database, found)
    losses += _unknown_options(server, database, found)
    losses += _foreign_comments(server, database)
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
        if "?" in members:
            yield TextLoss(table=table, column=column, what=LABELS, values=None)
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


def _unknown_options(server: Server, database: str, found: Catalogue) -> Iterator[TextLoss]:
    for table in found.tables:
        if table.is_sequence or table.engine is None:
            continue
        try:
            row = server.query(f"SHOW CREATE TABLE {quote(database)}.{quote(table.name)}")[0]
        except QueryFailed:
            continue
        # What the server does not know it prints as a comment.
        if "/* `" in _QUOTED.sub("", str(row[1])):
            yield TextLoss(table=table.name, column="", what=OPTIONS, values=None)


def _foreign_comments(server: Server, database: str) -> Iterator[TextLoss]:
    rows = server.query(
        "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s "
        "AND CHARACTER_SET_CLIENT NOT IN ('utf8mb4', 'utf8mb3', 'utf8') "
        "AND ROUTINE_COMMENT <> CONVERT(ROUTINE_COMMENT USING ascii)",
        (database,),
    )
    for (name,) in rows:
        yield TextLoss(table=name, column="", what=COMMENT, values=1)


def _cycled_sequences(server: Server, database: str, found: Catalogue) -> Iterator[TextLoss]:
    for name in found.names(ObjectKind.SEQUENCE):
        sequence = f"{quote(database)}.{quote(name)}"
        if server.value(f"SELECT cycle_count FROM {sequence}"):
            yield TextLoss(table=name, column="", what=CYCLES, values=1)
