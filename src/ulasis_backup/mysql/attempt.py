"""One try at a moment: sessions that see the same, with DDL held back and commits stopped.

The order, with all sessions connected before it begins:

1. The lock session holds DDL back. A keeper takes the metadata lock of every table. What the
   databases consist of is read. Commits go on all the while.
2. The lock session stops commits. Every reading session opens its snapshot. The lock ends. Its
   end succeeding is the proof that it was there: the server ends a silent lock session.
3. Each reading session takes every metadata lock itself, under the keeper's, which then goes. No
   session of ours has to queue behind DDL later on.

DDL that comes between 1 and 3 makes the try fail; everything is released, the DDL runs, and the
next try begins anew: nobody notices. Afterwards DDL waits behind the reading sessions, see
``hold``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ulasis_backup.errors import ServerError, ServerUnreachable, ServerUnsuitable
from ulasis_backup.model import Login, Position
from ulasis_backup.mysql import moments, privileges, schema
from ulasis_backup.mysql.guard import lock_tables
from ulasis_backup.mysql.hold import CHANGED
from ulasis_backup.mysql.moments import Identity, Mark, NoMoment, Overtaken, mark
from ulasis_backup.mysql.schema import Catalogue, Table
from ulasis_backup.mysql.server import QueryFailed, Server, connect
from ulasis_backup.mysql.still import Still, still, touches, touches_one_by_one
from ulasis_backup.mysql.ways import (
    ALONE,
    TABLES,
    WAIT_SECONDS,
    Way,
    is_denied,
    need_quiet,
    prepare,
)

T = TypeVar("T")

READER_WAIT_SECONDS = 2
LOCK_WAITS = frozenset({1205, 1213})
TABLES_SAID = (
    "commits were stopped by LOCK TABLES: a transaction that writes several tables can meet a "
    "deadlock error then"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Generic[T]):
    """What is asked for: *jobs* sessions, with *blocking* holding metadata locks to the end."""

    login: Login
    databases: tuple[str, ...]
    look: Callable[[Server], T]
    jobs: int
    lock_tables: bool
    blocking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Generic[T]):
    """What a try that succeeded has found; ``hold`` are the connections that DDL waits for.

    ``tables`` is the session that keeps tables without transactions locked.
    """

    sessions: tuple[Server, ...]
    tables: Server
    identity: Identity
    seen: T
    found: dict[str, Catalogue]
    before: dict[str, Still]
    position: Position | None
    stopped: float
    remarks: tuple[str, ...]
    hold: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions of one try."""

    lock: Server
    keeper: Server
    tables: Server
    readers: tuple[Server, ...]
    identity: Identity
    pool: ThreadPoolExecutor


def attempt(wanted: Wanted[T], way: Way) -> tuple[ExitStack, Taken[T]]:
    """Try once by *way*; whoever gets the stack closes the sessions with it.

    Raises NoMoment when it came to nothing; everything is released then.
    """
    with ExitStack() as stack:
        lock, keeper, tables, *readers = (
            stack.enter_context(connect(wanted.login)) for _ in range(wanted.jobs + 3)
        )
        identity = moments.identity(lock)
        moments.need_same(identity, [lock, keeper, tables, *readers])
        with ThreadPoolExecutor(len(readers), thread_name_prefix="snapshot") as pool:
            sessions = Sessions(
                lock=lock, keeper=keeper, tables=tables, readers=tuple(readers),
                identity=identity, pool=pool,
            )  # fmt: skip
            with _tries():
                taken = _take(sessions, wanted, way)
        for server in (lock, keeper):
            server.connection.close()
        return stack.pop_all(), taken


@contextmanager
def _overtaken() -> Iterator[None]:
    """Turn what a metadata lock meets when DDL is there first into Overtaken."""
    try:
        yield
    except QueryFailed as error:
        if error.number in LOCK_WAITS | CHANGED:
            message = f"a table could not be locked against DDL ({error.message})"
            raise Overtaken(message) from error
        raise


@contextmanager
def _tries() -> Iterator[None]:
    """Turn errors that another try may not meet into NoMoment."""
    try:
        yield
    except ServerUnreachable as error:
        # A session that the server ended, for one: we were frozen while we had the lock.
        raise NoMoment(f"a session was lost ({error.message})") from error
    except QueryFailed as error:
        if error.number in LOCK_WAITS:
            raise NoMoment(error.message) from error
        raise


def _take(sessions: Sessions, wanted: Wanted[T], way: Way) -> Taken[T]:
    """Do the three steps of the module's text."""
    lock = sessions.lock
    _prepare(sessions)
    _run(lock, way.hold_ddl)
    found = {name: schema.catalogue(lock, name) for name in wanted.databases}
    touched = _named(found, lambda table: table.is_transactional)
    for statement in touches(touched):
        with _overtaken():
            sessions.keeper.run(statement)
        lock.run("DO 0")  # a sign of life
    # In this order: what changes in between, where nothing holds it back, is found at the end.
    before = {name: still(lock, name, found[name]) for name in wanted.databases}
    seen = wanted.look(lock)
    moments.need_no_ddl(lock, wanted.databases)
    opened = _open_snapshots(sessions, wanted, way, found)
    if not way.hold_ddl:
        _need_equal(lock, found)
    held = _holding(wanted, found)
    list(sessions.pool.map(lambda reader: _settle(reader, held), sessions.readers))
    moments.need_no_ddl(lock, wanted.databases)
    sessions.keeper.run("DO 0")  # it was there all the time
    position = moments.place(sessions.readers, opened.mark, is_global=way.is_global)
    return Taken(
        sessions=sessions.readers, tables=sessions.tables, identity=sessions.identity,
        found=found, seen=seen, before=before,
        position=position, stopped=opened.stopped, remarks=opened.remarks,
        hold=tuple(map(moments.connection_id, (sessions.tables, *sessions.readers))),
    )  # fmt: skip


