"""What ``status`` calls a problem, how bad it is, and the next command. Limits stand at the top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ulasis_backup.errors import UlasisError
from ulasis_backup.model import Verdict
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.leftovers import HALF, Leftover
from ulasis_backup.operations.status_values import Level, Problem, SeriesStatus, StorageStatus
from ulasis_backup.operations.watch import how_to_close, watched_holds
from ulasis_backup.repository import runs
from ulasis_backup.repository.holds import Hold
from ulasis_backup.repository.proofs import GOOD, Standing
from ulasis_backup.repository.repository import Entry, Listing
from ulasis_backup.repository.runs import State
from ulasis_backup.settings import Settings, listed

LATE, TOO_LATE = 1.05, 1.5
"""From which multiple of the RPO on the newest backup is late: a nightly backup takes its time."""

NEVER_READ = timedelta(days=8)

NEVER_PROVEN = timedelta(days=35)
"""A weekly verification and a monthly test restore, and a few days."""

LONGEST_RUN = timedelta(hours=12)
"""After which a run that has not ended was cut off, or hangs."""

CLOCKS_DIFFER = timedelta(hours=1)
"""How far clocks of two hosts may be apart without a word."""

SOON_FULL = timedelta(days=14)

ROOM = 2
"""Backups of today's size that there should be room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a series is seen with."""

    context: Context
    entries: Sequence[Entry]
    standings: Mapping[str, Standing]
    held: Mapping[str, Hold]
    moment: datetime

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self.context.config.settings

    def of(self, entry: Entry) -> Standing:
        """Return what stands about *entry*."""
        return self.standings[entry.manifest.header.id]

    def locked(self, databases: tuple[str, ...]) -> bool:
        """Tell whether there may be backups of *databases* that only a key would show."""
        return self.context.repository.key is None and any(
            entry.manifest.details is None
            and databases in (("*",), entry.manifest.header.databases)
            for entry in self.entries
        )


def series_problems(
    view: View, series: SeriesStatus, members: Sequence[Entry], usual: Sequence[Entry]
) -> tuple[Problem, ...]:
    """Return what is open about *series*, whose backups are *members*, safety ones among them."""
    if set(series.databases) <= set(listed(view.settings.backup_retired)):
        # A person has said so: what is kept of it needs nobody's attention.
        return ()
    locked = series.newest is None and view.locked(series.databases)
    return (
        *_run_problems(view, series, members),
        *(_locked_problems(series) if locked else _age_problems(series, view.settings)),
        *_clock_problems(series, view.moment),
        *_partial_problems(series, usual),
        *_verdict_problems(view, series, usual),
        *_held_problems(view, series, usual),
        *_rto_problems(series, view.settings),
    )


def repository_problems(
    listing: Listing,
    storage: StorageStatus,
    series: Sequence[SeriesStatus],
    left: Sequence[Leftover],
    *,
    moment: datetime,
) -> tuple[Problem, ...]:
    """Return what is open about the repository and, by what restores *left*, the server."""
    return (
        *_storage_problems(storage, series, moment),
        *_listing_problems(listing),
        *_swap_problems(left),
    )


def audit_problems(waiting: int, *, cut: bool) -> tuple[Problem, ...]:
    """Return what is open about this machine's audit log: what waits, an end that is gone."""
    found: list[Problem] = []
    if cut:
        found.append(
            Problem(
                level=Level.CRITICAL,
                key="audit cut",
                title="the audit log was cut off, replaced or put back",
                message="the newest entry of the audit log that this machine has stored is gone",
                hint="ulasis-backup audit verify",
            )
        )
    if waiting:
        found.append(
            Problem(
                level=Level.WARNING,
                key="audit waits",
                title="entries of the audit log wait to be stored",
                message=f"{waiting} entries of the audit log wait to be stored",
                hint="let this user write to the repository; the next run, e.g. "
                "ulasis-backup list, stores them",
            )
        )
    return tuple(found)


