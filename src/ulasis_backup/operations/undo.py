"""``undo``: bring back what a restore replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ulasis_backup.errors import ConfirmationNeeded, Refused
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.mysql import swap
from ulasis_backup.mysql.beside import Names
from ulasis_backup.mysql.journal import Journal, State
from ulasis_backup.mysql.server import Server, connect, locked
from ulasis_backup.mysql.swap_plans import tables_to_undo
from ulasis_backup.operations.context import Context, chosen_databases
from ulasis_backup.operations.leftovers import Leftover, expect_settled, leftovers

Confirm = Callable[["UndoPlan"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """What an undo will do: tables of ``database`` that come back and those that go aside."""

    names: Names
    note: str
    at: str
    back: tuple[str, ...]
    aside: tuple[str, ...]
    written: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoDone:
    """What an undo did; ``undone`` is None when it was only planned."""

    plan: UndoPlan
    undone: swap.Undone | None = None


def undo(
    context: Context, wanted: str = "", *, dry_run: bool = False, confirm: Confirm
) -> UndoDone:
    """Undo the restore *wanted*, an id; without one the last restore of DB_NAME.

    Raises Refused where there is nothing to undo, ConfirmationNeeded, Busy, SwapIncomplete.
    """
    login = context.config.writing
    with connect(login) as server:
        found = _chosen(context, server, wanted)
        with locked(server, found.database):
            names = Names(database=found.database, id=found.id)
            if dry_run:
                expect_settled(server, found.database, leaving=found.id)
                return UndoDone(plan=_plan(server, names))
            finished = _settled(context, server, names)
            if finished:
                return finished
            plan = _plan(server, names)
            if not confirm(plan):
                message = f"{found.database} would be what it was before {plan.at or 'a restore'}"
                hint = "say yes, or use --yes; --dry-run shows the plan"
                raise ConfirmationNeeded(message, hint=hint)
            context.observe(PhaseBegan(name="undo", subject=found.database))
            wait = context.config.settings.restore_lock_wait
            done = swap.undo(login, plan.names, wait=wait)
            context.observe(PhaseEnded(name="undo"))
    return UndoDone(plan=plan, undone=done)


def _settled(context: Context, server: Server, names: Names) -> UndoDone | None:
    """Settle what was cut off; return the undo of *names* if that was it, and is finished now.

    Raises Refused where it was taken back before its tables had moved: nothing is left to undo.
    """
    begun = swap.read_journal(server, names)
    login, database = context.config.writing, names.database
    for one in swap.settle(login, database, server=server, leaving=names.id):
        message = f"a restore of {database} ({one.note}) that was cut off is {one.outcome}"
        context.observe(Notice(message=message, hint="; ".join(one.notes)))
        if one.names.id != names.id:
            continue
        if one.outcome is swap.Outcome.ROLLED_BACK:
            message = f"restore {names.id} of {database} was cut off, and nothing of it is left"
            raise Refused(message, hint=f"{database} is what it was before it")
        if one.outcome is swap.Outcome.UNDO_FINISHED:
            undone = swap.Undone(
                names=names, moved_out=begun.undo.out, moved_in=begun.undo.into, notes=one.notes
            )
            return UndoDone(plan=_planned(begun), undone=undone)
    return None


def _planned(begun: Journal) -> UndoPlan:
    return UndoPlan(
        names=begun.names, note=begun.note, at=begun.swapped_at,
        back=begun.undo.into, aside=begun.undo.out, written=(), unknown=begun.undo.out,
    )  # fmt: skip


def _chosen(context: Context, server: Server, wanted: str) -> Leftover:
    undoable = {*State} - {State.LOADING, State.UNDONE}
    found = [one for one in leftovers(server) if one.state in undoable]
    if wanted:
        chosen = [one for one in found if one.id == wanted]
    else:
        databases = chosen_databases(context.config, server)
        chosen = [one for one in found if one.database in databases][-1:]
    if not chosen:
        message = f"there is no restore {wanted} to undo".replace("  ", " ")
        hint = "`ulasis-backup list --leftovers` shows what is kept; a restore in place is undone "
        raise Refused(message, hint=hint + "by restoring its safety backup")
    return chosen[0]


def _plan(server: Server, names: Names) -> UndoPlan:
    found = swap.read_journal(server, names)
    written = swap.written(server, found)
    return UndoPlan(
        names=names,
        note=found.note,
        at=found.swapped_at,
        back=found.swap.out,
        aside=tables_to_undo(server, found),
        written=written.tables,
        unknown=written.unknown,
    )
