"""One backup being restored in a scratch server: every database of it loaded, then compared."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from ulasis_backup.errors import (
    CouldNotCheck,
    IntegrityError,
    LoadFailed,
    NotEqual,
    ServerError,
    ServerUnsuitable,
    UlasisError,
)
from ulasis_backup.events import PhaseBegan, PhaseEnded
from ulasis_backup.methods import load
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.rows_restore import create_others
from ulasis_backup.methods.sections import split
from ulasis_backup.mysql.account_creation import create_accounts
from ulasis_backup.mysql.accounts import read_catalogue
from ulasis_backup.mysql.definitions import TABLE
from ulasis_backup.mysql.programs import dump_program
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.compare import (
    COUNT,
    ROWS,
    Comparison,
    Difference,
    compare,
    dump_again,
)
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.judgement import (
    against_accounts,
    against_witness,
    names_in,
    positions,
    with_digests,
)
from ulasis_backup.operations.neighbours import in_order
from ulasis_backup.operations.ranges import RangeReader
from ulasis_backup.operations.rows_source import Choice, RowsSource, open_rows
from ulasis_backup.operations.scratch_world import drop_definers, make_definers, role_definers
from ulasis_backup.operations.source import Source
from ulasis_backup.operations.spot import first_difference
from ulasis_backup.operations.sql_source import SqlSource, open_sql
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import parse_payload

TIGHT = 16 << 20
"""Bytes left in TMPDIR below which a load has failed for want of room, whatever it said."""

LACKING = re.compile(r"\b(1286|1524)\b|Unknown storage engine|is not loaded")
"""Errors that say: this server has not all the engines and plugins that the other one had."""

_LINE = re.compile(r"at line (\d+)")


@dataclass(slots=True, kw_only=True)
class Rehearsal:
    """A scratch server and what is loaded in it; ``notes`` grow while it is compared."""

    context: Context
    server: Server
    manifest: Manifest
    scratch: ScratchServer
    notes: list[str] = field(default_factory=list)
    _loaded: list[tuple[Source, Contents]] = field(default_factory=list)
    _definers: list[tuple[str, str, bool]] = field(default_factory=list)
    _readers: list[RangeReader] = field(default_factory=list)
    _unproven: CouldNotCheck | None = None

    @property
    def lost(self) -> frozenset[str]:
        """Return the objects that were found missing or damaged."""
        return frozenset().union(*(reader.lost for reader in self._readers))

    def load(self) -> None:
        """Load every database of the backup; raises LoadFailed, CouldNotCheck, IntegrityError."""
        for database in self._databases():
            source = self._open(database)
            self._need_complete(source)
            definers = _accounts_in(source, self.server) | role_definers(_texts(source))
            self._definers += make_definers(self.server, definers)
            total = source.contents.plain.bytes
            self.context.observe(PhaseBegan(name="load", subject=database, total=total, exact=True))
            self._loaded.append((source, self._load(source)))
            self.context.observe(PhaseEnded(name="load"))
        self._create_others()

    def _create_others(self) -> None:
        """Create what refers to tables: views may read those of any database of the backup."""
        sources = [source for source, _ in self._loaded if isinstance(source, RowsSource)]
        built = [(one.database, one.whole(self.server, one.database)) for one in sources]
        try:
            create_others(self.server, built)
        except LoadFailed as error:
            raise self._why(error, *sources) from None
        for source in sources:
            source.finish(self.context, self.server, source.database)

    def compare(self) -> tuple[Difference, ...]:
        """Return where the scratch server differs from the manifest."""
        found = [
            one for source, contents in self._loaded for one in self._compare(source, contents)
        ]
        return tuple(dict.fromkeys([*found, *self._accounts()]))

    def refuse_unproven(self) -> None:
        """Raise CouldNotCheck where all that was compared is equal, and that is not everything."""
        if self.manifest.header.partial:
            message = "the backup is partial: it was made without all rights"
            raise CouldNotCheck(message, hint="make a whole one; `check` prints the missing GRANT")
        if self._unproven:
            raise self._unproven
        made_on, here = self.manifest.header.server, self.server.version
        if made_on.series != here.series:
            message = f"the backup is of {made_on.series}, and was compared on {here.series} only"
            raise CouldNotCheck(message, hint=f"prove it on {made_on.series}")

    def _databases(self) -> tuple[str, ...]:
        held = self.manifest.header.databases
        return in_order(index_of(self.context, self.manifest)) if len(held) > 1 else held

    def _open(self, database: str) -> Source:
        if self.manifest.header.method == "rows":
            # Each range is held against the index when it is loaded: reading all of them before
            # is for servers that have something to lose.
            source = open_rows(self.context, self.manifest, Choice(database=database), read=False)
            self._readers.append(source.reader)
            return source
        name = parse_payload(self.manifest.header.payload)
        if name is None:
            msg = "a trusted manifest has the name of a payload"
            raise TypeError(msg)
        return open_sql(self.context, name, self.manifest)

    def _need_complete(self, source: Source) -> None:
        """Raise CouldNotCheck where a view reads what is in no database of this backup."""
        held = self.manifest.header.databases
        for need in source.needs().neighbours:
            if need.right == "SELECT" and need.database not in held:
                where = f"{need.database}.{need.table}"
                message = f"a view of {source.database} reads {where}, which is not in this backup"
                hint = "back both up together, by `rows`: DB_NAME=a,b"
                raise CouldNotCheck(message, hint=hint)

    def _load(self, source: Source) -> Contents:
        database = source.database
        try:
            load.make_database(self.server, database, source.options_for(self.server))
            for _ in source.notices(self.server, database):
                pass
            if isinstance(source, RowsSource):
                return source.load_base(self.context, self.server, database)
            contents = source.load(self.context, self.server, database)
        except LoadFailed as error:
            raise self._why(error, source) from None
        except ServerUnsuitable as error:
            raise CouldNotCheck(error.message, hint=error.hint) from None
        if isinstance(source, SqlSource) and contents.plain != source.contents.plain:
            raise IntegrityError(f"{source.name} changed while it was read", hint="verify it again")
        return contents

    def _why(self, error: LoadFailed, *sources: Source) -> UlasisError:
        """Return whether it is the backup that cannot be loaded, or this server that cannot."""
        free = shutil.disk_usage(self.scratch.folder).free
        if free < TIGHT:
            message = f"{self.scratch.folder.parent} is full: {error.message}"
            return CouldNotCheck(message, hint="set TMPDIR to a folder with more room")
        if not self._answers():
            message = f"the scratch server ended in the middle: {error.message}"
            return CouldNotCheck(message, hint="was there memory enough? see the system's log")
        same = self.server.version.series == self.manifest.header.server.series
        if not same or LACKING.search(error.message):
            hint = "prove it with server programs that have what the backup's server had"
            return CouldNotCheck(f"the scratch server lacks something: {error.message}", hint=hint)
        where, source = "", sources[0]
        if isinstance(source, SqlSource) and (line := _LINE.search(error.message)):
            flavour = self.server.version.flavour
            where = load.section_at(source.open(), flavour, int(line[1]))
        names = ", ".join(one.database for one in sources)
        message = f"{names} cannot be loaded{where}: {error.message}"
        return NotEqual(message, hint="do not rely on this backup; make a new one now")

    def _answers(self) -> bool:
        try:
            with connect(self.scratch.login):
                return True
        except ServerError:
            return False

    def _compare(self, source: Source, contents: Contents) -> Iterator[Difference]:
        if isinstance(source, RowsSource):
            try:
                found = source.compare(self.context, source.database, contents)
            except CouldNotCheck as error:
                self._unproven = error
                return
        else:
            found = self._dumped(source, contents)
        yield from self._judged(source, contents, found)

    def _dumped(self, source: Source, contents: Contents) -> Comparison:
        """Dump the database again and compare."""
        key = self.manifest.data_key
        total = contents.plain.bytes
        return compare(self.context, source.database, contents, data_key=key, total=total)

    def _judged(
        self, source: Source, contents: Contents, found: Comparison
    ) -> Iterator[Difference]:
        found = found.excusing(source.text_losses, source.left_out)
        self.notes += [f"as announced: {one}" for one in found.announced]
        moved, notes = positions(self.server, source, found, contents)
        self.notes += notes
        here = (*self._located(source, with_digests(found, contents)), *moved)
        theirs = tuple(self._witnessed(source))
        if here and not theirs and isinstance(source, SqlSource) and self._other_program(source):
            self._unproven = self._other_program(source)
            return
        known = {(one.kind, one.name) for one in here}
        yield from here
        yield from (one for one in theirs if (one.kind, one.name) not in known)

    def _located(self, source: Source, differences: tuple[Difference, ...]) -> Iterator[Difference]:
        """Yield *differences*, the first of rows of a dump with the row where it begins."""
        looked = False
        for one in differences:
            of_rows = one.kind == TABLE and one.what in (ROWS, COUNT)
            if looked or not of_rows or not isinstance(source, SqlSource):
                yield one
                continue
            looked = True
            with closing(dump_again(self.context, source.database)) as again:
                key = self.manifest.data_key
                where = first_difference(split(source.open()), split(again), one.name, key)
            yield replace(one, detail=one.detail + where)

    def _witnessed(self, source: Source) -> Iterator[Difference]:
        details = self.manifest.details
        witness = details.witness if details else ()
        if not witness or source.server.series != self.server.version.series:
            return
        yield from against_witness(
            self.server,
            source.database,
            witness,
            data_key=self.manifest.data_key,
            text_losses=source.text_losses,
        )

    def _other_program(self, source: SqlSource) -> CouldNotCheck | None:
        """Return why two dumps may differ without a difference: by another program, or series."""
        folder = self.context.config.settings.backup_programs_dir
        here = dump_program(self.server.version, folder=folder).version
        if source.program == here and source.server.series == self.server.version.series:
            return None
        message = f"the dump differs, but was made by {source.program!r}, and here is {here!r}"
        return CouldNotCheck(message, hint="prove it with the programs that it was made by")

    def _accounts(self) -> Iterator[Difference]:
        """Create the accounts that the backup keeps, and yield what they lack."""
        parts = [source.part for source, _ in self._loaded if isinstance(source, RowsSource)]
        accounts = parts[0].accounts if parts else ()
        if not accounts or self._unproven:
            return
        # Made for the views' sake; as accounts of the backup they are to be made as it says.
        drop_definers(self.server, self._definers)
        there = frozenset(read_catalogue(self.server).roles)
        databases = self.manifest.header.databases
        try:
            self.notes += create_accounts(self.server, accounts, databases=databases)
        except LoadFailed as error:
            yield Difference(kind="account", name="", what=error.message)
        objects = frozenset().union(
            *(names_in(source.database, contents) for source, contents in self._loaded)
        )
        yield from against_accounts(
            self.server, databases, accounts, there_before=there, objects=objects
        )


def _accounts_in(source: Source, server: Server) -> frozenset[str]:
    """Return the definers of *source* that are accounts; roles have no ``@`` in their names."""
    return frozenset(one.definer for one in source.traits(server) if "@" in one.definer)


def _texts(source: Source) -> Iterator[bytes]:
    """Yield the definitions of a backup."""
    if isinstance(source, RowsSource):
        yield from (one.text for one in source.definitions)
    elif isinstance(source, SqlSource):
        yield from (piece.data for piece in source.texts)
