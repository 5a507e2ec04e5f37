"""What the ways to load rows share: batches, each of which is one statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.commands import Done
from ulasis_backup.mysql.layout import Layout, Piece
from ulasis_backup.mysql.rows import fields
from ulasis_backup.mysql.server import quote

PIECE = 1 << 20
"""Bytes of row packets in a statement: more is not faster, and takes more memory here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one statement loads: ``rows`` rows, with ``zeros`` values that rightly warn.

    ``sql`` is empty where it is the same for all batches.
    """

    data: bytes = field(repr=False)
    rows: int
    zeros: int
    sql: bytes = field(default=b"", repr=False)


def counted(piece: Piece, columns: int, found: Layout | None, zeros: list[int]) -> tuple[int, int]:
    """Return the rows of *piece*, and how many of their values in *zeros* are ``0``."""
    if found is not None:
        return len(found.starts), found.zeros(zeros) if zeros else 0
    rows = count = 0
    for row in fields(piece.packets, columns):
        rows += 1
        count += sum(row[column] == b"0" for column in zeros)
    return rows, count


class Loads(Protocol):
    """One way to load the rows of one table.

    With ``at_once`` a batch has to fit into the server's max_allowed_packet.
    """

    @property
    def at_once(self) -> bool:
        """Tell whether the server takes a batch as one packet."""
        ...

    def batches(self, packets: bytes) -> Iterator[Batch]:
        """Yield *packets* as batches; raises IntegrityError where they are malformed."""
        ...

    def start(self, batch: Batch) -> None:
        """Send *batch*; the server may work on it until ``finish``."""
        ...

    def finish(self) -> Done:
        """Return what the server says of the batch; raises QueryFailed."""
        ...

    def close(self) -> None:
        """Give up what the session holds for this table."""
        ...


def zero_columns(source: RowSource) -> list[int]:
    """Return the places of the columns whose zeros warn when they are written."""
    return [place for place, column in enumerate(source.columns) if column.zero_warns]


def table_name(database: str, source: RowSource) -> str:
    """Return the table's name as SQL."""
    return f"{quote(database)}.{quote(source.table)}"


def insert_head(database: str, source: RowSource) -> bytes:
    """Return ``INSERT INTO t (…) VALUES``, with the columns that *source* has."""
    listed = ", ".join(quote(column.name) for column in source.columns)
    sql = f"INSERT INTO {table_name(database, source)} ({listed}) VALUES "
    return sql.encode("utf-8", "surrogateescape")
