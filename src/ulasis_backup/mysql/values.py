"""A database read by value, in a way that owes nothing to how backups read it.

Every value becomes text that tells it apart from any other of its type: hexadecimal digits of its
bytes, the digits of a DOUBLE, the number of an ENUM. Definitions are what SHOW CREATE says. It is
slow, and for small databases: rows are held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from ulasis_backup.mysql import schema
from ulasis_backup.mysql.definitions import TABLE, Definition, digest_bytes, read_definitions
from ulasis_backup.mysql.server import Row, Server, quote

LONGEST = 2000
"""Letters of a value from which on its digest stands for it."""

_SHAPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
     "geometrycollection", "geomcollection", "vector"}
)  # fmt: skip
_POSITIONS = ("auto_increment", "position", "cycles")

Values = Mapping[str, str]
"""Digests by what they are of: ``rows of table t``, ``view v``, ``position of sequence s``."""


def read_values(server: Server, database: str) -> Values:
    """Return a digest of everything in *database* that has to come back."""
    found = schema.catalogue(server, database)
    values = {"database": str(schema.database_options(server, database))}
    for definition in read_definitions(server, database, found):
        label = f"{definition.kind} {definition.name}"
        values[label] = _digest([digest_bytes(definition)])
        positions = [f"{k}={v}" for k, v in sorted(definition.extra.items()) if k in _POSITIONS]
        if positions:
            values[f"position of {label}"] = " ".join(positions)
        if definition.kind == TABLE:
            values[f"rows of {label}"] = _rows(server, database, definition)
    return values


def lost(before: Values, after: Values) -> tuple[str, ...]:
    """Return the names of all that is not the same in both, sorted."""
    names = before.keys() | after.keys()
    return tuple(sorted(name for name in names if before.get(name) != after.get(name)))


def _rows(server: Server, database: str, table: Definition) -> str:
    columns = [
        (str(name), _kind(server, str(kind)))
        for name, kind in server.query(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (database, table.name),
        )
    ]
    name = f"{quote(database)}.{quote(table.name)}"
    if b"WITH SYSTEM VERSIONING" in table.text:
        name += " FOR SYSTEM_TIME ALL"
        if b"ROW START" not in table.text:
            columns += [("row_start", "timestamp"), ("row_end", "timestamp")]
    listed = ", ".join(_exactly(column, kind) for column, kind in columns)
    rows = server.query(f"SELECT {listed} FROM {name}")
    return f"{len(rows)} {_digest(sorted(_lines(rows)))}"


def _kind(server: Server, kind: str) -> str:
    """Return the type of a column; JSON of MySQL is another type than that of MariaDB."""
    return "typed json" if kind == "json" and not server.is_mariadb else kind


def _exactly(column: str, kind: str) -> str:
    """Return an expression that tells any two values of *column* apart."""
    name = quote(column)
    if kind == "float":
        return f"CAST({name} AS DOUBLE)"
    if kind in ("enum", "set", "bit"):
        return f"{name} + 0"
    if kind == "typed json":
        # Equal text may hide values of different types.
        return f"CONCAT(JSON_STORAGE_SIZE(JSON_ARRAY({name})), SHA2(CAST({name} AS BINARY), 256))"
    text = f"HEX({name})" if kind in _SHAPES else f"HEX(CAST({name} AS BINARY))"
    return f"IF(LENGTH({text}) > {LONGEST}, SHA2({text}, 256), {text})"


def _lines(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield repr(row).encode("utf-8", "surrogateescape") + b"\n"


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
