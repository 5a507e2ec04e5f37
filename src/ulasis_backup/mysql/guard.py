"""Keeping a schema still while it is dumped, or proving that it was.

``block``: a transaction of ours holds a metadata lock on every table, so that ALTER, DROP,
RENAME, TRUNCATE wait. New readers queue behind DDL that waits behind us, so a watcher lets it
through after a limit, and at once when it is the dump itself that queues. From then on, as with
``detect``, changes are found by comparing names, definitions and InnoDB's table numbers, and the
run fails if there are any.

RENAME and EXCHANGE PARTITION can be undone again before anybody compares. What the server
counts of such statements finds those: without a lock, any of them during the dump is a failure.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import SchemaChanged, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql import privileges, schema
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote

TABLES_A_STATEMENT = 50
LOCK_SECONDS = 5
POLL_SECONDS = 0.5
REVERSIBLE = ("Com_rename_table", "Com_alter_table")
OF_THE_DUMP = ("select /*!40001 sql_no_cache", "show create table", "show fields from")
"""How statements of the dump programs begin."""

HINT = "run the backup again when the migration is done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """What a schema looked like at one moment."""

    definitions: dict[str, str]
    table_ids: dict[str, int] | None
    counters: dict[str, int]


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
        self._before = self._look()

    @property
    def unchecked(self) -> bool:
        """Tell whether TRUNCATE and DROP with CREATE could go unnoticed."""
        return bool(self.lost) and self._before.table_ids is None

    def hold(self) -> None:
        """Take the metadata lock of every table, or note why that was not possible."""
        self._server.run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        self._server.run("START TRANSACTION")
        names = [table.name for table in self._found.tables if table.is_transactional]
        try:
            for start in range(0, len(names), TABLES_A_STATEMENT):
                self._server.run(_touch(self._database, names[start : start + TABLES_A_STATEMENT]))
        except QueryFailed as error:
            self._server.run("ROLLBACK")
            self.lost = f"a table could not be locked against DDL ({error.message})"
            return
        self.lost = ""
        # Between the first look and the locks something may have changed.
        self._before = self._look()

    def give_way(self, reason: str) -> None:
        """Release the locks for good."""
        with self._holding:
            if not self.lost:
                self.lost = reason
                self._server.run("ROLLBACK")

    def check(self) -> None:
        """Raise SchemaChanged unless the schema is what it was at the start."""
        with self._holding:
            now = self._look()
            _compare(self._before.definitions, now.definitions)
            if self._before.table_ids is not None and now.table_ids is not None:
                _compare(self._before.table_ids, now.table_ids)
            if self.lost and self._before.counters != now.counters:
                message = (
                    "RENAME or ALTER ran on this server during the dump; whether it touched "
                    f"{self._database} and was undone again cannot be told"
                )
                raise SchemaChanged(message, hint=HINT)

    def _look(self) -> Still:
        found = schema.catalogue(self._server, self._database)
        return Still(
            definitions=schema.definitions(self._server, self._database, found),
            table_ids=schema.table_ids(self._server, self._database),
            counters=_counters(self._server),
        )


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
            message = "DDL waited for a table without transactions and made the dump wait as well"
            raise SchemaChanged(message, hint=HINT)


@contextlib.contextmanager
def tables_locked(login: Login, database: str, names: Sequence[str]) -> Iterator[TableLocks]:
    """Lock tables without transactions against writing, in a session of its own."""
    if not names:
        yield TableLocks(None)
        return
    with connect(login) as server:
        server.run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS * 6}")
        listed = ", ".join(f"{quote(database)}.{quote(name)} READ" for name in names)
        server.run(f"LOCK TABLES {listed}")
        yield TableLocks(server)


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
    the queue. Then waiting longer helps nobody. Our own sessions are seen without PROCESS too.
    """
    since: float | None = None
    try:
        with connect(watch.login) as server:
            while not watch.done.wait(POLL_SECONDS):
                waiting = _waiting(server)
                if not waiting:
                    since = None
                    continue
                since = since or time.monotonic()
                if any(statement.startswith(OF_THE_DUMP) for statement in waiting):
                    watch.give_way("DDL came before the dump had reached its table")
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


def _waiting(server: Server) -> list[str]:
    """Return the statements that wait for the metadata lock of a table."""
    rows = server.query(
        "SELECT COALESCE(INFO, '') FROM information_schema.PROCESSLIST "
        "WHERE STATE LIKE 'Waiting for table metadata lock%%'"
    )
    return [str(statement).lower() for (statement,) in rows]


def _touch(database: str, names: Sequence[str]) -> str:
    selects = [f"(SELECT 1 FROM {quote(database)}.{quote(name)} LIMIT 0)" for name in names]
    return " UNION ALL ".join(selects)


def _counters(server: Server) -> dict[str, int]:
    listed = ", ".join(f"'{name}'" for name in REVERSIBLE)
    rows = server.query(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({listed})")
    return {str(name): int(value) for name, value in rows}


def _compare(before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Compare what there was; what came after the dump's moment is rightly not in the dump."""
    changed = [name for name in before if before[name] != now.get(name)]
    if changed:
        names = ", ".join(sorted(changed)[:5])
        message = f"the schema changed while it was dumped: {names}"
        raise SchemaChanged(message, hint=HINT)
