"""Row packets as the server sends them: the text protocol, read without parsing a value.

With commands.py the only module that uses PyMySQL's private parts. A packet is a 3-byte length
(little endian), a sequence byte, and the payload: for each column a length-encoded string, 0xFB
for NULL. In the canonical form the sequence byte is zero, for it depends on where in a result a
row stands. A row of 0xFFFFFF bytes or more spans several packets. Source: the client/server
protocol documents of MySQL and MariaDB, "text resultset row"; PyMySQL does not ask for
CLIENT_DEPRECATE_EOF, so that a result ends with an EOF packet (0xFE, shorter than 9 bytes).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from ulasis_backup.errors import ServerUnreachable
from ulasis_backup.mysql.server import Server, translated

HEADER = 4
FULL = 0xFFFFFF
EOF_MARK, ERROR_MARK = 0xFE, 0xFF
EOF_MOST = 9
READ = 1 << 20
LOST_HINT = "is the server still running? see its error log, then run again"


@dataclass(frozen=True, slots=True)
class Packets:
    """Canonical row packets, one behind the other."""

    data: bytes = field(repr=False)
    rows: int


def read_rows(
    server: Server, sql: str, *, target: int, limit: int
) -> Generator[Packets, None, None]:
    """Run one SELECT and yield its rows, cut between rows.

    A result of at most *limit* bytes is one piece; of a larger one each piece but the last has at
    least *target* bytes (``target <= limit``), and no more than one row beyond that. No more than
    *limit* bytes and one row are held. A result without rows yields nothing. Raises QueryFailed
    and ServerUnreachable, also in the middle. When the generator is closed early the connection
    is closed with it: what is still on its way belongs to nobody.
    """
    rows = _Rows(server, target, limit)
    try:
        with translated(server.login):
            rows.begin(sql)
        while True:
            with translated(server.login):
                piece = rows.next_piece()
            if piece is None:
                return
            yield piece
    finally:
        if not rows.in_step:
            with contextlib.suppress(pymysql.Error, OSError):
                rows.connection._force_close()  # noqa: SLF001


class _Rows:
    """A result on its way, and the part of it that is here."""

    def __init__(self, server: Server, target: int, limit: int) -> None:
        self.connection: Any = server.connection
        self.in_step = True
        self._endpoint = server.login.endpoint
        self._target, self._limit = target, limit
        self._buffer = bytearray(2 * READ)
        self._have = 0
        self._at = self._rows = 0
        self._cut = self._cut_rows = 0
        self._ended = self._drained = False

    def begin(self, sql: str) -> None:
        """Send the query and read up to the first row."""
        self.in_step = False
        try:
            self.connection._execute_command(COMMAND.COM_QUERY, sql)  # noqa: SLF001
            columns = self._packet().read_length_encoded_integer()
            for _ in range(columns):
                self._packet()
            self._packet()
        except pymysql.err.OperationalError:
            raise
        except pymysql.err.MySQLError:
            # An error packet ends the conversation in good order.
            self.in_step = True
            raise

    def next_piece(self) -> Packets | None:
        """Return the next piece, or None behind the last."""
        while not self._ended:
            self._walk()
            if self._at > self._limit:
                return self._take(self._cut, self._cut_rows)
            if not self._ended:
                self._fill()
        return self._take(self._at, self._rows) if self._rows else None

    def _packet(self) -> Any:  # noqa: ANN401 (PyMySQL's own)
        return self.connection._read_packet()  # noqa: SLF001

    def _fill(self) -> None:
        """Read what the server has sent, at least one byte."""
        if len(self._buffer) - self._have < READ // 2:
            self._buffer.extend(bytes(max(READ, len(self._buffer) // 2)))
        got = self._read()
        if not got:
            message = f"the connection to the server at {self._endpoint} broke within a result"
            raise ServerUnreachable(message, hint=LOST_HINT)
        self._have += got

    def _read(self) -> int:
        """Read once into the buffer and return how many bytes there were, 0 at the end.

        Not by ``readinto1`` of the driver's buffered reader: asked for more than it has it waits
        for the server, which may have nothing more to say. What it has comes first, then the
        socket is read past it.
        """
        reader = self.connection._rfile  # noqa: SLF001
        if not self._drained:
            self._drained = True
            first: bytes = reader.read1(READ)
            self._buffer[self._have : self._have + len(first)] = first
            return len(first)
        with memoryview(self._buffer)[self._have :] as room:
            return int(reader.raw.readinto(room))

    def _walk(self) -> None:
        """Step over the whole rows that are here, up to just beyond the limit."""
        buffer, have, at, rows = self._buffer, self._have, self._at, self._rows
        target, limit = self._target, self._limit
        # One byte of payload is needed to tell a row from the end.
        while at <= limit and at + HEADER < have:
            length = unpack_from("<I", buffer, at)[0] & FULL
            following = at + HEADER + length
            if length == FULL:
                following = self._behind_large(at)
                if not following:
                    break
            elif following > have or (buffer[at + HEADER] >= EOF_MARK and self._is_end(at, length)):
                break
            else:
                buffer[at + 3] = 0
            rows += 1
            if at < target <= following:
                self._cut, self._cut_rows = following, rows
            at = following
        self._at, self._rows = at, rows

    def _behind_large(self, at: int) -> int:
        """Return the end of the row at *at* that spans packets, 0 while it is not all here."""
        buffer, have = self._buffer, self._have
        starts = []
        while True:
            if at + HEADER > have:
                return 0
            length = unpack_from("<I", buffer, at)[0] & FULL
            starts.append(at)
            at += HEADER + length
            if at > have:
                return 0
            if length < FULL:
                break
        for start in starts:
            buffer[start + 3] = 0
        return at

    def _is_end(self, at: int, length: int) -> bool:
        """Tell whether the packet at *at* ends the result; raises what an error packet says."""
        payload = bytes(self._buffer[at + HEADER : at + HEADER + length])
        if payload[0] == ERROR_MARK:
            self._close()
            pymysql.err.raise_mysql_exception(payload)
        if length >= EOF_MOST:
            return False
        self._close()
        return True

    def _close(self) -> None:
        self._ended = self.in_step = True
        self.connection._next_seq_id = 0  # noqa: SLF001

    def _take(self, size: int, rows: int) -> Packets:
        """Return the first *size* bytes; what is behind them moves into a new buffer.

        The large one goes: nobody needs it while what was read is compressed and stored.
        """
        with memoryview(self._buffer) as view:
            data, rest = bytes(view[:size]), bytes(view[size : self._have])
        self._buffer = bytearray(2 * READ + len(rest))
        self._buffer[: len(rest)] = rest
        self._have, self._at, self._rows = len(rest), 0, 0
        self._cut = self._cut_rows = 0
        return Packets(data=data, rows=rows)
