"""What is kept of the repository and what is not: facts gathered, then decided by ``retention``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ulasis_backup import retention
from ulasis_backup.errors import AuthenticationFailed, WrongKey
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.watch import watched_holds
from ulasis_backup.repository import holds, locks, marks, proofs, repository, runs
from ulasis_backup.repository.holds import Hold
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import Standing
from ulasis_backup.repository.repository import Entry, Listing
from ulasis_backup.retention import Backup, Bonds, Moment, Plan, Policy
from ulasis_backup.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks of a prune.

    With ``series`` nothing of other series is removed. ``after_failure`` lets go what is kept only
    because the last run failed for lack of space. ``automatic`` is the prune that follows a backup.
    ``careful`` is one that nobody watches: it refuses what a wrong clock or setting would do.
    """

    series: frozenset[str] | None = None
    after_failure: bool = False
    automatic: bool = False
    careful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The repository as it was when the plan was made, and the plan, by payload names."""

    plan: Plan
    listing: Listing
    holds: Mapping[str, Hold] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def names(self) -> Mapping[str, PayloadName]:
        """Return the backups that can be removed, by payload name."""
        return {str(entry.name): entry.name for entry in self.listing.entries}


def policy_of(settings: Settings) -> Policy:
    """Return the retention policy of the settings."""
    return Policy(
        daily=settings.backup_keep_daily,
        weekly=settings.backup_keep_weekly,
        monthly=settings.backup_keep_monthly,
        yearly=settings.backup_keep_yearly,
        days=settings.backup_retention_days,
        count=settings.backup_max_count,
    )


def zone_of(settings: Settings) -> tzinfo:
    """Return the zone in which days begin; UTC needs no data about zones."""
    return UTC if settings.backup_timezone == "UTC" else ZoneInfo(settings.backup_timezone)


def look(context: Context, wish: Wish, *, at: datetime | None = None) -> Found:
    """Read the repository and decide for every backup in it. Changes nothing.

    *at* stands for the time, for tests and for looking ahead. Raises StorageError, UnknownFormat.
    """
    listing = repository.listing(context.repository)
    held = holds.held(context.repository, listing.entries)
    standings = proofs.standings(context.repository, listing.entries)
    backups = [_backup(entry, held, standings) for entry in listing.entries]
    settings = context.config.settings
    moment = Moment(now=at or now(), zone=zone_of(settings))
    failed = dict(_failed(context, backups, after_failure=wish.after_failure))
    bonds = Bonds(
        needed=dict(_needed(context, listing)), failed=dict(_unlike(listing, held)) | failed
    )
    plan = retention.plan(backups, policy_of(settings), moment, bonds)
    return Found(
        plan=_only(plan, wish.series),
        listing=listing,
        holds=held,
        doubts=(
            *_unreadable(listing),
            *_hold_doubts(held),
            *_proof_doubts(standings),
            *listing.doubts,
        ),
    )


def _backup(entry: Entry, held: Mapping[str, Hold], standings: Mapping[str, Standing]) -> Backup:
    header = entry.manifest.header
    stands = standings[header.id]
    return Backup(
        # The file's name, for nothing else is known to be unique here.
        id=str(entry.name),
        series=header.series,
        sequence=header.sequence,
        started_at=datetime.fromisoformat(header.started_at),
        kind=header.kind,
        method=header.method,
        verdict=stands.verdict,
        partial=header.partial,
        held=header.id in held,
        bytes=entry.manifest.added_bytes,
        problem=_unbelievable(entry) or _unread(stands),
    )


def _unbelievable(entry: Entry) -> str:
    """Return why nothing that the manifest says can be used to decide about removing it."""
    if isinstance(entry.problem, AuthenticationFailed | WrongKey):
        return entry.problem.message
    if entry.manifest.signed and entry.manifest.data_key is None:
        return "its manifest cannot be authenticated without the key"
    return ""


def _unread(stands: Standing) -> str:
    """Return why it is not known what was found out about a backup: it may be the one proven."""
    return "not all of its proofs can be read at present" if stands.unread else ""


def _needed(context: Context, listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield the backups that somebody reads just now."""
    storage = context.repository.storage
    signs = locks.signs(storage)
    if not signs.reading:
        return
    grace = timedelta(hours=context.config.settings.backup_grace_hours)
    time = marks.time_of(storage)
    for entry in listing.entries:
        since = signs.reading.get(entry.name.backup_id)
        if since is not None and time - since <= grace:
            yield str(entry.name), f"somebody has been reading it since {since:%Y-%m-%d %H:%M} UTC"


def _failed(
    context: Context, backups: Iterable[Backup], *, after_failure: bool
) -> Iterator[tuple[str, str]]:
    """Yield the series whose last run is no success, and why."""
    for series in {backup.series for backup in backups}:
        last = runs.last_run(context.repository.storage, series)
        if last.reason and not (after_failure and last.for_space):
            yield series, last.reason


def _unlike(listing: Listing, held: Mapping[str, Hold]) -> Iterator[tuple[str, str]]:
    """Yield the series in which the anomaly watch holds a backup, and why nothing of them goes.

    What came since may be worth nothing, and would push out what was good.
    """
    for entry in watched_holds(held, listing.entries):
        reason = f"a later backup was unlike {entry.name}, and nobody has looked at it yet"
        yield entry.manifest.header.series, reason


def _only(plan: Plan, series: frozenset[str] | None) -> Plan:
    if series is None:
        return plan
    decisions = (
        entry
        if entry.keep or entry.backup.series in series
        else replace(entry, keep=True, reasons=("of another series",))
        for entry in plan.decisions
    )
    return Plan(decisions=tuple(decisions))


def _unreadable(listing: Listing) -> Iterator[str]:
    for oddity in listing.oddities:
        if oddity.error is not None:
            yield f"{oddity.name} was not judged: {oddity.what}"


def _hold_doubts(held: Mapping[str, Hold]) -> Iterator[str]:
    for hold in held.values():
        if hold.problem:
            yield f"the hold on {hold.backup} keeps it, although {hold.problem}"


def _proof_doubts(standings: Mapping[str, Standing]) -> Iterator[str]:
    for found in standings.values():
        yield from found.doubts
