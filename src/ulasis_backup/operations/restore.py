"""``restore``: plan, safety backup, load beside the live tables, compare, swap.

Nothing on the server is touched before the login's rights are proved and a verified safety backup
of what is there now exists; nothing live before the new tables are compared with the backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from ulasis_backup.errors import (
    ConfirmationNeeded,
    CouldNotCheck,
    NotEqual,
    SettingsError,
    SwapIncomplete,
    UlasisError,
)
from ulasis_backup.events import Notice
from ulasis_backup.methods.contents import Contents
from ulasis_backup.model import Kind
from ulasis_backup.mysql import privileges, restoring, swap
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.server import Server, connect, locked
from ulasis_backup.mysql.swap import Swapped
from ulasis_backup.operations import preflight
from ulasis_backup.operations.backup import MadeBackup, back_up_locked
from ulasis_backup.operations.compare import Comparison
from ulasis_backup.operations.context import Context, now, reading
from ulasis_backup.operations.definers import about_undo, settle_definers
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.operations.leftovers import expect_settled
from ulasis_backup.operations.neighbours import in_order
from ulasis_backup.operations.preflight import check_target, grants_to_compare, refuse_small_packet
from ulasis_backup.operations.restore_beside import (
    Loaded,
    compare_objects,
    create_later,
    later_views,
    load_beside,
    swap_in,
    take_back,
    without_past_events,
)
from ulasis_backup.operations.restore_in_place import Part, replace_in_place, undo_command
from ulasis_backup.operations.restore_plan import (
    RestorePlan,
    RestoreRequest,
    expect_unchanged,
    make_plan,
)
from ulasis_backup.operations.rows_source import Choice, open_rows
from ulasis_backup.operations.source import Source, inexact
from ulasis_backup.operations.sql_orphan import open_orphan
from ulasis_backup.operations.sql_source import open_sql
from ulasis_backup.operations.strangers import expect_movable
from ulasis_backup.operations.verify import verify
from ulasis_backup.repository import repository

Confirm = Callable[[Sequence[RestorePlan]], bool]

__all__ = ["Confirm", "RestorePlan", "RestoreRequest", "Restored", "databases_of", "restore",
           "restore_all"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. ``comparison`` is None where none was made, ``swapped`` in place."""

    plan: RestorePlan
    seconds: float
    safety: MadeBackup | None = None
    swapped: Swapped | None = None
    comparison: Comparison | None = None
    unchecked: CouldNotCheck | None = None
    lossy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredAll:
    """What became of several databases: those that are restored, and where it ended, if it did."""

    done: tuple[Restored, ...]
    failed: tuple[str, UlasisError] | None = None


@dataclass(slots=True, kw_only=True)
class _Work:
    """One database on its way. ``loaded`` lies beside it, until ``swapped`` says where it went."""

    request: RestoreRequest
    server: Server
    source: Source
    plan: RestorePlan
    started: datetime
    safety: MadeBackup | None = None
    loaded: Loaded | None = None
    swapped: Swapped | None = None
    in_place: Contents | None = None
    later: tuple[Definition, ...] = ()

    @property
    def is_done(self) -> bool:
        """Tell whether its tables are the restored ones."""
        return self.swapped is not None or self.in_place is not None


def restore(context: Context, request: RestoreRequest, *, confirm: Confirm) -> Restored:
    """Make the target database equal to a backup.

    *confirm* sees the plan when live data would be replaced. Raises IntegrityError and its
    children, ConfirmationNeeded, Busy, LoadFailed, NotEqual when what was loaded differs from the
    backup; unless it is restored in place, nothing live was touched then.
    """
    return restore_all(context, [request], confirm=confirm).done[0]


