"""What databases consist of at one moment: everything but the rows, for the ``rows`` method."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ulasis_backup.methods.index import TableHead
from ulasis_backup.methods.ranges import TARGET
from ulasis_backup.model import DatabaseOptions, LeftOut, ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.accounts import Account, read_accounts
from ulasis_backup.mysql.columns import row_source
from ulasis_backup.mysql.definitions import (
    Definition,
    read_definitions,
    with_positions_now,
)
from ulasis_backup.mysql.keys import table_key
from ulasis_backup.mysql.schema import ELSEWHERE, Catalogue, Table
from ulasis_backup.mysql.server import Server, quote_bytes

EXCLUDED = "excluded as asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsOptions:
    """What a user may choose: patterns are names of tables with ``*`` and ``?``.

    With ``accounts`` the accounts that have rights on the databases are kept too. ``target`` are
    the bytes of a range.
    """

    exclude: tuple[str, ...] = ()
    schema_only: tuple[str, ...] = ()
    accounts: bool = False
    target: int = TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTable:
    """A table at the moment: how it is read, and roughly how many bytes it has.

    No snapshot covers a table that is not ``transactional``: it is locked while it is read.
    """

    head: TableHead
    size: int
    transactional: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDatabase:
    """A database at the moment: everything but its rows.

    ``without_rows`` are tables of which only the definition is kept.
    """

    name: str
    options: DatabaseOptions
    definitions: tuple[Definition, ...]
    left_out: tuple[LeftOut, ...]
    tables: tuple[SeenTable, ...]
    without_rows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Databases at the moment, and the accounts that have rights on them where asked for."""

    databases: tuple[SeenDatabase, ...]
    accounts: tuple[Account, ...] = ()

    @property
    def tables(self) -> tuple[SeenTable, ...]:
        """Return the tables whose rows are read."""
        return tuple(table for database in self.databases for table in database.tables)


def look(server: Server, databases: Sequence[str], options: RowsOptions) -> Seen:
    """Return what *databases* consist of; to be called while no DDL can run."""
    return Seen(
        databases=_without_blind([_look(server, name, options) for name in databases]),
        accounts=read_accounts(server, databases) if options.accounts else (),
    )


def with_positions(server: Server, seen: Seen) -> Seen:
    """Return *seen* with sequences where they stand now that nothing can move them back.

    No snapshot covers them: what was read before the moment may stand below numbers in its rows.
    """
    databases = tuple(
        replace(one, definitions=with_positions_now(server, one.name, one.definitions))
        for one in seen.databases
    )
    return replace(seen, databases=databases)


def _look(server: Server, database: str, options: RowsOptions) -> SeenDatabase:
    chosen = schema.need_database(server, database)
    everything = schema.catalogue(server, database)
    excluded = tuple(table for table in everything.tables if matches(table.name, options.exclude))
    unwanted = tuple(_unwanted(server, database, excluded))
    found = _without(everything, unwanted)
    broken = schema.broken_views(server, database, found)
    definitions = read_definitions(server, database, found, left_out=broken)
    sizes = _sizes(server, database)
    tables = [table for table in found.tables if not table.is_sequence]
    with_rows = [table for table in tables if _has_rows(table, options.schema_only)]
    return SeenDatabase(
        name=database,
        options=chosen,
        definitions=definitions,
        left_out=tuple(replace(entry, database=database) for entry in (*broken, *unwanted)),
        tables=tuple(
            SeenTable(
                head=_head(server, database, table.name),
                size=sizes.get(table.name, 0),
                transactional=table.is_transactional,
            )
            for table in with_rows
        ),
        without_rows=tuple(table.name for table in tables if table not in with_rows),
    )


