"""A restore beside the live tables: load, compare, swap. Until the swap nothing live is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ulasis_backup.errors import CouldNotCheck, LoadFailed, NotEqual, ServerError, UlasisError
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import swap
from ulasis_backup.mysql.beside import Names
from ulasis_backup.mysql.creation import create_views, switch_off_past
from ulasis_backup.mysql.definitions import Definition, digest_bytes
from ulasis_backup.mysql.server import Server, connect, quote, quote_bytes
from ulasis_backup.mysql.swap import Swapped
from ulasis_backup.mysql.swap_objects import Scope, read_objects
from ulasis_backup.mysql.swap_plans import SwapPlan
from ulasis_backup.operations.compare import (
    DEFINITION,
    EXTRA,
    MISSING,
    Comparison,
    Difference,
    Place,
)
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.neighbours import needs_of
from ulasis_backup.operations.restore_plan import RestorePlan
from ulasis_backup.operations.room import with_room
from ulasis_backup.operations.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Tables that lie ready beside the target, compared or not, and the swap that is to follow."""

    swap: SwapPlan
    comparison: Comparison | None
    unchecked: CouldNotCheck | None


def load_beside(
    context: Context, server: Server, source: Source, plan: RestorePlan, *, compare: bool
) -> Loaded:
    """Load the tables of *source* into the restore-schema of *plan*, and compare them.

    On any failure everything that was made is taken away again; nothing live was touched. Raises
    LoadFailed, NotEqual, IntegrityError and its children.
    """
    if plan.names is None:
        msg = "a plan to restore in place has no names for schemas beside"
        raise TypeError(msg)
    try:
        return _load(context, server, source, plan, plan.names, compare=compare)
    except BaseException:
        take_back(context, server, plan.names)
        raise


def _load(  # noqa: PLR0917 (as load_beside)
    context: Context,
    server: Server,
    source: Source,
    plan: RestorePlan,
    names: Names,
    *,
    compare: bool,
) -> Loaded:
    objects = source.objects(server, plan.target)
    left_out = {(str(entry.kind), entry.name) for entry in source.left_out}
    planned = SwapPlan(
        names=names,
        tables=source.only_tables,
        new_objects=objects,
        options=source.options_for(server) if source.only_tables is None else None,
        note=plan.backup,
        kept=frozenset(left_out - {(str(one.kind), one.name) for one in objects}),
        rows={t.name: t.rows for t in source.contents.tables if t.rows is not None},
    )
    swap.prepare(server, planned)
    place = Place(schema=names.restore, target=plan.target)
    total = source.contents.plain.bytes
    context.observe(PhaseBegan(name="load", subject=plan.target, total=total, exact=True))
    try:
        contents = source.load_tables(context, server, place, compare=compare)
    except ServerError as error:
        with_room(server, error)
        raise _failed(error, plan) from None
    except UlasisError as error:
        error.message += "; nothing live was touched"
        raise
    context.observe(PhaseEnded(name="load"))
    if not compare:
        return Loaded(swap=planned, comparison=None, unchecked=None)
    try:
        found = source.compare_tables(context, place, contents)
        found = found.excusing(source.text_losses, source.left_out)
    except CouldNotCheck as error:
        return Loaded(swap=planned, comparison=None, unchecked=error)
    if not found.equal:
        raise _differs(plan, found)
    return Loaded(swap=planned, comparison=found, unchecked=None)


def without_past_events(context: Context, server: Server, loaded: Loaded) -> Loaded:
    """Return *loaded* with events that would run once more, late, switched off; says which."""
    objects, off = switch_off_past(server, loaded.swap.new_objects)
    for name in off:
        message = f"event {name}: the time at which it was to run once is over; it comes disabled"
        hint = f"ALTER EVENT {quote(loaded.swap.names.database)}.{quote(name)} ENABLE; runs it"
        context.observe(Notice(message=message, hint=hint))
    return replace(loaded, swap=replace(loaded.swap, new_objects=objects))


def swap_in(
    context: Context, loaded: Loaded, *, wait: float, later: Sequence[Definition] = ()
) -> Swapped:
    """Exchange the live tables for those that lie ready.

    Views among *later* are left for ``create_later`` and ``complete``. Raises Busy and Refused when
    nothing was changed, SwapIncomplete when objects are missing; see ``swap.swap``.
    """
    names = loaded.swap.names
    put_off = frozenset((str(one.kind), one.name) for one in later)
    planned = replace(loaded.swap, later=put_off)
    context.observe(PhaseBegan(name="swap", subject=names.database))
    done = swap.swap(context.config.writing, planned, wait=wait)
    context.observe(PhaseEnded(name="swap"))
    return done


