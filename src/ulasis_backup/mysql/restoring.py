"""The mark of a restore in place: a table in the database itself, from the first change to the end.

A run that is killed in between leaves a half-loaded database that looks like any other: who comes
next finds the mark. It is no part of the database: ``schema.catalogue`` leaves it out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from ulasis_backup.mysql.beside import RESTORING
from ulasis_backup.mysql.server import Server, quote

VERSION = 1
LONGEST_COMMENT = 2048
"""Characters: as long as the server lets the comment of a table be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """A restore in place that has begun: of which backup, when, and what brings the old back.

    ``safety`` is the safety backup, empty where there is none. ``tables`` are those that are
    replaced, none for all; ``in_place`` tells whether it was asked to be in place, ``several`` that
    the safety backup holds more databases than this one.
    """

    database: str
    id: str
    backup: str
    at: str
    safety: str = ""
    tables: tuple[str, ...] = ()
    undone_tables: tuple[str, ...] = ()
    in_place: bool = False
    several: bool = False

    def widened(self, tables: tuple[str, ...]) -> Restoring:
        """Return the mark for when *tables*, none for all, are replaced on top of it."""
        both = tuple(sorted({*self.tables, *tables})) if self.tables and tables else ()
        undone = self.undone_tables if both == self.tables else ()
        return replace(self, tables=both, undone_tables=undone)

    def without(self, tables: tuple[str, ...]) -> Restoring | None:
        """Return what is left of the mark when *tables*, none for all, are whole again."""
        left = tuple(name for name in self.tables if name not in tables)
        if not tables or (self.tables and not left):
            return None
        if not self.tables or left == self.tables:
            return self
        undone = tuple(name for name in self.undone_tables if name in left)
        # The others did not exist: the safety backup has nothing of them.
        return replace(
            self, tables=left, undone_tables=undone, safety=self.safety if undone else ""
        )


def put(server: Server, mark: Restoring) -> None:
    """Put *mark* into its database, which exists, in place of one that is there."""
    where = f"{quote(mark.database)}.{quote(RESTORING)}"
    # With arguments the driver takes `%` for theirs.
    escaped, text = where.replace("%", "%%"), _text(mark)
    server.run(
        f"CREATE TABLE IF NOT EXISTS {escaped} (id INT NOT NULL PRIMARY KEY) "
        "ENGINE=InnoDB COMMENT=%s",
        (text,),
    )
    # It is never gone in between.
    server.run(f"ALTER TABLE {escaped} COMMENT=%s", (text,))


def clear(server: Server, database: str) -> None:
    """Take the mark out of *database*, if there is one."""
    if find(server, database):
        server.run(f"DROP TABLE IF EXISTS {quote(database)}.{quote(RESTORING)}")


def find(server: Server, database: str) -> Restoring | None:
    """Return the mark that is in *database*, None where there is none."""
    rows = server.query(
        "SELECT TABLE_COMMENT FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (database, RESTORING),
    )
    return _parsed(database, str(rows[0][0])) if rows else None


def find_all(server: Server) -> tuple[Restoring, ...]:
    """Return the marks in all databases that the session may see."""
    rows = server.query(
        "SELECT TABLE_SCHEMA, TABLE_COMMENT FROM information_schema.TABLES "
        "WHERE TABLE_NAME = %s ORDER BY 1",
        (RESTORING,),
    )
    return tuple(_parsed(str(database), str(text)) for database, text in rows)


def _text(mark: Restoring) -> str:
    document = asdict(mark) | {"version": VERSION}
    del document["database"]
    text = json.dumps(document)
    if len(text) > LONGEST_COMMENT:
        # Then only a restore of the whole database takes it away.
        text = json.dumps(document | {"tables": [], "undone_tables": []})
    return text


def _parsed(database: str, text: str) -> Restoring:
    """Return what *text* says; a mark that cannot be read is a mark none the less."""
    document: Any = None
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    held = document if isinstance(document, dict) else {}

    def names(key: str) -> tuple[str, ...]:
        listed = held.get(key)
        return tuple(map(str, listed)) if isinstance(listed, list) else ()

    return Restoring(
        database=database,
        id=str(held.get("id", "")),
        backup=str(held.get("backup", "")),
        at=str(held.get("at", "")),
        safety=str(held.get("safety", "")),
        tables=names("tables"),
        undone_tables=names("undone_tables"),
        in_place=bool(held.get("in_place")),
        several=bool(held.get("several")),
    )
