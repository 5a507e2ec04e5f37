"""MariaDB: tables with triggers are swapped without a moment in which others can write to them.

MariaDB refuses RENAME TABLE under LOCK TABLES, and tables with triggers do not move to another
schema. So the locks are handed from one session to the next:

1. ``first`` locks all old tables (nobody writes any more) and drops their triggers.
2. ``mover`` issues the RENAME; it waits.
3. For each table that had triggers a *guard* queues behind it: a RENAME of that table to a name
   that is taken. It gets, or waits for, the exclusive lock of that table, and then waits for the
   taken name, which ``holder`` keeps. It can do nothing but fail.
4. ``first`` unlocks. The RENAME takes its locks one after the other, in the order of the names. A
   table that it has not come to yet falls to its guard. Another guard queues, then the first one
   is broken off, until the RENAME has all tables; it is kept waiting at a last one, the gate.
5. The statements that create the new triggers are issued, each in a session of its own: they wait
   for the tables too, in the order in which they came. The guards are broken off.
6. The gate opens. The RENAME runs, then the CREATE TRIGGERs, and only then whoever else waits.

If the RENAME gives up, the guards have the tables, and the old triggers are queued instead.
Exclusive locks that wait come before everybody who waits to read or write; so at every moment each
of these tables is locked by one of us, or about to be. Nothing rests on how long anything takes.
From 5 on the server needs us no more. Guards are no LOCK TABLES because that locks tables along
which foreign keys join, in an order of its own, which deadlocks with the RENAME.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from ulasis_backup.errors import ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql import beside
from ulasis_backup.mysql.beside import GATE, MOVED, WAITING
from ulasis_backup.mysql.commands import break_off
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.server import QueryFailed, Server, quote
from ulasis_backup.mysql.swap_move import (
    Attempt,
    Exchange,
    drop_triggers,
    expect_triggers,
    put_back,
)
from ulasis_backup.mysql.swap_objects import by_table, lock_statement
from ulasis_backup.mysql.swap_sessions import swap_session

POLL = 0.003
LONGEST_POLL = 20
"""Seconds after which a session should wait for a table's lock, or have it."""

QUEUE_SECONDS = 600
"""Longer than the RENAME may wait: who queues behind it must not lose its place."""

IN_USE = 1205
WAITS = "Waiting for table metadata lock"
RESERVED = 20
"""Connections that are left to others when all tables are guarded."""

MOST_GUARDS = 200

OTHERS = 5
"""Sessions beside those for guards and triggers: first, mover, holder, probe, a spare guard."""


@dataclass(slots=True)
class _Asked:
    """A statement that a session has issued and that waits."""

    server: Server
    over: Future[None]


@dataclass(slots=True)
class _Queue:
    """All sessions of one attempt."""

    exchange: Exchange
    control: Server
    pool: ThreadPoolExecutor
    ids: dict[Server, int]
    first: Server
    mover: Server
    holder: Server
    probe: Server
    spare: list[Server]
    guards: dict[str, _Asked] = field(default_factory=dict)
    created: list[_Asked] = field(default_factory=list)

    def run(self, server: Server, sql: str) -> _Asked:
        """Issue *sql*, and return when it waits for a table's lock, or is over."""
        return self.await_queued(_Asked(server, self.pool.submit(server.run, sql)))

    def await_queued(self, asked: _Asked) -> _Asked:
        """Return when the session waits for a table's lock, or is over."""
        sql = "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = %s"
        deadline = time.monotonic() + LONGEST_POLL
        number = self.ids[asked.server]
        while not asked.over.done() and self.control.value(sql, (number,)) != WAITS:
            if time.monotonic() > deadline:
                message = "another lock than a table's keeps the swap waiting"
                raise QueryFailed(
                    message, hint="is a backup with global locks running?", number=IN_USE
                )
            time.sleep(POLL)
        return asked

    def guard(self, table: str) -> None:
        """Let one more guard queue for *table*, and then break off the one before."""
        taken = f"{quote(self.exchange.names.before)}.{quote(GATE)}"
        sql = f"RENAME TABLE {quote(self.exchange.database)}.{quote(table)} TO {taken}"
        before = self.guards.get(table)
        self.guards[table] = self.run(self.spare.pop(), sql)
        if before:
            self.break_off(before)

    def break_off(self, asked: _Asked) -> None:
        """End a statement that waits for a table; one that runs comes to its own end."""
        sql = "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = %s"
        number = self.ids[asked.server]
        while not asked.over.done():
            if self.control.value(sql, (number,)) == WAITS:
                with contextlib.suppress(QueryFailed):  # it is over
                    self.control.run(f"KILL QUERY {number}")
            wait([asked.over], POLL)
        self.spare.append(asked.server)

    def create(self, triggers: Sequence[Definition]) -> None:
        """Issue what creates *triggers*: it waits for their tables, in this order."""
        for one in triggers:
            server = self.spare.pop()
            asked = _Asked(server, self.pool.submit(create, server, self.exchange.database, one))
            self.created.append(self.await_queued(asked))

    def await_created(self) -> None:
        """Wait until the triggers are created; raises what went wrong."""
        for one in self.created:
            one.over.result()

    def end_guards(self) -> None:
        """Break all guards off."""
        while self.guards:
            self.break_off(self.guards.popitem()[1])


