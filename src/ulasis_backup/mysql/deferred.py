"""Tables created without secondary keys, which are added when the rows are in: loading is faster.

Whether both steps give the same table as one is not derived but tried, on an empty table.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ulasis_backup.errors import LoadFailed
from ulasis_backup.mysql.creation import create, persistently, run
from ulasis_backup.mysql.definitions import Definition, read_table
from ulasis_backup.mysql.prepared import prepared
from ulasis_backup.mysql.server import QueryFailed, Server, quote_bytes
from ulasis_backup.mysql.tokens import QUOTED, STRING, table_items

_NAME = re.compile(rb"CREATE TABLE (" + QUOTED + rb") ", re.DOTALL)
_KEY = re.compile(rb"(?:UNIQUE |SPATIAL )?KEY ")
_FOREIGN = re.compile(rb"CONSTRAINT " + QUOTED + rb" FOREIGN KEY ", re.DOTALL)
_COLUMN = re.compile(QUOTED, re.DOTALL)
_FIRST_PART = re.compile(rb"KEY " + QUOTED + rb"[^(]*\((" + QUOTED + rb")", re.DOTALL)
_QUOTED = re.compile(QUOTED + rb"|" + STRING, re.DOTALL)
_PLAIN = re.compile(rb"\)(?: /\*!\d+ [^*]*\*/)? ENGINE=InnoDB\b")
_WHOLE = re.compile(rb"PARTITION BY|WITH SYSTEM VERSIONING")
_HELD = re.compile(rb"USING HASH|WITHOUT OVERLAPS")
"""Keys with hidden columns: to add them later copies the whole table."""


def split_keys(text: bytes) -> tuple[bytes, list[bytes]] | None:
    """Return a CREATE TABLE without secondary keys, and the ALTER TABLEs that add them.

    Foreign keys, if any, are the last ALTER, apart from the others: they can wait until all
    tables are loaded. The PRIMARY KEY and what AUTO_INCREMENT needs stay, full-text keys too
    (InnoDB would build the table anew for the first one, and add one at a time). None where the
    table is to be created whole: nothing to defer, no InnoDB, partitions, versions.
    """
    name, found = _NAME.match(text), table_items(text)
    if not name or not found:
        return None
    begin, items, end = found
    options = _QUOTED.sub(b"", text[end:])
    if not _PLAIN.match(options) or _WHOLE.search(options):
        return None
    keys = [item for item in items if _KEY.match(item) and not _needed(item, items)]
    foreign = [item for item in items if _FOREIGN.match(item)]
    if not keys and not foreign:
        return None
    kept = [item for item in items if item not in keys and item not in foreign]
    create_text = text[: begin + 1] + b"\n  " + b",\n  ".join(kept) + b"\n" + text[end:]
    alters = [
        b"ALTER TABLE %s %s" % (name[1], b", ".join(b"ADD " + item for item in added))
        for added in (keys, foreign)
        if added
    ]
    return create_text, alters


def adds_foreign_keys(alter: bytes) -> bool:
    """Tell whether an ALTER of ``split_keys`` is the one with the foreign keys."""
    name = re.match(rb"ALTER TABLE " + QUOTED + rb" ADD ", alter, re.DOTALL)
    return bool(name and _FOREIGN.match(alter, name.end()))


def deferrable(
    server: Server, database: str, definition: Definition
) -> tuple[bytes, list[bytes]] | None:
    """Return what ``split_keys`` does, if that gives the same table as *definition* in one piece.

    None to create it whole. Tried on an empty table under its own name in *database*, where none
    may be of that name; it is dropped again. Another server than the one that *definition* is from
    may show even the table in one piece in other words: then that is what counts. Ends a
    transaction of the session, as DDL does.
    """
    steps = split_keys(definition.text)
    if steps is None or _exists(server, database, definition.name):
        return None
    text, alters = steps
    try:
        create(server, database, replace(definition, text=text))
        for alter in alters:
            run(server, database, alter)
        found = read_table(server, database, definition.name)
        same = found == definition or found == _whole(server, database, definition)
    except (LoadFailed, QueryFailed):
        same = False
    finally:
        _drop(server, database, definition.name)
    return steps if same else None


def _whole(server: Server, database: str, definition: Definition) -> Definition:
    """Return the table as this server shows it when it is created in one piece."""
    _drop(server, database, definition.name)
    create(server, database, definition)
    return read_table(server, database, definition.name)


def _needed(key: bytes, items: list[bytes]) -> bool:
    """Tell whether *key* has to be there before the rows are."""
    if _HELD.search(_QUOTED.sub(b"", key)):
        return True
    if key.startswith(b"UNIQUE") and not any(item.startswith(b"PRIMARY KEY") for item in items):
        # InnoDB orders the rows by it: to add it later copies the table.
        return True
    first = _FIRST_PART.search(key)
    counted = [item for item in items if b" AUTO_INCREMENT" in _QUOTED.sub(b"", item)]
    columns = {match[0] for item in counted if (match := _COLUMN.match(item))}
    return bool(first and first[1] in columns)


def _exists(server: Server, database: str, name: str) -> bool:
    sql = (
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND LOWER(TABLE_NAME) = LOWER(%s)"
    )
    return bool(server.query(sql, (database, name)))


def _drop(server: Server, database: str, name: str) -> None:
    with prepared(server, database, {"foreign_key_checks": 0}):
        persistently(server, b"DROP TABLE IF EXISTS %s" % quote_bytes(name))
