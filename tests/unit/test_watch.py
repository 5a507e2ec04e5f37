"""The anomaly watch around a repository: what it holds, says, and leaves alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from support.manifests import DETAILS, KEY, MORNING, Wanted, put_backup
from support.memory import MemoryStorage
from support.shelf import check, context_at
from ulasis_backup.errors import StorageFull
from ulasis_backup.events import Event, Notice
from ulasis_backup.model import Kind, TableSummary, Verdict
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.follow_up import follow_up
from ulasis_backup.operations.hold import hold, release
from ulasis_backup.operations.keep import Wish
from ulasis_backup.operations.prune import prune
from ulasis_backup.operations.status import status
from ulasis_backup.operations.status_values import Level
from ulasis_backup.operations.watch import watch_all
from ulasis_backup.repository import holds, repository, runs
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import load


def _table(name: str, rows: int) -> TableSummary:
    return TableSummary(name=name, rows=rows, bytes=9, definition="11", rows_digest="22")


def _put(context: Context, day: int, kind: Kind = Kind.SCHEDULED, **rows: int) -> PayloadName:
    tables = tuple(_table(name, count) for name, count in rows.items())
    details = replace(DETAILS, tables=tables)
    wanted = Wanted(days=day, key=KEY, kind=kind, details=details)
    return put_backup(context.repository, wanted)


def _made(context: Context, name: PayloadName) -> MadeBackup:
    return MadeBackup(name=name, manifest=load(context.repository, name), seconds=1.0)


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def context(tmp_path: Path, said: list[Event]) -> Context:
    return replace(context_at(tmp_path), observe=said.append)


def _held(context: Context) -> list[str]:
    entries = repository.listing(context.repository).entries
    return sorted(holds.held(context.repository, entries))


def test_the_last_good_backup_is_held_and_stays_a_problem_until_it_is_released(
    context: Context, said: list[Event]
) -> None:
    nights = [_put(context, day, orders=1000 + day, secrets=500) for day in range(6)]
    check(context, nights[-1], Verdict.FAILED, MORNING)
    new = _put(context, 6, orders=1006)

    (found,) = watch_all(context, [_made(context, new)])

    assert [str(one) for one in found.anomalies] == [
        "secrets: the table is gone; it had 500 rows"
    ]  # fmt: skip
    assert found.held == str(nights[-2]), "the newest before it that did not fail"
    assert _held(context) == [nights[-2].backup_id]
    (notice,) = [event for event in said if isinstance(event, Notice)]
    assert f"ulasis-backup release {nights[-2]}" in notice.hint
    note = holds.held_one(context.repository, load(context.repository, nights[-2]))
    assert note
    assert "secrets" not in note.note, "notes of holds are in the open"
    later = status(context, moment=MORNING.replace(day=28))
    keys = [problem.key for problem in later.all_problems]
    assert f"{nights[-2]} anomaly" in keys
    assert later.level >= Level.WARNING
    release(context, nights[-2])
    keys = [problem.key for problem in status(context).all_problems]
    assert f"{nights[-2]} anomaly" not in keys


def test_a_usual_backup_holds_nothing(context: Context, said: list[Event]) -> None:
    for day in range(6):
        _put(context, day, orders=1000 + day)
    new = _put(context, 6, orders=1003)

    assert watch_all(context, [_made(context, new)]) == ()
    assert _held(context) == []
    assert said == []


def test_safety_backups_and_other_methods_say_nothing_of_what_is_usual(context: Context) -> None:
    for day in range(6):
        _put(context, day, Kind.SAFETY, orders=1000)
    new = _put(context, 6)

    assert watch_all(context, [_made(context, new)]) == ()


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    context = context_at(tmp_path, backup_anomaly_watch=False)
    for day in range(6):
        _put(context, day, orders=1000)
    new = _put(context, 6)

    assert follow_up(context, [_made(context, new)], held=False, note="").watched == ()
    assert _held(context) == []


def test_the_prune_behind_it_spares_what_it_holds(tmp_path: Path) -> None:
    context = context_at(
        tmp_path, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0,
        backup_keep_yearly=0, backup_max_count=1,
    )  # fmt: skip
    nights = [_put(context, day, orders=1000) for day in range(6)]
    new = _put(context, 6, other=1)

    done = follow_up(context, [_made(context, new)], held=False, note="")

    assert done.failures == ()
    assert done.watched[0].held == str(nights[-1])
    left = {str(entry.name) for entry in repository.listing(context.repository).entries}
    assert {str(nights[-1]), str(new)} <= left


@pytest.mark.parametrize("note", ["keep for the court", ""])
def test_a_hold_of_somebody_else_is_not_taken_over(context: Context, note: str) -> None:
    nights = [_put(context, day, orders=1000) for day in range(6)]
    hold(context, nights[-1], note=note)

    watch_all(context, [_made(context, _put(context, 6))])

    (found,) = [p for p in status(context).all_problems if p.key.endswith(" anomaly")]
    wanted = note or "held by hand"
    assert found.hint.endswith(f"ulasis-backup hold {nights[-1]} --note '{wanted}'")
    hold(context, nights[-1], note=wanted)
    assert not [p for p in status(context).all_problems if p.key.endswith(" anomaly")]
    assert _held(context) == [nights[-1].backup_id]


def test_nothing_is_pruned_where_the_last_good_one_could_not_be_held(tmp_path: Path) -> None:
    class Full(MemoryStorage):
        def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
            if name.startswith(holds.FOLDER):
                raise StorageFull("no room", hint="it is a test")
            super().put(name, chunks, replace=replace)

    context = context_at(tmp_path, backup_keep_daily=0, backup_max_count=1)
    context = replace(context, repository=replace(context.repository, storage=Full()))
    nights = [_put(context, day, orders=1000) for day in range(6)]
    new = _put(context, 6, other=1)
    series = load(context.repository, new).header.series
    runs.succeed(context.repository.storage, series, at=MORNING.isoformat(), backup_id="x")

    done = follow_up(context, [_made(context, new)], held=False, note="")

    assert done.pruned is None
    (failure,) = done.failures
    assert "no room" in failure.message
    left = {str(entry.name) for entry in repository.listing(context.repository).entries}
    assert {str(name) for name in nights} <= left


def test_suspicious_backups_in_a_row_push_out_nothing_that_was_good(tmp_path: Path) -> None:
    context = context_at(
        tmp_path, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0,
        backup_keep_yearly=0, backup_max_count=3, backup_retention_days=1000,
    )  # fmt: skip
    nights = [_put(context, day, orders=1000, secrets=500) for day in range(3)]
    series = load(context.repository, nights[0]).header.series
    storage = context.repository.storage
    for day in range(3, 10):
        new = _put(context, day, orders=1)
        runs.succeed(storage, series, at=MORNING.isoformat(), backup_id="x")
        assert follow_up(context, [_made(context, new)], held=False, note="").failures == ()
    left = {str(entry.name) for entry in repository.listing(context.repository).entries}
    assert {str(name) for name in nights} <= left
    release(context, nights[-1])
    assert prune(context, Wish()).removed
