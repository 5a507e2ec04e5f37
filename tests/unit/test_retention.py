"""Which backups to keep: each rule, and what holds over any history."""

from __future__ import annotations

import calendar
import dataclasses
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulasis_backup.model import Kind, Verdict
from ulasis_backup.retention import Backup, Bonds, Moment, Plan, Policy, Worth, plan

NOW = datetime(2026, 11, 24, 2, 5, tzinfo=UTC)
UTC_NOW = Moment(now=NOW, zone=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NONE = Policy(daily=0, weekly=0, monthly=0, yearly=0, days=1, count=1)
BAD = (Worth.FAILED, Worth.PARTIAL)


def backup(sequence: int, started_at: datetime, **facts: object) -> Backup:
    made = Backup(id=f"b{sequence}", series="s", sequence=sequence, started_at=started_at)
    return dataclasses.replace(made, **facts)  # type: ignore[arg-type]


def days_ago(*ages: float, **facts: object) -> list[Backup]:
    """Return backups so many days old, numbered from the oldest."""
    ordered = enumerate(sorted(ages, reverse=True), 1)
    return [backup(number, NOW - timedelta(days=age), **facts) for number, age in ordered]


def kept(decided: Plan) -> set[str]:
    return {entry.backup.id for entry in decided.kept}


def reasons(decided: Plan, name: str) -> tuple[str, ...]:
    (found,) = (entry.reasons for entry in decided.decisions if entry.backup.id == name)
    return found


# The rules, one by one.


def test_the_best_of_a_day_is_the_proven_then_the_intact_then_the_newest() -> None:
    noon = NOW - timedelta(days=3)
    day = [backup(n, noon + timedelta(hours=n)) for n in range(1, 5)]
    newest = backup(9, NOW)
    policy = dataclasses.replace(NONE, daily=30)
    verdicts = {2: Verdict.PROVEN, 3: Verdict.INTACT}
    judged = [dataclasses.replace(b, verdict=verdicts.get(b.sequence, b.verdict)) for b in day]
    assert kept(plan([*day, newest], policy, UTC_NOW)) == {"b4", "b9"}
    assert kept(plan([*judged, newest], policy, UTC_NOW)) == {"b2", "b9"}
    without = [b for b in judged if b.verdict is not Verdict.PROVEN]
    assert kept(plan([*without, newest], policy, UTC_NOW)) == {"b3", "b9"}


def test_an_unsigned_backup_whose_bytes_are_intact_beats_an_unchecked_one() -> None:
    noon = NOW - timedelta(days=3)
    rivals = [
        backup(1, noon, verdict=Verdict.INTACT_UNSIGNED),
        backup(2, noon + timedelta(hours=1), verdict=Verdict.COULD_NOT_CHECK),
        backup(3, NOW),
    ]
    assert kept(plan(rivals, dataclasses.replace(NONE, daily=30), UTC_NOW)) == {"b1", "b3"}


def test_what_no_tier_keeps_stays_while_young_and_among_the_newest() -> None:
    hourly = [backup(n, NOW - timedelta(hours=50 - n)) for n in range(1, 51)]
    policy = dataclasses.replace(NONE, days=1, count=10)
    assert kept(plan(hourly, policy, UTC_NOW)) == {f"b{n}" for n in range(41, 51)}
    policy = dataclasses.replace(NONE, days=1, count=40)
    assert kept(plan(hourly, policy, UTC_NOW)) == {f"b{n}" for n in range(27, 51)}


def test_tiers_count_before_the_greatest_number() -> None:
    history = days_ago(*range(30))
    assert len(kept(plan(history, Policy(count=1, days=1), UTC_NOW))) == 30


def test_a_kept_backup_is_kept_for_as_long_as_the_strategy_says() -> None:
    for policy, age in (
        (dataclasses.replace(NONE, daily=30), timedelta(days=30)),
        (dataclasses.replace(NONE, weekly=12), timedelta(weeks=12)),
        (dataclasses.replace(NONE, monthly=12), timedelta(days=365)),
        (dataclasses.replace(NONE, yearly=7), timedelta(days=7 * 365 + 2)),
    ):
        for shift in range(400):
            now = NOW + timedelta(days=shift)
            alone = [backup(1, now - age), backup(2, now)]
            assert kept(plan(alone, policy, Moment(now=now, zone=UTC))) == {"b1", "b2"}


def test_without_a_tier_nothing_is_kept_by_it() -> None:
    history = days_ago(2, 3, 0)
    assert kept(plan(history, NONE, UTC_NOW)) == {"b3"}


def test_every_protected_backup_stays_under_the_harshest_policy() -> None:
    year = timedelta(days=365)
    history = [
        backup(1, NOW - 9 * year, held=True),
        backup(2, NOW - 8 * year, verdict=Verdict.PROVEN),
        backup(3, NOW - 7 * year, verdict=Verdict.PROVEN),
        backup(4, NOW - 6 * year),
        backup(5, NOW - timedelta(days=6.9), kind=Kind.SAFETY),
        backup(6, NOW - timedelta(days=7.1), kind=Kind.SAFETY),
        backup(7, NOW - timedelta(days=5)),
        backup(8, NOW - timedelta(days=4), problem="no key"),
        backup(9, NOW - timedelta(days=3), partial=True),
    ]
    bonds = Bonds(needed={"b4": "the recovery window of 5 days begins with it"})
    decided = plan(history, NONE, UTC_NOW, bonds)
    assert kept(decided) == {"b1", "b3", "b4", "b5", "b7", "b8", "b9"}
    assert reasons(decided, "b1") == ("held",)
    assert reasons(decided, "b3") == ("the newest proven one",)
    assert reasons(decided, "b4") == ("the recovery window of 5 days begins with it",)
    assert reasons(decided, "b7") == ("the newest complete one",)
    assert reasons(decided, "b9") == ("the newest",)


def test_nothing_goes_while_the_last_run_failed_and_other_series_do_not_care() -> None:
    mine = days_ago(1, 2, 3, 0)
    other = [dataclasses.replace(b, id=f"o{b.sequence}", series="t") for b in mine]
    bonds = Bonds(failed={"s": "the last run failed"})
    assert kept(plan([*mine, *other], NONE, UTC_NOW, bonds)) == {"b1", "b2", "b3", "b4", "o4"}


def test_seven_bad_runs_push_out_nothing_that_was_good() -> None:
    good = days_ago(*range(10, 20))
    for facts in ({"partial": True}, {"verdict": Verdict.FAILED}, {"kind": Kind.SAFETY}):
        bad = [backup(100 + n, NOW - timedelta(days=9 - n), **facts) for n in range(7)]
        policy = Policy(daily=3, weekly=0, monthly=0, yearly=0, days=30, count=7)
        before = kept(plan(good, policy, UTC_NOW))
        assert before <= kept(plan([*good, *bad], policy, UTC_NOW))


def test_a_failed_backup_stands_in_where_its_period_has_nothing_better_and_says_so() -> None:
    old = NOW - timedelta(days=200)
    failed = backup(1, old, verdict=Verdict.FAILED)
    decided = plan([failed, backup(3, NOW)], Policy(), UTC_NOW)
    assert any("failed: there is nothing better" in text for text in reasons(decided, "b1"))
    better = backup(2, old + timedelta(hours=1))
    decided = plan([failed, better, backup(3, NOW)], Policy(), UTC_NOW)
    assert kept(decided) == {"b2", "b3"}
    assert "month 2026-05: b2 is kept" in reasons(decided, "b1")


def test_every_decision_has_a_reason() -> None:
    decided = plan(days_ago(*range(0, 4000, 3)), Policy(), UTC_NOW)
    assert all(entry.reasons for entry in decided.decisions)
    assert "year: out of reach of BACKUP_KEEP_YEARLY=7" in reasons(decided, "b1")


# Zones and clocks.


def test_days_begin_at_midnight_of_the_zone() -> None:
    late, early = (datetime(2026, 11, 20, hour, 30, tzinfo=UTC) for hour in (22, 23))
    rivals = [backup(1, late), backup(2, early), backup(3, NOW)]
    policy = dataclasses.replace(NONE, daily=30)
    assert kept(plan(rivals, policy, UTC_NOW)) == {"b2", "b3"}
    assert kept(plan(rivals, policy, Moment(now=NOW, zone=BERLIN))) == {"b1", "b2", "b3"}


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_a_day_of_23_or_25_hours_is_one_day(day: date) -> None:
    local = datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)
    after = day + timedelta(days=1)
    end = datetime(after.year, after.month, after.day, tzinfo=BERLIN).astimezone(UTC)
    hours = int((end - local) / timedelta(hours=1))
    assert hours in (23, 25)
    rivals = [backup(n, local + timedelta(hours=n)) for n in range(hours)]
    around = [backup(-1, local - timedelta(minutes=1)), backup(98, end), backup(99, end)]
    now = Moment(now=end + timedelta(days=2), zone=BERLIN)
    policy = dataclasses.replace(NONE, daily=30)
    assert kept(plan([*rivals, *around], policy, now)) == {"b-1", f"b{hours - 1}", "b99"}


