"""Keeping a schema still while it is dumped, or proving that it was.

``block``: a transaction of ours holds a metadata lock on every table, so that ALTER, DROP,
RENAME, TRUNCATE wait. New readers queue behind DDL that waits behind us, so a watcher lets it
through after a limit, and at once when it is the dump itself that queues. From then on, as with
``detect``, changes are found by comparing names, definitions and InnoDB's table numbers, and the
run fails if there are any.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import SchemaChanged, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql import privileges, schema
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote
from ulasis_backup.mysql.still import HINT, TABLE_LOCK, compare, still, touches, waiting

LOCK_SECONDS = 5
POLL_SECONDS = 0.5
OF_THE_DUMP = ("select /*!40001 sql_no_cache", "show create table", "show fields from")
"""How statements of the dump programs begin."""


class SchemaGuard:
    """Holds a database's schema still, or knows that it no longer does.

    ``lost`` tells why the locks are not held (any more), empty while they are.
    """

    def __init__(self, server: Server, database: str, found: Catalogue) -> None:
        self._server = server
        self._database = database
        self._found = found
        self._holding = threading.Lock()
        self.lost = "not asked to"
        self._before = still(server, database, found)

    @property
    def unchecked(self) -> bool:
        """Tell whether TRUNCATE and DROP with CREATE could go unnoticed."""
        return bool(self.lost) and self._before.table_ids is None

    def hold(self) -> None:
        """Take the metadata lock of every table, or note why that was not possible."""
        self._server.run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        self._server.run("START TRANSACTION")
        tables = [(self._database, t.name) for t in self._found.tables if t.is_transactional]
        try:
            for statement in touches(tables):
                self._server.run(statement)
        except QueryFailed as error:
            self._server.run("ROLLBACK")
            self.lost = f"a table could not be locked against DDL ({error.message})"
            return
        self.lost = ""
        # Between the first look and the locks something may have changed.
        self._before = still(self._server, self._database, self._found)

    def give_way(self, reason: str) -> None:
        """Release the locks for good."""
        with self._holding:
            if not self.lost:
                self.lost = reason
                self._server.run("ROLLBACK")

    def check(self) -> None:
        """Raise SchemaChanged unless the schema is what it was at the start."""
        with self._holding:
            now = still(
                self._server, self._database, schema.catalogue(self._server, self._database)
            )
            compare(self._before, now, database=self._database, held=not self.lost)


class TableLocks:
    """READ locks on tables without transactions, in a session of their own.

    ``released`` tells that they were given up before the dump had ended: then it is worth nothing.
    """

    def __init__(self, server: Server | None) -> None:
        self._server = server
        self._holding = threading.Lock()
        self.released = False

    @property
    def held(self) -> bool:
        """Tell whether there are locks at all, still held."""
        return self._server is not None and not self.released

    def release(self) -> None:
        """Let the writers through."""
        with self._holding:
            if self._server is not None and not self.released:
                self.released = True
                self._server.run("UNLOCK TABLES")

    def check(self) -> None:
        """Raise SchemaChanged if the locks did not last as long as the dump."""
        if self.released:
            message = (
                "the lock of a table without transactions was given up: DDL or the dump waited"
            )
            raise SchemaChanged(message, hint=HINT)


@contextlib.contextmanager
def tables_locked(login: Login, database: str, names: Sequence[str]) -> Iterator[TableLocks]:
    """Lock tables without transactions against writing, in a session of its own."""
    if not names:
        yield TableLocks(None)
        return
    with connect(login) as server:
        server.run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS * 6}")
        yield lock_tables(server, [(database, name) for name in names])


def lock_tables(server: Server, tables: Sequence[tuple[str, str]]) -> TableLocks:
    """Lock *tables*, pairs of database and name, against writing until *server* closes."""
    listed = ", ".join(f"{quote(database)}.{quote(name)} READ" for database, name in tables)
    server.run(f"LOCK TABLES {listed}")
    return TableLocks(server)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOptions:
    """Whether DDL is held back, and for how many seconds at the most."""

    block: bool
    wait: int


@contextlib.contextmanager
def guarded(
    login: Login, database: str, found: Catalogue, *, options: GuardOptions, locks: TableLocks
) -> Iterator[SchemaGuard]:
    """Keep the schema of *database* still, or watch it.

    DDL of others is let through after a while, and *locks* with it. Without the right to see
    other sessions (PROCESS) nobody could notice that it waits, so then nothing is blocked.
    """
    with connect(login) as server:
        guard = SchemaGuard(server, database, found)
        if options.block and not privileges.has_global(server, "PROCESS", "SUPER"):
            guard.lost = "the login lacks PROCESS, so DDL that waits behind us would go unseen"
        elif options.block:
            guard.hold()
        if guard.lost and not locks.held:
            yield guard
            return
        done = threading.Event()
        watching = Watch(login=login, guard=guard, locks=locks, wait=options.wait, done=done)
        watcher = threading.Thread(target=_watch, args=(watching,), name="ddl-watcher", daemon=True)
        watcher.start()
        try:
            yield guard
        finally:
            done.set()
            watcher.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the watcher works with."""

    login: Login
    guard: SchemaGuard
    locks: TableLocks
    wait: int
    done: threading.Event

    def give_way(self, reason: str) -> None:
        """Release everything that others may wait for."""
        self.locks.release()
        self.guard.give_way(reason)


def _watch(watch: Watch) -> None:
    """Let DDL through that has waited behind us for longer than the limit.

    DDL on a table that the dump has not reached makes the dump itself wait: it comes first in
    the queue. Then waiting longer helps nobody. The same with a writer that waits for our lock on
    a table without transactions: on MariaDB readers queue behind it. Our own sessions are seen
    without PROCESS too.
    """
    since: float | None = None
    try:
        with connect(watch.login) as server:
            while not watch.done.wait(POLL_SECONDS):
                found = waiting(server, also=TABLE_LOCK)
                of_dump = [one for one in found if one.statement.lower().startswith(OF_THE_DUMP)]
                # Those who only want to write rows wait for locked tables, as they should.
                if not of_dump and not any(one.is_ddl for one in found):
                    since = None
                    continue
                since = since or time.monotonic()
                if of_dump:
                    watch.give_way("DDL or a writer came before the dump had reached its table")
                    return
                if time.monotonic() - since >= watch.wait:
                    watch.give_way(
                        f"DDL waited behind the dump for {watch.wait} s and was let through"
                    )
                    return
    except ServerError as error:
        # Without a watcher nobody may be kept waiting.
        with contextlib.suppress(ServerError):
            watch.give_way(f"the watcher for waiting DDL failed ({error.message})")
