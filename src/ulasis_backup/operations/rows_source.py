"""A ``rows`` backup that is about to be restored: one database of it, every range read once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ulasis_backup.errors import BlobMissing, IntegrityError, ServerUnsuitable, SettingsError
from ulasis_backup.events import BytesMoved, Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.definers import Redefining, Traits, redefine, traits_of_definition
from ulasis_backup.methods.index import Index
from ulasis_backup.methods.outside import at_home, beside
from ulasis_backup.methods.rewrite import Rename, names_in_strings, rewrite_definition
from ulasis_backup.methods.rows_restore import DatabaseContents, build_tables, create_others
from ulasis_backup.methods.summary import summary_of
from ulasis_backup.methods.target import check_on_target
from ulasis_backup.methods.translate import (
    TranslatedOptions,
    Translation,
    translate,
    translate_options,
)
from ulasis_backup.model import DatabaseOptions, LeftOut, Login, ObjectKind, ServerVersion, TextLoss
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.account_creation import create_accounts, refuse_accounts
from ulasis_backup.mysql.definitions import TABLE, Definition
from ulasis_backup.mysql.loading import Way, refuse_way
from ulasis_backup.mysql.schema import ELSEWHERE
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.compare import Comparison, Place
from ulasis_backup.operations.compare_rows import Wanted, compare_rows
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.hits import record_loss
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.jobs import jobs
from ulasis_backup.operations.movable import sequences_in, unmovable
from ulasis_backup.operations.neighbours import needs_of
from ulasis_backup.operations.ranges import RangeReader, check_all, read_named
from ulasis_backup.operations.source import COMPRESSED, TargetNeeds
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName, parse_payload
from ulasis_backup.streams.keys import DataKey

PACKET_OVERHEAD = 64 << 10
_DECLARED = re.compile(rb"\n    (?:DETERMINISTIC|NO SQL|READS SQL DATA)\n")
_ENGINE = re.compile(rb"\) ENGINE=(\w+)")
_DRAWN = re.compile(rb"\b(?:next|last|set)val\(`((?:[^`]|``)*)`[,)]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a backup is wanted: one database, some tables of it, accounts; how to load it.

    ``collations`` are pairs: which one is to stand for which on another kind of server.
    """

    database: str = ""
    tables: tuple[str, ...] = ()
    accounts: bool = False
    way: Way | None = None
    collations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSource:
    """One database of a checked rows backup; see ``source.Source``.

    ``part`` is the index with nothing in it but what is restored. ``longest`` are the bytes of its
    longest row.
    """

    name: PayloadName
    database: str
    made_at: str
    server: ServerVersion
    part: Index
    contents: Contents
    data_key: DataKey | None
    reader: RangeReader
    longest: int
    left_out: tuple[LeftOut, ...]
    text_losses: tuple[TextLoss, ...]
    partial: bool
    only_tables: frozenset[str] | None
    choice: Choice

    @property
    def method(self) -> str:
        """Return the name of the method."""
        return "rows"

    def options_for(self, server: Server) -> DatabaseOptions | None:
        """Return what CREATE DATABASE says on *server*."""
        return self._options(server).options

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Return the definitions of everything that is restored."""
        return self.part.definitions[self.database]

    def needs(self) -> TargetNeeds:
        """Return what it asks of a target."""
        kinds = (TABLE, ObjectKind.VIEW)
        texts = [(str(d.kind), d.text) for d in self.definitions if d.kind in kinds]
        return TargetNeeds(
            neighbours=needs_of(texts, self.database),
            undeclared=tuple(
                definition.name
                for definition in self.definitions
                if definition.kind == ObjectKind.FUNCTION and not _DECLARED.search(definition.text)
            ),
            packet=-(-(self._longest_known() + PACKET_OVERHEAD) // 1024) * 1024,
            in_strings=tuple(
                f"{definition.kind} {definition.name}"
                for definition in self.definitions
                if definition.kind != TABLE and names_in_strings(definition.text, self.database)
            ),
            client=False,
            compressed=any(COMPRESSED.search(d.text) for d in self.definitions if d.kind == TABLE),
        )

    def traits(self, server: Server) -> tuple[Traits, ...]:
        """Return who defined its objects, and the settings they are made with on *server*."""
        translated = self._translated(server).definitions
        return tuple(traits_of_definition(definition) for definition in translated)

    def redefined(self, change: Redefining) -> RowsSource:
        """Return it with other definers, or without the objects of some."""
        definitions = {self.database: tuple(redefine(self.definitions, change))}
        part = replace(self.part, definitions=definitions)
        return replace(self, part=part, contents=contents_of(part, self.data_key))

    def _longest_known(self) -> int:
        """Return the bytes of the longest row, or how long it is at least."""
        parts = (part for table in self.part.tables for part in table.ranges if part.rows)
        return max([self.longest, *(part.bytes // part.rows for part in parts)])

    def notices(self, server: Server, target: str) -> Iterator[str]:
        """Yield what is changed for the server, tables that come back empty, facts of accounts.

        Raises ServerUnsuitable for what the server cannot take.
        """
        translation, options = self._translated(server), self._options(server)
        _need_sequences(server, target, self.definitions)
        # Where they came from they can be made again; elsewhere each table is tried.
        there = self._is_foreign(server) and schema.database_options(server, target) is not None
        tried = check_on_target(server, translation, database=target if there else None)
        refuse_way(server, self.choice.way)
        problems = [*options.problems, *translation.problems, *tried]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""  # noqa: PLR2004
            message = f"the target cannot take this backup: {'; '.join(problems[:5])}{more}"
            hint = "restore it on a server of its own kind; see docs/reference/across-servers.md"
            if any("collation" in problem for problem in problems):
                hint += "; or say which collation is to stand for another: --collation OLD=NEW"
            raise ServerUnsuitable(message, hint=hint)
        yield from (*options.notices, *translation.notices)
        if self.choice.accounts:
            renamed = {self.database: target}
            yield from refuse_accounts(
                server, self.part.accounts, renamed=renamed, databases=[self.database]
            )
        with_rows = {table.head.source.table for table in self.part.tables}
        for definition in self.definitions:
            if definition.kind == TABLE and definition.name not in with_rows:
                match = _ENGINE.search(definition.text)
                if not match or match[1].decode().lower() not in ELSEWHERE:
                    yield f"table {definition.name} comes back without rows: it was backed up so"

    def expect_renamable(self, target: str) -> None:
        """Raise Refused unless every definition can be rewritten for *target*."""
        self._renamed(self.definitions, target)

    def against_beside(self, server: Server, target: str) -> Iterator[str]:
        """Yield why its tables cannot be moved into *target* once loaded; see ``source.Source``."""
        texts = {d.name: d.text for d in self.definitions if d.kind == TABLE}
        del target
        yield from unmovable(server, texts)

    def read_whole(self, context: Context) -> RowsSource:
        """Return it with every range read and held against the index."""
        if self.longest:
            return self
        total = self.contents.plain.bytes
        observe = context.observe
        observe(PhaseBegan(name="read", subject=str(self.name), total=total, exact=True))
        with self._loss_recorded(context):
            longest = check_all(context, self.reader, self.part.tables)
        observe(PhaseEnded(name="read"))
        return replace(self, longest=longest)

    def load_tables(
        self, context: Context, server: Server, place: Place, *, compare: bool
    ) -> Contents:
        """Make and fill the tables; each range is held against the index as it is read."""
        translation = self._translated(server)
        definitions = self._renamed(translation.definitions, place.target)
        kept = tuple(one for one in definitions if one.kind in (TABLE, ObjectKind.SEQUENCE))
        names = frozenset(one.name for one in kept)
        there = sequences_in(server, place.target)
        made = tuple(
            beside(one, place.target, moves=names.__contains__, there=there) for one in kept
        )
        with self._loss_recorded(context):
            way = build_tables(
                server.login,
                place.schema,
                DatabaseContents(
                    definitions=made if place.is_beside else kept, tables=translation.tables
                ),
                read=read_named(context, self.reader, self.part.tables),
                jobs=jobs(context),
                on_bytes=lambda done: context.observe(BytesMoved(done=done)),
                way=self.choice.way,
                count=not compare,
            )
        self._tell_way(context, way)
        return self._contents(tuple(at_home(one, place.target) for one in kept))

    def compare_tables(self, context: Context, place: Place, expected: Contents) -> Comparison:
        """Read what was loaded again, range by range, and compare; raises CouldNotCheck."""
        login = context.config.writing
        wanted = self._wanted(expected, login)
        return compare_rows(context, place, wanted, jobs=jobs(context), login=login)

    def objects(self, server: Server, target: str) -> tuple[Definition, ...]:
        """Return triggers, views, routines and events in the names of *target*."""
        definitions = self._renamed(self._translated(server).definitions, target)
        return tuple(one for one in definitions if one.kind not in (TABLE, ObjectKind.SEQUENCE))

    def finish(self, context: Context, server: Server, target: str) -> None:
        """Create the accounts, where they were asked for."""
        if self.choice.accounts:
            renamed = {self.database: target}
            for said in create_accounts(
                server, self.part.accounts, renamed=renamed, databases=[self.database]
            ):
                context.observe(Notice(message=said))

    def load(self, context: Context, server: Server, target: str) -> Contents:
        """Build the database; see ``source.Source``."""
        contents = self.load_base(context, server, target)
        create_others(server, [(target, self.whole(server, target))])
        self.finish(context, server, target)
        return contents

    def whole(self, server: Server, target: str) -> DatabaseContents:
        """Return all that is restored, in the names of *target* and as *server* takes it."""
        translation = self._translated(server)
        definitions = self._renamed(translation.definitions, target)
        return DatabaseContents(definitions=definitions, tables=translation.tables)

    def load_base(self, context: Context, server: Server, target: str) -> Contents:
        """Build the tables in *target*; return what it holds when ``create_others`` is done too.

        So that of several databases all tables are there before the first view reads them.
        """
        whole = self.whole(server, target)
        way = build_tables(
            server.login,
            target,
            whole,
            read=self.reader.read,
            jobs=jobs(context),
            on_bytes=lambda done: context.observe(BytesMoved(done=done)),
            way=self.choice.way,
        )
        self._tell_way(context, way)
        return self._contents(whole.definitions)

    @contextmanager
    def _loss_recorded(self, context: Context) -> Iterator[None]:
        """Record what is set aside by a read: this backup fails, and others that need it."""
        started = now()
        try:
            yield
        except (IntegrityError, BlobMissing) as error:
            # Without one it is the target that does not take what is whole here.
            if lost := self.reader.lost:
                record_loss(context, self.name, error, lost, started=started)
            raise

    def _tell_way(self, context: Context, way: Way) -> None:
        if way is Way.INSERT and self.choice.way is None:
            message = "loaded by INSERT, the slowest way: the server has neither of the others"
            hint = "SET GLOBAL local_infile = 1; lets LOAD DATA take its place the next time"
            context.observe(Notice(message=message, hint=hint))

    def compare(self, context: Context, target: str, expected: Contents) -> Comparison:
        """Read *target* again, range by range, and compare; raises CouldNotCheck."""
        login = context.config.reading
        wanted = self._wanted(expected, login)
        place = Place(schema=target, target=target)
        return compare_rows(context, place, wanted, jobs=jobs(context), login=login)

    def _wanted(self, expected: Contents, login: Login) -> Wanted:
        with connect(login) as server:
            tables = self._translated(server).tables
        return Wanted(
            database=self.database,
            part=replace(self.part, tables=tables),
            contents=expected,
            epoch=self.reader.epoch,
            data_key=self.data_key,
            only=self.only_tables,
            server=self.server,
        )

    def _renamed(self, definitions: tuple[Definition, ...], target: str) -> tuple[Definition, ...]:
        if target == self.database:
            return definitions
        known = frozenset(definition.name for definition in definitions)
        rename = Rename(old=self.database, new=target, known=known)
        return tuple(rewrite_definition(definition, rename) for definition in definitions)

    def _translated(self, server: Server) -> Translation:
        return translate(
            self.definitions,
            self.part.tables,
            source=self.server,
            target=server.version,
            collations=dict(self.choice.collations),
        )

    def _is_foreign(self, server: Server) -> bool:
        """Tell whether *server* may not know all that the backup's server knew."""
        same = server.version.flavour is self.server.flavour
        return not same or server.version.numbers < self.server.numbers

    def _options(self, server: Server) -> TranslatedOptions:
        return translate_options(
            self.part.options[self.database],
            source=self.server,
            target=server.version,
            collations=dict(self.choice.collations),
        )

    def _contents(self, definitions: tuple[Definition, ...]) -> Contents:
        index = replace(self.part, definitions={self.database: definitions})
        return contents_of(index, self.data_key)


