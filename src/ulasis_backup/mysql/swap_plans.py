"""What a swap or an undo is going to do: written down in full before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ulasis_backup.errors import Refused
from ulasis_backup.model import DatabaseOptions
from ulasis_backup.mysql import beside, journal, schema
from ulasis_backup.mysql.beside import MOVED, WAITING, Names
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.journal import Journal, Moves, State
from ulasis_backup.mysql.routine_rights import Right, read_rights
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.mysql.swap_checks import (
    refuse_taken_names,
    refuse_triggers,
    refuse_undo,
    refuse_unmovable,
)
from ulasis_backup.mysql.swap_objects import Scope, read_objects, read_triggers
from ulasis_backup.mysql.swap_steps import (
    tables_in,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapPlan:
    """What a swap is to do.

    With ``tables`` those alone are exchanged, and ``new_objects`` are their triggers; None means
    that the whole database is replaced. ``new_objects`` are in the target's own names; triggers
    need ``extra["table"]``. ``options`` are the database's afterwards, None leaves them as they
    are. ``note`` is for people: the backup's name. ``rows`` counts the rows of the new tables,
    where known: an undo can tell then which were written to. ``kept`` are objects, pairs of kind
    and name, that stay as they are, swap or undo. ``later`` are new objects that can only be
    created when other databases are restored as well: until ``complete`` the swap is incomplete.
    """

    names: Names
    tables: frozenset[str] | None = None
    new_objects: tuple[Definition, ...] = ()
    options: DatabaseOptions | None = None
    note: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    kept: frozenset[tuple[str, str]] = frozenset()
    later: frozenset[tuple[str, str]] = frozenset()


def refuse_plan(server: Server, plan: SwapPlan) -> None:
    """Raise Refused or ServerUnsuitable if the swap could not be done."""
    names = plan.names
    refuse_unmovable(server, names, plan.tables)
    if schema.database_options(server, names.database) is None:
        return
    old = read_triggers(server, names.database, plan.tables)
    refuse_triggers(server, names, old, plan.new_objects)
    if plan.tables is not None:
        refuse_taken_names(server, names, plan.tables, plan.new_objects)


def planned(server: Server, begun: Journal, plan: SwapPlan) -> Journal:
    """Write down what there is and what is to be; raises Refused."""
    names = plan.names
    if begun.state is not State.LOADING:
        message = f"restore {names.id} of {names.database} is {begun.state} already"
        raise Refused(message, hint="`ulasis-backup settle` finishes it")
    refuse_plan(server, plan)
    options = schema.database_options(server, names.database)
    old = read_objects(server, names.database, Scope(tables=plan.tables)) if options else ()
    old = _without(old, plan.kept)
    here = [name for name in tables_in(server, names.database) if _is_meant(name, plan.tables)]
    loaded = tables_in(server, names.restore)
    others = [name for name in loaded if not _is_meant(name, plan.tables)]
    if others:
        message = f"{names.restore} holds tables that were not asked for: {', '.join(others[:5])}"
        raise Refused(message, hint="restore again")
    planned = replace(
        begun,
        state=State.SWAPPING,
        tables=plan.tables,
        existed=options is not None,
        swap=Moves(out=tuple(here), into=loaded),
        old=old,
        new=plan.new_objects,
        old_options=options,
        new_options=plan.options or options,
        rows=dict(plan.rows),
        kept=plan.kept,
        rights=read_rights(server, names.database),
    )
    journal.write(server, planned)
    return planned


def planned_undo(server: Server, begun: Journal) -> Journal:
    """Write down what an undo of the restore *begun* is going to do; raises Refused."""
    names = begun.names
    if begun.state not in (State.DONE, State.OBJECTS):
        message = f"restore {names.id} of {names.database} is {begun.state}: nothing to undo"
        raise Refused(message, hint="`ulasis-backup list --leftovers` shows what there is")
    gone = sorted({*begun.swap.out} - {*tables_in(server, names.before)})
    if gone:
        message = f"{names.before} lacks tables that were in it: {', '.join(gone[:5])}"
        raise Refused(message, hint="restore the safety backup instead")
    undone = read_objects(server, names.database, Scope(tables=_undo_scope(begun)))
    undone = _without(undone, begun.kept)
    refuse_triggers(server, names, undone, begun.old)
    refuse_undo(server, names, _undo_scope(begun), begun.old)
    mark = f"{quote(names.database)}."
    if beside.mark(server, names.database) == MOVED:
        # Behind the move of an undo, and only there, it shall say so again.
        server.run(f"RENAME TABLE {mark}{quote(MOVED)} TO {mark}{quote(WAITING)}")
    planned = replace(
        begun,
        state=State.UNDOING,
        undo=Moves(out=tables_to_undo(server, begun), into=begun.swap.out),
        undone=undone,
        undone_options=schema.database_options(server, names.database),
        rights=_rights_now(server, begun, undone),
    )
    journal.write(server, planned)
    return planned


def _rights_now(
    server: Server, begun: Journal, here: tuple[Definition, ...]
) -> tuple[Right, ...] | None:
    """Return the rights as they are, and those from before on routines that are not there now."""
    found = read_rights(server, begun.names.database)
    if found is None or begun.rights is None:
        return found or begun.rights
    there = {(str(one.kind), one.name) for one in here}
    return (*found, *(right for right in begun.rights if right[:2] not in there))


def _without(
    objects: tuple[Definition, ...], kept: frozenset[tuple[str, str]]
) -> tuple[Definition, ...]:
    return tuple(one for one in objects if (str(one.kind), one.name) not in kept)


def tables_to_undo(server: Server, begun: Journal) -> tuple[str, ...]:
    """Return the tables that an undo takes away."""
    meant = _undo_scope(begun)
    here = tables_in(server, begun.names.database)
    return tuple(name for name in here if _is_meant(name, meant))


def _undo_scope(begun: Journal) -> frozenset[str] | None:
    return None if begun.tables is None else begun.tables | {*begun.swap.into}


def _is_meant(name: str, tables: frozenset[str] | None) -> bool:
    return tables is None or name in tables
