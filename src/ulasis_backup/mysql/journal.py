"""The journal of a swap: a table in the before-schema, so that it survives us and the server.

Row 0 is the head, JSON; the others are definitions, one row each, JSON with the text as base64.
It is written before the first change to the database, and advanced by single writes of InnoDB:
whoever comes next knows what was planned, and sees from where the tables are how far it came.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ulasis_backup.errors import Refused
from ulasis_backup.model import DatabaseOptions
from ulasis_backup.mysql.beside import JOURNAL, Names
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.routine_rights import Right
from ulasis_backup.mysql.server import QueryFailed, Server, quote

VERSION = 1
MISSING = frozenset({1146, 1049})
NEWER_HINT = "use the version of ulasis-backup that began it, or a newer one"


class State(StrEnum):
    """How far a restore has come; ``list --leftovers`` shows it."""

    LOADING = "loading"
    SWAPPING = "swapping"
    OBJECTS = "objects"
    DONE = "done"
    UNDOING = "undoing"
    UNDO_OBJECTS = "undo-objects"
    UNDONE = "undone"

    @property
    def is_incomplete(self) -> bool:
        """Tell whether the database may be between the old and the new state."""
        return self in (State.SWAPPING, State.OBJECTS, State.UNDOING, State.UNDO_OBJECTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """The tables (sequences too) that one statement moves out of the database and into it."""

    out: tuple[str, ...] = ()
    into: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What was planned and what there was.

    ``tables`` are those a restore of some tables is about, None for the whole database. ``old``
    and ``new`` are the objects without tables, before and after; ``undone`` are those that an undo
    found. ``rows`` counts the rows of new tables as they were loaded, where known. ``kept`` are
    objects, by kind and name, that are none of its business. ``rights`` are those given
    on routines, None where they could not be read.
    """

    names: Names
    state: State
    tables: frozenset[str] | None = None
    note: str = ""
    made_at: str = ""
    swapped_at: str = ""
    existed: bool = True
    swap: Moves = field(default_factory=Moves)
    undo: Moves = field(default_factory=Moves)
    old_options: DatabaseOptions | None = None
    new_options: DatabaseOptions | None = None
    undone_options: DatabaseOptions | None = None
    rows: dict[str, int] = field(default_factory=dict)
    kept: frozenset[tuple[str, str]] = frozenset()
    rights: tuple[Right, ...] | None = None
    old: tuple[Definition, ...] = ()
    new: tuple[Definition, ...] = ()
    undone: tuple[Definition, ...] = ()


def create(server: Server, journal: Journal) -> None:
    """Create the table in the before-schema, which is there, and write *journal*."""
    # A key for servers that demand one; ASCII, for all else is escaped.
    server.run(
        f"CREATE TABLE {_table(journal.names)} (part INT UNSIGNED NOT NULL PRIMARY KEY, "
        "kind VARCHAR(16) NOT NULL, body LONGTEXT NOT NULL) ENGINE=InnoDB "
        "DEFAULT CHARSET=utf8mb4"
    )
    write(server, journal)


def write(server: Server, journal: Journal) -> None:
    """Replace what the journal says, all of it in one transaction."""
    table = _table(journal.names).replace("%", "%%")
    parts = [("head", json.dumps(_head(journal)))]
    for kind in ("old", "new", "undone"):
        parts += [(kind, json.dumps(_packed(one))) for one in getattr(journal, kind)]
    with _transaction(server):
        server.run(f"DELETE FROM {_table(journal.names)}")
        for number, (kind, body) in enumerate(parts):
            server.run(f"INSERT INTO {table} VALUES (%s, %s, %s)", (number, kind, body))


def advance(server: Server, journal: Journal, state: State, **changed: Any) -> Journal:  # noqa: ANN401 (fields)
    """Write the head anew with *state* and other fields *changed*; return the journal as it is."""
    journal = replace(journal, state=state, **changed)
    table = _table(journal.names).replace("%", "%%")
    server.run(f"UPDATE {table} SET body = %s WHERE part = 0", (json.dumps(_head(journal)),))
    return journal


