"""Removing backups: what goes, goes whole; what anybody needs stays; nothing foreign is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from support.manifests import KEY, MORNING, Wanted, put_backup
from support.memory import MemoryStorage
from ulasis_backup.config import make_config
from ulasis_backup.errors import (
    BackupNotFound,
    Busy,
    CouldNotCheck,
    Refused,
    ServerUnreachable,
    StorageDenied,
    StorageError,
    StorageFull,
)
from ulasis_backup.events import Event, Notice, ignore
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations import prune as operation
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context, reading
from ulasis_backup.operations.follow_up import FollowUp, follow_up
from ulasis_backup.operations.hold import held_backup, hold, release
from ulasis_backup.operations.keep import Wish, look
from ulasis_backup.operations.prune import Pruned
from ulasis_backup.repository import canonical, holds, locks, marks, proofs, repository, runs
from ulasis_backup.repository.names import PayloadName, parse_manifest
from ulasis_backup.repository.proofs import Check, Proof
from ulasis_backup.repository.repository import Repository
from ulasis_backup.settings import Settings
from ulasis_backup.storage.base import Blob
from ulasis_backup.storage.local import LocalStorage

NIGHTS = 14
VICTIMS = slice(1, 6)
"""The nights that KEEP lets go of: a Sunday, and the last eight, stay."""

KEEP = {"backup_keep_daily": 7, "backup_keep_weekly": 4, "backup_retention_days": 7}
NOW = MORNING + timedelta(days=NIGHTS - 1, minutes=5)
AT = NOW.isoformat()
FOREIGN = (
    "ulasis-backup-2023-10-26.sql.gz.enc",
    "ulasis-backup-2023-10-26.sql.gz.enc.meta.json",
    "notes.txt",
    "keys/notes.txt",
    "keys/my-own.json",
    "locks/reading-nobody",
    "runs/notes",
    "shop-backup-2026-11-22T020000Z-4f1c.sql.gz.part",
)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Failing(MemoryStorage):
    """A storage whose deletions fail after the first few."""

    left = 10**9

    def delete(self, name: str) -> None:
        if self.left <= 0:
            raise StorageError("the network is gone", hint="it is a test")
        self.left -= 1
        super().delete(name)


class Full(MemoryStorage):
    """A storage that has no room for anything while it is ``full`` and nothing was deleted."""

    full = False

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        if self.full:
            raise StorageFull("no room", hint="it is a test")
        super().put(name, chunks, replace=replace)

    def delete(self, name: str) -> None:
        self.full = self.full and name not in self.blobs
        super().delete(name)


class Watched(MemoryStorage):
    """A storage that lets somebody else act when a sign of removing has been written."""

    then: Callable[[], object] | None = None

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        super().put(name, chunks, replace=replace)
        if name.startswith(locks.REMOVING) and self.then:
            then, self.then = self.then, None
            then()


def world(
    storage: MemoryStorage | LocalStorage, key: bytes | None = None, **settings: object
) -> Context:
    config = make_config(Settings(**KEEP | settings))  # type: ignore[arg-type]
    repo = Repository(storage, key)
    repository.ensure(repo)
    return Context(config=config, repository=repo, observe=ignore)


def shelf(context: Context, nights: int = NIGHTS, **wanted: object) -> list[PayloadName]:
    """Put a backup of each night, the last run being a success."""
    storage = context.repository.storage
    if nights == NIGHTS and isinstance(storage, MemoryStorage):
        made, blobs = full_shelf(context.repository.key)
        storage.put_back(blobs)
        return list(made)
    want = Wanted(key=context.repository.key, **wanted)  # type: ignore[arg-type]
    made = [
        put_backup(context.repository, dataclasses.replace(want, days=night))
        for night in range(nights)
    ]
    succeed(context)
    return made


@cache
def full_shelf(key: bytes | None) -> tuple[list[PayloadName], dict[str, tuple[bytes, datetime]]]:
    """Put a backup of each night once for all tests: numbering them takes its time."""
    storage = MemoryStorage()
    context = world(storage, key)
    made = [put_backup(context.repository, Wanted(days=n, key=key)) for n in range(NIGHTS)]
    succeed(context)
    return made, storage.copy()


def succeed(context: Context) -> None:
    for series in series_of(context):
        runs.succeed(context.repository.storage, series, at=AT, backup_id="x")


def series_of(context: Context) -> set[str]:
    entries = repository.listing(context.repository).entries
    return {entry.manifest.header.series for entry in entries}


def prune(context: Context, wish: Wish | None = None, *, at: datetime = NOW) -> Pruned:
    return operation.prune(context, wish, at=at)


def there(context: Context) -> set[str]:
    return {str(entry.name) for entry in repository.listing(context.repository).entries}


def files(context: Context, name: PayloadName) -> set[str]:
    """Return every blob that belongs to a backup."""
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    return {blob for blob in storage.blobs if name.backup_id in blob}


def prove(context: Context, name: PayloadName, verdict: Verdict) -> None:
    manifest = repository.load_trusted(context.repository, name)
    proof = Proof(
        backup=name.backup_id, manifest=manifest.digest, check=Check.TEST_RESTORE,
        verdict=verdict, started_at=AT, finished_at=AT, host="h", tool="t",
    )  # fmt: skip
    proofs.record(context.repository, manifest, proof)


def reasons(done: Pruned, name: PayloadName) -> tuple[str, ...]:
    (found,) = (one.reasons for one in done.found.plan.decisions if one.backup.id == str(name))
    return found


@pytest.fixture(params=[None, KEY], ids=["unsigned", "encrypted"])
def context(request: pytest.FixtureRequest) -> Context:
    return world(MemoryStorage(), request.param)


def test_what_is_removed_goes_whole_and_the_rest_is_as_it_was(context: Context) -> None:
    made = shelf(context)
    for name in made:
        prove(context, name, Verdict.INTACT)
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    before = storage.copy()
    planned = operation.plan_prune(context, Wish(), at=NOW)
    assert storage.copy() == before
    done = prune(context)
    assert [str(name) for name in done.removed] == [
        one.backup.id for one in planned.found.plan.removed
    ]
    assert list(done.removed) == made[VICTIMS]
    assert there(context) == {str(name) for name in set(made) - set(done.removed)}
    after = storage.copy()
    gone = {blob for name in done.removed for blob in before if name.backup_id in blob}
    assert before.keys() - after.keys() == gone
    assert after.items() <= before.items()
    assert prune(context).removed == ()


def test_verdicts_decide_which_of_a_period_stays(context: Context) -> None:
    made = shelf(context)
    prove(context, made[2], Verdict.PROVEN)
    prove(context, made[3], Verdict.INTACT)
    prove(context, made[-1], Verdict.FAILED)
    done = prune(context)
    assert str(made[2]) in there(context)
    assert "the newest proven one" in reasons(done, made[2])
    assert str(made[-1]) in there(context)


def test_series_are_pruned_apart(context: Context) -> None:
    made = [*shelf(context, 3), *shelf(context, 3, database="blog")]
    later = NOW + 9 * 366 * DAY
    (entry,) = (e for e in repository.listing(context.repository).entries if e.name == made[0])
    wish = Wish(series=frozenset({entry.manifest.header.series}))
    done = prune(context, wish, at=later)
    assert set(done.removed) == set(made[:2])
    assert reasons(done, made[3]) == ("of another series",)
    assert set(prune(context, at=later).removed) == set(made[3:5])


def test_a_prune_without_a_repository_is_no_success() -> None:
    storage = MemoryStorage()
    context = dataclasses.replace(world(MemoryStorage()), repository=Repository(storage, None))
    with pytest.raises(CouldNotCheck):
        prune(context)
    assert storage.blobs == {}


# What forbids removing.


def test_a_held_backup_stays_until_it_is_released(context: Context) -> None:
    made = shelf(context)
    hold(context, made[1], note="before the migration")
    done = prune(context)
    assert str(made[1]) in there(context)
    assert "held" in reasons(done, made[1])
    assert release(context, made[1])
    assert not release(context, made[1])
    assert made[1] in prune(context).removed
    assert files(context, made[1]) == set()


def test_holding_again_keeps_the_note(context: Context) -> None:
    (name,) = shelf(context, 1)
    hold(context, name, note="why")
    assert hold(context, name).note == "why"
    manifest = repository.load_trusted(context.repository, name)
    found = holds.held_one(context.repository, manifest)
    assert found is not None
    assert (found.note, found.problem) == ("why", "")


def test_a_hold_that_cannot_be_believed_holds_and_is_named(context: Context) -> None:
    made = shelf(context)
    hold(context, made[1])
    hold(context, made[2], note="x")
    storage = context.repository.storage
    good = b"".join(storage.open(holds.path_of(made[2].backup_id)))
    wrong = (b"", b"{}", good.replace(b'"x"', b'"y"'), good)
    for data in wrong:
        storage.put(holds.path_of(made[1].backup_id), [data], replace=True)
        done = prune(context)
        assert {str(made[1]), str(made[2])} <= there(context)
        assert any(made[1].backup_id in doubt for doubt in done.found.doubts), data


def test_a_hold_set_without_the_key_holds() -> None:
    context = world(MemoryStorage(), KEY)
    made = shelf(context)
    said: list[Event] = []
    keyless = Repository(context.repository.storage, None)
    hold(dataclasses.replace(context, repository=keyless, observe=said.append), made[1])
    done = prune(context)
    assert str(made[1]) in there(context)
    assert any("not authentic" in doubt for doubt in done.found.doubts)


def test_without_the_key_nothing_is_removed() -> None:
    context = world(MemoryStorage(), KEY)
    shelf(context)
    for key in (None, bytes(32)):
        other = dataclasses.replace(context, repository=Repository(context.repository.storage, key))
        done = prune(other)
        assert done.removed == ()
        assert len(there(context)) == NIGHTS


def test_what_was_made_without_the_key_is_not_judged_with_it() -> None:
    storage = MemoryStorage()
    made = shelf(world(storage))
    done = prune(world(storage, KEY))
    assert done.removed == ()
    assert "not signed" in reasons(done, made[0])[0]


def test_an_unreadable_manifest_costs_no_other_backup_its_place(context: Context) -> None:
    made = shelf(context)
    kept = {one.backup.id for one in operation.plan_prune(context, Wish(), at=NOW).found.plan.kept}
    context.repository.storage.put(made[-1].manifest, [b"{"], replace=True)
    done = prune(context)
    assert kept - {str(made[-1])} <= there(context)
    assert any(made[-1].manifest in doubt for doubt in done.found.doubts)
    assert done.problem is None
    # Objects may be needed by what cannot be read.
    marks.note_epoch(context.repository.storage, "0123456789abcdef")
    problem = prune(context).problem
    assert problem is not None
    assert made[-1].manifest in problem.message
    assert context.repository.storage.stat(str(made[-1]))


def test_a_backup_that_somebody_reads_stays(context: Context) -> None:
    made = shelf(context)
    with reading(context, made[1]):
        done = prune(context)
        assert str(made[1]) in there(context)
        assert "somebody has been reading it" in " ".join(reasons(done, made[1]))
    assert made[1] in prune(context).removed


def test_a_reader_that_was_killed_stops_counting_after_the_grace_period(context: Context) -> None:
    made = shelf(context)
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    sign = locks.reading(storage, made[1].backup_id)
    sign.__enter__()
    storage.pass_time(timedelta(hours=47))
    assert made[1] not in prune(context).removed
    storage.pass_time(timedelta(hours=2))
    assert made[1] in prune(context).removed
    assert list(storage.list(locks.FOLDER)) == []


def test_nobody_begins_to_read_what_is_being_removed_for_as_long_as_that_may_last() -> None:
    storage = MemoryStorage()
    context = world(storage)
    made = shelf(context, 2)
    locks.begin_removing(storage, made[0].backup_id)
    with pytest.raises(Busy), reading(context, made[0]):
        pass
    with pytest.raises(Busy):
        hold(context, made[0])
    with reading(context, made[1]):
        pass
    storage.pass_time(HOUR / 4)
    with reading(context, made[0]):
        pass


def test_a_read_only_storage_keeps_nobody_from_reading() -> None:
    class Denied(MemoryStorage):
        def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:  # noqa: ARG002 (of Storage)
            raise StorageDenied("read only", hint="it is a test")

    said: list[Event] = []
    context = dataclasses.replace(world(MemoryStorage()), repository=Repository(Denied(), None))
    name = PayloadName(backup_id="shop-backup-2026-11-22T020000Z-4f1c", suffix=".sql.gz")
    with reading(dataclasses.replace(context, observe=said.append), name):
        pass
    assert [type(event) for event in said] == [Notice]


@pytest.mark.parametrize("what", ["hold", "read", "fail"])
def test_who_comes_after_the_plan_is_seen_before_anything_goes(what: str) -> None:
    storage = Watched()
    context = world(storage)
    made = shelf(context)

    def act() -> None:
        if what == "hold":
            manifest = repository.load_trusted(context.repository, made[1])
            with pytest.raises(Busy):
                holds.put(context.repository, manifest, held_at=AT)
        elif what == "read":
            storage.put(f"{locks.READING}{made[1].backup_id}-00.json", [b"{}"])
        else:
            (series,) = series_of(context)
            runs.begin(storage, series, at=AT)

    storage.then = act
    done = prune(context)
    assert str(made[1]) in there(context)
    assert bool(done.removed) == (what != "fail")
    assert not locks.signs(storage).removing


# How runs end.


def test_nothing_is_removed_while_the_last_run_failed_until_one_succeeds(context: Context) -> None:
    made = shelf(context)
    (series,) = series_of(context)
    storage = context.repository.storage
    runs.begin(storage, series, at=AT)
    done = prune(context)
    assert (done.removed, len(there(context))) == ((), NIGHTS)
    assert "goes on, or was cut off" in " ".join(reasons(done, made[0]))
    runs.fail(storage, series, ServerUnreachable("no server", hint="…"), at=AT)
    done = prune(context)
    assert done.removed == ()
    assert f"the last run failed at {AT} (ServerUnreachable, 11)" in reasons(done, made[0])
    assert prune(context, Wish(after_failure=True)).removed == ()
    runs.begin(storage, series, at=AT)
    runs.succeed(storage, series, at=AT, backup_id="x")
    assert prune(context).removed


def test_a_series_that_recorded_nothing_is_not_pruned(context: Context) -> None:
    shelf(context)
    storage = context.repository.storage
    for blob in list(storage.list(runs.FOLDER)):
        storage.put(blob.name, [b"{}"], replace=True)
        assert prune(context).removed == ()
        storage.delete(blob.name)
    assert prune(context).removed == ()


def test_after_a_failure_for_space_the_same_plan_is_carried_out_on_request() -> None:
    storage = Full()
    context = world(storage)
    made = shelf(context)
    wanted = operation.plan_prune(context, Wish(), at=NOW).found.plan.removed
    (series,) = series_of(context)
    storage.full = True
    # Taking the record of the success away makes room for a few bytes, which we take again.
    runs.begin(storage, series, at=AT)
    storage.full = True
    runs.fail(storage, series, StorageFull("no room", hint="…"), at=AT)
    assert prune(context).removed == ()
    storage.full = True
    done = prune(context, Wish(after_failure=True))
    assert [str(name) for name in done.removed] == [one.backup.id for one in wanted]
    assert len(there(context)) == len(made) - len(wanted)


def test_the_record_of_a_run_for_which_there_was_no_room_is_its_absence() -> None:
    storage = Full()
    context = world(storage)
    shelf(context, 2)
    (series,) = series_of(context)
    assert runs.last_run(storage, series).reason == ""
    storage.full = True
    runs.begin(storage, series, at=AT)
    last = runs.last_run(storage, series)
    assert (last.state, last.for_space) == (runs.State.UNKNOWN, True)


def test_a_record_says_nothing_that_is_encrypted_elsewhere() -> None:
    storage = MemoryStorage()
    runs.fail(storage, "ab", ServerUnreachable("db1.secret:3306", hint="at db1.secret"), at=AT)
    assert not any(b"secret" in data for data, _ in storage.blobs.values())


@pytest.mark.parametrize("series", ["../../etc", "a/b", "", "x" * 999, "\udcff"])
def test_a_series_of_any_name_has_a_record_in_its_folder(series: str) -> None:
    storage = MemoryStorage()
    runs.succeed(storage, series, at=AT, backup_id="x")
    assert runs.last_run(storage, series).state is runs.State.SUCCEEDED
    assert [blob.name.startswith("runs/succeeded-") for blob in storage.list("runs")] == [True]


def test_a_prune_that_follows_a_backup_does_not_remove_most_of_a_series() -> None:
    context = world(MemoryStorage())
    shelf(context)
    later = NOW + 300 * DAY
    with pytest.raises(Refused, match="at once"):
        prune(context, Wish(careful=True), at=later)
    assert len(there(context)) == NIGHTS
    assert prune(context, Wish(careful=True)).removed
    assert prune(context, at=later).removed


def made_backup(context: Context, name: PayloadName) -> MadeBackup:
    manifest = repository.load_trusted(context.repository, name)
    return MadeBackup(name=name, manifest=manifest, seconds=1.0)


def test_what_follows_a_backup_is_told_and_fails_on_its_own() -> None:
    context = world(MemoryStorage(), backup_max_count=1, backup_retention_days=1)
    made = shelf(context, 5)
    backups = [made_backup(context, made[-1])]
    followed = follow_up(context, backups, held=True, note="why")
    assert followed.failures == ()
    assert followed.pruned is not None
    newer = canonical.to_bytes({"format": 99})
    context.repository.storage.put("repository.json", [newer], replace=True)
    followed = follow_up(context, backups, held=False, note="")
    assert "the backup is made, but it was not compared" in followed.failures[0].message
    followed = follow_up(context, backups, held=True, note="")
    assert "the backup is made, but it is not held" in followed.failures[0].message
    assert follow_up(context, [], held=True, note="") == FollowUp()


# Cut off, and left over.


def whole(context: Context) -> bool:
    """Tell whether everything that is listed has its payload, and nothing else its manifest."""
    storage = context.repository.storage
    root = {blob.name for blob in storage.list()}
    return all(str(name) in root for entry in root if (name := parse_manifest(entry)))


def test_a_prune_that_is_cut_off_anywhere_leaves_no_torn_backup_and_is_finished_later() -> None:
    ended = False
    for cut in range(60):
        storage = Failing()
        context = world(storage, KEY)
        made = shelf(context)
        prove(context, made[1], Verdict.INTACT)
        expected = operation.plan_prune(context, Wish(), at=NOW).found.plan
        storage.left = cut
        try:
            prune(context)
            ended = True
        except StorageError:
            ended = False
        storage.left = 10**9
        assert whole(context)
        assert {one.backup.id for one in expected.kept} <= there(context)
        prune(context)
        assert {one.backup.id for one in expected.kept} == there(context)
        for one in expected.removed:
            assert not {blob for blob in storage.blobs if one.backup.id.split(".")[0] in blob}
        if ended:
            break
    assert ended


def test_removing_both_files_by_hand_is_a_doubt_and_no_more(context: Context) -> None:
    made = shelf(context)
    storage = context.repository.storage
    for name in (made[-1], made[-5], made[3], made[0]):
        storage.delete(str(name))
        storage.delete(name.manifest)
    found = repository.listing(context.repository)
    assert found.oddities == ()
    assert len(found.doubts) == 2
    done = prune(context)
    assert done.problem is None
    assert str(made[-2]) in there(context)
    put_backup(context.repository, Wanted(days=NIGHTS, key=context.repository.key))
    assert len(series_of(context)) == 1


def test_foreign_files_are_never_touched(context: Context) -> None:
    shelf(context)
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    for name in FOREIGN:
        storage.put(name, [b"mine"])
    storage.pass_time(4000 * DAY)
    assert prune(context, at=NOW + 4000 * DAY).removed
    assert set(FOREIGN) <= storage.blobs.keys()


def test_a_payload_whose_run_was_cut_off_goes_after_a_day(context: Context) -> None:
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    shelf(context, 2)
    storage.put("shop-backup-2026-11-22T020000Z-4f1c.sql.gz", [b"half a run"])
    storage.pass_time(23 * HOUR)
    assert prune(context).swept == 0
    storage.pass_time(2 * HOUR)
    assert prune(context).swept == 1
    assert len(there(context)) == 2
    assert storage.stat("shop-backup-2026-11-22T020000Z-4f1c.sql.gz") is None


@pytest.mark.parametrize("trace", ["key copy", "proof", "hold"])
def test_a_payload_that_was_a_whole_backup_once_stays(trace: str) -> None:
    storage = MemoryStorage()
    context = world(storage, KEY if trace == "key copy" else None)
    made = shelf(context, 3)
    if trace == "proof":
        prove(context, made[0], Verdict.INTACT)
    if trace == "hold":
        hold(context, made[0])
    storage.delete(made[0].manifest)
    storage.pass_time(500 * DAY)
    done = prune(context)
    assert done.swept == 0
    assert storage.stat(str(made[0]))
    assert [leftover.name for leftover in done.litter] == [str(made[0])]


def test_a_manifest_whose_payload_is_lost_goes_when_it_is_old_and_the_others_are_whole(
    context: Context,
) -> None:
    storage = context.repository.storage
    assert isinstance(storage, MemoryStorage)
    made = shelf(context, 6)
    lost = [made[0], made[2]]
    for name in lost:
        storage.delete(str(name))
    storage.now = datetime(2026, 11, 28, tzinfo=UTC)
    assert prune(context, at=storage.now).swept == 0
    storage.now = MORNING + 8 * DAY
    assert prune(context, at=storage.now).swept == 1
    assert [storage.stat(name.manifest) is None for name in lost] == [True, False]
    # The payload may only be somewhere else: without its key copy it would be of no use.
    copies = {lost[0].key_copy} if context.repository.key else set()
    assert {name for name in files(context, lost[0]) if not name.startswith("marks/")} == copies
    # Most of them gone at once is a disk that is not there, not somebody's rm.
    for name in made[3:]:
        storage.delete(str(name))
    storage.now += 900 * DAY
    done = prune(context, at=storage.now)
    assert done.swept == len(copies)
    assert "the right one?" in done.litter[0].reason
    assert files(context, lost[0]) == set()


def test_what_belongs_to_a_backup_removed_by_hand_goes_after_the_retention_days() -> None:
    storage = MemoryStorage()
    context = world(storage, KEY)
    made = shelf(context, 3)
    prove(context, made[0], Verdict.INTACT)
    storage.delete(made[0].manifest)
    storage.delete(str(made[0]))
    assert prune(context).swept == 0
    storage.pass_time(31 * DAY)
    assert prune(context).swept == 2
    assert files(context, made[0]) == set()
    assert storage.stat(made[2].key_copy)


def test_an_old_backup_that_was_moved_away_and_comes_back_has_its_key_and_its_proofs() -> None:
    """What counts is since when it is gone, not how old its key copy is."""
    storage = MemoryStorage()
    context = world(storage, KEY, backup_keep_daily=99)
    made = shelf(context, 3)
    prove(context, made[0], Verdict.PROVEN)
    before = files(context, made[0])
    storage.pass_time(60 * DAY)
    moved = {name: storage.blobs[name] for name in (made[0].manifest, str(made[0]))}
    for name in moved:
        storage.delete(name)
    for _ in range(2):
        assert prune(context).swept == 0
        storage.pass_time(3 * DAY)
    storage.put_back(storage.blobs | moved)
    assert prune(context).swept == 0
    assert files(context, made[0]) == before


def test_a_hold_on_a_backup_that_is_gone_can_be_released(context: Context) -> None:
    made = shelf(context, 3)
    hold(context, made[0])
    storage = context.repository.storage
    storage.delete(made[0].manifest)
    storage.delete(str(made[0]))
    for text in (str(made[0]), made[0].manifest, made[0].backup_id):
        assert held_backup(context, text).backup_id == made[0].backup_id
    assert release(context, held_backup(context, str(made[0])))
    with pytest.raises(BackupNotFound):
        held_backup(context, str(made[0]))


def test_a_clock_that_went_ahead_by_days_costs_no_backups_unseen() -> None:
    days = 10
    context = world(MemoryStorage(), backup_keep_daily=20, backup_keep_weekly=0)
    shelf(context, 40)
    prune(context, at=MORNING + 39 * DAY)
    left = there(context)
    put_backup(context.repository, Wanted(days=39 + days))
    succeed(context)
    late = MORNING + (39 + days) * DAY + HOUR
    with pytest.raises(Refused, match="days without a backup"):
        prune(context, Wish(careful=True), at=late)
    assert there(context) >= left
    put_backup(context.repository, Wanted(days=40 + days))
    succeed(context)
    assert prune(context, Wish(careful=True), at=late + DAY).removed


def test_a_day_of_prunes_leaves_no_marks_behind(tmp_path: Path) -> None:
    context = world(LocalStorage(tmp_path / "b"))
    shelf(context)
    assert prune(context).removed
    left = {path.name for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert not {name for name in left if name.startswith((".", "now-", "removing-", "reading-"))}
    assert list(marks.lists(context.repository.storage)) == []


def test_safety_backups_are_kept_a_week_and_are_no_series_of_their_own(context: Context) -> None:
    shelf(context, 5)
    safety = put_backup(
        context.repository, Wanted(days=5, kind=Kind.SAFETY, key=context.repository.key)
    )
    last = put_backup(context.repository, Wanted(days=6, key=context.repository.key))
    none = {"backup_keep_daily": 0, "backup_keep_weekly": 0, "backup_keep_monthly": 0}
    settings = Settings(**none, backup_keep_yearly=0, backup_retention_days=1)  # type: ignore[arg-type]
    strict = dataclasses.replace(context, config=make_config(settings))
    prune(strict, at=MORNING + 12 * DAY - HOUR)
    assert there(context) == {str(safety), str(last)}
    prune(strict, at=MORNING + 13 * DAY)
    assert there(context) == {str(last)}


class Unread(MemoryStorage):
    """A storage some of whose files cannot be read, or whose proofs cannot be listed."""

    hidden = ""
    blind = False

    def open(self, name: str) -> Iterator[bytes]:
        if self.hidden and name.startswith(self.hidden):
            raise StorageDenied("not for you", hint="it is a test")
        return super().open(name)

    def list(self, folder: str = "", *, deep: bool = False) -> Iterator[Blob]:
        if self.blind and folder == proofs.FOLDER and deep:
            raise StorageError("the network is gone", hint="it is a test")
        return super().list(folder, deep=deep)


@pytest.mark.parametrize("what", ["file", "folder", "version"])
def test_the_newest_proven_backup_stays_while_its_proof_cannot_be_read(what: str) -> None:
    storage = Unread()
    context = world(storage)
    made = shelf(context)
    prove(context, made[2], Verdict.PROVEN)
    folder = f"{proofs.FOLDER}/{made[2].backup_id}/"
    (path,) = (name for name in storage.blobs if name.startswith(folder))
    if what == "file":
        storage.hidden = folder
    elif what == "folder":
        storage.blind = True
    else:
        storage.put(path, [canonical.to_bytes({"format": 99})], replace=True)
    found = look(context, Wish(), at=NOW)
    (why,) = (one.reasons for one in found.plan.decisions if one.backup.id == str(made[2]))
    assert "not judged: not all of its proofs can be read at present" in why
    assert bool(found.plan.removed) == (what != "folder"), "the others are judged"


def test_a_sign_of_removing_on_a_whole_backup_is_taken_away_when_it_counts_no_more() -> None:
    storage = MemoryStorage()
    context = world(storage)
    made = shelf(context, 2)
    locks.begin_removing(storage, made[0].backup_id)
    prune(context)
    assert made[0].backup_id in locks.signs(storage).removing, "its prune may go on"
    storage.pass_time(HOUR / 2)
    prune(context)
    assert not locks.signs(storage).removing


def test_what_is_held_stays_also_where_a_prune_seems_to_have_begun_with_it() -> None:
    storage = MemoryStorage()
    context = world(storage)
    made = shelf(context, 2)
    hold(context, made[0])
    locks.begin_removing(storage, made[0].backup_id)
    storage.delete(made[0].manifest)
    prune(context)
    assert storage.stat(str(made[0]))
