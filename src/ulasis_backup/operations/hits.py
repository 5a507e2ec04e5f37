"""Other backups that a lost object hits: they are failed as well, whatever was proven before."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime

from ulasis_backup.errors import BlobMissing, IntegrityError, UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.methods.index import Index
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.indexes import index_of
from ulasis_backup.operations.proving import Finding, record
from ulasis_backup.operations.ranges import RangeReader
from ulasis_backup.repository import proofs, repository
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check


def record_hits(context: Context, found_by: Manifest, lost: AbstractSet[str]) -> None:
    """Record a failure of every other backup that cannot be read without the *lost* objects.

    Each range that needs one of them is read: another object with the same rows may serve, and
    then nothing is recorded. What is not readable otherwise is left to its own verify.
    """
    if not lost:
        return
    for entry in repository.listing(context.repository).entries:
        manifest = entry.manifest
        other = manifest.header.id != found_by.header.id
        if not other or entry.problem or manifest.header.method != "rows":
            continue
        started = now()
        try:
            index = index_of(context, manifest)
        except UlasisError:
            continue
        error = next(_failing(context, index, lost), None)
        if error:
            reason = f"{error.message} (found by the check of {found_by.header.payload})"
            verdict = proofs.verdict_of(error)
            finding = Finding(check=Check.VERIFY, started=started, verdict=verdict, reason=reason)
            record(context, manifest, finding)
            message = f"{entry.name} needs the same object, and is failed too"
            context.observe(Notice(message=message, hint=error.hint))


def record_loss(
    context: Context,
    name: PayloadName,
    error: UlasisError,
    lost: AbstractSet[str],
    *,
    started: datetime,
) -> None:
    """Record the failure of a backup that was read for another end than to check it.

    What was damaged has been set aside: neither it nor others that need the *lost* objects may go
    on to be called good.
    """
    with suppress(UlasisError):
        manifest = repository.load_trusted(context.repository, name)
        verdict = proofs.verdict_of(error)
        found = Finding(check=Check.VERIFY, started=started, verdict=verdict, reason=error.message)
        record(context, manifest, found)
        record_hits(context, manifest, lost)


def _failing(context: Context, index: Index, lost: AbstractSet[str]) -> Iterator[UlasisError]:
    """Yield what keeps a range that needs one of the *lost* objects from being read."""
    reader = RangeReader(context, index)
    for table in index.tables:
        for part in table.ranges:
            if lost.isdisjoint(part.objects):
                continue
            try:
                reader.read(part)
            except (IntegrityError, BlobMissing) as error:
                yield type(error)(f"{'.'.join(table.head.where)}: {error.message}", hint=error.hint)
