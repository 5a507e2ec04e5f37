"""What a database consists of: tables and their definitions, views, triggers, routines, events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ulasis_backup.errors import PrivilegeMissing, ServerError, SettingsError
from ulasis_backup.model import DatabaseOptions, LeftOut, ObjectKind
from ulasis_backup.mysql.beside import RESTORING
from ulasis_backup.mysql.privileges import account, has_global
from ulasis_backup.mysql.server import QueryFailed, Server, databases, quote

TRANSACTIONAL = frozenset({"innodb", "tokudb", "rocksdb"})
ELSEWHERE = frozenset({"federated", "spider", "connect", "mrg_myisam", "merge", "blackhole"})
"""Engines whose rows lie in other tables, on other servers, or nowhere."""


EXECUTE_DENIED = 1370
DENIED = frozenset({1044, 1142, 1143, 1227, EXECUTE_DENIED})
"""Errors that say that a login may not, not that something is broken."""

_DENIED_ROUTINE = re.compile(r"for routine '([^'.]+)\.([^']+)'")
_AUTO_INCREMENT = re.compile(r" AUTO_INCREMENT=\d+(?= )")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A base table as the catalogue shows it; ``engine`` is None when it cannot be opened."""

    name: str
    engine: str | None
    is_sequence: bool = False

    @property
    def is_transactional(self) -> bool:
        """Tell whether a snapshot covers the table's rows."""
        return self.is_sequence or (self.engine or "").lower() in TRANSACTIONAL

    @property
    def needs_lock(self) -> bool:
        """Tell whether rows could change under a dump unless the table is locked."""
        return not self.is_transactional and (self.engine or "").lower() not in ELSEWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The names of everything in a database."""

    tables: tuple[Table, ...]
    objects: tuple[tuple[ObjectKind, str], ...]

    def names(self, kind: ObjectKind) -> tuple[str, ...]:
        """Return the names of the objects of *kind*."""
        return tuple(name for found, name in self.objects if found is kind)


def database_options(server: Server, database: str) -> DatabaseOptions | None:
    """Return charset and collation of *database*, or None when there is no such database."""
    comment = "SCHEMA_COMMENT" if has_database_comments(server) else "''"
    rows = server.query(
        f"SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment} "
        "FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        (database,),
    )
    if not rows:
        return None
    character_set, collation, text = rows[0]
    return DatabaseOptions(character_set=character_set, collation=collation, comment=text or "")


def need_database(server: Server, database: str) -> DatabaseOptions:
    """Return the options of *database*; raises SettingsError when there is no such database."""
    options = database_options(server, database)
    if options is None:
        known = databases(server)
        hint = f"set DB_NAME to one of: {', '.join(known)}" if known else "there is none to see"
        message = f"there is no database {database} on {server.login.endpoint}"
        if not has_global(server, "SHOW DATABASES", "SELECT"):
            message += " that this login may see"
            hint += f"; if it exists, give {account(server)} rights on it: `check` prints the GRANT"
        raise SettingsError(message, hint=hint)
    return options


def catalogue(server: Server, database: str) -> Catalogue:
    """Return the names of everything in *database* that the session may see.

    The mark of a restore in place is no part of it.
    """
    tables: list[Table] = []
    objects: list[tuple[ObjectKind, str]] = []
    rows = server.query(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME <> %s ORDER BY TABLE_NAME",
        (database, RESTORING),
    )
    for name, kind, engine in rows:
        if kind == "VIEW":
            objects.append((ObjectKind.VIEW, name))
        elif kind == "SEQUENCE":
            objects.append((ObjectKind.SEQUENCE, name))
            tables.append(Table(name=name, engine=engine, is_sequence=True))
        else:
            tables.append(Table(name=name, engine=engine))
    objects += _other_objects(server, database)
    return Catalogue(tables=tuple(tables), objects=tuple(objects))


def definitions(server: Server, database: str, found: Catalogue) -> dict[str, str]:
    """Return a digest of the definition of every object, to see whether any changes."""
    digests: dict[str, str] = {}
    for table in found.tables:
        digests[f"table {table.name}"] = _show(server, "TABLE", database, table.name)
    for kind, name in found.objects:
        if kind is not ObjectKind.SEQUENCE:
            digests[f"{kind} {name}"] = _show(server, kind.upper(), database, name)
    return digests


def table_ids(server: Server, database: str) -> dict[str, int] | None:
    """Return InnoDB's own numbers of tables and partitions, or None where they may not be read.

    A table that was truncated, or dropped and created again, has another number.
    """
    where = "INNODB_SYS_TABLES" if server.is_mariadb else "INNODB_TABLES"
    try:
        pattern = _file_name_pattern(server, database)
        if pattern is None:
            return None
        rows = server.query(
            f"SELECT NAME, TABLE_ID FROM information_schema.{where} WHERE NAME LIKE %s", (pattern,)
        )
    except QueryFailed:
        return None
    return {str(name): int(number) for name, number in rows}


def broken_views(server: Server, database: str, found: Catalogue) -> tuple[LeftOut, ...]:
    """Return the views that the server itself cannot read, with their definitions.

    The dump program would stumble over them. Raises PrivilegeMissing where it is not the view
    that is at fault but our login.
    """
    broken = []
    for name in found.names(ObjectKind.VIEW):
        view = f"{quote(database)}.{quote(name)}"
        try:
            server.run(f"SHOW FIELDS FROM {view}")
            if not server.is_mariadb:
                # A text of an old client may be one that MySQL itself can no longer parse.
                server.run(f"SHOW CREATE VIEW {view}")
        except QueryFailed as error:
            if error.number in DENIED:
                raise _denied(server, database, name, error) from None
            broken.append(
                LeftOut(
                    kind=ObjectKind.VIEW,
                    name=name,
                    reason=error.message,
                    definition=_definition(server, database, name),
                )
            )
    return tuple(broken)


def _denied(server: Server, database: str, view: str, error: QueryFailed) -> PrivilegeMissing:
    """Say which right a view asks of whoever reads its columns."""
    routine = _DENIED_ROUTINE.search(error.message)
    if error.number == EXECUTE_DENIED and routine:
        # That function alone: EXECUTE on a schema would let a reader run what writes.
        what = f"EXECUTE ON FUNCTION {quote(routine[1])}.{quote(routine[2])}"
    else:
        what = "SELECT ON *.*"
    hint = f"run as an administrator: GRANT {what} TO {account(server)};"
    return PrivilegeMissing(f"view {database}.{view} cannot be read: {error.message}", hint=hint)


def dependants(server: Server, database: str) -> tuple[str, ...]:
    """Return foreign keys and views of *other* databases that point into *database*."""
    keys = server.query(
        "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME "
        "FROM information_schema.KEY_COLUMN_USAGE "
        "WHERE REFERENCED_TABLE_SCHEMA = %s AND TABLE_SCHEMA <> %s",
        (database, database),
    )
    views = server.query(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS "
        "WHERE TABLE_SCHEMA <> %s AND INSTR(VIEW_DEFINITION, %s) > 0",
        (database, f"{quote(database)}."),
    )
    found = [f"foreign key {name} of {schema}.{table}" for schema, table, name in keys]
    return tuple(found + [f"view {schema}.{name}" for schema, name in views])


def size_estimate(server: Server, database: str) -> int:
    """Return roughly how many bytes the rows of *database* take in a dump."""
    value = server.value(
        "SELECT SUM(DATA_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return int(value or 0)


def _other_objects(server: Server, database: str) -> Iterable[tuple[ObjectKind, str]]:
    for (name,) in server.query(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s "
        "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
        (database,),
    ):
        yield ObjectKind.TRIGGER, name
    for kind, name in server.query(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = %s ORDER BY ROUTINE_TYPE, ROUTINE_NAME",
        (database,),
    ):
        yield ObjectKind(kind.lower()), name
    for (name,) in server.query(
        "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY 1",
        (database,),
    ):
        yield ObjectKind.EVENT, name


def _show(server: Server, kind: str, database: str, name: str) -> str:
    qualified = f"{quote(database)}.{quote(name)}"
    try:
        rows = server.query(f"SHOW CREATE {kind} {qualified}")
    except QueryFailed as error:
        return f"unreadable ({error.number})"
    # The next AUTO_INCREMENT moves with every row; it is data, not definition.
    text = _AUTO_INCREMENT.sub("", "\0".join(str(value) for value in rows[0]))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _definition(server: Server, database: str, view: str) -> str:
    try:
        text = str(server.query(f"SHOW CREATE VIEW {quote(database)}.{quote(view)}")[0][1])
    except ServerError:
        sql = (
            "SELECT VIEW_DEFINITION FROM information_schema.VIEWS "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
        )
        text = str(server.value(sql, (database, view)) or "")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def has_database_comments(server: Server) -> bool:
    """Tell whether databases can have comments."""
    return server.is_mariadb and server.version.numbers >= (10, 5, 0)


def _file_name_pattern(server: Server, database: str) -> str | None:
    """Return the LIKE pattern of InnoDB's names in *database*, which are file names.

    None where it cannot be told: MySQL has no expression for it, and letters beyond ASCII are
    written by a table of its own.
    """
    if not server.is_mariadb:
        if not database.isascii():
            return None
        text = re.sub(r"[^0-9A-Za-z_]", lambda match: f"@{ord(match[0]):04x}", database)
    else:
        sql = "SELECT CONVERT(CONVERT(%s USING filename) USING binary)"
        encoded = server.value(sql, (database,))
        text = encoded.decode() if isinstance(encoded, bytes) else str(encoded)
    escaped = text.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return f"{escaped}/%"