def hand_over(login: Login, control: Server, exchange: Exchange, attempt: Attempt) -> None:
    """Exchange tables with triggers; see ``swap_move.move``."""
    before = quote(exchange.names.before)
    control.run(
        f"CREATE TABLE IF NOT EXISTS {before}.{quote(GATE)} (id INT PRIMARY KEY) ENGINE=InnoDB"
    )
    guarded = _guarded(control, exchange)
    count = OTHERS + len(guarded) + len(exchange.off) + len(exchange.on)
    with _queue(login, control, exchange, count) as queue:
        for server in (queue.first, queue.mover):
            server.run(f"SET SESSION lock_wait_timeout = {attempt.patience}")
        tables = [*exchange.moves.out, WAITING]
        queue.first.run(lock_statement((exchange.database, name) for name in tables))
        attempt.on_phase("locked")
        expect_triggers(control, exchange)
        with put_back(exchange, queue.first):
            drop_triggers(queue.first, exchange)
            attempt.on_phase("triggers off")
            moving = _line_up(queue, guarded)
        with _ended(queue, moving):
            attempt.on_phase("renaming")
            queue.first.run("UNLOCK TABLES")
            _follow(queue, moving)
            # Only now: the routines that the new triggers call, while nobody can fire any.
            exchange.bodies()
            queue.create(exchange.on)
            queue.end_guards()
            attempt.on_phase("gate")
            queue.holder.run("COMMIT")
            moving.over.result()
            attempt.on_phase("renamed")
            queue.await_created()
            attempt.on_phase("triggers on")


def _line_up(queue: _Queue, guarded: Sequence[str]) -> _Asked:
    """Shut the gate, issue the RENAME, and let a guard queue for each of the *guarded* tables."""
    exchange = queue.exchange
    queue.holder.run("START TRANSACTION")
    queue.holder.run(f"SELECT 1 FROM {quote(exchange.names.before)}.{quote(GATE)} LIMIT 0")
    if exchange.moves.into:
        queue.holder.run(_look_at_gate(exchange))
    moving = queue.run(queue.mover, exchange.statement)
    try:
        for table in guarded:
            queue.guard(table)
    except BaseException:
        queue.break_off(moving)
        raise
    return moving


def _follow(queue: _Queue, moving: _Asked) -> None:
    """Return when the RENAME has the locks of all tables and waits at the gate.

    Raises what it ends with, if it gives up: QueryFailed.
    """
    while not _is_at_gate(queue):
        if moving.over.done():
            moving.over.result()
            return
        for table in sorted(queue.guards):
            queue.guard(table)
        wait([moving.over], POLL)


def _is_at_gate(queue: _Queue) -> bool:
    """Tell whether somebody waits for the gate alone: then nobody else may read it now."""
    if not queue.exchange.moves.into:
        return False
    try:
        queue.probe.run(_look_at_gate(queue.exchange))
    except QueryFailed as error:
        if error.number != IN_USE:
            raise
        return True
    return False


def _look_at_gate(exchange: Exchange) -> str:
    """Return a query of the gate: a table that is locked after all names in the database.

    There is none when no table moves in: then no trigger has to be created either.
    """
    return f"SELECT 1 FROM {quote(exchange.in_schema)}.{quote(exchange.moves.into[0])} LIMIT 0"


@contextlib.contextmanager
def _ended(queue: _Queue, moving: _Asked) -> Iterator[None]:
    """If the RENAME does not happen, put the old triggers back before others can write."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ServerError):
            if not moving.over.done():
                queue.break_off(moving)
            if beside.mark(queue.control, queue.exchange.database) != MOVED:
                # New triggers that wait for the old tables must not come to them.
                instead, queue.created = queue.created, []
                queue.create(queue.exchange.off)
                for asked in instead:
                    queue.break_off(asked)
                queue.end_guards()
                queue.holder.run("COMMIT")
                wait([asked.over for asked in queue.created])
        raise


def _guarded(control: Server, exchange: Exchange) -> tuple[str, ...]:
    """Return the tables to guard: those that had triggers, or all where there is room for that.

    A transaction that gets hold of a table without triggers, and then waits for one that we guard,
    keeps the RENAME waiting in vain.
    """
    limit = int(control.value("SELECT @@GLOBAL.max_connections"))
    used = int(control.query("SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0][1])
    room = limit - used - RESERVED - OTHERS - len(exchange.off) - len(exchange.on)
    everything = sorted({*exchange.moves.out})
    few = sorted(by_table(exchange.off))
    return tuple(everything if len(everything) <= min(room, MOST_GUARDS) else few)


@contextlib.contextmanager
def _queue(login: Login, control: Server, exchange: Exchange, count: int) -> Iterator[_Queue]:
    """Open all sessions before anything is touched; let no statement of theirs outlive an error."""
    with contextlib.ExitStack() as held:
        opened = [
            held.enter_context(swap_session(login, exchange.database, number + 1))
            for number in range(count)
        ]
        for server in opened:
            server.run(f"SET SESSION lock_wait_timeout = {QUEUE_SECONDS}")
        first, mover, holder, probe, *spare = opened
        probe.run("SET SESSION lock_wait_timeout = 0")
        ids = {one: int(one.value("SELECT CONNECTION_ID()")) for one in opened}
        pool = ThreadPoolExecutor(len(opened), thread_name_prefix="swap")
        queue = _Queue(exchange, control, pool, ids, first, mover, holder, probe, spare)
        try:
            yield queue
        except BaseException:
            with contextlib.suppress(ServerError):
                for asked in [*queue.guards.values(), *queue.created]:
                    queue.break_off(asked)
            for one in opened:
                # Should `control` be gone as well: the holder's end lets all others come to theirs.
                break_off(one)
            raise
        finally:
            pool.shutdown()
