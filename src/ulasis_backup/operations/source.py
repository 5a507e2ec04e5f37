"""A backup that is about to be restored: read whole, checked, and ready to be read again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ulasis_backup.errors import AuthenticationFailed, BackupNotFound, CouldNotCheck
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents, read_contents
from ulasis_backup.methods.rewrite import Rename, names_in_strings, rewrite_piece
from ulasis_backup.methods.sections import Part, Piece, split
from ulasis_backup.model import DatabaseOptions, Flavour, LeftOut, ServerVersion, TextLoss
from ulasis_backup.mysql import programs
from ulasis_backup.mysql.server import connect
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.verify import read_verified
from ulasis_backup.repository import names, payload, repository
from ulasis_backup.repository.manifest import Stages
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.compression import SUFFIXES, Compression
from ulasis_backup.streams.encryption import HEADER_BYTES, authenticate
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks, flow

_DATABASE = re.compile(rb"^-- Host: .*?Database: ([^\n]*)$", re.MULTILINE)
_VERSION = re.compile(rb"^-- Server version\t([^\n]+)$", re.MULTILINE)
_PROGRAM = re.compile(rb"^-- (MariaDB|MySQL) dump ([^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked backup. ``texts`` are its definitions, ``open`` reads its plain bytes again."""

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

    @property
    def inexact(self) -> frozenset[str]:
        """Return the names of what the backup has said it does not hold, or not exactly."""
        return frozenset(
            [loss.table for loss in self.text_losses] + [entry.name for entry in self.left_out]
        )

    def need_whole(self) -> None:
        """Raise CouldNotCheck for a partial backup: nobody knows what it lacks."""
        if self.partial:
            message = "the backup is partial: it was made without all rights"
            raise CouldNotCheck(message, hint="make a whole one; `check` prints the missing GRANT")

    def need_comparable(self, context: Context) -> None:
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


def open_source(
    context: Context, name: PayloadName, *, allow_unauthenticated: bool = False
) -> Source:
    """Read and check backup *name* and return it as a source."""
    manifest, reader = read_verified(
        context, name, allow_unauthenticated=allow_unauthenticated, keep_text=True
    )
    header, details = manifest.header, manifest.details
    return Source(
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


def open_orphan(
    context: Context, name: PayloadName, *, allow_unauthenticated: bool = False
) -> Source:
    """Read a payload whose manifest is lost: by its header, its spare key, and its end mark.

    Raises AuthenticationFailed for one that is not encrypted while a key is configured, unless
    *allow_unauthenticated*: nothing vouches for it.
    """
    storage = context.repository.storage
    if storage.stat(str(name)) is None:
        hint = "`ulasis-backup list` shows what is there"
        raise BackupNotFound(f"there is no payload {name}", hint=hint)
    context.observe(PhaseBegan(name="read", subject=str(name)))
    opened = _orphan_opener(context, name, allow_unauthenticated=allow_unauthenticated)
    reader = read_contents(split(opened()), None, keep_text=True)
    contents = reader.result()
    head = next(piece.data for piece in reader.texts if piece.part is Part.HEAD)
    context.observe(PhaseEnded(name="read"))
    return Source(
        name=name,
        database=_database(head) or names.prefix_of(name.backup_id),
        made_at="unknown (no manifest)",
        server=_server(head),
        program="",
        contents=contents,
        texts=tuple(reader.texts),
        fingerprint_key=None,
        database_options=None,
        text_losses=(),
        left_out=(),
        partial=False,
        open=opened,
    )


def renaming(source: Source, target: str) -> Rename | None:
    """Return how definitions are rewritten for *target*; raises Refused where one cannot be."""
    if target == source.database:
        return None
    known = {table.name for table in source.contents.tables}
    known |= {entry.name for entry in source.contents.objects}
    rename = Rename(old=source.database, new=target, known=frozenset(known))
    for piece in source.texts:
        rewrite_piece(piece, rename)
    return rename


def mentions_in_strings(source: Source) -> tuple[str, ...]:
    """Return the parts of the dump whose strings name the source's schema."""
    return tuple(
        f"{piece.part} {piece.name}".strip()
        for piece in source.texts
        if piece.part in (Part.AFTER_ROWS, Part.EVENTS, Part.ROUTINES, Part.VIEW)
        and names_in_strings(piece.data, source.database)
    )


def _orphan_opener(
    context: Context, name: PayloadName, *, allow_unauthenticated: bool
) -> Callable[[], Chunks]:
    storage = context.repository.storage
    compression = _compression(name)
    if not name.suffix.endswith(".enc"):
        if context.repository.key and not allow_unauthenticated:
            message = f"{name} is not encrypted and has no manifest: nothing vouches for it"
            hint = "if you know it to be good, use --allow-unauthenticated"
            raise AuthenticationFailed(message, hint=hint)
        context.observe(Notice(message=f"{name}: nothing vouches for this payload"))
        stages = Stages(compression=compression, compression_level=1)
        return lambda: flow(storage.open(str(name)), *payload.reading_stages(stages, None))
    cipher, backup_id = payload.orphan_cipher(storage, str(name), HEADER_BYTES)
    if backup_id != name.backup_id:
        message = f"the payload {name} belongs to {backup_id}"
        raise AuthenticationFailed(message, hint="give the file its own name back")
    key = repository.orphan_key(context.repository, backup_id)
    authenticate(cipher, key, storage.open(str(name)))
    stages = Stages(compression=compression, compression_level=1, cipher=cipher)
    return lambda: flow(storage.open(str(name)), *payload.reading_stages(stages, key))


def _compression(name: PayloadName) -> Compression:
    plain = name.suffix.removesuffix(".enc")
    for compression, suffix in SUFFIXES.items():
        if suffix and plain.endswith(suffix):
            return compression
    return Compression.NONE


def _database(head: bytes) -> str:
    match = _DATABASE.search(head)
    return match[1].decode("utf-8", "replace").strip() if match else ""


def _server(head: bytes) -> ServerVersion:
    version, program = _VERSION.search(head), _PROGRAM.search(head)
    mariadb = program is not None and program[1] == b"MariaDB"
    return ServerVersion(
        flavour=Flavour.MARIADB if mariadb else Flavour.MYSQL,
        version=version[1].decode("utf-8", "replace") if version else "0",
    )
