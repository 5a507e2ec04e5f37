"""The swap: a database's tables exchanged for others, all in one moment, and back again.

A restore loads its tables into a schema beside the database (``prepare``), and ``swap`` moves them
in and the old ones out. What was planned stands in the journal before the first change; a mark in
the database itself tells on which side of the one statement it is, so that after any end of ours,
or the server's, ``settle`` makes the whole database exactly the old or exactly the new one.
``undo`` is the same the other way round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ulasis_backup.errors import Refused, ServerError, SwapIncomplete, UlasisError
from ulasis_backup.model import Login, ObjectKind
from ulasis_backup.mysql import beside, journal, schema
from ulasis_backup.mysql.beside import Names
from ulasis_backup.mysql.journal import Journal, State
from ulasis_backup.mysql.privileges import account, sees_all_schemas
from ulasis_backup.mysql.server import Server, connect, locked, quote
from ulasis_backup.mysql.swap_move import OnPhase
from ulasis_backup.mysql.swap_plans import (
    SwapPlan,
    planned,
    planned_undo,
    refuse_plan,
    tables_to_undo,
)
from ulasis_backup.mysql.swap_sessions import swap_session, wait_for_others
from ulasis_backup.mysql.swap_steps import (
    clean_up_undo,
    drop_before,
    drop_loaded,
    finish,
    is_before_the_move,
    is_undo,
    make_mark,
    move_tables,
    now,
    past_the_move,
    put_back,
    put_new_triggers,
    set_options,
    swap_incomplete,
    tables_in,
    unsettled,
)
from ulasis_backup.mysql.swap_written import Written, written_since


def _nothing(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What a swap did: tables that moved out and in, and what a person should know."""

    names: Names
    moved_out: tuple[str, ...]
    moved_in: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What an undo did: tables that it moved aside, into ``names.undone``, and those it brought.

    ``written`` are tables that were written to since the restore, ``unknown`` those of which it
    cannot be told.
    """

    names: Names
    moved_out: tuple[str, ...]
    moved_in: tuple[str, ...]
    written: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Outcome(StrEnum):
    """What ``settle`` did."""

    FINISHED = "finished"
    ROLLED_BACK = "rolled back"
    UNDO_FINISHED = "undo finished"
    UNDO_ROLLED_BACK = "undo rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What ``settle`` did about one restore that somebody had begun."""

    names: Names
    outcome: Outcome
    note: str
    notes: tuple[str, ...] = ()


def prepare(server: Server, plan: SwapPlan) -> None:
    """Create the before-schema with the journal, state ``loading``, and the empty restore-schema.

    Raises Refused where the swap could not be done, before anything is created. ``roll_back``
    takes all of it away again.
    """
    names = plan.names
    refuse_plan(server, plan)
    options = schema.database_options(server, names.database)
    server.run(f"CREATE DATABASE {quote(names.before)}")
    begun = Journal(
        names=names,
        state=State.LOADING,
        tables=plan.tables,
        note=plan.note,
        made_at=now(),
        existed=options is not None,
        old_options=options,
        new_options=plan.options,
    )
    journal.create(server, begun)
    server.run(f"CREATE DATABASE {quote(names.restore)}")
    set_options(server, names.restore, plan.options or options)


def swap(login: Login, plan: SwapPlan, *, wait: float, on_phase: OnPhase = _nothing) -> Swapped:
    """Exchange the tables of the database for those in the restore-schema, and its objects.

    The caller holds ``server.locked``. Waits *wait* seconds at most for others to let go of the
    tables. Raises Busy and Refused when nothing was changed, SwapIncomplete when the tables are
    the new ones but some object could not be created: ``settle`` tries again, ``undo`` goes back.
    After any other error before that, ``roll_back`` brings back what was.
    """
    with swap_session(login, plan.names.database, 0) as control:
        begun = read_journal(control, plan.names)
        begun = planned(control, begun, plan)
        on_phase("journal")
        make_mark(control, begun)
        on_phase("mark")
        _move(login, control, begun, wait=wait, on_phase=on_phase)
        notes = finish(control, begun, on_phase, later=plan.later)
    return Swapped(
        names=plan.names, moved_out=begun.swap.out, moved_in=begun.swap.into, notes=notes
    )


