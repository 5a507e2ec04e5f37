"""Loading by MariaDB's bulk protocol: row packets, with an indicator byte before each value.

A row packet and a row of COM_STMT_BULK_EXECUTE hold a value in the same form, a length and bytes.
The one has a header before each row, the other a byte before each value that tells whether it is
NULL. Source: the client/server protocol documents of MariaDB, "COM_STMT_BULK_EXECUTE".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ulasis_backup.mysql import commands
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.commands import Done, Prepared
from ulasis_backup.mysql.layout import Layout, Piece, layout, pieces, spread
from ulasis_backup.mysql.loads import PIECE, Batch, counted, insert_head, zero_columns
from ulasis_backup.mysql.rows import fields
from ulasis_backup.mysql.server import Server

NOT_NULL, IS_NULL = b"\0", b"\1"


def to_bulk(piece: Piece, columns: int, found: Layout | None) -> bytes:
    """Return *piece*, whose values stand as *found* says, in the form of the bulk protocol."""
    if found is None:
        return b"".join(_one_by_one(piece, columns))
    # The header's last byte is zero, and stays: the indicator of the first value.
    keep = np.ones(len(found.data), np.bool_)
    for byte in range(3):
        keep[found.starts + byte] = False
    source = found.data
    gone = 3 * np.arange(1, len(found.starts) + 1, dtype=np.int32)
    indicated = found.places[:, 1:] - gone[:, None]
    if found.nulls is not None:
        source = source.copy()
        source[found.places[found.nulls]] = IS_NULL[0]
        first = found.nulls[:, 0]
        keep[found.starts[first] + 3] = False
        indicated = indicated - np.cumsum(first, dtype=np.int32)[:, None]
        indicated = indicated[~found.nulls[:, 1:]]
    return spread(source[keep], indicated.ravel(), np.zeros(1, np.uint8)).tobytes()


def _one_by_one(piece: Piece, columns: int) -> Iterator[bytes]:
    for row in fields(piece.packets, columns):
        for value in row:
            if value is None:
                yield IS_NULL
            else:
                yield NOT_NULL + _length(len(value))
                yield value


def _length(size: int) -> bytes:
    """Return *size* as the protocol writes lengths."""
    if size <= 250:  # noqa: PLR2004 (the largest length of one byte)
        return bytes((size,))
    for mark, count in ((0xFC, 2), (0xFD, 3)):
        if size < 1 << (8 * count):
            return bytes((mark,)) + size.to_bytes(count, "little")
    return b"\xfe" + size.to_bytes(8, "little")


class BulkLoads:
    """Sends the rows of one table by the bulk protocol."""

    at_once = True

    def __init__(self, server: Server, database: str, source: RowSource, *, largest: int) -> None:
        self._server = server
        self._columns = len(source.columns)
        self._zeros = zero_columns(source)
        binds = ", ".join(column.bind.replace("{}", "?") for column in source.columns)
        self._sql = insert_head(database, source) + b"(" + binds.encode() + b")"
        self._prepared: Prepared | None = None
        self._room = largest - commands.bulk_overhead(self._columns)

    def batches(self, packets: bytes) -> Iterator[Batch]:
        """Yield the rows in the form of the protocol, in moderate statements."""
        # An indicator a value is added, three bytes a row are taken away.
        for piece in pieces(packets, min(PIECE, max(1, self._room // 2))):
            found = layout(piece, self._columns)
            rows, zeros = counted(piece, self._columns, found, self._zeros)
            yield Batch(data=to_bulk(piece, self._columns, found), rows=rows, zeros=zeros)

    def start(self, batch: Batch) -> None:
        """Send a batch; the server works on it until ``finish``."""
        if self._prepared is None:
            self._prepared = commands.prepare(self._server, self._sql)
        commands.start_bulk(self._server, self._prepared, batch.data)

    def finish(self) -> Done:
        """Wait for what the server says of the batch."""
        return commands.finish(self._server)

    def close(self) -> None:
        """Give the prepared statement up."""
        if self._prepared is not None:
            commands.close(self._server, self._prepared)
            self._prepared = None
