"""What every storage keeps, whatever lies behind it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.memory import MemoryStorage
from ulasis_backup.errors import BlobMissing, NameTaken, StorageError
from ulasis_backup.storage.base import Blob, Storage
from ulasis_backup.storage.local import TEMPORARY, LocalStorage

LOCAL = ["local", "local-without-unnamed-files"]
DRIVERS = [*LOCAL, "memory"]
NAME = "ulasis-backup-2026-11-22T020000Z-4f1c.sql.gz"


@pytest.fixture(params=DRIVERS)
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    """Return an empty storage of each driver, and of the fake that tests use."""
    if request.param == "memory":
        return MemoryStorage()
    return local_storage(request.param, tmp_path, monkeypatch)


@pytest.fixture(params=LOCAL)
def local(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    """Return an empty storage that is a folder."""
    return local_storage(request.param, tmp_path, monkeypatch)


def local_storage(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if driver == "local-without-unnamed-files":
        # As on a platform that has no such flag: the driver then uses temporary names.
        monkeypatch.delattr(os, "O_TMPFILE")
    return LocalStorage(tmp_path / "there" / "backups")


def read(storage: Storage, name: str) -> bytes:
    return b"".join(storage.open(name))


def names(storage: Storage, folder: str = "") -> list[str]:
    return [blob.name for blob in storage.list(folder)]


def nothing_but(storage: Storage, *expected: str) -> bool:
    """Tell whether the folder itself holds *expected* and no leftover of any name."""
    if isinstance(storage, MemoryStorage):
        return storage.blobs.keys() == set(expected)
    place = Path(storage.place)
    found = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}
    return found == set(expected)


class BrokenSourceError(Exception):
    """What a test's source raises."""


def broken(error: BaseException, before: bytes = b"begun") -> Iterator[bytes]:
    yield before
    raise error


def test_what_was_put_is_opened_and_listed(storage: Storage) -> None:
    storage.put(NAME, [b"one", b"", b"two"])
    assert read(storage, NAME) == b"onetwo"
    (blob,) = storage.list()
    assert (blob.name, blob.bytes) == (NAME, 6)
    assert storage.stat(NAME) == blob
    assert isinstance(blob, Blob)
    assert blob.modified_at.tzinfo is not None


def test_a_deep_listing_holds_what_lies_in_all_folders_below(storage: Storage) -> None:
    for name in ("a", "x/b", "x/y/c", "x/d", "xy/e"):
        storage.put(name, [b"1"])
    deep = [blob.name for blob in storage.list("x", deep=True)]
    assert deep == ["x/b", "x/d", "x/y/c"]
    assert names(storage, "x") == ["x/b", "x/d"]
    assert [blob.name for blob in storage.list(deep=True)] == ["a", *deep, "xy/e"]
    assert list(storage.list("none", deep=True)) == []


def test_an_empty_blob_is_a_blob(storage: Storage) -> None:
    storage.put(NAME, [])
    assert read(storage, NAME) == b""
    assert names(storage) == [NAME]


def test_a_large_blob_comes_back_in_pieces(storage: Storage) -> None:
    piece = os.urandom(1 << 20)
    storage.put(NAME, (piece for _ in range(5)))
    chunks = list(storage.open(NAME))
    assert b"".join(chunks) == piece * 5
    assert len(chunks) > 1


def test_nothing_is_there_while_it_is_written(storage: Storage) -> None:
    def source() -> Iterator[bytes]:
        yield bytes(1 << 20)
        assert names(storage) == []
        assert storage.stat(NAME) is None
        with pytest.raises(BlobMissing):
            read(storage, NAME)
        yield b"end"

    storage.put(NAME, source())
    assert names(storage) == [NAME]


