"""Keys that rows can be cut by: which one a table has, and ranges of it as SQL.

A boundary is a tuple of values as they stand in row packets (text, in the column's own charset).
A range is ``begin <= key < end`` in the order of the key; a boundary may name the first columns of
the key only. Every row is on exactly one side of a boundary, whatever the collation, because both
sides are compared by the server, with the column's own collation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ulasis_backup.mysql.server import Server, quote

Boundary = tuple[bytes, ...]

INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
NUMBERS = INTEGERS | {"decimal"}
MOMENTS = frozenset({"date", "datetime", "timestamp", "time"})
TEXTS = frozenset({"char", "varchar"})
BYTES = frozenset({"binary", "varbinary"})
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

    That is also the key by which InnoDB stores the rows.
    """
    rows = server.query(
        "SELECT s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART, s.COLLATION, s.NULLABLE, s.INDEX_TYPE, "
        "c.DATA_TYPE, c.CHARACTER_SET_NAME, c.COLLATION_NAME "
        "FROM information_schema.STATISTICS s LEFT JOIN information_schema.COLUMNS c "
        "ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME "
        "AND c.COLUMN_NAME = s.COLUMN_NAME "
        "WHERE s.TABLE_SCHEMA = %s AND s.TABLE_NAME = %s AND s.NON_UNIQUE = 0 "
        "ORDER BY s.INDEX_NAME <> 'PRIMARY', s.INDEX_NAME, s.SEQ_IN_INDEX",
        (database, table),
    )
    by_name: dict[str, list[tuple[object, ...]]] = {}
    for row in rows:
        by_name.setdefault(str(row[0]), []).append(row[1:])
    for name, columns in by_name.items():
        if all(_can_order(column) for column in columns):
            listed = tuple(_key_column(column) for column in columns)
            return Key(index=name, columns=listed, cuttable=_cuttable(columns))
    return None


def bounds(server: Server, database: str, table: str, key: Key) -> tuple[int, int] | None:
    """Return the smallest and the largest value of *key*'s first column, an integer.

    None for a table without rows.
    """
    column = quote(key.columns[0].name)
    name = f"{quote(database)}.{quote(table)}"
    low, high = server.query(f"SELECT MIN({column}), MAX({column}) FROM {name}")[0]
    return None if low is None else (int(low), int(high))


def condition(key: Key, begin: Boundary | None, end: Boundary | None) -> str:
    """Return the WHERE condition of a range; empty where it has no bounds."""
    parts = []
    if begin is not None:
        parts.append(_bound(key, begin, after=True))
    if end is not None:
        parts.append(_bound(key, end, after=False))
    return " AND ".join(parts)


def _can_order(column: Sequence[object]) -> bool:
    """Tell whether rows have one order by *column*: a whole, visible, non-null column."""
    name, sub_part, _, nullable, index_type, kind, *_ = column
    return (
        name is not None
        and sub_part is None
        and str(nullable).upper() != "YES"
        and str(index_type).upper() == "BTREE"
        and kind is not None
    )


def _cuttable(columns: Sequence[Sequence[object]]) -> bool:
    known = NUMBERS | MOMENTS | TEXTS | BYTES
    return all(str(c[5]).lower() in known and str(c[2]).upper() == "A" for c in columns)


def _key_column(column: Sequence[object]) -> KeyColumn:
    name, _, _, _, _, kind, charset, collation = column
    return KeyColumn(
        name=str(name),
        kind=str(kind).lower(),
        charset=str(charset or ""),
        collation=str(collation or ""),
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