def _unwanted(server: Server, database: str, excluded: Sequence[Table]) -> Iterator[LeftOut]:
    """Yield what is left out as asked: tables, sequences, and triggers that stand on tables."""
    for table in excluded:
        kind = ObjectKind.SEQUENCE if table.is_sequence else ObjectKind.TABLE
        yield LeftOut(kind=kind, name=table.name, reason=EXCLUDED, asked=True)
    names = {table.name for table in excluded}
    rows = server.query(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = %s ORDER BY 1",
        (database,),
    )
    for trigger, table in rows:
        if table in names:
            yield LeftOut(kind=ObjectKind.TRIGGER, name=trigger, reason=EXCLUDED, asked=True)


def _blind(seen: Sequence[SeenDatabase]) -> Iterator[tuple[str, LeftOut]]:
    """Yield the views that read what is left out, each with its database.

    Where that is missing nobody can create them.
    """
    views = [
        (one.name, definition)
        for one in seen
        for definition in one.definitions
        if definition.kind == ObjectKind.VIEW
    ]
    gone = [
        (one.name, entry.name)
        for one in seen
        for entry in one.left_out
        if entry.asked and entry.kind is not ObjectKind.TRIGGER
    ]
    while gone:
        home, name = gone.pop()
        for database, view in [one for one in views if _reads(one, home, name)]:
            views.remove((database, view))
            gone.append((database, view.name))
            yield database, LeftOut(
                kind=ObjectKind.VIEW, name=view.name, reason=f"reads {name}, {EXCLUDED}",
                definition=view.text.decode("utf-8", "replace"), database=database, asked=True,
            )  # fmt: skip


def _reads(view: tuple[str, Definition], home: str, name: str) -> bool:
    """Tell whether a view, given with its database, reads *name* of database *home*."""
    schema_, table = (re.escape(quote_bytes(one)) for one in (home, name))
    qualifier = rb"(?:%s\.)%s" % (schema_, b"?" if view[0] == home else b"")
    pattern = rb"(?:from|join)[\s(]+" + qualifier + table + rb"(?!\.)"
    return re.search(pattern, view[1].text) is not None


def _without_blind(seen: Sequence[SeenDatabase]) -> tuple[SeenDatabase, ...]:
    """Return *seen* without the views that read what is left out, in whichever database."""
    blind = list(_blind(seen))
    return tuple(
        replace(
            one,
            definitions=_but(one.definitions, [e for home, e in blind if home == one.name]),
            left_out=(*one.left_out, *(e for home, e in blind if home == one.name)),
        )
        for one in seen
    )


def _but(definitions: Sequence[Definition], blind: Sequence[LeftOut]) -> tuple[Definition, ...]:
    gone = {(str(entry.kind), entry.name) for entry in blind}
    return tuple(one for one in definitions if (one.kind, one.name) not in gone)


def _without(found: Catalogue, unwanted: Sequence[LeftOut]) -> Catalogue:
    gone = {(entry.kind, entry.name) for entry in unwanted}
    kinds = {False: ObjectKind.TABLE, True: ObjectKind.SEQUENCE}
    return Catalogue(
        tables=tuple(t for t in found.tables if (kinds[t.is_sequence], t.name) not in gone),
        objects=tuple(entry for entry in found.objects if entry not in gone),
    )


def _has_rows(table: Table, schema_only: tuple[str, ...]) -> bool:
    """Tell whether rows are read: those of other tables lie elsewhere, or are not wanted."""
    elsewhere = (table.engine or "").lower() in ELSEWHERE
    return not (elsewhere or matches(table.name, schema_only))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether *name* fits one of *patterns*."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _head(server: Server, database: str, table: str) -> TableHead:
    source = row_source(server, database, table)
    key = table_key(server, database, table)
    if key is None:
        return TableHead(source=source, key=None)
    # Several rows of a table's history share a key, and the values of generated columns are not
    # read; only the order of such a key is of use then.
    values = {column.name for column in source.columns}
    readable = not source.versioned and all(column.name in values for column in key.columns)
    return TableHead(source=source, key=replace(key, cuttable=key.cuttable and readable))


def _sizes(server: Server, database: str) -> dict[str, int]:
    rows = server.query(
        "SELECT TABLE_NAME, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return {str(name): int(size or 0) for name, size in rows}
