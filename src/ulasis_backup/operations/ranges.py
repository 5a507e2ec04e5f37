"""The ranges of a ``rows`` backup, read from where they lie and held against the index."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ulasis_backup.errors import (
    AuthenticationFailed,
    BlobMissing,
    IntegrityError,
    StorageError,
    UlasisError,
)
from ulasis_backup.events import BytesMoved, Notice
from ulasis_backup.methods.index import Begin, Index, Range, TableRows
from ulasis_backup.mysql.measuring import measure
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.jobs import jobs
from ulasis_backup.repository.canonical import HINT
from ulasis_backup.repository.objects import Epoch, ObjectReader, fingerprint

AHEAD = 4
"""Ranges that wait for each thread; the results of a few, not of millions, are in memory."""

MISSING_HINT = (
    "use another backup or a copy of this one; what was found damaged lies in damaged/, and the "
    "next backup stores its rows anew"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a range was found to hold: rows, bytes, and the bytes of its longest row."""

    rows: int
    bytes: int
    longest: int


@dataclass(slots=True)
class Seen:
    """Objects that were read before in this run, and how that came out: each is read once."""

    good: dict[str, Measured] = field(default_factory=dict)
    bad: dict[str, UlasisError] = field(default_factory=dict)


class RangeReader:
    """Reads ranges of one backup; for several threads at once."""

    def __init__(self, context: Context, index: Index) -> None:
        self.epoch = epoch_of(index.begin)
        # Chains of different ranges share nothing, so that remembered bases would only take room.
        self._objects = ObjectReader(context.repository.storage, self.epoch, cache=0)

    @property
    def lost(self) -> frozenset[str]:
        """Return the objects that were found missing or damaged, even where others served."""
        return self._objects.missing | self._objects.damaged

    def read(self, part: Range) -> bytes:
        """Return the row packets of *part*, of the size and fingerprint that the index says.

        Raises BlobMissing, IntegrityError, AuthenticationFailed.
        """
        if part.inline is not None:
            data, found = part.inline, fingerprint(self.epoch, part.inline)
        else:
            # The reader has held the bytes against the fingerprint in the name.
            data, found = self._objects.read(part.name), part.name.partition("-")[0]
        if found != part.fingerprint or len(data) != part.bytes:
            raise IntegrityError("a range of rows is not what the index says", hint=HINT)
        return data

    def set_aside(self) -> tuple[str, ...]:
        """Move the objects that were found damaged to ``damaged/``; return their names.

        They serve nobody any more, and the next backup stores their rows anew.
        """
        return tuple(
            name for name in sorted(self._objects.damaged) if self._objects.set_aside(name)
        )


def epoch_of(begin: Begin) -> Epoch:
    """Return the epoch of the objects of a backup."""
    return Epoch(id=begin.epoch, key=bytes.fromhex(begin.epoch_key) or None)


def check_all(
    context: Context,
    reader: RangeReader,
    tables: Sequence[TableRows],
    *,
    seen: Seen | None = None,
) -> int:
    """Check *tables* as ``check_tables`` does, telling who watches; set aside what is damaged."""
    try:
        return check_tables(
            reader,
            tables,
            jobs=jobs(context),
            on_bytes=lambda done: context.observe(BytesMoved(done=done)),
            seen=seen,
        )
    finally:
        _set_aside(context, reader)


def _set_aside(context: Context, reader: RangeReader) -> None:
    """Set damaged objects aside, if we may write there: the verdict is the same if not."""
    try:
        for damaged in reader.set_aside():
            hint = "the next backup stores its rows anew"
            context.observe(Notice(message=f"damaged, set aside: {damaged}", hint=hint))
    except StorageError as error:
        message = f"damaged objects could not be set aside: {error.message}"
        context.observe(Notice(message=message, hint=error.hint))


