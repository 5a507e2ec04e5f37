"""Building a database from the index of a ``rows`` backup.

Tables are created, then several are loaded at once, never one by two sessions; large ones without
their secondary keys, which are added as soon as the rows are in, while other tables still load.
Foreign keys come when all tables are there, and then what refers to tables.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

from ulasis_backup.errors import IntegrityError, LoadFailed
from ulasis_backup.methods.index import Range, TableRows
from ulasis_backup.model import Login, ObjectKind
from ulasis_backup.mysql.creation import (
    create,
    create_views_across,
    enable_events,
    run,
    switch_off_past,
)
from ulasis_backup.mysql.deferred import adds_foreign_keys, deferrable
from ulasis_backup.mysql.definitions import TABLE, Definition, read_table
from ulasis_backup.mysql.loading import LoadingSession, Way, loading_session
from ulasis_backup.mysql.server import Server, connect, quote, quote_bytes

DEFER = 1 << 20
"""Bytes of rows from which on it pays to add keys later: to find out if it is safe takes DDL."""

AHEAD = 1
"""Ranges that are held beside those which are being loaded: memory is bounded by it."""

READERS = 1
"""Threads that read: each keeps some of the memory that it has used, 30 MB with glibc."""

BODIES = (
    ObjectKind.FUNCTION, ObjectKind.PROCEDURE, ObjectKind.PACKAGE, ObjectKind.PACKAGE_BODY,
)  # fmt: skip
LAST = (ObjectKind.TRIGGER, ObjectKind.EVENT)
HINT = "do not use this database; restore again, or from another backup"

Task = TypeVar("Task")
Read = Callable[[Range], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseContents:
    """What one database consists of: definitions of all objects, and tables with their ranges."""

    definitions: tuple[Definition, ...]
    tables: tuple[TableRows, ...]

    def of_kind(self, *kinds: str) -> tuple[Definition, ...]:
        """Return the definitions of *kinds*, kind after kind."""
        return tuple(one for kind in kinds for one in self.definitions if one.kind == kind)

    def with_tables(self, names: frozenset[str]) -> DatabaseContents:
        """Return the same without all tables but *names*; other objects stay."""
        missing = names - {one.name for one in self.of_kind(TABLE)}
        if missing:
            message = f"the backup holds no table {', '.join(sorted(missing))}"
            raise LoadFailed(message, hint="name tables as `show` lists them")
        return DatabaseContents(
            definitions=tuple(d for d in self.definitions if d.kind != TABLE or d.name in names),
            tables=tuple(table for table in self.tables if table.head.source.table in names),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A created table: the rows it gets, if any, and the ALTERs that make it whole."""

    definition: Definition
    rows: TableRows | None
    keys: tuple[bytes, ...] = ()
    foreign: tuple[bytes, ...] = ()


def build_database(
    login: Login,
    database: str,
    contents: DatabaseContents,
    *,
    read: Read,
    jobs: int,
    on_bytes: Callable[[int], None],
    way: Way | None = None,
    tables: frozenset[str] | None = None,
    log_bin: bool = True,
) -> Way:
    """Fill *database*, which exists and holds none of these objects; return how it was loaded.

    As ``build_tables``; with *tables* no other tables are built; other objects are, so leave out
    of *contents* what is not wanted. Events that were on are switched on at the end.
    """
    if tables is not None:
        contents = contents.with_tables(tables)
    found = build_tables(
        login, database, contents,
        read=read, jobs=jobs, on_bytes=on_bytes, way=way, log_bin=log_bin,
    )  # fmt: skip
    with connect(login) as server:
        if not log_bin:
            server.run("SET SESSION sql_log_bin = 0")
        create_others(server, [(database, contents)])
    return found


