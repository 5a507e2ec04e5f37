"""The one statement that moves the tables, and the locks around it.

Tables with triggers do not move between schemas: their triggers are dropped before and created
after, while nobody else may write to them. MySQL renames under ``LOCK TABLES``. MariaDB does not:
see ``swap_handover``. While we wait for locks everybody else queues behind us, so we wait in short
slices and give way in between.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ulasis_backup.errors import Busy, Refused, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql import beside
from ulasis_backup.mysql.beside import MOVED, WAITING, Names
from ulasis_backup.mysql.definitions import Definition, digest_bytes
from ulasis_backup.mysql.journal import Moves
from ulasis_backup.mysql.server import QueryFailed, Server, quote
from ulasis_backup.mysql.swap_objects import create_triggers, lock_statement, read_triggers
from ulasis_backup.mysql.swap_sessions import IN_USE, swap_session

OnPhase = Callable[[str], None]
SLICE = 3
"""Seconds that others may have to queue behind us at a time."""

PAUSE = 1.0
"""Seconds that they have for themselves then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one attempt is made: seconds of patience for each lock, and who listens."""

    patience: int
    on_phase: OnPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What is exchanged: tables of ``database`` for others, and the objects on them.

    ``off`` are the triggers that the tables have before, ``on`` those afterwards; ``defaults`` are
    statements for tables that name sequences, by table. ``bodies`` creates the routines.
    """

    names: Names
    out_schema: str
    in_schema: str
    moves: Moves
    off: tuple[Definition, ...]
    on: tuple[Definition, ...]
    bodies: Callable[[], None] = lambda: None

    @property
    def database(self) -> str:
        """Return the database whose tables are exchanged."""
        return self.names.database

    @property
    def statement(self) -> str:
        """Return the statement that moves all tables and the mark, or nothing."""
        home = self.database
        pairs = [(home, name, self.out_schema, name) for name in self.moves.out]
        pairs += [(self.in_schema, name, home, name) for name in self.moves.into]
        pairs.append((home, WAITING, home, MOVED))
        return "RENAME TABLE " + ", ".join(
            f"{quote(a)}.{quote(b)} TO {quote(c)}.{quote(d)}" for a, b, c, d in pairs
        )


def move(
    login: Login,
    control: Server,
    exchange: Exchange,
    *,
    wait: float,
    on_phase: OnPhase,
) -> None:
    """Exchange the tables and their triggers; the mark tells afterwards on which side we are.

    Waits *wait* seconds at most for others to let go of the tables; then, or when the triggers are
    not what they were, Busy or Refused is raised and all is as before. Any other error may leave
    triggers off, for ``settle`` to put on again.
    """
    deadline = time.monotonic() + wait
    way = _way(control, exchange)
    while True:
        left = deadline - time.monotonic()
        patience = max(1, min(SLICE, round(left)))
        try:
            way(login, control, exchange, Attempt(patience=patience, on_phase=on_phase))
        except QueryFailed as error:
            if error.number not in IN_USE or beside.mark(control, exchange.database) != WAITING:
                raise
            if time.monotonic() + PAUSE >= deadline:
                raise _in_use(exchange, wait, error) from None
        else:
            return
        time.sleep(PAUSE)


Way = Callable[[Login, Server, Exchange, Attempt], None]


def _way(control: Server, exchange: Exchange) -> Way:
    from ulasis_backup.mysql.swap_handover import hand_over  # noqa: PLC0415 (it needs us)

    if not control.is_mariadb:
        return _under_locks
    return hand_over if exchange.off or exchange.on else _alone


def _alone(login: Login, _control: Server, exchange: Exchange, attempt: Attempt) -> None:
    """Move tables without triggers."""
    with swap_session(login, exchange.database, 1) as server:
        server.run(f"SET SESSION lock_wait_timeout = {attempt.patience}")
        attempt.on_phase("renaming")
        server.run(exchange.statement)
        attempt.on_phase("renamed")


def _under_locks(login: Login, control: Server, exchange: Exchange, attempt: Attempt) -> None:
    """Do all of it in one session that keeps its locks throughout, as MySQL lets it."""
    home = exchange.database
    tables = [(home, name) for name in (*exchange.moves.out, WAITING)]
    tables += [(exchange.in_schema, name) for name in exchange.moves.into]
    with swap_session(login, home, 1) as server:
        server.run(f"SET SESSION lock_wait_timeout = {attempt.patience}")
        with unlocked_after(server):
            server.run(lock_statement(tables))
            attempt.on_phase("locked")
            expect_triggers(control, exchange)
            with put_back(exchange, server):
                drop_triggers(server, exchange)
                attempt.on_phase("triggers off")
                server.run(exchange.statement)
            attempt.on_phase("renamed")
            exchange.bodies()
            create_triggers(server, home, exchange.on)
            attempt.on_phase("triggers on")


@contextlib.contextmanager
def unlocked_after(server: Server) -> Iterator[None]:
    """Give the session's table locks back at the end; a session that is gone has none."""
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            server.run("UNLOCK TABLES")


@contextlib.contextmanager
def put_back(exchange: Exchange, server: Server) -> Iterator[None]:
    """Put the old triggers back if their tables do not move: the session holds them all."""
    try:
        yield
    except BaseException:
        # Whatever fails here as well is put right by `roll_back`, under locks of its own.
        with contextlib.suppress(ServerError):
            _put_back(exchange, server)
        raise


def _put_back(exchange: Exchange, server: Server) -> None:
    for one in exchange.off:
        server.run(f"DROP TRIGGER IF EXISTS {quote(exchange.database)}.{quote(one.name)}")
    create_triggers(server, exchange.database, exchange.off)


def drop_triggers(server: Server, exchange: Exchange) -> None:
    """Drop the triggers of the tables that move out."""
    for one in exchange.off:
        server.run(f"DROP TRIGGER {quote(exchange.database)}.{quote(one.name)}")


def expect_triggers(control: Server, exchange: Exchange) -> None:
    """Raise Refused unless the triggers are what was planned with, now that nobody can change them.

    *control* holds no locks: with locks a server leaves out what it cannot look at.
    """
    have = read_triggers(control, exchange.database, frozenset(exchange.moves.out))
    if sorted(map(digest_bytes, have)) != sorted(map(digest_bytes, exchange.off)):
        message = f"triggers of {exchange.database} changed while the swap was prepared"
        raise Refused(message, hint="look who works on it, then restore again")


def _in_use(exchange: Exchange, wait: float, error: QueryFailed) -> Busy:
    message = f"tables of {exchange.database} were in use for {wait:g} s: {error.message}"
    hint = (
        "long transactions hold them (SHOW PROCESSLIST); end them, or raise RESTORE_LOCK_WAIT; "
        "nothing was changed"
    )
    return Busy(message, hint=hint)