def read(server: Server, schema: str) -> Journal | None:
    """Return the journal in *schema*, None if there is none; raises Refused for a newer one."""
    try:
        rows = server.query(
            f"SELECT kind, body FROM {quote(schema)}.{quote(JOURNAL)} ORDER BY part"
        )
    except QueryFailed as error:
        if error.number in MISSING:
            return None
        raise
    if not rows:
        # Killed between CREATE TABLE and the first write: nothing else had been done.
        return None
    head: dict[str, Any] = json.loads(rows[0][1])
    if head.get("version") != VERSION:
        message = f"the journal in {schema} is of version {head.get('version')}"
        raise Refused(message, hint=NEWER_HINT)
    parts: dict[str, list[Definition]] = {"old": [], "new": [], "undone": []}
    for kind, body in rows[1:]:
        parts[kind].append(_unpacked(json.loads(body)))
    return _journal(head, {kind: tuple(found) for kind, found in parts.items()})


@contextlib.contextmanager
def _transaction(server: Server) -> Iterator[None]:
    server.run("START TRANSACTION")
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            server.run("ROLLBACK")
        raise
    server.run("COMMIT")


def _table(names: Names) -> str:
    return f"{quote(names.before)}.{quote(JOURNAL)}"


def _head(journal: Journal) -> dict[str, Any]:
    return {
        "version": VERSION,
        "id": journal.names.id,
        "database": journal.names.database,
        "state": journal.state,
        "tables": None if journal.tables is None else sorted(journal.tables),
        "note": journal.note,
        "made_at": journal.made_at,
        "swapped_at": journal.swapped_at,
        "existed": journal.existed,
        "swap": _moves(journal.swap),
        "undo": _moves(journal.undo),
        "old_options": _options(journal.old_options),
        "new_options": _options(journal.new_options),
        "undone_options": _options(journal.undone_options),
        "rows": journal.rows,
        "kept": sorted(journal.kept),
        "rights": journal.rights,
    }


def _journal(head: dict[str, Any], parts: dict[str, tuple[Definition, ...]]) -> Journal:
    return Journal(
        names=Names(database=head["database"], id=head["id"]),
        state=State(head["state"]),
        tables=None if head["tables"] is None else frozenset(head["tables"]),
        note=head["note"],
        made_at=head["made_at"],
        swapped_at=head["swapped_at"],
        existed=head["existed"],
        swap=_read_moves(head["swap"]),
        undo=_read_moves(head["undo"]),
        old_options=_read_options(head["old_options"]),
        new_options=_read_options(head["new_options"]),
        undone_options=_read_options(head["undone_options"]),
        rows=head["rows"],
        kept=frozenset((kind, name) for kind, name in head.get("kept", ())),
        rights=_read_rights(head.get("rights")),
        **parts,
    )


def _read_rights(found: list[list[str]] | None) -> tuple[Right, ...] | None:
    if found is None:
        return None
    return tuple((kind, name, user, host, given) for kind, name, user, host, given in found)


def _moves(moves: Moves) -> dict[str, list[str]]:
    return {"out": list(moves.out), "in": list(moves.into)}


def _read_moves(found: dict[str, list[str]]) -> Moves:
    return Moves(out=tuple(found["out"]), into=tuple(found["in"]))


def _options(options: DatabaseOptions | None) -> list[str] | None:
    return [options.character_set, options.collation, options.comment] if options else None


def _read_options(found: list[str] | None) -> DatabaseOptions | None:
    if found is None:
        return None
    return DatabaseOptions(character_set=found[0], collation=found[1], comment=found[2])


def _packed(one: Definition) -> dict[str, Any]:
    return {
        "kind": str(one.kind),
        "name": one.name,
        "text": base64.b64encode(one.text).decode(),
        "sql_mode": one.sql_mode,
        "charset_client": one.charset_client,
        "collation_connection": one.collation_connection,
        "database_collation": one.database_collation,
        "time_zone": one.time_zone,
        "extra": one.extra,
    }


def _unpacked(found: dict[str, Any]) -> Definition:
    return Definition(**{**found, "text": base64.b64decode(found["text"])})
