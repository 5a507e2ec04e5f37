"""The status: what is open, how bad it is, and that nothing false is called fine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from support.manifests import KEY, MORNING, Wanted
from support.memory import MemoryStorage
from support.shelf import check, context_at, put, put_wanted
from ulasis_backup.cli.statuses import sparkline
from ulasis_backup.errors import ServerUnreachable
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.prove import newest
from ulasis_backup.operations.remove import delete
from ulasis_backup.operations.runlog import note_used
from ulasis_backup.operations.status import status
from ulasis_backup.operations.status_values import Level, Status
from ulasis_backup.repository import runs
from ulasis_backup.repository.repository import Repository, listing, load

EVENING = MORNING + timedelta(hours=10)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return context_at(tmp_path)


def _keys(found: Status) -> list[str]:
    return [problem.key for problem in found.all_problems]


def test_a_fresh_backup_that_was_proven_is_fine(context: Context) -> None:
    name = put(context)
    check(context, name, Verdict.PROVEN, EVENING)

    found = status(context, moment=EVENING)

    (series,) = found.series
    assert found.level is Level.OK, found.all_problems
    assert series.newest
    assert series.newest_proven
    assert series.newest.name == series.newest_proven.name == str(name)
    assert series.rpo == timedelta(hours=10).total_seconds()
    assert series.rto
    assert series.rto.likely == 10.0


def test_no_backup_is_critical_whatever_lies_there_of_others(context: Context) -> None:
    put_wanted(context, Wanted(key=KEY, database="other"))

    found = status(context, moment=EVENING)

    assert found.level is Level.CRITICAL
    assert _keys(found) == ["db1:3306/shop none"]
    assert "ulasis-backup backup" in found.all_problems[0].hint


def test_a_safety_backup_is_no_backup_of_today(context: Context) -> None:
    put(context, days=-3)
    put(context, kind=Kind.SAFETY)

    assert "db1:3306/shop rpo" in _keys(status(context, moment=EVENING))


@pytest.mark.parametrize(
    ("hours", "level"),
    [(24.5, Level.OK), (26, Level.WARNING), (35, Level.WARNING), (37, Level.CRITICAL)],
)
def test_the_older_the_newest_backup_the_worse(
    context: Context, hours: float, level: Level
) -> None:
    check(context, put(context), Verdict.PROVEN, MORNING)

    found = status(context, moment=MORNING + timedelta(hours=hours))

    assert found.level is level


def test_a_failed_newest_backup_counts_for_nothing(context: Context) -> None:
    good, bad = put(context, days=-1), put(context)
    check(context, good, Verdict.PROVEN, EVENING)
    check(context, bad, Verdict.FAILED, EVENING)

    found = status(context, moment=EVENING)

    (series,) = found.series
    assert found.level is Level.CRITICAL
    assert series.newest
    assert series.newest.name == str(good)
    assert series.rpo == timedelta(hours=34).total_seconds()
    assert f"{bad} failed" in _keys(found)
    assert "a byte is wrong" in found.all_problems[0].message


def test_what_nobody_verified_or_proved_is_a_warning(context: Context) -> None:
    name = [put(context, days=day) for day in range(40)][-1]
    now = MORNING + timedelta(days=39, hours=3)

    assert _keys(status(context, moment=now)) == [
        "db1:3306/shop unchecked", "db1:3306/shop unproven",
    ]  # fmt: skip
    check(context, name, Verdict.INTACT, now)
    assert _keys(status(context, moment=now)) == ["db1:3306/shop unproven"]
    check(context, name, Verdict.PROVEN, now)
    assert _keys(status(context, moment=now)) == []


def test_a_restore_that_would_take_too_long_is_told(context: Context) -> None:
    name = put(context)
    check(context, name, Verdict.PROVEN, EVENING, seconds=3 * 3600)

    found = status(context, moment=EVENING)

    assert found.level is Level.WARNING, "at most one and a half times three hours"
    assert _keys(found) == ["db1:3306/shop rto"]


def test_storage_without_room_is_critical(context: Context) -> None:
    check(context, put(context), Verdict.PROVEN, EVENING)
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)

    storage.free = 3
    assert status(context, moment=EVENING).level is Level.CRITICAL
    storage.free = 10
    assert status(context, moment=EVENING).level is Level.WARNING
    storage.free = 10**12
    assert status(context, moment=EVENING).level is Level.OK


def test_a_run_that_failed_is_told_even_while_the_newest_backup_is_young(context: Context) -> None:
    name = put(context)
    check(context, name, Verdict.PROVEN, EVENING)
    series = load(context.repository, name).header.series
    storage = context.repository.storage

    runs.begin(storage, series, at=MORNING.isoformat())
    assert status(context, moment=EVENING).level is Level.OK
    assert _keys(status(context, moment=MORNING + timedelta(hours=13))) == ["db1:3306/shop run"]
    runs.fail(storage, series, ServerUnreachable("gone"), at=EVENING.isoformat())
    assert status(context, moment=EVENING).level is Level.CRITICAL
    runs.succeed(storage, series, at=EVENING.isoformat(), backup_id="x")
    assert status(context, moment=EVENING).level is Level.OK


def test_a_backup_that_cannot_be_read_is_named(context: Context) -> None:
    name = put(context)
    check(context, name, Verdict.PROVEN, EVENING)
    other = put_wanted(context, Wanted(key=bytes(32), days=-1))

    found = status(context, moment=EVENING)

    assert found.level is Level.WARNING
    assert f"{other} unreadable" in _keys(found)


def test_every_series_is_looked_at_on_request(context: Context) -> None:
    put_wanted(context, Wanted(key=KEY, database="a"))
    put_wanted(context, Wanted(key=KEY, database="b", days=-9))

    found = status(context, everything=True, moment=EVENING)

    assert [series.databases for series in found.series] == [("a",), ("b",)]
    assert "db1:3306/b rpo" in _keys(found)
    assert "db1:3306/a rpo" not in _keys(found)


def test_a_clock_that_was_put_back_makes_nothing_fine_or_late(context: Context) -> None:
    check(context, put(context), Verdict.PROVEN, EVENING)

    (series,) = status(context, moment=MORNING - timedelta(days=100)).series

    assert series.rpo == 0.0


def test_bars_show_the_course_of_sizes() -> None:
    assert sparkline([1, 2, 3, 8]) == "▁▂▃█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([]) == "-"
    assert len(sparkline(range(100))) == 20


def test_titles_stay_while_numbers_move(context: Context) -> None:
    put(context)
    told = []
    for hours in (30, 31):
        problems = status(context, moment=MORNING + timedelta(hours=hours)).all_problems
        (problem,) = [one for one in problems if one.key.endswith(" rpo")]
        told.append((problem.title, problem.message))

    assert told[0][0] == told[1][0]
    assert told[0][1] != told[1][1]


def test_gaps_that_retention_leaves_are_no_problem(context: Context) -> None:
    nights = [put(context, days=day) for day in range(4)]
    check(context, nights[-1], Verdict.PROVEN, EVENING + timedelta(days=3))
    delete(context.repository, nights[1])

    found = status(context, moment=EVENING + timedelta(days=3))

    assert found.level is Level.OK, found.all_problems
    assert listing(context.repository).doubts, "`list` shows it all the same"


def test_a_newest_backup_from_the_future_does_not_seem_young(context: Context) -> None:
    name = put(context, days=300)
    check(context, name, Verdict.PROVEN, EVENING)

    found = status(context, moment=EVENING)

    assert found.level is Level.WARNING
    assert _keys(found) == ["db1:3306/shop clock"]


def test_a_proof_from_the_future_silences_nothing(context: Context) -> None:
    name = [put(context, days=day) for day in range(40)][-1]
    now = MORNING + timedelta(days=39, hours=3)
    check(context, name, Verdict.PROVEN, now + timedelta(days=300))

    assert _keys(status(context, moment=now)) == [
        "db1:3306/shop unchecked", "db1:3306/shop unproven",
    ]  # fmt: skip


def test_a_partial_newest_backup_is_told(context: Context) -> None:
    whole = put(context)
    check(context, whole, Verdict.INTACT, EVENING)
    name = put_wanted(context, Wanted(key=KEY, partial=True))
    check(context, name, Verdict.INTACT, EVENING)

    found = status(context, moment=EVENING)
    assert _keys(found) == ["db1:3306/shop partial"]
    assert found.series[0].newest
    assert found.series[0].newest.name == str(whole)


def test_partial_backups_alone_are_no_good_backup(context: Context) -> None:
    put_wanted(context, Wanted(key=KEY, partial=True))
    assert "db1:3306/shop none" in _keys(status(context, moment=EVENING))


def test_a_run_that_left_no_record_is_told(context: Context) -> None:
    """As on a full disk: not even the failure could be written."""
    name = put(context)
    check(context, name, Verdict.PROVEN, MORNING)
    series = listing(context.repository).entries[0].manifest.header.series
    context.repository.storage.delete(f"runs/succeeded-{series}.json")
    assert _keys(status(context, moment=EVENING)) == ["db1:3306/shop run"]


def test_a_series_that_was_never_checked_is_told_whatever_retention_left_of_it(
    context: Context,
) -> None:
    nights = [put(context, days=day) for day in range(90)]
    for night in nights[:-7]:
        delete(context.repository, night)
    found = status(context, moment=EVENING + timedelta(days=89))
    assert _keys(found) == ["db1:3306/shop unchecked", "db1:3306/shop unproven"]


def test_a_database_that_was_dropped_for_good_is_left_in_peace(tmp_path: Path) -> None:
    context = context_at(tmp_path, db_name="*", backup_method="sql")
    put_wanted(context, Wanted(key=KEY, database="old"))
    put_wanted(context, Wanted(key=KEY, database="shop", days=300))
    evening = EVENING + timedelta(days=300)
    assert "db1:3306/old rpo" in _keys(status(context, moment=evening))
    retired = context_at(tmp_path, db_name="*", backup_method="sql", backup_retired="older, old")
    retired = replace(context, config=retired.config)
    assert _keys(status(retired, moment=evening)) == []


def test_without_the_key_nothing_is_known(context: Context) -> None:
    check(context, put(context), Verdict.PROVEN, EVENING)
    keyless = replace(context, repository=Repository(context.repository.storage, None))

    found = status(keyless, moment=EVENING)

    assert found.level is Level.UNKNOWN
    assert _keys(found) == ["db1:3306/shop locked"]
    assert status(context_at(Path("elsewhere")), moment=EVENING).level is Level.CRITICAL


def test_by_sql_each_of_all_databases_is_a_series(tmp_path: Path) -> None:
    context = context_at(tmp_path, db_name="*", backup_method="sql")
    for name in ("a", "b"):
        put_wanted(context, Wanted(key=KEY, database=name))
    put_wanted(context, Wanted(key=KEY, database="c", server_name="db2:3306"))

    found = status(context, moment=EVENING)

    assert [series.databases for series in found.series] == [("a",), ("b",)]
    assert found.level is Level.OK, found.all_problems
    assert [name.backup_id[0] for name in newest(context)] == ["a", "b"]


def test_storage_that_is_pruned_as_it_grows_is_never_full(context: Context) -> None:
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    storage.free = 13 << 30
    for day in range(30):
        note_used(context.config, MORNING + timedelta(days=day), (40 << 30) + day % 3)
    name = put(context, days=29)
    now = MORNING + timedelta(days=29, hours=1)
    check(context, name, Verdict.PROVEN, now)

    settled = status(context, moment=now)
    for day in range(30, 60):
        note_used(context.config, MORNING + timedelta(days=day), (day + 11) << 30)
    storage.free = 5 << 30
    growing = status(context, moment=MORNING + timedelta(days=60))

    assert settled.storage.full_at is None
    assert growing.storage.full_at is not None
    assert "storage room" in _keys(growing)
