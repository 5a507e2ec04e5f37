"""The steps of a swap and of its undo, each of which can be taken again after any end."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ulasis_backup.errors import Busy, Refused, ServerError, SwapIncomplete, UlasisError
from ulasis_backup.model import DatabaseOptions, Login, ObjectKind
from ulasis_backup.mysql import beside, journal, schema
from ulasis_backup.mysql.beside import GATE, JOURNAL, MOVED, OURS, WAITING, Names
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.journal import Journal, Moves, State
from ulasis_backup.mysql.routine_rights import give_back
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote
from ulasis_backup.mysql.swap_checks import trigger_collation
from ulasis_backup.mysql.swap_move import Exchange, OnPhase, move
from ulasis_backup.mysql.swap_objects import (
    BODIES,
    Scope,
    by_table,
    drop,
    early_views,
    put_missing,
    put_triggers,
    read_objects,
    reconcile,
)
from ulasis_backup.mysql.swap_sessions import IN_USE, OWN_WAIT

BODIES_WAIT = 2
"""Seconds that creating routines may wait while tables are locked: the rest comes after."""


UNKNOWN_RIGHTS = "rights given on single routines could not be read, and may be lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One direction of an exchange: a swap, or its undo."""

    out_schema: str
    in_schema: str
    moves: Moves
    off: tuple[Definition, ...]
    on: tuple[Definition, ...]
    off_options: DatabaseOptions | None
    on_options: DatabaseOptions | None


def is_undo(begun: Journal) -> bool:
    """Tell whether the journal is about an undo."""
    return begun.state in (State.UNDOING, State.UNDO_OBJECTS, State.UNDONE)


def side(begun: Journal) -> Side:
    """Return what is exchanged by what *begun* is about."""
    names = begun.names
    if is_undo(begun):
        return Side(
            out_schema=names.undone, in_schema=names.before, moves=begun.undo,
            off=begun.undone, on=begun.old,
            off_options=begun.undone_options, on_options=begun.old_options,
        )  # fmt: skip
    return Side(
        out_schema=names.before, in_schema=names.restore, moves=begun.swap,
        off=begun.old, on=begun.new,
        off_options=begun.old_options, on_options=begun.new_options,
    )  # fmt: skip


def is_before_the_move(server: Server, begun: Journal) -> bool:
    """Tell whether the tables are still the ones that were there when it began."""
    if begun.state is State.LOADING:
        return True
    if begun.state not in (State.SWAPPING, State.UNDOING):
        return False
    return beside.mark(server, begun.names.database) != MOVED


def tables_in(server: Server, database: str) -> tuple[str, ...]:
    """Return the tables and sequences in *database*, without ours."""
    found = schema.catalogue(server, database).tables
    return tuple(sorted(table.name for table in found if table.name not in OURS))


def make_mark(server: Server, begun: Journal) -> None:
    """Put the mark into the database, which is made if there is none."""
    name = begun.names.database
    if schema.database_options(server, name) is None:
        # Only then: MySQL waits for open transactions even if there is one.
        server.run(f"CREATE DATABASE IF NOT EXISTS {quote(name)}")
    server.run(
        f"CREATE TABLE IF NOT EXISTS {quote(name)}.{quote(WAITING)} (id INT NOT NULL PRIMARY KEY) "
        f"ENGINE=InnoDB COMMENT='ulasis-backup: swap {begun.names.id} is incomplete'"
    )


