"""The ``rows`` method: row packets as they come off the wire, cut by key, each range stored once.

Several sessions see one moment. Each reads spans of tables, whose packets go to the object store
as they are: no value is parsed. What the store has already is not stored again; what changed a
little is stored as a delta. The backup's payload is the index of it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from ulasis_backup.methods import index
from ulasis_backup.methods.base import Captured
from ulasis_backup.methods.index import Begin, Index, Range, TableHead, TableRows
from ulasis_backup.methods.look import RowsOptions, Seen, SeenTable, look, matches, with_positions
from ulasis_backup.methods.reading import Keep, RowsReader
from ulasis_backup.methods.summary import Summary, summary_of
from ulasis_backup.model import Login, Shared, TextLoss
from ulasis_backup.mysql import privileges, schema
from ulasis_backup.mysql.losses import inexact_columns
from ulasis_backup.mysql.server import Server
from ulasis_backup.mysql.snapshot import Moment, MomentOptions, one_moment
from ulasis_backup.mysql.wire import Packets
from ulasis_backup.repository.objects import Epoch, ObjectWriter, Stored, fingerprint
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks

INLINE = 16 << 10
"""Ranges of at most so many bytes travel inside the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPlan:
    """Everything that is decided before the first byte is read."""

    databases: tuple[str, ...]
    options: RowsOptions
    moment: MomentOptions
    partial: bool
    text_losses: tuple[TextLoss, ...] = ()
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsStore:
    """Where rows go: the objects' epoch and writer, and the last backup's index to share with.

    ``grace`` is how long an object that nothing refers to is safe from ``prune``.
    """

    epoch: Epoch
    writer: ObjectWriter
    before: Index | None
    grace: timedelta


def plan_rows(
    server: Server,
    databases: Sequence[str],
    *,
    options: RowsOptions,
    moment: MomentOptions,
    allow_partial: bool = False,
) -> RowsPlan:
    """Look at server and databases and decide how to read; nothing is read yet.

    Raises PrivilegeMissing (unless *allow_partial*), SettingsError for an unknown database.
    """
    for database in databases:
        schema.need_database(server, database)
    missing = privileges.missing_for_rows(server, databases)
    if missing and not allow_partial:
        raise privileges.refuse(missing, partial_hint=True)
    lacking = ("partial: rights are missing, objects may be missing unseen",) if missing else ()
    return RowsPlan(
        databases=tuple(databases),
        options=options,
        moment=moment,
        partial=bool(missing),
        text_losses=tuple(loss for name in databases for loss in _losses(server, name, options)),
        fallbacks=lacking,
    )


