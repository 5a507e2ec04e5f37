"""What restores keep beside databases: listed for people, finished or taken back, dropped.

Nothing here is dropped unasked: what a restore replaced may be the only copy of something.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ulasis_backup.errors import (
    Busy,
    ConfirmationNeeded,
    Refused,
    ServerError,
    SwapIncomplete,
    UlasisError,
)
from ulasis_backup.events import Notice
from ulasis_backup.mysql import beside, journal, restoring, swap
from ulasis_backup.mysql.beside import Names
from ulasis_backup.mysql.journal import Journal, State
from ulasis_backup.mysql.restoring import Restoring
from ulasis_backup.mysql.server import Server, connect, locked, quote
from ulasis_backup.operations.context import Context, chosen_databases
from ulasis_backup.operations.strangers import refuse_strangers

UNKNOWN = "unknown"
"""The state of schemas whose journal is gone, or may not be read."""

HALF = "restoring in place"
"""The state of a database that a restore in place left half loaded."""

RUNNING = "running in place"
"""The state of one that is being restored in place now."""

NEWER = "newer"
"""The state of schemas whose journal a newer version of ours wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What is left of one restore: its schemas, how many tables and bytes they hold.

    ``state`` is that of the journal, ``note`` names the backup, ``at`` is when the tables were
    swapped, or the restore began.
    """

    id: str
    database: str
    schemas: tuple[str, ...]
    tables: int
    bytes: int
    state: str
    at: str
    note: str

    @property
    def incomplete(self) -> bool:
        """Tell whether the database is between an old and a new state."""
        if self.state == HALF:
            return True
        return self.state in list(State) and State(self.state).is_incomplete


def leftovers(server: Server) -> tuple[Leftover, ...]:
    """Return what restores left on *server*, as far as the session may see it, oldest first."""
    by_id: dict[tuple[str, str], list[beside.Parsed]] = {}
    for one in beside.all_schemas(server):
        # Names are cut where they are long, by one letter more for one kind than for another.
        by_id.setdefault((one.head[: beside.SHORTEST_HEAD], one.id), []).append(one)
    found = [_leftover(server, parts) for parts in by_id.values()]
    found += [_half(server, mark) for mark in restoring.find_all(server)]
    return tuple(sorted(found, key=lambda one: (one.at, one.database, one.id)))


def list_leftovers(context: Context) -> tuple[Leftover, ...]:
    """Return what restores left on the server of the settings."""
    with connect(context.config.writing) as server:
        return leftovers(server)


def settle(context: Context, databases: Iterable[str] | None = None) -> tuple[swap.Settled, ...]:
    """Finish or take back what killed restores left half done; raises Busy, SwapIncomplete.

    *databases* are those of the settings, and all that have something left, when None.
    """
    with connect(context.config.writing) as server:
        if databases is None:
            have = {one.database for one in leftovers(server)}
            databases = sorted({*chosen_databases(context.config, server), *have})
    wanted = tuple(databases)
    done = _settle_all(context, wanted)
    with connect(context.config.writing) as server:
        for database in wanted:
            refuse_half_loaded(context, server, database)
    return done


def _settle_all(context: Context, databases: Iterable[str]) -> tuple[swap.Settled, ...]:
    """Settle what can be: one may be restored just now, or have views that read another one."""
    done: list[swap.Settled] = []
    waiting = list(databases)
    while waiting:
        failed: list[tuple[str, UlasisError]] = []
        for database in waiting:
            try:
                found = swap.settle(context.config.writing, database)
            except UlasisError as error:
                failed.append((database, error))
                continue
            for one in found:
                message = f"a restore of {database} ({one.note}) that was cut off is {one.outcome}"
                context.observe(Notice(message=message, hint="; ".join(one.notes)))
                done.append(one)
        if failed and len(failed) == len(waiting):
            raise failed[0][1]
        waiting = [database for database, _ in failed]
    return tuple(done)


def expect_settled(server: Server, database: str, *, leaving: str = "") -> None:
    """Raise SwapIncomplete where *database* is between two states: who only looks leaves it so.

    The restore *leaving* does not count if nothing but objects is missing.
    """
    for one in swap.pending(server, database):
        is_left = one.names.id == leaving and one.state is State.OBJECTS
        if one.state.is_incomplete and not is_left:
            message = f"swap incomplete: restore {one.names.id} of {database} is {one.state}"
            hint = "`ulasis-backup settle` finishes it or takes it back; then again"
            raise SwapIncomplete(message, hint=hint)


def refuse_half_loaded(
    context: Context, server: Server, database: str, *, held: bool = False
) -> None:
    """Raise SwapIncomplete where a restore in place left *database* half loaded.

    Raises Busy while it runs. *held*: the caller holds the name lock of *database*. Nobody but a
    restore can mend it.
    """
    if restoring.find(server, database) is None:
        return
    with contextlib.nullcontext() if held else locked(server, database):
        mark = restoring.find(server, database)
    if mark is None:
        return
    when = f"since {mark.at} " if mark.at else ""
    message = f"{database} is half loaded {when}(restore in place of {mark.backup or 'a backup'})"
    raise SwapIncomplete(message, hint=way_back(context, mark))


def way_back(context: Context, mark: Restoring) -> str:
    """Return what to do about a database that is half loaded."""
    if not mark.safety:
        what = f" (tables: {', '.join(mark.tables)})" if mark.tables else ""
        table = f"{quote(mark.database)}.{quote(beside.RESTORING)}"
        return (
            f"there is no safety backup of it: restore again{what}; until then no backup is made, "
            f"unless you have looked, and it is right: DROP TABLE {table};"
        )
    command = command_back(
        mark.safety, mark.database, flags=context.config.flags,
        in_place=mark.in_place, tables=mark.undone_tables, several=mark.several,
    )  # fmt: skip
    return f"`{command}` brings the old state back; or restore again; until then no backup is made"


def command_back(
    safety: str,
    database: str,
    *,
    flags: tuple[str, ...],
    in_place: bool,
    tables: tuple[str, ...],
    several: bool = False,
) -> str:
    """Return the command that restores the *safety* backup, of some *tables* alone if any.

    Of *several* databases that were replaced together all are brought back.
    """
    words = ["ulasis-backup", *flags, "restore", safety]
    words += [] if several else ["--target-database", database]
    words.append("--skip-pre-restore-backup")
    if in_place:
        words.append("--in-place")
    words.append("--yes")
    if tables and not any("," in name for name in tables):
        words += ["--tables", ",".join(tables)]
    return shlex.join(words)


def need_whole(context: Context, databases: Iterable[str]) -> None:
    """See that none of *databases* is between an old and a new state: finish it, or raise.

    Raises Busy while the restore runs, SwapIncomplete where the login that restores cannot finish.
    """
    with connect(context.config.reading) as server:
        wanted = tuple(databases)
        halves = [name for name in wanted if swap.incomplete(server, name)]
        for database in wanted:
            refuse_half_loaded(context, server, database)
    for database in halves:
        try:
            settle(context, [database])
        except SwapIncomplete:
            raise
        except ServerError as error:
            message = f"swap incomplete: {database} is between two states: {error.message}"
            hint = "`ulasis-backup settle` with a login that may restore finishes it; then again"
            raise SwapIncomplete(message, hint=hint) from None


def drop_leftovers(
    context: Context, wanted: Iterable[str], *, confirm: Callable[[tuple[Leftover, ...]], bool]
) -> tuple[Leftover, ...]:
    """Drop what the restores *wanted* (ids) left, once *confirm* agrees; none: all that are done.

    Raises Refused for one that is not done, ConfirmationNeeded, Busy.
    """
    with connect(context.config.writing) as server:
        chosen = _chosen(leftovers(server), tuple(wanted))
        if not chosen:
            return ()
        if not confirm(chosen):
            message = f"{len(chosen)} leftovers of restores would be dropped for good"
            raise ConfirmationNeeded(message, hint="say yes, or use --yes")
        return tuple(_drop_locked(context, server, one) for one in chosen)


def _drop_locked(context: Context, server: Server, one: Leftover) -> Leftover:
    """Drop *one*, unless it was undone, or half undone, while somebody was asked."""
    with locked(server, one.database):
        found = [now for now in leftovers(server) if now.id == one.id]
        for now in found:
            if now.database == one.database and (now.state, now.schemas) != (
                one.state,
                one.schemas,
            ):
                message = f"restore {one.id} of {one.database} is {now.state} now: nothing dropped"
                raise Refused(message, hint="look at `ulasis-backup list --leftovers`, then again")
        refuse_strangers(context, server, one.schemas)
        _drop(server, one)
    return one


def _chosen(found: tuple[Leftover, ...], wanted: tuple[str, ...]) -> tuple[Leftover, ...]:
    if not wanted:
        return tuple(one for one in found if one.state in (State.DONE, State.UNDONE))
    known = {one.id for one in found}
    missing = [name for name in wanted if name not in known]
    if missing:
        message = f"no restore left anything under {', '.join(missing)}"
        raise Refused(message, hint="`ulasis-backup list --leftovers` shows what there is")
    chosen = tuple(one for one in found if one.id in wanted)
    for one in chosen:
        if one.state == NEWER:
            message = f"the journal of restore {one.id} of {one.database} is of a newer version"
            raise Refused(message, hint=journal.NEWER_HINT)
        if one.state in (HALF, RUNNING):
            message = f"{one.database} is half loaded by restore {one.id}: there is nothing to drop"
            raise Refused(message, hint="`ulasis-backup settle` names the command that mends it")
        if one.incomplete or one.state == State.LOADING:
            message = f"restore {one.id} of {one.database} is {one.state}"
            raise Refused(message, hint="`ulasis-backup settle` finishes it or takes it back")
    return chosen


def _drop(server: Server, one: Leftover) -> None:
    server.run("SET SESSION foreign_key_checks = 0")
    with contextlib.ExitStack() as after:
        after.callback(server.run, "SET SESSION foreign_key_checks = 1")
        for schema in sorted(one.schemas):
            server.run(f"DROP DATABASE IF EXISTS {quote(schema)}")


def _leftover(server: Server, parts: list[beside.Parsed]) -> Leftover:
    found, state = _journal(server, parts)
    head = max((one.head for one in parts), key=len)
    names = found.names if found else Names(database=head, id=parts[0].id)
    schemas = tuple(sorted(one.schema for one in parts))
    tables, size = _size(server, schemas)
    return Leftover(
        id=names.id,
        database=names.database,
        schemas=schemas,
        tables=tables,
        bytes=size,
        state=state,
        at=(found.swapped_at or found.made_at) if found else "",
        note=found.note if found else "",
    )


def _half(server: Server, mark: Restoring) -> Leftover:
    try:
        with locked(server, mark.database):
            state = HALF
    except Busy:
        state = RUNNING
    return Leftover(
        id=mark.id, database=mark.database, schemas=(), tables=0, bytes=0, state=state,
        at=mark.at, note=mark.backup,
    )  # fmt: skip


def _journal(server: Server, parts: list[beside.Parsed]) -> tuple[Journal | None, str]:
    """Return the journal that is in one of *parts*, and its state."""
    for one in parts:
        if one.kind in ("before", "undone"):
            try:
                found = journal.read(server, one.schema)
            except Refused:
                return None, NEWER
            except ServerError:
                continue
            if found:
                return found, found.state
    return None, UNKNOWN


def _size(server: Server, schemas: tuple[str, ...]) -> tuple[int, int]:
    marks = ", ".join(["%s"] * len(schemas))
    ours = ", ".join(["%s"] * len(beside.OURS))
    rows = server.query(
        "SELECT COUNT(*), SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES "  # noqa: S608 (placeholders)
        f"WHERE TABLE_SCHEMA IN ({marks}) AND TABLE_NAME NOT IN ({ours})",
        (*schemas, *sorted(beside.OURS)),
    )
    return int(rows[0][0]), int(rows[0][1] or 0)