def move_tables(
    login: Login, control: Server, begun: Journal, *, wait: float, on_phase: OnPhase
) -> None:
    """Take off what must not run or stand in the way, and exchange the tables."""
    one, home = side(begun), begun.names.database
    before_all = [d for d in one.off if d.kind == ObjectKind.EVENT]
    before_all += early_views(one.off, one.moves.into)
    drop(control, home, [(ObjectKind(d.kind), d.name) for d in before_all])
    on_phase("events off")
    off = tuple(t for t in one.off if t.kind == ObjectKind.TRIGGER)
    on = tuple(t for t in one.on if t.kind == ObjectKind.TRIGGER)
    collation = trigger_collation(control, home, (*off, *on))
    if collation:
        control.run(f"ALTER DATABASE {quote(home)} COLLATE {collation}")
    exchange = Exchange(
        names=begun.names, out_schema=one.out_schema, in_schema=one.in_schema,
        moves=one.moves, off=off, on=on, bodies=lambda: _bodies(control, begun),
    )  # fmt: skip
    move(login, control, exchange, wait=wait, on_phase=on_phase)


def put_back(login: Login, control: Server, begun: Journal) -> Journal:
    """Put back what was taken off before the tables moved; the journal is what it was before."""
    one, home = side(begun), begun.names.database
    triggers = tuple(d for d in one.off if d.kind == ObjectKind.TRIGGER)
    if schema.database_options(control, home) is not None:
        if begun.tables is None:
            reconcile(control, home, one.off, known=one.on, kinds=BODIES)
            give_back(control, home, begun.rights or ())
        _put_triggers(login, control, home, triggers=triggers, tables=by_table(triggers))
        set_options(control, home, one.off_options)
        put_missing(control, home, early_views(one.off, one.moves.into))
        put_missing(control, home, [d for d in one.off if d.kind == ObjectKind.EVENT])
    if not is_undo(begun):
        _drop_mark(control, begun)
        if not begun.existed:
            _drop_if_empty(control, home)
        return journal.advance(control, begun, State.LOADING)
    state = State.DONE if begun.swapped_at else State.OBJECTS
    if state is State.OBJECTS:
        _keep_mark(control, begun)
    else:
        _drop_mark(control, begun)
    _drop_if_empty(control, begun.names.undone)
    return journal.advance(control, begun, state)


def put_new_triggers(login: Login, control: Server, begun: Journal) -> None:
    """Put the triggers on tables that have moved, each table's under a lock.

    Raises SwapIncomplete where one cannot be created: an undo can go on from there.
    """
    one, home = side(begun), begun.names.database
    triggers = tuple(d for d in one.on if d.kind == ObjectKind.TRIGGER)
    try:
        begun = past_the_move(control, begun)
        _put_triggers(login, control, home, triggers=triggers, tables=one.moves.into)
    except ServerError as error:
        raise swap_incomplete(begun, error) from error


def past_the_move(control: Server, begun: Journal) -> Journal:
    """Write down that the tables have moved: from here on it is about objects alone."""
    state = State.UNDO_OBJECTS if is_undo(begun) else State.OBJECTS
    return journal.advance(control, begun, state)


def finish(
    control: Server,
    begun: Journal,
    on_phase: OnPhase,
    *,
    later: frozenset[tuple[str, str]] = frozenset(),
) -> tuple[str, ...]:
    """Create what belongs to the tables that have moved, and end; raises SwapIncomplete.

    Objects that come *later*, pairs of kind and name, are left out, and then it does not end.
    """
    try:
        return _finish(control, begun, on_phase, later)
    except ServerError as error:
        raise swap_incomplete(begun, error) from error


def _finish(
    control: Server, begun: Journal, on_phase: OnPhase, later: frozenset[tuple[str, str]]
) -> tuple[str, ...]:
    undoing, names = is_undo(begun), begun.names
    begun = past_the_move(control, begun)
    one = side(begun)
    notes: tuple[str, ...] = ()
    _point_defaults(control, names.database, one.in_schema)
    set_options(control, names.database, one.on_options)
    if begun.tables is None:
        now_wanted = [d for d in one.on if (str(d.kind), d.name) not in later]
        notes = reconcile(control, names.database, now_wanted, known=one.off)
        notes += _rights_back(control, begun, one)
    on_phase("objects")
    if later:
        return notes
    _drop_mark(control, begun)
    if undoing:
        begun = journal.advance(control, begun, State.UNDONE)
        clean_up_undo(control, begun)
        return notes
    drop_loaded(control, names, only_empty=True)
    journal.advance(control, begun, State.DONE, swapped_at=now())
    on_phase("done")
    return notes


