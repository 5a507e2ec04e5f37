"""Schemas beside a database: what a restore loads, what it replaced, what an undo took back.

``shop__restore_3f9c01ab`` is being loaded, ``shop__before_3f9c01ab`` holds the tables that were
replaced and the journal, ``shop__undone_3f9c01ab`` holds what an undo took out again.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from ulasis_backup.mysql.server import Server, databases

JOURNAL = "__ulasis_journal"
"""The table of the before-schema that tells what is going on; see ``journal``."""

WAITING = "__ulasis_swap_begun"
MOVED = "__ulasis_swap_moved"
"""The mark in the database itself: there from before anything is touched until all is done.

The statement that moves the tables renames it too: it tells on which side of it we are. It is
seen by whoever sees the database, so that nobody takes a half-swapped one for a whole one.
"""

GATE = "__ulasis_gate"
"""A table of the before-schema that nobody needs, see ``swap_handover``."""

RESTORING = "__ulasis_restoring"
"""The mark of a restore in place, see ``restoring``; swaps and backups look past it."""

OURS = frozenset({JOURNAL, WAITING, MOVED, GATE})

LONGEST_NAME = 64
"""Characters, not bytes: as long as the server lets a schema's name be."""

SHORTEST_HEAD = LONGEST_NAME - len("__restore_") - 8
"""Characters of the database's name that are in the names of all schemas beside it."""

_BESIDE = re.compile(
    r"(?P<head>.+)__(?P<kind>restore|before|undone)_(?P<id>[0-9a-f]{8})", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names that belong to one restore into ``database``; ``id`` has 8 hexadecimal digits."""

    database: str
    id: str

    @property
    def restore(self) -> str:
        """Return the schema that the new tables are loaded into."""
        return _beside(self.database, "restore", self.id)

    @property
    def before(self) -> str:
        """Return the schema that the old tables move to, with the journal in it."""
        return _beside(self.database, "before", self.id)

    @property
    def undone(self) -> str:
        """Return the schema that an undo moves the tables to that were restored."""
        return _beside(self.database, "undone", self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What the name of such a schema says; ``head`` is all or the beginning of the database's."""

    schema: str
    head: str
    kind: str
    id: str

    def may_be_of(self, database: str) -> bool:
        """Tell whether the schema can belong to *database*; long names are cut."""
        names = Names(database=database, id=self.id)
        return self.schema.casefold() in {
            name.casefold() for name in (names.restore, names.before, names.undone)
        }


def new_names(database: str) -> Names:
    """Return names that nobody has used yet."""
    return Names(database=database, id=secrets.token_hex(4))


def parse(schema: str) -> Parsed | None:
    """Return what the name *schema* says, None where it is none of ours."""
    match = _BESIDE.fullmatch(schema)
    if match is None or len(schema) > LONGEST_NAME:
        return None
    return Parsed(schema=schema, head=match["head"], kind=match["kind"], id=match["id"])


def is_beside(schema: str) -> bool:
    """Tell whether *schema* is one of ours by its name: not a database of its own."""
    return parse(schema) is not None


def resembles_beside(schema: str) -> bool:
    """Tell whether people would take *schema* for one of ours."""
    return bool(re.search(r"__(?:restore|before|undone)_[0-9a-f]+\Z", schema))


def schemas_of(server: Server, database: str) -> tuple[Parsed, ...]:
    """Return the schemas beside *database* that the session may see."""
    found = (parse(name) for name in databases(server))
    return tuple(one for one in found if one and one.may_be_of(database))


def all_schemas(server: Server) -> tuple[Parsed, ...]:
    """Return the schemas of ours beside any database that the session may see."""
    return tuple(one for one in map(parse, databases(server)) if one)


def mark(server: Server, database: str) -> str:
    """Return the mark that is in *database*: WAITING, MOVED, or none (empty)."""
    rows = server.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_NAME IN (%s, %s)",
        (database, WAITING, MOVED),
    )
    names = {str(name) for (name,) in rows}
    return MOVED if MOVED in names else WAITING if names else ""


def _beside(database: str, kind: str, number: str) -> str:
    suffix = f"__{kind}_{number}"
    return database[: LONGEST_NAME - len(suffix)] + suffix
