"""Writers all through a ``rows`` backup: it is one moment, and its position is that very moment."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import Start
from support.server import (
    SERVERS,
    Command,
    checksums,
    command_for,
    fresh_database,
    own_server,
    run_all,
    servers_folder,
)
from ulasis_backup.model import Login
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

TABLES = ("checking", "deposits", "loans", "savings")
ACCOUNTS = 300
CENTS = 1000


def make_bank(server: Server, database: str) -> None:
    """Make four tables of accounts, each with a row of turns, and a counter without transactions.

    The accounts are long, so that reading one table takes a while.
    """
    numbers = (
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS}) "
        f"SELECT i, {CENTS}, 0, REPEAT('long', 10000) FROM n"
    )
    account = "(id INT PRIMARY KEY, cents INT, turn INT, filler LONGTEXT)"
    statements = [f"CREATE TABLE {name} {account}" for name in TABLES]
    statements += [f"INSERT INTO {name} {numbers}" for name in TABLES]
    statements += [f"INSERT INTO {name} VALUES (0, 0, 0, '')" for name in TABLES]
    statements += [
        "CREATE TABLE counted (id INT PRIMARY KEY, n INT) ENGINE=MyISAM",
        "INSERT INTO counted VALUES (1, 0)",
    ]
    run_all(server, database, statements)


def transfer_until(login: Login, database: str, stop: threading.Event) -> None:
    """Move cents between tables, a transaction each; row 0 of every table has its number."""
    chance = random.Random(7)  # noqa: S311 (test data, not secrets)
    turn = 0
    with connect(login, database=database) as server:
        while not stop.is_set():
            turn += 1
            giver, taker = chance.sample(TABLES, 2)
            account, amount = chance.randint(1, ACCOUNTS), chance.randint(1, 50)
            change = "UPDATE {} SET cents = cents {} {} WHERE id = {}"
            server.run("START TRANSACTION")
            server.run(change.format(giver, "-", amount, account))
            for name in chance.sample(TABLES, 4):
                server.run(f"UPDATE {name} SET turn = {turn} WHERE id = 0")
            server.run(change.format(taker, "+", amount, account))
            server.run("COMMIT")


def count_until(login: Login, database: str, stop: threading.Event) -> None:
    """Write a table that knows no transactions."""
    with connect(login, database=database) as server:
        while not stop.is_set():
            server.run("UPDATE counted SET n = n + 1")
            time.sleep(0.001)


@contextmanager
def writers(login: Login, database: str) -> Iterator[None]:
    """Let both writers write inside the block."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(login, database, stop))
        for work in (transfer_until, count_until)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def programs(name: str) -> tuple[str, str]:
    """Return the programs that read binlogs of, and talk to, the server *name*."""
    folder = servers_folder(name)
    found = []
    for mariadb, mysql in (("mariadb-binlog", "mysqlbinlog"), ("mariadb", "mysql")):
        words = (mysql,) if name.startswith("mysql") else (mariadb, mysql)
        paths = [shutil.which(word, path=str(folder) if folder else None) for word in words]
        program = next((path for path in paths if path), None)
        if program is None:
            pytest.skip(f"{name} comes without {mysql} here")
        found.append(program)
    return found[0], found[1]


def replay(source: ScratchServer, target: Login, position: dict[str, Any], name: str) -> None:
    """Run everything that was committed on *source* from *position* on."""
    reader, client = programs(name)
    folder = Path(source.folder) / "data"
    with connect(source.login) as server:
        files = [str(row[0]) for row in server.query("SHOW BINARY LOGS")]
        server.run("FLUSH BINARY LOGS")
    wanted = [str(folder / file) for file in files if file >= position["file"]]
    begin = f"--start-position={position['offset']}"
    events = subprocess.run(
        [reader, "--no-defaults", begin, *wanted], check=True, capture_output=True
    )
    arguments = ["--no-defaults", f"--socket={target.socket}", f"--user={target.user}"]
    subprocess.run(
        [client, *arguments, "--binary-mode"], input=events.stdout, check=True, capture_output=True
    )


def expect_one_moment(server: Server, database: str) -> int:
    """Expect every cent and one turn in all tables; return the turn."""
    every = " UNION ALL ".join(f"SELECT * FROM {quote(database)}.{name}" for name in TABLES)
    cents, turns, turn = server.query(
        f"SELECT SUM(cents), COUNT(DISTINCT IF(id = 0, turn, NULL)), MAX(turn) FROM ({every}) t"
    )[0]
    assert (cents, turns) == (len(TABLES) * ACCOUNTS * CENTS, 1)
    return int(turn)


def restore_there(command: Command, name: str, server: Server) -> None:
    """Restore backup *name* on another server."""
    server.run(f"CREATE DATABASE {quote(command.settings['DB_NAME'])}")
    there = command.having(DB_SOCKET=server.login.socket)
    there.ok("restore", name, "--yes", "--skip-pre-restore-backup")


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("jobs", ["3"])
def test_a_backup_under_writers_is_one_moment_and_its_position_is_that_moment(
    start: Start, tmp_path: Path, name: str, jobs: str
) -> None:
    source = start(name)
    programs(name)
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(source.login, "bank"))
        second = stack.enter_context(own_server(name=name))
        server = stack.enter_context(connect(source.login))
        make_bank(server, database)
        command = command_for(source.login, tmp_path, database)
        command = command.having(BACKUP_METHOD="rows", BACKUP_JOBS=jobs)
        with writers(source.login, database):
            time.sleep(0.3)
            made = command.ok("backup")["backups"][0]["backup"]
        last = expect_one_moment(server, database)
        copied = stack.enter_context(connect(second.login))
        restore_there(command, made, copied)
        restored = expect_one_moment(copied, database)
        assert 0 < restored < last
        position = command.ok("show", made)["details"]["position"]
        replay(source, second.login, position, name)
        assert expect_one_moment(copied, database) == last
        assert checksums(copied, database) == checksums(server, database)
