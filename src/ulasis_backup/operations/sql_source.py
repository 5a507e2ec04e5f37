"""An ``sql`` backup that is about to be restored: a dump, read whole and ready to be read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from ulasis_backup.errors import (
    CouldNotCheck,
    Refused,
    ServerUnsuitable,
    SettingsError,
)
from ulasis_backup.events import BytesMoved
from ulasis_backup.methods import load, load_shares
from ulasis_backup.methods.contents import Contents, ContentsReader, blocks_of
from ulasis_backup.methods.definers import Redefining, Traits, redefine_pieces, traits_of_piece
from ulasis_backup.methods.dumped import definitions_of, for_tables
from ulasis_backup.methods.load_shares import Dump, Taken, Target, share
from ulasis_backup.methods.outside import pointing_to, without_schema
from ulasis_backup.methods.rewrite import Rename, names_in_strings, rewrite_piece
from ulasis_backup.methods.sections import Part, Piece, split
from ulasis_backup.methods.target import collations_in, unknown_collations
from ulasis_backup.model import (
    DatabaseOptions,
    LeftOut,
    ObjectKind,
    ServerVersion,
    TextLoss,
)
from ulasis_backup.mysql import programs, schema
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.compare import EXTRA, Comparison, Place, compare, compare_tables
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.jobs import jobs
from ulasis_backup.operations.movable import sequences_in, unmovable
from ulasis_backup.operations.neighbours import needs_of
from ulasis_backup.operations.source import COMPRESSED, TargetNeeds
from ulasis_backup.operations.verify import read_verified
from ulasis_backup.repository import payload
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks

PACKET_OVERHEAD = 1024


_DECLARED = re.compile(rb"\n    (?:DETERMINISTIC|NO SQL|READS SQL DATA)\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSource:
    """A checked dump; see ``source.Source``.

    ``texts`` are its definitions, ``open`` reads its plain bytes again. ``only`` are the tables
    that are restored where not all are.
    """

    name: PayloadName
    database: str
    made_at: str
    server: ServerVersion
    program: str
    contents: Contents
    texts: tuple[Piece, ...]
    fingerprint_key: DataKey | None
    database_options: DatabaseOptions | None
    text_losses: tuple[TextLoss, ...]
    left_out: tuple[LeftOut, ...]
    partial: bool
    open: Callable[[], Chunks]
    only: frozenset[str] | None = None

    @property
    def method(self) -> str:
        """Return the name of the method."""
        return "sql"

    def options_for(self, server: Server) -> DatabaseOptions | None:  # noqa: ARG002 (of Source)
        """Return what CREATE DATABASE would say."""
        return self.database_options

    @property
    def only_tables(self) -> frozenset[str] | None:
        """Return the tables that are restored where not all are."""
        return self.only

    def needs(self) -> TargetNeeds:
        """Return what the dump asks of a target."""
        return TargetNeeds(
            neighbours=needs_of(_tables_and_views(self), self.database),
            undeclared=tuple(_undeclared(self)),
            # The smallest possible setting (a multiple of 1024) that lets everything through.
            packet=-(-(self.contents.longest_statement + PACKET_OVERHEAD) // 1024) * 1024,
            in_strings=mentions_in_strings(self),
            client=True,
            compressed=any(COMPRESSED.search(p.data) for p in self.texts if p.part is Part.TABLE),
        )

    def traits(self, server: Server) -> tuple[Traits, ...]:  # noqa: ARG002 (of Source)
        """Return who defined its objects, and the settings that they were made with."""
        return tuple(trait for piece in self.texts for trait in traits_of_piece(piece))

    def redefined(self, change: Redefining) -> SqlSource:
        """Return the dump with other definers, or without the objects of some."""
        opened = self.open
        kept = tuple(
            entry
            for entry in self.contents.objects
            if (str(entry.kind), entry.name) not in change.dropped
        )
        return replace(
            self,
            texts=tuple(redefine_pieces(self.texts, change)),
            contents=replace(self.contents, objects=kept),
            open=lambda: (piece.data for piece in redefine_pieces(split(opened()), change)),
        )

    def notices(self, server: Server, target: str) -> Iterator[str]:  # noqa: ARG002 (of Source)
        """Raise ServerUnsuitable for a server that cannot take it; there is nothing else to say."""
        if server.version.flavour is not self.server.flavour:
            message = (
                f"the backup is of {self.server.flavour}, the target is {server.version.flavour}"
            )
            hint = "an sql backup goes back to the kind of server that it came from"
            raise ServerUnsuitable(message, hint=hint)
        unknown = unknown_collations(server, self._collations(server))
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""  # noqa: PLR2004
            message = f"the target cannot take this backup: {'; '.join(unknown[:5])}{more}"
            hint = "restore it on a server of its own version, or a newer one"
            raise ServerUnsuitable(message, hint=hint)
        yield from ()

    def _collations(self, server: Server) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield everything that names collations, and which."""
        if self.database_options:
            yield f"database {self.database}", frozenset({self.database_options.collation})
        for piece in self.texts:
            if piece.part is Part.TABLE:
                yield f"table {piece.name}", collations_in(piece.data)
        for trait in self.traits(server):
            yield trait.label, trait.collations

    def expect_renamable(self, target: str) -> None:
        """Raise Refused unless every definition can be rewritten for *target*."""
        renaming(self, target)

    def against_beside(self, server: Server, target: str) -> Iterator[str]:
        """Yield why its tables cannot be moved into *target* once loaded; see ``source.Source``."""
        rename = renaming(self, target)
        tables = [piece for piece in self.texts if piece.part is Part.TABLE]
        texts = {p.name: rewrite_piece(p, rename).data if rename else p.data for p in tables}
        yield from unmovable(server, texts)
        try:
            self.objects(server, target)
            for piece in self.texts:
                for_tables(piece)
        except Refused as error:
            yield error.message

    def read_whole(self, context: Context) -> SqlSource:  # noqa: ARG002 (of Source)
        """Return it as it is: every byte was found authentic when it was opened."""
        return self

    def load_tables(
        self, context: Context, server: Server, place: Place, *, compare: bool
    ) -> Contents:
        """Feed tables and sequences to client programs, and nothing else of the dump."""
        del compare
        rename = renaming(self, place.target)
        names = frozenset(table.name for table in self.contents.tables)
        there = sequences_in(server, place.target)
        reader = ContentsReader(self.fingerprint_key)

        def take(piece: Piece) -> Taken | None:
            found = for_tables(rewrite_piece(piece, rename) if rename else piece, self.only)
            if found is None or found.part is not Part.TABLE or not place.is_beside:
                return Taken(found, found) if found else None
            target = place.target
            read = replace(found, data=without_schema(found.data, target))
            data = pointing_to(found.data, target, moves=names.__contains__, there=there)
            return Taken(read, replace(found, data=data))

        load_shares.load_tables(
            Dump(open=self.open, texts=self.texts, take=take, read=reader.update),
            Target(
                server=server,
                schema=place.schema,
                programs_folder=context.config.settings.backup_programs_dir,
            ),
            share({table.name: table.bytes for table in self.contents.tables}, jobs(context)),
            on_bytes=lambda done: context.observe(BytesMoved(done=done)),
        )
        return reader.result()

    def compare_tables(self, context: Context, place: Place, expected: Contents) -> Comparison:
        """Dump what was loaded again and compare; raises CouldNotCheck."""
        self._need_comparable(context)
        total = expected.plain.bytes
        key = self.fingerprint_key
        return compare_tables(context, place, expected, data_key=key, total=total)

    def objects(self, server: Server, target: str) -> tuple[Definition, ...]:
        """Return triggers, views, routines and events in the names of *target*."""
        rename = renaming(self, target)
        # An orphan does not know what its database was like: it becomes like the target.
        options = self.database_options or schema.database_options(server, target)
        default = options.collation if options else str(server.value("SELECT @@collation_server"))
        return tuple(
            definitions_of(
                (rewrite_piece(piece, rename) if rename else piece for piece in self.texts),
                collation=default,
                created=_second(self.made_at),
                tables=self.only,
            )
        )

    def finish(self, context: Context, server: Server, target: str) -> None:
        """Do nothing: there is nothing left to do."""

    def load(self, context: Context, server: Server, target: str) -> Contents:
        """Feed the dump to the client program; see ``source.Source``."""
        if self.only is not None:
            place = Place(schema=target, target=target)
            contents = self.load_tables(context, server, place, compare=True)
            for trigger in self.objects(server, target):
                create(server, target, trigger)
            return contents
        reader = ContentsReader(self.fingerprint_key)
        load.load(
            self.open(),
            server,
            target,
            rename=renaming(self, target),
            reader=reader,
            on_bytes=lambda done: context.observe(BytesMoved(done=done)),
            programs_folder=context.config.settings.backup_programs_dir,
        )
        return reader.result()

    def compare(self, context: Context, target: str, expected: Contents) -> Comparison:
        """Dump *target* again and compare; raises CouldNotCheck."""
        self._need_comparable(context)
        total = expected.plain.bytes
        found = compare(context, target, expected, data_key=self.fingerprint_key, total=total)
        only = self.only
        if only is None:
            return found
        # What else the database holds is none of ours.
        ours = tuple(d for d in found.differences if d.what != EXTRA or d.name in only)
        moved = tuple(line for line in found.moved if line.split(":")[0].split()[-1] in only)
        return replace(found, differences=ours, moved=moved)

    def _need_comparable(self, context: Context) -> None:
        """Raise CouldNotCheck where a new dump would not read like the old one anyway."""
        with connect(context.config.reading) as server:
            folder = context.config.settings.backup_programs_dir
            program = programs.dump_program(server.version, folder=folder)
        if server.version.series != self.server.series:
            message = (
                f"the backup is of {self.server.series}, the target of {server.version.series}"
            )
            hint = f"compare on a server of {self.server.series}, or look at the data yourself"
            raise CouldNotCheck(message, hint=hint)
        if self.program and program.version != self.program:
            message = f"the backup was made by {self.program!r}, here is {program.version!r}"
            raise CouldNotCheck(message, hint="dumps of different programs cannot be compared")


