"""Reading all tables of one moment through several sessions, range by range."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Protocol

from ulasis_backup.methods.crew import shared
from ulasis_backup.methods.index import Index, Range, TableHead, TableRows
from ulasis_backup.methods.look import RowsOptions, SeenTable
from ulasis_backup.methods.ranges import Span, spans
from ulasis_backup.model import Flavour, ServerVersion
from ulasis_backup.mysql.columns import rows_select
from ulasis_backup.mysql.keys import TEXTS, Boundary, bounds, condition
from ulasis_backup.mysql.rows import fields
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.mysql.wire import Packets, read_rows


class Keep(Protocol):
    """Stores a range's packets and says how: what the object store is used for."""

    def __call__(self, packets: Packets, base: Range | None) -> Range:
        """Return the range, with its fingerprint and the chain it was stored with."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A span of a table, for whichever session is free."""

    table: SeenTable
    span: Span
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """What was found in the span of a task."""

    task: _Task
    ranges: list[Range]


class Stopped(Exception):
    """The run has failed or was given up; what still runs stops."""


class RowsReader:
    """Reads all tables of one moment through several sessions, once."""

    def __init__(
        self,
        sessions: Sequence[Server],
        keep: Keep,
        *,
        before: Index | None,
        options: RowsOptions,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._sessions = tuple(sessions)
        self._keep = keep
        self._before = _by_name(before, sessions[0].version)
        self._options = options
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._done = 0
        self._on_bytes = on_bytes
        self._todo: Iterator[SeenTable] = iter(())
        self._planned: Iterator[_Task] = iter(())

    def read(self, tables: Iterable[SeenTable]) -> Generator[TableRows, None, None]:
        """Yield each of *tables* with its ranges, in order.

        Raises QueryFailed, ServerUnreachable, StorageError: the first error of any session. Then
        all sessions have stopped, and are ended, as when the reading is given up.
        """
        self._todo = iter(tables)
        pieces = shared(self._sessions, self._take, self._work, stop=self._stop)
        with contextlib.closing(pieces):
            ranges: list[Range] = []
            for piece in pieces:
                ranges += piece.ranges
                if piece.task.last:
                    yield _assembled(piece.task.table.head, ranges)
                    # With it go the rows of small tables.
                    ranges = []

    def _take(self, server: Server) -> _Task | None:
        """Return the next span; a table is looked at when its first one is asked for."""
        while (task := next(self._planned, None)) is None:
            table = next(self._todo, None)
            if table is None:
                return None
            self._planned = self._plan(server, table)
        return task

    def _plan(self, server: Server, table: SeenTable) -> Iterator[_Task]:
        head = table.head
        found = spans(
            head.key,
            self._before.get(head.where),
            bounds=self._bounds(server, table),
            size=table.size,
            target=self._options.target,
        )
        with_next = pairwise(chain(found, [None]))
        return (_Task(table=table, span=a, last=b is None) for a, b in with_next if a)

    def _bounds(self, server: Server, table: SeenTable) -> tuple[int, int] | None:
        """Return the smallest and the largest value of a large table's integer key."""
        key = table.head.key
        unknown = table.head.where not in self._before
        if not (key and key.by_integer and unknown and table.size > self._options.target):
            return None
        return bounds(server, *table.head.where, key)

    def _work(self, server: Server, task: _Task) -> _Piece:
        return _Piece(task=task, ranges=list(self._ranges(server, task)))

    def _ranges(self, server: Server, task: _Task) -> Iterator[Range]:
        head, span = task.table.head, task.span
        begin = span.begin
        for number, packets in enumerate(
            read_rows(server, select(head, span), target=self._options.target, limit=span.limit)
        ):
            if self._stop.is_set():
                raise Stopped
            if number:
                begin = boundary_of(head, packets.data)
            yield replace(self._keep(packets, span.base), begin=begin)
            self._count(len(packets.data))

    def _count(self, size: int) -> None:
        with self._counting:
            self._done += size
            if self._on_bytes:
                self._on_bytes(self._done)


def select(head: TableHead, span: Span) -> str:
    """Return the query for the rows of *span*, in an order that is the same every time."""
    where = condition(head.key, span.begin, span.end) if head.key else ""
    return rows_select(head.source, where=where, order_by=order(head))


def order(head: TableHead) -> str:
    """Return what the rows are ordered by; empty where there is nothing to order them by."""
    own = head.key.order if head.key else ""
    if not head.source.versioned:
        return own
    history = ", ".join(quote(column.name) for column in head.source.columns[-2:])
    return f"{own}, {history}" if own else history


def boundary_of(head: TableHead, data: bytes) -> Boundary | None:
    """Return the key of the first row in *data*; None where ranges cannot be asked for by key."""
    if head.key is None or not head.key.cuttable:
        return None
    first = next(fields(data, len(head.source.columns), most=1))
    places = {column.name: number for number, column in enumerate(head.source.columns)}
    values = [first[places[column.name]] for column in head.key.columns]
    return tuple(value for value in values if value is not None)


def _assembled(head: TableHead, ranges: list[Range]) -> TableRows:
    """Return the table; its first range begins wherever its first row may come to lie."""
    if ranges:
        ranges[0] = replace(ranges[0], begin=None)
    return TableRows(head=head, ranges=tuple(ranges))


def _by_name(before: Index | None, version: ServerVersion) -> Mapping[tuple[str, str], TableRows]:
    """Return the tables of the last backup whose boundaries mean the same on a server of *version*.

    A collation may order texts otherwise in another version, and boundaries would overlap.
    """
    if before is None:
        return {}
    then = ServerVersion(flavour=Flavour(before.begin.flavour), version=before.begin.version)
    return {
        table.head.where: table
        for table in before.tables
        if then.series == version.series or not _ordered_by_text(table.head)
    }


def _ordered_by_text(head: TableHead) -> bool:
    return head.key is not None and any(column.kind in TEXTS for column in head.key.columns)