class RowsCapture:
    """Databases being read at one moment; see ``methods.base.Capture``."""

    def __init__(
        self,
        plan: RowsPlan,
        login: Login,
        store: RowsStore,
        *,
        data_key: DataKey | None,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._login = login
        self._store = store
        self._data_key = data_key
        self._on_bytes = on_bytes
        self._tables: list[TableRows] = []
        self._captured: Captured | None = None

    def chunks(self) -> Chunks:
        """Yield the index; everything that makes the backup unfit raises at the end."""
        plan = self._plan
        with (
            self._store.writer,
            one_moment(
                self._login,
                plan.databases,
                look=lambda server: look(server, plan.databases, plan.options),
                options=plan.moment,
            ) as opened,
        ):
            moment = replace(opened, seen=with_positions(opened.sessions[0], opened.seen))
            begin = self._begin(moment.sessions[0])
            yield from self._records(begin, moment)
            moment.check()
            self._store.writer.check_before_commit(self._store.grace)
            self._captured = self._summarise(begin, moment)

    def captured(self) -> Captured:
        """Return what was read, and what has to be said about it."""
        if self._captured is None:
            msg = "the reading has not ended"
            raise RuntimeError(msg)
        return self._captured

    def _begin(self, server: Server) -> Begin:
        epoch = self._store.epoch
        return Begin(
            databases=self._plan.databases,
            epoch=epoch.id,
            epoch_key=epoch.key.hex() if epoch.key else "",
            flavour=server.version.flavour,
            version=server.version.version,
        )

    def _records(self, begin: Begin, moment: Moment[Seen]) -> Iterator[bytes]:
        """Yield the records of the index, reading all rows meanwhile."""
        yield index.begin_record(begin)
        for database in moment.seen.databases:
            yield index.database_record(database.name, database.options)
            for definition in database.definitions:
                yield index.definition_record(database.name, definition)
        for account in moment.seen.accounts:
            yield index.account_record(account)
        reader = RowsReader(
            moment.sessions,
            keeping(self._store),
            before=self._store.before,
            options=self._plan.options,
            on_bytes=self._on_bytes,
        )
        for table in reader.read(moment.seen.tables):
            yield index.table_record(table.head)
            for part in table.ranges:
                yield index.range_record(part)
            yield index.table_end_record(table)
            # Small tables' rows are in the index now; here their fingerprints will do.
            self._tables.append(table.without_data())
        yield index.end_record(len(self._tables), sum(table.rows for table in self._tables))

    def _summarise(self, begin: Begin, moment: Moment[Seen]) -> Captured:
        read = Index(
            begin=begin,
            options={database.name: database.options for database in moment.seen.databases},
            definitions={database.name: database.definitions for database in moment.seen.databases},
            tables=tuple(self._tables),
            accounts=moment.seen.accounts,
        )
        found: Summary = summary_of(read, self._data_key)
        keyless = [table for table in moment.seen.tables if _is_keyless(table.head)]
        said = f"no key to cut by, read as one stream each: {_some(keyless)}"
        return Captured(
            program="",
            plain=found.plain,
            tables=found.tables,
            objects=found.objects,
            position=moment.position,
            left_out=tuple(
                entry for database in moment.seen.databases for entry in database.left_out
            ),
            text_losses=self._plan.text_losses,
            fallbacks=(
                *self._plan.fallbacks,
                *moment.fallbacks,
                *_without_rows(moment.seen),
                *_unfit(moment.seen, self._plan.options),
                *([said] if keyless else ()),
                *(_locked(moment.seen) if self._plan.moment.lock_tables else ()),
                *(said for account in moment.seen.accounts for said in account.not_carried),
            ),
            warnings=tuple(notice.message for notice in self._store.writer.notices),
            shared=self._shared(),
            known=(said,) if {table.head.where for table in keyless} <= self._keyless() else (),
        )

    def _keyless(self) -> set[tuple[str, str]]:
        """Return the tables without a key in the last backup."""
        before = self._store.before
        return (
            {one.head.where for one in before.tables if _is_keyless(one.head)} if before else set()
        )

    def _shared(self) -> Shared:
        used, written = self._store.writer.used, self._store.writer.written
        return Shared(
            objects=used.objects,
            bytes=used.bytes,
            new_objects=written.objects,
            new_bytes=written.bytes,
        )


def keeping(store: RowsStore) -> Keep:
    """Return the function that stores a range, in the index itself where it is small."""

    def keep(packets: Packets, base: Range | None) -> Range:
        data, rows = packets.data, packets.rows
        if len(data) <= INLINE:
            digest = fingerprint(store.epoch, data)
            return Range(rows=rows, bytes=len(data), fingerprint=digest, inline=data)
        stored = store.writer.keep(data, as_stored(base) if base else None)
        return Range(
            rows=rows,
            bytes=len(data),
            fingerprint=stored.fingerprint,
            name=stored.name,
            chain=stored.chain,
            stored=stored.stored,
            full=stored.full,
        )

    return keep


def as_stored(part: Range) -> Stored | None:
    """Return the object of a range, None for one whose rows are in the index itself."""
    if not part.name:
        return None
    return Stored(
        fingerprint=part.fingerprint,
        name=part.name,
        chain=part.chain,
        stored=part.stored,
        full=part.full,
    )


def known_objects(before: Index) -> dict[str, Stored]:
    """Return the objects of an index, by fingerprint."""
    found = (as_stored(part) for table in before.tables for part in table.ranges)
    return {stored.fingerprint: stored for stored in found if stored}


def _losses(server: Server, database: str, options: RowsOptions) -> Iterator[TextLoss]:
    """Yield what even the rows off the wire do not hold: values whose type their text loses."""
    wanted = [
        table.name
        for table in schema.catalogue(server, database).tables
        if not table.is_sequence and not matches(table.name, options.exclude)
    ]
    for loss in inexact_columns(server, database, wanted):
        yield replace(loss, database=database)


def _unfit(seen: Seen, options: RowsOptions) -> Iterator[str]:
    """Yield the patterns that no table fits: a letter may be wrong in them."""
    left_out = [entry.name for one in seen.databases for entry in one.left_out if entry.asked]
    without = [name for one in seen.databases for name in one.without_rows]
    for option, chosen, names in (
        ("--exclude", options.exclude, left_out),
        ("--schema-only", options.schema_only, without),
    ):
        for pattern in chosen:
            if not any(matches(name, (pattern,)) for name in names):
                yield f"{option} {pattern}: no table has such a name"


def _is_keyless(head: TableHead) -> bool:
    return not (head.key and head.key.cuttable)


def _locked(seen: Seen) -> Iterator[str]:
    """Yield what is to be said of tables that cannot be read as others are."""
    held = [table for table in seen.tables if not table.transactional]
    if held:
        yield f"without transactions, locked against writing until they were read: {_some(held)}"


def _some(tables: Sequence[SeenTable], most: int = 5) -> str:
    more = f" and {len(tables) - most} more" if len(tables) > most else ""
    return ", ".join(".".join(table.head.where) for table in tables[:most]) + more


def _without_rows(seen: Seen) -> Iterator[str]:
    for database in seen.databases:
        for name in database.without_rows:
            yield f"without rows, its definition only: {database.name}.{name}"
