"""The ``rows`` method: row packets as they come off the wire, cut by key, each range stored once.

Several sessions see one moment. Each reads spans of tables, whose packets go to the object store
as they are: no value is parsed. What the store has already is not stored again; what changed a
little is stored as a delta. The backup's payload is the index of it all.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Protocol

from ulasis_backup.methods import index
from ulasis_backup.methods.index import Begin, Index, Range, TableHead, TableRows
from ulasis_backup.methods.ranges import TARGET, Span, spans
from ulasis_backup.model import DatabaseOptions, LeftOut
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.columns import row_source, rows_select
from ulasis_backup.mysql.definitions import Definition, read_definitions
from ulasis_backup.mysql.keys import Boundary, bounds, condition, table_key
from ulasis_backup.mysql.rows import fields
from ulasis_backup.mysql.schema import ELSEWHERE, Catalogue, Table
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.mysql.wire import Packets, read_rows

INLINE = 16 << 10
"""Ranges of at most so many bytes travel inside the index."""


class Keep(Protocol):
    """Stores a range's packets and says how: what ``repository.objects`` is used for."""

    def __call__(self, packets: Packets, base: Range | None) -> Range:
        """Return the range, with its fingerprint and the chain it was stored with."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsOptions:
    """What a user may choose: patterns are names of tables with ``*`` and ``?``."""

    exclude: tuple[str, ...] = ()
    schema_only: tuple[str, ...] = ()
    target: int = TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTable:
    """A table at the moment: how it is read, and roughly how many bytes it has."""

    head: TableHead
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDatabase:
    """A database at the moment: everything but its rows."""

    name: str
    options: DatabaseOptions
    catalogue: Catalogue
    definitions: tuple[Definition, ...]
    left_out: tuple[LeftOut, ...]
    tables: tuple[SeenTable, ...]


def look(
    server: Server, databases: Sequence[str], options: RowsOptions
) -> tuple[SeenDatabase, ...]:
    """Return what *databases* consist of; to be called while no DDL can run."""
    return tuple(_look(server, database, options) for database in databases)


def _look(server: Server, database: str, options: RowsOptions) -> SeenDatabase:
    chosen = schema.need_database(server, database)
    found = _without(schema.catalogue(server, database), options.exclude)
    broken = schema.broken_views(server, database, found)
    sizes = _sizes(server, database)
    tables = [table for table in found.tables if _has_rows(table, options.schema_only)]
    return SeenDatabase(
        name=database,
        options=chosen,
        catalogue=found,
        definitions=read_definitions(server, database, found, left_out=broken),
        left_out=broken,
        tables=tuple(
            SeenTable(head=_head(server, database, table.name), size=sizes.get(table.name, 0))
            for table in tables
        ),
    )


def _without(found: Catalogue, patterns: tuple[str, ...]) -> Catalogue:
    tables = tuple(table for table in found.tables if not _matches(table.name, patterns))
    return replace(found, tables=tables)


def _has_rows(table: Table, schema_only: tuple[str, ...]) -> bool:
    """Tell whether rows are read: those of other tables lie elsewhere, or are not wanted."""
    elsewhere = (table.engine or "").lower() in ELSEWHERE
    return not (table.is_sequence or elsewhere or _matches(table.name, schema_only))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _head(server: Server, database: str, table: str) -> TableHead:
    source = row_source(server, database, table)
    key = table_key(server, database, table)
    # Several rows of a table's history share a key; only its order is of use then.
    return TableHead(
        source=source, key=replace(key, cuttable=False) if key and source.versioned else key
    )


def _sizes(server: Server, database: str) -> dict[str, int]:
    rows = server.query(
        "SELECT TABLE_NAME, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (database,),
    )
    return {str(name): int(size or 0) for name, size in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A span of a table, for whichever session is free."""

    table: SeenTable
    span: Span


class Stopped(Exception):
    """The run has failed or was given up; what still runs stops."""


class RowsReader:
    """Reads all tables of one moment through several sessions."""

    def __init__(
        self,
        sessions: Sequence[Server],
        keep: Keep,
        *,
        before: Index | None,
        options: RowsOptions,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self._free: queue.SimpleQueue[Server] = queue.SimpleQueue()
        for session in sessions:
            self._free.put(session)
        self._jobs = len(sessions)
        self._keep = keep
        self._before = _by_name(before)
        self._options = options
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._done = 0
        self._on_bytes = on_bytes

    def read(self, tables: Sequence[SeenTable]) -> Iterator[TableRows]:
        """Yield each of *tables* with its ranges, in order.

        Raises QueryFailed, ServerUnreachable, StorageError; then all sessions have stopped.
        """
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="rows") as pool:
            pending: list[tuple[SeenTable, list[Future[list[Range]]]]] = []
            try:
                for table in tables:
                    planned = self._plan(table)
                    pending.append((table, [pool.submit(self._work, task) for task in planned]))
                for table, parts in pending:
                    yield _assembled(table.head, [one for part in parts for one in part.result()])
            finally:
                self._stop.set()
                for _, parts in pending:
                    for part in parts:
                        part.cancel()

    def _plan(self, table: SeenTable) -> list[_Task]:
        head = table.head
        found = spans(
            head.key,
            self._before.get(head.where),
            bounds=self._bounds(table),
            size=table.size,
            target=self._options.target,
        )
        return [_Task(table=table, span=span) for span in found]

    def _bounds(self, table: SeenTable) -> tuple[int, int] | None:
        """Return the smallest and the largest value of a large table's integer key."""
        key = table.head.key
        unknown = table.head.where not in self._before
        if not (key and key.by_integer and unknown and table.size > self._options.target):
            return None
        with self._session() as server:
            return bounds(server, *table.head.where, key)

    @contextmanager
    def _session(self) -> Iterator[Server]:
        session = self._free.get()
        try:
            yield session
        finally:
            self._free.put(session)

    def _work(self, task: _Task) -> list[Range]:
        with self._session() as server:
            return list(self._ranges(server, task))

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


def _by_name(before: Index | None) -> Mapping[tuple[str, str], TableRows]:
    return {table.head.where: table for table in before.tables} if before else {}


def write_index(begin: Begin, seen: Sequence[SeenDatabase], reader: RowsReader) -> Iterator[bytes]:
    """Yield the index of a backup, reading all rows meanwhile."""
    yield index.begin_record(begin)
    for database in seen:
        yield index.database_record(database.name, database.options)
        for definition in database.definitions:
            yield index.definition_record(database.name, definition)
    tables = rows = 0
    for table in reader.read([table for database in seen for table in database.tables]):
        yield index.table_record(table.head)
        for part in table.ranges:
            yield index.range_record(part)
        yield index.table_end_record(table)
        tables, rows = tables + 1, rows + table.rows
    yield index.end_record(tables, rows)
