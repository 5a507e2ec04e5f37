"""How the columns of a table are read and written so that every value comes back.

Most values survive as the text that the server sends. Those that do not are asked for in another
form, and are given back through an expression; docs/design.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ulasis_backup.mysql.server import Server, quote

NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year"})
MOMENTS = frozenset({"date", "datetime", "timestamp", "time"})
ADDRESSES = frozenset({"uuid", "inet4", "inet6"})
AS_TEXT = "CONVERT({} USING utf8mb4)"
AS_NUMBER = "{} | 0"
"""Of an ENUM or a SET: exact to 64 members, while ``+ 0`` is signed one way and a DOUBLE the other.
"""
GENERATED = ("VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT")
PERIOD = ("ROW START", "ROW END")
HISTORY = " FOR SYSTEM_TIME ALL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: ``select`` is the expression that reads it.

    ``bind`` is the expression that writes a value, ``{}`` the value. ``literal`` tells how a
    value is written as SQL: ``number`` as it is, ``moment`` in quotes (approximate numbers too),
    ``bytes`` in hexadecimal.
    With ``zero_warns`` the server warns of each 0 that is written, rightly stored all the same.
    """

    name: str
    kind: str
    select: str
    bind: str = "{}"
    literal: str = "bytes"
    charset: str = ""
    collation: str = ""
    nullable: bool = True
    zero_warns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """A table and the columns that hold its data; ``suffix`` stands behind its name in FROM."""

    database: str
    table: str
    columns: tuple[Column, ...]
    suffix: str = ""
    versioned: bool = False


def row_source(server: Server, database: str, table: str) -> RowSource:
    """Return how the rows of *table* are read: generated columns left out, invisible ones in.

    Of a system-versioned table the history is read as well: its two last columns are the begin
    and the end of a row's time. Not where these are numbers of transactions, which nobody can
    write: of those ``losses.inexact_columns`` tells.
    """
    kind = server.value(
        "SELECT TABLE_TYPE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, table),
    )
    rows = server.query(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, EXTRA, GENERATION_EXPRESSION, IS_NULLABLE, "
        "CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (database, table),
    )
    columns = [_column(server, row) for row in rows if not _is_generated(row)]
    versioned = kind == "SYSTEM VERSIONED" and not any(_is_transaction(row) for row in rows)
    return RowSource(
        database=database,
        table=table,
        columns=(*columns, *_times(rows)) if versioned else tuple(columns),
        suffix=HISTORY if versioned else "",
        versioned=versioned,
    )


def rows_select(source: RowSource, *, where: str = "", order_by: str = "", index: str = "") -> str:
    """Return the SELECT of *source*'s rows; *index* is the one that the server must use.

    HIGH_PRIORITY matters for tables without transactions alone: on MariaDB a writer that waits for
    our lock on one would make this wait behind itself, for ever.
    """
    listed = ", ".join(column.select for column in source.columns)
    table = f"{quote(source.database)}.{quote(source.table)}{source.suffix}"
    hint = f" FORCE INDEX ({quote(index)})" if index else ""
    condition = f" WHERE {where}" if where else ""
    order = f" ORDER BY {order_by}" if order_by else ""
    return f"SELECT HIGH_PRIORITY {listed} FROM {table}{hint}{condition}{order}"


def _is_generated(row: Sequence[object]) -> bool:
    return any(word in str(row[3]).upper() for word in GENERATED)


def _is_transaction(row: Sequence[object]) -> bool:
    """Tell whether a column is the begin or the end of a row's time as a transaction's number."""
    return str(row[4] or "").upper() in PERIOD and str(row[1]).lower() == "bigint"


def _times(rows: Sequence[Sequence[object]]) -> tuple[Column, Column]:
    """Return the columns of a row's time: named by the table's author, or hidden ones."""
    named = {str(row[4] or "").upper(): str(row[0]) for row in rows}
    begin = named.get("ROW START", "row_start")
    end = named.get("ROW END", "row_end")
    return _moment(begin), _moment(end)


def _moment(name: str) -> Column:
    return Column(name=name, kind="timestamp", select=quote(name), literal="moment", nullable=False)


def _column(server: Server, row: Sequence[object]) -> Column:
    name, kind, full, _, _, nullable, charset, collation = (str(value or "") for value in row)
    kind = kind.lower()
    select, bind, literal = _form(server, quote(name), kind, full)
    return Column(
        name=name,
        kind=kind,
        select=select,
        bind=bind,
        literal=literal,
        charset=charset,
        collation=collation,
        nullable=nullable == "YES",
        zero_warns=kind == "enum",
    )


def _form(server: Server, name: str, kind: str, full: str) -> tuple[str, str, str]:
    """Return how a column is read, how it is written, and how a value of it looks in SQL."""
    if kind in ("float", "double"):
        # FLOAT's text has six digits: different values would give equal packets. In quotes, for a
        # bare -0 is an integer, and that has no sign.
        return f"CAST({name} AS DOUBLE)" if kind == "float" else name, "{}", "moment"
    if kind == "enum" or (kind == "set" and _has_empty_member(full)):
        # An empty label and the error value look alike as text.
        return AS_NUMBER.format(name), AS_NUMBER, "number"
    if kind == "json" and not server.is_mariadb:
        return name, AS_TEXT, "bytes"
    if kind in ADDRESSES:
        return name, AS_TEXT, "bytes"
    if kind in NUMBERS:
        return name, "{}", "number"
    return name, "{}", "moment" if kind in MOMENTS else "bytes"


def _has_empty_member(full: str) -> bool:
    return (
        full.startswith("set('',") or ",''," in full or full.endswith(",'')") or full == "set('')"
    )