def read_named(
    context: Context, reader: RangeReader, tables: Iterable[TableRows]
) -> Callable[[Range], bytes]:
    """Return what reads ranges of *tables* as *reader* does, and names the bad one.

    What is damaged is set aside.
    """
    names: dict[Range, str] = {}
    for table in tables:
        for part in table.ranges:
            names.setdefault(part, ".".join(table.head.where))

    def read(part: Range) -> bytes:
        try:
            return reader.read(part)
        except (IntegrityError, BlobMissing) as error:
            _set_aside(context, reader)
            raise _named(error, names.get(part, "a table"), part) from None

    return read


def check_tables(
    reader: RangeReader,
    tables: Iterable[TableRows],
    *,
    jobs: int,
    on_bytes: Callable[[int], None],
    seen: Seen | None = None,
) -> int:
    """Read every range of *tables* and return the bytes of the longest row.

    Raises what the first bad range raises: IntegrityError and its children, BlobMissing. With
    *seen* objects that were read before are not read again.
    """
    checker = _Checker(reader, seen or Seen(), on_bytes)
    longest = 0
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        try:
            for found in _in_window(pool, checker.check, _parts(tables), AHEAD * jobs):
                longest = max(longest, found.longest)
        except BaseException:
            checker.stop.set()
            raise
    return longest


def _in_window(
    pool: ThreadPoolExecutor,
    check: Callable[[tuple[str, Range]], Measured],
    parts: Iterable[tuple[str, Range]],
    width: int,
) -> Iterator[Measured]:
    """Yield what *check* found, in order, at most *width* parts ahead: there may be millions."""
    pending: deque[Future[Measured]] = deque()
    for part in parts:
        if len(pending) >= width:
            yield pending.popleft().result()
        pending.append(pool.submit(check, part))
    while pending:
        yield pending.popleft().result()


def _parts(tables: Iterable[TableRows]) -> Iterator[tuple[str, Range]]:
    for table in tables:
        for part in table.ranges:
            yield ".".join(table.head.where), part


class _Checker:
    """Checks single ranges, on several threads."""

    def __init__(self, reader: RangeReader, seen: Seen, on_bytes: Callable[[int], None]) -> None:
        self._reader = reader
        self._seen = seen
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._done = 0
        self.stop = threading.Event()

    def check(self, named: tuple[str, Range]) -> Measured:
        table, part = named
        if self.stop.is_set():
            return Measured(rows=0, bytes=0, longest=0)
        try:
            found = self._known(part) or self._measure(part)
            if found.rows != part.rows:
                message = f"{found.rows:,} rows instead of {part.rows:,}"
                raise IntegrityError(message, hint=HINT)  # noqa: TRY301 (named below, like others)
        except (IntegrityError, BlobMissing) as error:
            raise _named(error, table, part) from None
        with self._lock:
            self._done += part.bytes
            self._on_bytes(self._done)
        return found

    def _known(self, part: Range) -> Measured | None:
        """Return what is known of the object, or raise what was wrong with it before."""
        if part.name in self._seen.bad:
            raise self._seen.bad[part.name]
        found = self._seen.good.get(part.name) if part.name else None
        same = part.name.startswith(f"{part.fingerprint}-")
        return found if found and same and found.bytes == part.bytes else None

    def _measure(self, part: Range) -> Measured:
        try:
            data = self._reader.read(part)
            rows, longest = measure(data)
        except (IntegrityError, BlobMissing) as error:
            if part.name:
                self._seen.bad[part.name] = error
            raise
        found = Measured(rows=rows, bytes=len(data), longest=longest)
        if part.name:
            self._seen.good[part.name] = found
        return found


def _named(error: UlasisError, table: str, part: Range) -> UlasisError:
    """Return *error* with the table and the range that it hits."""
    begin = "its first row" if part.begin is None else f"key {_shown(part.begin)}"
    kind = type(error) if isinstance(error, AuthenticationFailed | BlobMissing) else IntegrityError
    hint = MISSING_HINT if isinstance(error, BlobMissing) else error.hint
    return kind(f"{table}, from {begin}: {error.message}", hint=hint)


def _shown(values: tuple[bytes, ...]) -> str:
    return ", ".join(value.decode("utf-8", "backslashreplace")[:40] for value in values)
