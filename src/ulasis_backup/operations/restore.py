"""``restore``: plan, safety backup, load in place, compare.

Nothing on the server is touched before the whole backup has been read and found authentic, the
login's rights are proved, and a verified safety backup of what is there now exists.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from ulasis_backup.errors import (
    AuthenticationFailed,
    ConfirmationNeeded,
    CouldNotCheck,
    LoadFailed,
    NotEqual,
    Refused,
    SettingsError,
    UlasisError,
)
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods import load
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.definers import Definers
from ulasis_backup.model import Kind, ObjectKind
from ulasis_backup.mysql import privileges, schema
from ulasis_backup.mysql.loading import Way
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import Server, connect, locked, quote
from ulasis_backup.operations.backup import MadeBackup, back_up_locked
from ulasis_backup.operations.compare import Comparison
from ulasis_backup.operations.context import Context, now, reading
from ulasis_backup.operations.definers import settle_definers
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.operations.neighbours import in_order
from ulasis_backup.operations.preflight import check_target
from ulasis_backup.operations.rows_source import Choice, open_rows
from ulasis_backup.operations.source import Source, inexact
from ulasis_backup.operations.sql_source import open_orphan, open_sql
from ulasis_backup.operations.verify import verify
from ulasis_backup.repository import repository
from ulasis_backup.repository.names import PayloadName

Confirm = Callable[["RestorePlan"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What to restore, and how.

    ``database`` is which one of a backup of several; ``tables`` restores those alone, of a rows
    backup, loaded in a certain ``way`` where one is asked for. ``accounts`` restores the accounts
    that such a backup keeps as well. ``collations`` are pairs: which one is to stand for which
    on a server that lacks it. ``definers`` is what becomes of definers that the target lacks.
    """

    name: PayloadName
    database: str = ""
    target: str = ""
    tables: tuple[str, ...] = ()
    way: Way | None = None
    accounts: bool = False
    collations: tuple[tuple[str, str], ...] = ()
    definers: Definers = Definers.KEEP
    safety_backup: bool = True
    compare: bool = True
    orphan: bool = False
    allow_unauthenticated: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore will do; ``--dry-run`` prints it.

    ``undone_tables`` are those to bring back to undo a restore of some tables alone: the others
    may be written to meanwhile.
    """

    backup: str
    made_at: str
    server: str
    target: str
    method: str
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. ``comparison`` is None where none was made."""

    plan: RestorePlan
    seconds: float
    safety: MadeBackup | None = None
    comparison: Comparison | None = None
    unchecked: CouldNotCheck | None = None
    lossy: bool = False


def restore(context: Context, request: RestoreRequest, *, confirm: Confirm) -> Restored:
    """Make the target database equal to a backup.

    *confirm* sees the plan when live data would be replaced. Raises IntegrityError and its
    children before anything is touched, ConfirmationNeeded, Busy, LoadFailed (with the command
    that brings the safety backup back), NotEqual when what was loaded differs from the backup.
    """
    with reading(context, request.name):
        return _restore(context, request, confirm=confirm)


def _restore(context: Context, request: RestoreRequest, *, confirm: Confirm) -> Restored:
    started = now()
    source = _open(context, request)
    target = request.target or source.database
    with connect(context.config.writing) as server, locked(server, target):
        source, settled = settle_definers(server, source, request.definers)
        notices = (*settled, *check_target(context, server, source, target))
        plan = _plan(server, source, target=target, request=request, notices=notices)
        plan = replace(plan, flags=context.config.flags)
        if request.dry_run:
            return Restored(plan=plan, seconds=_since(started))
        if plan.touches_data and not confirm(plan):
            message = f"{target} holds data that would be replaced"
            hint = "say yes, or use --yes; --dry-run shows the plan"
            raise ConfirmationNeeded(message, hint=hint)
        safety = _make_safety_backup(context, plan)
        _expect_unchanged(server, source, plan)
        expected = _replace(context, server, source, plan=plan, safety=safety)
        comparison, unchecked = _compare(context, request, source, plan, expected=expected)
    if comparison and not comparison.equal:
        raise _not_equal(plan, comparison, safety)
    return Restored(
        plan=plan,
        safety=safety,
        comparison=comparison,
        unchecked=unchecked,
        lossy=inexact(source),
        seconds=_since(started),
    )


