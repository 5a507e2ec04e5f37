"""Keys that rows can be cut by: which one a table has, and ranges of it as SQL.

A boundary is a tuple of values as they stand in row packets (text, in the column's own charset).
A range is ``begin <= key < end`` in the order of the key; a boundary may name the first columns of
the key only. Every row is on exactly one side of a boundary, whatever the collation, because both
sides are compared by the server, with the column's own collation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ulasis_backup.mysql.server import Server, quote, quote_bytes

Boundary = tuple[bytes, ...]

# Not YEAR: MySQL takes a number beside it for a year of two digits, or for none, and rows are lost.
INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
NUMBERS = INTEGERS | {"decimal"}
MOMENTS = frozenset({"date", "datetime", "timestamp", "time"})
TEXTS = frozenset({"char", "varchar"})
BYTES = frozenset({"binary", "varbinary"})
_CUTTABLE = NUMBERS | MOMENTS | TEXTS | BYTES
_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?")
_MOMENT = re.compile(rb"[-0-9:. ]+")
_WORD = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """One column of a key. ``charset`` and ``collation`` are empty where it has none."""

    name: str
    kind: str
    charset: str = ""
    collation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The key that a table's rows are ordered by.

    ``cuttable`` tells whether ranges of it can be asked for; else its order is all it is good for.
    """

    index: str
    columns: tuple[KeyColumn, ...]
    cuttable: bool

    @property
    def order(self) -> str:
        """Return the ORDER BY list."""
        return ", ".join(quote(column.name) for column in self.columns)

    @property
    def by_integer(self) -> bool:
        """Tell whether the first column is an integer, so that points between can be guessed."""
        return self.columns[0].kind in INTEGERS


def table_key(server: Server, database: str, table: str) -> Key | None:
    """Return the primary key of *table*, else its first unique key without NULLs, else None.

    That is also the key by which InnoDB stores the rows. Keys that the optimizer is told to
    overlook cannot be asked for.
    """
    kinds = _column_kinds(server, database, table)
    by_name: dict[str, list[_Part]] = {}
    # Not from information_schema.STATISTICS: MySQL lists the keys there in another order.
    for row in server.run_bytes(
        b"SHOW INDEX FROM %s.%s" % (quote_bytes(database), quote_bytes(table))
    ):
        if not int(row["Non_unique"]):
            part = _part(row, kinds)
            by_name.setdefault(str(row["Key_name"], "utf-8"), []).append(part)
    for name, parts in by_name.items():
        columns = [part.column for part in parts if part.column]
        if len(columns) == len(parts) and all(part.orders for part in parts):
            cuttable = all(
                part.ascending and column.kind in _CUTTABLE
                for part, column in zip(parts, columns, strict=True)
            )
            return Key(index=name, columns=tuple(columns), cuttable=cuttable)
    return None


def bounds(server: Server, database: str, table: str, key: Key) -> tuple[int, int] | None:
    """Return the smallest and the largest value of *key*'s first column, an integer.

    None for a table without rows.
    """
    column = quote(key.columns[0].name)
    name = f"{quote(database)}.{quote(table)}"
    # HIGH_PRIORITY: see columns.rows_select.
    asked = f"SELECT HIGH_PRIORITY MIN({column}), MAX({column}) FROM {name}"
    low, high = server.query(asked)[0]
    return None if low is None else (int(low), int(high))


def condition(key: Key, begin: Boundary | None, end: Boundary | None) -> str:
    """Return the WHERE condition of a range; empty where it has no bounds."""
    parts = []
    if begin is not None:
        parts.append(_bound(key, begin, after=True))
    if end is not None:
        parts.append(_bound(key, end, after=False))
    return " AND ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One part of a key; ``column`` is None where it is an expression.

    ``orders`` tells whether rows have one order by it: a whole column without NULLs.
    """

    column: KeyColumn | None
    orders: bool
    ascending: bool


def _column_kinds(server: Server, database: str, table: str) -> dict[str, KeyColumn]:
    rows = server.query(
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLLATION_NAME "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, table),
    )
    return {
        str(name): KeyColumn(
            name=str(name),
            kind=str(kind).lower(),
            charset=str(charset or ""),
            collation=str(collation or ""),
        )
        for name, kind, charset, collation in rows
    }


def _part(row: Mapping[str, Any], kinds: Mapping[str, KeyColumn]) -> _Part:
    """Return what a row of SHOW INDEX says, all of it bytes; MySQL and MariaDB hide differently."""
    name = row["Column_name"]
    hidden = row.get("Visible", b"YES") == b"NO" or row.get("Ignored", b"NO") == b"YES"
    return _Part(
        column=None if name is None else kinds.get(str(name, "utf-8")),
        orders=(
            row["Sub_part"] is None
            and row["Null"] != b"YES"
            and row["Index_type"].upper() == b"BTREE"
            and not hidden
        ),
        ascending=row["Collation"] == b"A",
    )


def _bound(key: Key, boundary: Boundary, *, after: bool) -> str:
    """Return the condition for the rows from *boundary* on, or for those before it.

    ``(a, b) >= (x, y)`` would be right as well, and no server uses an index for it.
    """
    columns = key.columns[: len(boundary)]
    names = [quote(column.name) for column in columns]
    values = [literal(column, value) for column, value in zip(columns, boundary, strict=True)]
    sharp, last = (">", ">=") if after else ("<", "<")
    if len(names) == 1:
        return f"{names[0]} {last} {values[0]}"
    ways = []
    for depth in range(len(names)):
        same = [f"{names[i]} = {values[i]}" for i in range(depth)]
        sign = last if depth == len(names) - 1 else sharp
        ways.append("(" + " AND ".join([*same, f"{names[depth]} {sign} {values[depth]}"]) + ")")
    rough = f"{names[0]} {sharp}= {values[0]}"
    return f"{rough} AND ({' OR '.join(ways)})"


def literal(column: KeyColumn, value: bytes) -> str:
    """Return *value* of *column* as SQL that compares exactly as the column itself does."""
    if column.kind in NUMBERS and _NUMBER.fullmatch(value):
        return value.decode()
    if column.kind in MOMENTS and _MOMENT.fullmatch(value):
        return f"'{value.decode()}'"
    if column.kind in BYTES:
        return f"x'{value.hex()}'"
    if (
        column.kind in TEXTS
        and _WORD.fullmatch(column.charset)
        and _WORD.fullmatch(column.collation)
    ):
        return f"_{column.charset} x'{value.hex()}' COLLATE {column.collation}"
    msg = f"no literal for a {column.kind} key"
    raise ValueError(msg)