def complete(login: Login, names: Names) -> tuple[str, ...]:
    """Create what a swap had left for ``later``, and end it; return what is worth knowing.

    The caller holds ``server.locked``. Raises SwapIncomplete where something cannot be created.
    """
    with swap_session(login, names.database, 0) as control:
        return finish(control, read_journal(control, names), _nothing)


def roll_back(login: Login, names: Names) -> None:
    """Take a restore back that has not swapped yet: old objects as they were, its schemas gone.

    Raises Refused once the tables are the new ones. The caller holds ``server.locked``.
    """
    with swap_session(login, names.database, 0) as control:
        begun = journal.read(control, names.before)
        if begun is not None:
            if not is_before_the_move(control, begun):
                message = f"the tables of {names.database} are the restored ones already"
                raise Refused(message, hint=f"`ulasis-backup undo {names.id}` brings the old back")
            if begun.state is State.SWAPPING:
                put_back(login, control, begun)
        drop_loaded(control, names)
        drop_before(control, names)


def undo(login: Login, names: Names, *, wait: float, on_phase: OnPhase = _nothing) -> Undone:
    """Bring back what the restore *names* replaced; what was there since is kept beside.

    The caller holds ``server.locked``. Raises Refused, Busy when nothing was changed,
    SwapIncomplete as ``swap`` does.
    """
    with swap_session(login, names.database, 0) as control:
        begun = read_journal(control, names)
        changed = written(control, begun)
        begun = planned_undo(control, begun)
        on_phase("journal")
        control.run(f"CREATE DATABASE IF NOT EXISTS {quote(names.undone)}")
        make_mark(control, begun)
        on_phase("mark")
        _move(login, control, begun, wait=wait, on_phase=on_phase)
        notes = finish(control, begun, on_phase)
    return Undone(
        names=names,
        moved_out=begun.undo.out,
        moved_in=begun.undo.into,
        written=changed.tables,
        unknown=changed.unknown,
        notes=notes,
    )


def written(server: Server, begun: Journal) -> Written:
    """Return which of the tables that an undo takes away were written to since the restore."""
    home, meant = begun.names.database, set(tables_to_undo(server, begun))
    found = written_since(server, home, begun.swapped_at, rows=begun.rows)
    return Written(
        tables=tuple(name for name in found.tables if name in meant),
        unknown=tuple(name for name in found.unknown if name in meant),
    )


def settle(
    login: Login, database: str, *, server: Server | None = None, leaving: str = ""
) -> tuple[Settled, ...]:
    """Finish or take back whatever a killed run left for *database*; return what was done.

    *server* is a session that holds ``server.locked`` already. The restore *leaving* is left as it
    is if its tables have moved: it is to be undone. Raises Busy while the run that began it lives,
    SwapIncomplete when it can neither be finished nor taken back now.
    """
    with contextlib.ExitStack() as held:
        if server is None:
            server = held.enter_context(connect(login))
            if not pending(server, database) and not beside.mark(server, database):
                return ()
        held.enter_context(locked(server, database))
        done = tuple(_settle_all(login, pending(server, database), leaving))
        mark = beside.mark(server, database) if not pending(server, database) else ""
        if mark:
            raise _without_journal(server, database, mark)
    return done


def pending(server: Server, database: str) -> tuple[Journal, ...]:
    """Return the restores of *database* that are neither done nor taken back."""
    found = []
    for schema_beside in beside.schemas_of(server, database):
        if schema_beside.kind != "before":
            continue
        begun = journal.read(server, schema_beside.schema)
        if begun is None:
            begun = _without_head(server, Names(database=database, id=schema_beside.id))
        if begun and begun.names.database == database and begun.state is not State.DONE:
            found.append(begun)
    return tuple(found)


def incomplete(server: Server, database: str) -> bool:
    """Tell whether *database* is between an old and a new state; who sees it sees that."""
    return beside.mark(server, database) != ""


def _move(login: Login, control: Server, begun: Journal, *, wait: float, on_phase: OnPhase) -> None:
    """Move the tables, or leave all as it was; SwapIncomplete if they moved, and not all came."""
    try:
        move_tables(login, control, begun, wait=wait, on_phase=on_phase)
    except BaseException as error:
        try:
            moved = _recover(login, control, begun)
        except UlasisError:
            if isinstance(error, UlasisError):
                raise unsettled(begun, error) from error
            raise error from None
        if isinstance(error, ServerError):
            if moved:
                raise swap_incomplete(moved, error) from error
            error.message += f"; {begun.names.database} is as it was"
        raise


