"""Names of backups: they parse back, sort by time, and no other file's name is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ulasis_backup.errors import SettingsError
from ulasis_backup.repository import names

MORNING = datetime(2026, 11, 22, 2, tzinfo=UTC)
SUFFIXES = [
    f".{method}{packed}{sealed}"
    for method in ("sql", "rows")
    for packed in ("", ".gz", ".zst")
    for sealed in ("", ".enc")
]


@given(prefix=st.text(min_size=1, max_size=20), suffix=st.sampled_from(SUFFIXES))
@example(prefix="shop-backup-2026-11-22T020000Z-4f1c", suffix=".sql")
@example(prefix="a/b", suffix=".sql.gz")
@example(prefix="..", suffix=".sql")
@example(prefix=".ulasis-tmp-x", suffix=".sql")
@example(prefix="a\nb\0c%", suffix=".sql")
@example(prefix="x.sql.gz.enc.meta.json", suffix=".sql")
def test_names_of_any_database_parse_back(prefix: str, suffix: str) -> None:
    backup_id = names.new_backup_id(prefix, MORNING)
    name = names.PayloadName(backup_id=backup_id, suffix=suffix)
    assert names.parse_payload(str(name)) == name
    assert names.parse_manifest(name.manifest) == name
    assert names.is_backup_id(backup_id)
    assert names.prefix_of(backup_id) == prefix
    assert not names.looks_old(str(name))


@given(prefix=st.text(min_size=1, max_size=20))
def test_names_are_plain_file_names(prefix: str) -> None:
    name = names.new_backup_id(prefix, MORNING) + ".sql.gz.enc.meta.json"
    assert not set(name) & set("/\\\0\n\r\t *?\"'`|<>;&()")
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert name.isascii()


@pytest.mark.parametrize("prefix", ["Größe Ελλάδα 表", "x" * 64, "表" * 20, "..", "a b", "%41"])
def test_odd_database_names_make_names(prefix: str) -> None:
    assert names.prefix_of(names.new_backup_id(prefix, MORNING)) == prefix


def test_a_name_that_would_be_too_long_asks_for_another() -> None:
    with pytest.raises(SettingsError) as refused:
        names.new_backup_id("表" * 64, MORNING)
    assert "BACKUP_NAME" in refused.value.hint


def test_names_of_one_database_sort_by_time() -> None:
    made = [names.new_backup_id("shop", MORNING + timedelta(hours=hour)) for hour in range(50)]
    assert sorted(made[20:] + made[:20][::-1]) == made


def test_times_in_names_are_utc() -> None:
    there = datetime(2026, 11, 22, 3, tzinfo=timezone(timedelta(hours=1)))
    assert names.short_id(names.new_backup_id("shop", there)).startswith("2026-11-22T020000Z-")


def test_two_backups_of_one_second_have_two_names() -> None:
    assert len({names.new_backup_id("shop", MORNING) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "ulasis-backup-2023-10-26.sql.gz.enc",
        "ulasis-backup-2023-10-26.sql.gz.enc.meta.json",
        "shop-backup-2026-11-22T020000Z-4f1c",
        "shop-backup-2026-11-22T020000Z-4f1c.sql.bz2",
        "shop-backup-2026-11-22T020000Z-4f1c.sql.enc.gz",
        "shop-backup-2026-11-22T020000Z-4f1c.sql.gz.enc.tmp",
        "shop-backup-2026-11-22T020000Z-4F1C.sql",
        "shop-backup-2026-11-22T020000Z-4f.sql",
        "shop-backup-2026-11-22T02:00:00Z-4f1c.sql",
        "-backup-2026-11-22T020000Z-4f1c.sql",
        "a/shop-backup-2026-11-22T020000Z-4f1c.sql",
        "shop-backup-2026-11-22T020000Z-4f1c.sql\n",
        "repository.json",
    ],
)
def test_other_files_are_not_taken_for_ours(name: str) -> None:
    assert names.parse_payload(name) is None
    assert names.parse_manifest(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "ulasis-backup-2023-10-26.sql",
        "ulasis-backup-2023-10-26.sql.gz",
        "ulasis-backup-2023-10-26.sql.gz.enc",
        "ulasis-backup-2023-10-26.sql.gz.enc.meta.json",
    ],
)
def test_files_of_the_old_scripts_are_known_as_such(name: str) -> None:
    assert names.looks_old(name)


@pytest.mark.parametrize("name", ["shop-backup-2026-11-22T020000Z-4f1c.sql.gz", "x", "a.sql"])
def test_other_files_are_not_taken_for_old_ones(name: str) -> None:
    assert not names.looks_old(name)
