"""``status``: is everything fine? From the repository alone, so that it works without the server.

The levels and exit codes are those of monitoring plugins: 0 fine, 1 warning, 2 critical, 3 unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ulasis_backup.errors import SettingsError, UlasisError
from ulasis_backup.estimate import Measurement, full_at, restore_seconds
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.audit import cut_off
from ulasis_backup.operations.auditing import Journal
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.daemon import local_zone
from ulasis_backup.operations.leftovers import Leftover, list_leftovers
from ulasis_backup.operations.meant import meant
from ulasis_backup.operations.problems import (
    View,
    audit_problems,
    repository_problems,
    series_problems,
)
from ulasis_backup.operations.runlog import used_over_time
from ulasis_backup.operations.schedule import jobs
from ulasis_backup.operations.status_values import (
    Known,
    Problem,
    SeriesStatus,
    Status,
    StorageStatus,
)
from ulasis_backup.repository import holds, proofs, repository
from ulasis_backup.repository.proofs import Check, Proof, Standing
from ulasis_backup.repository.repository import Entry, Listing, in_series
from ulasis_backup.schedule import due_after
from ulasis_backup.settings import Settings
from ulasis_backup.storage.base import Storage

TREND = 60


def status(
    context: Context,
    *,
    everything: bool = False,
    ask_server: bool = False,
    moment: datetime | None = None,
) -> Status:
    """Look at the series of the settings, or at *everything* in the repository, as of *moment*.

    With *ask_server* also at what restores left on it, where it can be reached. Raises
    StorageError and its children, UnknownFormat.
    """
    moment = moment or now()
    listing = repository.listing(context.repository)
    standings = proofs.standings(context.repository, listing.entries)
    held = holds.held(context.repository, listing.entries)
    view = View(
        context=context, entries=listing.entries, standings=standings, held=held, moment=moment
    )
    series = [
        _series(view, server, databases, members)
        for server, databases, members in _grouped(context, listing, everything=everything)
    ]
    storage = _storage(context, moment)
    left = _leftovers(context) if ask_server else None
    problems = repository_problems(listing, storage, series, left or (), moment=moment)
    return Status(
        at=moment,
        series=tuple(series),
        storage=storage,
        problems=(*problems, *_audit(context)),
        leftovers=left,
        next_runs=tuple(_next_runs(context.config.settings, moment)),
    )


def _grouped(
    context: Context, listing: Listing, *, everything: bool
) -> Iterator[tuple[str, tuple[str, ...], list[Entry]]]:
    config = context.config
    wanted = [(config.server_name, databases) for databases in meant(config, listing.entries)]
    if everything:
        found = {
            (details.server_name, details.selection or entry.manifest.header.databases)
            for entry in repository.trusted(listing.entries)
            if (details := entry.manifest.details)
        }
        wanted = sorted(found) or wanted
    for server, databases in wanted:
        yield server, databases, in_series(listing.entries, server, databases)


def _series(
    view: View, server: str, databases: tuple[str, ...], members: Sequence[Entry]
) -> SeriesStatus:
    usual = [entry for entry in members if entry.manifest.header.kind is not Kind.SAFETY]
    whole = [entry for entry in usual if entry.problem is None]
    known = [_known(entry, view.of(entry)) for entry in whole]
    good = [
        one
        for entry, one in zip(whole, known, strict=True)
        if one.verdict is not Verdict.FAILED and not entry.manifest.header.partial
    ]
    newest = good[-1] if good else None
    proven = next((one for one in reversed(good) if one.verdict is Verdict.PROVEN), None)
    # A clock that was put back makes nothing younger than just made.
    rpo = max(0.0, (view.moment - newest.at).total_seconds()) if newest else None
    measured = _measured(view, whole)
    found = SeriesStatus(
        server=server,
        databases=databases,
        backups=len(usual),
        newest=newest,
        newest_proven=proven,
        rpo=rpo,
        rto=restore_seconds(measured, newest.plain_bytes) if newest else None,
        verdicts=Counter(view.of(entry).verdict for entry in usual),
        sizes=tuple(one.added_bytes for one in known[-TREND:]),
        problems=(),
        newest_by_method=tuple({one.method: one for one in good}.values()),
    )
    every = series_problems(view, found, members, usual)
    return replace(found, problems=every)


def _known(entry: Entry, standing: Standing) -> Known:
    header, details = entry.manifest.header, entry.manifest.details
    begun = datetime.fromisoformat(header.started_at)
    ended = datetime.fromisoformat(header.finished_at)
    return Known(
        name=str(entry.name),
        at=begun,
        verdict=standing.verdict,
        plain_bytes=details.plain.bytes if details else 0,
        added_bytes=entry.manifest.added_bytes,
        seconds=max(0.0, (ended - begun).total_seconds()),
        method=header.method,
    )


def _measured(view: View, entries: Sequence[Entry]) -> list[Measurement]:
    """Return the test restores of *entries*, oldest first: what a restore takes here."""
    found: list[Proof] = []
    for entry in entries:
        standing = view.of(entry)
        if standing.check is Check.TEST_RESTORE and standing.proof:
            found.append(standing.proof)
    return [
        Measurement(bytes=proof.bytes, seconds=sum(proof.phases.values()))
        for proof in sorted(found, key=lambda proof: proof.finished_at)
        if proof.verdict is Verdict.PROVEN
    ]


def _storage(context: Context, moment: datetime) -> StorageStatus:
    storage = context.repository.storage
    # What is listed says nothing of what was removed: as many go as come, once it is settled.
    course = used_over_time(context.config)
    used = used_bytes(storage)
    free = storage.free_bytes()
    until = full_at(course, free=free, moment=moment) if free is not None else None
    sizes = tuple(size for _, size in course)
    return StorageStatus(place=storage.place, used=used, free=free, full_at=until, sizes=sizes)


def used_bytes(storage: Storage) -> int:
    """Return the bytes of everything in the repository."""
    return sum(blob.bytes for blob in storage.list("", deep=True))


def _audit(context: Context) -> tuple[Problem, ...]:
    if not context.config.settings.backup_audit:
        return ()
    waiting = len(Journal(context.config, context.repository).waiting())
    return audit_problems(waiting, cut=cut_off(context))


def _leftovers(context: Context) -> tuple[Leftover, ...] | None:
    try:
        return list_leftovers(context)
    except UlasisError:
        return None


def _next_runs(settings: Settings, moment: datetime) -> Iterator[tuple[str, datetime]]:
    try:
        found = jobs(settings)
    except SettingsError:
        return
    here = moment.astimezone(local_zone())
    for job in found:
        yield job.name, due_after(job.when, here)