def _recover(login: Login, control: Server, begun: Journal) -> Journal | None:
    """Put back what was taken off, if the tables have not moved; by another session if need be.

    Returns the journal as it is then if they have.
    """
    with contextlib.ExitStack() as held:
        try:
            control.run("SELECT 1")
        except ServerError:
            control = held.enter_context(swap_session(login, begun.names.database, 0))
        # A RENAME whose session was cut off may still come to its end.
        wait_for_others(control, begun.names.database, _sessions(begun))
        if not is_before_the_move(control, begun):
            return past_the_move(control, begun)
        put_back(login, control, begun)
        return None


def _sessions(begun: Journal) -> int:
    """Return how many sessions the swap may have had."""
    moves = begun.undo if is_undo(begun) else begun.swap
    triggers = sum(d.kind == ObjectKind.TRIGGER for d in (*begun.old, *begun.new, *begun.undone))
    return len(moves.out) + triggers + SESSIONS


def _settle_all(login: Login, begun: tuple[Journal, ...], leaving: str) -> Iterator[Settled]:
    for one in begun:
        is_left = one.names.id == leaving and not is_undo(one)
        if is_left and one.state is State.OBJECTS:
            continue
        try:
            yield _settle(login, one)
        except SwapIncomplete:
            # Its tables have moved, which is all that an undo needs.
            if not is_left:
                raise
        except ServerError as error:
            raise unsettled(one, error) from error


def _settle(login: Login, begun: Journal) -> Settled:
    names = begun.names
    with swap_session(login, names.database, 0) as control:
        wait_for_others(control, names.database, _sessions(begun))
        if begun.state is State.UNDONE:
            clean_up_undo(control, begun)
            return Settled(names=names, outcome=Outcome.UNDO_FINISHED, note=begun.note)
        if is_before_the_move(control, begun):
            if begun.state is not State.LOADING:
                put_back(login, control, begun)
            if not is_undo(begun):
                drop_loaded(control, names)
                drop_before(control, names)
                return Settled(names=names, outcome=Outcome.ROLLED_BACK, note=begun.note)
            return Settled(names=names, outcome=Outcome.UNDO_ROLLED_BACK, note=begun.note)
        put_new_triggers(login, control, begun)
        notes = finish(control, begun, _nothing)
    outcome = Outcome.UNDO_FINISHED if is_undo(begun) else Outcome.FINISHED
    return Settled(names=names, outcome=outcome, note=begun.note, notes=notes)


SESSIONS = 8
"""Sessions of a swap beside one for each table."""


def read_journal(server: Server, names: Names) -> Journal:
    """Return the journal of *names*; raises Refused where there is none."""
    found = journal.read(server, names.before) or journal.read(server, names.undone)
    if found is None:
        message = f"there is no journal of a restore {names.id} of {names.database}"
        raise Refused(message, hint="`ulasis-backup list --leftovers` shows those that there are")
    return found


def _without_head(server: Server, names: Names) -> Journal | None:
    """Return what stands for a before-schema without a journal: it is new, or all but gone."""
    if tables_in(server, names.before):
        return None
    undone = journal.read(server, names.undone)
    return undone or Journal(names=names, state=State.LOADING)


def _without_journal(server: Server, database: str, mark: str) -> SwapIncomplete:
    """Return the error for a mark whose journal is gone, or is not seen by this login.

    The mark may be the only way back that people know of: dropping it is nothing to be hinted at
    unless the login is sure to see every schema that there is.
    """
    message = f"swap incomplete: {database} has the mark {mark}, and "
    if not sees_all_schemas(server):
        pattern = f"{database}__%".replace("_", "\\_")
        return SwapIncomplete(
            f"{message}this login ({account(server)}) sees no journal of it",
            hint=f"set DB_RESTORE_USER (a login that sees `{pattern}`) and run "
            "`ulasis-backup settle`; leave the mark where it is",
        )
    return SwapIncomplete(
        f"{message}its journal is gone from this server",
        hint=f"nobody can tell which tables are right: look at those of {database} and at the "
        f"schemas {database}__…; only when they are: "
        f"DROP TABLE {quote(database)}.{quote(mark)};",
    )
