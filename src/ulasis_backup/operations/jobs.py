"""What a run of ``backup`` is about to do, by method: decided before a byte is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ulasis_backup.config import KEY_HINT
from ulasis_backup.errors import SettingsError, UlasisError
from ulasis_backup.events import BytesMoved, Notice
from ulasis_backup.methods.base import Capture
from ulasis_backup.methods.index import Index
from ulasis_backup.methods.look import RowsOptions
from ulasis_backup.methods.rows import RowsCapture, RowsStore, known_objects, plan_rows
from ulasis_backup.methods.sql import SqlCapture, plan_dump
from ulasis_backup.model import Kind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.snapshot import MomentOptions
from ulasis_backup.operations.context import Context, chosen_databases, sql_options
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.repository import repository
from ulasis_backup.repository.manifest import Stages
from ulasis_backup.repository.objects import Epoch, ObjectWriter, new_epoch
from ulasis_backup.repository.repository import Entry
from ulasis_backup.settings import listed
from ulasis_backup.streams.compression import Compression
from ulasis_backup.streams.keys import DataKey

INDEX_LEVEL = 3
"""The zstd level of an index: small tables lie in it, and it is never large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What to back up, and why.

    ``selection`` is what DB_NAME said where that is not the list of databases (``*``). Without
    ``method`` the settings decide.
    """

    databases: tuple[str, ...]
    selection: tuple[str, ...] = ()
    method: str = ""
    kind: Kind = Kind.MANUAL
    note: str = ""
    allow_partial: bool = False
    rows: RowsOptions = field(default_factory=RowsOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A decided run: ``capture`` begins it. ``total`` are roughly its plain bytes.

    With ``counts_itself`` the capture tells of the bytes that it moves; what it yields is less.
    """

    method: str
    stages: Stages
    partial: bool
    total: int
    capture: Callable[[DataKey | None], Capture]
    counts_itself: bool = False


def requests(
    context: Context, *, kind: Kind, note: str, allow_partial: bool
) -> tuple[BackupRequest, ...]:
    """Return the backups that the settings ask for.

    By ``rows`` all databases of DB_NAME are one backup, of one moment; by ``sql`` each is its own.
    """
    config = context.config
    with connect(config.reading) as server:
        databases = chosen_databases(config, server)
    rows = RowsOptions(
        exclude=listed(config.settings.backup_exclude),
        schema_only=listed(config.settings.backup_schema_only),
        accounts=config.settings.backup_accounts,
    )
    if rows.accounts and not config.encrypt:
        message = "accounts hold password hashes, and the backup would not be encrypted"
        raise SettingsError(message, hint=f"{KEY_HINT}; or leave accounts out")
    one = BackupRequest(
        databases=databases,
        selection=config.databases if config.databases == ("*",) else (),
        kind=kind,
        note=note,
        allow_partial=allow_partial,
        rows=rows,
    )
    if config.settings.backup_method == "rows":
        return (one,)
    if rows != RowsOptions():
        message = "only the rows method can leave tables out or keep accounts"
        hint = "use --method rows, or drop --exclude, --schema-only and --accounts"
        raise SettingsError(message, hint=hint)
    return tuple(replace(one, databases=(name,), selection=()) for name in databases)


def prepare(context: Context, request: BackupRequest, server: Server) -> Job:
    """Decide how to make the backup; raises ServerError, SettingsError, and their children."""
    method = request.method or context.config.settings.backup_method
    return (
        _rows_job(context, request, server)
        if method == "rows"
        else _sql_job(context, request, server)
    )