def _open(context: Context, request: RestoreRequest) -> Source:
    """Read and check the whole backup."""
    trusting = request.allow_unauthenticated
    if request.orphan:
        return open_orphan(context, request.name, allow_unauthenticated=trusting)
    manifest = repository.load_trusted(
        context.repository, request.name, allow_unauthenticated=trusting
    )
    if manifest.header.method == "rows":
        return open_rows(
            context,
            manifest,
            Choice(
                database=request.database,
                tables=request.tables,
                way=request.way,
                accounts=request.accounts,
                collations=request.collations,
            ),
        )
    if request.tables or request.way or request.accounts:
        message = f"{request.name} is a dump: it has no single tables, ways to load, or accounts"
        raise SettingsError(message, hint="restore it whole, with --target-database beside the old")
    if request.database not in ("", *manifest.header.databases):
        message = f"{request.name} does not hold {request.database}"
        raise SettingsError(message, hint=f"it is of {manifest.header.databases[0]}")
    return open_sql(context, request.name, manifest)


def databases_of(context: Context, request: RestoreRequest) -> tuple[str, ...]:
    """Return the databases of a backup that *request* restores, one after the other.

    Raises SettingsError where one of several has to be chosen.
    """
    if request.orphan or request.database:
        return (request.database,)
    manifest = repository.load_trusted(
        context.repository, request.name, allow_unauthenticated=request.allow_unauthenticated
    )
    held = manifest.header.databases
    if len(held) > 1 and (request.target or request.tables):
        message = f"{request.name} holds several databases: {', '.join(held)}"
        raise SettingsError(message, hint="choose one with --from-database")
    return in_order(index_of(context, manifest)) if len(held) > 1 else held


def refuse_missing_rights(
    context: Context, request: RestoreRequest, databases: tuple[str, ...]
) -> None:
    """Raise PrivilegeMissing if a later one of several *databases* could not be restored."""
    if len(databases) > 1 and not request.orphan:
        with connect(context.config.writing) as server:
            for database in databases:
                missing = privileges.missing_for_restore(server, database)
                if missing:
                    raise privileges.refuse(missing, partial_hint=False)


