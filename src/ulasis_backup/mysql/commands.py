"""Commands that PyMySQL has no methods for: the bulk protocol, and LOAD DATA from memory.

Beside wire.py the only user of PyMySQL's private parts. Sources: the client/server protocol
documents of MariaDB, "COM_STMT_BULK_EXECUTE", "COM_STMT_PREPARE" and "Connecting", and of MySQL,
"LOCAL INFILE Request".
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT, COMMAND
from pymysql.protocol import MysqlPacket, OKPacketWrapper

from ulasis_backup.errors import ServerError, ServerUnsuitable
from ulasis_backup.mysql.server import QueryFailed, Server, connect, translated

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

FULL = 0xFFFFFF
BULK_EXECUTE = 0xFA
SEND_TYPES = 128
BLOB = 0xFC
"""The type of every parameter: bytes, which the server takes for text of no character set."""

MARIADB_BULK = 1 << 2
"""Among MariaDB's extended capabilities: the server knows COM_STMT_BULK_EXECUTE."""

MYSQL_BIT = CLIENT.LONG_PASSWORD
"""Unset in a MariaDB's greeting and answer, where extended capabilities are spoken of."""

CHUNK = 256 << 10
"""Bytes in a packet of LOAD DATA: a server may allow no more than 1 MiB, or less."""

NAME = "ulasis-backup"
"""What our LOAD DATA statements call their file: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What the server says of a statement: rows written, and warnings (at most 65,535)."""

    rows: int
    warnings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A prepared statement of a session."""

    number: int
    parameters: int


class BulkConnection(Connection):
    """A connection that asks a MariaDB for the bulk protocol; ``bulk`` tells if it is to be had."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 (PyMySQL's own)
        self.bulk = False
        self._greeted = self._answering = False
        super().__init__(**arguments)

    def _read_packet(self, packet_type: Any = MysqlPacket) -> Any:  # noqa: ANN401
        packet: Any = super()._read_packet(packet_type)  # type: ignore[no-untyped-call]
        if not self._greeted:
            self._greeted = True
            self.bulk = _offers_bulk(packet.get_all_data())
        return packet

    def _request_authentication(self) -> None:
        self._answering = self.bulk
        try:
            super()._request_authentication()  # type: ignore[misc]  # not in the stubs
        finally:
            self._answering = False

    def write_packet(self, payload: bytes) -> None:
        """Write a packet; in the first ones of a session we say what we can do."""
        if self._answering and payload[9:32] == bytes(23):
            flags = int.from_bytes(payload[:4], "little") & ~MYSQL_BIT
            payload = pack("<I", flags) + payload[4:28] + pack("<I", MARIADB_BULK) + payload[32:]
        super().write_packet(payload)


def infile_connection(**arguments: Any) -> Connection[Cursor]:  # noqa: ANN401 (PyMySQL's own)
    """Return a connection for ``start_infile``.

    The server believes that it may ask for files. The driver, who would send whatever file a
    server asks for, answers no such request: only ours are answered, from memory.
    """
    connection: Any = pymysql.connect(**arguments | {"local_infile": True})
    connection._local_infile = False  # noqa: SLF001
    return connection  # type: ignore[no-any-return]


def can_bulk(server: Server) -> bool:
    """Tell whether *server* speaks the bulk protocol with us."""
    return isinstance(server.connection, BulkConnection) and server.connection.bulk


def prepare(server: Server, sql: bytes) -> Prepared:
    """Prepare *sql*, a statement without results; raises QueryFailed."""
    connection: Any = server.connection
    with translated(server.login):
        connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)  # noqa: SLF001
        number, _, parameters = unpack_from("<IHH", _read(connection).get_all_data(), 1)
        # Their descriptions, and an end mark.
        for _ in range(parameters + 1 if parameters else 0):
            _read(connection)
    return Prepared(number=number, parameters=parameters)


def close(server: Server, prepared: Prepared) -> None:
    """Give *prepared* up; the server does not answer."""
    with translated(server.login):
        _send(server.connection, pack("<BI", COMMAND.COM_STMT_CLOSE, prepared.number), b"")


def bulk_overhead(parameters: int) -> int:
    """Return the bytes of a bulk command beside its rows."""
    return 7 + 2 * parameters


