"""Ways to stop a server's commits for an instant, so that several snapshots are of one moment.

Each way is a list of statements of one session, the lock session: first what holds DDL back
(commits go on; a second or more may pass), then what stops commits (milliseconds), then the end.
The session dies after seconds of silence, and with it every lock: a process of ours that was
killed or frozen must not hold up a server. Its last statement therefore proves that the locks
were there until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import LoginRefused, ServerError
from ulasis_backup.mysql.moments import NoMoment
from ulasis_backup.mysql.schema import DENIED
from ulasis_backup.mysql.server import QueryFailed, Server, quote

IDLE_SECONDS = 4
"""After so long a silence the server ends the lock session: frozen or vanished, it is no use."""

WAIT_SECONDS = 1
"""How long one statement may wait for its lock: behind it, writers wait as well."""

SAMPLES = 2
SAMPLE_SECONDS = 0.1
"""A statement that is there in each sample takes long."""

UNKNOWN = frozenset({1064, 1193})
"""Errors of servers that do not know a statement."""

Tables = Sequence[tuple[str, str]]
"""Pairs of database and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way: ``how`` and ``title`` name it, ``is_global`` tells that nobody at all can commit.

    ``locks_inside`` tells that READ locks on tables have to be taken once commits are stopped:
    FLUSH TABLES waits for tables that another session has locked, even if it is ours.
    """

    how: str
    title: str
    hold_ddl: tuple[str, ...] = ()
    hold_commits: Callable[[Tables], tuple[str, ...]]
    end: tuple[str, ...]
    is_global: bool = True
    locks_inside: bool = False


def _flush(_tables: Tables) -> tuple[str, ...]:
    return ("FLUSH TABLES WITH READ LOCK",)


def _lock(tables: Tables) -> tuple[str, ...]:
    listed = ", ".join(f"{quote(database)}.{quote(name)} READ" for database, name in tables)
    return (f"LOCK TABLES {listed}",) if tables else ()


STAGE = Way(
    how="backup stage",
    title="BACKUP STAGE",
    hold_ddl=("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"),
    hold_commits=lambda _tables: ("BACKUP STAGE BLOCK_COMMIT",),
    end=("BACKUP STAGE END",),
)
INSTANCE = Way(
    how="flush tables with read lock",
    title="LOCK INSTANCE FOR BACKUP",
    hold_ddl=("LOCK INSTANCE FOR BACKUP",),
    hold_commits=_flush,
    end=("UNLOCK TABLES", "UNLOCK INSTANCE"),
    locks_inside=True,
)
FLUSH = Way(
    how="flush tables with read lock",
    title="FLUSH TABLES WITH READ LOCK",
    hold_commits=_flush,
    end=("UNLOCK TABLES",),
    locks_inside=True,
)
TABLES = Way(
    how="lock tables",
    title="LOCK TABLES",
    hold_commits=_lock,
    end=("UNLOCK TABLES",),
    is_global=False,
)
ALONE = Way(
    how="one session",
    title="a lock",
    hold_commits=lambda _tables: (),
    end=("DO 0",),
    is_global=False,
)
"""Nothing is stopped: the snapshot of a single session is one moment by itself."""


def ways(server: Server) -> tuple[Way, ...]:
    """Return what stops all commits of *server*, the best first."""
    return (STAGE, FLUSH) if server.is_mariadb else (INSTANCE, FLUSH)


def prepare(server: Server) -> None:
    """Make *server* a lock session: impatient, and gone soon when nobody speaks."""
    server.run(f"SET SESSION lock_wait_timeout = {WAIT_SECONDS}")
    server.run(f"SET SESSION wait_timeout = {IDLE_SECONDS}")


def is_denied(error: ServerError) -> bool:
    """Tell whether *error* says that this way is not open to us, now or later."""
    if isinstance(error, LoginRefused):  # what the server says of rights on a database
        return True
    return isinstance(error, QueryFailed) and error.number in DENIED | UNKNOWN


def need_quiet(server: Server, way: Way) -> None:
    """Raise NoMoment while FLUSH TABLES would have to wait for long statements.

    When it gives up, whoever uses their tables goes on waiting until they end: "Waiting for table
    flush" (MySQL; MariaDB 10.11 no longer waits for those that read). One that is new in this very
    moment can still slip through. Statements of others are seen with PROCESS only.
    """
    if not way.locks_inside:
        return
    running = _running(server)
    for _ in range(SAMPLES):
        if not running:
            return
        time.sleep(SAMPLE_SECONDS)
        running &= _running(server)
    if running:
        number, statement = min(running)
        raise NoMoment(f"a statement takes long in session {number}: {statement[:80]}")


def _running(server: Server) -> set[tuple[int, str]]:
    rows = server.query(
        "SELECT ID, COALESCE(INFO, '') FROM information_schema.PROCESSLIST "
        "WHERE COMMAND IN ('Query', 'Execute') AND ID <> CONNECTION_ID() "
        "AND STATE NOT LIKE 'Waiting for%%' AND COALESCE(INFO, '') NOT IN ('', 'COMMIT')"
    )
    return {(int(number), str(statement)) for number, statement in rows}