def _run_problems(view: View, series: SeriesStatus, members: Sequence[Entry]) -> Iterator[Problem]:
    """Yield how the last run ended, if not well."""
    if not members:
        return
    last = runs.last_run(view.context.repository.storage, members[-1].manifest.header.series)
    hanging = (
        last.state is State.BEGUN
        and last.at
        and (view.moment - datetime.fromisoformat(last.at) > LONGEST_RUN)
    )
    if last.state is State.UNKNOWN:
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} run",
            title=f"how the last backup of {series.name} ended is not known",
            message=f"{series.name}: {last.reason}; until one succeeds nothing is pruned",
            hint="see its log, and whether the disk is full; then: ulasis-backup backup",
        )
    if last.state is State.FAILED or hanging:
        yield Problem(
            level=Level.CRITICAL if last.state is State.FAILED else Level.WARNING,
            key=f"{series.name} run",
            title=f"the last backup of {series.name} did not end well",
            message=f"{series.name}: {last.reason}",
            hint="see its log, mend the cause, then: ulasis-backup backup",
        )


def _age_problems(series: SeriesStatus, settings: Settings) -> Iterator[Problem]:
    """Yield what the age of the newest backup says."""
    if series.newest is None or series.rpo is None:
        yield Problem(
            level=Level.CRITICAL,
            key=f"{series.name} none",
            title=f"there is no good backup of {series.name}",
            message=f"there is no good backup of {series.name}",
            hint="ulasis-backup backup",
        )
        return
    limit = settings.backup_rpo_hours * 3600
    if series.rpo > LATE * limit:
        level = Level.CRITICAL if series.rpo > TOO_LATE * limit else Level.WARNING
        yield Problem(
            level=level,
            key=f"{series.name} rpo",
            title=f"the newest backup of {series.name} is too old",
            message=f"the newest backup of {series.name} is {series.rpo / 3600:.1f} h old; at most "
            f"{settings.backup_rpo_hours:g} h may be lost",
            hint="ulasis-backup backup; then see why the schedule made none: the log, "
            "`ulasis-backup schedule show`; a database that was dropped for good belongs in "
            "BACKUP_RETIRED",
        )


def _locked_problems(series: SeriesStatus) -> Iterator[Problem]:
    """Yield that nothing is known: without the key it cannot be seen whose backups these are."""
    yield Problem(
        level=Level.UNKNOWN,
        key=f"{series.name} locked",
        title=f"the backups of {series.name} cannot be read without their key",
        message=f"the backups of {series.name} cannot be read without their key",
        hint="set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE",
    )


def _clock_problems(series: SeriesStatus, moment: datetime) -> Iterator[Problem]:
    """Yield a newest backup from the future: it would seem young until that time has come."""
    if series.newest and series.newest.at - moment > CLOCKS_DIFFER:
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} clock",
            title=f"the newest backup of {series.name} is from the future",
            message=f"{series.newest.name} is from the future: how old it is cannot be said",
            hint="put the clocks right, then: ulasis-backup backup",
        )


