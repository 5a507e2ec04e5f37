"""Comparing a database with a ``rows`` backup: read its rows again, range by range."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import zip_longest

from ulasis_backup.errors import CouldNotCheck, UlasisError
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.crew import shared
from ulasis_backup.methods.index import Index, Range, TableHead, TableRows
from ulasis_backup.methods.outside import at_home
from ulasis_backup.methods.ranges import Span
from ulasis_backup.methods.reading import select
from ulasis_backup.methods.summary import summary_of
from ulasis_backup.model import Login, ObjectKind, ServerVersion
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.definitions import TABLE, Definition, read_definitions
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.wire import read_rows
from ulasis_backup.operations.compare import COUNT, ROWS, Comparison, Place, compared
from ulasis_backup.operations.context import Context
from ulasis_backup.repository.objects import Epoch, fingerprint
from ulasis_backup.streams.keys import DataKey

PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a database should hold: *part*, the index of it alone, and with which keys.

    ``only`` are the tables to look at where not all are; ``server`` is where they came from.
    """

    database: str
    part: Index
    contents: Contents
    epoch: Epoch
    data_key: DataKey | None
    only: frozenset[str] | None
    server: ServerVersion


def compare_rows(
    context: Context, place: Place, wanted: Wanted, *, jobs: int, login: Login
) -> Comparison:
    """Read what lies in *place* as *login* and compare it with *wanted*.

    Raises CouldNotCheck: when it cannot be read, and when every row is equal but the server is of
    another kind or series, so that the same definitions would be shown in other words.
    """
    total = wanted.contents.plain.bytes
    context.observe(PhaseBegan(name="compare", subject=place.target, total=total, exact=True))
    try:
        with connect(login) as server:
            same_series = server.version.series == wanted.server.series
            definitions = _definitions(server, place.schema, wanted.only)
        if place.is_beside:
            definitions = tuple(at_home(one, place.target) for one in definitions)
        reading = _Reading(login=login, schema=place.schema, jobs=jobs)
        tables = _read_tables(context, reading, wanted, found={d.name for d in definitions})
    except UlasisError as error:
        raise CouldNotCheck(f"could not compare: {error.message}", hint=error.hint) from None
    context.observe(PhaseEnded(name="compare"))
    index = replace(wanted.part, definitions={wanted.database: definitions}, tables=tables)
    found = summary_of(index, wanted.data_key)
    actual = replace(wanted.contents, plain=found.plain, tables=found.tables, objects=found.objects)
    if not same_series:
        return _rows_only(wanted, actual)
    return _detailed(compared(wanted.contents, actual), wanted.part, tables)


def _definitions(
    server: Server, database: str, only: frozenset[str] | None
) -> tuple[Definition, ...]:
    found = schema.catalogue(server, database)
    if only is not None:
        triggers = server.query(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
            "WHERE TRIGGER_SCHEMA = %s",
            (database,),
        )
        kept = {(ObjectKind.TRIGGER, name) for name, table in triggers if table in only}
        kept |= {(ObjectKind.SEQUENCE, name) for name in only}
        found = Catalogue(
            tables=tuple(table for table in found.tables if table.name in only),
            objects=tuple(entry for entry in found.objects if entry in kept),
        )
    return read_definitions(server, database, found)


def _rows_only(wanted: Wanted, actual: Contents) -> Comparison:
    """Compare rows alone; raises CouldNotCheck where they are equal: that is not everything."""
    there = {table.name: table for table in actual.tables}
    tables = tuple(
        replace(there[table.name], definition=table.definition)
        for table in wanted.contents.tables
        if table.name in there
    )
    found = compared(
        wanted.contents, replace(actual, tables=tables, objects=wanted.contents.objects)
    )
    if found.differences:
        return found
    message = (
        f"the backup is of {wanted.server.series}, the target is not: every row is equal, "
        "definitions cannot be compared"
    )
    raise CouldNotCheck(message, hint=f"compare definitions on {wanted.server.series}, or by eye")


def _detailed(found: Comparison, part: Index, tables: tuple[TableRows, ...]) -> Comparison:
    """Say of each table whose rows differ where the first difference lies."""
    now = {table.head.source.table: table for table in tables}
    spots = {
        table.head.source.table: _first_difference(table, now[table.head.source.table])
        for table in part.tables
        if table.head.source.table in now
    }
    return replace(
        found,
        differences=tuple(
            replace(d, detail=d.detail + spots[d.name])
            if d.what in (ROWS, COUNT) and d.kind == TABLE and d.name in spots
            else d
            for d in found.differences
        ),
    )


