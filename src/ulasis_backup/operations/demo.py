"""``demo``: the whole cycle on a scratch server with sample data.

Check, back up (encrypted), list, verify, a disaster, restore, and a comparison of every table
before and after.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ulasis_backup.config import Config, read_config
from ulasis_backup.events import Observe, ignore
from ulasis_backup.methods import load
from ulasis_backup.methods.contents import Contents
from ulasis_backup.model import Login
from ulasis_backup.mysql.scratch import scratch_server
from ulasis_backup.mysql.server import Server, connect, quote
from ulasis_backup.operations.backup import MadeBackup, back_up
from ulasis_backup.operations.compare import Comparison, compare
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.init import generate_key
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.operations.sql_source import open_sql
from ulasis_backup.repository.repository import Repository, load_trusted
from ulasis_backup.storage.local import LocalStorage
from ulasis_backup.streams.keys import parse_key

DATABASE = "ulasis"
DISASTER = (
    "DELETE FROM replies",
    "DELETE FROM reviews WHERE id % 3 = 0",
    "UPDATE customers SET email = CONCAT('lost-', id, '@example.com')",
    "DROP VIEW IF EXISTS business_ratings",
    "SET FOREIGN_KEY_CHECKS = 0",
    "DROP TABLE orders",
    "CREATE TABLE left_by_the_intruder (note TEXT)",
)


A_DAY_OF_WORK = (
    "UPDATE reviews SET rating = 1 + (rating + 1) % 5 WHERE id % 100 = 7",
    "DELETE FROM replies WHERE id % 200 = 3",
)
COPY = f"{DATABASE}_copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoWorld:
    """A running scratch server with the sample database, and an empty repository."""

    context: Context
    login: Login


@contextmanager
def demo_world(observe: Observe = ignore) -> Iterator[DemoWorld]:
    """Start a scratch server, load the sample database, and take everything away after."""
    with tempfile.TemporaryDirectory(prefix="ulasis-demo-") as folder, scratch_server() as scratch:
        config = _config(scratch.login, Path(folder, "backups"))
        with connect(scratch.login) as server:
            _load_sample(server)
        key = parse_key(config.key) if config.key else None
        repository = Repository(LocalStorage(config.settings.backup_dir), key)
        context = Context(config=config, repository=repository, observe=observe)
        yield DemoWorld(context=context, login=scratch.login)


def strike(world: DemoWorld) -> tuple[str, ...]:
    """Let the disaster happen, and return the statements that were its cause."""
    with connect(world.login, database=DATABASE) as server:
        for statement in DISASTER:
            server.run(statement)
    return DISASTER


def compare_with(world: DemoWorld, made: MadeBackup) -> tuple[Contents, Comparison]:
    """Return what the backup holds, and how the database compares with it now."""
    manifest = load_trusted(world.context.repository, made.name)
    source = open_sql(world.context, made.name, manifest)
    found = compare(world.context, DATABASE, source.contents, data_key=source.fingerprint_key)
    return source.contents, found


def back_up_sample(world: DemoWorld) -> MadeBackup:
    """Back the sample database up."""
    return back_up(world.context, BackupRequest(databases=(DATABASE,), note="demo"))


def back_up_rows(world: DemoWorld) -> tuple[MadeBackup, MadeBackup]:
    """Back the sample up by ``rows`` twice, with a few rows changed in between."""
    request = BackupRequest(databases=(DATABASE,), method="rows", note="demo")
    first = back_up(world.context, request)
    with connect(world.login, database=DATABASE) as server:
        for statement in A_DAY_OF_WORK:
            server.run(statement)
    return first, back_up(world.context, request)


def _config(login: Login, folder: Path) -> Config:
    values = {
        "backup_dir": str(folder), "db_host": "localhost", "db_socket": login.socket,
        "db_user": login.user, "db_name": DATABASE, "backup_encryption_key": generate_key(),
        "db_password": "",
    }  # fmt: skip
    return read_config(flags=values, environment={}, folder=folder.parent)


def _load_sample(server: Server) -> None:
    server.run(f"CREATE DATABASE {quote(DATABASE)} CHARACTER SET utf8mb4")
    text = resources.files("ulasis_backup").joinpath("data/sample.sql").read_bytes()
    load.run_script(iter([text]), server, DATABASE)
