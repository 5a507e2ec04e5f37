"""docs/examples/read_rows_backup.py: rows backups come back without us, and only whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cryptography
import pytest

from support.portrait import SUPPORT, Portrait, different, load_sample, load_script, portrait
from support.server import Command, command_for, fresh_database, make_orders, run_all
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

READER = Path(__file__).parents[2] / "docs" / "examples" / "read_rows_backup.py"
KEY = os.urandom(32).hex()
SEALED = {"BACKUP_METHOD": "rows", "BACKUP_ENCRYPTION_KEY": KEY}
GCM = SEALED | {"BACKUP_ENCRYPTION_CIPHER": "aes-256-gcm"}
SIGNED = SEALED | {"BACKUP_ENCRYPTION_ENABLED": "false"}
OPEN = {"BACKUP_METHOD": "rows"}

ALONE = """
import importlib.abc, runpy, sys
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        good = top in sys.stdlib_module_names or top in {"cryptography", "backports", "cffi",
            "_cffi_backend", "backports_zstd"}
        if not good:
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Guard())
sys.argv = sys.argv[1:]
sys.path.append(sys.argv.pop())
runpy.run_path(sys.argv[0], run_name="__main__")
assert not any("ulasis" in name for name in sys.modules)
"""
"""Runs the reader where nothing but Python, zstd and cryptography can be imported."""


def read(manifest: Path, key: str = "", *more: str) -> subprocess.CompletedProcess[bytes]:
    """Run the reader alone, in an environment with nothing but the key."""
    packages = str(Path(cryptography.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, READER, manifest, *more, packages],
        env={"BACKUP_ENCRYPTION_KEY": key} if key else {},
        capture_output=True, check=False, timeout=100,
    )  # fmt: skip


def newest(command: Command) -> Path:
    """Make a backup and return its manifest."""
    name = command.backup()
    return command.folder / f"{name}.meta.json"


def load(command: Command, sql: bytes) -> None:
    """Load *sql* into the command's database, made anew, with the client as the reader says."""
    socket, database = command.settings["DB_SOCKET"], command.settings["DB_NAME"]
    client = ["mariadb", "--no-defaults", "--user=root", f"--socket={socket}"]
    remake = f"DROP DATABASE {quote(database)}; CREATE DATABASE {quote(database)} CHARSET latin1"
    subprocess.run([*client, "-e", remake], check=True)
    options = ["--binary-mode", "--comments", "--default-character-set=utf8mb4"]
    done = subprocess.run(
        [*client, *options, database], input=sql, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sample(scratch: ScratchServer) -> Iterator[tuple[str, Portrait]]:
    """Return a database that holds the sample, with what it holds."""
    with fresh_database(scratch.login, "alone") as name, connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        load_sample(server, name)
        yield name, portrait(server, name)
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


@pytest.mark.server
def test_the_sample_comes_back_without_us_however_it_was_stored(
    command: Command, sample: tuple[str, Portrait], server: Server
) -> None:
    database, before = sample
    command = command.having(DB_NAME=database)
    printed = []
    for number, way in enumerate((SEALED, GCM, OPEN)):
        folder = str(command.home / f"backups-{number}")
        manifest = newest(command.having(BACKUP_DIR=folder, **way))
        done = read(manifest, way.get("BACKUP_ENCRYPTION_KEY", ""))
        assert (done.returncode, done.stderr) == (0, b"")
        printed.append(done.stdout)
    assert printed[0] == printed[1] == printed[2]
    load(command, printed[0])
    assert different(before, portrait(server, database)) == set()


@pytest.mark.server
@pytest.mark.parametrize("way", [SEALED, SIGNED, OPEN], ids=["sealed", "signed", "open"])
def test_a_backup_of_differences_comes_back_without_us(
    command: Command, server: Server, database: str, way: dict[str, str]
) -> None:
    command = command.having(**way)
    make_orders(server, database, rows=9000)
    newest(command)
    run_all(server, database, ["UPDATE customers SET note = 'y' WHERE id % 1000 = 7"])
    newest(command)
    run_all(server, database, ["UPDATE customers SET note = NULL WHERE id % 1000 = 9"])
    before = portrait(server, database)
    manifest = newest(command)
    sizes = sorted(path.stat().st_size for path in (command.folder / "objects").rglob("*-*"))
    assert sizes[0] * 10 < sizes[-1], "nothing was stored as a difference"
    server.run("SET GLOBAL log_bin_trust_function_creators = 1")
    load(command, read(manifest, way.get("BACKUP_ENCRYPTION_KEY", "")).stdout)
    server.run("SET GLOBAL log_bin_trust_function_creators = 0")
    assert different(before, portrait(server, database)) == set()


@pytest.mark.server
def test_every_trap_comes_back_but_what_the_reader_names(
    scratch: ScratchServer, tmp_path: Path, database: str
) -> None:
    with connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        load_script(server, database, SUPPORT / "trap_schema.sql")
        before = portrait(server, database)
        command = command_for(scratch.login, tmp_path, database, **SEALED)
        done = read(newest(command), KEY)
        assert (done.returncode, done.stderr) == (0, b"")
        load(command, done.stdout)
        changed = different(before, portrait(server, database))
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")
    # As docs/format.md says: a comment outside ASCII, of a client that was not UTF-8.
    assert changed == {"procedure trap_procedure_latin1_comment"}


@pytest.mark.server
@pytest.mark.parametrize("way", [SEALED, GCM, OPEN], ids=["cbc", "gcm", "open"])
def test_one_flipped_byte_and_not_a_line_is_printed(
    command: Command, server: Server, database: str, way: dict[str, str]
) -> None:
    command = command.having(**way)
    make_orders(server, database, rows=500)
    manifest = newest(command)
    payload = manifest.with_name(manifest.name.removesuffix(".meta.json"))
    for found in (manifest, payload, next((command.folder / "objects").rglob("*-*"))):
        data = found.read_bytes()
        place = len(data) // 2
        found.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        done = read(manifest, way.get("BACKUP_ENCRYPTION_KEY", ""))
        assert (done.returncode, done.stdout) == (1, b""), found
        assert done.stderr
        found.write_bytes(data)
    assert read(manifest, way.get("BACKUP_ENCRYPTION_KEY", "")).returncode == 0


@pytest.mark.server
def test_it_refuses_another_key_none_and_an_unsigned_backup_in_place_of_a_signed_one(
    command: Command, server: Server, database: str
) -> None:
    make_orders(server, database, rows=10)
    elsewhere = str(command.home / "elsewhere")
    signed = newest(command.having(**SEALED))
    unsigned = newest(command.having(**OPEN, BACKUP_DIR=elsewhere))
    for manifest, key in ((signed, os.urandom(32).hex()), (signed, ""), (unsigned, KEY)):
        done = read(manifest, key)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"read_rows_backup: " in done.stderr


def test_it_is_short_enough_to_be_read_by_a_stranger() -> None:
    lines = READER.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 100, "short by long lines"


def test_it_imports_nothing_of_ours() -> None:
    source = READER.read_text(encoding="utf-8")
    assert not any(f"{word} ulasis" in source for word in ("import", "from"))
