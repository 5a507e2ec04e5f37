"""``status``: is everything fine? From the repository alone, so that it works without the server.

The levels and exit codes are those of monitoring plugins: 0 fine, 1 warning, 2 critical, 3 unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

from ulasis_backup.config import Settings
from ulasis_backup.errors import SettingsError, UlasisError
from ulasis_backup.estimate import Duration, Measurement, full_at, restore_seconds
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.daemon import local_zone
from ulasis_backup.operations.leftovers import HALF, Leftover, list_leftovers
from ulasis_backup.operations.meant import meant
from ulasis_backup.operations.runlog import used_over_time
from ulasis_backup.operations.schedule import jobs
from ulasis_backup.operations.watch import how_to_close, watched_holds
from ulasis_backup.repository import holds, proofs, repository, runs
from ulasis_backup.repository.holds import Hold
from ulasis_backup.repository.proofs import GOOD, Check, Proof, Standing
from ulasis_backup.repository.repository import Entry, Listing, in_series
from ulasis_backup.repository.runs import State
from ulasis_backup.schedule import due_after
from ulasis_backup.storage.base import Storage

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

TREND = 60


class Level(IntEnum):
    """How bad it is; the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something open: what, and the next command.

    ``key`` names it for alerts; ``title`` says it in few words without numbers that move, which
    would look like news.
    """

    level: Level
    key: str
    title: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A backup in a status: its name, when it was begun, and what stands about it."""

    name: str
    at: datetime
    verdict: Verdict
    plain_bytes: int
    added_bytes: int
    seconds: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStatus:
    """The state of one series: backups of one server and set of databases.

    ``rpo`` are the seconds since the newest complete backup was begun: what would be lost now.
    ``rto`` is None where no restore was measured. ``sizes`` are the bytes that each backup added,
    oldest first.
    """

    server: str
    databases: tuple[str, ...]
    backups: int
    newest: Known | None
    newest_proven: Known | None
    rpo: float | None
    rto: Duration | None
    verdicts: Mapping[Verdict, int]
    sizes: tuple[int, ...]
    problems: tuple[Problem, ...]

    @property
    def name(self) -> str:
        """Return how it is called, e.g. ``db1:3306/shop``."""
        return f"{self.server}/{','.join(self.databases)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """What the repository takes, in bytes. ``free`` is None where it cannot be known."""

    place: str
    used: int
    free: int | None
    full_at: datetime | None
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that a tired person has to know. ``next_runs`` are due if a schedule runs.

    ``leftovers`` are what restores keep on the server; None where nobody looked, or could.
    """

    at: datetime
    series: tuple[SeriesStatus, ...]
    storage: StorageStatus
    problems: tuple[Problem, ...]
    next_runs: tuple[tuple[str, datetime], ...]
    leftovers: tuple[Leftover, ...] | None = None

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Return what is open, the worst first."""
        every = (*self.problems, *(p for series in self.series for p in series.problems))
        return tuple(sorted(every, key=lambda problem: -_RANK[problem.level]))

    @property
    def level(self) -> Level:
        """Return the worst level."""
        return max((p.level for p in self.all_problems), key=_RANK.__getitem__, default=Level.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What a series is seen with."""

    context: Context
    entries: Sequence[Entry]
    standings: Mapping[str, Standing]
    held: Mapping[str, Hold]
    moment: datetime

    @property
    def settings(self) -> Settings:
        return self.context.config.settings

    def of(self, entry: Entry) -> Standing:
        return self.standings[entry.manifest.header.id]

    def locked(self, databases: tuple[str, ...]) -> bool:
        """Tell whether there may be backups of *databases* that only a key would show."""
        return self.context.repository.key is None and any(
            entry.manifest.details is None
            and databases in (("*",), entry.manifest.header.databases)
            for entry in self.entries
        )


_RANK = {Level.OK: 0, Level.UNKNOWN: 1, Level.WARNING: 2, Level.CRITICAL: 3}
"""What is known to be bad is worse than what is not known."""


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
    view = _View(
        context=context, entries=listing.entries, standings=standings, held=held, moment=moment
    )
    series = [
        _series(view, server, databases, members)
        for server, databases, members in _grouped(context, listing, everything=everything)
    ]
    storage = _storage(context, moment)
    left = _leftovers(context) if ask_server else None
    return Status(
        at=moment,
        series=tuple(series),
        storage=storage,
        problems=(
            *_storage_problems(storage, series, moment),
            *_listing_problems(listing),
            *_swap_problems(left or ()),
        ),
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
    view: _View, server: str, databases: tuple[str, ...], members: Sequence[Entry]
) -> SeriesStatus:
    usual = [entry for entry in members if entry.manifest.header.kind is not Kind.SAFETY]
    whole = [entry for entry in usual if entry.problem is None]
    known = [_known(entry, view.of(entry)) for entry in whole]
    good = [one for one in known if one.verdict is not Verdict.FAILED]
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
    )
    locked = newest is None and view.locked(databases)
    every = (
        *_run_problems(view, found, members),
        *(_locked_problems(found) if locked else _age_problems(found, view.settings)),
        *_clock_problems(found, view.moment),
        *_partial_problems(found, whole),
        *_verdict_problems(view, found, usual),
        *_held_problems(view, found, usual),
        *_rto_problems(found, view.settings),
    )
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


def _measured(view: _View, entries: Sequence[Entry]) -> list[Measurement]:
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


def _run_problems(view: _View, series: SeriesStatus, members: Sequence[Entry]) -> Iterator[Problem]:
    """Yield how the last run ended, if not well."""
    if not members:
        return
    last = runs.last_run(view.context.repository.storage, members[-1].manifest.header.series)
    hanging = (
        last.state is State.BEGUN
        and last.at
        and (view.moment - datetime.fromisoformat(last.at) > LONGEST_RUN)
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
            "`ulasis-backup schedule show`",
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
    newest = series.newest
    if newest and any(
        str(entry.name) == newest.name and entry.manifest.header.partial for entry in entries
    ):
        yield Problem(
            level=Level.WARNING,
            key=f"{series.name} partial",
            title=f"the newest backup of {series.name} is partial",
            message=f"{newest.name} is partial: it was made without all rights",
            hint="`ulasis-backup check` prints the missing GRANT",
        )


def _verdict_problems(
    view: _View, series: SeriesStatus, entries: Sequence[Entry]
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
    first = datetime.fromisoformat(entries[0].manifest.header.started_at)
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


def _is_past(text: str, moment: datetime) -> bool:
    return datetime.fromisoformat(text) - moment <= CLOCKS_DIFFER


def _held_problems(
    view: _View, series: SeriesStatus, entries: Sequence[Entry]
) -> Iterator[Problem]:
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


def _leftovers(context: Context) -> tuple[Leftover, ...] | None:
    try:
        return list_leftovers(context)
    except UlasisError:
        return None


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


def _next_runs(settings: Settings, moment: datetime) -> Iterator[tuple[str, datetime]]:
    try:
        found = jobs(settings)
    except SettingsError:
        return
    here = moment.astimezone(local_zone())
    for job in found:
        yield job.name, due_after(job.when, here)
