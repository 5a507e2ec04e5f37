"""Loading row packets into tables, exactly, in the best way that the server allows.

Every value goes back as the bytes that were read; whatever the server would do to it beyond that
shows as a warning, and any warning that is not expected fails the load. Rows are counted three
times: those in the packets, those the server says it wrote, and those the caller asks for.
Duplicates fail: of a PRIMARY KEY the server finds them with ``unique_checks=0`` as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import NoReturn, Protocol

import pymysql

from ulasis_backup.errors import LoadFailed, ServerUnsuitable
from ulasis_backup.model import Login
from ulasis_backup.mysql import commands
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.commands import BulkConnection, Done, infile_connection
from ulasis_backup.mysql.inserts import InsertLoads
from ulasis_backup.mysql.loads import Batch, Loads
from ulasis_backup.mysql.server import NOT_COMMITTED, QueryFailed, Server, connect

TRUNCATED = 1265
"""The warning for the number 0 in an ENUM column, rightly stored all the same."""

MOST_WARNINGS = 65_535
SETTINGS: dict[str, str | int] = {
    "sql_mode": "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO",
    "foreign_key_checks": 0,
    "unique_checks": 0,
    "check_constraint_checks": 0,
    "time_zone": "+00:00",
    "auto_increment_increment": 1,
    "auto_increment_offset": 1,
    "innodb_lock_wait_timeout": 3600,
    "system_versioning_insert_history": 1,
    "sql_generate_invisible_primary_key": 0,
}
"""What a loading session sets and reads back, where the server knows it and has it otherwise."""

WISHED: dict[str, str | int] = {
    "binlog_format": "ROW",
    "innodb_strict_mode": 0,
    "max_error_count": MOST_WARNINGS,
}
"""Set where we may, which takes a right, on MySQL for each: only row by row replicas get the rows
exactly as they are; strict, old row formats are refused; more warnings can be told of, though all
are counted."""

HINTS = {
    1062: "the target held rows before, or the backup's rows are damaged: verify the backup",
    1114: "the target server has no room left",
    1021: "the target server has no room left",
    1153: "raise max_allowed_packet of the target server, then again",
    1180: NOT_COMMITTED,
    1205: "something else holds locks on the table; SHOW PROCESSLIST shows it",
    1227: "the restore login lacks a right; see the message",
    3998: "raise binlog_cache_size or max_binlog_cache_size of the target server",
}
HINT = "the message names the cause; the table is incomplete, load it anew"
ROOM = 1024
"""Bytes of a packet that are not for rows."""


class Way(StrEnum):
    """A way to load rows, fastest first."""

    BULK = "bulk protocol"
    LOAD_DATA = "load data"
    INSERT = "insert"


class Loader(Protocol):
    """Loads the rows of one table."""

    def load(self, packets: bytes) -> int:
        """Load one range of canonical row packets, commit, and return the number of rows.

        Raises LoadFailed (also for a warning that is not expected, or when not every row was
        written), ServerUnreachable, and IntegrityError for malformed packets. Then nothing of
        this range is committed, and the session is of no more use.
        """
        ...


@contextlib.contextmanager
def loading_session(
    login: Login, database: str, *, way: Way | None = None, log_bin: bool = True
) -> Iterator[LoadingSession]:
    """Open a session that loads rows into *database*, by default in the best way there is.

    Without *log_bin* nothing of it reaches the server's binlog, nor its replicas; that needs
    further rights. Raises LoadFailed where the server does not allow *way*.
    """
    found = contextlib.ExitStack()
    with found:
        server, chosen = _connected(found, login, way)
        _prepare(server, log_bin=log_bin)
        yield LoadingSession(server, database, way=chosen)


class LoadingSession:
    """A session that loads rows; ``server`` may be used between loads."""

    def __init__(self, server: Server, database: str, *, way: Way) -> None:
        self.way = way
        self.server = server
        self._database = database
        self._loads: Loads | None = None
        self._largest = int(server.value("SELECT @@max_allowed_packet")) - ROOM

    def loader(self, source: RowSource) -> Loader:
        """Return what loads rows read as *source* says into the table of the same name.

        It takes the place of the loader before it, which is of no more use.
        """
        if self._loads:
            self._loads.close()
        self._loads = self._new_loads(source)
        shown = f"table {self._database}.{source.table}"
        return _TableLoader(self.server, shown, self._loads, largest=self._largest)

    def break_off(self) -> None:
        """End the session, also while another thread waits in it."""
        commands.break_off(self.server)

    def _new_loads(self, source: RowSource) -> Loads:
        largest = self._largest
        if self.way is Way.INSERT:
            return InsertLoads(self.server, self._database, source, largest=largest)
        # numpy takes time to import, and not everybody needs it.
        if self.way is Way.BULK:
            from ulasis_backup.mysql.bulk import BulkLoads  # noqa: PLC0415 (see above)

            return BulkLoads(self.server, self._database, source, largest=largest)
        from ulasis_backup.mysql.load_data import InfileLoads  # noqa: PLC0415 (see above)

        return InfileLoads(self.server, self._database, source)


class _TableLoader:
    """Loads ranges of one table, each in a transaction."""

    def __init__(self, server: Server, shown: str, loads: Loads, *, largest: int) -> None:
        self._server = server
        self._loads = loads
        self._shown = shown
        self._largest = largest

    def load(self, packets: bytes) -> int:
        """Load one range; see Loader."""
        try:
            self._server.run("START TRANSACTION")
            rows = self._run(self._loads.batches(packets))
            self._server.run("COMMIT")
        except QueryFailed as error:
            commands.break_off(self._server)
            message = f"{self._shown} could not be loaded: {error.message}"
            raise LoadFailed(message, hint=HINTS.get(error.number, HINT)) from None
        except BaseException:
            # What was under way is rolled back by the server when the session ends.
            commands.break_off(self._server)
            raise
        return rows

    def _run(self, batches: Iterator[Batch]) -> int:
        """Send all batches; while the server works on one, the next is made."""
        rows = 0
        batch = next(batches, None)
        while batch:
            if self._loads.at_once and len(batch.data) > self._largest:
                self._refuse(batch)
            self._loads.start(batch)
            following = next(batches, None)
            self._check(batch, self._loads.finish())
            rows += batch.rows
            batch = following
        return rows

    def _check(self, batch: Batch, done: Done) -> None:
        if done.warnings or batch.zeros:
            self._check_warnings(batch.zeros)
        if done.rows != batch.rows:
            self._fail(f"the server took {done.rows:,} of {batch.rows:,} rows")

    def _check_warnings(self, expected: int) -> None:
        """Fail unless the only warnings are *expected* ones of a zero in an ENUM column."""
        count = int(self._server.value("SELECT @@warning_count"))
        for _, number, message in self._server.query("SHOW WARNINGS"):
            if int(number) != TRUNCATED or not expected:
                self._fail(f"the server warns: {message} ({number})")
        if count != expected:
            self._fail(f"the server warns of {count:,} values, not of {expected:,}")

    def _refuse(self, batch: Batch) -> NoReturn:
        message = (
            f"{self._shown} could not be loaded: a row takes {len(batch.data):,} bytes at once, "
            f"the server allows {self._largest:,}"
        )
        raise LoadFailed(message, hint=HINTS[1153])

    def _fail(self, why: str) -> NoReturn:
        raise LoadFailed(f"{self._shown} could not be loaded exactly: {why}", hint=HINT)


def _connected(found: contextlib.ExitStack, login: Login, way: Way | None) -> tuple[Server, Way]:
    """Open a session for *way*, or for the best that there is."""
    if way in (None, Way.BULK):
        server = found.enter_context(connect(login, connector=BulkConnection))
        if commands.can_bulk(server):
            return server, Way.BULK
        if way is Way.BULK:
            message = f"the server at {login.endpoint} does not speak the bulk protocol"
            raise LoadFailed(message, hint="load in another way; only MariaDB has this one")
        found.close()
    if way in (None, Way.LOAD_DATA):
        server = found.enter_context(connect(login, connector=infile_connection))
        if server.value("SELECT @@GLOBAL.local_infile") == 1:
            return server, Way.LOAD_DATA
        if way is Way.LOAD_DATA:
            message = f"the server at {login.endpoint} does not allow LOAD DATA LOCAL"
            raise LoadFailed(message, hint="SET GLOBAL local_infile = 1; or load in another way")
        found.close()
    return found.enter_context(connect(login, connector=pymysql.connect)), Way.INSERT


def refuse_way(server: Server, way: Way | None) -> None:
    """Raise ServerUnsuitable where *server* does not allow *way*; before anything is touched."""
    if way is Way.BULK and not server.is_mariadb:
        message = f"the server at {server.login.endpoint} does not speak the bulk protocol"
        raise ServerUnsuitable(message, hint="load in another way; only MariaDB has this one")
    if way is Way.LOAD_DATA and server.value("SELECT @@GLOBAL.local_infile") != 1:
        message = f"the server at {server.login.endpoint} does not allow LOAD DATA LOCAL"
        raise ServerUnsuitable(message, hint="SET GLOBAL local_infile = 1; or load in another way")


def _prepare(server: Server, *, log_bin: bool) -> None:
    """Set what loading needs and read it back; raises LoadFailed."""
    names = [*SETTINGS, *WISHED]
    listed = ", ".join(f"'{name}'" for name in names)
    known = {
        str(name) for name, _ in server.query(
            f"SHOW SESSION VARIABLES WHERE Variable_name IN ({listed})"
        )
    }  # fmt: skip
    wanted = {name: value for name, value in SETTINGS.items() if name in known}
    try:
        for name, value in wanted.items():
            _set(server, name, value)
        if not log_bin:
            _set(server, "sql_log_bin", 0)
        for name, wish in WISHED.items():
            with contextlib.suppress(QueryFailed):
                _set(server, name, wish)
    except QueryFailed as error:
        message = f"the loading session could not be prepared: {error.message}"
        raise LoadFailed(message, hint="the restore login lacks a right; see the message") from None


def _set(server: Server, name: str, value: str | int) -> None:
    # Some take a right on MySQL, even to be set to what they are.
    if _words(server.value(f"SELECT @@SESSION.{name}")) == _words(value):
        return
    server.run(f"SET SESSION {name} = %s", (value,))
    found = server.value(f"SELECT @@SESSION.{name}")
    if _words(found) != _words(value):
        message = f"the server keeps {name} at {found!r} for our session; {value!r} is needed"
        raise LoadFailed(message, hint="check proxies and init_connect of the server")


def _words(value: object) -> list[str]:
    """Return a setting for comparison: modes come back in the server's order."""
    return sorted(str(value).split(","))
