"""Which backups to prove, and keeping what came of it under ``proofs/``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ulasis_backup.errors import BackupNotFound, Busy, UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.context import Context, now, reading
from ulasis_backup.operations.hits import record_hits
from ulasis_backup.operations.meant import meant
from ulasis_backup.operations.proving import Finding, record
from ulasis_backup.operations.test_restore import Outcome, ProofRequest, try_restore
from ulasis_backup.repository import proofs
from ulasis_backup.repository.find import LATEST, find
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Check, Standing, standings
from ulasis_backup.repository.repository import Entry, age, listing, trusted


def prove(context: Context, name: PayloadName, request: ProofRequest) -> Outcome:
    """Test-restore backup *name* and record what came of it; see ``try_restore``.

    Where it cannot be recorded the result says so in its notes.
    """
    with reading(context, name):
        tested = try_restore(context, name, request)
    if tested.manifest is None:
        return tested
    if tested.problem:
        # No other backup has them any more, whatever was proven before.
        record_hits(context, tested.manifest, tested.lost)
    recorded, problem = record(context, tested.manifest, _finding(tested))
    if recorded:
        return tested
    note = problem.message if problem else "not recorded: nobody vouches for an unsigned backup"
    if problem:
        context.observe(Notice(message=problem.message, hint=problem.hint))
    return replace(tested, notes=(*tested.notes, note))


def prove_all(context: Context, request: ProofRequest) -> Iterator[Outcome]:
    """Test-restore every backup, oldest first; a failed one is a result, not an end.

    Files that claim to be backups and cannot be read as such are failures too.
    """
    found = listing(context.repository)
    for entry in found.entries:
        try:
            yield prove(context, entry.name, request)
        except Busy as error:
            # A prune is removing it.
            yield _untried(str(entry.name), error, Verdict.COULD_NOT_CHECK)
    for oddity in found.oddities:
        if oddity.error is not None:
            yield _untried(oddity.name, oddity.error, proofs.verdict_of(oddity.error))


def oldest_unproven(context: Context, *, of: Iterable[Entry] | None = None) -> PayloadName:
    """Return the backup whose proof is most wanted, of all series in the repository.

    The oldest on which no test restore was ever tried, else the one on which it was tried longest
    ago, whatever came of it: one that cannot be checked here must not keep all others from being
    proven. Safety backups and partial ones aside. Raises BackupNotFound where there is none.
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
    # Empty for never sorts first.
    return found[entry.manifest.header.id].tried_at, age(entry)


def newest(context: Context) -> tuple[PayloadName, ...]:
    """Return the newest backup of each series that the settings ask for; raises BackupNotFound."""
    config, repository = context.config, context.repository
    return tuple(
        find(repository, LATEST, server_name=config.server_name, databases=databases)
        for databases in meant(config, listing(repository).entries)
    )


def _finding(tested: Outcome) -> Finding:
    return Finding(
        check=Check.TEST_RESTORE,
        started=tested.started_at,
        verdict=tested.verdict,
        server=tested.server,
        reason=tested.reason,
        phases={name: round(seconds, 3) for name, seconds in tested.phases.items()},
        bytes=tested.bytes,
        notes=(*tested.notes, *map(str, tested.assertions)),
    )


def _untried(name: str, error: UlasisError, verdict: Verdict) -> Outcome:
    moment = now()
    return Outcome(
        name=name,
        verdict=verdict,
        started_at=moment,
        finished_at=moment,
        reason=error.message,
        problem=error,
    )