def take_back(context: Context, server: Server, names: Names) -> None:
    """Take away what was made beside a database, if that can be done now; else say who will."""
    try:
        swap.roll_back(server.login, names)
    except UlasisError as error:
        message = f"{names.restore} could not be removed: {error.message}"
        hint = f"the next restore of {names.database} does it, and `ulasis-backup settle` too"
        context.observe(Notice(message=message, hint=hint))


def compare_objects(
    context: Context, target: str, wanted: Sequence[Definition], only: frozenset[str] | None
) -> tuple[Difference, ...]:
    """Return where the objects of *target*, or of *only* some tables, are not as *wanted*.

    Raises CouldNotCheck.
    """
    try:
        with connect(context.config.reading) as server:
            have = read_objects(server, target, Scope(tables=only))
            astray = tuple(_astray(server, target))
    except UlasisError as error:
        raise CouldNotCheck(f"could not compare: {error.message}", hint=error.hint) from None
    return (*_differences(wanted, have), *astray)


def later_views(
    loaded: Loaded, after: frozenset[str], late_ones: frozenset[tuple[str, str]]
) -> tuple[Definition, ...]:
    """Return the views that cannot be created yet.

    Directly or not they read what is in databases that come *after* this one, or views of others
    that come late themselves, *late_ones*: pairs of database and name.
    """
    target = loaded.swap.names.database
    views = [one for one in loaded.swap.new_objects if one.kind == ObjectKind.VIEW]
    late = {
        view.name: view
        for view in views
        if any(
            need.database in after or (need.database, need.table) in late_ones
            for need in needs_of([("view", view.text)], target)
        )
    }
    grown = True
    while grown:
        more = {
            view.name: view
            for view in views
            if view.name not in late and any(quote_bytes(name) in view.text for name in late)
        }
        grown = bool(more)
        late |= more
    return tuple(late.values())


def create_later(server: Server, views: Sequence[tuple[str, Definition]]) -> None:
    """Create *views*, pairs of database and view, as far as there is an order that works."""
    waiting, tried = list(views), 0
    while waiting and len(waiting) != tried:
        tried = len(waiting)
        failed: list[tuple[str, Definition]] = []
        for database, view in waiting:
            try:
                create_views(server, database, [view])
            except LoadFailed:
                failed.append((database, view))
        waiting = failed


def _failed(error: ServerError, plan: RestorePlan) -> UlasisError:
    message = f"{plan.backup} could not be loaded, {plan.target} is as it was: {error.message}"
    kind = type(error) if type(error).exit_code != ServerError.exit_code else LoadFailed
    return kind(message, hint=error.hint)


def _differs(plan: RestorePlan, found: Comparison) -> NotEqual:
    shown = "; ".join(str(one) for one in found.differences[:5])
    message = (
        f"what was loaded for {plan.target} differs from the backup: {shown}; nothing live was "
        "touched"
    )
    return NotEqual(message, hint="verify the backup; look at the server's error log and memory")


def _differences(wanted: Sequence[Definition], have: Sequence[Definition]) -> Iterator[Difference]:
    # What was broken before is neither expected nor in the way.
    expected = {(o.kind, o.name): digest_bytes(o) for o in wanted if "broken" not in o.extra}
    broken = {(o.kind, o.name) for o in wanted if "broken" in o.extra}
    found = {(o.kind, o.name): digest_bytes(o) for o in have}
    for key in sorted(expected.keys() | found.keys()):
        kind, name = str(key[0]), key[1]
        if key not in found:
            yield Difference(kind=kind, name=name, what=MISSING)
        elif key not in expected and key not in broken:
            yield Difference(kind=kind, name=name, what=EXTRA)
        elif key in expected and expected[key] != found[key]:
            yield Difference(kind=kind, name=name, what=DEFINITION)


def _astray(server: Server, target: str) -> Iterator[Difference]:
    """Yield foreign keys that lead into a schema beside the database."""
    for table, parent in server.query(
        "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_SCHEMA "
        "FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s "
        "AND REFERENCED_TABLE_SCHEMA REGEXP '__(restore|before)_[0-9a-f]{8}$'",
        (target,),
    ):
        yield Difference(
            kind="table", name=str(table), what=DEFINITION, detail=f" (a key into {parent})"
        )