def _sql_job(context: Context, request: BackupRequest, server: Server) -> Job:
    if len(request.databases) != 1:
        message = "an sql backup is of one database"
        raise SettingsError(message, hint="back them up one by one, or with BACKUP_METHOD=rows")
    config = context.config
    (database,) = request.databases
    options = sql_options(config, allow_partial=request.allow_partial)
    plan = plan_dump(server, database, options)
    settings = config.settings
    return Job(
        method="sql",
        stages=Stages(
            compression=settings.backup_compression,
            compression_level=settings.backup_compression_level,
            cipher=settings.backup_encryption_cipher if config.encrypt else None,
        ),
        partial=plan.partial,
        total=schema.size_estimate(server, database),
        capture=lambda data_key: SqlCapture(plan, config.reading, options, data_key),
    )


def _rows_job(context: Context, request: BackupRequest, server: Server) -> Job:
    config = context.config
    settings = config.settings
    plan = plan_rows(
        server,
        request.databases,
        options=request.rows,
        moment=MomentOptions(
            jobs=jobs(context),
            block_ddl=settings.backup_ddl == "block",
            ddl_wait=settings.backup_ddl_wait,
            lock_tables=settings.backup_lock_tables,
            lock_wait=settings.backup_lock_wait,
        ),
        allow_partial=request.allow_partial,
    )

    def capture(data_key: DataKey | None) -> Capture:
        store = _open_store(context, request)
        return RowsCapture(
            plan,
            config.reading,
            store,
            data_key=data_key,
            on_bytes=lambda done: context.observe(BytesMoved(done=done)),
        )

    return Job(
        method="rows",
        stages=Stages(
            compression=Compression.ZSTD,
            compression_level=INDEX_LEVEL,
            cipher=settings.backup_encryption_cipher if config.encrypt else None,
        ),
        partial=plan.partial,
        total=sum(schema.size_estimate(server, database) for database in request.databases),
        capture=capture,
        counts_itself=True,
    )


def jobs(context: Context) -> int:
    """Return how many sessions read or load at once."""
    return context.config.settings.backup_jobs or 2


def _open_store(context: Context, request: BackupRequest) -> RowsStore:
    """Return where rows go: the last backup's epoch and objects, or a new epoch."""
    before = _last_index(context, request)
    epoch = _epoch_of(before) if before else new_epoch(key=context.config.encrypt)
    writer = ObjectWriter(
        context.repository.storage,
        epoch,
        known=known_objects(before) if before else {},
    )
    grace = timedelta(hours=context.config.settings.backup_grace_hours)
    return RowsStore(epoch=epoch, writer=writer, before=before, grace=grace)


def _epoch_of(index: Index) -> Epoch:
    key = bytes.fromhex(index.begin.epoch_key)
    return Epoch(id=index.begin.epoch, key=key or None)


def _last_index(context: Context, request: BackupRequest) -> Index | None:
    """Return the index that the next backup can share with: the newest that can be read."""
    for entry in _candidates(context, request):
        try:
            found = load_index(context, entry.name)
        except UlasisError as error:
            message = f"{entry.name} cannot be read, so nothing is shared with it: {error.message}"
            context.observe(Notice(message=message, hint="`ulasis-backup verify-all` looks closer"))
            continue
        if bool(found.begin.epoch_key) == context.config.encrypt:
            # The rows of small tables are of no use now, and would be held until the end.
            return replace(found, tables=tuple(table.without_data() for table in found.tables))
    return None


def _candidates(context: Context, request: BackupRequest) -> Iterable[Entry]:
    """Yield rows backups of this server, newest first: of the same databases, then of any of them.

    Only such as the configured key vouches for: their keys and boundaries are going to be used.
    """
    entries = repository.listing(context.repository).entries
    name = context.config.server_name
    chosen = request.selection or request.databases
    same = repository.in_series(entries, name, chosen)
    alike = [
        entry
        for entry in sorted(repository.trusted(entries), key=repository.age)
        if entry not in same
        and entry.manifest.details is not None
        and entry.manifest.details.server_name == name
        and set(entry.manifest.header.databases) & set(request.databases)
    ]
    for entry in (*reversed(same), *reversed(alike)):
        if entry.manifest.header.method == "rows" and entry.problem is None:
            yield entry
