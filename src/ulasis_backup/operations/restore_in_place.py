"""A restore in place: the target is emptied, and the backup loaded into it.

From then on the old state is in the safety backup alone. It is for servers without the room or
the rights for a second set of tables, and for what cannot be moved between schemas.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import AuthenticationFailed, LoadFailed, UlasisError
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods import load
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.rows_restore import create_others
from ulasis_backup.mysql import restoring, schema
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.restoring import Restoring
from ulasis_backup.mysql.routine_rights import Right, give_back, grant, read_rights
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.operations.leftovers import command_back
from ulasis_backup.operations.restore_plan import AS_ASKED, RestorePlan, in_scope
from ulasis_backup.operations.room import with_room
from ulasis_backup.operations.rows_source import RowsSource
from ulasis_backup.operations.source import Source

UNTIL = "until then no backup is made"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One database that is restored in place."""

    server: Server
    source: Source
    plan: RestorePlan
    safety: MadeBackup | None


def replace_in_place(
    context: Context, parts: Sequence[Part], *, late: Sequence[tuple[str, Definition]] = ()
) -> tuple[Contents, ...]:
    """Empty the targets and load the backup; from here on the old state is in ``safety`` alone.

    The tables of all come first, for views and foreign keys may lead from one to another. *late*
    are views of other databases that are made along with theirs, as far as they can be.
    """
    touched: list[Part] = []
    rights = {one.plan.target: read_rights(one.server, one.plan.target) or () for one in parts}
    try:
        contents = [_load(context, part, touched) for part in parts]
        _create_others(parts, late)
    except UlasisError as error:
        _keep_in_mind(context, touched, rights)
        if touched:
            with_room(touched[-1].server, error)
        raise _half_done(error, touched) from None
    except BaseException:
        _keep_in_mind(context, touched, rights)
        targets = _targets(touched)
        message = f"the restore of {targets} was cut off in the middle: it is incomplete now"
        context.observe(Notice(message=message, hint=f"{_way_back(touched)}; {UNTIL}"))
        raise
    for part in parts:
        for note in give_back(part.server, part.plan.target, rights[part.plan.target]):
            context.observe(Notice(message=f"a right on a routine is {note}"))
    return tuple(contents)


def _load(context: Context, part: Part, touched: list[Part]) -> Contents:
    """Empty a target and load its tables; all of a dump."""
    server, source, target = part.server, part.source, part.plan.target
    total = source.contents.plain.bytes
    context.observe(PhaseBegan(name="load", subject=target, total=total, exact=True))
    touched.append(part)
    _mark(server, part.plan, part.safety)
    if source.only_tables is None:
        load.make_database(server, target, source.options_for(server))
    kept = frozenset((entry.kind, entry.name) for entry in source.left_out)
    load.empty(server, target, in_scope(server, target, source), kept=kept)
    if isinstance(source, RowsSource):
        contents = source.load_base(context, server, target)
    else:
        contents = source.load(context, server, target)
    context.observe(PhaseEnded(name="load"))
    return contents


def _mark(server: Server, plan: RestorePlan, safety: MadeBackup | None) -> None:
    """Let the database itself say that it is half done, as long as it is, whatever becomes of us.

    The safety backup of an earlier one that was cut off stays the way back: ours is half loaded.
    """
    # Not where it is there: MySQL waits for open transactions even then.
    if schema.database_options(server, plan.target) is None:
        server.run(f"CREATE DATABASE IF NOT EXISTS {quote(plan.target)}")
    before = restoring.find(server, plan.target)
    mark = Restoring(
        database=plan.target,
        id=secrets.token_hex(4),
        backup=plan.backup,
        at=stamp(now()),
        safety=str(safety.name) if safety else "",
        several=_holds_several(safety),
        tables=plan.tables,
        undone_tables=plan.undone_tables,
        in_place=plan.in_place == (AS_ASKED,),
    )
    restoring.put(server, before.widened(plan.tables) if before else mark)


def _create_others(parts: Sequence[Part], late: Sequence[tuple[str, Definition]]) -> None:
    """Create what refers to tables, now that all of them are there."""
    rows = [(one, one.source) for one in parts if isinstance(one.source, RowsSource)]
    if not rows:
        return
    built = [(one.plan.target, source.whole(one.server, one.plan.target)) for one, source in rows]
    create_others(parts[0].server, built, optional=late)


def _keep_in_mind(
    context: Context, touched: Sequence[Part], rights: Mapping[str, Iterable[Right]]
) -> None:
    """Say which rights on routines were there: the next attempt cannot see them any more."""
    for part in touched:
        server, target = part.server, part.plan.target
        left: set[Right] = set()
        with contextlib.suppress(UlasisError):
            left = {*(read_rights(server, target) or ())}
        for right in rights[target]:
            if right not in left:
                sql = grant(target, right, mariadb=server.is_mariadb)
                context.observe(
                    Notice(message=f"a right that there was before, maybe lost: {sql};")
                )


def _half_done(error: UlasisError, touched: Sequence[Part]) -> UlasisError:
    """Say that the targets are now incomplete, and how to get the old state back."""
    message = f"the restore of {_targets(touched)} stopped in the middle: {error.message}"
    hint = f"{error.hint}; {_way_back(touched)}; {UNTIL}"
    kind = type(error) if isinstance(error, AuthenticationFailed) else LoadFailed
    return kind(message, hint=hint)


def _targets(parts: Sequence[Part]) -> str:
    return ", ".join(part.plan.target for part in parts)


def _way_back(parts: Sequence[Part]) -> str:
    ways = [undo_command(part.plan, part.safety) for part in parts if part.safety]
    if not ways:
        return "there is no safety backup; restore again when the cause is gone"
    commands = " and ".join(f"`{way}`" for way in dict.fromkeys(ways))
    return f"{commands} {'bring' if len(set(ways)) > 1 else 'brings'} the old state back"


def undo_command(plan: RestorePlan, safety: MadeBackup) -> str:
    """Return the command that brings the safety backup back, from here to that server."""
    return command_back(
        str(safety.name), plan.target, flags=plan.flags, several=_holds_several(safety),
        in_place=plan.in_place == (AS_ASKED,), tables=plan.undone_tables,
    )  # fmt: skip


def _holds_several(safety: MadeBackup | None) -> bool:
    return safety is not None and len(safety.manifest.header.databases) > 1
