"""Loading by INSERT statements of many rows: works everywhere, and is the slowest way."""

from __future__ import annotations

from collections.abc import Iterator

from ulasis_backup.mysql import commands
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.commands import Done
from ulasis_backup.mysql.loads import Batch, insert_head, zero_columns
from ulasis_backup.mysql.rows import fields, to_values
from ulasis_backup.mysql.server import Server

STATEMENT = 1 << 20
"""Bytes of a statement, unless a single row has more."""


class InsertLoads:
    """Sends the rows of one table as INSERT statements."""

    at_once = True

    def __init__(self, server: Server, database: str, source: RowSource, *, largest: int) -> None:
        self._server = server
        self._source = source
        self._head = insert_head(database, source)
        self._zeros = zero_columns(source)
        self._most = min(STATEMENT, largest)

    def batches(self, packets: bytes) -> Iterator[Batch]:
        """Yield the rows as statements."""
        columns = self._source.columns
        held: list[bytes] = []
        size = zeros = 0
        for values, row in zip(
            to_values(packets, columns), fields(packets, len(columns)), strict=True
        ):
            if held and size + len(values) > self._most:
                yield self._batch(held, zeros)
                held, size, zeros = [], len(self._head), 0
            held.append(values)
            size += len(values) + 1
            zeros += sum(row[column] == b"0" for column in self._zeros)
        if held:
            yield self._batch(held, zeros)

    def start(self, batch: Batch) -> None:
        """Send a batch; the server works on it until ``finish``."""
        commands.start_query(self._server, batch.data)

    def finish(self) -> Done:
        """Wait for what the server says of the batch."""
        return commands.finish(self._server)

    def close(self) -> None:
        """Nothing is held."""

    def _batch(self, rows: list[bytes], zeros: int) -> Batch:
        return Batch(data=self._head + b",".join(rows), rows=len(rows), zeros=zeros)