def test_weeks_are_those_of_iso_8601_also_over_new_year() -> None:
    now = Moment(now=datetime(2027, 1, 20, tzinfo=UTC), zone=UTC)
    monday = datetime(2026, 12, 28, 2, tzinfo=UTC)
    week = [backup(n, monday + timedelta(days=n)) for n in range(7)]
    newest = backup(9, now.now)
    decided = plan([*week, newest], dataclasses.replace(NONE, weekly=4), now)
    assert kept(decided) == {"b6", "b9"}
    assert reasons(decided, "b6") == ("week 2026-W53",)


def test_a_backup_from_the_future_stays_and_takes_no_place() -> None:
    history = [*days_ago(0.01, 1, 2), backup(9, NOW + timedelta(days=400))]
    decided = plan(history, dataclasses.replace(NONE, daily=30), UTC_NOW)
    assert kept(decided) == {"b1", "b2", "b3", "b9"}
    assert "its time has not come yet: clocks disagree" in reasons(decided, "b9")


def test_the_newest_is_so_by_its_number_and_another_may_be_so_by_the_clock() -> None:
    history = [backup(1, NOW - timedelta(days=2)), backup(2, NOW - timedelta(days=9))]
    decided = plan(history, NONE, UTC_NOW)
    assert reasons(decided, "b2") == ("the newest",)
    assert reasons(decided, "b1") == ("the newest by the clock",)


