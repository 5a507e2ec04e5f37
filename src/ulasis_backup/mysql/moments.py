"""Proofs that several sessions see one moment of one server, and where in the binlog it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ulasis_backup.errors import ServerError, ServerUnsuitable
from ulasis_backup.model import Position
from ulasis_backup.mysql.schema import DENIED
from ulasis_backup.mysql.server import QueryFailed, Server, server_id
from ulasis_backup.mysql.still import BACKUP_LOCK, waiting

Identity = tuple[str, ...]
"""What tells servers apart: number, host, port, folder, and the server's own id."""

SAVEPOINT = "ulasis_moment"
NO_SAVEPOINTS = 1178
NO_MONITOR = "no position: the login lacks REPLICATION CLIENT"
NO_LOCK = "no position: without a lock it cannot be told"


class NoMoment(ServerError):
    """A try came to nothing; with ``denied`` another one of the same way would as well."""

    def __init__(self, message: str, *, denied: bool = False) -> None:
        super().__init__(message, hint="see SHOW PROCESSLIST for what is in the way")
        self.denied = denied


class Overtaken(NoMoment):
    """DDL was there first: it has to be let through before another try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the lock session saw of the binlog while commits were stopped.

    ``remark`` says why there is no position.
    """

    gtid: str = ""
    position: Position | None = None
    remark: str = ""


def identity(server: Server) -> Identity:
    """Return what tells the server of a session from others."""
    row = server.query("SELECT @@GLOBAL.server_id, @@hostname, @@port, @@datadir")[0]
    return (*(str(value) for value in row), server_id(server))


def need_same(known: Identity, sessions: Sequence[Server]) -> None:
    """Raise ServerUnsuitable unless all *sessions* are with the server *known*.

    The first of several has to see the others among its own, too.
    """
    numbers = {connection_id(server) for server in sessions}
    rows = sessions[0].query("SELECT ID FROM information_schema.PROCESSLIST")
    seen = {int(number) for (number,) in rows}
    different = any(identity(server) != known for server in sessions)
    if different or len(numbers) < len(sessions) or not numbers <= seen:
        message = f"sessions at {sessions[0].login.endpoint} reach different servers"
        raise ServerUnsuitable(message, hint="give a server's own address, not a proxy's")


def need_no_ddl(server: Server, databases: Sequence[str]) -> None:
    """Raise Overtaken if DDL on *databases* waits, of those statements that the login may see."""
    for one in waiting(server, also=BACKUP_LOCK):
        if one.is_ddl and one.may_concern(databases):
            raise Overtaken(f"DDL was waiting: {one.statement[:80]}")


def connection_id(server: Server) -> int:
    """Return the number of a session, as the server's process list has it."""
    return int(server.value("SELECT CONNECTION_ID()"))


def mark_transaction(server: Server) -> None:
    """Leave in a transaction what ends with it."""
    server.run(f"SAVEPOINT {SAVEPOINT}")


def need_transactions(sessions: Sequence[Server]) -> None:
    """Raise ServerError unless each of *sessions* is still in its marked transaction."""
    for server in sessions:
        try:
            server.run(f"RELEASE SAVEPOINT {SAVEPOINT}")
        except QueryFailed as error:
            message = f"a snapshot ended before everything was read ({error.message})"
            hint = "run the backup again; report it if it stays so"
            raise ServerError(message, hint=hint) from error
        try:
            mark_transaction(server)
        except QueryFailed as error:
            # Aria takes part in transactions and has no savepoints. Then this was the last look.
            if error.number != NO_SAVEPOINTS:
                raise


def mark(server: Server, *, is_global: bool, is_locked: bool) -> Mark:
    """Look at the binlog, quickly: commits are stopped, of all, or of the tables that are read."""
    if server.is_mariadb:
        # Each snapshot knows its own position; of GTIDs only the newest are at hand.
        return Mark(gtid=str(server.value("SELECT @@gtid_binlog_pos") or "") if is_global else "")
    if not is_locked:
        return Mark(remark=NO_LOCK if server.value("SELECT @@GLOBAL.log_bin") else "")
    status = "BINARY LOG" if server.version.numbers >= (8, 2, 0) else "MASTER"
    try:
        rows = server.query(f"SHOW {status} STATUS")
    except QueryFailed as error:
        if error.number not in DENIED:
            raise
        return Mark(remark=NO_MONITOR if server.value("SELECT @@GLOBAL.log_bin") else "")
    if not rows:
        return Mark()
    gtid = str(rows[0][4] or "").replace("\n", "")
    return Mark(position=Position(file=str(rows[0][0]), offset=int(rows[0][1]), gtid=gtid))


def place(sessions: Sequence[Server], found: Mark, *, is_global: bool) -> Position | None:
    """Return the position of the snapshots of *sessions*, None where there is no binlog.

    On MariaDB each snapshot says where it stands, without any right. They have to be equal
    where all commits were stopped; elsewhere commits to other databases may lie in between.
    Raises NoMoment when they are not.
    """
    if not sessions[0].is_mariadb:
        return found.position
    positions = [_own_position(server) for server in sessions]
    first = positions[0]
    if is_global and any(position != first for position in positions):
        message = f"the snapshots are not of one moment: {sorted(set(map(str, positions)))}"
        raise NoMoment(message)
    if first is None:
        return None
    gtid = found.gtid if is_global else _gtid_at(sessions[0], first)
    return Position(file=first[0], offset=first[1], gtid=gtid)


def _own_position(server: Server) -> tuple[str, int] | None:
    rows = server.query("SHOW STATUS LIKE 'binlog_snapshot_%'")
    values = {str(name).lower(): str(value) for name, value in rows}
    file = values.get("binlog_snapshot_file", "")
    return (file, int(values["binlog_snapshot_position"])) if file else None


def _gtid_at(server: Server, position: tuple[str, int]) -> str:
    return str(server.value("SELECT BINLOG_GTID_POS(%s, %s)", position) or "")