def open_sql(
    context: Context, name: PayloadName, manifest: Manifest, *, tables: frozenset[str] | None = None
) -> SqlSource:
    """Read and check backup *name*, which *manifest* vouches for, and return it as a source.

    With *tables* it is of those alone; raises SettingsError for one that it does not hold.
    """
    reader = read_verified(context, manifest, keep_text=True)
    header, details = manifest.header, manifest.details
    source = SqlSource(
        name=name,
        database=header.databases[0],
        made_at=header.started_at,
        server=header.server,
        program=details.program if details else "",
        contents=reader.result(),
        texts=tuple(reader.texts),
        fingerprint_key=manifest.data_key,
        database_options=details.database_options if details else None,
        text_losses=details.text_losses if details else (),
        left_out=details.left_out if details else (),
        partial=header.partial,
        open=lambda: payload.open_plain(context.repository.storage, manifest),
    )
    return _only(source, tables) if tables else source


def _only(source: SqlSource, tables: frozenset[str]) -> SqlSource:
    """Return *source* with nothing in it but *tables* and their triggers."""
    contents = source.contents
    sequences = {entry.name for entry in contents.objects if entry.kind is ObjectKind.SEQUENCE}
    unknown = sorted(tables - sequences - {table.name for table in contents.tables})
    if unknown:
        message = f"the backup has no table {unknown[0]} in {source.database}"
        raise SettingsError(message, hint="`ulasis-backup show` lists its tables")
    triggers = {one.name for one in definitions_of(source.texts, tables=tables)}
    objects = tuple(
        entry
        for entry in contents.objects
        if (entry.kind is ObjectKind.SEQUENCE and entry.name in tables)
        or (entry.kind is ObjectKind.TRIGGER and entry.name in triggers)
    )
    kept = tuple(table for table in contents.tables if table.name in tables)
    whole = (Part.HEAD, Part.FOOT)
    return replace(
        source,
        only=tables,
        contents=replace(contents, tables=kept, objects=objects),
        texts=tuple(p for p in source.texts if p.part in whole or _is_of(p, tables)),
        text_losses=tuple(loss for loss in source.text_losses if loss.table in tables),
        left_out=(),
    )


