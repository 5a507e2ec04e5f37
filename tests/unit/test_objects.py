"""Keeping plain bytes as objects and reading them again."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from support.memory import MemoryStorage
from support.objects import changed, file_of, rows
from ulasis_backup.errors import (
    AuthenticationFailed,
    BlobMissing,
    IntegrityError,
    Refused,
    StorageFull,
)
from ulasis_backup.repository import objectfile
from ulasis_backup.repository.chains import DAY, Stored
from ulasis_backup.repository.objectfile import Epoch, new_epoch, path_of
from ulasis_backup.repository.objects import ObjectReader, ObjectWriter, Tally
from ulasis_backup.storage.base import Storage
from ulasis_backup.storage.local import LocalStorage

GRACE = timedelta(days=2)
DATA = rows(1)


@pytest.fixture(params=["keyed", "open"])
def epoch(request: pytest.FixtureRequest) -> Epoch:
    return new_epoch(key=request.param == "keyed")


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def known(*stored: Stored) -> Mapping[str, Stored]:
    return {one.fingerprint: one for one in stored}


def kept(
    storage: Storage, epoch: Epoch, data: bytes, base: Stored | None = None, *more: Stored
) -> Stored:
    """Return *data* kept in a run of its own, which knows *base* and *more*."""
    before = (base, *more) if base else more
    with ObjectWriter(storage, epoch, known=known(*before)) as writer:
        stored = writer.keep(data, base)
        writer.check_before_commit(GRACE)
    return stored


def chain_of_days(storage: Storage, epoch: Epoch, days: int) -> list[tuple[bytes, Stored]]:
    """Return what is kept when one row changes each day."""
    data = DATA
    found: list[tuple[bytes, Stored]] = []
    for day in range(days):
        data = changed(data, day)
        found.append((data, kept(storage, epoch, data, found[-1][1] if found else None)))
    return found


def objects(storage: MemoryStorage) -> set[str]:
    return {name for path in storage.blobs if (name := objectfile.name_in(path))}


def test_what_was_kept_is_read(storage: MemoryStorage, epoch: Epoch) -> None:
    stored = kept(storage, epoch, DATA)
    assert ObjectReader(storage, epoch).read(stored.name) == DATA
    assert (stored.chain, stored.full) == ((), stored.stored)
    assert len(file_of(storage, epoch, stored.name)) == stored.stored
    assert objects(storage) == {stored.name}


def test_equal_bytes_are_stored_once_in_a_run_and_in_the_next(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    with ObjectWriter(storage, epoch, known={}) as writer:
        first = writer.keep(DATA, None)
        assert writer.keep(bytearray(DATA), None) == first  # type: ignore[arg-type]
        writer.check_before_commit(GRACE)
        size = first.stored
        assert writer.written == writer.reused == Tally(objects=1, bytes=size)
    with ObjectWriter(storage, epoch, known=known(first)) as writer:
        assert writer.keep(DATA, None) == first
        assert (writer.written, writer.reused) == (Tally(), Tally(objects=1, bytes=size))
    assert objects(storage) == {first.name}


def test_a_changed_row_is_stored_as_a_small_difference(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    first = kept(storage, epoch, DATA)
    data = changed(DATA, 2)
    second = kept(storage, epoch, data, first)
    assert second.chain == ((first.name, DAY),)
    assert second.full == first.stored
    assert second.stored * 10 < first.stored
    assert ObjectReader(storage, epoch).read(second.name) == data


def test_where_much_changed_the_object_is_whole(storage: MemoryStorage, epoch: Epoch) -> None:
    first = kept(storage, epoch, DATA)
    second = kept(storage, epoch, rows(2), first)
    assert (second.chain, second.full) == ((), second.stored)


def test_fifty_days_of_changes_all_read_back(storage: MemoryStorage, epoch: Epoch) -> None:
    days = chain_of_days(storage, epoch, 50)
    reader = ObjectReader(storage, epoch)
    for data, stored in days:
        assert reader.read(stored.name) == data
        assert ObjectReader(storage, epoch, cache=0).read(stored.name) == data
    assert max(len(stored.chain) for _, stored in days) == 10
    assert len(objects(storage)) == 50


def test_a_chain_that_is_read_forward_is_decoded_once(epoch: Epoch) -> None:
    opened: list[str] = []

    class Counting(MemoryStorage):
        def open(self, name: str) -> Iterator[bytes]:
            opened.append(name)
            return super().open(name)

    storage = Counting()
    days = chain_of_days(storage, epoch, 7)
    opened.clear()
    reader = ObjectReader(storage, epoch)
    for data, stored in days:
        assert reader.read(stored.name) == data
    assert len(opened) == 7


@pytest.mark.parametrize("lost", ["missing", "truncated", "listed", "set aside", "base missing"])
def test_what_is_not_usable_is_stored_anew_and_whole(
    storage: MemoryStorage, epoch: Epoch, lost: str
) -> None:
    (_, first), (data, second) = chain_of_days(storage, epoch, 2)
    path = path_of(epoch.id, second.name)
    if lost == "missing":
        storage.delete(path)
    elif lost == "truncated":
        storage.put(path, [storage.blobs[path][0][:-1]], replace=True)
    elif lost == "listed":
        storage.put("marks/unreferenced-1.json", [f'{{"format":1,"objects":["{path}"]}}'.encode()])
    elif lost == "set aside":
        storage.put(f"damaged/{second.name}", [b"x"])
    else:
        storage.delete(path_of(epoch.id, first.name))
    again = kept(storage, epoch, data, second)
    assert again.name != second.name
    assert again.chain == ()
    reader = ObjectReader(storage, epoch)
    assert reader.read(again.name) == data
    # The older backup that needs the lost object is healed by it.
    assert reader.read(second.name) == data


def test_what_heals_an_older_backup_is_whole_though_a_difference_would_do(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    lost, base = kept(storage, epoch, DATA), kept(storage, epoch, changed(DATA, 2))
    storage.delete(path_of(epoch.id, lost.name))
    with ObjectWriter(storage, epoch, known=known(lost, base)) as writer:
        assert writer.keep(DATA, base).chain == ()
    for before in (known(base), known()):
        with ObjectWriter(storage, epoch, known=before) as writer:
            assert writer.keep(DATA, base).chain == ((base.name, DAY),)


def test_a_truncated_object_is_moved_out_of_the_way_and_named(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    stored = kept(storage, epoch, DATA)
    path = path_of(epoch.id, stored.name)
    storage.put(path, [storage.blobs[path][0][:-1]], replace=True)
    with ObjectWriter(storage, epoch, known=known(stored)) as writer:
        writer.keep(DATA, stored)
        (notice,) = writer.notices
    assert stored.name in notice.message
    assert notice.hint
    assert storage.stat(path) is None
    assert storage.stat(f"damaged/{stored.name}") is not None


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_nothing_is_built_on_a_base_that_cannot_be_read(
    storage: MemoryStorage, epoch: Epoch, place: int, damage: str
) -> None:
    days = chain_of_days(storage, epoch, 3)
    victim = path_of(epoch.id, days[place][1].name)
    if damage == "flipped":
        storage.damage(victim, 40)
    else:
        storage.delete(victim)
    data = changed(days[2][0], 77)
    with ObjectWriter(storage, epoch, known=known(days[2][1])) as writer:
        stored = writer.keep(data, days[2][1])
        assert stored.chain == ()
        assert any(days[place][1].name in notice.message for notice in writer.notices)
    assert storage.stat(victim) is None
    assert (storage.stat(f"damaged/{days[place][1].name}") is not None) == (damage == "flipped")
    assert ObjectReader(storage, epoch).read(stored.name) == data


def test_nothing_is_built_on_an_object_that_another_stands_in_for(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    first = kept(storage, epoch, DATA)
    twin = kept(storage, epoch, DATA)
    assert twin.name != first.name
    storage.damage(path_of(epoch.id, first.name), 40)
    second = kept(storage, epoch, changed(DATA, 2), first)
    assert second.chain == ()
    assert ObjectReader(storage, epoch).read(first.name) == DATA


def test_damage_is_refused_named_and_only_then_set_aside(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    (_, first), (_, second) = chain_of_days(storage, epoch, 2)
    good = storage.copy()
    storage.damage(path_of(epoch.id, first.name), 50)
    reader = ObjectReader(storage, epoch)
    with pytest.raises(AuthenticationFailed if epoch.key else IntegrityError):
        reader.read(second.name)
    assert reader.damaged == {first.name}
    assert not reader.missing
    assert not reader.set_aside(second.name)
    assert reader.set_aside(first.name)
    assert reader.set_aside(first.name) is False
    assert objects(storage) == {second.name}
    with pytest.raises(BlobMissing):
        reader.read(second.name)
    assert reader.missing == {first.name}
    storage.put_back(good)
    assert not reader.set_aside(first.name)
    assert ObjectReader(storage, epoch).read(second.name)


def test_setting_aside_goes_on_where_it_was_cut_off(storage: MemoryStorage, epoch: Epoch) -> None:
    stored = kept(storage, epoch, DATA)
    storage.damage(path_of(epoch.id, stored.name), 50)
    storage.put(f"damaged/{stored.name}", [b"moved before"])
    assert ObjectReader(storage, epoch).set_aside(stored.name)
    assert objects(storage) == set()


def test_a_missing_object_is_said_to_be_missing(storage: MemoryStorage, epoch: Epoch) -> None:
    with pytest.raises(BlobMissing):
        ObjectReader(storage, epoch).read(objectfile.new_name("0" * 64))


def test_swapped_objects_are_refused(storage: MemoryStorage, epoch: Epoch) -> None:
    first = kept(storage, epoch, DATA)
    second = kept(storage, epoch, rows(2))
    one, two = (path_of(epoch.id, stored.name) for stored in (first, second))
    storage.blobs[one], storage.blobs[two] = storage.blobs[two], storage.blobs[one]
    reader = ObjectReader(storage, epoch)
    for stored in (first, second):
        with pytest.raises(IntegrityError):
            reader.read(stored.name)


def test_an_object_that_builds_on_itself_is_refused() -> None:
    # Only without a key: nobody else can make such a thing.
    storage, epoch = MemoryStorage(), new_epoch(key=False)
    (_, first), (data, second) = chain_of_days(storage, epoch, 2)
    content = objectfile.unseal(epoch, second.name, file_of(storage, epoch, second.name))
    loop = objectfile.Content(
        encoding=content.encoding, size=content.size, base=second.name, data=content.data
    )
    file = objectfile.seal(epoch, first.name, loop)
    storage.put(path_of(epoch.id, first.name), [file], replace=True)
    for stored in (first, second):
        with pytest.raises(IntegrityError):
            ObjectReader(storage, epoch).read(stored.name)
    assert data


def test_objects_that_build_on_each_others_twins_are_read_where_a_way_exists(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    (first_data, first), (data, second) = chain_of_days(storage, epoch, 2)
    # Twins the other way round: the first as a difference to a whole second.
    whole = kept(storage, epoch, data)
    back = kept(storage, epoch, first_data, whole)
    assert back.chain == ((whole.name, DAY),)
    storage.delete(path_of(epoch.id, first.name))
    reader = ObjectReader(storage, epoch)
    assert reader.read(first.name) == first_data
    assert reader.read(second.name) == data
    storage.delete(path_of(epoch.id, whole.name))
    for name in (first.name, second.name, whole.name, back.name):
        with pytest.raises((BlobMissing, IntegrityError)):
            ObjectReader(storage, epoch).read(name)


def test_many_threads_keep_each_piece_once(tmp_path: Path, epoch: Epoch) -> None:
    storage = LocalStorage(tmp_path / "backups")
    pieces = [rows(seed) for seed in range(12)]
    found: list[tuple[int, Stored]] = []
    ready = threading.Barrier(6)
    with ObjectWriter(storage, epoch, known={}) as writer:

        def work() -> None:
            ready.wait()
            for number, piece in enumerate(pieces):
                found.append((number, writer.keep(piece, None)))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.check_before_commit(GRACE)
        assert writer.written.objects == 12
        assert writer.reused.objects == 60
    assert len({stored.name for _, stored in found}) == 12
    reader = ObjectReader(storage, epoch)
    assert all(reader.read(stored.name) == pieces[number] for number, stored in found)


class Full(MemoryStorage):
    """A storage with room for so many objects."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        if name.startswith("objects/"):
            if not self.room:
                raise StorageFull("no room left", hint="free some")
            self.room -= 1
        super().put(name, chunks, replace=replace)


