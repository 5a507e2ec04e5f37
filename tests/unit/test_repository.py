"""The repository: finding backups, series that do not disturb each other, oddities, doubts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.manifests import KEY, Wanted, put_backup
from ulasis_backup.errors import (
    AmbiguousName,
    AuthenticationFailed,
    BackupNotFound,
    IntegrityError,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.model import Kind
from ulasis_backup.repository import canonical, repository
from ulasis_backup.repository import find as finding
from ulasis_backup.repository.names import PayloadName, short_id
from ulasis_backup.repository.repository import Repository, listing
from ulasis_backup.storage.local import LocalStorage

OLD = (
    "ulasis-backup-2023-10-26.sql.gz.enc",
    "ulasis-backup-2023-10-26.sql.gz.enc.meta.json",
    "ulasis-backup-2023-09-01.sql.gz",
)


@pytest.fixture
def shelf(tmp_path: Path) -> Repository:
    return Repository(LocalStorage(tmp_path / "backups"), None)


def find(shelf: Repository, text: str, database: str = "shop", server: str = "db1:3306") -> str:
    found = finding.find(shelf, text, server_name=server, databases=(database,))
    return str(found)


def folder(shelf: Repository) -> Path:
    return Path(shelf.storage.place)


def test_a_backup_answers_to_its_file_its_manifest_its_id_and_any_unique_start(
    shelf: Repository,
) -> None:
    name = put_backup(shelf)
    other = put_backup(shelf, Wanted(days=1))
    spellings = (
        str(name),
        name.manifest,
        f"{shelf.storage.place}/{name}",
        f"{shelf.storage.place}/{name.manifest}",
        name.backup_id,
        short_id(name.backup_id),
        short_id(name.backup_id)[:12],
        name.backup_id[:-1],
    )
    for text in spellings:
        assert find(shelf, text) == str(name), text
    assert find(shelf, str(other)) == str(other)


def test_a_path_that_leads_elsewhere_is_another_file(shelf: Repository) -> None:
    name = put_backup(shelf)
    for folder in ("backups", "/mnt/usb", f"{shelf.storage.place}/damaged"):
        with pytest.raises(BackupNotFound) as refused:
            find(shelf, f"{folder}/{name}")
        assert "--backup-dir" in refused.value.hint


def test_latest_is_no_older_one_when_the_newest_cannot_be_used(shelf: Repository) -> None:
    older, newest = put_backup(shelf), put_backup(shelf, Wanted(days=1))
    manifest = Path(shelf.storage.place, newest.manifest)
    whole = manifest.read_bytes()
    for harm in (whole[:-9], whole.replace(b'"sequence"', b'"sequencf"'), b"{}"):
        manifest.write_bytes(harm)
        with pytest.raises(UlasisError) as refused:
            find(shelf, "latest")
        assert str(newest) in refused.value.message
        assert str(older) in refused.value.hint
    manifest.write_bytes(whole)
    assert find(shelf, "latest") == str(newest)


def test_an_ambiguous_start_names_the_candidates(shelf: Repository) -> None:
    made = [put_backup(shelf, Wanted(days=day)) for day in range(3)]
    with pytest.raises(AmbiguousName) as refused:
        find(shelf, "shop-backup-2026")
    assert all(str(name) in refused.value.message for name in made)


@pytest.mark.parametrize("text", ["", "x", "shop-backup-2025", "latest-of-all", "../x", "*", "."])
def test_what_nobody_answers_to_is_not_found(shelf: Repository, text: str) -> None:
    put_backup(shelf)
    put_backup(shelf, Wanted(days=1))
    with pytest.raises((BackupNotFound, AmbiguousName)) as refused:
        find(shelf, text)
    assert refused.value.hint


def test_files_of_the_old_scripts_are_not_found_and_the_message_says_why(
    shelf: Repository,
) -> None:
    put_backup(shelf)
    for name in OLD:
        (folder(shelf) / name).write_bytes(b"old")
        with pytest.raises(BackupNotFound, match="old scripts"):
            find(shelf, name)


def test_latest_is_the_newest_of_this_server_and_database_and_no_safety_backup(
    shelf: Repository,
) -> None:
    put_backup(shelf)
    mine = put_backup(shelf, Wanted(days=1))
    put_backup(shelf, Wanted(days=2, kind=Kind.SAFETY))
    other = put_backup(shelf, Wanted(days=3, database="blog"))
    far = put_backup(shelf, Wanted(days=4, server_name="db2:3306"))
    assert find(shelf, "latest") == str(mine)
    assert find(shelf, "latest", "blog") == str(other)
    assert find(shelf, "latest", server="db2:3306") == str(far)


def test_latest_is_no_older_one_when_a_later_one_holds_the_database_among_others(
    shelf: Repository,
) -> None:
    mine = put_backup(shelf, Wanted(days=2))
    put_backup(shelf, Wanted(days=1, others=("blog",)))
    put_backup(shelf, Wanted(days=3, others=("blog",), server_name="db2:3306"))
    put_backup(shelf, Wanted(days=3, others=("blog",), kind=Kind.SAFETY))
    assert find(shelf, "latest") == str(mine)
    both = put_backup(shelf, Wanted(days=4, others=("blog",)))
    for database in ("shop", "blog"):
        with pytest.raises(AmbiguousName, match=str(both)):
            find(shelf, "latest", database)
    newest = put_backup(shelf, Wanted(days=5))
    assert find(shelf, "latest") == str(newest)


def test_latest_goes_by_sequence_and_not_by_the_clock(shelf: Repository) -> None:
    put_backup(shelf, Wanted(days=5))
    later = put_backup(shelf, Wanted(days=1))
    assert find(shelf, "latest") == str(later)


def test_where_there_is_no_latest_the_hint_says_where_there_is_one(shelf: Repository) -> None:
    with pytest.raises(BackupNotFound) as refused:
        find(shelf, "latest")
    assert "backup" in refused.value.hint
    far = put_backup(shelf, Wanted(server_name="db2:3306"))
    with pytest.raises(BackupNotFound) as refused:
        find(shelf, "latest")
    assert "db2:3306" in refused.value.hint
    assert str(far) in refused.value.hint


def test_safety_backups_alone_are_no_latest(shelf: Repository) -> None:
    put_backup(shelf, Wanted(kind=Kind.SAFETY))
    with pytest.raises(BackupNotFound):
        find(shelf, "latest")


def test_series_count_for_themselves(shelf: Repository) -> None:
    for day in range(6):
        put_backup(shelf, Wanted(days=day, database=("shop", "blog")[day % 2]))
        put_backup(shelf, Wanted(days=day, server_name="db2:3306", kind=Kind.SAFETY))
    found = listing(shelf)
    assert found.doubts == ()
    assert found.oddities == ()
    counted: dict[str, list[int]] = {}
    for entry in found.entries:
        head = entry.manifest.header
        counted.setdefault(head.series, []).append(head.sequence)
    assert sorted(counted.values()) == [[1, 2, 3], [1, 2, 3], [1, 2, 3, 4, 5, 6]]


def test_each_manifest_names_the_one_before(shelf: Repository) -> None:
    for day in range(3):
        put_backup(shelf, Wanted(days=day))
    entries = listing(shelf).entries
    assert [entry.manifest.header.previous for entry in entries] == [
        "",
        entries[0].manifest.digest,
        entries[1].manifest.digest,
    ]


def test_a_missing_backup_leaves_a_doubt(shelf: Repository) -> None:
    made = [put_backup(shelf, Wanted(days=day)) for day in range(4)]
    for name in made[1:3]:
        shelf.storage.delete(name.manifest)
        shelf.storage.delete(str(name))
    assert listing(shelf).doubts == (f"2 backup(s) between {made[0]} and {made[3]} are gone",)


def test_the_oldest_backups_may_be_gone_without_a_doubt(shelf: Repository) -> None:
    made = [put_backup(shelf, Wanted(days=day)) for day in range(3)]
    shelf.storage.delete(made[0].manifest)
    shelf.storage.delete(str(made[0]))
    assert listing(shelf).doubts == ()


def test_an_old_manifest_that_is_put_back_leaves_a_doubt(shelf: Repository) -> None:
    first = put_backup(shelf)
    gone = put_backup(shelf, Wanted(days=1))
    kept = {name: (folder(shelf) / name).read_bytes() for name in (str(gone), gone.manifest)}
    for name in kept:
        shelf.storage.delete(name)
    put_backup(shelf, Wanted(days=2))
    put_backup(shelf, Wanted(days=3))
    assert listing(shelf).doubts == ()
    for name, data in kept.items():
        (folder(shelf) / name).write_bytes(data)
    doubts = listing(shelf).doubts
    assert any("same sequence number" in doubt for doubt in doubts), doubts
    assert all(str(first) not in doubt for doubt in doubts[:1])


def test_everything_odd_is_shown_and_hides_nothing(shelf: Repository) -> None:
    good = put_backup(shelf)
    damaged = put_backup(shelf, Wanted(days=1))
    lonely = put_backup(shelf, Wanted(days=2))
    lost = put_backup(shelf, Wanted(days=3))
    swapped = put_backup(shelf, Wanted(days=4))
    newer = put_backup(shelf, Wanted(days=5))
    place = folder(shelf)
    (place / damaged.manifest).write_bytes(b"{")
    (place / lonely.manifest).unlink()
    (place / str(lost)).unlink()
    (place / swapped.manifest).write_bytes((place / good.manifest).read_bytes())
    (place / newer.manifest).write_bytes(canonical.to_bytes({"format": 99}))
    strange = ("notes.txt", "x.meta.json", "empty", "shop-backup-2026-11-22T020000Z-4f1c.sql.tmp")
    for name in (*OLD, *strange):
        (place / name).write_bytes(b"")
    (place / "folder").mkdir()
    (place / "dangling").symlink_to(place / "nowhere")
    found = listing(shelf)
    shown = {oddity.name: oddity.what for oddity in found.oddities}
    assert [str(entry.name) for entry in found.entries if not entry.problem] == [str(good)]
    assert {name for name in shown if "old scripts" in shown[name]} == set(OLD)
    assert {name for name in shown if "not ours" in shown[name]} == set(strange)
    for name in (damaged.manifest, str(lonely), swapped.manifest, newer.manifest):
        assert name in shown, shown
    broken = {str(entry.name) for entry in found.entries if entry.problem} | set(shown)
    assert {str(lost), lost.manifest} & broken


def test_a_huge_manifest_is_odd_and_is_not_read_whole(shelf: Repository) -> None:
    name = put_backup(shelf)
    with (folder(shelf) / name.manifest).open("r+b") as file:
        file.truncate(canonical.MOST_BYTES + 2)
    (oddity,) = (entry for entry in listing(shelf).oddities if entry.error)
    assert "large" in oddity.what


def test_an_encrypted_backup_is_listed_without_the_key_and_read_with_it(
    shelf: Repository,
) -> None:
    name = put_backup(shelf, Wanted(key=KEY))
    (entry,) = listing(shelf).entries
    assert entry.manifest.details is None
    with pytest.raises(WrongKey):
        repository.load_trusted(shelf, name)
    keyed = Repository(shelf.storage, KEY)
    assert repository.load_trusted(keyed, name).details
    foreign = Repository(shelf.storage, os.urandom(32))
    (entry,) = listing(foreign).entries
    assert isinstance(entry.problem, WrongKey)


def test_with_a_key_an_unsigned_backup_is_refused_unless_allowed(shelf: Repository) -> None:
    name = put_backup(shelf)
    keyed = Repository(shelf.storage, KEY)
    with pytest.raises(AuthenticationFailed, match="not signed"):
        repository.load_trusted(keyed, name)
    assert repository.load_trusted(keyed, name, allow_unauthenticated=True).details


def test_a_manifest_under_another_name_is_refused(shelf: Repository) -> None:
    first, second = put_backup(shelf), put_backup(shelf, Wanted(days=1))
    (folder(shelf) / first.manifest).write_bytes((folder(shelf) / second.manifest).read_bytes())
    with pytest.raises(AuthenticationFailed, match="another backup"):
        repository.load(shelf, first)


def test_the_spare_key_copy_is_checked(shelf: Repository) -> None:
    name = put_backup(shelf, Wanted(key=KEY))
    other = put_backup(shelf, Wanted(key=KEY, days=1))
    keyed = Repository(shelf.storage, KEY)
    manifest = repository.load_trusted(keyed, name)
    assert repository.check_key_copy(keyed, manifest, name) == ""
    path = folder(shelf) / name.key_copy
    path.write_bytes((folder(shelf) / other.key_copy).read_bytes())
    assert repository.check_key_copy(keyed, manifest, name)
    path.unlink()
    assert repository.check_key_copy(keyed, manifest, name)


def test_a_lost_manifest_leaves_the_spare_key(shelf: Repository) -> None:
    name = put_backup(shelf, Wanted(key=KEY))
    keyed = Repository(shelf.storage, KEY)
    expected = repository.load_trusted(keyed, name).data_key
    shelf.storage.delete(name.manifest)
    assert repository.orphan_key(keyed, name.backup_id) == expected
    with pytest.raises(WrongKey):
        repository.orphan_key(shelf, name.backup_id)


def test_a_repository_is_made_once(shelf: Repository) -> None:
    assert repository.ensure(shelf) is True
    before = (folder(shelf) / "repository.json").read_bytes()
    assert repository.ensure(shelf) is False
    assert (folder(shelf) / "repository.json").read_bytes() == before


@pytest.mark.parametrize(
    "fields",
    [{"format": 2}, {"features": ["objects"]}, {"features": "x"}, {"features": None}],
)
def test_a_repository_of_a_newer_version_is_not_written_to(
    shelf: Repository, fields: dict[str, object]
) -> None:
    body = {"format": 1, "id": "00", "features": []} | fields
    shelf.storage.put("repository.json", [canonical.to_bytes(body)])
    with pytest.raises(UnknownFormat):
        repository.ensure(shelf)


def test_a_damaged_repository_file_is_not_written_to(shelf: Repository) -> None:
    shelf.storage.put("repository.json", [b"{}\n"])
    with pytest.raises(IntegrityError):
        repository.ensure(shelf)


def test_an_empty_or_missing_folder_is_an_empty_repository(shelf: Repository) -> None:
    assert listing(shelf) == repository.Listing(entries=(), oddities=())
    folder(shelf).mkdir()
    assert listing(shelf).entries == ()


def test_loading_what_is_not_there_is_not_found(shelf: Repository) -> None:
    name = PayloadName(backup_id="shop-backup-2026-11-22T020000Z-4f1c", suffix=".sql.gz")
    with pytest.raises(BackupNotFound):
        repository.load(shelf, name)
    with pytest.raises(UlasisError):
        repository.orphan_key(Repository(shelf.storage, KEY), name.backup_id)
