"""Deleting objects in two steps, beside runs in flight."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from support.memory import MemoryStorage
from support.objects import changed, rows
from ulasis_backup.errors import Refused, StorageError
from ulasis_backup.repository import marks
from ulasis_backup.repository.chains import Stored
from ulasis_backup.repository.objectfile import name_in, new_epoch, path_of
from ulasis_backup.repository.objects import ObjectReader, ObjectWriter
from ulasis_backup.repository.unreferenced import (
    Deleted,
    delete_listed,
    list_unreferenced,
    waiting,
)
from ulasis_backup.storage.local import LocalStorage

GRACE = timedelta(days=2)
OLD = timedelta(days=2, seconds=1)
EPOCH = new_epoch(key=True)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def writer(storage: MemoryStorage, *known: Stored) -> ObjectWriter:
    return ObjectWriter(storage, EPOCH, known={one.fingerprint: one for one in known})


def kept(storage: MemoryStorage, data: bytes, base: Stored | None = None) -> Stored:
    with writer(storage, *([base] if base else [])) as run:
        stored = run.keep(data, base)
        run.check_before_commit(GRACE)
    return stored


def objects(storage: MemoryStorage) -> set[str]:
    return {name for path in storage.blobs if (name := name_in(path))}


def lists(storage: MemoryStorage) -> list[str]:
    return [blob.name for blob in storage.list("marks") if "/unreferenced-" in blob.name]


def names(*names: str) -> Callable[[], set[str]]:
    return lambda: set(names)


def test_what_no_backup_needs_is_deleted_after_the_grace_period(storage: MemoryStorage) -> None:
    needed, unneeded = kept(storage, rows(1)), kept(storage, rows(2))
    assert list_unreferenced(storage, {needed.name}) == 1
    assert delete_listed(storage, names(needed.name), grace=GRACE).objects == 0
    storage.pass_time(GRACE)
    assert delete_listed(storage, names(needed.name), grace=GRACE).objects == 0
    # Found once, but waiting for as long as it is there.
    assert (list_unreferenced(storage, {needed.name}), waiting(storage)) == (0, 1)
    storage.pass_time(timedelta(seconds=1))
    done = delete_listed(storage, names(needed.name), grace=GRACE)
    assert done == Deleted(objects=1, bytes=unneeded.stored)
    assert waiting(storage) == 0
    assert objects(storage) == {needed.name}
    assert lists(storage) == []


def test_on_a_disk_the_age_of_a_list_is_that_of_its_file(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with ObjectWriter(storage, EPOCH, known={}) as run:
        needed, unneeded = run.keep(rows(1), None), run.keep(rows(2), None)
        run.check_before_commit(GRACE)
    assert list_unreferenced(storage, {needed.name}) == 1
    assert delete_listed(storage, names(needed.name), grace=GRACE).objects == 0
    (written,) = (tmp_path / "marks").glob("unreferenced-*")
    os.utime(written, (time.time() - OLD.total_seconds(),) * 2)
    assert delete_listed(storage, names(needed.name), grace=GRACE).bytes == unneeded.stored
    found = [path.name for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert found == [needed.name]
    assert [path.name for path in (tmp_path / "marks").iterdir()] == [f"epoch-{EPOCH.id}.json"]


def test_an_object_is_listed_once(storage: MemoryStorage) -> None:
    kept(storage, rows(1))
    assert list_unreferenced(storage, set()) == 1
    assert list_unreferenced(storage, set()) == 0
    kept(storage, rows(2))
    assert list_unreferenced(storage, set()) == 1
    assert len(lists(storage)) == 2


def test_bases_that_are_named_stay(storage: MemoryStorage) -> None:
    first = kept(storage, rows(1))
    data = changed(rows(1), 2)
    second = kept(storage, data, first)
    assert list_unreferenced(storage, set(second.objects)) == 0
    storage.pass_time(OLD)
    delete_listed(storage, names(*second.objects), grace=GRACE)
    assert ObjectReader(storage, EPOCH).read(second.name) == data


def test_what_was_listed_and_is_needed_again_stays_and_is_taken_off(
    storage: MemoryStorage,
) -> None:
    one, other = kept(storage, rows(1)), kept(storage, rows(2))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)
    assert delete_listed(storage, names(one.name), grace=GRACE).objects == 1
    assert objects(storage) == {one.name}
    assert len(lists(storage)) == 1
    list_unreferenced(storage, {one.name})
    assert lists(storage) == []
    with writer(storage, one) as run:
        assert run.keep(rows(1), one) == one
        run.check_before_commit(GRACE)
    assert other.name not in objects(storage)


def test_being_taken_off_gives_the_rest_of_the_list_a_new_grace_period(
    storage: MemoryStorage,
) -> None:
    one, other = kept(storage, rows(1)), kept(storage, rows(2))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)
    list_unreferenced(storage, {one.name})
    assert delete_listed(storage, names(one.name), grace=GRACE).objects == 0
    storage.pass_time(OLD)
    assert delete_listed(storage, names(one.name), grace=GRACE).objects == 1
    assert objects(storage) == {one.name} != {other.name}


def test_a_run_stores_anew_what_was_listed_before_it_began(storage: MemoryStorage) -> None:
    old = kept(storage, rows(1))
    list_unreferenced(storage, set())
    with writer(storage, old) as run:
        new = run.keep(rows(1), old)
        storage.pass_time(timedelta(hours=20))
        run.check_before_commit(GRACE)
    assert new.name != old.name
    storage.pass_time(OLD)
    delete_listed(storage, names(new.name), grace=GRACE)
    assert objects(storage) == {new.name}


def test_what_is_listed_during_a_run_is_not_deleted_while_the_run_may_commit(
    storage: MemoryStorage,
) -> None:
    old = kept(storage, rows(1))
    with writer(storage, old) as run:
        assert run.keep(rows(1), old) == old
        run.keep(rows(2), None)
        list_unreferenced(storage, set())
        storage.pass_time(timedelta(hours=23))
        delete_listed(storage, names(), grace=GRACE)
        run.check_before_commit(GRACE)
        storage.pass_time(timedelta(days=2))
        assert delete_listed(storage, names(), grace=GRACE).objects == 2
        with pytest.raises(Refused):
            run.check_before_commit(GRACE)


def test_a_clock_that_jumped_deletes_nothing_of_a_run_that_commits(
    storage: MemoryStorage,
) -> None:
    old = kept(storage, rows(1))
    with writer(storage, old) as run:
        run.keep(rows(1), old)
        list_unreferenced(storage, set())
        storage.pass_time(timedelta(days=30))

        def referenced() -> set[str]:
            # The clock is right again, and the run would commit just now.
            storage.pass_time(timedelta(days=-30))
            assert not run.expired(GRACE)
            with pytest.raises(Refused, match="a prune is deleting"):
                run.check_before_commit(GRACE)
            return set()

        assert delete_listed(storage, referenced, grace=GRACE).objects == 1
        with pytest.raises(Refused):
            run.check_before_commit(GRACE)


def test_a_prune_that_deletes_other_objects_holds_nobody_up(storage: MemoryStorage) -> None:
    kept(storage, rows(1))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)
    mine = kept(storage, rows(2))
    with writer(storage, mine) as run:
        run.keep(rows(2), mine)
        list_unreferenced(storage, set())

        def referenced() -> set[str]:
            run.check_before_commit(GRACE)
            return {mine.name}

        assert delete_listed(storage, referenced, grace=GRACE).objects == 1


def test_a_list_from_the_future_is_not_old(storage: MemoryStorage) -> None:
    kept(storage, rows(1))
    storage.pass_time(timedelta(days=30))
    list_unreferenced(storage, set())
    storage.pass_time(timedelta(days=-30))
    assert delete_listed(storage, names(), grace=GRACE).objects == 0
    assert len(objects(storage)) == 1


def test_nothing_is_deleted_when_the_backups_cannot_be_read(storage: MemoryStorage) -> None:
    kept(storage, rows(1))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)
    before = storage.copy()

    def referenced() -> set[str]:
        raise StorageError("a manifest cannot be read")

    with pytest.raises(StorageError):
        delete_listed(storage, referenced, grace=GRACE)
    assert storage.blobs == before


def test_nothing_is_deleted_when_the_storage_was_replaced_meanwhile(
    storage: MemoryStorage,
) -> None:
    kept(storage, rows(1))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)
    before = storage.copy()

    def referenced() -> set[str]:
        storage.put_back(before)
        return set()

    with pytest.raises(Refused):
        delete_listed(storage, referenced, grace=GRACE)
    assert storage.blobs == before


def test_what_was_taken_off_its_list_meanwhile_is_not_deleted(storage: MemoryStorage) -> None:
    stored = kept(storage, rows(1))
    list_unreferenced(storage, set())
    storage.pass_time(OLD)

    def referenced() -> set[str]:
        list_unreferenced(storage, {stored.name})
        return set()

    assert delete_listed(storage, referenced, grace=GRACE).objects == 0


def test_what_stands_in_for_a_lost_object_stays(storage: MemoryStorage) -> None:
    lost = kept(storage, rows(1))
    storage.delete(path_of(EPOCH.id, lost.name))
    twin, other = kept(storage, rows(1)), kept(storage, rows(2))
    assert list_unreferenced(storage, {lost.name}) == 1
    storage.pass_time(OLD)
    assert delete_listed(storage, names(lost.name), grace=GRACE).objects == 1
    assert objects(storage) == {twin.name}
    assert ObjectReader(storage, EPOCH).read(lost.name) == rows(1)
    assert other.name not in objects(storage)


def test_what_stands_in_for_an_object_whose_base_is_lost_stays(storage: MemoryStorage) -> None:
    first = kept(storage, rows(1))
    data = changed(rows(1), 2)
    second = kept(storage, data, first)
    storage.delete(path_of(EPOCH.id, first.name))
    whole = kept(storage, data, second)
    assert whole.chain == ()
    assert list_unreferenced(storage, set(second.objects)) == 0
    assert ObjectReader(storage, EPOCH).read(second.name) == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"format":1,"objects":["repository.json"]}',
        b'{"format":1,"objects":["marks/epoch-0123456789abcdef.json"]}',
        b'{"format":1,"objects":[7]}',
        b'{"format":1,"objects":"x"}',
        b'{"format":2,"objects":[]}',
        b'{"format":1, "objects":[]}',
    ],
)
def test_a_list_that_is_none_deletes_nothing(storage: MemoryStorage, body: bytes) -> None:
    kept(storage, rows(1))
    storage.put("repository.json", [b"{}"])
    storage.put("marks/unreferenced-0.json", [body])
    storage.pass_time(OLD)
    before = storage.copy()
    assert delete_listed(storage, names(), grace=GRACE).objects == 0
    assert storage.blobs == before


def test_objects_of_all_epochs_are_found(storage: MemoryStorage) -> None:
    kept(storage, rows(1))
    other = new_epoch(key=False)
    with ObjectWriter(storage, other, known={}) as run:
        run.keep(rows(1), None)
        run.check_before_commit(GRACE)
    assert set(marks.epochs(storage)) == {EPOCH.id, other.id}
    assert list_unreferenced(storage, set()) == 2


def test_marks_of_killed_runs_are_swept_and_those_runs_refuse(storage: MemoryStorage) -> None:
    killed = writer(storage)
    killed.keep(rows(1), None)
    marks.put(storage, marks.DELETING, lists=["marks/unreferenced-0.json"])
    marks.put(storage, marks.NOW)
    storage.pass_time(OLD)
    delete_listed(storage, names(), grace=GRACE)
    assert [blob.name for blob in storage.list("marks")] == [f"marks/epoch-{EPOCH.id}.json"]
    storage.pass_time(-OLD)
    assert killed.expired(GRACE)
    with pytest.raises(Refused):
        killed.check_before_commit(GRACE)
    killed.close()


def test_a_mark_of_a_prune_that_was_killed_holds_up_no_later_run(storage: MemoryStorage) -> None:
    old = kept(storage, rows(1))
    list_unreferenced(storage, set())
    marks.put(storage, marks.DELETING, lists=lists(storage))
    assert kept(storage, rows(1), old).name != old.name