@pytest.mark.parametrize(
    "error",
    [BrokenSourceError(), KeyboardInterrupt(), StorageError("of another storage")],
    ids=lambda error: type(error).__name__,
)
def test_a_source_that_fails_leaves_nothing_and_its_error_goes_on(
    storage: Storage, error: BaseException
) -> None:
    with pytest.raises(type(error)) as raised:
        storage.put(NAME, broken(error))
    assert raised.value is error
    assert names(storage) == []
    assert nothing_but(storage)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EPIPE, errno.EEXIST]
)
def test_an_error_of_the_operating_system_in_the_source_is_not_the_storages(
    storage: Storage, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        storage.put(NAME, broken(error))
    assert raised.value is error
    assert nothing_but(storage)


def test_a_blob_is_never_overwritten(storage: Storage) -> None:
    storage.put(NAME, [b"first"])
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        taken += 1
        yield b"second"

    with pytest.raises(NameTaken):
        storage.put(NAME, source())
    assert read(storage, NAME) == b"first"
    assert taken == 0
    assert nothing_but(storage, NAME)


def test_a_blob_that_appears_while_another_is_written_stays(storage: Storage) -> None:
    def source() -> Iterator[bytes]:
        storage.put(NAME, [b"quick"])
        yield b"slow"

    with pytest.raises(NameTaken):
        storage.put(NAME, source())
    assert read(storage, NAME) == b"quick"
    assert nothing_but(storage, NAME)


def test_replacing_is_all_or_nothing_too(storage: Storage) -> None:
    storage.put(NAME, [b"first"])
    with pytest.raises(BrokenSourceError):
        storage.put(NAME, broken(BrokenSourceError()), replace=True)
    assert read(storage, NAME) == b"first"
    storage.put(NAME, [b"second"], replace=True)
    assert read(storage, NAME) == b"second"
    storage.put("other", [b"new"], replace=True)
    assert nothing_but(storage, NAME, "other")


def test_a_reader_keeps_the_version_that_it_began_with(storage: Storage) -> None:
    first = os.urandom(3 << 20)
    storage.put(NAME, [first])
    reader = iter(storage.open(NAME))
    begun = next(reader)
    storage.put(NAME, [b"second"], replace=True)
    assert begun + b"".join(reader) == first
    reader = iter(storage.open(NAME))
    storage.put("long", [first])
    reader = iter(storage.open("long"))
    begun = next(reader)
    storage.delete("long")
    assert begun + b"".join(reader) == first


def test_of_many_that_put_one_name_one_wins(storage: Storage) -> None:
    storage.put("folder", [b""])
    ready = threading.Barrier(8)
    outcomes: list[bytes | None] = []

    def put(number: int) -> None:
        content = bytes([number]) * 5000
        ready.wait()
        try:
            storage.put(NAME, iter([content[:2500], content[2500:]]))
        except NameTaken:
            outcomes.append(None)
        else:
            outcomes.append(content)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [content for content in outcomes if content is not None]
    assert len(outcomes) == 8
    assert winners == [read(storage, NAME)]
    assert nothing_but(storage, NAME, "folder")


def test_of_many_that_replace_one_name_each_is_whole(storage: Storage) -> None:
    contents = [bytes([number]) * 100_000 for number in range(6)]
    threads = [
        threading.Thread(target=storage.put, args=(NAME, [content]), kwargs={"replace": True})
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(storage, NAME) in contents
    assert nothing_but(storage, NAME)


def test_opening_or_asking_for_what_is_missing(storage: Storage) -> None:
    for name in (NAME, f"folder/{NAME}"):
        with pytest.raises(BlobMissing) as missing:
            read(storage, name)
        assert missing.value.hint
        assert storage.stat(name) is None
    storage.put("file", [b""])
    with pytest.raises(BlobMissing):
        read(storage, "file/below")
    assert storage.stat("file/below") is None


def test_listing_a_folder_that_is_missing_gives_nothing(storage: Storage) -> None:
    assert names(storage) == []
    assert names(storage, "keys") == []


def test_deleting_is_idempotent(storage: Storage) -> None:
    storage.delete(NAME)
    storage.put(NAME, [b"x"])
    storage.delete(NAME)
    storage.delete(NAME)
    storage.delete(f"missing/{NAME}")
    assert names(storage) == []
    storage.put(NAME, [b"again"])
    assert read(storage, NAME) == b"again"


def test_folders_keep_their_own_blobs(storage: Storage) -> None:
    for name in ("b", "a", "keys/2", "keys/1", "keys/deep/3"):
        storage.put(name, [name.encode()])
    assert names(storage) == ["a", "b"]
    assert names(storage, "keys") == ["keys/1", "keys/2"]
    assert names(storage, "keys/deep") == ["keys/deep/3"]
    assert read(storage, "keys/deep/3") == b"keys/deep/3"


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/x", "", "a//b", "./x", "a/", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(storage: Storage, name: str) -> None:
    for attempt in (
        lambda: storage.put(name, [b"x"]),
        lambda: read(storage, name),
        lambda: storage.stat(name),
        lambda: storage.delete(name),
        lambda: names(storage, name or "x/.."),
    ):
        with pytest.raises(StorageError):
            attempt()
    assert nothing_but(storage)
    assert not Path(storage.place).exists()
    assert list(Path(storage.place).parent.parent.glob("x")) == []


def test_long_and_odd_names_are_kept(storage: Storage) -> None:
    odd = ["a b", "%2F", "ünï", "x" * 200, "-rf", "a\nb", "$HOME", ".hidden"]
    for name in odd:
        storage.put(name, [name.encode()])
    assert names(storage) == sorted(odd)
    assert [read(storage, name) for name in odd] == [name.encode() for name in odd]


def test_nobody_else_can_read_what_is_stored(local: Storage) -> None:
    before = os.umask(0)
    try:
        local.put(f"keys/{NAME}", [b"x"])
        local.put(NAME, [b"x"])
        local.put(NAME, [b"y"], replace=True)
    finally:
        os.umask(before)
    place = Path(local.place)
    assert {path.stat().st_mode & 0o777 for path in place.rglob("*") if path.is_file()} == {0o600}
    folders = (place.parent, place, place / "keys")
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_folder_that_was_there_keeps_its_rights(local: Storage) -> None:
    place = Path(local.place)
    place.mkdir(parents=True)
    place.chmod(0o750)
    local.put(NAME, [b"x"])
    assert place.stat().st_mode & 0o777 == 0o750


def test_leftovers_of_killed_runs_are_neither_listed_nor_kept(local: Storage) -> None:
    local.put(NAME, [b"x"])
    leftover = Path(local.place) / f"{TEMPORARY}4711-abcdef"
    leftover.write_bytes(b"half")
    assert names(local) == [NAME]
    local.put("next", [b"y"])
    assert nothing_but(local, NAME, "next")


def test_the_temporary_file_of_a_running_put_is_left_alone(storage: Storage) -> None:
    def source() -> Iterator[bytes]:
        yield b"slow "
        storage.put("quick", [b"quick"])
        yield b"but whole"

    storage.put(NAME, source())
    assert read(storage, NAME) == b"slow but whole"
    assert read(storage, "quick") == b"quick"


def test_a_file_in_the_place_of_the_folder_is_an_error_with_a_hint(local: Storage) -> None:
    place = Path(local.place)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    with pytest.raises(StorageError) as refused:
        local.put(NAME, [b"x"])
    assert refused.value.hint
    with pytest.raises(StorageError):
        names(local)


def test_what_is_free_is_a_number_or_unknown_also_before_there_is_a_folder(
    storage: Storage,
) -> None:
    before = storage.free_bytes()
    storage.put(NAME, [b"x"])
    assert (before is None) == (storage.free_bytes() is None)
    assert before is None or before > 0


def test_a_sweep_takes_what_killed_writers_left_and_nothing_else(local: Storage) -> None:
    local.sweep()
    local.put(NAME, [b"x"])
    folder = Path(local.place)
    (folder / f"{TEMPORARY}1-00").write_bytes(b"half")
    (folder / "notes.txt").write_bytes(b"mine")
    local.sweep()
    assert nothing_but(local, NAME, "notes.txt")