def _plan(
    server: Server,
    source: Source,
    *,
    target: str,
    request: RestoreRequest,
    notices: tuple[str, ...],
) -> RestorePlan:
    """Decide what happens to each object that exists now; raises Refused."""
    have = _objects(_in_scope(server, target, source))
    # Also the proof that everything can be rewritten, before anything is touched.
    source.expect_renamable(target)
    want = {f"table {table.name}" for table in source.contents.tables}
    want |= {f"{entry.kind} {entry.name}" for entry in source.contents.objects}
    left_out = {f"{entry.kind} {entry.name}" for entry in source.left_out}
    everything = _objects(schema.catalogue(server, target))
    dependants = schema.dependants(server, target) if have else ()
    return RestorePlan(
        backup=str(source.name),
        made_at=source.made_at,
        server=server.login.endpoint,
        target=target,
        method=source.method,
        tables=tuple(sorted(source.only_tables or ())),
        replaced=tuple(sorted(have & want)),
        removed=tuple(sorted(have - want - left_out)),
        created=tuple(sorted(want - have)),
        kept=tuple(sorted((have & left_out) - want)),
        safety_backup=request.safety_backup and bool(everything),
        notices=(
            *notices,
            *(f"points into {target}: {name}" for name in dependants),
            *(f"not in the backup, left as it is: {name}" for name in sorted(left_out)),
            *_unchecked_keys(server, target, source.only_tables),
        ),
        undone_tables=_undone(source.only_tables, have),
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


def _in_scope(server: Server, database: str, source: Source) -> Catalogue:
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


def _objects(found: Catalogue) -> set[str]:
    """Return the names of everything in *found*, with their kinds."""
    tables = {f"table {table.name}" for table in found.tables if not table.is_sequence}
    return tables | {f"{kind} {name}" for kind, name in found.objects}


def _expect_unchanged(server: Server, source: Source, plan: RestorePlan) -> None:
    """Raise Refused if objects came or went since the plan was made, and perhaps agreed to."""
    planned = {*plan.replaced, *plan.removed, *plan.kept}
    changed = sorted(planned ^ _objects(_in_scope(server, plan.target, source)))
    if changed:
        message = f"{plan.target} changed while the restore was prepared: {', '.join(changed[:5])}"
        raise Refused(message, hint="nothing was touched; look who works on it, then again")


def _make_safety_backup(context: Context, plan: RestorePlan) -> MadeBackup | None:
    if not plan.safety_backup:
        return None
    note = f"before the restore of {plan.backup}"
    request = BackupRequest(
        databases=(plan.target,), method=plan.method, kind=Kind.SAFETY, note=note
    )
    try:
        with connect(context.config.reading) as server:
            made = back_up_locked(context, request, server)
        verify(context, made.name)
    except UlasisError as error:
        error.message = f"the safety backup failed, nothing was touched: {error.message}"
        error.hint += "; --skip-pre-restore-backup restores without one, and cannot be undone"
        raise
    undo = _undo_command(plan, made)
    context.observe(
        Notice(message=f"the safety backup is {made.name}", hint=f"to bring it back: {undo}")
    )
    return made


def _replace(
    context: Context,
    server: Server,
    source: Source,
    *,
    plan: RestorePlan,
    safety: MadeBackup | None,
) -> Contents:
    """Empty the target and load the backup; from here on the old state is in *safety* alone."""
    total = source.contents.plain.bytes
    context.observe(PhaseBegan(name="load", subject=plan.target, total=total, exact=True))
    try:
        if source.only_tables is None:
            load.make_database(server, plan.target, source.options_for(server))
        else:
            server.run(f"CREATE DATABASE IF NOT EXISTS {quote(plan.target)}")
        kept = frozenset((entry.kind, entry.name) for entry in source.left_out)
        load.empty(server, plan.target, _in_scope(server, plan.target, source), kept=kept)
        contents = source.load(context, server, plan.target)
    except UlasisError as error:
        raise _half_done(error, plan, safety) from None
    except BaseException:
        message = f"the restore of {plan.target} was cut off in the middle: it is incomplete now"
        context.observe(Notice(message=message, hint=_way_back(plan, safety)))
        raise
    context.observe(PhaseEnded(name="load"))
    return contents


def _half_done(error: UlasisError, plan: RestorePlan, safety: MadeBackup | None) -> UlasisError:
    """Say that the target is now incomplete, and how to get the old state back."""
    message = f"the restore of {plan.target} stopped in the middle: {error.message}"
    hint = f"{error.hint}; {_way_back(plan, safety)}"
    kind = type(error) if isinstance(error, AuthenticationFailed) else LoadFailed
    return kind(message, hint=hint)


def _way_back(plan: RestorePlan, safety: MadeBackup | None) -> str:
    if safety is None:
        return "there is no safety backup; restore again when the cause is gone"
    return f"to bring the old state back: {_undo_command(plan, safety)}"


def _undo_command(plan: RestorePlan, safety: MadeBackup) -> str:
    """Return the command that brings the safety backup back, from here to that server."""
    words = ["ulasis-backup", *plan.flags, "restore", str(safety.name)]
    words += ["--target-database", plan.target, "--skip-pre-restore-backup", "--yes"]
    if plan.undone_tables and not any("," in name for name in plan.undone_tables):
        words += ["--tables", ",".join(plan.undone_tables)]
    return shlex.join(words)


def _compare(
    context: Context,
    request: RestoreRequest,
    source: Source,
    plan: RestorePlan,
    *,
    expected: Contents,
) -> tuple[Comparison | None, CouldNotCheck | None]:
    """Compare what was loaded with the backup, unless asked not to, or impossible."""
    if not request.compare:
        return None, None
    try:
        _need_whole(source)
        found = source.compare(context, plan.target, expected)
        return found.excusing(source.text_losses, source.left_out), None
    except CouldNotCheck as error:
        return None, error


def _need_whole(source: Source) -> None:
    """Raise CouldNotCheck for a partial backup: nobody knows what it lacks."""
    if source.partial:
        message = "the backup is partial: it was made without all rights"
        raise CouldNotCheck(message, hint="make a whole one; `check` prints the missing GRANT")


def _not_equal(plan: RestorePlan, comparison: Comparison, safety: MadeBackup | None) -> NotEqual:
    shown = "; ".join(str(found) for found in comparison.differences[:5])
    message = f"{plan.target} was loaded, but differs from the backup: {shown}"
    hint = "is an application writing to it? stop it and restore again"
    if safety:
        hint += f"; the state before is in {safety.name}"
    return NotEqual(message, hint=hint)


def _since(started: datetime) -> float:
    return (now() - started).total_seconds()
