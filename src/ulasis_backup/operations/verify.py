"""``verify``: find out whether every stored byte is authentic and what it holds is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ulasis_backup.errors import (
    CouldNotCheck,
    IntegrityError,
    StorageDenied,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents, ContentsReader, read_contents
from ulasis_backup.methods.sections import split
from ulasis_backup.model import Verdict
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.ranges import RangeReader, Seen, check_all
from ulasis_backup.repository import payload, repository
from ulasis_backup.repository.canonical import HINT
from ulasis_backup.repository.manifest import Details, Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.streams.pipeline import Chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found out about a backup. ``problem`` is None unless the verdict is failed."""

    name: str
    verdict: Verdict
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()
    problem: UlasisError | None = None
    seconds: float = 0.0


def verify(
    context: Context,
    name: PayloadName,
    *,
    allow_unauthenticated: bool = False,
    seen: Seen | None = None,
) -> Verification:
    """Check the stored bytes and the structure of one backup.

    Of a dump in two passes: first every stored byte is authenticated, then the payload is
    decrypted, decompressed and read as a dump, and compared with the manifest. Of rows the index,
    and then every object that it needs; those in *seen* are not read again. Raises IntegrityError
    and its children, BackupNotFound, BlobMissing.
    """
    started = now()
    manifest = repository.load_trusted(
        context.repository, name, allow_unauthenticated=allow_unauthenticated
    )
    if manifest.header.method == "rows":
        _check_rows(context, manifest, seen or Seen())
    else:
        read_verified(context, manifest)
    return Verification(
        name=str(name),
        verdict=Verdict.INTACT if manifest.signed else Verdict.INTACT_UNSIGNED,
        manifest=manifest,
        notes=tuple(_notes(context, name, manifest)),
        seconds=(now() - started).total_seconds(),
    )


def _notes(context: Context, name: PayloadName, manifest: Manifest) -> Iterator[str]:
    """Yield what is to be known of an intact backup: what it never held, a key copy gone wrong."""
    wrong_copy = repository.check_key_copy(context.repository, manifest, name)
    if wrong_copy:
        yield f"the spare key copy is unusable: {wrong_copy}"
    if manifest.header.partial:
        yield "PARTIAL: it was made without all rights, objects may be missing in it"
    for entry in _need_details(manifest).left_out:
        yield f"left out: {entry.kind} {entry.name}: {entry.reason}"


def verify_all(context: Context) -> Iterator[Verification]:
    """Check every backup of the repository; a failed one is a result, not an end.

    An object that several backups share is read once. Files that claim to be backups and cannot
    be read as such are failures too.
    """
    listing = repository.listing(context.repository)
    seen = Seen()
    for entry in listing.entries:
        try:
            yield verify(context, entry.name, seen=seen)
        except UlasisError as error:
            yield _failed(str(entry.name), error)
    for oddity in listing.oddities:
        if oddity.error is not None:
            yield _failed(oddity.name, oddity.error)


def _check_rows(context: Context, manifest: Manifest, seen: Seen) -> None:
    """Read index and objects; what is damaged is set aside, so that the next backup mends it."""
    name = manifest.header.payload
    index = index_of(context, manifest)
    total = sum(table.bytes for table in index.tables)
    context.observe(PhaseBegan(name="read", subject=name, total=total, exact=True))
    reader = RangeReader(context, index)
    check_all(context, reader, index.tables, seen=seen)
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
    details = _need_details(manifest)
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


def _need_details(manifest: Manifest) -> Details:
    if manifest.details is None:
        msg = "a trusted manifest has details"
        raise TypeError(msg)
    return manifest.details


def _expect_equal(manifest: Manifest, details: Details, contents: Contents) -> None:
    same = (
        contents.plain == details.plain
        and contents.tables == details.tables
        and contents.objects == details.objects
    )
    if not same:
        message = f"{manifest.header.payload} does not hold what its manifest says"
        raise IntegrityError(message, hint=HINT)


def _failed(name: str, error: UlasisError) -> Verification:
    """Return a verdict for *error*: without key or rights nothing is known of the backup."""
    unknown = isinstance(error, WrongKey | StorageDenied | UnknownFormat | CouldNotCheck)
    verdict = Verdict.COULD_NOT_CHECK if unknown else Verdict.FAILED
    return Verification(name=name, verdict=verdict, problem=error)
