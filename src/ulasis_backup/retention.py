"""Which backups to keep: a pure decision, with a reason for each.

Everything is decided for each series apart. Nothing here reads a clock, a setting or a storage.
docs/reference/retention.md explains the rules to people, with an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from enum import IntEnum
from itertools import groupby

from ulasis_backup.model import Kind, Verdict

SAFETY_AGE = timedelta(days=7)
"""How long a backup that a restore made first stays, whatever else is said."""

_TRUST = {Verdict.PROVEN: 2, Verdict.INTACT: 1, Verdict.INTACT_UNSIGNED: 1}


class Worth(IntEnum):
    """What a backup is good for; the best of a period is one of the highest worth there."""

    FAILED = 0
    PARTIAL = 1
    SAFETY = 2
    GOOD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What the decision needs to know of a backup.

    ``sequence`` is its number in the series, by which it is newer or older than others: clocks may
    jump. ``problem`` says why nothing in it can be believed, or nothing of it be read. ``bytes``
    are those that it added to the repository.
    """

    id: str
    series: str
    sequence: int
    started_at: datetime
    kind: Kind = Kind.SCHEDULED
    method: str = "sql"
    verdict: Verdict = Verdict.UNCHECKED
    partial: bool = False
    held: bool = False
    bytes: int = 0
    problem: str = ""

    @property
    def worth(self) -> Worth:
        """Return what it is good for."""
        if self.verdict is Verdict.FAILED:
            return Worth.FAILED
        if self.partial:
            return Worth.PARTIAL
        return Worth.SAFETY if self.kind is Kind.SAFETY else Worth.GOOD

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Return what makes it newer than others of its series."""
        return self.sequence, self.started_at, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many periods each tier reaches back (0: no such tier), and the rule for the rest."""

    daily: int = 30
    weekly: int = 12
    monthly: int = 12
    yearly: int = 7
    days: int = 30
    count: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the decision is made, and in which zone days begin."""

    now: datetime
    zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Bonds:
    """What forbids removing: ids that a recovery ``needs``, and series whose last run ``failed``.

    Both map to a reason.
    """

    needed: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One backup, whether it is kept, and all reasons for that."""

    backup: Backup
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to every backup: series by series, each from the oldest to the newest."""

    decisions: tuple[Decision, ...]

    @property
    def kept(self) -> tuple[Decision, ...]:
        """Return the decisions to keep."""
        return tuple(entry for entry in self.decisions if entry.keep)

    @property
    def removed(self) -> tuple[Decision, ...]:
        """Return the decisions to remove."""
        return tuple(entry for entry in self.decisions if not entry.keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tier:
    """One rule of the policy. ``number`` counts periods, one after the other, without a hole."""

    name: str
    setting: str
    number: Callable[[date], int]
    label: Callable[[date], str]
    reach: Callable[[Policy], int]


_TIERS = (
    _Tier(
        name="day",
        setting="BACKUP_KEEP_DAILY",
        number=date.toordinal,
        label=date.isoformat,
        reach=lambda policy: policy.daily,
    ),
    _Tier(
        name="week",
        setting="BACKUP_KEEP_WEEKLY",
        # Weeks as in ISO 8601: day 1 of the ordinals was a Monday.
        number=lambda day: (day.toordinal() - 1) // 7,
        label=lambda day: "{}-W{:02}".format(*day.isocalendar()[:2]),
        reach=lambda policy: policy.weekly,
    ),
    _Tier(
        name="month",
        setting="BACKUP_KEEP_MONTHLY",
        number=lambda day: day.year * 12 + day.month,
        label=lambda day: f"{day:%Y-%m}",
        reach=lambda policy: policy.monthly,
    ),
    _Tier(
        name="year",
        setting="BACKUP_KEEP_YEARLY",
        number=lambda day: day.year,
        label=lambda day: f"{day:%Y}",
        reach=lambda policy: policy.yearly,
    ),
)


def plan(
    backups: Iterable[Backup], policy: Policy, moment: Moment, bonds: Bonds | None = None
) -> Plan:
    """Decide for each of *backups* whether it is kept.

    *backups* are all that the repository has. Whatever the *policy* says, nothing is removed that
    is the newest of its series, its newest complete one, its newest proven one, held, a safety
    backup younger than a week, from the future, not readable, or bound by *bonds*.
    """
    bonds = bonds or Bonds()
    ordered = sorted(backups, key=lambda backup: (backup.series, *backup.rank))
    decisions: list[Decision] = []
    for _, members in groupby(ordered, key=lambda backup: backup.series):
        decisions += _Series(tuple(members), policy, moment, bonds).decisions()
    return Plan(decisions=tuple(decisions))


class _Series:
    """The backups of one series, oldest first, under decision."""

    def __init__(
        self, members: tuple[Backup, ...], policy: Policy, moment: Moment, bonds: Bonds
    ) -> None:
        self.members = members
        self.policy = policy
        self.moment = moment
        self.bonds = bonds
        self._readable = [backup for backup in members if not backup.problem]
        self._days = {backup.id: self._day(backup.started_at) for backup in members}

    def decisions(self) -> Iterator[Decision]:
        reasons: dict[str, list[str]] = {backup.id: [] for backup in self.members}
        missed: dict[str, list[str]] = {backup.id: [] for backup in self.members}
        for found, reason in self._protected():
            reasons[found.id].append(reason)
        for tier in _TIERS:
            self._by_tier(tier, reasons, missed)
        self._by_age_and_count(reasons, missed)
        for backup in self.members:
            why = tuple(reasons[backup.id])
            yield Decision(backup=backup, keep=bool(why), reasons=why or tuple(missed[backup.id]))

    def _protected(self) -> Iterator[tuple[Backup, str]]:
        """Yield what is kept whatever the policy says, and why."""
        yield from self._newest()
        for backup in self.members:
            age = self.moment.now - backup.started_at
            if backup.problem:
                yield backup, f"not judged: {backup.problem}"
            if backup.held:
                yield backup, "held"
            if backup.kind is Kind.SAFETY and age < SAFETY_AGE:
                yield backup, f"a safety backup younger than {SAFETY_AGE.days} days"
            if backup.started_at > self.moment.now:
                yield backup, "its time has not come yet: clocks disagree"
            if backup.id in self.bonds.needed:
                yield backup, self.bonds.needed[backup.id]
            if backup.series in self.bonds.failed:
                yield backup, self.bonds.failed[backup.series]

    def _newest(self) -> Iterator[tuple[Backup, str]]:
        readable = self._readable
        good = [backup for backup in readable if backup.worth is Worth.GOOD]
        proven = [backup for backup in readable if backup.verdict is Verdict.PROVEN]
        first: dict[str, tuple[Backup, str]] = {}
        for backup, reason in (
            *_ends(readable, "the newest"), *_ends(good, "the newest complete one")
        ):  # fmt: skip
            # One that is the newest of all is it in every other way, too.
            first.setdefault(backup.id, (backup, reason))
        yield from first.values()
        if proven:
            yield proven[-1], "the newest proven one"
        usual = [backup for backup in proven if backup.kind is not Kind.SAFETY]
        if usual and usual[-1] != proven[-1]:
            yield usual[-1], "the newest proven one but safety backups"
        complete = [backup for backup in usual if backup.worth is Worth.GOOD]
        if complete and complete[-1] != usual[-1]:
            yield complete[-1], "the newest complete proven one"

    def _by_tier(
        self, tier: _Tier, reasons: dict[str, list[str]], missed: dict[str, list[str]]
    ) -> None:
        """Keep the best backup of each period that reaches into the tier."""
        reach = tier.reach(self.policy)
        if not reach:
            return
        today = tier.number(self._day(self.moment.now))
        periods: dict[int, list[Backup]] = {}
        for backup in self._readable:
            # The period that is not over yet comes on top: else what is kept as the year's would
            # be gone, if it was made in December, a month before it has been kept for its years.
            back = today - tier.number(self._days[backup.id])
            if back <= reach:
                periods.setdefault(back, []).append(backup)
            else:
                missed[backup.id].append(f"{tier.name}: out of reach of {tier.setting}={reach}")
        for back, rivals in periods.items():
            if back < 0:
                continue
            best = max(rivals, key=_preference)
            label = f"{tier.name} {tier.label(self._days[best.id])}"
            reasons[best.id].append(label + _stands_in(best))
            for backup in rivals:
                missed[backup.id].append(f"{label}: {best.id} is kept")

    def _by_age_and_count(
        self, reasons: dict[str, list[str]], missed: dict[str, list[str]]
    ) -> None:
        """Keep what is young and among the newest; bad ones never count against good ones."""
        days, count = self.policy.days, self.policy.count
        for worth in Worth:
            members = [backup for backup in self._readable if backup.worth is worth]
            for place, backup in enumerate(reversed(members), 1):
                age = self.moment.now - backup.started_at
                young, few = age < timedelta(days=days), place <= count
                if young and few:
                    text = f"number {place} of the newest {count}, younger than {days} days"
                    reasons[backup.id].append(text)
                    continue
                missed[backup.id] += [] if young else [f"older than BACKUP_RETENTION_DAYS={days}"]
                missed[backup.id] += (
                    [] if few else [f"not among the newest BACKUP_MAX_COUNT={count}"]
                )

    def _day(self, instant: datetime) -> date:
        return instant.astimezone(self.moment.zone).date()


def _preference(backup: Backup) -> tuple[int, int, tuple[int, datetime, str]]:
    """Return what makes a backup the best of its period: worth, then proof, then being newest."""
    return backup.worth, _TRUST.get(backup.verdict, 0), backup.rank


def _ends(backups: Sequence[Backup], what: str) -> Iterator[tuple[Backup, str]]:
    """Yield the last of *backups*, by number and by the clock, and in words *what* it is."""
    if backups:
        yield backups[-1], what
        yield max(backups, key=lambda one: (one.started_at, one.rank)), f"{what} by the clock"


def _stands_in(best: Backup) -> str:
    """Say it where a backup stays that would give way to any good one."""
    said = {
        Worth.FAILED: ", although it failed: there is nothing better",
        Worth.PARTIAL: ", although partial: there is nothing better",
        Worth.SAFETY: ", although a safety backup: there is nothing better",
        Worth.GOOD: "",
    }
    return said[best.worth]