def _rights_back(control: Server, begun: Journal, one: Side) -> tuple[str, ...]:
    """Give the rights on routines back; return what a person has to do about it."""
    if begun.rights is not None:
        return give_back(control, begun.names.database, begun.rights)
    before = {(d.kind, d.name): d for d in one.off if d.kind in BODIES}
    made = [d.name for d in one.on if d.kind in BODIES and before.get((d.kind, d.name)) != d]
    if not made or not (before or is_undo(begun)):
        return ()
    names = ", ".join(made[:5])
    return (f"{UNKNOWN_RIGHTS}: look at those on {names}{' ...' if made[5:] else ''}",)


def clean_up_undo(control: Server, begun: Journal) -> None:
    """Let nothing stay but the undone-schema, with the journal, where there is anything in it."""
    names = begun.names
    if not begun.existed:
        _drop_if_empty(control, names.database)
    drop_loaded(control, names, only_empty=True)
    if journal.read(control, names.undone) is not None:
        # It was cut off right behind this.
        drop_before(control, names)
        return
    if schema.database_options(control, names.undone) and tables_in(control, names.undone):
        journal_table = f"{quote(names.before)}.{quote(JOURNAL)}"
        control.run(f"RENAME TABLE {journal_table} TO {quote(names.undone)}.{quote(JOURNAL)}")
    else:
        control.run(f"DROP DATABASE IF EXISTS {quote(names.undone)}")
    drop_before(control, names)


def drop_loaded(control: Server, names: Names, *, only_empty: bool = False) -> None:
    """Drop the restore-schema, *only_empty* if there are no tables left in it."""
    if schema.database_options(control, names.restore) is None:
        return
    if not only_empty or not tables_in(control, names.restore):
        control.run("SET SESSION foreign_key_checks = 0")
        control.run(f"DROP DATABASE {quote(names.restore)}")
        control.run("SET SESSION foreign_key_checks = 1")


def drop_before(control: Server, names: Names) -> None:
    """Drop the before-schema, which holds nothing but the journal; raises Refused if it does."""
    if schema.database_options(control, names.before) is None:
        return
    left = tables_in(control, names.before)
    if left:
        message = f"{names.before} holds tables: {', '.join(left[:5])}"
        raise Refused(message, hint="look at them, and drop that schema by hand")
    control.run(f"DROP DATABASE {quote(names.before)}")


def set_options(server: Server, database: str, options: DatabaseOptions | None) -> None:
    """Give *database* the charset, collation and comment of *options*, if they are others."""
    if options is None or schema.database_options(server, database) == options:
        return
    comment = " COMMENT = %s" if schema.has_database_comments(server) else ""
    arguments = [options.comment] if comment else None
    # With arguments the driver takes `%` for theirs.
    name = quote(database).replace("%", "%%") if arguments else quote(database)
    server.run(
        f"ALTER DATABASE {name} CHARACTER SET {options.character_set} "
        f"COLLATE {options.collation}{comment}",
        arguments,
    )


