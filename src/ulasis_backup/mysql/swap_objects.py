"""Objects of a database made equal to a list: what differs is dropped, what is missing created.

Each step can be taken again, after whatever ended the one before. What is equal is left alone:
a routine that is dropped loses the rights that were given on it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ulasis_backup.errors import LoadFailed, ServerError
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.creation import create, create_views, enable_events
from ulasis_backup.mysql.definitions import Definition, digest_bytes, read_definitions
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import Server, quote

BODIES = (
    ObjectKind.FUNCTION, ObjectKind.PROCEDURE, ObjectKind.PACKAGE, ObjectKind.PACKAGE_BODY,
)  # fmt: skip
REPLACED = frozenset({ObjectKind.FUNCTION, ObjectKind.PROCEDURE})
"""What MariaDB replaces without a DROP, which would take the rights given on it away."""

CREATE = b"CREATE "
KINDS = (*BODIES, ObjectKind.VIEW, ObjectKind.TRIGGER, ObjectKind.EVENT)
UNTIED = tuple(kind for kind in KINDS if kind is not ObjectKind.TRIGGER)
"""Objects that hang on no table."""

_NAME = rb"(?:`(?:[^`]|``)*`|[0-9A-Za-z_$\x80-\xff]+)"
_ON_TABLE = re.compile(
    rb"TRIGGER\s.*?\s(?:INSERT|UPDATE|DELETE)\s+ON\s+(?:" + _NAME + rb"\.)?(" + _NAME + rb")\s",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which objects of a database are meant: all of *kinds*, or triggers of *tables* alone."""

    kinds: tuple[ObjectKind, ...] = KINDS
    tables: frozenset[str] | None = None


def read_objects(server: Server, database: str, scope: Scope) -> tuple[Definition, ...]:
    """Return the definitions of what is in *scope*, in an order in which it can be created.

    A view that the server cannot read is in it with ``extra["broken"]``, as SHOW CREATE shows it.
    """
    if scope.tables is not None:
        return read_triggers(server, database, scope.tables)
    found = schema.catalogue(server, database)
    objects = tuple(one for one in found.objects if one[0] in scope.kinds)
    found = Catalogue(tables=(), objects=objects)
    broken = schema.broken_views(server, database, found)
    return read_definitions(server, database, found, left_out=broken) + tuple(
        Definition(
            kind=ObjectKind.VIEW,
            name=view.name,
            text=view.definition.encode("utf-8", "surrogateescape"),
            charset_client="utf8mb4",
            collation_connection="utf8mb4_general_ci",
            extra={"broken": view.reason},
        )
        for view in broken
    )


def read_triggers(
    server: Server, database: str, tables: frozenset[str] | None = None
) -> tuple[Definition, ...]:
    """Return the triggers of *tables*, or all, in an order in which they can be created."""
    names = tuple(
        (ObjectKind.TRIGGER, str(name))
        for name, table in server.query(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
            "WHERE TRIGGER_SCHEMA = %s",
            (database,),
        )
        if tables is None or table in tables
    )
    found = Catalogue(tables=(), objects=names)
    return read_definitions(server, database, found, left_out=())


def reconcile(
    server: Server,
    database: str,
    wanted: Iterable[Definition],
    *,
    known: Iterable[Definition],
    kinds: tuple[ObjectKind, ...] = UNTIED,
    collation: str = "",
) -> tuple[str, ...]:
    """Make the objects of *kinds* equal to *wanted*; events come last, and only then run.

    Triggers are left to ``put_triggers``. What is neither *wanted* nor *known* stays: somebody
    made it since. With *collation* only that is created which was made in a database of it.
    Returns what could not be created because it was broken before. Raises LoadFailed, which names
    the object; then it can be called again.
    """
    planned = tuple(one for one in wanted if one.kind in kinds)
    missing = _drop_others(
        server, database, planned, known=_keys(known), kinds=kinds, collation=collation
    )
    if collation:
        missing = [one for one in missing if one.database_collation in ("", collation)]
    for kind in BODIES:
        for one in missing:
            if one.kind == kind:
                create(server, database, _replacing(one) if server.is_mariadb else one)
    views = [one for one in missing if one.kind == ObjectKind.VIEW]
    create_views(server, database, [one for one in views if "broken" not in one.extra])
    problems = tuple(_tried(server, database, one) for one in views if "broken" in one.extra)
    events = [one for one in missing if one.kind == ObjectKind.EVENT]
    for one in events:
        create(server, database, one)
    enable_events(server, database, events)
    return tuple(problem for problem in problems if problem)


def put_missing(server: Server, database: str, wanted: Sequence[Definition]) -> None:
    """Create those of *wanted* (views, events) that are not there as they should be."""
    kinds = tuple({ObjectKind(one.kind) for one in wanted})
    if wanted:
        names = _keys(wanted)
        left = read_objects(server, database, Scope(kinds=kinds))
        others = [one for one in left if (one.kind, one.name) not in names]
        reconcile(server, database, [*others, *wanted], known=(), kinds=kinds)


def drop(server: Server, database: str, objects: Collection[tuple[ObjectKind, str]]) -> None:
    """Drop *objects*, those that use others first; what is not there is no error."""
    for kind in reversed(KINDS):
        names = [name for found, name in objects if found is kind]
        if names and kind in (ObjectKind.PACKAGE, ObjectKind.PACKAGE_BODY):
            _drop_packages(server, database, kind, names)
            continue
        for name in names:
            server.run(f"DROP {kind.upper()} IF EXISTS {quote(database)}.{quote(name)}")