def build_tables(
    login: Login,
    database: str,
    contents: DatabaseContents,
    *,
    read: Read,
    jobs: int,
    on_bytes: Callable[[int], None],
    way: Way | None = None,
    log_bin: bool = True,
    count: bool = True,
) -> Way:
    """Make the tables and sequences of *contents* in *database*; return how they were loaded.

    *read* returns a range's row packets, unless it is inline; one thread of ours calls it.
    *on_bytes* is told how many bytes of row packets are loaded so far. Without *count* the server
    is not asked how many rows it holds at last: whoever compares every row need not count them.
    Raises LoadFailed, which names the object, ServerUnreachable, IntegrityError, and what *read*
    raises; then nothing runs any more, and the database is incomplete.
    """
    _need_definitions(contents)
    with contextlib.ExitStack() as held:
        server = held.enter_context(connect(login))
        for definition in contents.of_kind(ObjectKind.SEQUENCE):
            create(server, database, definition)
        sessions = [
            held.enter_context(loading_session(login, database, way=way, log_bin=log_bin))
            for _ in range(max(1, jobs))
        ]
        _Building(sessions, database, read, on_bytes, count=count).run(contents)
        return sessions[0].way


def _need_definitions(contents: DatabaseContents) -> None:
    """Raise IntegrityError if there are rows of a table that cannot be created."""
    known = {one.name for one in contents.of_kind(TABLE)}
    for table in contents.tables:
        if table.head.source.table not in known:
            message = f"the backup holds rows of table {table.head.source.table}, not the table"
            raise IntegrityError(message, hint=HINT)


def create_others(
    server: Server,
    built: Sequence[tuple[str, DatabaseContents]],
    *,
    optional: Sequence[tuple[str, Definition]] = (),
) -> None:
    """Create what refers to tables in databases whose tables are all there, in an order that works.

    Their views may read each other's; *optional* ones, of other databases, are made with them as
    far as they can be. Raises LoadFailed.
    """
    _create_each(server, built, BODIES)
    views = [(name, view) for name, held in built for view in held.of_kind(ObjectKind.VIEW)]
    create_views_across(server, views, optional=optional)
    _create_each(server, built, LAST)
    for database, contents in built:
        definitions = contents.definitions
        if server.value("SELECT @@GLOBAL.event_scheduler") == "ON":
            # Where it is off, as on a scratch server, they are as the backup has them.
            definitions, _ = switch_off_past(server, definitions)
        enable_events(server, database, definitions)


def _create_each(
    server: Server, built: Sequence[tuple[str, DatabaseContents]], kinds: Sequence[str]
) -> None:
    for database, contents in built:
        for definition in contents.of_kind(*kinds):
            create(server, database, definition)