# Over any history.


def histories(*, zone: bool = True) -> st.SearchStrategy[tuple[list[Backup], Moment]]:
    """Make histories of two series with gaps, failures, holds, verdicts, and clock jumps."""
    one = st.builds(
        Backup,
        id=st.just(""),
        series=st.sampled_from("st"),
        sequence=st.integers(1, 60),
        started_at=st.integers(-40_000, 90_000).map(lambda hours: NOW - timedelta(hours=hours)),
        kind=st.sampled_from([Kind.SCHEDULED, Kind.SCHEDULED, Kind.MANUAL, Kind.SAFETY]),
        verdict=st.sampled_from(Verdict),
        partial=st.sampled_from([False, False, False, True]),
        held=st.sampled_from([False] * 9 + [True]),
        problem=st.sampled_from([""] * 9 + ["no key"]),
    )
    near = st.integers(0, 1000).map(lambda hours: NOW - timedelta(hours=hours))
    young = st.builds(lambda b, at: dataclasses.replace(b, started_at=at), one, near)
    listed = st.lists(one | young, max_size=40).map(
        lambda found: [dataclasses.replace(b, id=f"b{n}") for n, b in enumerate(found)]
    )
    zones = st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Auckland")] if zone else [UTC])
    return st.tuples(listed, zones.map(lambda chosen: Moment(now=NOW, zone=chosen)))


POLICIES = st.builds(
    Policy,
    daily=st.integers(0, 40),
    weekly=st.integers(0, 15),
    monthly=st.integers(0, 15),
    yearly=st.integers(0, 9),
    days=st.integers(1, 50),
    count=st.integers(1, 15),
)
BONDS = st.builds(
    Bonds,
    needed=st.dictionaries(st.sampled_from([f"b{n}" for n in range(40)]), st.just("needed")),
    failed=st.dictionaries(st.sampled_from("st"), st.just("failed"), max_size=1),
)