def test_an_object_that_could_not_be_stored_forbids_the_commit(epoch: Epoch) -> None:
    with ObjectWriter(Full(1), epoch, known={}) as writer:
        writer.keep(rows(1), None)
        writer.check_before_commit(GRACE)
        writer.keep(rows(2), None)
        with pytest.raises(StorageFull):
            writer.check_before_commit(GRACE)
        with pytest.raises(StorageFull):
            writer.keep(rows(3), None)


def test_a_piece_may_build_on_one_of_the_same_run(tmp_path: Path, epoch: Epoch) -> None:
    storage = LocalStorage(tmp_path / "backups")
    with ObjectWriter(storage, epoch, known={}) as writer:
        data, stored = DATA, writer.keep(DATA, None)
        for number in range(5):
            data = changed(data, number)
            stored = writer.keep(data, stored)
        assert len(stored.chain) == 5
        assert writer.notices == ()
        writer.check_before_commit(GRACE)
    assert ObjectReader(storage, epoch).read(stored.name) == data


@pytest.mark.parametrize(
    ("hours", "refused"), [(0, False), (23, False), (25, True), (-23, False), (-25, True)]
)
def test_a_run_that_took_more_than_half_the_grace_period_is_refused(
    storage: MemoryStorage,
    epoch: Epoch,
    hours: int,
    refused: bool,  # noqa: FBT001 (a parameter)
) -> None:
    with ObjectWriter(storage, epoch, known={}) as writer:
        writer.keep(DATA, None)
        storage.pass_time(timedelta(hours=hours))
        assert writer.expired(GRACE) is refused
        if refused:
            with pytest.raises(Refused):
                writer.check_before_commit(GRACE)
        else:
            writer.check_before_commit(GRACE)


def test_a_run_whose_objects_vanished_is_refused(storage: MemoryStorage, epoch: Epoch) -> None:
    (_, first), (data, second) = chain_of_days(storage, epoch, 2)
    good = storage.copy()
    for victim in (first, second):
        with ObjectWriter(storage, epoch, known=known(second)) as writer:
            assert writer.keep(data, second) == second
            storage.delete(path_of(epoch.id, victim.name))
            with pytest.raises(Refused):
                writer.check_before_commit(GRACE)
        storage.put_back(good)


def test_a_run_over_which_an_old_copy_was_put_back_is_refused(
    storage: MemoryStorage, epoch: Epoch
) -> None:
    stored = kept(storage, epoch, DATA)
    old = storage.copy()
    with ObjectWriter(storage, epoch, known=known(stored)) as writer:
        writer.keep(DATA, stored)
        storage.put_back(old)
        with pytest.raises(Refused):
            writer.check_before_commit(GRACE)


def test_a_run_leaves_no_mark_but_that_of_its_epoch(storage: MemoryStorage, epoch: Epoch) -> None:
    kept(storage, epoch, DATA)
    assert [blob.name for blob in storage.list("marks")] == [f"marks/epoch-{epoch.id}.json"]
