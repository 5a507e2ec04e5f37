"""Which backups to prove, and keeping what came of it under ``proofs/``."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ulasis_backup import __version__
from ulasis_backup.errors import BackupNotFound, CouldNotCheck, StorageError, UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.context import Context, now, reading, stamp
from ulasis_backup.operations.test_restore import Outcome, ProofRequest, try_restore
from ulasis_backup.repository import proofs
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check, Proof, Standing, standings
from ulasis_backup.repository.repository import Entry, age, listing, trusted

LONGEST_REASON = 1000


def prove(context: Context, name: PayloadName, request: ProofRequest) -> Outcome:
    """Test-restore backup *name* and record what came of it; see ``try_restore``.

    Where it cannot be recorded the result says so in its notes.
    """
    with reading(context, name):
        tested = try_restore(context, name, request)
    if tested.manifest is None:
        return tested
    try:
        proofs.record(context.repository, tested.manifest, _proof(tested))
    except StorageError as error:
        context.observe(Notice(message=f"not recorded: {error.message}", hint=error.hint))
        return replace(tested, notes=(*tested.notes, f"not recorded: {error.message}"))
    return tested


def prove_all(context: Context, request: ProofRequest) -> Iterator[Outcome]:
    """Test-restore every backup, oldest first; a failed one is a result, not an end.

    Files that claim to be backups and cannot be read as such are failures too.
    """
    found = listing(context.repository)
    for entry in found.entries:
        yield prove(context, entry.name, request)
    for oddity in found.oddities:
        if oddity.error is not None:
            yield _unreadable(oddity.name, oddity.error)


def oldest_unproven(context: Context, *, of: Iterable[Entry] | None = None) -> PayloadName:
    """Return the backup whose proof is most wanted: of all series the one proven longest ago.

    Of each series its newest backup that is no safety backup, was never proven and did not fail;
    where all are proven, the one whose proof is oldest. Never proven goes first. Raises
    BackupNotFound where there is none.
    """
    entries = listing(context.repository).entries if of is None else tuple(of)
    usual = [
        entry
        for entry in trusted(entries)
        if entry.problem is None
        and entry.manifest.header.kind is not Kind.SAFETY
        and not entry.manifest.header.partial
    ]
    if not usual:
        message = "there is no backup that could be proven"
        raise BackupNotFound(message, hint="`ulasis-backup backup` makes one")
    found = standings(context.repository, usual)
    return min(usual, key=lambda entry: _wanted(entry, found)).name


def _wanted(entry: Entry, found: Mapping[str, Standing]) -> tuple[str, object]:
    return _proven_at(found[entry.manifest.header.id]), age(entry)


def _proven_at(standing: Standing) -> str:
    """Return when it was proven last, empty for never: what sorts first."""
    proven = standing.verdict in (Verdict.PROVEN, Verdict.FAILED)
    return standing.at if proven and standing.check is Check.TEST_RESTORE else ""


def _proof(tested: Outcome) -> Proof:
    manifest = tested.manifest
    if manifest is None:
        msg = "without a manifest nothing is recorded"
        raise TypeError(msg)
    return Proof(
        backup=manifest.header.id,
        manifest=manifest.digest,
        check=Check.TEST_RESTORE,
        verdict=tested.verdict,
        started_at=stamp(tested.started_at),
        finished_at=stamp(tested.finished_at),
        host=socket.gethostname(),
        tool=f"ulasis-backup {__version__}",
        server=tested.server,
        reason=tested.reason[:LONGEST_REASON],
        phases={name: round(seconds, 3) for name, seconds in tested.phases.items()},
        bytes=tested.bytes,
        notes=(*tested.notes, *map(str, tested.assertions)),
    )


def _unreadable(name: str, error: UlasisError) -> Outcome:
    moment = now()
    unknown = isinstance(error, CouldNotCheck)
    return Outcome(
        name=name,
        verdict=Verdict.COULD_NOT_CHECK if unknown else Verdict.FAILED,
        started_at=moment,
        finished_at=moment,
        reason=error.message,
        problem=error,
    )
