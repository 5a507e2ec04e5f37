"""What restores keep beside databases: listed for people, finished or taken back, dropped.

Nothing here is dropped unasked: what a restore replaced may be the only copy of something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ulasis_backup.errors import ConfirmationNeeded, Refused, ServerError, SwapIncomplete
from ulasis_backup.events import Notice
from ulasis_backup.mysql import beside, journal, swap
from ulasis_backup.mysql.beside import Names
from ulasis_backup.mysql.journal import Journal, State
from ulasis_backup.mysql.server import Server, connect, locked, quote
from ulasis_backup.operations.context import Context, chosen_databases

UNKNOWN = "unknown"
"""The state of schemas whose journal is gone, or may not be read."""


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
        return self.state != UNKNOWN and State(self.state).is_incomplete


def leftovers(server: Server) -> tuple[Leftover, ...]:
    """Return what restores left on *server*, as far as the session may see it, oldest first."""
    by_id: dict[tuple[str, str], list[beside.Parsed]] = {}
    for one in beside.all_schemas(server):
        by_id.setdefault((one.head, one.id), []).append(one)
    found = [_leftover(server, parts) for parts in by_id.values()]
    return tuple(sorted(found, key=lambda one: (one.at, one.database, one.id)))


def list_leftovers(context: Context) -> tuple[Leftover, ...]:
    """Return what restores left on the server of the settings."""
    with connect(context.config.writing) as server:
        return leftovers(server)


def settle(context: Context, databases: Iterable[str] | None = None) -> tuple[swap.Settled, ...]:
    """Finish or take back what killed restores left half done; raises Busy, SwapIncomplete.

    *databases* are those of the settings, and all that have something left, when None.
    """
    done: list[swap.Settled] = []
    login = context.config.writing
    with connect(login) as server:
        if databases is None:
            have = {one.database for one in leftovers(server)}
            databases = sorted({*chosen_databases(context.config, server), *have})
    for database in databases:
        for one in swap.settle(login, database):
            message = f"a restore of {database} ({one.note}) that was cut off is {one.outcome}"
            context.observe(Notice(message=message, hint="; ".join(one.notes)))
            done.append(one)
    return tuple(done)


def need_whole(context: Context, databases: Iterable[str]) -> None:
    """See that none of *databases* is between an old and a new state: finish it, or raise.

    Raises Busy while the restore runs, SwapIncomplete where the login that restores cannot finish.
    """
    with connect(context.config.reading) as server:
        halves = [name for name in databases if swap.incomplete(server, name)]
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
        for one in chosen:
            with locked(server, one.database):
                _drop(server, one)
    return chosen


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
    found = _journal(server, parts)
    names = found.names if found else Names(database=parts[0].head, id=parts[0].id)
    schemas = tuple(sorted(one.schema for one in parts))
    tables, size = _size(server, schemas)
    return Leftover(
        id=names.id,
        database=names.database,
        schemas=schemas,
        tables=tables,
        bytes=size,
        state=found.state if found else UNKNOWN,
        at=(found.swapped_at or found.made_at) if found else "",
        note=found.note if found else "",
    )


def _journal(server: Server, parts: list[beside.Parsed]) -> Journal | None:
    for one in parts:
        if one.kind in ("before", "undone"):
            with contextlib.suppress(ServerError):
                found = journal.read(server, one.schema)
                if found:
                    return found
    return None


def _size(server: Server, schemas: tuple[str, ...]) -> tuple[int, int]:
    marks = ", ".join(["%s"] * len(schemas))
    ours = ", ".join(["%s"] * len(beside.OURS))
    rows = server.query(
        "SELECT COUNT(*), SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES "  # noqa: S608 (placeholders)
        f"WHERE TABLE_SCHEMA IN ({marks}) AND TABLE_NAME NOT IN ({ours})",
        (*schemas, *sorted(beside.OURS)),
    )
    return int(rows[0][0]), int(rows[0][1] or 0)
