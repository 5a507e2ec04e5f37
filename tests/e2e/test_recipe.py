"""The recipe of docs/format.md, run as it is printed there, with nothing of ours around it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.portrait import Portrait, different, load_sample, portrait
from support.server import Command, command_for, fresh_database, run_all
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

DOCUMENT = Path(__file__).parents[2] / "docs" / "format.md"
MARK = "# recipe: restore without ulasis-backup\n"
KEY = os.urandom(32)
PROGRAMS = (
    "sh", "openssl", "gzip", "mariadb", "od", "tr", "sed", "head", "tail", "wc", "printf", "cat",
)  # fmt: skip


def recipe() -> str:
    """Return the shell code of the recipe as it stands in the document."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"))
    (found,) = (block for block in blocks if block.startswith(MARK))
    return str(found)


@pytest.fixture(scope="module")
def sample(scratch: ScratchServer) -> Iterator[tuple[str, Portrait]]:
    """Return a database that holds the sample, but for digits of FLOAT that no text holds."""
    with fresh_database(scratch.login, "recipe") as name, connect(scratch.login) as server:
        load_sample(server, name)
        server.run(f"UPDATE {quote(name)}.topic_weights SET weight = CAST(CONCAT(weight) AS FLOAT)")
        yield name, portrait(server, name)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a folder with the programs that the recipe names, and no others."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in PROGRAMS:
        (folder / program).symlink_to(shutil.which(program) or program)
    return folder


def follow(
    command: Command, bare: Path, backup: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the recipe for *backup* in a shell that finds nothing but *bare*."""
    socket, database = command.settings["DB_SOCKET"], command.settings["DB_NAME"]
    environment = {
        "PATH": str(bare),
        "KEY": KEY.hex(),
        "BACKUP": str(backup),
        "MARIADB": f"mariadb --no-defaults --user=root --socket={socket} {database}",
    }
    return subprocess.run(
        [bare / "sh", "-c", recipe()], env=environment | more, cwd=command.home,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.fixture
def sealed(scratch: ScratchServer, sample: tuple[str, Portrait], tmp_path: Path) -> Command:
    """Return the command, set to make encrypted backups of the sample."""
    return command_for(scratch.login, tmp_path, sample[0], BACKUP_ENCRYPTION_KEY=KEY.hex())


def empty(server: Server, database: str) -> None:
    """Drop *database* and make it again, as the recipe asks for."""
    server.run(f"DROP DATABASE {quote(database)}")
    server.run(f"CREATE DATABASE {quote(database)} CHARACTER SET utf8mb4")


def test_the_recipe_restores_an_encrypted_backup_without_us(
    sealed: Command, sample: tuple[str, Portrait], server: Server, bare: Path
) -> None:
    database, before = sample
    backup = sealed.folder / sealed.backup()
    empty(server, database)
    done = follow(sealed, bare, backup)
    assert done.returncode == 0, done.stderr
    assert different(before, portrait(server, database)) == set()


def test_the_recipe_goes_on_when_the_manifest_is_lost(
    sealed: Command, sample: tuple[str, Portrait], server: Server, bare: Path
) -> None:
    database, before = sample
    backup = sealed.folder / sealed.backup()
    backup.with_name(f"{backup.name}.meta.json").unlink()
    (keys,) = (sealed.folder / "keys").iterdir()
    empty(server, database)
    done = follow(sealed, bare, backup, KEYS=str(keys))
    assert done.returncode == 0, done.stderr
    assert different(before, portrait(server, database)) == set()


def test_the_recipe_reads_a_key_in_base64_as_the_document_says(sealed: Command, bare: Path) -> None:
    (line,) = (line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `KEY`"))
    (conversion,) = re.findall(r"From base64: `(.*?)`", line)
    done = subprocess.run(
        [bare / "sh", "-c", conversion.replace("\\|", "|")], cwd=sealed.home, check=True,
        env={"PATH": str(bare), "TEXT": base64.b64encode(KEY).decode()},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == KEY.hex()


@pytest.mark.parametrize("harm", ["another key", "flipped", "cut", "not encrypted"])
def test_the_recipe_stops_before_anything_reaches_the_server(
    scratch: ScratchServer, command: Command, bare: Path, harm: str
) -> None:
    database = command.settings["DB_NAME"]
    command = command.having(BACKUP_ENCRYPTION_KEY=KEY.hex())
    if harm == "not encrypted":
        command = command.having(BACKUP_ENCRYPTION_ENABLED="false")
    with connect(scratch.login) as server:
        run_all(server, database, ("CREATE TABLE t AS SELECT seq FROM seq_1_to_500",))
        backup = command.folder / command.backup()
        server.run(f"DROP TABLE {quote(database)}.t")
        data = bytearray(backup.read_bytes())
        if harm == "flipped":
            data[len(data) // 2] ^= 1
        backup.write_bytes(data[:-1] if harm == "cut" else data)
        key = os.urandom(32) if harm == "another key" else KEY
        done = follow(command, bare, backup, KEY=key.hex())
        assert done.returncode == 1, done.stderr
        assert done.stderr
        assert server.query(f"SHOW TABLES FROM {quote(database)}") == []