def protected(found: Iterable[Backup], moment: Moment, bonds: Bonds) -> set[str]:
    """Return what must stay, said again in other words than the code's."""
    stays: set[str] = set()
    listed = list(found)
    for series in {b.series for b in listed}:
        mine = sorted((b for b in listed if b.series == series), key=lambda b: b.rank)
        readable = [b for b in mine if not b.problem]
        whole = [b for b in readable if not b.partial and b.verdict is not Verdict.FAILED]
        usual = [b for b in whole if b.kind is not Kind.SAFETY]
        proven = [b for b in readable if b.verdict is Verdict.PROVEN]
        for group in (readable, usual, proven):
            stays |= {group[-1].id} if group else set()
        stays |= {b.id for b in mine if b.held or b.problem or b.id in bonds.needed}
        week = timedelta(days=7)
        safety = (b for b in mine if b.kind is Kind.SAFETY)
        stays |= {b.id for b in safety if moment.now - b.started_at < week}
        stays |= {b.id for b in mine if series in bonds.failed}
    return stays


@given(histories(), POLICIES, BONDS)
def test_the_protected_are_never_removed(
    history: tuple[list[Backup], Moment], policy: Policy, bonds: Bonds
) -> None:
    found, moment = history
    assert protected(found, moment, bonds) <= kept(plan(found, policy, moment, bonds))


@given(histories(), POLICIES, BONDS)
def test_a_plan_that_was_carried_out_removes_nothing_more_and_planning_twice_is_the_same(
    history: tuple[list[Backup], Moment], policy: Policy, bonds: Bonds
) -> None:
    found, moment = history
    first = plan(found, policy, moment, bonds)
    assert plan(reversed(found), policy, moment, bonds) == first
    again = plan([entry.backup for entry in first.kept], policy, moment, bonds)
    assert again.removed == ()


@given(histories(), POLICIES, BONDS, POLICIES)
def test_more_retention_never_removes_more(
    history: tuple[list[Backup], Moment], policy: Policy, bonds: Bonds, more: Policy
) -> None:
    found, moment = history
    names = [field.name for field in dataclasses.fields(Policy)]
    raised = Policy(**{name: getattr(policy, name) + getattr(more, name) for name in names})
    less = kept(plan(found, policy, moment, bonds))
    assert less <= kept(plan(found, raised, moment, bonds))
    assert less <= kept(plan([dataclasses.replace(b, held=True) for b in found], policy, moment))


@given(histories(), POLICIES, BONDS)
def test_bad_and_safety_backups_never_cost_a_good_one_its_place(
    history: tuple[list[Backup], Moment], policy: Policy, bonds: Bonds
) -> None:
    found, moment = history
    good = [b for b in found if b.worth is Worth.GOOD]
    alone = kept(plan(good, policy, moment, bonds))
    assert alone <= kept(plan(found, policy, moment, bonds))


