"""``backup``: read one database at one moment, store it, and let the backup exist, last."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime

from ulasis_backup import __version__
from ulasis_backup.errors import NameTaken, SettingsError, StorageError
from ulasis_backup.events import BytesMoved, Notice, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.methods import load
from ulasis_backup.methods.base import Captured
from ulasis_backup.methods.sql import SqlCapture, plan_dump
from ulasis_backup.model import DatabaseOptions, Kind, Size
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.server import Server, connect, locked, server_id
from ulasis_backup.operations.context import Context, now, sql_options, stamp
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository import names, payload, repository
from ulasis_backup.repository.manifest import Details, Header, Manifest, Stages
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.keys import DataKey, new_data_key, wrap
from ulasis_backup.streams.pipeline import Chunks, Meter, flow, threads


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What to back up, and why."""

    database: str
    kind: Kind = Kind.MANUAL
    note: str = ""
    allow_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBackup:
    """A backup that exists now."""

    name: PayloadName
    manifest: Manifest
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run, from its plan to its manifest."""

    name: PayloadName
    stages: Stages
    data_key: DataKey | None
    started_at: datetime


def back_up(context: Context, request: BackupRequest) -> MadeBackup:
    """Back up one database; when this returns, the backup is complete, durable and listed.

    Raises ServerError, StorageError, RepositoryError and their children; then nothing is listed
    that was not before. Raises Busy while another run works on the database.
    """
    with connect(context.config.reading) as server, locked(server, request.database):
        return back_up_locked(context, request, server)


def back_up_locked(context: Context, request: BackupRequest, server: Server) -> MadeBackup:
    """Back up one database whose name lock the caller holds on *server* or elsewhere."""
    started_at = now()
    options = sql_options(context.config, allow_partial=request.allow_partial)
    plan = plan_dump(server, request.database, options)
    repository.ensure(context.repository)
    run = _begin(context, request, started_at)
    capture = SqlCapture(plan, context.config.reading, options, run.data_key)
    mine = False
    total = schema.size_estimate(server, request.database)
    context.observe(PhaseBegan(name="backup", subject=request.database, total=total))
    try:
        stored = _store(context, run, capture.chunks())
        mine = True
        captured = capture.captured()
        details = _details(context, server, request.database, captured)
        header = _header(context, request, run, server=server, stored=stored, partial=plan.partial)
        written = _commit(context, run, header, details)
    except BaseException as error:
        # A name that was taken before we stored anything is somebody else's blob.
        if mine or not isinstance(error, NameTaken):
            _remove(context, run)
        raise
    seconds = (now() - started_at).total_seconds()
    _tell(context, run, captured, stored=stored, seconds=seconds)
    return MadeBackup(name=run.name, manifest=written, seconds=seconds)


def _begin(context: Context, request: BackupRequest, started_at: datetime) -> _Run:
    config = context.config
    settings = config.settings
    if any(not text.isprintable() for text in (request.note, config.server_name)):
        message = "the note and BACKUP_SERVER_NAME may hold printable characters only"
        raise SettingsError(message, hint="leave out line ends and bytes that are not UTF-8")
    if config.key is None and settings.backup_encryption_enabled is None:
        _expect_no_key(context)
    prefix = settings.backup_name or request.database
    backup_id = names.new_backup_id(prefix, started_at)
    stages = Stages(
        compression=settings.backup_compression,
        compression_level=settings.backup_compression_level,
        cipher=settings.backup_encryption_cipher if config.encrypt else None,
    )
    return _Run(
        name=PayloadName(
            backup_id=backup_id, suffix=payload.suffix_of(settings.backup_method, stages)
        ),
        stages=stages,
        data_key=new_data_key(backup_id) if context.repository.key else None,
        started_at=started_at,
    )


def _expect_no_key(context: Context) -> None:
    """Raise SettingsError if the repository was used with a key: the setting got lost, likely."""
    entries = repository.listing(context.repository).entries
    signed = [entry for entry in entries if entry.manifest.signed]
    if signed:
        message = f"there is no key, but {signed[-1].name} was made with one"
        hint = "set BACKUP_ENCRYPTION_KEY; or, to go on without, BACKUP_ENCRYPTION_ENABLED=false"
        raise SettingsError(message, hint=hint)


def _store(context: Context, run: _Run, chunks: Chunks) -> Size:
    """Send the plain bytes through the stages into the storage."""
    settings = context.config.settings
    stored = Meter()
    stages = payload.writing_stages(
        run.stages,
        threads=threads(settings.backup_compression_threads),
        data_key=run.data_key,
    )
    # Closed at once when storing fails: the dump program and our locks must not linger.
    with contextlib.closing(_counted(chunks, context.observe)) as plain:
        context.repository.storage.put(str(run.name), flow(plain, *stages, stored))
    return stored.result


def _counted(chunks: Chunks, observe: Observe) -> Generator[bytes, None, None]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        observe(BytesMoved(done=done))
        yield chunk


def _details(context: Context, server: Server, database: str, captured: Captured) -> Details:
    options = schema.database_options(server, database)
    return Details(
        server_name=context.config.server_name,
        host=str(server.value("SELECT @@hostname")),
        server_id=server_id(server),
        program=captured.program,
        plain=captured.plain,
        tables=captured.tables,
        objects=captured.objects,
        database_options=options or DatabaseOptions(character_set="utf8mb4", collation=""),
        position=captured.position,
        left_out=captured.left_out,
        text_losses=captured.text_losses,
        fallbacks=captured.fallbacks,
        warnings=captured.warnings,
    )


def _header(
    context: Context,
    request: BackupRequest,
    run: _Run,
    *,
    server: Server,
    stored: Size,
    partial: bool,
) -> Header:
    databases = (request.database,)
    entries = repository.listing(context.repository).entries
    series = repository.series_of(entries, context.config.server_name, databases)
    return Header(
        format=manifests.FORMAT,
        id=run.name.backup_id,
        payload=str(run.name),
        series=series.id,
        sequence=series.sequence,
        previous=series.previous,
        databases=databases,
        method=context.config.settings.backup_method,
        kind=request.kind,
        partial=partial,
        started_at=stamp(run.started_at),
        finished_at=stamp(now()),
        tool=f"ulasis-backup {__version__}",
        server=server.version,
        stages=run.stages,
        stored=stored,
        note=request.note,
    )


def _commit(context: Context, run: _Run, header: Header, details: Details) -> Manifest:
    """Write the spare key copy, then the manifest: from here on the backup exists."""
    key = context.repository.key
    keys = (wrap(run.data_key, key),) if run.data_key and key else ()
    written = manifests.serialise(header, details, keys=keys, data_key=run.data_key)
    # What we cannot read ourselves must not come to exist.
    manifest = manifests.parse(written, name=run.name.manifest, key=key)
    copy = repository.key_copy(keys, run.data_key) if run.data_key else None
    repository.commit(context.repository, run.name, written, copy)
    return manifest


def _remove(context: Context, run: _Run) -> None:
    """Take a payload away that got no manifest, as far as the storage still lets us."""
    storage = context.repository.storage
    with contextlib.suppress(StorageError):
        if storage.stat(run.name.manifest) is None:
            storage.delete(str(run.name))
            storage.delete(run.name.key_copy)


def _tell(context: Context, run: _Run, captured: Captured, *, stored: Size, seconds: float) -> None:
    for loss in captured.text_losses:
        context.observe(
            Notice(
                message=f"lost by the dump program's text: {load.describe(loss)}",
                hint="see docs/format.md, What text loses, for what to do",
            )
        )
    for entry in captured.left_out:
        context.observe(
            Notice(
                message=f"left out: {entry.kind} {entry.name}: {entry.reason}",
                hint="mend or drop it; its definition is kept, see `show`",
            )
        )
    for text in (*captured.fallbacks, *captured.warnings):
        context.observe(Notice(message=text))
    facts: tuple[tuple[str, str | int | float], ...] = (
        ("backup", str(run.name)),
        ("plain_bytes", captured.plain.bytes),
        ("stored_bytes", stored.bytes),
        ("tables", len(captured.tables)),
        ("seconds", round(seconds, 2)),
    )
    context.observe(PhaseEnded(name="backup", facts=facts))