def open_rows(
    context: Context,
    manifest: Manifest,
    choice: Choice,
    *,
    read: bool = True,
) -> RowsSource:
    """Read one database of a trusted rows backup whole, or what *choice* says of it.

    Without *read* only the index is read: each range is held against it when it is loaded, which
    is soon enough where nothing can be lost; then ``longest`` is 0. Raises IntegrityError and its
    children, BlobMissing, SettingsError for names it does not hold.
    """
    header, details = manifest.header, manifest.details
    name = parse_payload(header.payload)
    if details is None or name is None:
        msg = "a trusted manifest has details and the name of a payload"
        raise TypeError(msg)
    chosen = choice.database or header.databases[0]
    if chosen not in header.databases:
        message = f"{name} does not hold {chosen}"
        raise SettingsError(message, hint=f"it holds: {', '.join(header.databases)}")
    index = index_of(context, manifest)
    if choice.accounts and not index.accounts:
        message = f"{name} holds no accounts"
        raise SettingsError(message, hint="make backups with --accounts, or restore without")
    part = _part(index, chosen, frozenset(choice.tables))
    reader = RangeReader(context, index)
    contents = contents_of(part, manifest.data_key)
    source = RowsSource(
        name=name,
        database=chosen,
        made_at=header.started_at,
        server=header.server,
        part=part,
        contents=contents,
        data_key=manifest.data_key,
        reader=reader,
        longest=0,
        left_out=tuple(entry for entry in details.left_out if entry.database == chosen),
        text_losses=tuple(loss for loss in details.text_losses if loss.database == chosen),
        partial=header.partial,
        only_tables=frozenset(choice.tables) or None,
        choice=choice,
    )
    return source.read_whole(context) if read else source