class _Building:
    """Tables on their way into a database."""

    def __init__(
        self,
        sessions: Sequence[LoadingSession],
        database: str,
        read: Read,
        on_bytes: Callable[[int], None],
        *,
        count: bool,
    ) -> None:
        self._sessions = sessions
        self._asks_count = count
        self._database = database
        self._ahead = _Ahead(read)
        self._on_bytes = on_bytes
        self._counting = threading.Lock()
        self._done = 0

    def run(self, contents: DatabaseContents) -> None:
        """Create and load all tables, the largest first."""
        rows = {table.head.source.table: table for table in contents.tables}
        # Tables first, all of them: what the target does not understand shows at once.
        plans: list[_Plan] = []

        def make(session: LoadingSession, definition: Definition) -> None:
            plans.append(self._create(session.server, definition, rows.get(definition.name)))

        in_parallel(self._sessions, contents.of_kind(TABLE), make)
        plans.sort(key=lambda plan: (-plan.rows.bytes if plan.rows else 0, plan.definition.name))
        with self._ahead:
            in_parallel(self._sessions, plans, self._fill)
        for plan in plans:
            for alter in plan.foreign:
                self._alter(self._sessions[0].server, plan, alter)

    def _create(self, server: Server, definition: Definition, rows: TableRows | None) -> _Plan:
        steps = None
        if rows and rows.bytes >= DEFER:
            steps = deferrable(server, self._database, definition)
        if steps is None:
            create(server, self._database, definition)
            return _Plan(definition=definition, rows=rows)
        text, alters = steps
        create(server, self._database, replace(definition, text=text))
        return _Plan(
            definition=definition,
            rows=rows,
            keys=tuple(alter for alter in alters if not adds_foreign_keys(alter)),
            foreign=tuple(alter for alter in alters if adds_foreign_keys(alter)),
        )

    def _fill(self, session: LoadingSession, plan: _Plan) -> None:
        """Load the rows of a table, count them, and add its keys."""
        if plan.rows is None or not plan.rows.ranges:
            return
        loader = session.loader(plan.rows.head.source)
        for part, data in self._ahead.ranges(plan.rows):
            if loader.load(data) != part.rows:
                raise IntegrityError(f"a range of {_shown(plan)} has other rows", hint=HINT)
            self._count(part.bytes)
            # Not held while the next one is read.
            del data
        if self._asks_count:
            self._need_count(session.server, plan.rows)
        for alter in plan.keys:
            self._alter(session.server, plan, alter)
        self._set_counter(session.server, plan)

    def _count(self, size: int) -> None:
        with self._counting:
            self._done += size
            self._on_bytes(self._done)

    def _need_count(self, server: Server, table: TableRows) -> None:
        """Ask the server what it holds, whatever it said while it was loaded."""
        source = table.head.source
        name = f"{quote(self._database)}.{quote(source.table)}{source.suffix}"
        found = server.value(f"SELECT COUNT(*) FROM {name}")  # noqa: S608 (a quoted name)
        if found != table.rows:
            message = (
                f"table {source.table} holds {found:,} rows after the load, not {table.rows:,}"
            )
            raise LoadFailed(message, hint=HINT)

    def _set_counter(self, server: Server, plan: _Plan) -> None:
        """Put AUTO_INCREMENT back where it stood, if the rows have moved it."""
        wanted = plan.definition.extra.get("auto_increment")
        if wanted is None:
            return
        found = read_table(server, self._database, plan.definition.name).extra
        if found.get("auto_increment") != wanted:
            name = quote_bytes(plan.definition.name)
            alter = b"ALTER TABLE %s AUTO_INCREMENT = %s" % (name, wanted.encode())
            self._alter(server, plan, alter)

    def _alter(self, server: Server, plan: _Plan, alter: bytes) -> None:
        try:
            run(server, self._database, alter)
        except LoadFailed as error:
            message = f"{_shown(plan)} is loaded, but could not be completed: {error.message}"
            raise LoadFailed(message, hint=error.hint) from None


def _shown(plan: _Plan) -> str:
    return f"table {plan.definition.name}"


class _Ahead:
    """Reads the ranges of tables, a few of them before they are asked for."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._room = threading.Semaphore(AHEAD)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def ranges(self, table: TableRows) -> Iterator[tuple[Range, bytes]]:
        """Yield each range with its row packets."""
        following: Future[bytes] | None = None
        try:
            for number, part in enumerate(table.ranges):
                data = (following or self._pool.submit(self._packets, part)).result()
                if following:
                    self._room.release()
                following = self._begin(table.ranges[number + 1 : number + 2])
                yield part, data
                del data
        finally:
            if following:
                following.cancel()
                self._room.release()

    def _begin(self, parts: Sequence[Range]) -> Future[bytes] | None:
        """Begin to read, unless others have taken all the room."""
        if not parts or not self._room.acquire(blocking=False):
            return None
        return self._pool.submit(self._packets, parts[0])

    def _packets(self, part: Range) -> bytes:
        data = self._read(part) if part.inline is None else part.inline
        if len(data) != part.bytes:
            raise IntegrityError("a range of the backup has another size than it says", hint=HINT)
        return data


def in_parallel(
    sessions: Sequence[LoadingSession],
    tasks: Sequence[Task],
    work: Callable[[LoadingSession, Task], None],
) -> None:
    """Do *work* for each of *tasks*, in order, by whichever session is free.

    The first failure ends all: other sessions are broken off where they stand, for a server may
    take an hour over an index. It is raised when nothing runs any more.
    """
    waiting = deque(tasks)
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        for session in sessions:
            session.break_off()

    def work_off(session: LoadingSession) -> None:
        try:
            while not failures and (task := _next(waiting)) is not None:
                work(session, task)
        except BaseException as error:  # noqa: BLE001 (raised again, in the caller's thread)
            fail(error)

    with ThreadPoolExecutor(len(sessions), thread_name_prefix="load") as pool:
        try:
            wait([pool.submit(work_off, session) for session in sessions])
        except BaseException as error:
            fail(error)
            raise
    if failures:
        raise failures[0]


def _next(waiting: deque[Task]) -> Task | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
