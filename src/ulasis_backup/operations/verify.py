"""``verify``: find out whether every stored byte is authentic and what it holds is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ulasis_backup.errors import (
    BackupNotFound,
    BlobMissing,
    IntegrityError,
    StorageError,
    UlasisError,
)
from ulasis_backup.events import BytesMoved, Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents, ContentsReader, read_contents
from ulasis_backup.methods.sections import split
from ulasis_backup.model import Verdict
from ulasis_backup.operations.compare import where_not
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.hits import record_hits
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.proving import Finding, record
from ulasis_backup.operations.ranges import RangeReader, Seen, check_all
from ulasis_backup.repository import payload, proofs, repository
from ulasis_backup.repository.canonical import HINT
from ulasis_backup.repository.manifest import Details, Manifest, details_of
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check
from ulasis_backup.streams.pipeline import Chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found out about a backup.

    ``problem`` is None where it is good. ``recorded`` tells that a proof was written. ``bytes`` are
    plain bytes. ``earlier`` is when it was found out, where an interrupted round had come so far.
    ``warnings`` want to be acted upon, ``notes`` are worth knowing.
    """

    name: str
    verdict: Verdict
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: UlasisError | None = None
    seconds: float = 0.0
    bytes: int = 0
    recorded: bool = False
    earlier: str = ""


def verify(
    context: Context,
    name: PayloadName,
    *,
    allow_unauthenticated: bool = False,
    seen: Seen | None = None,
    round_: str = "",
    others: bool = True,
) -> Verification:
    """Check the stored bytes and the structure of one backup, and record the verdict.

    Of a dump in two passes: first every stored byte is authenticated, then the payload is
    decrypted, decompressed and read as a dump, and compared with the manifest. Of rows the index,
    and then every object that it needs; those in *seen* are not read again. A lost object is told
    of *others* that need it, unless they are going to be read themselves. Raises IntegrityError
    and its children, BackupNotFound, BlobMissing; what was found is recorded all the same.
    """
    started = now()
    manifest = repository.load_trusted(
        context.repository, name, allow_unauthenticated=allow_unauthenticated
    )
    finding = Finding(check=Check.VERIFY, started=started, round=round_)
    try:
        _read(context, manifest, seen or Seen(), others=others)
    except UlasisError as error:
        _refuse_removed(context, name)
        failed = replace(finding, verdict=proofs.verdict_of(error), reason=error.message)
        _, problem = record(context, manifest, failed)
        if problem:
            context.observe(Notice(message=problem.message, hint=problem.hint))
        raise
    details = details_of(manifest)
    verdict = Verdict.INTACT if manifest.signed else Verdict.INTACT_UNSIGNED
    seconds = (now() - started).total_seconds()
    found = replace(finding, verdict=verdict, bytes=details.plain.bytes, phases={"read": seconds})
    recorded, problem = record(context, manifest, found)
    warnings = [*_key_copy(context, name, manifest), *([problem.message] if problem else [])]
    return Verification(
        name=str(name), verdict=verdict, manifest=manifest, notes=tuple(_notes(manifest)),
        warnings=tuple(warnings), seconds=seconds, bytes=details.plain.bytes, recorded=recorded,
    )  # fmt: skip


def _read(context: Context, manifest: Manifest, seen: Seen, *, others: bool) -> None:
    if manifest.header.method == "rows":
        _check_rows(context, manifest, seen, others=others)
    else:
        read_verified(context, manifest)


def _refuse_removed(context: Context, name: PayloadName) -> None:
    """Raise BackupNotFound where the backup went while it was read: then nothing is wrong."""
    if context.repository.storage.stat(name.manifest) is None:
        message = f"{name} was removed while it was verified"
        raise BackupNotFound(message, hint="`ulasis-backup list` shows the backups that there are")


def _key_copy(context: Context, name: PayloadName, manifest: Manifest) -> Iterator[str]:
    """Mend the spare key copy of a backup that is good; yield what was wrong with it.

    Its manifest, which holds the same keys, is authentic, so nothing is lost yet: but the day the
    manifest is lost, the backup would be.
    """
    wrong = repository.check_key_copy(context.repository, manifest, name)
    if not wrong:
        return
    try:
        repository.mend_key_copy(context.repository, manifest, name)
        yield f"the spare key copy was unusable and has been written anew: {wrong}"
    except StorageError as error:
        yield f"the spare key copy is unusable, and could not be mended ({error.message}): {wrong}"


def _notes(manifest: Manifest) -> Iterator[str]:
    """Yield what is to be known of an intact backup: what it never held."""
    if manifest.header.partial:
        yield "PARTIAL: it was made without all rights, objects may be missing in it"
    for entry in details_of(manifest).left_out:
        yield f"left out: {entry.kind} {entry.name}: {entry.reason}"


def _check_rows(context: Context, manifest: Manifest, seen: Seen, *, others: bool) -> None:
    """Read index and objects; what is damaged is set aside, so that the next backup mends it.

    With *others* a failure is recorded of every other backup, too, that a lost object hits.
    """
    name = manifest.header.payload
    index = index_of(context, manifest)
    total = sum(table.bytes for table in index.tables)
    context.observe(PhaseBegan(name="read", subject=name, total=total, exact=True))
    reader = RangeReader(context, index)
    try:
        check_all(context, reader, index.tables, seen=seen)
    except (IntegrityError, BlobMissing):
        if others:
            record_hits(context, manifest, reader.lost)
        raise
    context.observe(PhaseEnded(name="read"))


def read_verified(
    context: Context, manifest: Manifest, *, keep_text: bool = False
) -> ContentsReader:
    """Read a whole dump that *manifest*, a trusted one, describes, and return what was read.

    Raises IntegrityError and its children, BlobMissing.
    """
    name = manifest.header.payload
    stored = manifest.header.stored.bytes
    context.observe(PhaseBegan(name="authenticate", subject=name, total=stored, exact=True))
    payload.check_stored(
        context.repository.storage,
        manifest,
        on_bytes=lambda done: context.observe(BytesMoved(done=done)),
    )
    context.observe(PhaseEnded(name="authenticate"))
    details = details_of(manifest)
    total = details.plain.bytes
    context.observe(PhaseBegan(name="read", subject=name, total=total, exact=True))
    plain = payload.open_plain(context.repository.storage, manifest)
    pieces = split(_counted(context, plain))
    reader = read_contents(pieces, manifest.data_key, keep_text=keep_text)
    _expect_equal(manifest, details, reader.result())
    context.observe(PhaseEnded(name="read"))
    return reader


def _counted(context: Context, chunks: Chunks) -> Chunks:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        context.observe(BytesMoved(done=done))
        yield chunk


def _expect_equal(manifest: Manifest, details: Details, contents: Contents) -> None:
    same = (
        contents.plain == details.plain
        and contents.tables == details.tables
        and contents.objects == details.objects
    )
    if not same:
        where = where_not(details, contents)
        message = f"{manifest.header.payload} does not hold what its manifest says{where}"
        raise IntegrityError(message, hint=HINT)
