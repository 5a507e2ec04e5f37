"""A dump whose manifest is lost: opened by its header, its spare key and its end mark."""

from __future__ import annotations

import re
from collections.abc import Callable

from ulasis_backup.errors import (
    AuthenticationFailed,
    BackupNotFound,
    SettingsError,
)
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import read_contents
from ulasis_backup.methods.sections import Part, split
from ulasis_backup.model import (
    Flavour,
    ServerVersion,
)
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.sql_source import SqlSource
from ulasis_backup.repository import names, payload, repository
from ulasis_backup.repository.manifest import Stages
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.compression import SUFFIXES, Compression
from ulasis_backup.streams.encryption import HEADER_BYTES, authenticate
from ulasis_backup.streams.pipeline import Chunks, flow

_DATABASE = re.compile(rb"^-- Host: .*?Database: ([^\n]*)$", re.MULTILINE)


_VERSION = re.compile(rb"^-- Server version\t([^\n]+)$", re.MULTILINE)


_PROGRAM = re.compile(rb"^-- (MariaDB|MySQL) dump ([^\n]*)$", re.MULTILINE)


def open_orphan(
    context: Context, name: PayloadName, *, allow_unauthenticated: bool = False
) -> SqlSource:
    """Read a payload whose manifest is lost: by its header, its spare key, and its end mark.

    Raises AuthenticationFailed for one that is not encrypted while a key is configured, unless
    *allow_unauthenticated*: nothing vouches for it; SettingsError for one that is no dump.
    """
    if not name.suffix.startswith(".sql"):
        message = f"{name} is no dump: of the rows method nothing opens without its manifest"
        raise SettingsError(message, hint=f"look for a copy of {name.manifest}")
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
    return SqlSource(
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