def _first_difference(wanted: TableRows, got: TableRows) -> str:
    pairs = zip_longest(wanted.ranges, got.ranges)
    for number, (one, other) in enumerate(pairs):
        if one is None or other is None or one.fingerprint != other.fingerprint:
            where = _place(wanted, number)
            return f" ({where}: {_digest(one)} in the backup, {_digest(other)} now)"
    return ""


def _place(table: TableRows, number: int) -> str:
    """Return which keys the range of that number holds, for people."""
    begin, end = (_key(table.ranges, at) for at in (number, number + 1))
    if not begin and not end:
        return f"in part {number + 1}"
    return f"from {begin or 'the first key'} to {end or 'the last key'}"


def _key(ranges: Sequence[Range], at: int) -> str:
    begin = ranges[at].begin if at < len(ranges) else None
    text = ", ".join(value.decode("utf-8", "backslashreplace") for value in begin or ())
    return f"key {text}" if text else ""


def _digest(part: Range | None) -> str:
    return part.fingerprint[:12] if part else "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Ranges that one query reads."""

    head: TableHead
    span: Span
    parts: tuple[Range, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Who reads which schema, with how many sessions."""

    login: Login
    schema: str
    jobs: int


def _read_tables(
    context: Context, reading: _Reading, wanted: Wanted, *, found: set[str]
) -> tuple[TableRows, ...]:
    """Return the tables of *wanted* that are there, with the fingerprints of their rows."""
    done = _Counter(context)
    tables = [t for t in wanted.part.tables if t.head.source.table in found]
    with ExitStack() as stack:
        sessions = [stack.enter_context(connect(reading.login)) for _ in range(reading.jobs)]
        for server in sessions:
            server.run("SET SESSION character_set_results = NULL")
        todo = (task for table in tables for task in _tasks(table, reading.schema))
        pieces = shared(
            sessions,
            lambda _: next(todo, None),
            lambda server, task: (
                task.head.where,
                list(_read(server, task, wanted.epoch, done.add)),
            ),
        )
        read: dict[tuple[str, str], list[Range]] = {}
        for where, ranges in stack.enter_context(closing(pieces)):
            read.setdefault(where, []).extend(ranges)
    places = [(reading.schema, table.head.where[1]) for table in tables]
    return tuple(
        replace(table, ranges=tuple(read.get(place, ())))
        for table, place in zip(tables, places, strict=True)
    )


class _Counter:
    """Counts bytes for whoever watches."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._done = 0

    def add(self, size: int) -> None:
        self._done += size
        self._context.observe(BytesMoved(done=self._done))


def _tasks(table: TableRows, target: str) -> Iterator[_Task]:
    """Yield what to read: each range by a query of its own where its key allows that."""
    head = replace(table.head, source=replace(table.head.source, database=target))
    if head.key is None or not head.key.cuttable or not table.ranges:
        yield _Task(head=head, span=Span(begin=None, end=None, limit=PIECE), parts=table.ranges)
        return
    ends = [*(part.begin for part in table.ranges[1:]), None]
    for part, end in zip(table.ranges, ends, strict=True):
        span = Span(begin=part.begin, end=end, limit=PIECE)
        yield _Task(head=head, span=span, parts=(part,))


def _read(
    server: Server, task: _Task, epoch: Epoch, on_bytes: Callable[[int], None]
) -> Iterator[Range]:
    """Yield the ranges of *task* as they are now: cut after as many bytes as they had."""
    rows = 0
    held = bytearray()
    sizes = iter([part.bytes for part in task.parts])
    size = next(sizes, None)
    for packets in read_rows(server, select(task.head, task.span), target=PIECE, limit=PIECE):
        rows += packets.rows
        held += packets.data
        on_bytes(len(packets.data))
        while size is not None and len(held) > size:
            yield _range(epoch, bytes(held[:size]), 0)
            del held[:size]
            size = next(sizes, None)
        if size is None:
            # More than there should be: it is different, however much is still to come.
            yield _range(epoch, bytes(held), 0)
            held.clear()
    if held or rows:
        # All rows are counted here: how many lie in each part says nothing once it differs.
        yield _range(epoch, bytes(held), rows)


def _range(epoch: Epoch, data: bytes, rows: int) -> Range:
    return Range(rows=rows, bytes=len(data), fingerprint=fingerprint(epoch, data))