def _partial_problems(series: SeriesStatus, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Yield a newest backup that lacks something: it is not what the RPO counts from."""
    if entries and entries[-1].manifest.header.partial:
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} partial",
            title=f"the newest backup of {series.name} is partial",
            message=f"{entries[-1].name} is partial: it was made without all rights",
            hint="`ulasis-backup check` prints the missing GRANT",
        )


def _verdict_problems(
    view: View, series: SeriesStatus, entries: Sequence[Entry]
) -> Iterator[Problem]:
    """Yield what checks found, and checks that nobody made."""
    for entry in entries:
        if view.of(entry).verdict is Verdict.FAILED:
            yield Problem(
                level=Level.CRITICAL if entry is entries[-1] else Level.WARNING,
                key=f"{entry.name} failed",
                title=f"{entry.name} failed its last check",
                message=f"{entry.name} failed its last check: {view.of(entry).note}",
                hint="ulasis-backup backup; then look at the storage of this one",
            )
    if series.newest is None:
        return
    first = _begin_of(entries)
    stands = [standing for entry in entries if (standing := view.of(entry)).at]
    # What a clock that went ahead has stamped must not silence this until then.
    stands = [one for one in stands if _is_past(one.at, view.moment)]
    checked = [datetime.fromisoformat(one.at) for one in stands if one.verdict in GOOD]
    if view.moment - max(checked, default=first) > NEVER_READ:
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} unchecked",
            title=f"no backup of {series.name} was verified lately",
            message=f"no backup of {series.name} was verified for {NEVER_READ.days} days",
            hint="ulasis-backup verify-all",
        )
    proven = [datetime.fromisoformat(one.at) for one in stands if one.verdict is Verdict.PROVEN]
    if view.moment - max(proven, default=first) > NEVER_PROVEN:
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} unproven",
            title=f"no backup of {series.name} was proven lately",
            message=f"no backup of {series.name} was proven for {NEVER_PROVEN.days} days",
            hint="ulasis-backup test-restore latest",
        )


def _begin_of(entries: Sequence[Entry]) -> datetime:
    """Return about when the series began: its first backups may be removed long since."""
    times = [datetime.fromisoformat(entry.manifest.header.started_at) for entry in entries]
    usual = (times[-1] - times[0]) / max(1, len(times) - 1)
    before = max(0, entries[0].manifest.header.sequence - 1)
    return times[0] - max(usual, timedelta()) * before


def _is_past(text: str, moment: datetime) -> bool:
    return datetime.fromisoformat(text) - moment <= CLOCKS_DIFFER


def _held_problems(view: View, series: SeriesStatus, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Yield what the anomaly watch holds: nobody has looked at it yet."""
    for entry in watched_holds(view.held, entries):
        yield Problem(
            level=Level.WARNING,
            key=f"{entry.name} anomaly",
            title=f"a backup of {series.name} was unlike those before",
            message=f"a backup of {series.name} was unlike those before: {entry.name}, the last "
            "before it, is held",
            hint=f"look at the next one (`show`); then: {how_to_close(view.held, entry)}",
        )


def _rto_problems(series: SeriesStatus, settings: Settings) -> Iterator[Problem]:
    limit = settings.backup_rto_hours * 3600
    if series.rto and series.rto.most > limit:
        likely, most = series.rto.likely / 3600, series.rto.most / 3600
        yield Problem(
            level=Level.CRITICAL if series.rto.likely > limit else Level.WARNING,
            key=f"{series.name} rto",
            title=f"a restore of {series.name} would take too long",
            message=f"a restore of {series.name} would take about {likely:.1f} h, up to "
            f"{most:.1f}; {settings.backup_rto_hours:g} h are allowed",
            hint="more --jobs, BACKUP_METHOD=rows, or a faster machine; docs/start.md",
        )


def _storage_problems(
    storage: StorageStatus, series: Sequence[SeriesStatus], moment: datetime
) -> Iterator[Problem]:
    if storage.free is None:
        return
    free = f"{storage.free >> 20} MiB free"
    largest = max((size for one in series for size in one.sizes[-1:]), default=0)
    if storage.free < largest:
        yield Problem(
            level=Level.CRITICAL,
            key="storage room",
            title="there is no room for another backup",
            message=f"{storage.place} has no room for another backup: {free}",
            hint="ulasis-backup prune --dry-run shows what may go",
        )
    elif storage.free < ROOM * largest or (
        storage.full_at and storage.full_at - moment < SOON_FULL
    ):
        when = f", full on {storage.full_at:%Y-%m-%d} at this rate" if storage.full_at else ""
        yield Problem(
            level=Level.WARNING,
            key="storage room",
            title="the storage is nearly full",
            message=f"{storage.place} is nearly full: {free}{when}",
            hint="ulasis-backup prune --dry-run shows what may go",
        )


def _swap_problems(found: Sequence[Leftover]) -> Iterator[Problem]:
    for one in found:
        if one.incomplete:
            what = "half loaded" if one.state == HALF else "between two states"
            yield Problem(
                level=Level.CRITICAL,
                key=f"{one.database} swap",
                title=f"swap incomplete: {one.database}",
                message=f"swap incomplete: {one.database} is {what} since {one.at}, "
                f"restore {one.id} ({one.note})",
                hint="ulasis-backup settle",
            )


def _listing_problems(listing: Listing) -> Iterator[Problem]:
    for entry in listing.entries:
        if entry.problem:
            yield _unreadable(str(entry.name), entry.problem)
    for oddity in listing.oddities:
        if oddity.error:
            yield _unreadable(oddity.name, oddity.error)
    for doubt in listing.doubts:
        if doubt in listing.gaps:
            # As retention leaves them: `list` shows them to who wants to know.
            continue
        yield Problem(
            level=Level.WARNING,
            key=f"doubt {doubt}",
            title=doubt,
            message=doubt,
            hint="ulasis-backup list",
        )


def _unreadable(name: str, error: UlasisError) -> Problem:
    return Problem(
        level=Level.WARNING,
        key=f"{name} unreadable",
        title=f"{name} cannot be read",
        message=f"{name}: {error.message}",
        hint=error.hint,
    )