def _prepare(sessions: Sessions) -> None:
    sessions.tables.run(f"SET SESSION lock_wait_timeout = {WAIT_SECONDS}")
    for server in (sessions.keeper, *sessions.readers):
        server.run(f"SET SESSION lock_wait_timeout = {READER_WAIT_SECONDS}")
    sessions.keeper.run("START TRANSACTION")
    for reader in sessions.readers:
        reader.run("SET SESSION character_set_results = NULL")
        if reader.value("SELECT @@SESSION.character_set_results") is not None:
            message = "the server converts results for our session; they are needed as they are"
            raise ServerUnsuitable(message, hint="check proxies of the server")
    prepare(sessions.lock)  # last: from now on it must not be silent for long


def _run(lock: Server, statements: Sequence[str]) -> None:
    """Run *statements* of a way; raises NoMoment where they are denied or unknown."""
    for statement in statements:
        try:
            lock.run(statement)
        except ServerError as error:
            if is_denied(error):
                raise NoMoment(error.message, denied=True) from error
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """How the snapshots were opened: what the lock session saw, for how long nobody committed."""

    mark: Mark
    stopped: float
    remarks: tuple[str, ...]


def _open_snapshots(
    sessions: Sessions, wanted: Wanted[T], way: Way, found: Mapping[str, Catalogue]
) -> Opened:
    """Stop commits, open every snapshot, let commits go on."""
    lock = sessions.lock
    locked = _needing(wanted, found)
    if locked and not way.locks_inside:
        _lock_tables(sessions.tables, locked)
    need_quiet(lock, way)
    every = _named(found, lambda table: table.is_transactional or table.needs_lock)
    begun = time.monotonic()
    _run(lock, way.hold_commits(every))
    if locked and way.locks_inside:
        _lock_tables(sessions.tables, locked)
    snapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
    list(sessions.pool.map(lambda reader: reader.run(snapshot), sessions.readers))
    found_mark = mark(lock, is_global=way.is_global, is_locked=way is not ALONE)
    _run(lock, way.end)
    stopped = time.monotonic() - begun
    said = [found_mark.remark] if found_mark.remark else []
    if way is TABLES:
        said.append(TABLES_SAID)
    needing = _named(found, lambda table: table.needs_lock)
    if needing and not locked:
        said.append(f"not locked, may change while read: {_some(needing)}")
    return Opened(mark=found_mark, stopped=stopped, remarks=tuple(said))


def _needing(wanted: Wanted[T], found: Mapping[str, Catalogue]) -> list[tuple[str, str]]:
    """Return the tables that are to be locked, pairs of database and name."""
    needing = _named(found, lambda table: table.needs_lock)
    return needing if wanted.lock_tables else []


def _lock_tables(server: Server, needing: Sequence[tuple[str, str]]) -> None:
    try:
        lock_tables(server, needing)
    except ServerError as error:
        if not is_denied(error):
            raise
        names = dict.fromkeys(database for database, _ in needing)
        missing = privileges.missing_for_locks(server, names)
        raise privileges.refuse(missing, partial_hint=False) from error


def _need_equal(server: Server, found: Mapping[str, Catalogue]) -> None:
    """Raise NoMoment if tables came since the catalogue was read: they may be in the snapshots."""
    for database, before in found.items():
        now = schema.catalogue(server, database)
        if now.tables != before.tables:
            raise Overtaken(f"tables of {database} were created or changed meanwhile")


def _holding(wanted: Wanted[T], found: Mapping[str, Catalogue]) -> tuple[str, ...]:
    """Return the statements by which a reading session takes the metadata locks.

    Of tables that are locked as well, or DDL on them would make our readers queue.
    """
    locked = _needing(wanted, found)
    if not wanted.blocking:
        return tuple(touches_one_by_one(locked))
    touched = _named(found, lambda table: table.is_transactional)
    return (*touches(touched), *touches_one_by_one(locked))


def _settle(server: Server, holding: Sequence[str]) -> None:
    """Take the metadata locks, for as long as the snapshot lasts."""
    moments.mark_transaction(server)
    for statement in holding:
        with _overtaken():
            server.run(statement)


def _named(
    found: Mapping[str, Catalogue], wanted: Callable[[Table], bool]
) -> list[tuple[str, str]]:
    return [
        (database, table.name)
        for database, catalogue in found.items()
        for table in catalogue.tables
        if wanted(table)
    ]


def _some(names: Sequence[tuple[str, str]], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{database}.{name}" for database, name in names[:most]) + more