def restore_all(
    context: Context, requests: Sequence[RestoreRequest], *, confirm: Confirm
) -> RestoredAll:
    """Restore several databases of one backup: all are loaded before any is touched.

    Raises as ``restore`` does as long as none is restored; what stops it later is in the result.
    """
    with ExitStack() as stack:
        # Keeps prunes from removing the backup meanwhile.
        for name in dict.fromkeys(request.name for request in requests):
            stack.enter_context(reading(context, name))
        opened = _Opened(context, requests)
        works = [_begin(context, stack, opened, number) for number in range(len(requests))]
        if any(work.request.dry_run for work in works):
            return RestoredAll(done=tuple(_restored(work) for work in works))
        _ask([work.plan for work in works], confirm)
        for group in _saved_together(works):
            made = _make_safety_backup(context, [work.plan for work in group])
            for work in group:
                work.safety = made
        try:
            for work in works:
                _load(context, work)
            return _put_in(context, works)
        finally:
            for work in works:
                if work.loaded and not work.is_done:
                    take_back(context, work.server, work.loaded.swap.names)


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


def _held(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the tables and views of *source*, each with its database."""
    yield from ((source.database, table.name) for table in source.contents.tables)
    yield from ((source.database, entry.name) for entry in source.contents.objects)


class _Opened:
    """The backups of several databases, opened, and what each will find of the others."""

    def __init__(self, context: Context, requests: Sequence[RestoreRequest]) -> None:
        self.started = now()
        self.requests = requests
        self.sources = [_open(context, request) for request in requests]

    def held(self) -> frozenset[tuple[str, str]]:
        """Return the tables and views of all sources."""
        return frozenset(one for source in self.sources for one in _held(source))

    def joined(self, number: int) -> tuple[str, ...]:
        """Return the databases that foreign keys join with that of source *number*."""
        own = self.sources[number].database
        keys = {
            (source.database, need.database)
            for source in self.sources
            for need in source.needs().neighbours
            if need.right == "REFERENCES"
        }
        return tuple(sorted({name for key in keys if own in key for name in key} - {own}))


def _begin(context: Context, stack: ExitStack, opened: _Opened, number: int) -> _Work:
    """Open the target, finish what was left there, and plan."""
    request, source = opened.requests[number], opened.sources[number]
    target = request.target or source.database
    server = stack.enter_context(connect(context.config.writing))
    stack.enter_context(locked(server, target))
    _settle(context, server, target, dry_run=request.dry_run)
    preflight.refuse_missing_rights(context, server, source, target, definers=request.definers)
    source, settled_definers = settle_definers(server, source, request.definers)
    opened.sources[number] = source
    notices = (
        *settled_definers,
        *about_undo(server, target),
        *check_target(
            context, server, source, target, beside=not request.in_place, coming=opened.held()
        ),
        *_about_comparing(context, request, target),
    )
    plan = make_plan(
        context, server, source, target=target, request=request, notices=notices,
        flags=context.config.flags, joined=opened.joined(number),
    )  # fmt: skip
    if plan.names is None and not request.dry_run:
        # From the first statement on the backup is all there is: every byte of it is read before.
        source = source.read_whole(context)
        refuse_small_packet(server, source.needs().packet)
    return _Work(request=request, server=server, source=source, plan=plan, started=opened.started)


def _about_comparing(context: Context, request: RestoreRequest, target: str) -> Iterator[str]:
    """Say so where DB_USER will not be able to compare."""
    if request.compare and (grants := grants_to_compare(context, target)):
        yield (
            f"DB_USER may not read {target}: to have it compared, run as an administrator: "
            + grants
        )


def _settle(context: Context, server: Server, target: str, *, dry_run: bool) -> None:
    """Finish or take back what was left there; a dry run touches nothing: SwapIncomplete then."""
    if dry_run:
        expect_settled(server, target)
        return
    for settled in swap.settle(server.login, target, server=server):
        message = f"an earlier restore of {target} ({settled.note}) was {settled.outcome}"
        context.observe(Notice(message=message))


def _open(context: Context, request: RestoreRequest) -> Source:
    """Read and check a backup; of rows only the index, as long as nothing can be lost."""
    trusting = request.allow_unauthenticated
    if request.orphan:
        return open_orphan(context, request.name, allow_unauthenticated=trusting)
    manifest = repository.load_trusted(
        context.repository, request.name, allow_unauthenticated=trusting
    )
    if manifest.header.method == "rows":
        choice = Choice(
            database=request.database,
            tables=request.tables,
            way=request.way,
            accounts=request.accounts,
            collations=request.collations,
        )
        return open_rows(context, manifest, choice, read=request.in_place)
    if request.way or request.accounts:
        message = f"{request.name} is a dump: it has no ways to load, and no accounts"
        raise SettingsError(message, hint="leave --load-by and --accounts out")
    if request.database not in ("", *manifest.header.databases):
        message = f"{request.name} does not hold {request.database}"
        raise SettingsError(message, hint=f"it is of {manifest.header.databases[0]}")
    return open_sql(context, request.name, manifest, tables=frozenset(request.tables) or None)


def _ask(plans: Sequence[RestorePlan], confirm: Confirm) -> None:
    touched = [plan.target for plan in plans if plan.touches_data]
    if touched and not confirm(plans):
        message = f"{', '.join(touched)} holds data that would be replaced"
        hint = "say yes, or use --yes; --dry-run shows the plan"
        raise ConfirmationNeeded(message, hint=hint)


def _saved_together(works: Sequence[_Work]) -> list[list[_Work]]:
    """Return the databases that a safety backup is made of: one for each, or for what is joined.

    What is replaced in place together has to be brought back together.
    """
    saved = [work for work in works if work.plan.safety_backup]
    joined = [work for work in saved if work.plan.names is None]
    return [[work] for work in saved if work.plan.names] + ([joined] if joined else [])


def _make_safety_backup(context: Context, plans: Sequence[RestorePlan]) -> MadeBackup:
    plan = plans[0]
    note = f"before the restore of {plan.backup}"
    targets = tuple(one.target for one in plans)
    request = BackupRequest(databases=targets, method=plan.method, kind=Kind.SAFETY, note=note)
    try:
        with connect(context.config.reading) as server:
            made = back_up_locked(context, request, server)
        verify(context, made.name)
    except UlasisError as error:
        error.message = f"the safety backup failed, nothing was touched: {error.message}"
        error.hint += "; --skip-pre-restore-backup restores without one, and cannot be undone"
        raise
    undo = undo_command(plan, made)
    context.observe(
        Notice(message=f"the safety backup is {made.name}", hint=f"to bring it back: {undo}")
    )
    return made


def _load(context: Context, work: _Work) -> None:
    """Load beside the target what is to be restored; in place there is nothing to do yet."""
    expect_unchanged(work.server, work.source, work.plan)
    if work.plan.names:
        compare = work.request.compare and not work.source.partial
        work.loaded = load_beside(context, work.server, work.source, work.plan, compare=compare)


def _put_in(context: Context, works: Sequence[_Work]) -> RestoredAll:
    """Make each database the restored one, then what reads across them, then compare."""
    failed = _put_in_each(context, works)
    moved = [work for work in works if work.is_done]
    late = [(work.plan.target, view) for work in moved for view in work.later]
    with suppress(UlasisError):  # Each database's own end says what it lacks.
        create_later(works[0].server, late)
    done: list[Restored] = []
    for work in moved:
        try:
            if work.later and work.loaded:
                swap.complete(work.server.login, work.loaded.swap.names)
            work.source.finish(context, work.server, work.plan.target)
            _unmark(work)
            done.append(_compared(context, work))
        except UlasisError as error:
            if len(works) == 1:
                raise
            failed = failed or (work.plan.target, error)
    if failed and not done:
        raise failed[1]
    return RestoredAll(done=tuple(done), failed=failed)


def _unmark(work: _Work) -> None:
    """Take away the mark of a restore in place, this one or one that was cut off before."""
    mark = restoring.find(work.server, work.plan.target)
    left = mark and mark.without(work.plan.tables)
    if left:
        restoring.put(work.server, left)
    elif mark:
        restoring.clear(work.server, work.plan.target)


def _put_in_each(context: Context, works: Sequence[_Work]) -> tuple[str, UlasisError] | None:
    """Swap, then replace in place; return where it ended after some were restored, and why."""
    swaps = [[work] for work in works if work.loaded]
    in_place = [work for work in works if not work.loaded]
    # What is replaced in place comes last: views of it are made when all tables are there.
    steps = [*swaps, in_place] if in_place else swaps
    for step in steps:
        try:
            for work in step:
                expect_unchanged(work.server, work.source, work.plan)
            if step is in_place:
                _replace(context, works, in_place)
            else:
                _swap(context, works, step[0])
        except UlasisError as error:
            if step is steps[0]:
                raise
            return ", ".join(work.plan.target for work in step), error
    return None


def _replace(context: Context, works: Sequence[_Work], in_place: Sequence[_Work]) -> None:
    """Restore databases in place, together, and the views that wait for them."""
    parts = [
        Part(server=one.server, source=one.source, plan=one.plan, safety=one.safety)
        for one in in_place
    ]
    late = [(one.plan.target, view) for one in works if one.is_done for view in one.later]
    contents = replace_in_place(context, parts, late=late)
    for work, loaded in zip(in_place, contents, strict=True):
        work.in_place = loaded


def _swap(context: Context, works: Sequence[_Work], work: _Work) -> None:
    """Exchange the tables of a database; views that cannot be made yet are for later."""
    if work.loaded is None:
        return
    work.loaded = without_past_events(context, work.server, work.loaded)
    after = frozenset(one.plan.target for one in works if not one.is_done and one is not work)
    late = frozenset((one.plan.target, view.name) for one in works for view in one.later)
    work.later = later_views(work.loaded, after, late)
    wait = context.config.settings.restore_lock_wait
    # Loading takes its time: keys may have come from elsewhere since it was planned.
    expect_movable(context, work.server, work.plan.target, work.source.only_tables)
    try:
        work.swapped = swap_in(context, work.loaded, wait=wait, later=work.later)
    except SwapIncomplete:
        # The tables are the new ones: what lay beside must not be taken away.
        work.loaded = None
        raise


def _compared(context: Context, work: _Work) -> Restored:
    """Compare what has not been compared yet; raises NotEqual."""
    try:
        found = _comparison(context, work)
    except CouldNotCheck as error:
        if grants := grants_to_compare(context, work.plan.target):
            error.hint = f"run as an administrator: {grants}"
        return _restored(work, unchecked=error)
    if found and not found.equal:
        raise _not_equal(work, found)
    return _restored(work, comparison=found)


def _comparison(context: Context, work: _Work) -> Comparison | None:
    source, target = work.source, work.plan.target
    if not work.request.compare:
        return None
    if source.partial:
        message = "the backup is partial: it was made without all rights"
        raise CouldNotCheck(message, hint="make a whole one; `check` prints the missing GRANT")
    if work.in_place is not None:
        found = source.compare(context, target, work.in_place)
        return found.excusing(source.text_losses, source.left_out)
    loaded = work.loaded
    if loaded is None or loaded.comparison is None:
        raise (loaded and loaded.unchecked) or CouldNotCheck("nothing was compared")
    objects = compare_objects(context, target, loaded.swap.new_objects, source.only_tables)
    found = loaded.comparison
    found = replace(found, differences=(*found.differences, *objects))
    return found.excusing(source.text_losses, source.left_out)


def _not_equal(work: _Work, comparison: Comparison) -> NotEqual:
    plan = work.plan
    shown = "; ".join(str(found) for found in comparison.differences[:5])
    message = f"{plan.target} was loaded, but differs from the backup: {shown}"
    hint = "is an application writing to it? stop it and restore again"
    if plan.undo_command:
        hint = f"to swap back: {plan.undo_command}"
    if work.safety:
        hint += f"; the state before is in {work.safety.name}"
    return NotEqual(message, hint=hint)


def _restored(
    work: _Work, *, comparison: Comparison | None = None, unchecked: CouldNotCheck | None = None
) -> Restored:
    return Restored(
        plan=work.plan,
        safety=work.safety,
        swapped=work.swapped,
        comparison=comparison,
        unchecked=unchecked,
        lossy=inexact(work.source),
        seconds=(now() - work.started).total_seconds(),
    )
