"""Rows backups on every server, and from one kind of server to another, by the command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.portable import PORTABLE
from support.portrait import SUPPORT, different, load_blocks, load_script, portrait
from support.server import command_for, fresh_database, run_all
from ulasis_backup.model import Flavour
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

Start = Callable[[str], ScratchServer]
pytestmark = pytest.mark.server

ROWS = {"BACKUP_METHOD": "rows", "BACKUP_ENCRYPTION_KEY": os.urandom(32).hex()}
REFUSED = SUPPORT / "trap_schema_refused.sql"
PAIRS = [
    ("mariadb-10.11", "mysql-9"),
    ("mariadb-11.8", "mysql-9"),
    ("mysql-9", "mariadb-10.11"),
    ("mysql-9", "mariadb-11.8"),
    ("mariadb-10.11", "mariadb-11.8"),
]


WISHES = {"mariadb-11.8": ("--collation", "utf8mb4_uca1400_ai_ci=utf8mb4_0900_ai_ci")}
"""The default of MariaDB 11.8 has no equal elsewhere: somebody has to say what takes its place."""


def traps_of(server: Server) -> Path:
    mysql = server.version.flavour is Flavour.MYSQL
    return SUPPORT / ("trap_schema_mysql.sql" if mysql else "trap_schema.sql")


def test_every_trap_comes_back_equal_on_its_own_server(
    any_server: ScratchServer, tmp_path: Path
) -> None:
    login = any_server.login
    with fresh_database(login) as database, connect(login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        load_script(server, database, traps_of(server))
        before = portrait(server, database)
        command = command_for(login, tmp_path, database, **ROWS)
        made = command.ok("backup")["backups"][0]
        assert made["left_out"] == []
        server.run(f"DROP DATABASE {quote(database)}")
        done = command.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
        assert (done["equal"], done["moved"]) == (True, [])
        named = {loss["table"] for loss in made["text_losses"]}
        gone = {name.rpartition(" ")[2] for name in different(before, portrait(server, database))}
        assert gone <= named
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_both_kinds_of_servers_know_goes_from_one_to_the_other(
    start: Start, tmp_path: Path, one: str, other: str
) -> None:
    source, target = start(one).login, start(other).login
    with fresh_database(source) as database, connect(source) as server:
        run_all(server, database, PORTABLE)
        command = command_for(source, tmp_path, database, **ROWS)
        name = command.backup()
        there = command_for(target, tmp_path, database, **ROWS)
        done = there.run("--json", "restore", name, "--yes", *WISHES.get(one, ()))
        try:
            # Every row is compared; definitions read otherwise there, which is said.
            assert done.code == 60, done.said
            assert "every row is equal" in done.json["could_not_check"]
        finally:
            with connect(target) as elsewhere:
                elsewhere.run(f"DROP DATABASE IF EXISTS {quote(database)}")


def test_what_cannot_go_is_named_before_anything_is_touched(start: Start, tmp_path: Path) -> None:
    source, target = start("mariadb-10.11").login, start("mysql-9").login
    with (
        fresh_database(source) as database,
        connect(source) as server,
        connect(target) as elsewhere,
    ):
        run_all(server, database, ["CREATE SEQUENCE s", "CREATE TABLE addresses (a INET6)"])
        name = command_for(source, tmp_path, database, **ROWS).backup()
        done = command_for(target, tmp_path, database, **ROWS).run("restore", name, "--yes")
        assert done.code == 15, done.said
        assert "addresses" in done.err
        assert "sequence s" in done.err
        found = elsewhere.query("SHOW DATABASES LIKE %s", (database,))
        assert list(found) == []


def test_what_no_dump_can_hold_comes_back_too(scratch: ScratchServer, tmp_path: Path) -> None:
    with fresh_database(scratch.login) as database, connect(scratch.login) as server:
        load_blocks(server, database, REFUSED, leave=("transaction_versioned",))
        before = portrait(server, database)
        command = command_for(scratch.login, tmp_path, database, **ROWS)
        assert command.ok("backup")["backups"][0]["text_losses"] == []
        server.run(f"DROP DATABASE {quote(database)}")
        done = command.ok("restore", "latest", "--yes")
        assert done["equal"] is True
        assert different(before, portrait(server, database)) == set()


def test_history_by_transaction_numbers_is_named(scratch: ScratchServer, tmp_path: Path) -> None:
    with fresh_database(scratch.login) as database, connect(scratch.login) as server:
        load_blocks(server, database, REFUSED, only="transaction_versioned")
        command = command_for(scratch.login, tmp_path, database, **ROWS)
        (loss,) = command.ok("backup")["backups"][0]["text_losses"]
        assert loss["table"] == "trap_versioned_transactions"
        done = command.ok("restore", "latest", "--yes")
        assert done["lossy"] is True
        assert any("transaction numbers" in notice for notice in done["notices"])