def by_table(objects: Iterable[Definition]) -> dict[str, tuple[Definition, ...]]:
    """Return the triggers among *objects* by the table that they are on, in their order.

    Raises LoadFailed for a trigger whose table cannot be told.
    """
    found: dict[str, tuple[Definition, ...]] = {}
    for one in objects:
        if one.kind == ObjectKind.TRIGGER:
            table = table_of(one)
            found[table] = (*found.get(table, ()), one)
    return found


def table_of(trigger: Definition) -> str:
    """Return the table that *trigger* is on; raises LoadFailed where it cannot be told."""
    if "table" in trigger.extra:
        return trigger.extra["table"]
    match = _ON_TABLE.search(trigger.text)
    if match is None:
        message = f"the table of trigger {trigger.name} cannot be told"
        raise LoadFailed(message, hint="restore with --in-place")
    name = match[1].decode("utf-8", "surrogateescape")
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def put_triggers(
    server: Server,
    database: str,
    wanted: Iterable[Definition],
    *,
    tables: Collection[str],
    locker: Server,
) -> None:
    """Make the triggers of *tables* equal to *wanted*, each table's under a write lock.

    *server* reads, *locker* locks and changes, one table after the other: under locks the server
    would leave out what it cannot look at. Raises QueryFailed when a lock is not to be had within
    the session's ``lock_wait_timeout``.
    """
    have = by_table(read_triggers(server, database))
    want = by_table(wanted)
    for table in sorted({*have, *want} & set(tables)):
        old, new = have.get(table, ()), want.get(table, ())
        if [digest_bytes(one) for one in old] != [digest_bytes(one) for one in new]:
            with locked_tables(locker, [(database, table)]):
                drop(locker, database, [(ObjectKind.TRIGGER, one.name) for one in old])
                create_triggers(locker, database, new)


def create_triggers(server: Server, database: str, triggers: Iterable[Definition]) -> None:
    """Create *triggers* on tables without any, which the session may have locked."""
    for one in triggers:
        create(server, database, one)


@contextlib.contextmanager
def locked_tables(server: Server, tables: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Hold write locks on *tables*, pairs of schema and name."""
    server.run(lock_statement(tables))
    try:
        yield
    finally:
        with contextlib.suppress(ServerError):
            server.run("UNLOCK TABLES")


def lock_statement(tables: Iterable[tuple[str, str]]) -> str:
    """Return the statement that locks *tables*, pairs of schema and name, for writing."""
    names = ", ".join(f"{quote(where)}.{quote(name)} WRITE" for where, name in tables)
    return f"LOCK TABLES {names}"


def early_views(objects: Iterable[Definition], tables: Collection[str]) -> tuple[Definition, ...]:
    """Return the views among *objects* whose names are taken by *tables* that move in."""
    taken = {name.casefold() for name in tables}
    return tuple(
        one for one in objects if one.kind == ObjectKind.VIEW and one.name.casefold() in taken
    )


def _drop_others(
    server: Server,
    database: str,
    wanted: Sequence[Definition],
    *,
    known: Collection[tuple[str, str]],
    kinds: tuple[ObjectKind, ...],
    collation: str,
) -> list[Definition]:
    """Drop what is known and not as wanted; return what of *wanted* is not there.

    What can be replaced by one statement, so that the rights given on it stay, is not dropped,
    unless its *collation* puts it off until later.
    """
    have = read_objects(server, database, Scope(kinds=kinds))
    digests = {(one.kind, one.name): digest_bytes(one) for one in wanted}
    equal = {
        (one.kind, one.name)
        for one in have
        if "broken" not in one.extra and digests.get((one.kind, one.name)) == digest_bytes(one)
    }
    for one in wanted:
        # A package that is dropped takes its body along.
        if one.kind == ObjectKind.PACKAGE and (one.kind, one.name) not in equal:
            equal.discard((ObjectKind.PACKAGE_BODY, one.name))
    ours = [one for one in have if (one.kind, one.name) in {*known, *digests}]
    replaced = {
        (one.kind, one.name)
        for one in wanted
        if server.is_mariadb
        and one.kind in REPLACED
        and (not collation or one.database_collation in ("", collation))
    }
    stays = equal | replaced
    others = [(ObjectKind(one.kind), one.name) for one in ours if (one.kind, one.name) not in stays]
    drop(server, database, others)
    return [one for one in wanted if (one.kind, one.name) not in equal]


def _replacing(one: Definition) -> Definition:
    """Return what creates a routine in the place of another one of its name, if there is one."""
    if one.kind not in REPLACED or not one.text.startswith(CREATE):
        return one
    return replace(one, text=b"CREATE OR REPLACE " + one.text[len(CREATE) :])


def _keys(objects: Iterable[Definition]) -> frozenset[tuple[str, str]]:
    return frozenset((one.kind, one.name) for one in objects)


def _tried(server: Server, database: str, view: Definition) -> str:
    try:
        create(server, database, view)
    except LoadFailed as error:
        return f"view {view.name} was broken before, and cannot be created: {error.message}"
    return ""


def _drop_packages(server: Server, database: str, kind: ObjectKind, names: Iterable[str]) -> None:
    with _oracle(server):
        for name in names:
            server.run(f"DROP {kind.upper()} IF EXISTS {quote(database)}.{quote(name)}")


@contextlib.contextmanager
def _oracle(server: Server) -> Iterator[None]:
    """Before MariaDB 11.4 the words for packages are only known in this mode."""
    server.run("SET SESSION sql_mode = 'ORACLE'")
    try:
        yield
    finally:
        server.run("SET SESSION sql_mode = ''")