def contents_of(index: Index, data_key: DataKey | None) -> Contents:
    """Return what *index* holds in the words in which backups and databases are compared."""
    found = summary_of(index, data_key)
    return Contents(plain=found.plain, tables=found.tables, objects=found.objects, position=None)


def _part(index: Index, database: str, tables: frozenset[str]) -> Index:
    """Return *index* with nothing in it but *database*, or only some *tables* and their triggers.

    Raises SettingsError for a table that it does not hold.
    """
    definitions = index.definitions[database]
    rows = index.of(database)
    if tables:
        kinds = (TABLE, ObjectKind.SEQUENCE)
        held = {definition.name for definition in definitions if definition.kind in kinds}
        unknown = sorted(tables - held)
        if unknown:
            message = f"the backup has no table {unknown[0]} in {database}"
            raise SettingsError(message, hint="`ulasis-backup show` lists its tables")
        definitions = tuple(d for d in definitions if _belongs(d, tables))
        rows = tuple(table for table in rows if table.head.source.table in tables)
    return Index(
        begin=index.begin,
        options={database: index.options[database]},
        definitions={database: definitions},
        tables=rows,
        accounts=index.accounts,
    )


def _belongs(definition: Definition, tables: frozenset[str]) -> bool:
    if definition.kind in (TABLE, ObjectKind.SEQUENCE):
        return definition.name in tables
    return definition.kind == ObjectKind.TRIGGER and definition.extra.get("table") in tables


def _need_sequences(server: Server, target: str, definitions: tuple[Definition, ...]) -> None:
    """Raise ServerUnsuitable for a table whose sequence is not restored and not in *target*."""
    there = {table.name for table in schema.catalogue(server, target).tables if table.is_sequence}
    there |= {one.name for one in definitions if one.kind == ObjectKind.SEQUENCE}
    for table in (one for one in definitions if one.kind == TABLE):
        for name in _DRAWN.findall(table.text):
            sequence = name.replace(b"``", b"`").decode("utf-8", "surrogateescape")
            if sequence not in there:
                message = f"table {table.name} needs sequence {sequence}, which {target} has not"
                hint = f"restore it too: --tables {table.name},{sequence}; or create it first"
                raise ServerUnsuitable(message, hint=hint)
