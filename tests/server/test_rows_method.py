"""The ``rows`` method end to end: what comes back, what is stored once, what is left alone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.portrait import SUPPORT, different, load_script, portrait
from support.server import Command, command_for, fresh_database, make_orders, run_all
from ulasis_backup.model import Secret
from ulasis_backup.mysql.privileges import WRITING
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, locked, quote

pytestmark = pytest.mark.server

KEY = os.urandom(32).hex()
ROWS = {"BACKUP_METHOD": "rows"}
ENCRYPTED = ROWS | {"BACKUP_ENCRYPTION_KEY": KEY}
WAYS = [ROWS, ENCRYPTED, ENCRYPTED | {"BACKUP_ENCRYPTION_ENABLED": "false"}]


@pytest.fixture
def orders(server: Server, database: str) -> str:
    """Return a database with tables, a view, a trigger, a routine and an event."""
    make_orders(server, database, rows=3000)
    return database


def made_by(command: Command, *options: str) -> dict[str, Any]:
    """Make a backup and return what it says of itself."""
    made: dict[str, Any] = command.ok("backup", *options)["backups"][0]
    return made


def wreck(server: Server, database: str) -> None:
    server.run(f"DROP DATABASE {quote(database)}")
    server.run(f"CREATE DATABASE {quote(database)} CHARACTER SET sjis COMMENT 'not the old one'")
    server.run(f"CREATE TABLE {quote(database)}.intruder (id INT)")


def restore(command: Command, *options: str) -> dict[str, Any]:
    done: dict[str, Any] = command.ok("restore", "latest", "--yes", *options)
    return done


def total(folder: Path, *, below: str = "") -> int:
    """Return the bytes of all files of a repository."""
    return sum(path.stat().st_size for path in (folder / below).rglob("*") if path.is_file())


@pytest.mark.parametrize("way", [one | {"BACKUP_JOBS": jobs} for one in WAYS for jobs in "13"])
def test_what_was_there_comes_back_whole(
    orders: str, command: Command, server: Server, way: dict[str, str]
) -> None:
    command = command.having(**way)
    before = portrait(server, orders)
    made = made_by(command)
    assert (made["method"], made["databases"]) == ("rows", [orders])
    assert command.ok("verify", "latest")["verdict"].startswith("intact")
    wreck(server, orders)
    done = restore(command)
    assert (done["equal"], done["moved"], done["lossy"]) == (True, [], False)
    assert done["removed"] == ["table intruder"]
    assert different(before, portrait(server, orders)) == set()
    safety = command.ok("list")["backups"][-1]
    assert (safety["kind"], safety["method"]) == ("safety", "rows")


@pytest.mark.parametrize("load_by", ["bulk", "load-data", "insert"])
def test_every_way_of_loading_gives_the_same(
    orders: str, command: Command, server: Server, load_by: str
) -> None:
    command = command.having(**ENCRYPTED)
    before = portrait(server, orders)
    made_by(command)
    wreck(server, orders)
    assert restore(command, "--load-by", load_by)["equal"] is True
    assert different(before, portrait(server, orders)) == set()


def test_the_second_backup_of_the_same_rows_stores_an_index_only(
    server: Server, database: str, command: Command
) -> None:
    run_all(server, database, [BIG, FILL])
    command = command.having(**ENCRYPTED)
    first = made_by(command)
    size = total(command.folder, below="objects")
    second = made_by(command)
    assert second["shared"]["new_objects"] == 0
    assert second["shared"]["objects"] == first["shared"]["objects"] > 1
    assert total(command.folder, below="objects") == size
    assert second["stored_bytes"] < first["stored_bytes"] / 50


BIG = "CREATE TABLE big (id INT PRIMARY KEY, a VARCHAR(200), b INT, KEY (b))"
FILL = (
    "INSERT INTO big SELECT seq, CONCAT(MD5(seq), MD5(seq + 1), SHA2(seq, 256)), seq % 97 "
    "FROM seq_1_to_150000"
)


def test_a_few_changed_rows_are_stored_as_differences(
    server: Server, database: str, command: Command
) -> None:
    run_all(server, database, [BIG, FILL])
    command = command.having(**ENCRYPTED)
    first = made_by(command)
    run_all(server, database, ["UPDATE big SET b = b + 1 WHERE id % 1000 = 3"])
    before = portrait(server, database)
    second = made_by(command)
    assert 0 < second["shared"]["new_bytes"] < first["shared"]["new_bytes"] / 20
    assert command.ok("verify-all")["failed"] == 0
    wreck(server, database)
    assert restore(command)["equal"] is True
    assert different(before, portrait(server, database)) == set()


def test_single_tables_come_back_from_their_objects_alone(
    database: str, command: Command, server: Server
) -> None:
    orders = database
    make_orders(server, orders, rows=200)
    run_all(server, orders, [BIG, FILL])
    command = command.having(**ENCRYPTED)
    made_by(command)
    shutil.rmtree(command.folder / "objects")
    run_all(server, orders, ["DELETE FROM zebras", "DROP TRIGGER on_order", "DELETE FROM orders"])
    before = portrait(server, orders)
    done = restore(command, "--tables", "zebras,orders", "--skip-pre-restore-backup")
    assert done["replaced"] == ["table orders", "table zebras"]
    assert done["created"] == ["trigger on_order"]
    changed = different(before, portrait(server, orders))
    assert {name.rpartition(" ")[2] for name in changed} == {"zebras", "orders", "on_order"}
    # The objects of the other tables are gone: all of it cannot be read.
    lost = command.run("verify", "latest")
    assert lost.code == 24, lost.said


def test_the_way_back_from_a_restore_of_some_tables_leaves_the_others_alone(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(**ENCRYPTED)
    made_by(command)
    run_all(server, orders, ["INSERT INTO customers VALUES (9000, 'new', '')"])
    before = portrait(server, orders)
    done = command.run("--json", "restore", "latest", "--yes", "--tables", "customers")
    assert done.code == 0, done.said
    assert any("rows of orders are not held" in notice for notice in done.json["notices"])
    run_all(server, orders, ["INSERT INTO zebras VALUES (3, 3)"])
    way_back = done.err.split("to bring it back: ulasis-backup ")[1].splitlines()[0]
    assert command.ok(*shlex.split(way_back))["replaced"] == ["table customers"]
    changed = different(before, portrait(server, orders))
    assert changed == {"rows of table zebras", "checksum of table zebras"}


def test_a_table_whose_sequence_is_nowhere_is_refused_before_anything_is_touched(
    database: str, command: Command, server: Server
) -> None:
    run_all(
        server,
        database,
        [
            "CREATE SEQUENCE numbers",
            "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), x INT)",
            "INSERT INTO t (x) VALUES (1)",
        ],
    )
    command = command.having(**ENCRYPTED)
    made_by(command)
    run_all(server, database, ["DROP TABLE t", "CREATE TABLE t (x INT)", "DROP SEQUENCE numbers"])
    before = portrait(server, database)
    refused = command.run("restore", "latest", "--yes", "--tables", "t")
    assert (refused.code, "--tables t,numbers" in refused.err) == (15, True), refused.said
    assert different(before, portrait(server, database)) == set()
    assert restore(command, "--tables", "t,numbers")["equal"] is True


def test_a_copy_under_another_name_is_whole_and_touches_nothing(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(**ENCRYPTED)
    made_by(command)
    before = portrait(server, orders)
    copy = f"{orders}_copy"
    try:
        done = restore(command, "--target-database", copy)
        assert done["equal"] is True
        assert different(before, portrait(server, orders)) == set()
        server.run(f"INSERT INTO {quote(copy)}.orders (customer) VALUES (1)")
        assert server.value(f"SELECT MIN(total) FROM {quote(copy)}.orders") == 0
    finally:
        server.run(f"DROP DATABASE IF EXISTS {quote(copy)}")


def test_several_databases_are_one_backup_of_one_moment(
    scratch: ScratchServer, server: Server, tmp_path: Path
) -> None:
    with fresh_database(scratch.login) as one, fresh_database(scratch.login) as two:
        make_orders(server, one, rows=100)
        make_orders(server, two, rows=50)
        command = command_for(scratch.login, tmp_path, f"{one},{two}", **ENCRYPTED)
        before = portrait(server, one), portrait(server, two)
        made = made_by(command)
        assert made["databases"] == [one, two]
        wreck(server, one)
        wreck(server, two)
        refused = command.run("restore", "latest", "--target-database", "x", "--yes")
        assert refused.code == 2, refused.said
        done = restore(command)
        assert [entry["equal"] for entry in done["databases"]] == [True, True]
        assert different(before[0], portrait(server, one)) == set()
        assert different(before[1], portrait(server, two)) == set()


def test_what_was_restored_is_told_of_when_the_next_database_fails(
    scratch: ScratchServer, server: Server, tmp_path: Path
) -> None:
    with fresh_database(scratch.login) as one, fresh_database(scratch.login) as two:
        for database in (one, two):
            run_all(server, database, ["CREATE TABLE t (id INT)"])
        command = command_for(scratch.login, tmp_path, f"{one},{two}", **ENCRYPTED)
        made_by(command)
        with connect(scratch.login) as other, locked(other, two):
            found = command.run("--json", "restore", "latest", "--yes")
            assert found.code == 52, found.said
            # All are planned before any is touched.
            assert "databases" not in found.json
        command = command.having(RESTORE_LOCK_WAIT="1")
        with connect(scratch.login) as other:
            run_all(other, two, ["START TRANSACTION", "SELECT * FROM t"])
            found = command.run("--json", "restore", "latest", "--yes")
            assert found.code == 52, found.said
            assert [done["target"] for done in found.json["databases"]] == [one]
            assert [entry["database"] for entry in found.json["failed"]] == [two]
            found = command.run("restore", "latest", "--yes")
            assert found.code == 52, found.said
            assert f"{one} is restored" in found.out


def test_rows_without_their_manifest_are_refused_as_such(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(**ENCRYPTED)
    name = made_by(command)["backup"]
    (command.folder / f"{name}.meta.json").unlink()
    refused = command.run("restore", name, "--orphan", "--yes")
    assert (refused.code, "copy of" in refused.err) == (2, True), refused.said
    assert "look for a copy of its manifest" in command.run("list").out
    assert server.value(f"SELECT COUNT(*) FROM {quote(orders)}.zebras") == 2


def test_tables_that_were_excluded_stay_as_they_are(
    orders: str, command: Command, server: Server
) -> None:
    run_all(
        server,
        orders,
        ["CREATE TRIGGER on_zebra BEFORE INSERT ON zebras FOR EACH ROW SET NEW.stripes = 1"],
    )
    command = command.having(**ENCRYPTED)
    made = made_by(command, "--exclude", "zeb*", "--schema-only", "orders")
    assert made["tables"] == 2
    run_all(server, orders, ["UPDATE zebras SET stripes = 7"])
    before = portrait(server, orders)
    done = restore(command)
    assert any("comes back without rows" in notice for notice in done["notices"])
    changed = different(before, portrait(server, orders))
    assert changed == {"rows of table orders", "checksum of table orders"}
    assert server.value(f"SELECT COUNT(*) FROM {quote(orders)}.orders") == 0


def test_an_export_is_a_dump_that_any_client_loads(
    orders: str, command: Command, server: Server, tmp_path: Path
) -> None:
    command = command.having(**ENCRYPTED)
    made_by(command)
    before = portrait(server, orders)
    for name in ("dump.sql", "dump.sql.gz", "dump.sql.zst"):
        command.ok("export", "latest", "-o", str(tmp_path / name))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    again = command.run("export", "latest", "-o", str(tmp_path / "dump.sql"))
    assert again.code == 23, again.said
    wreck(server, orders)
    run_all(server, orders, ["DROP TABLE intruder", "DROP DATABASE " + quote(orders)])
    server.run(f"CREATE DATABASE {quote(orders)} CHARACTER SET utf8mb4")
    plain = subprocess.run(["gzip", "-dc", tmp_path / "dump.sql.gz"], check=True, stdout=-1).stdout
    client = ["mariadb", f"--socket={server.login.socket}", "--user=root", orders]
    subprocess.run(client, check=True, input=plain)
    assert different(before, portrait(server, orders)) == set()


def test_a_sequence_that_was_excluded_stays_as_it_is(
    database: str, command: Command, server: Server
) -> None:
    run_all(server, database, ["CREATE TABLE t (id INT)", "CREATE SEQUENCE numbers START WITH 50"])
    command = command.having(**ENCRYPTED)
    made_by(command, "--exclude", "num*")
    done = restore(command)
    assert (done["equal"], done["removed"]) == (True, [])
    assert server.value(f"SELECT NEXTVAL({quote(database)}.numbers)") == 50


def test_views_that_read_an_excluded_table_are_left_out_with_it(
    orders: str, command: Command, server: Server
) -> None:
    run_all(
        server,
        orders,
        [
            "CREATE VIEW stripes AS SELECT z.stripes FROM customers JOIN zebras z USING (id)",
            "CREATE VIEW a_few AS SELECT * FROM stripes WHERE stripes < 3",
            "CREATE VIEW zebrafish AS SELECT id FROM customers",
        ],
    )
    command = command.having(**ENCRYPTED)
    made = made_by(command, "--exclude", "zebras")
    assert set(made["left_out"]) == {"zebras", "stripes", "a_few"}
    before = portrait(server, orders)
    assert restore(command)["equal"] is True
    assert different(before, portrait(server, orders)) == set()
    server.run(f"DROP DATABASE {quote(orders)}")
    done = restore(command)
    assert (done["equal"], "view zebrafish" in done["created"]) == (True, True)


def test_every_trap_comes_back_without_any_loss(scratch: ScratchServer, tmp_path: Path) -> None:
    with fresh_database(scratch.login) as database, connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        load_script(server, database, SUPPORT / "trap_schema.sql")
        before = portrait(server, database)
        command = command_for(scratch.login, tmp_path, database, **ENCRYPTED)
        made = made_by(command)
        assert made["text_losses"] == []
        wreck(server, database)
        done = restore(command, "--skip-pre-restore-backup")
        assert (done["equal"], done["moved"], done["lossy"]) == (True, [], False)
        assert different(before, portrait(server, database)) == set()
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


def test_accounts_come_back_with_their_rights_where_both_times_asked_for(
    orders: str, command: Command, server: Server
) -> None:
    name = f"clerk_{orders}"
    server.run(f"CREATE USER {name}@localhost IDENTIFIED BY 'sesame'")
    server.run(f"GRANT SELECT, INSERT ON {quote(orders)}.* TO {name}@localhost")
    try:
        refused = command.having(**ROWS).run("backup", "--accounts")
        assert refused.code == 2, refused.said
        command = command.having(**ENCRYPTED)
        made_by(command, "--accounts")
        accounts = command.ok("show", "latest")["accounts"]
        (shown,) = (account for account in accounts if name in account)
        assert f"account {shown}" in command.run("show", "latest").out
        granted = server.query(f"SHOW GRANTS FOR {name}@localhost")
        server.run(f"DROP USER {name}@localhost")
        restore(command)
        assert not server.query(f"SELECT 1 FROM mysql.user WHERE User = '{name}'")
        restore(command, "--accounts", "--skip-pre-restore-backup")
        assert server.query(f"SHOW GRANTS FOR {name}@localhost") == granted
        clerk = replace(server.login, user=name, password=Secret("sesame"))
        with connect(clerk) as session:
            assert session.value(f"SELECT COUNT(*) FROM {quote(orders)}.zebras") == 2
    finally:
        server.run(f"DROP USER IF EXISTS {name}@localhost")


def test_what_is_not_as_usual_is_named(server: Server, database: str, command: Command) -> None:
    run_all(
        server,
        database,
        [
            "CREATE TABLE keyless (a INT)",
            "CREATE TABLE isam (id INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE TABLE usual (id INT PRIMARY KEY)",
            "INSERT INTO keyless VALUES (1)",
        ],
    )
    notices = made_by(command.having(**ENCRYPTED))["notices"]
    assert f"no key to cut by, read as one stream each: {database}.keyless" in notices
    assert any(notice.endswith(f"until they were read: {database}.isam") for notice in notices)
    assert not any("usual" in notice for notice in notices)


def test_a_table_without_a_key_is_told_once_and_recorded_every_time(
    server: Server, database: str, command: Command
) -> None:
    command = command.having(**ENCRYPTED)
    run_all(server, database, ["CREATE TABLE keyless (a INT)", "INSERT INTO keyless VALUES (1)"])
    assert "no key to cut by" in command.run("backup").err
    assert "no key to cut by" not in command.run("backup").err
    assert "no key to cut by" in command.run("show", "latest").out
    run_all(server, database, ["CREATE TABLE another (a INT)"])
    assert f"{database}.another, {database}.keyless" in command.run("backup").err


def test_a_restore_login_needs_no_rights_but_those_that_the_hint_names(
    any_server: ScratchServer, tmp_path: Path
) -> None:
    login = any_server.login
    with fresh_database(login) as database, connect(login) as server:
        name = f"writer_{database}@localhost"
        run_all(
            server,
            database,
            [
                "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a') NOT NULL)",
                "INSERT INTO t VALUES (1, 'a'), (2, 0)",
                f"CREATE USER {name} IDENTIFIED BY 'sesame'",
                f"GRANT {', '.join(WRITING)} ON {quote(database)}.* TO {name}",
            ],
        )
        try:
            command = command_for(login, tmp_path, database, **ENCRYPTED)
            made_by(command)
            server.run("DELETE FROM t")
            user = {"DB_RESTORE_USER": name.partition("@")[0], "DB_RESTORE_PASSWORD": "sesame"}
            assert restore(command.having(**user))["equal"] is True
            assert server.query("SELECT id, e + 0 FROM t") == [(1, 1), (2, 0)]
        finally:
            server.run(f"DROP USER {name}")


def test_damage_is_told_where_nothing_can_be_set_aside(
    server: Server, database: str, command: Command
) -> None:
    run_all(server, database, ["CREATE TABLE t (a LONGTEXT)", f"INSERT INTO t VALUES ({RANDOM})"])
    command = command.having(**ENCRYPTED)
    made_by(command)
    (path,) = (path for path in (command.folder / "objects").rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    # As on a disk that may only be read, where tests are run by root.
    (command.folder / "damaged").write_bytes(b"")
    found = command.run("--json", "verify-all")
    assert (found.code, found.json["failed"]) == (41, 1), found.said
    assert "could not be set aside" in found.err
    assert path.exists()


RANDOM = "(SELECT GROUP_CONCAT(SHA2(seq, 512)) FROM seq_1_to_400)"


def test_several_databases_are_restored_in_an_order_that_works(
    scratch: ScratchServer, server: Server, tmp_path: Path
) -> None:
    # The first in the alphabet has a view on the second.
    with fresh_database(scratch.login, "a") as one, fresh_database(scratch.login, "b") as two:
        run_all(server, two, ["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"])
        run_all(server, one, [f"CREATE VIEW v AS SELECT * FROM {quote(two)}.t"])
        command = command_for(scratch.login, tmp_path, f"{one},{two}", **ENCRYPTED)
        made_by(command)
        refused = command.run("export", "latest", "-o", str(tmp_path / "x.sql"))
        assert refused.code == 2, refused.said
        for name in (one, two):
            server.run(f"DROP DATABASE {quote(name)}")
        done = restore(command)
        assert [entry["target"] for entry in done["databases"]] == [two, one]
        assert server.query(f"SELECT * FROM {quote(one)}.v") == [(1,)]
        made_by(command, "--exclude", "t")
        server.run(f"DROP DATABASE {quote(two)}")
        server.run(f"DROP VIEW {quote(one)}.v")
        assert [entry["equal"] for entry in restore(command)["databases"]] == [True, True]


def test_empty_options_and_patterns_that_fit_nothing_are_told(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(**ENCRYPTED)
    made = made_by(command, "--exclude", "zebbra*")
    assert "--exclude zebbra*: no table has such a name" in made["notices"]
    for option in ("--tables", "--target-database", "--from-database"):
        done = command.run("restore", "latest", "--yes", option, "")
        assert done.code == 2, done.said
    server.run("SET GLOBAL local_infile = 0")
    try:
        done = command.run("restore", "latest", "--yes", "--load-by", "load-data")
        assert done.code == 15, done.said
        assert server.value(f"SELECT COUNT(*) FROM {quote(orders)}.zebras") == 2
    finally:
        server.run("SET GLOBAL local_infile = 1")


def test_damage_that_a_restore_finds_is_set_aside_and_healed_by_the_next_backup(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(**ENCRYPTED)
    made = made_by(command)
    before = portrait(server, orders)
    victim = next(
        path for path in sorted((command.folder / "objects").rglob("*-*")) if path.is_file()
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    failed = command.run("restore", "latest", "--yes")
    assert failed.code == 41, failed.said
    assert different(before, portrait(server, orders)) == set()
    made_by(command)
    assert command.ok("verify-all")["failed"] == 0
    assert command.ok("verify", made["backup"])["verdict"] == "intact"


def test_a_prune_without_a_repository_is_no_success(command: Command) -> None:
    assert command.run("prune").code == 60
    assert not command.folder.exists()
