"""Several sessions that see one moment of a server, and the moment's place in the binlog.

The order of a try, with all sessions connected before it begins:

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
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ulasis_backup.errors import (
    PrivilegeMissing,
    SchemaChanged,
    ServerError,
    ServerUnreachable,
    ServerUnsuitable,
)
from ulasis_backup.model import Login, Position
from ulasis_backup.mysql import moments, privileges, schema
from ulasis_backup.mysql.guard import lock_tables
from ulasis_backup.mysql.hold import CHANGED, Hold, watched
from ulasis_backup.mysql.moments import Identity, Mark, NoMoment, Overtaken, mark
from ulasis_backup.mysql.schema import Catalogue, Table
from ulasis_backup.mysql.server import QueryFailed, Server, connect
from ulasis_backup.mysql.still import HINT, Still, compare, still, touches, touches_one_by_one
from ulasis_backup.mysql.ways import (
    ALONE,
    TABLES,
    WAIT_SECONDS,
    Way,
    is_denied,
    need_quiet,
    prepare,
    ways,
)

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""Between two tries: what waited behind the first one gets through."""

READER_WAIT_SECONDS = 2
LOCK_WAITS = frozenset({1205, 1213})
NO_PROCESS = (
    "DDL was not held back: the login lacks PROCESS, so DDL that waits behind us would go unseen"
)
TABLES_SAID = (
    "commits were stopped by LOCK TABLES: a transaction that writes several tables can meet a "
    "deadlock error then"
)
ALONE_SAID = "one session reads: its snapshot is one moment without any lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentOptions:
    """What a user may choose about the moment.

    ``jobs`` sessions read. With ``block_ddl`` they hold every table's metadata lock, for which DDL
    may wait ``ddl_wait`` seconds. ``lock_tables``: tables without transactions are locked until
    the end. ``lock_wait`` is for how many seconds a lock that stops commits is tried for, first
    the server's, then, where that is not to be had, the tables'.
    """

    jobs: int
    block_ddl: bool = True
    ddl_wait: int = 10
    lock_tables: bool = True
    lock_wait: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Generic[T]):
    """One moment of a server, seen by each of ``sessions`` in a transaction of its own.

    ``seen`` is what the caller's look returned. ``stopped`` is for how many seconds commits were
    stopped, as measured here. ``fallbacks`` say what could not be had.
    """

    sessions: tuple[Server, ...]
    seen: T
    position: Position | None
    fallbacks: tuple[str, ...]
    how: str
    stopped: float
    ledger: Ledger

    def check(self) -> None:
        """Raise SchemaChanged unless the schema held still from the moment until now.

        To be called when everything is read, before the sessions close: they still hold it.
        """
        self.ledger.check(self.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the schema looked like at the moment, and whether our sessions hold it still."""

    login: Login
    identity: Identity
    before: Mapping[str, Still]
    blocking: bool
    hold: Hold

    def check(self, sessions: Sequence[Server]) -> None:
        """Raise SchemaChanged unless the schema is as before, and *sessions* as they were."""
        with self.hold.explaining(), self.hold.finishing():
            with connect(self.login) as server:
                moments.need_same(self.identity, [server])
                for database, before in self.before.items():
                    now = still(server, database, schema.catalogue(server, database))
                    compare(before, now, database=database, held=self.blocking)
            moments.need_transactions(sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Generic[T]):
    """What is asked for."""

    login: Login
    databases: tuple[str, ...]
    look: Callable[[Server], T]
    options: MomentOptions
    blocking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The sessions of one try."""

    lock: Server
    keeper: Server
    tables: Server
    readers: tuple[Server, ...]
    identity: Identity
    pool: ThreadPoolExecutor


@contextmanager
def one_moment(
    login: Login,
    databases: Sequence[str],
    *,
    look: Callable[[Server], T],
    options: MomentOptions,
) -> Iterator[Moment[T]]:
    """Open ``options.jobs`` sessions that see one moment of *databases*, and close them.

    *look* is called with a session of ours while no DDL can run on the databases' tables; again,
    when a first try came to nothing. Raises PrivilegeMissing with the GRANT, SchemaChanged,
    ServerUnsuitable when sessions reach different servers, ServerError when the lock is not to be
    had. Inside, errors of tables that changed too early come out as SchemaChanged.
    """
    with connect(login) as server:
        may_watch = privileges.has_global(server, "PROCESS", "SUPER")
        wanted = Wanted(
            login=login, databases=tuple(databases), look=look, options=options,
            blocking=options.block_ddl and may_watch,
        )  # fmt: skip
        stack, moment = _by_any_way(server, wanted)
    hold = moment.ledger.hold
    watching = watched(login, hold, databases=databases, wait=options.ddl_wait)
    with stack, hold.explaining(), watching:
        yield moment


def _by_any_way(server: Server, wanted: Wanted[T]) -> tuple[ExitStack, Moment[T]]:
    """Try one way after the other; whoever gets the stack closes the sessions with it."""
    said: list[str] = []
    denied = True
    for group in (ways(server), (TABLES,)):
        deadline = time.monotonic() + wanted.options.lock_wait
        for way in group:
            try:
                return _for_a_while(wanted, way, deadline=deadline, said=said)
            except Overtaken as error:
                message = f"there was no moment without DDL or locked tables ({error.message})"
                raise SchemaChanged(message, hint=HINT) from error
            except NoMoment as error:
                said.append(f"no {way.title}: {error.message}")
                if not error.denied:
                    # Others that stop all commits would wait for the same.
                    denied = False
                    break
    if wanted.options.jobs > 1:
        raise _refusal(server, said, denied=denied)
    deadline = time.monotonic() + wanted.options.lock_wait
    return _for_a_while(wanted, ALONE, deadline=deadline, said=[*said, ALONE_SAID])


def _refusal(server: Server, said: Sequence[str], *, denied: bool) -> ServerError:
    if denied:
        error = privileges.refuse(privileges.missing_for_moment(server), partial_hint=False)
        hint = f"{error.hint} (or let one session read)"
        return PrivilegeMissing(f"{error.message} ({'; '.join(said)})", hint=hint)
    message = f"commits could not be stopped for an instant ({'; '.join(said)})"
    hint = "a long statement or transaction is in the way: see SHOW PROCESSLIST, and try again"
    return ServerError(message, hint=hint)


def _for_a_while(
    wanted: Wanted[T], way: Way, *, deadline: float, said: Sequence[str]
) -> tuple[ExitStack, Moment[T]]:
    """Try *way* again and again until *deadline*; raises the last NoMoment."""
    while True:
        try:
            return _once(wanted, way, said)
        except NoMoment as error:
            if error.denied or time.monotonic() + PAUSE_SECONDS > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def _once(wanted: Wanted[T], way: Way, said: Sequence[str]) -> tuple[ExitStack, Moment[T]]:
    with ExitStack() as stack:
        lock, keeper, tables, *readers = (
            stack.enter_context(connect(wanted.login)) for _ in range(wanted.options.jobs + 3)
        )
        identity = moments.identity(lock)
        moments.need_same(identity, [lock, keeper, tables, *readers])
        with ThreadPoolExecutor(len(readers), thread_name_prefix="snapshot") as pool:
            sessions = Sessions(
                lock=lock, keeper=keeper, tables=tables, readers=tuple(readers),
                identity=identity, pool=pool,
            )  # fmt: skip
            with _tries():
                moment = _take(sessions, wanted, way)
        for server in (lock, keeper):
            server.connection.close()
        remarks = (NO_PROCESS,) if wanted.options.block_ddl and not wanted.blocking else ()
        fallbacks = (*said, *moment.fallbacks, *remarks)
        return stack.pop_all(), replace(moment, fallbacks=fallbacks)


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


def _take(sessions: Sessions, wanted: Wanted[T], way: Way) -> Moment[T]:
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
    seen = wanted.look(lock)
    before = {name: still(lock, name, found[name]) for name in wanted.databases}
    moments.need_no_ddl(lock, wanted.databases)
    opened = _open_snapshots(sessions, wanted, way, found)
    if not way.hold_ddl:
        _need_equal(lock, found)
    held = _holding(wanted, found)
    list(sessions.pool.map(lambda reader: _settle(reader, held), sessions.readers))
    moments.need_no_ddl(lock, wanted.databases)
    position = moments.place(sessions.readers, opened.mark, is_global=way.is_global)
    return Moment(
        sessions=sessions.readers, seen=seen, position=position, how=way.how,
        fallbacks=opened.fallbacks, stopped=opened.stopped,
        ledger=Ledger(
            login=wanted.login, identity=sessions.identity, before=before,
            blocking=wanted.blocking, hold=_hold(sessions),
        ),
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
    fallbacks: tuple[str, ...]


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
    return Opened(mark=found_mark, stopped=stopped, fallbacks=tuple(said))


def _needing(wanted: Wanted[T], found: Mapping[str, Catalogue]) -> list[tuple[str, str]]:
    """Return the tables that are to be locked, pairs of database and name."""
    needing = _named(found, lambda table: table.needs_lock)
    return needing if wanted.options.lock_tables else []


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


def _hold(sessions: Sessions) -> Hold:
    return Hold([moments.connection_id(one) for one in (sessions.tables, *sessions.readers)])


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
