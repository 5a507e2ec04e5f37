"""``backup``: read databases at one moment, store them, and let the backup exist, last."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime

from ulasis_backup import __version__
from ulasis_backup.errors import NameTaken, SettingsError, StorageError, SwapIncomplete
from ulasis_backup.events import BytesMoved, Notice, Observe, PhaseBegan, PhaseEnded, ignore
from ulasis_backup.methods import load
from ulasis_backup.methods.base import Captured
from ulasis_backup.model import DatabaseOptions, Kind, Size
from ulasis_backup.mysql import schema, swap
from ulasis_backup.mysql.server import Server, connect, locked, server_id
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.operations.jobs import BackupRequest, Job, prepare
from ulasis_backup.operations.leftovers import need_whole, refuse_half_loaded
from ulasis_backup.operations.recorded import recorded
from ulasis_backup.operations.same_place import expect_same, remember
from ulasis_backup.operations.space import expect_room
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository import names, payload, repository
from ulasis_backup.repository.manifest import Details, Header, Manifest, Stages
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.keys import DataKey, new_data_key, wrap
from ulasis_backup.streams.pipeline import Chunks, Meter, flow, threads

LOST_BY = {"sql": "the dump program's text", "rows": "rows as text"}
LONGEST_PREFIX = 60
"""Characters: where the names of several databases are longer the first one stands for them."""


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
    method: str
    stages: Stages
    data_key: DataKey | None
    started_at: datetime


def back_up(context: Context, request: BackupRequest) -> MadeBackup:
    """Make one backup; when this returns, it is complete, durable and listed.

    Raises ServerError, StorageError, RepositoryError and their children; then nothing is listed
    that was not before, and the failure is recorded, so that nothing is pruned. Raises Busy while
    another run works on one of the databases, StorageFull where there is no room, before it begins,
    Refused where the repository is not the one that was there before.
    """
    expect_same(context)

    def make() -> MadeBackup:
        need_whole(context, request.databases)
        expect_room(context, request)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(connect(context.config.reading))
            for database in sorted(request.databases):
                stack.enter_context(locked(server, database))
            return back_up_locked(context, request, server)

    return recorded(context, request.selection or request.databases, make)


def back_up_locked(context: Context, request: BackupRequest, server: Server) -> MadeBackup:
    """Back up databases whose name locks the caller holds on *server* or elsewhere."""
    started_at = now()
    _refuse_halves(context, server, request)
    job = prepare(context, request, server)
    repository.ensure(context.repository)
    remember(context)
    run = _begin(context, request, job, started_at=started_at)
    capture = job.capture(run.data_key)
    mine = False
    subject = ", ".join(request.databases)
    context.observe(PhaseBegan(name="backup", subject=subject, total=job.total))
    try:
        stored = _store(context, run, capture.chunks(), counts_itself=job.counts_itself)
        mine = True
        captured = capture.captured()
        details = _details(context, server, request, captured)
        header = _header(context, request, run, server=server, stored=stored, partial=job.partial)
        written = _commit(context, run, header, details)
    except BaseException as error:
        # A name that was taken before we stored anything is somebody else's blob.
        if mine or not isinstance(error, NameTaken):
            _remove(context, run)
        raise
    seconds = (now() - started_at).total_seconds()
    _tell(context, run, captured, stored=stored, seconds=seconds, digest=written.digest)
    return MadeBackup(name=run.name, manifest=written, seconds=seconds)


def _refuse_halves(context: Context, server: Server, request: BackupRequest) -> None:
    for database in request.databases:
        if swap.incomplete(server, database):
            message = f"swap incomplete: {database} is between its old and its new state"
            raise SwapIncomplete(message, hint="`ulasis-backup settle` finishes it; then again")
        # What a safety backup keeps of a half-loaded one may be the only copy of something.
        if request.kind is not Kind.SAFETY:
            refuse_half_loaded(context, server, database, held=True)


def _begin(context: Context, request: BackupRequest, job: Job, *, started_at: datetime) -> _Run:
    config = context.config
    settings = config.settings
    if any(not text.isprintable() for text in (request.note, config.server_name)):
        message = "the note and BACKUP_SERVER_NAME may hold printable characters only"
        raise SettingsError(message, hint="leave out line ends and bytes that are not UTF-8")
    if config.key is None and settings.backup_encryption_enabled is None:
        _expect_no_key(context)
    prefix = settings.backup_name or _prefix(request)
    backup_id = names.new_backup_id(prefix, started_at)
    return _Run(
        name=PayloadName(backup_id=backup_id, suffix=payload.suffix_of(job.method, job.stages)),
        method=job.method,
        stages=job.stages,
        data_key=new_data_key(backup_id) if context.repository.key else None,
        started_at=started_at,
    )


def _prefix(request: BackupRequest) -> str:
    """Return what a backup without BACKUP_NAME is called: by its databases."""
    if request.selection == ("*",):
        return "all"
    joined = "+".join(request.databases)
    first, more = request.databases[0], len(request.databases) - 1
    return joined if len(joined) <= LONGEST_PREFIX or not more else f"{first}+{more}"


def _expect_no_key(context: Context) -> None:
    """Raise SettingsError if the repository was used with a key: the setting got lost, likely."""
    entries = repository.listing(context.repository).entries
    signed = [entry for entry in entries if entry.manifest.signed]
    if signed:
        message = f"there is no key, but {signed[-1].name} was made with one"
        hint = "set BACKUP_ENCRYPTION_KEY; or, to go on without, BACKUP_ENCRYPTION_ENABLED=false"
        raise SettingsError(message, hint=hint)


def _store(context: Context, run: _Run, chunks: Chunks, *, counts_itself: bool) -> Size:
    """Send the plain bytes through the stages into the storage."""
    settings = context.config.settings
    stored = Meter()
    stages = payload.writing_stages(
        run.stages,
        threads=threads(settings.backup_compression_threads),
        data_key=run.data_key,
    )
    observe = ignore if counts_itself else context.observe
    # Closed at once when storing fails: the dump program and our locks must not linger.
    with contextlib.closing(_counted(chunks, observe)) as plain:
        context.repository.storage.put(str(run.name), flow(plain, *stages, stored))
    return stored.result


def _counted(chunks: Chunks, observe: Observe) -> Generator[bytes, None, None]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        observe(BytesMoved(done=done))
        yield chunk


def _details(
    context: Context, server: Server, request: BackupRequest, captured: Captured
) -> Details:
    options = schema.database_options(server, request.databases[0])
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
        selection=request.selection,
        shared=captured.shared,
        witness=captured.witness,
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
    entries = repository.listing(context.repository).entries
    chosen = request.selection or request.databases
    series = repository.series_of(entries, context.config.server_name, chosen)
    return Header(
        format=manifests.FORMAT,
        id=run.name.backup_id,
        payload=str(run.name),
        series=series.id,
        sequence=series.sequence,
        previous=series.previous,
        databases=request.databases,
        method=run.method,
        kind=request.kind,
        partial=partial,
        started_at=stamp(run.started_at),
        finished_at=stamp(now()),
        tool=f"ulasis-backup {__version__}",
        server=server.version,
        stages=run.stages,
        stored=stored,
        note=request.note,
        audit=context.anchor(),
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


def _tell(
    context: Context, run: _Run, captured: Captured, *, stored: Size, seconds: float, digest: str
) -> None:
    for loss in captured.text_losses:
        context.observe(
            Notice(
                message=f"lost by {LOST_BY[run.method]}: {load.describe(loss)}",
                hint="see docs/format.md, What text loses, for what to do",
            )
        )
    for entry in (entry for entry in captured.left_out if not entry.asked):
        context.observe(
            Notice(
                message=f"left out: {entry.kind} {entry.name}: {entry.reason}",
                hint="mend or drop it; its definition is kept, see `show`",
            )
        )
    for text in (*captured.fallbacks, *captured.warnings):
        if text not in captured.known:
            context.observe(Notice(message=text))
    facts: tuple[tuple[str, str | int | float], ...] = (
        ("backup", str(run.name)),
        ("plain_bytes", captured.plain.bytes),
        ("stored_bytes", stored.bytes + (captured.shared.new_bytes if captured.shared else 0)),
        ("tables", len(captured.tables)),
        ("seconds", round(seconds, 2)),
        # Whoever keeps the log elsewhere can tell this backup from one that is signed anew.
        ("manifest", digest),
    )
    context.observe(PhaseEnded(name="backup", facts=facts))
