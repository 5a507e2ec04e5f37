"""Retention around real backups: what a run records, what it removes, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.faults import faking, slow_dump, wait_for_pause
from support.server import Command, finish
from ulasis_backup.mysql.server import Server, quote

pytestmark = pytest.mark.server

KEY = "00112233445566778899aabbccddeeff" * 2
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
FEW = {
    "BACKUP_KEEP_DAILY": "0", "BACKUP_KEEP_WEEKLY": "0", "BACKUP_KEEP_MONTHLY": "0",
    "BACKUP_KEEP_YEARLY": "0", "BACKUP_MAX_COUNT": "2",
}  # fmt: skip


@pytest.fixture
def shop(command: Command, server: Server, database: str) -> Command:
    """Return the command for a database with a table, that keeps two backups."""
    server.run(f"USE {quote(database)}")
    server.run("CREATE TABLE t (a INT PRIMARY KEY, b TEXT)")
    server.run("INSERT INTO t SELECT seq, SHA2(seq, 512) FROM seq_1_to_500")
    return command.having(**FEW, TMPDIR=str(command.home))


def listed(command: Command) -> list[str]:
    return [entry["backup"] for entry in command.ok("list")["backups"]]


def made(command: Command, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = command.ok("backup", *options)
    return document


def dry_run(command: Command) -> dict[str, list[str]]:
    document = command.ok("prune", "--dry-run")
    return {entry["backup"]: [entry["action"], *entry["reasons"]] for entry in document["backups"]}


def test_a_backup_removes_what_the_policy_does_not_keep_and_a_held_one_stays(
    shop: Command,
) -> None:
    shop = shop.having(BACKUP_ENCRYPTION_KEY=KEY, BACKUP_MAX_COUNT="1")
    made(shop, "--hold", "--note", "before the migration")
    assert made(shop)["prune"]["removed"] == []
    before = listed(shop)
    assert made(shop)["prune"]["removed"] == [before[1]]
    found = shop.ok("list")["backups"]
    assert [bool(entry["held"]) for entry in found] == [True, False]
    assert shop.ok("show", before[0])["held"]["note"] == "before the migration"
    assert dry_run(shop)[before[0]][:2] == ["keep", "held"]
    assert shop.ok("release", before[0])["was_held"]
    assert shop.ok("prune")["removed"] == [before[0]]
    names = {path.name for path in shop.folder.rglob("*") if path.is_file()}
    assert not {name for name in names if before[0].split(".")[0] in name}


def test_a_backup_that_fails_or_is_killed_keeps_everything_until_one_succeeds(
    shop: Command,
) -> None:
    shop = shop.having(BACKUP_SERVER_NAME="here")
    made(shop)
    made(shop)
    fewer = shop.having(BACKUP_MAX_COUNT="1")
    for fail, code in ((shop.having(DB_SOCKET="/nowhere"), 11), (faking(shop, "exit 2"), 16)):
        failed = fail.run("backup")
        assert failed.code == code, failed.said
        document = fewer.ok("prune", "--after-failure")
        assert document["removed"] == []
        assert "the last run failed" in str(document["backups"])
    slow = faking(shop, slow_dump(10))
    process = slow.start("backup")
    wait_for_pause(slow, process)
    process.kill()
    finish(process)
    document = fewer.ok("prune")
    assert document["removed"] == []
    assert "cut off" in str(document["backups"])
    assert len(made(fewer)["prune"]["removed"]) == 2


def test_what_follows_a_backup_and_fails_is_61_and_the_backup_is_made(shop: Command) -> None:
    made(shop)
    (shop.folder / "holds").write_bytes(b"")
    done = shop.run("--json", "backup", "--hold")
    assert done.code == 61, done.said
    assert len(done.json["backups"]) == 1
    assert "it is not held" in done.json["follow_up_failed"][0]["message"]
    assert len(list(shop.folder.glob("*.meta.json"))) == 2
    (shop.folder / "holds").unlink()
    off = shop.having(BACKUP_MAX_COUNT="1", BACKUP_PRUNE_AFTER_BACKUP="false")
    assert made(off)["prune"] is None


def test_rows_backups_go_and_their_objects_follow_after_the_grace_period(
    shop: Command, server: Server
) -> None:
    shop = shop.having(BACKUP_METHOD="rows", BACKUP_GRACE_HOURS="1", BACKUP_MAX_COUNT="1")
    server.run("UPDATE t SET b = REPEAT(SHA2(a, 512), 20)")
    made(shop)
    server.run("UPDATE t SET b = REPEAT(SHA2(a * 2, 512), 20)")
    document = made(shop)
    assert len(listed(shop)) == 1
    assert document["prune"]["listed"] > 0
    for path in (shop.folder / "marks").glob("unreferenced-*"):
        os.utime(path, (path.stat().st_mtime - 4000,) * 2)
    assert shop.ok("prune")["deleted"] > 0
    assert shop.ok("verify-all")["failed"] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@NEEDS_ROOT
def test_on_a_full_disk_the_command_that_is_printed_makes_room(
    shop: Command, small_disk: Path
) -> None:
    shop = shop.having(BACKUP_DIR=str(small_disk / "b"))
    made(shop)
    made(shop)
    with (small_disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    full = shop.having(BACKUP_MAX_COUNT="1")
    done = full.run("backup")
    assert done.code == 22, done.said
    assert "there is no room for a backup: the last backup took" in done.err
    assert "prune --after-failure" in done.err
    assert full.ok("prune")["removed"] == []
    assert len(full.ok("prune", "--after-failure")["removed"]) == 1
    (small_disk / "filling").unlink()
    made(full)


def test_a_prune_while_a_restore_reads_the_backup_leaves_it(
    shop: Command, server: Server, database: str
) -> None:
    for _ in range(2):
        made(shop)
    oldest = listed(shop)[0]
    fewer = shop.having(BACKUP_MAX_COUNT="1")
    restore = shop.start("restore", oldest, "--yes", "--target-database", f"{database}_copy")
    try:
        while not list((shop.folder / "locks").glob(f"reading-{oldest.split('.')[0]}*")):
            assert restore.poll() is None, restore.communicate()
        os.killpg(restore.pid, signal.SIGSTOP)
        assert fewer.ok("prune")["removed"] == []
        os.killpg(restore.pid, signal.SIGCONT)
        done = finish(restore)
        assert done.code == 0, done.said
    finally:
        server.run(f"DROP DATABASE IF EXISTS {quote(database + '_copy')}")
    assert fewer.ok("prune")["removed"] == [oldest]
