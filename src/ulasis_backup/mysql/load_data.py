"""Loading by LOAD DATA LOCAL from memory: row packets become text between separators.

The separators are bytes that occur in no value, so that no value has to be escaped. They are below
0x80: MariaDB ignores an escape byte above, and loads NULLs as text with no more than a warning.
Where too few bytes are absent, 1, 2 and 3 are the separators, and 3 escapes them in values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ulasis_backup.mysql import commands
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.commands import Done
from ulasis_backup.mysql.layout import Bytes, Layout, Piece, Places, layout, pieces, spread
from ulasis_backup.mysql.loads import PIECE, Batch, counted, table_name, zero_columns
from ulasis_backup.mysql.rows import Values, fields
from ulasis_backup.mysql.server import Server, quote

MEANT = b"N0bnrtZ\\'\""
"""Bytes that mean something behind an escape byte, or by themselves."""

CANDIDATES = tuple(byte for byte in range(1, 0x80) if byte not in MEANT)
HELD = ord("N")
"""Stands where separators will: it is none of the candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The separators of a block. With ``escapes`` they occur in values, with ``escape`` before."""

    field: int
    line: int
    escape: int
    escapes: bool = False


ESCAPING = Marks(field=1, line=2, escape=3, escapes=True)


def choose(data: bytes) -> Marks:
    """Return marks that *data*, values one behind the other, does not hold; or escaping ones."""
    absent: list[int] = []
    for byte in CANDIDATES:
        if data.find(byte) < 0:
            absent.append(byte)
            if len(absent) == 3:  # noqa: PLR2004 (as many as there are marks)
                return Marks(field=absent[0], line=absent[1], escape=absent[2])
    return ESCAPING


def to_text(piece: Piece, columns: int, found: Layout | None) -> tuple[bytes, Marks]:
    """Return *piece*, whose values stand as *found* says, as text for LOAD DATA."""
    if found is None:
        rows = list(fields(piece.packets, columns))
        return b"".join(_one_by_one(rows)), ESCAPING
    body, places = _packed(found)
    marks = choose(body.tobytes())
    if marks.escapes:
        # Not before what is no value: the places of marks hold no mark yet.
        special = np.flatnonzero((body >= ESCAPING.field) & (body <= ESCAPING.escape))
        places = places + np.searchsorted(special, places).astype(np.int32)
        body = spread(body, special.astype(np.int32), np.full(1, marks.escape, np.uint8))
    body[places] = marks.field
    body[places[:, 0]] = marks.line
    if found.nulls is not None and found.nulls.any():
        behind = np.repeat(places[found.nulls] + 1, 2)
        null = np.array([marks.escape, ord("N")], np.uint8)
        body = spread(body, behind, np.tile(null, len(behind) // 2))
    # A mark stands before each value; behind the last row there has to be one.
    return body[1:].tobytes() + bytes((marks.line,)), marks


def _packed(found: Layout) -> tuple[Bytes, Places]:
    """Return the values, each with one byte before it, and the places of those bytes."""
    keep = np.ones(len(found.data), np.bool_)
    for byte in range(4):
        keep[found.starts + byte] = False
    source = found.data.copy()
    source[found.places] = HELD
    more = (found.heads - 1).ravel()
    for byte in range(1, 4):
        keep[found.places[found.heads > byte] + byte] = False
    gone = np.cumsum(more, dtype=np.int32) - more
    headers = 4 * np.arange(1, len(found.starts) + 1, dtype=np.int32)
    places = found.places - headers[:, None] - gone.reshape(found.places.shape)
    return source[keep], places.astype(np.int32)


def _one_by_one(rows: list[Values]) -> Iterator[bytes]:
    mark, line, escape = (
        bytes((byte,)) for byte in (ESCAPING.field, ESCAPING.line, ESCAPING.escape)
    )
    for row in rows:
        written = []
        for value in row:
            if value is None:
                written.append(escape + b"N")
                continue
            text = value.replace(escape, escape + escape)
            written.append(text.replace(mark, escape + mark).replace(line, escape + line))
        yield mark.join(written) + line


class InfileLoads:
    """Sends the rows of one table as LOAD DATA LOCAL statements."""

    at_once = False

    def __init__(self, server: Server, database: str, source: RowSource) -> None:
        self._server = server
        self._columns = len(source.columns)
        self._zeros = zero_columns(source)
        self._table = table_name(database, source)
        self._targets = _targets(source)

    def batches(self, packets: bytes) -> Iterator[Batch]:
        """Yield the rows as text, each batch with its statement."""
        for piece in pieces(packets, PIECE):
            found = layout(piece, self._columns)
            data, marks = to_text(piece, self._columns, found)
            rows, zeros = counted(piece, self._columns, found, self._zeros)
            yield Batch(data=data, rows=rows, zeros=zeros, sql=self._statement(marks))

    def start(self, batch: Batch) -> None:
        """Send a batch; the server works on it until ``finish``."""
        commands.start_infile(self._server, batch.sql, batch.data)

    def finish(self) -> Done:
        """Wait for what the server says of the batch."""
        return commands.finish(self._server)

    def close(self) -> None:
        """Nothing is held."""

    def _statement(self, marks: Marks) -> bytes:
        sql = (
            f"LOAD DATA LOCAL INFILE '{commands.NAME}' INTO TABLE {self._table} "
            f"CHARACTER SET binary FIELDS TERMINATED BY 0x{marks.field:02x} "
            f"ESCAPED BY 0x{marks.escape:02x} LINES TERMINATED BY 0x{marks.line:02x} "
            f"{self._targets}"
        )
        return sql.encode("utf-8", "surrogateescape")


def _targets(source: RowSource) -> str:
    """Return where the fields go: into columns, or through variables into expressions."""
    listed, assigned = [], []
    for place, column in enumerate(source.columns):
        name, variable = quote(column.name), f"@ulasis_{place}"
        direct = column.bind == "{}"
        listed.append(name if direct else variable)
        if not direct:
            assigned.append(f"{name} = {column.bind.replace('{}', variable)}")
    behind = f" SET {', '.join(assigned)}" if assigned else ""
    return f"({', '.join(listed)}){behind}"