@given(histories(), POLICIES, BONDS)
def test_each_period_within_reach_keeps_its_best(
    history: tuple[list[Backup], Moment], policy: Policy, bonds: Bonds
) -> None:
    found, moment = history
    stays = kept(plan(found, policy, moment, bonds))
    today = moment.now.astimezone(moment.zone).date()
    numbered: tuple[tuple[int, Callable[[date], int]], ...] = (
        (policy.daily, lambda day: (today - day).days),
        (policy.weekly, lambda day: (monday(today) - monday(day)).days // 7),
        (policy.monthly, lambda day: (today.year - day.year) * 12 + today.month - day.month),
        (policy.yearly, lambda day: today.year - day.year),
    )
    for series in "st":
        usable = [b for b in found if b.series == series and not b.problem]
        for reach, back in numbered:
            for number in range(reach + 1 if reach else 0):
                rivals = [
                    b for b in usable if back(b.started_at.astimezone(moment.zone).date()) == number
                ]
                usual = [b for b in rivals if b.worth is Worth.GOOD]
                assert not rivals or stays & {b.id for b in rivals}
                assert not usual or stays & {b.id for b in usual}
                proven = {b.id for b in usual if b.verdict is Verdict.PROVEN}
                assert not proven or stays & proven


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@given(histories(zone=False), st.integers(1, 40))
@settings(max_examples=30)
def test_what_the_strategy_calls_automatic_cleanup_holds(
    history: tuple[list[Backup], Moment], count: int
) -> None:
    found, moment = history
    decided = plan(found, Policy(count=count), moment)
    for entry in decided.removed:
        made = entry.backup.started_at
        same_week = [
            other.backup
            for other in decided.kept
            if other.backup.series == entry.backup.series
            and monday(other.backup.started_at.date()) == monday(made.date())
        ]
        same_month = [
            other.backup
            for other in decided.kept
            if other.backup.series == entry.backup.series
            and (other.backup.started_at.year, other.backup.started_at.month)
            == (made.year, made.month)
        ]
        assert moment.now - made > timedelta(days=31) or same_week
        assert moment.now - made > timedelta(days=365) or same_month


# Years of nights.


def expected_days(today: date, first: date) -> set[date]:
    """Return the nights of which a backup is there, by counting days in a calendar."""
    nights = {today - timedelta(days=back) for back in range(31)}
    nights |= {monday(today) - timedelta(days=7 * back - 6) for back in range(1, 13)}
    for back in range(1, 13):
        year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
        nights.add(date(year, month + 1, calendar.monthrange(year, month + 1)[1]))
    nights |= {date(today.year - back, 12, 31) for back in range(1, 8)}
    return {night for night in nights if first <= night <= today}


def test_thirty_years_of_daily_backups_keep_exactly_what_the_rules_say() -> None:
    first = datetime(1996, 11, 24, 2, tzinfo=UTC)
    there: list[Backup] = []
    most = 0
    for night in range(30 * 365 + 8):
        started_at = first + timedelta(days=night)
        there.append(backup(night + 1, started_at))
        if night > 400 and night % 5:
            continue  # To be quick: later on not every night is followed by a prune.
        moment = Moment(now=started_at + timedelta(minutes=5), zone=UTC)
        there = [entry.backup for entry in plan(there, Policy(), moment).kept]
        most = max(most, len(there))
        if night % 95 == 0 or night < 40:
            expected = expected_days(started_at.date(), first.date())
            assert {b.started_at.date() for b in there} == expected
    assert most == 57


def kept_after(nights: int, last: datetime) -> list[tuple[date, tuple[str, ...]]]:
    """Return the nights whose backups are there at the end of so many, and what keeps each."""
    there: list[Backup] = []
    decided = Plan(decisions=())
    for night in range(nights):
        made = backup(night + 1, last - timedelta(days=nights - 1 - night))
        if night < nights - 1 and night % 5:
            there.append(made)
            continue
        moment = Moment(now=made.started_at + timedelta(minutes=5), zone=UTC)
        decided = plan([*there, made], Policy(), moment)
        there = [entry.backup for entry in decided.kept]
    return [(entry.backup.started_at.date(), entry.reasons) for entry in decided.kept]


def rows_of_the_page() -> list[str]:
    """Return the rows of the table in docs/reference/retention.md, simulated anew."""
    last = datetime(2026, 11, 24, 2, tzinfo=UTC)
    rows = []
    for nights in (7, 30, 90, 365, 2 * 365, 4 * 365 + 1, 8 * 365 + 2):
        kept_nights = kept_after(nights, last)
        firsts = [
            next(tier for tier in ("day", "week", "month", "year") if tier in " ".join(why))
            for _, why in kept_nights
        ]
        by_tier = [firsts.count(tier) for tier in ("day", "week", "month", "year")]
        cells = [f"{nights:,}", str(len(kept_nights)), *map(str, by_tier), str(kept_nights[0][0])]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_the_table_in_the_documentation_is_what_the_simulation_gives() -> None:
    page = Path(__file__).parents[2] / "docs/reference/retention.md"
    text = page.read_text(encoding="utf-8")
    assert [row for row in rows_of_the_page() if row not in text] == []


def test_a_proven_safety_backup_does_not_cost_the_newest_proven_one_its_place() -> None:
    proven = {"verdict": Verdict.PROVEN}
    history = [
        backup(1, NOW - timedelta(days=400), **proven),
        backup(2, NOW - timedelta(days=300), **proven),
        backup(3, NOW - timedelta(days=200), kind=Kind.SAFETY, **proven),
        backup(4, NOW),
    ]

    decided = plan(history, NONE, UTC_NOW)

    assert kept(decided) == {"b2", "b3", "b4"}
    assert reasons(decided, "b2") == ("the newest proven one but safety backups",)
