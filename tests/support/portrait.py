"""What a database holds, read from the server in ways that owe nothing to our own code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from support.server import MYSQL, servers_folder
from ulasis_backup.methods import load
from ulasis_backup.mysql.server import Server, quote

SUPPORT = Path(__file__).parent
SHOWN = {
    "procedure": ("PROCEDURE", "ROUTINES", "ROUTINE_NAME", "ROUTINE_SCHEMA", "ROUTINE_TYPE"),
    "function": ("FUNCTION", "ROUTINES", "ROUTINE_NAME", "ROUTINE_SCHEMA", "ROUTINE_TYPE"),
    "package": ("PACKAGE", "ROUTINES", "ROUTINE_NAME", "ROUTINE_SCHEMA", "ROUTINE_TYPE"),
    "package body": ("PACKAGE BODY", "ROUTINES", "ROUTINE_NAME", "ROUTINE_SCHEMA", "ROUTINE_TYPE"),
    "event": ("EVENT", "EVENTS", "EVENT_NAME", "EVENT_SCHEMA", ""),
    "view": ("VIEW", "TABLES", "TABLE_NAME", "TABLE_SCHEMA", "TABLE_TYPE"),
}

Portrait = dict[str, object]


def portrait(server: Server, database: str) -> Portrait:
    """Return everything about *database* that has to come back, each thing under a name."""
    found: Portrait = {}
    # SHOW CREATE VIEW leaves out the name of the session's own database.
    server.run("USE mysql")
    comment = ", SCHEMA_COMMENT" if server.is_mariadb else ""
    found["database"] = server.query(
        f"SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME{comment} "
        "FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        (database,),
    )
    for name, kind in _tables(server, database):
        if kind == "SEQUENCE":
            _add_sequence(server, database, name, found)
        elif kind != "VIEW":
            _add_table(server, database, name, found)
    for kind in SHOWN:
        for name in _names(server, database, kind):
            found[f"{kind} {name}"] = _show(server, database, SHOWN[kind][0], name)
    for row in server.query(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER "
        "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
        (database,),
    ):
        # The last column is the time of its creation.
        found[f"trigger {row[0]}"] = row[1:], _show(server, database, "TRIGGER", row[0])[:6]
    return found


def different(before: Portrait, after: Portrait) -> set[str]:
    """Return the names of all things that are not the same in both."""
    names = before.keys() | after.keys()
    return {name for name in names if before.get(name) != after.get(name)}


def load_script(server: Server, database: str, path: Path) -> None:
    """Load *path*, a script for the client program, into *database*."""
    folder = None if server.is_mariadb else servers_folder(MYSQL)
    load.run_script(iter([path.read_bytes()]), server, database, programs_folder=folder)


def load_sample(server: Server, database: str) -> None:
    """Load a quarter of the sample of ``demo`` into *database*: all it has of kinds, fewer rows."""
    text = resources.files("ulasis_backup").joinpath("data/sample.sql").read_text(encoding="utf-8")
    for rows in (24_000, 38_000, 62_000):
        assert f"<= {rows}" in text
        text = text.replace(str(rows), str(rows // 4))
    load.run_script(iter([text.encode()]), server, database)


def load_blocks(
    server: Server, database: str, path: Path, *, leave: tuple[str, ...] = (), only: str = ""
) -> None:
    """Load the parts of *path*, each of which begins with a line ``-- == name``."""
    head, *parts = path.read_text(encoding="utf-8").split("\n-- == ")
    kept = [
        part
        for part in parts
        if (name := part.partition("\n")[0]) == "session"
        or (name not in leave and only in ("", name))
    ]
    assert head
    text = "".join(f"\n-- == {part}" for part in kept)
    load.run_script(iter([text.encode()]), server, database)


def _tables(server: Server, database: str) -> list[tuple[str, str]]:
    rows = server.query(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return [(str(name), str(kind)) for name, kind in rows]


def _names(server: Server, database: str, kind: str) -> list[str]:
    program, table, name, schema, kind_column = SHOWN[kind]
    where = f" AND {kind_column} = '{program}'" if kind_column else ""
    rows = server.query(
        f"SELECT {name} FROM information_schema.{table} WHERE {schema} = %s{where}", (database,)
    )
    return [str(row[0]) for row in rows]


def _show(server: Server, database: str, kind: str, name: str) -> tuple[bytes, ...]:
    # As bytes: a routine of a latin1 client is shown in latin1, whatever our session says.
    server.connection.use_unicode = False
    try:
        return tuple(server.query(f"SHOW CREATE {kind} {quote(database)}.{quote(name)}")[0])
    finally:
        server.connection.use_unicode = True


def _add_sequence(server: Server, database: str, name: str, found: Portrait) -> None:
    found[f"sequence {name}"] = _show(server, database, "SEQUENCE", name)
    found[f"position of sequence {name}"] = server.query(
        f"SELECT next_not_cached_value, cycle_count FROM {quote(database)}.{quote(name)}"
    )


def _add_table(server: Server, database: str, name: str, found: Portrait) -> None:
    table = f"{quote(database)}.{quote(name)}"
    definition = _show(server, database, "TABLE", name)[1]
    found[f"table {name}"] = definition
    columns = server.query(
        "SELECT COLUMN_NAME, DATA_TYPE, EXTRA, GENERATION_EXPRESSION, ORDINAL_POSITION "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s "
        "ORDER BY ORDINAL_POSITION",
        (database, name),
    )
    if b"WITH SYSTEM VERSIONING" in definition:
        table += " FOR SYSTEM_TIME ALL"
        hidden = any("ROW START" in str(column[3]) for column in columns)
        columns += [] if hidden else [("row_start", "timestamp", "", "", 0)]
        columns += [] if hidden else [("row_end", "timestamp", "", "", 0)]
    elif server.is_mariadb and not any("GENERATED" in str(column[2]) for column in columns):
        # With generated columns, VIRTUAL or STORED, the server's checksum of a table that nobody
        # touches is another one after FLUSH TABLES; MySQL's differs between equal tables with a
        # multi-valued index. The rows below are compared all the same.
        found[f"checksum of table {name}"] = server.query(f"CHECKSUM TABLE {table}")[0][1]
    kinds = [(str(column), _kind(server, str(kind))) for column, kind, *_ in columns]
    listed = ", ".join(_exactly(column, kind) for column, kind in kinds)
    rows = server.query(f"SELECT {listed} FROM {table}")
    found[f"rows of table {name}"] = len(rows), _digest(rows)


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
    return f"IF(LENGTH({text}) > 2000, SHA2({text}, 256), {text})"


_SHAPES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
     "geometrycollection", "geomcollection", "vector"}
)  # fmt: skip


def _digest(rows: list[tuple[object, ...]]) -> str:
    digest = hashlib.sha256()
    for line in sorted(_lines(rows)):
        digest.update(line)
    return digest.hexdigest()


def _lines(rows: list[tuple[object, ...]]) -> Iterator[bytes]:
    for row in rows:
        yield repr(row).encode("utf-8", "surrogateescape") + b"\n"
