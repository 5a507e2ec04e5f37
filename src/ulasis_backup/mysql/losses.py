"""What mysqldump's text cannot hold, and what row packets cannot, found so that it can be named.

Each table with a column of a doubtful type is read once. FLOAT is printed with six significant
digits. Text in some character sets is not the same after it went through utf8mb4. A member ``''``
of an ENUM or SET cannot be told from "no value". A sequence's number of cycles has no statement
that sets it. Row packets lose none of these; with the text they share MySQL's JSON, whose values
have types that its text does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import DumpFailed
from ulasis_backup.model import ObjectKind, TextLoss
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, quote

_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'")
FLOAT = "digits of FLOAT beyond the sixth"
CONVERTED = "text in a character set that does not survive utf8mb4 and back"
HALVES = "halves of surrogate pairs in UCS-2, UTF-16 or UTF-32"
SAFE_CHARACTER_SETS = frozenset(
    {
        "utf8mb4", "utf8mb3", "utf8", "ucs2", "utf16", "utf16le", "utf32", "latin1", "latin2",
        "latin5", "latin7", "cp850", "cp852", "cp866", "koi8r", "koi8u", "macce", "macroman",
        "keybcs2", "binary",
    }
)  # fmt: skip
"""Every byte of these comes back; found by trying all values of one and two bytes on 10.11."""

SURROGATES = frozenset({"ucs2", "utf16", "utf16le", "utf32"})
"""On MySQL a half of a pair alone, which these can hold, becomes a question mark."""

EMPTY_MEMBER = "ENUM or SET values with the member ''"
LABELS = "ENUM or SET labels that SHOW CREATE TABLE prints as '?'"
OPTIONS = "options of table or column that the server does not know"
COMMENT = "the COMMENT of a routine made in another character set"
TYPED_JSON = "types inside JSON that its text does not have (DECIMAL, DATE, TIME, BLOB and such)"
TRANSACTIONS = "history that the server keeps by its own transaction numbers"
CYCLES = "the number of cycles of a sequence"


def find_losses(server: Server, database: str, found: Catalogue) -> tuple[TextLoss, ...]:
    """Return what a dump of *database* would lose; tables with FLOAT columns are read once.

    Raises DumpFailed where the loss would make the dump unloadable: values of a unique key that
    print alike.
    """
    losses = [*_floats(server, database), *_empty_members(server, database)]
    losses += _converted_text(server, database)
    losses += _cycled_sequences(server, database, found)
    if not server.is_mariadb:
        columns = _columns(server, database, "c.DATA_TYPE = 'json'")
        losses += _typed_json(server, database, columns)
    losses += _unknown_options(server, database, found)
    losses += _foreign_comments(server, database)
    return tuple(losses)


def inexact_columns(server: Server, database: str, tables: Sequence[str]) -> tuple[TextLoss, ...]:
    """Return what the row packets of *tables* cannot hold; JSON columns of MySQL are read once.

    A typed value inside JSON comes back as what its text says: a DECIMAL as DOUBLE, a DATE as
    STRING. Not counted is a small UNSIGNED INTEGER that comes back as INTEGER: it is the same
    number. Tables with history by transaction numbers come back with their present rows.
    """
    wanted = set(tables)
    if server.is_mariadb:
        return tuple(loss for loss in _transactions(server, database) if loss.table in wanted)
    columns = _columns(server, database, "c.DATA_TYPE = 'json'")
    return tuple(_typed_json(server, database, [c for c in columns if c.table in wanted]))


def _typed_json(server: Server, database: str, columns: Sequence[_Column]) -> Iterator[TextLoss]:
    for column in columns:
        value = quote(column.name)
        again = f"CAST(CONVERT({value} USING utf8mb4) AS JSON)"
        # Values of other types are unequal, but for DECIMAL and DOUBLE: of these the one takes
        # more bytes. Within an array, for a column may hold room that an update has freed.
        size = "JSON_STORAGE_SIZE(JSON_ARRAY({}))"
        differs = f"{value} <> {again} OR {size.format(value)} <> {size.format(again)}"
        yield from _loss(server, database, column, what=TYPED_JSON, differs=differs)


def _transactions(server: Server, database: str) -> Iterator[TextLoss]:
    rows = server.query(
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
        "AND GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint'",
        (database,),
    )
    for table, column in rows:
        yield TextLoss(table=table, column=column, what=TRANSACTIONS, values=None)


def _floats(server: Server, database: str) -> Iterator[TextLoss]:
    for column in _columns(server, database, "c.DATA_TYPE = 'float'"):
        name = quote(column.name)
        differs = f"CAST({name} AS DOUBLE) <> CAST(CAST(CONCAT({name}) AS FLOAT) AS DOUBLE)"
        yield from _loss(server, database, column, what=FLOAT, differs=differs)


def _converted_text(server: Server, database: str) -> Iterator[TextLoss]:
    names = SAFE_CHARACTER_SETS if server.is_mariadb else SAFE_CHARACTER_SETS - SURROGATES
    safe = ", ".join(f"'{name}'" for name in sorted(names))
    wanted = f"c.CHARACTER_SET_NAME NOT IN ({safe}) AND c.DATA_TYPE NOT IN ('enum', 'set')"
    for column in _columns(server, database, wanted):
        name = quote(column.name)
        back = f"CONVERT(CONVERT({name} USING utf8mb4) USING {column.character_set})"
        differs = f"CAST({back} AS BINARY) <> CAST({name} AS BINARY)"
        what = HALVES if column.character_set in SURROGATES else CONVERTED
        yield from _loss(server, database, column, what=what, differs=differs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    table: str
    name: str
    character_set: str
    in_unique_key: bool


def _columns(server: Server, database: str, wanted: str) -> list[_Column]:
    """Return the stored columns of base tables that the condition *wanted* picks."""
    rows = server.query(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME, COALESCE(c.CHARACTER_SET_NAME, ''), "
        "EXISTS (SELECT 1 FROM information_schema.STATISTICS s "
        "WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME "
        "AND s.COLUMN_NAME = c.COLUMN_NAME AND s.NON_UNIQUE = 0) "
        "FROM information_schema.COLUMNS c JOIN information_schema.TABLES t "
        "ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
        f"WHERE c.TABLE_SCHEMA = %s AND {wanted} AND t.TABLE_TYPE <> 'VIEW' "
        "AND COALESCE(c.GENERATION_EXPRESSION, '') = ''",
        (database,),
    )
    return [
        _Column(table=table, name=name, character_set=charset, in_unique_key=bool(unique))
        for table, name, charset, unique in rows
    ]


def _loss(
    server: Server, database: str, column: _Column, *, what: str, differs: str
) -> Iterator[TextLoss]:
    """Count the values of *column* for which *differs* holds; none is no loss."""
    sql = f"SELECT COUNT(*) FROM {quote(database)}.{quote(column.table)} WHERE {differs}"
    try:
        values = int(server.value(sql))
    except QueryFailed:
        values = -1
    if values > 0 and column.in_unique_key:
        where = f"{database}.{column.table}.{column.name}"
        message = f"values in a unique key may print alike: {where}: {what}"
        hint = "an sql dump of it may not load; use DOUBLE or DECIMAL, or utf8mb4, for the column"
        raise DumpFailed(message, hint=hint)
    if values:
        yield TextLoss(
            table=column.table,
            column=column.name,
            what=what,
            values=None if values < 0 else values,
        )


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