def _is_of(piece: Piece, tables: frozenset[str]) -> bool:
    return piece.part in (Part.TABLE, Part.AFTER_ROWS, Part.SEQUENCE) and piece.name in tables


def _second(moment: str) -> str:
    """Return the second of *moment*, empty where it is none."""
    try:
        return str(int(datetime.fromisoformat(moment).timestamp()))
    except ValueError:
        return ""


def renaming(source: SqlSource, target: str) -> Rename | None:
    """Return how definitions are rewritten for *target*; raises Refused where one cannot be."""
    if target == source.database:
        return None
    known = {table.name for table in source.contents.tables}
    known |= {entry.name for entry in source.contents.objects}
    rename = Rename(old=source.database, new=target, known=frozenset(known))
    for piece in source.texts:
        rewrite_piece(piece, rename)
    return rename


def mentions_in_strings(source: SqlSource) -> tuple[str, ...]:
    """Return the parts of the dump whose strings name the source's schema."""
    return tuple(
        f"{piece.part} {piece.name}".strip()
        for piece in source.texts
        if piece.part in (Part.AFTER_ROWS, Part.EVENTS, Part.ROUTINES, Part.VIEW)
        and names_in_strings(piece.data, source.database)
    )


def _tables_and_views(source: SqlSource) -> Iterator[tuple[str, bytes]]:
    for piece in source.texts:
        if piece.part in (Part.TABLE, Part.VIEW):
            yield "table" if piece.part is Part.TABLE else "view", piece.data


def _undeclared(source: SqlSource) -> Iterator[str]:
    for piece in source.texts:
        if piece.part is Part.ROUTINES:
            for kind, name, text in blocks_of(piece.data):
                if kind is ObjectKind.FUNCTION and not _DECLARED.search(text):
                    yield name