def now() -> str:
    """Return the time, in UTC, as it stands in the journal."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def in_time(database: str) -> Iterator[None]:
    """Turn a lock that was not to be had into Busy."""
    try:
        yield
    except QueryFailed as error:
        if error.number not in IN_USE:
            raise
        message = f"swap incomplete: tables of {database} are in use: {error.message}"
        hint = "end the long transactions (SHOW PROCESSLIST), then run the same again"
        raise Busy(message, hint=hint) from None


def _put_triggers(
    login: Login,
    control: Server,
    database: str,
    *,
    triggers: Sequence[Definition],
    tables: Collection[str],
) -> None:
    collation = trigger_collation(control, database, triggers)
    if collation:
        control.run(f"ALTER DATABASE {quote(database)} COLLATE {collation}")
    with connect(login) as locker, in_time(database):
        locker.run(f"SET SESSION lock_wait_timeout = {OWN_WAIT}")
        put_triggers(control, database, triggers, tables=tables, locker=locker)


def _drop_if_empty(control: Server, database: str) -> None:
    if schema.database_options(control, database) and not tables_in(control, database):
        control.run(f"DROP DATABASE {quote(database)}")


def _bodies(control: Server, begun: Journal) -> None:
    """Create the routines that triggers may call, as far as that works while tables are locked.

    MySQL keeps routines that old triggers call locked with the tables: only what is not there yet
    can be created, and the rest comes a moment after the triggers.
    """
    one, home = side(begun), begun.names.database
    if begun.tables is not None:
        return
    options = schema.database_options(control, home)
    wanted = one.on
    if not control.is_mariadb:
        have = read_objects(control, home, Scope(kinds=BODIES))
        names = {(d.kind, d.name) for d in have}
        wanted = (*have, *(d for d in one.on if (d.kind, d.name) not in names))
    control.run(f"SET SESSION lock_wait_timeout = {BODIES_WAIT}")
    with contextlib.suppress(ServerError):
        reconcile(
            control, home, wanted, known=one.off, kinds=BODIES,
            collation=options.collation if options else "",
        )  # fmt: skip
    control.run(f"SET SESSION lock_wait_timeout = {OWN_WAIT}")


def _point_defaults(control: Server, database: str, in_schema: str) -> None:
    """Let defaults that take numbers from sequences name those that have moved too.

    MariaDB keeps their schema in the text. Until then such an INSERT fails: there is no sequence
    of that name any more.
    """
    named = f"{quote(in_schema)}."
    rows = control.query(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = %s AND INSTR(COLUMN_DEFAULT, %s) > 0",
        (database, named),
    )
    for table, column, default in rows:
        moved = str(default).replace(named, f"{quote(database)}.")
        control.run(
            f"ALTER TABLE {quote(database)}.{quote(table)} ALTER COLUMN {quote(column)} "
            f"SET DEFAULT ({moved})"
        )


def _drop_mark(control: Server, begun: Journal) -> None:
    for name in (WAITING, MOVED):
        control.run(f"DROP TABLE IF EXISTS {quote(begun.names.database)}.{quote(name)}")
    control.run(f"DROP TABLE IF EXISTS {quote(begun.names.before)}.{quote(GATE)}")


def _keep_mark(control: Server, begun: Journal) -> None:
    """Let the mark say again that the tables are the restored ones, and objects are missing."""
    home = quote(begun.names.database)
    if beside.mark(control, begun.names.database) == WAITING:
        control.run(f"RENAME TABLE {home}.{quote(WAITING)} TO {home}.{quote(MOVED)}")


def swap_incomplete(begun: Journal, error: ServerError) -> SwapIncomplete:
    """Return the error that says which tables are there, and what leads on from here."""
    names = begun.names
    what = "old" if is_undo(begun) else "restored"
    message = (
        f"swap incomplete: the tables of {names.database} are the {what} ones, "
        f"but not all of it is done: {error.message}"
    )
    hint = f"{error.hint}; then " if error.hint else ""
    hint += "`ulasis-backup settle` finishes it"
    if not is_undo(begun):
        hint += f"; or `ulasis-backup undo {names.id}` brings the old state back"
    return SwapIncomplete(message, hint=hint)


def unsettled(begun: Journal, error: UlasisError) -> SwapIncomplete:
    """Return the error for what was begun, and could be neither finished nor taken back."""
    names = begun.names
    message = (
        f"swap incomplete: what was begun at {names.database} is neither finished nor taken back: "
        f"{error.message}"
    )
    hint = f"{error.hint}; then " if error.hint else ""
    hint += "`ulasis-backup settle` finishes it or takes it back"
    if not is_undo(begun):
        hint += f", `ulasis-backup undo {names.id}` goes back"
    return SwapIncomplete(message, hint=hint)