def start_bulk(server: Server, prepared: Prepared, rows: bytes) -> None:
    """Send *rows*: for each value an indicator byte (0, or 1 for NULL), then the value if any.

    ``finish`` tells what became of it; the server works meanwhile.
    """
    head = pack("<BIH", BULK_EXECUTE, prepared.number, SEND_TYPES)
    with translated(server.login):
        _send(server.connection, head + bytes((BLOB, 0)) * prepared.parameters, rows)


def start_infile(server: Server, sql: bytes, data: bytes) -> None:
    """Run a LOAD DATA LOCAL INFILE of ``NAME`` that reads *data*; ``finish`` tells the end of it.

    Raises QueryFailed where the server refuses it, ServerUnsuitable if it asks for another file.
    """
    connection: Any = server.connection
    with translated(server.login):
        connection._execute_command(COMMAND.COM_QUERY, sql)  # noqa: SLF001
        asked = _read(connection).get_all_data()
        if asked != b"\xfb" + NAME.encode():
            connection._force_close()  # noqa: SLF001
            message = f"the server at {server.login.endpoint} asked for a file of ours"
            raise ServerUnsuitable(message, hint="do not trust that server or what lies between")
        for at in range(0, len(data), CHUNK):
            connection.write_packet(data[at : at + CHUNK])
        connection.write_packet(b"")


def start_query(server: Server, sql: bytes) -> None:
    """Send a statement without results; ``finish`` tells what became of it."""
    with translated(server.login):
        _send(server.connection, bytes((COMMAND.COM_QUERY,)), sql)


def finish(server: Server) -> Done:
    """Wait for the end of what was started; raises QueryFailed."""
    with translated(server.login):
        answer = OKPacketWrapper(_read(server.connection))
    return Done(rows=int(answer.affected_rows), warnings=int(answer.warning_count))


def break_off(server: Server) -> None:
    """End the connection, also while another thread waits for an answer on it."""
    connection: Any = server.connection
    with contextlib.suppress(OSError, AttributeError):
        connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001


def end_sessions(sessions: Sequence[Server]) -> None:
    """Break *sessions* off, on the server too: it may sort for an hour before it notices."""
    connections: list[Any] = [session.connection for session in sessions]
    numbers = [int(connection.thread_id()) for connection in connections]
    for session in sessions:
        break_off(session)
    with contextlib.suppress(ServerError), connect(sessions[0].login) as server:
        for number in numbers:
            with contextlib.suppress(QueryFailed):  # it is gone already
                server.run(f"KILL CONNECTION {number}")


def _offers_bulk(greeting: bytes) -> bool:
    """Read the capabilities in a server's greeting; MariaDB's extended ones follow six zeros."""
    at = greeting.find(b"\0", 1) + 1 + 4 + 8 + 1
    if not at or len(greeting) < at + 18:
        return False
    low, _, _, high = unpack_from("<HBHH", greeting, at)
    flags = low | high << 16
    extended = unpack_from("<I", greeting, at + 14)[0]
    return not flags & MYSQL_BIT and bool(extended & MARIADB_BULK)


def _read(connection: Any) -> Any:  # noqa: ANN401 (PyMySQL's own)
    return connection._read_packet()  # noqa: SLF001


def _send(connection: Any, head: bytes, body: bytes) -> None:  # noqa: ANN401 (PyMySQL's own)
    """Send a command, in several packets where it is too long for one."""
    if connection._sock is None:  # noqa: SLF001
        raise pymysql.err.InterfaceError(0, "the connection is closed")
    total, at, number = len(head) + len(body), 0, 0
    parts: Sequence[memoryview] = (memoryview(head), memoryview(body))
    while True:
        size = min(FULL, total - at)
        connection._write_bytes(size.to_bytes(3, "little") + bytes((number % 256,)))  # noqa: SLF001
        for part in _window(parts, at, size):
            connection._write_bytes(part)  # noqa: SLF001
        at, number = at + size, number + 1
        if size < FULL:
            break
    connection._next_seq_id = number % 256  # noqa: SLF001


def _window(parts: Sequence[memoryview], begin: int, size: int) -> list[memoryview]:
    """Return the bytes from *begin* on, *size* of them, of *parts* one behind the other."""
    found = []
    for part in parts:
        found.append(part[max(0, begin) : max(0, begin + size)])
        begin -= len(part)
    return [part for part in found if part]
