"""Several sessions that see one moment of a server, and the moment's place in the binlog.

How one is taken: ``attempt``. With which statements: ``ways``. DDL that comes meanwhile makes a
try fail; everything is released, the DDL runs, and the next try begins anew: nobody notices.
Afterwards DDL waits behind the reading sessions: ``hold``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from ulasis_backup.errors import PrivilegeMissing, SchemaChanged, ServerError
from ulasis_backup.model import Login, Position
from ulasis_backup.mysql import moments, privileges
from ulasis_backup.mysql.attempt import READER_WAIT_SECONDS, Taken, Wanted, attempt
from ulasis_backup.mysql.hold import Hold, watched
from ulasis_backup.mysql.moments import Identity, NoMoment, Overtaken
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.still import HINT, Still, compare, still
from ulasis_backup.mysql.ways import ALONE, TABLES, Way, ways

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""Between two tries: what waited behind the first one gets through."""

NO_PROCESS = (
    "DDL was not held back: the login lacks PROCESS, so DDL that waits behind us would go unseen"
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
    """What the schema looked like at the moment, and whether our sessions hold it still.

    ``found`` is what there was, ``before`` what it looked like. ``tables`` is the session that
    keeps tables without transactions locked.
    """

    login: Login
    identity: Identity
    found: Mapping[str, Catalogue]
    before: Mapping[str, Still]
    blocking: bool
    hold: Hold
    tables: Server

    def check(self, sessions: Sequence[Server]) -> None:
        """Raise SchemaChanged unless the schema is as before, and *sessions* as they were."""
        with self.hold.explaining(), self.hold.finishing():
            with connect(self.login) as server:
                moments.need_same(self.identity, [server])
                # A RENAME that waits for us may have other tables already. Whoever asked for those
                # would wait for it, and nobody could let it through: only for ours, and not long.
                server.run(f"SET SESSION lock_wait_timeout = {READER_WAIT_SECONDS}")
                for database, before in self.before.items():
                    now = still(server, database, self.found[database])
                    compare(before, now, database=database, held=self.blocking)
            moments.need_transactions(sessions)
            # Its locks were there all the time if it is there still.
            self.tables.run("DO 0")


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
            login=login, databases=tuple(databases), look=look, jobs=options.jobs,
            lock_tables=options.lock_tables, blocking=options.block_ddl and may_watch,
        )  # fmt: skip
        stack, moment = _by_any_way(server, wanted, options)
    hold = moment.ledger.hold
    watching = watched(login, hold, databases=databases, wait=options.ddl_wait)
    with stack, hold.explaining(), watching:
        yield moment


def _by_any_way(
    server: Server, wanted: Wanted[T], options: MomentOptions
) -> tuple[ExitStack, Moment[T]]:
    """Try one way after the other; whoever gets the stack closes the sessions with it."""
    unheld = [NO_PROCESS] if options.block_ddl and not wanted.blocking else []
    said: list[str] = []
    denied = True
    for group in (ways(server), (TABLES,)):
        deadline = time.monotonic() + options.lock_wait
        for way in group:
            try:
                return _for_a_while(wanted, way, deadline=deadline, said=[*said, *unheld])
            except Overtaken as error:
                message = f"there was no moment without DDL or locked tables ({error.message})"
                raise SchemaChanged(message, hint=HINT) from error
            except NoMoment as error:
                said.append(f"no {way.title}: {error.message}")
                if not error.denied:
                    # Others that stop all commits would wait for the same.
                    denied = False
                    break
    if wanted.jobs > 1:
        raise _refusal(server, said, denied=denied)
    deadline = time.monotonic() + options.lock_wait
    return _for_a_while(wanted, ALONE, deadline=deadline, said=[*said, ALONE_SAID, *unheld])


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
            stack, taken = attempt(wanted, way)
        except NoMoment as error:
            if error.denied or time.monotonic() + PAUSE_SECONDS > deadline:
                raise
        else:
            return stack, _moment(wanted, way, taken, said)
        time.sleep(PAUSE_SECONDS)


def _moment(wanted: Wanted[T], way: Way, taken: Taken[T], said: Sequence[str]) -> Moment[T]:
    return Moment(
        sessions=taken.sessions, seen=taken.seen, position=taken.position, how=way.how,
        fallbacks=(*said, *taken.remarks), stopped=taken.stopped,
        ledger=Ledger(
            login=wanted.login, identity=taken.identity, found=taken.found, before=taken.before,
            blocking=wanted.blocking, hold=Hold(taken.hold), tables=taken.tables,
        ),
    )  # fmt: skip
