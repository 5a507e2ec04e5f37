"""Reading all tables of one moment through several sessions, range by range."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ulasis_backup.methods.index import Index, Range, TableHead, TableRows
from ulasis_backup.methods.look import RowsOptions, SeenTable
from ulasis_backup.methods.ranges import Span, spans
from ulasis_backup.model import Flavour, ServerVersion
from ulasis_backup.mysql.columns import rows_select
from ulasis_backup.mysql.commands import end_sessions
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


_Pending = tuple[SeenTable, list[Future[list[Range]]]]
"""A table, and the pieces of it that are being read."""


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
        self._sessions = tuple(sessions)
        self._keep = keep
        self._before = _by_name(before, sessions[0].version)
        self._options = options
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._counting = threading.Lock()
        self._done = 0
        self._on_bytes = on_bytes

    def read(self, tables: Sequence[SeenTable]) -> Generator[TableRows, None, None]:
        """Yield each of *tables* with its ranges, in order.

        Raises QueryFailed, ServerUnreachable, StorageError: the first error of any session, as
        soon as its table's turn comes or another stops for it. Then all sessions have stopped, and
        are ended, as when the reading is given up.
        """
        with ThreadPoolExecutor(len(self._sessions), thread_name_prefix="rows") as pool:
            pending: deque[_Pending] = deque()
            try:
                for table in tables:
                    planned = self._plan(table)
                    pending.append((table, [pool.submit(self._work, task) for task in planned]))
                while pending:
                    table, parts = pending[0]
                    yield _assembled(table.head, [one for part in parts for one in part.result()])
                    # With it go the rows of small tables.
                    pending.popleft()
            except BaseException as error:
                self._give_up(pending)
                if isinstance(error, Stopped):
                    raise self._failure or error from None
                raise

    def _give_up(self, pending: Iterable[_Pending]) -> None:
        """Let all sessions stop, also one that waits for a server that sorts for an hour."""
        self._stop.set()
        for _, parts in pending:
            for part in parts:
                part.cancel()
        end_sessions(self._sessions)

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
        try:
            with self._session() as server:
                return list(self._ranges(server, task))
        except Stopped:
            raise
        except BaseException as error:
            with self._counting:
                self._failure = self._failure or error
            self._stop.set()
            raise

    def _ranges(self, server: Server, task: _Task) -> Iterator[Range]:
        if self._stop.is_set():
            raise Stopped
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
