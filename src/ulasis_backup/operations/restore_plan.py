"""What a restore will do, decided before anything is touched; ``--dry-run`` prints it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ulasis_backup.errors import PrivilegeMissing, Refused, ServerUnsuitable
from ulasis_backup.methods.definers import Definers
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import privileges, schema
from ulasis_backup.mysql.beside import Names, new_names
from ulasis_backup.mysql.loading import Way
from ulasis_backup.mysql.routine_rights import grant, read_rights
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server
from ulasis_backup.mysql.swap_checks import (
    IN_PLACE,
    missing_for_swap,
    refuse_taken_names,
    refuse_triggers,
    refuse_unmovable,
)
from ulasis_backup.mysql.swap_objects import Scope, read_objects
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.source import Source
from ulasis_backup.operations.strangers import expect_movable
from ulasis_backup.repository.names import PayloadName

AS_ASKED = "as asked"
ROUTINES = ("procedure ", "function ", "package ")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore, and how.

    ``database`` is which one of a backup of several; ``tables`` restores those alone, of a rows
    backup loaded in a certain ``way`` where one is asked for. ``accounts`` restores the accounts
    that such a backup keeps as well. ``collations`` are pairs: which one is to stand for which
    on a server that lacks it. ``definers`` is what becomes of definers that the target lacks.
    ``in_place`` replaces the tables where they are.
    """

    name: PayloadName
    database: str = ""
    target: str = ""
    tables: tuple[str, ...] = ()
    way: Way | None = None
    accounts: bool = False
    collations: tuple[tuple[str, str], ...] = ()
    definers: Definers = Definers.KEEP
    in_place: bool = False
    safety_backup: bool = True
    compare: bool = True
    orphan: bool = False
    allow_unauthenticated: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore will do; ``--dry-run`` prints it.

    ``names`` are the schemas beside the target, None where it is restored in place, because of
    ``in_place``. ``undone_tables`` are those to bring back to undo a restore of some tables alone:
    the others may be written to meanwhile.
    """

    backup: str
    made_at: str
    server: str
    target: str
    method: str
    names: Names | None
    in_place: tuple[str, ...]
    tables: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    created: tuple[str, ...]
    kept: tuple[str, ...]
    safety_backup: bool
    notices: tuple[str, ...]
    flags: tuple[str, ...] = ()
    undone_tables: tuple[str, ...] = ()

    @property
    def touches_data(self) -> bool:
        """Tell whether anything that exists now will be gone."""
        return bool(self.replaced or self.removed)

    @property
    def mode(self) -> str:
        """Return ``beside`` or ``in place``."""
        return "beside" if self.names else "in place"

    @property
    def undo_command(self) -> str:
        """Return the command that swaps back, empty for a restore in place."""
        if self.names is None:
            return ""
        return shlex.join(["ulasis-backup", *self.flags, "undo", self.names.id])

    @property
    def drop_command(self) -> str:
        """Return the command that drops what was replaced, empty for a restore in place."""
        if self.names is None:
            return ""
        return shlex.join(["ulasis-backup", *self.flags, "drop-leftovers", self.names.id])


def make_plan(
    context: Context,
    server: Server,
    source: Source,
    *,
    target: str,
    request: RestoreRequest,
    notices: tuple[str, ...],
    flags: tuple[str, ...] = (),
    joined: tuple[str, ...] = (),
) -> RestorePlan:
    """Decide what happens to each object that exists now; raises Refused.

    *joined* are other databases, restored with it or not, that foreign keys of backups lead to
    from this one, or from which they lead here: moved alone, its tables would take them along.
    """
    have = objects_of(in_scope(server, target, source))
    # Also the proof that everything can be rewritten, before anything is touched.
    source.expect_renamable(target)
    want = {f"table {table.name}" for table in source.contents.tables}
    want |= {f"{entry.kind} {entry.name}" for entry in source.contents.objects}
    left_out = {f"{entry.kind} {entry.name}" for entry in source.left_out}
    everything = objects_of(schema.catalogue(server, target))
    dependants = schema.dependants(server, target) if have else ()
    names = new_names(target)
    keys = (f"foreign keys join it with {name}" for name in joined)
    # Where in place is asked for, nothing is looked for that stands against loading beside.
    in_place = (
        (AS_ASKED,) if request.in_place else (*keys, *_against(context, server, source, names))
    )
    return RestorePlan(
        backup=str(source.name),
        made_at=source.made_at,
        server=server.login.endpoint,
        target=target,
        method=source.method,
        names=None if in_place else names,
        in_place=in_place,
        tables=tuple(sorted(source.only_tables or ())),
        replaced=tuple(sorted(have & want)),
        removed=tuple(sorted(have - want - left_out)),
        created=tuple(sorted(want - have)),
        kept=tuple(sorted((have & left_out) - want)),
        safety_backup=request.safety_backup and bool(everything),
        notices=(
            *notices,
            *(f"restored in place: {why}" for why in in_place if why != AS_ASKED),
            *(() if in_place else _about_replicas(server)),
            *(f"points into {target}: {name}" for name in dependants),
            *(f"not in the backup, left as it is: {name}" for name in sorted(left_out)),
            *_unchecked_keys(server, target, source.only_tables),
            *(() if source.only_tables else _about_rights(server, target, have)),
        ),
        flags=flags,
        undone_tables=_undone(source.only_tables, have),
    )


def _against(context: Context, server: Server, source: Source, names: Names) -> Iterator[str]:
    """Yield what stands against loading beside the target and swapping; raises Refused."""
    target, only = names.database, source.only_tables
    missing = missing_for_swap(server, names)
    if missing:
        yield (
            f"the login may not make schemas beside {target}; run as an administrator: "
            f"{missing[0].statement}"
        )
    yield from _filters(server)
    yield from source.against_beside(server, target)
    there = {table.name for table in schema.catalogue(server, target).tables}
    for entry in source.left_out:
        if entry.kind in (ObjectKind.TABLE, ObjectKind.SEQUENCE) and entry.name in there:
            yield f"{entry.kind} {entry.name} is not in the backup, and stays where it is"
    try:
        refuse_unmovable(server, names, only)
        expect_movable(context, server, target, only)
        exists = schema.database_options(server, target) is not None
        old = read_objects(server, target, Scope(tables=only)) if exists else ()
        new = source.objects(server, target)
        refuse_triggers(server, names, old, new)
        if only is not None:
            refuse_taken_names(server, names, only, new)
    except (Refused, ServerUnsuitable) as error:
        if IN_PLACE not in error.hint:
            raise
        yield error.message
    except PrivilegeMissing as error:
        yield f"what is there now could not be brought back: {error.message}; {error.hint}"


def _about_rights(server: Server, target: str, have: Iterable[str]) -> Iterator[str]:
    """Yield which rights on single routines will not be given back, should routines change."""
    routines = [one for one in have if one.startswith(ROUTINES)]
    if not routines:
        return
    rights = read_rights(server, target)
    if rights is None:
        yield (
            "rights given on single routines cannot be read, and may be lost: "
            f"GRANT SELECT ON mysql.procs_priv TO {privileges.account(server)};"
        )
    elif rights and not _may_grant(server, target):
        for right in rights:
            sql = grant(target, right, mariadb=server.is_mariadb)
            yield f"the login may not give this back, should the routine be made anew: {sql};"


def _may_grant(server: Server, target: str) -> bool:
    return privileges.has(privileges.read_grants(server), "GRANT OPTION", target)


def _filters(server: Server) -> Iterator[str]:
    """Yield the filters that would let a part of a swap out of the binlog."""
    for name, value in _binlog_status(server).items():
        if name in ("binlog_do_db", "binlog_ignore_db") and value:
            yield f"the binlog is filtered ({name}={value}): replicas would get half of a swap"


def _binlog_status(server: Server) -> dict[str, str]:
    for sql in (b"SHOW MASTER STATUS", b"SHOW BINARY LOG STATUS"):
        try:
            rows = server.run_bytes(sql)
        except QueryFailed:
            continue
        return {
            name.lower(): (value or b"").decode("utf-8", "replace")
            for row in rows
            for name, value in row.items()
            if isinstance(value, bytes | None)
        }
    return {}


def _about_replicas(server: Server) -> Iterator[str]:
    """Say so where replicas follow: whether they filter cannot be seen from here."""
    dumps = server.value(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
    )
    if dumps:
        yield (
            f"{dumps} replica(s) follow: if one filters databases, restore with --in-place, for "
            "tables are moved between schemas"
        )


def _unchecked_keys(server: Server, database: str, only: frozenset[str] | None) -> tuple[str, ...]:
    """Return foreign keys that lead from tables that stay to some that are replaced."""
    rows = server.query(
        "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME, CONSTRAINT_NAME "
        "FROM information_schema.KEY_COLUMN_USAGE "
        "WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_SCHEMA = %s ORDER BY 1, 3",
        (database, database),
    )
    return tuple(
        f"rows of {table} are not held against those of {parent} again: foreign key {name}"
        for table, parent, name in rows
        if only is not None and parent in only and table not in only
    )


def _undone(only: frozenset[str] | None, have: set[str]) -> tuple[str, ...]:
    """Return the tables and sequences that bring the old state back; none: all of it."""
    return tuple(
        name for name in sorted(only or ()) if have & {f"table {name}", f"sequence {name}"}
    )


def in_scope(server: Server, database: str, source: Source) -> Catalogue:
    """Return what *database* has of what *source* replaces: everything, or some tables."""
    found = schema.catalogue(server, database)
    only = source.only_tables
    if only is None:
        return found
    rows = server.query(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = %s",
        (database,),
    )
    triggers = [name for name, table in rows if table in only]
    return Catalogue(
        tables=tuple(table for table in found.tables if table.name in only),
        objects=tuple(
            (kind, name)
            for kind, name in found.objects
            if (kind is ObjectKind.TRIGGER and name in triggers)
            or (kind is ObjectKind.SEQUENCE and name in only)
        ),
    )


def objects_of(found: Catalogue) -> set[str]:
    """Return the names of everything in *found*, with their kinds."""
    tables = {f"table {table.name}" for table in found.tables if not table.is_sequence}
    return tables | {f"{kind} {name}" for kind, name in found.objects}


def expect_unchanged(server: Server, source: Source, plan: RestorePlan) -> None:
    """Raise Refused if objects came or went since the plan was made, and perhaps agreed to."""
    planned = {*plan.replaced, *plan.removed, *plan.kept}
    changed = sorted(planned ^ objects_of(in_scope(server, plan.target, source)))
    if changed:
        message = f"{plan.target} changed while the restore was prepared: {', '.join(changed[:5])}"
        raise Refused(message, hint="nothing was touched; look who works on it, then again")
