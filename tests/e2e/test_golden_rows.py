"""A rows backup that was made once, of format 1: every version has to read it.

tests/data/make_rows_golden.py made it. When a test here fails, the new code is wrong, not the
files.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import Command

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "rows-format-1"
READER = ROOT / "docs" / "examples" / "read_rows_backup.py"
KEY = "5c" * 32
BACKUPS = {
    "2026-11-24T215053Z-3437": "688bc63831d776962017ad0d82a1c92a875211890ed44175fec9150328e23bf0",
    "2026-11-24T215053Z-e594": "7955f41efe510580d64bd00642dce60233a242476a730a2cb8b5ce7a9ba7509e",
    "2026-11-24T215054Z-248b": "947d2cfa16293e41f7c57dc1ed10694085ba576a2214159d1ffd2dc7aaa7221c",
}
"""Digests of the SQL that the reader prints. Should it print other SQL, load both and compare."""


@pytest.fixture
def golden(tmp_path: Path) -> Command:
    """Return the command, set to a copy of the golden files."""
    folder = tmp_path / "backups"
    shutil.copytree(GOLDEN, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    settings = {"BACKUP_DIR": str(folder), "BACKUP_ENCRYPTION_KEY": KEY, "DB_NAME": "golden"}
    settings |= {"BACKUP_SERVER_NAME": "golden"}
    return Command(home=tmp_path, settings=settings)


def test_all_backups_of_the_first_format_verify(golden: Command) -> None:
    found = golden.ok("verify-all")
    assert (found["failed"], len(golden.ok("list")["backups"])) == (0, len(BACKUPS))


@pytest.mark.parametrize("backup", sorted(BACKUPS))
def test_the_reader_makes_the_same_sql_of_it(backup: str) -> None:
    manifest = GOLDEN / f"golden-backup-{backup}.rows.zst.enc.meta.json"
    done = subprocess.run(
        [sys.executable, "-I", READER, manifest], env={"BACKUP_ENCRYPTION_KEY": KEY},
        capture_output=True, check=True,
    )  # fmt: skip
    assert hashlib.sha256(done.stdout).hexdigest() == BACKUPS[backup]


def test_the_golden_files_hold_what_they_are_there_for() -> None:
    objects = [path for path in (GOLDEN / "objects").rglob("*-*") if path.is_file()]
    sizes = sorted(path.stat().st_size for path in objects)
    assert len(sizes) == len(BACKUPS), "one object, and a chain of two differences"
    assert sizes[1] * 10 < sizes[2]
    total = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    assert total < 60_000
