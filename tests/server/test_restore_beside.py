"""Restores beside the live tables: exactly the old or exactly the new, whatever happens."""

from __future__ import annotations

import os
import re
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.forgery import forge_dump
from support.portrait import Portrait, portrait
from support.server import (
    SERVERS,
    STATE,
    Command,
    checksums,
    command_for,
    emptied,
    finish,
    fresh_database,
    make_chain,
    make_orders,
    own_server,
    run_all,
    servers_folder,
)
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.events import ignore
from ulasis_backup.mysql.privileges import WRITING
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, databases, quote
from ulasis_backup.repository.names import parse_payload

pytestmark = pytest.mark.server

BOTH = pytest.mark.parametrize("method", ["rows", "sql"])
PLAIN = (
    "CREATE TABLE p (id INT PRIMARY KEY, t TEXT)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
    "INSERT INTO p VALUES (1, 'x'), (2, 'y')",
    "INSERT INTO c VALUES (1, 1), (2, 2)",
    "CREATE TRIGGER on_c BEFORE INSERT ON c FOR EACH ROW SET NEW.p = 1",
    "CREATE VIEW v AS SELECT c.id, p.t FROM c JOIN p ON p.id = c.p",
    "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE PROCEDURE q() SELECT f()",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01' DO DELETE FROM c",
)
State = tuple[dict[str, tuple[object, str]], Portrait]


@pytest.fixture(autouse=True)
def no_leftovers(server: Server, database: str) -> Iterator[None]:
    """Drop the schemas beside the test's database, after it."""
    server.run("SET GLOBAL log_bin_trust_function_creators = 1")
    yield
    server.run("SET GLOBAL log_bin_trust_function_creators = 0")
    for name in beside(server, database):
        server.run(f"DROP DATABASE {quote(name)}")


def beside(server: Server, database: str) -> list[str]:
    return [name for name in databases(server) if name.startswith(f"{database}__")]


def state(server: Server, database: str) -> State:
    """Return rows and definitions of everything."""
    return checksums(server, database), portrait(server, database)


def change(server: Server, database: str) -> None:
    """Change rows, a definition, objects of every kind."""
    run_all(
        server,
        database,
        [
            "DELETE FROM orders WHERE id < 500",
            "ALTER TABLE zebras ADD COLUMN name TEXT",
            "CREATE TABLE newer (id INT PRIMARY KEY)",
            "DROP TRIGGER on_order",
            "CREATE TRIGGER newest AFTER INSERT ON zebras FOR EACH ROW SET @new = NEW.id",
            "CREATE OR REPLACE VIEW totals AS SELECT 1 AS one",
            "CREATE VIEW another AS SELECT * FROM newer",
            "DROP PROCEDURE count_orders",
            "CREATE FUNCTION five() RETURNS INT DETERMINISTIC RETURN 5",
            "DROP EVENT nightly",
        ],
    )


@BOTH
def test_a_restore_swaps_and_keeps_what_was_there(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    make_orders(server, database)
    saved = state(server, database)
    name = command.backup()
    change(server, database)
    before = state(server, database)
    changed = before[0]
    done = command.ok("restore", name, "--yes")
    assert state(server, database) == saved
    assert (done["mode"], done["equal"], done["in_place_because"]) == ("beside", True, [])
    assert done["undo_command"].startswith("ulasis-backup undo ")
    assert beside(server, database) == [done["before_schema"]]
    kept = checksums(server, done["before_schema"])
    assert {name: kept[name][0] for name in changed} == {n: c[0] for n, c in changed.items()}
    command.ok(*shlex.split(done["undo_command"])[1:], "--yes")
    assert state(server, database) == before


@BOTH
def test_an_event_that_has_run_does_not_run_again(
    server: Server, database: str, command: Command, method: str
) -> None:
    run_all(
        server,
        database,
        [
            "CREATE TABLE ran (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(9))",
            *(
                f"CREATE EVENT {name} ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL {seconds} SECOND "
                f"ON COMPLETION {kept} DO INSERT INTO ran (what) VALUES ('{name}')"
                for name, seconds, kept in (
                    ("gone", 3, "NOT PRESERVE"), ("stays", 3, "PRESERVE"),
                    ("to_come", 9999, "NOT PRESERVE"),
                )
            ),
        ],
    )  # fmt: skip
    name = command.having(BACKUP_METHOD=method).backup()
    time.sleep(3)
    server.run("SET GLOBAL event_scheduler = ON")
    try:
        done = command.run("restore", name, "--yes", "--skip-pre-restore-backup")
        time.sleep(1)
        ran = server.query(f"SELECT what FROM {quote(database)}.ran")
        states = server.query(
            "SELECT EVENT_NAME, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s "
            "ORDER BY 1",
            (database,),
        )
    finally:
        server.run("SET GLOBAL event_scheduler = OFF")
    assert done.code == 0, done.said
    assert "event gone: the time at which it was to run once is over" in done.err
    assert ran == []
    assert states == [("gone", "DISABLED"), ("stays", "DISABLED"), ("to_come", "ENABLED")]


def test_an_event_that_has_run_does_not_run_again_in_place_either(
    server: Server, database: str, command: Command
) -> None:
    make = (
        "CREATE EVENT gone ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 2 SECOND "
        "DO INSERT INTO ran VALUES (1)"
    )
    run_all(server, database, ["CREATE TABLE ran (id INT PRIMARY KEY)", make])
    name = command.having(BACKUP_METHOD="rows").backup()
    time.sleep(2)
    server.run("SET GLOBAL event_scheduler = ON")
    try:
        done = command.run("restore", name, "--in-place", "--yes", "--skip-pre-restore-backup")
        time.sleep(1)
        ran = server.query(f"SELECT * FROM {quote(database)}.ran")
    finally:
        server.run("SET GLOBAL event_scheduler = OFF")
    assert ran == []
    # In place it is not excused.
    assert (done.code, "event gone" in done.err) == (44, True), done.said


@BOTH
@pytest.mark.parametrize("name", SERVERS[1:])
def test_a_restore_swaps_on_other_servers_too(
    start: Callable[[str], ScratchServer], tmp_path: Path, name: str, method: str
) -> None:
    running, folder = start(name), servers_folder(name)
    command = command_for(running.login, tmp_path, "shop", BACKUP_METHOD=method)
    command = command.having(BACKUP_PROGRAMS_DIR=str(folder))
    with emptied(running, "shop") as server:
        server.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
        run_all(server, "shop", PLAIN)
        saved = state(server, "shop")
        made = command.backup()
        run_all(server, "shop", ["DELETE FROM c", "DROP TRIGGER on_c", "DROP VIEW v"])
        done = command.ok("restore", made, "--yes")
        assert (done["mode"], done["equal"]) == ("beside", True)
        assert state(server, "shop") == saved
        server.run(f"DROP DATABASE {quote(done['before_schema'])}")


@BOTH
def test_a_target_that_is_not_there_is_made_whole_or_not_at_all(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    make_orders(server, database, rows=50)
    name, copy = command.backup(), f"{database}_copy"
    done = command.ok("restore", name, "--target-database", copy)
    assert done["mode"] == "beside"
    saved, copied = checksums(server, database), checksums(server, copy)
    assert {name: c[0] for name, c in saved.items()} == {name: c[0] for name, c in copied.items()}
    assert [*portrait(server, copy)] == [*portrait(server, database)]
    server.run(f"DROP DATABASE {quote(copy)}")


def test_nothing_is_created_on_live_tables_before_the_swap(
    server: Server, database: str, command: Command
) -> None:
    """The trigger of the dump names its schema; the event is due at once."""
    command = command.having(BACKUP_METHOD="sql")
    run_all(
        server,
        database,
        [
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE told (n INT AUTO_INCREMENT PRIMARY KEY, what TEXT)",
            "INSERT INTO t VALUES (1, 1)",
            (
                f"CREATE TRIGGER {database}.fires AFTER INSERT ON {database}.t FOR EACH ROW "
                f"INSERT INTO {database}.told (what) VALUES ('fired')"
            ),
            (
                "CREATE EVENT often ON SCHEDULE EVERY 1 SECOND DO "
                f"INSERT INTO {database}.told (what) VALUES ('event')"
            ),
        ],
    )
    name = command.backup()
    run_all(server, database, ["DROP TRIGGER fires", "DROP EVENT often"])
    server.run("SET GLOBAL general_log = 0, log_output = 'TABLE'")
    server.run("TRUNCATE mysql.general_log")
    server.run("SET GLOBAL general_log = 1, event_scheduler = 1")
    try:
        command.ok("restore", name, "--yes")
    finally:
        server.run("SET GLOBAL general_log = 0, event_scheduler = 0")
        server.run(f"DROP EVENT IF EXISTS {quote(database)}.often")
    said = [str(text) for (text,) in server.query("SELECT argument FROM mysql.general_log")]
    moved = next(n for n, text in enumerate(said) if text.startswith("RENAME TABLE"))
    made = [n for n, text in enumerate(said) if re.match(r"CREATE\b.*(TRIGGER|EVENT) ", text)]
    assert len(made) == 2
    assert min(made) > moved
    loaded = [text for text in said[:moved] if "'event'" in text or "'fired'" in text]
    assert not [text for text in loaded if text.startswith("INSERT")]


@BOTH
def test_an_open_transaction_ends_the_restore_in_time_and_nothing_has_changed(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method, RESTORE_LOCK_WAIT="1")
    make_orders(server, database, rows=50)
    name = command.backup()
    change(server, database)
    changed = state(server, database)
    with connect(server.login) as other:
        run_all(other, database, ["START TRANSACTION", "SELECT * FROM orders"])
        refused = command.run("restore", name, "--yes")
    assert refused.code == 52, refused.said
    assert state(server, database) == changed
    assert beside(server, database) == []


def test_a_writer_goes_on_and_loses_nothing(
    scratch: ScratchServer, server: Server, database: str, command: Command
) -> None:
    command = command.having(BACKUP_METHOD="rows")
    make_orders(server, database, rows=50)
    server.run(f"DROP TRIGGER {quote(database)}.on_order")
    name = command.backup()
    written: list[int] = []
    ended = threading.Event()

    def write() -> None:
        with connect(scratch.login, database=database) as other:
            number = 1000
            while not ended.is_set():
                other.run("INSERT INTO zebras VALUES (%s, 1)", (number,))
                written.append(number)
                number += 1
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = command.ok("restore", name, "--yes")
    finally:
        ended.set()
        writer.join()
    found = server.query(
        f"SELECT id FROM {quote(database)}.zebras UNION ALL "
        f"SELECT id FROM {quote(done['before_schema'])}.zebras"
    )
    assert sorted(number for (number,) in found if number >= 1000) == written


@pytest.mark.parametrize("method", ["rows", "sql"])
def test_damage_found_while_loading_touches_nothing(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method, BACKUP_COMPRESSION="none")
    make_orders(server, database, rows=30_000)
    name = command.backup()
    change(server, database)
    changed = state(server, database)
    large = max(command.folder.rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(large.read_bytes())
    data[len(data) // 2] ^= 1
    large.chmod(0o600)
    large.write_bytes(data)
    # Of rows the safety backup would find the damage first, and store the rows anew.
    failed = command.run("restore", name, "--yes", "--skip-pre-restore-backup")
    assert failed.code in (40, 41), failed.said
    assert state(server, database) == changed
    assert beside(server, database) == []


@pytest.mark.parametrize(
    "how",
    [("rows", "kill us"), ("sql", "kill us"), ("sql", "kill the load"), ("rows", "interrupt us")],
)
def test_a_load_that_is_cut_off_leaves_everything_as_it_was(
    server: Server, database: str, command: Command, how: tuple[str, str]
) -> None:
    method, blow = how
    command = command.having(BACKUP_METHOD=method, BACKUP_JOBS="1")
    make_orders(server, database, rows=60_000)
    name = command.backup()
    change(server, database)
    changed = state(server, database)
    slowly = ("--load-by", "insert") if method == "rows" else ()
    process = command.start("restore", name, "--yes", "--skip-pre-restore-backup", *slowly)
    session = session_of_the_load(server, f"{database}__restore_")
    if blow == "kill the load":
        server.run(f"KILL {session}")
    else:
        os.kill(process.pid, signal.SIGKILL if blow == "kill us" else signal.SIGINT)
    result = finish(process)
    assert result.code != 0
    assert state(server, database) == changed
    if blow == "kill us":
        # The next command takes it back, and says so.
        done = command.run("--json", "restore", name, "--yes", "--skip-pre-restore-backup")
        assert done.code == 0, done.said
        assert "rolled back" in done.err
        assert beside(server, database) == [done.json["before_schema"]]
    else:
        assert beside(server, database) == []


def session_of_the_load(server: Server, prefix: str) -> int:
    """Wait until rows are loaded into a schema of that *prefix*; return the session's number."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for row in server.query("SHOW PROCESSLIST"):
            named = prefix in str(row[3]) or prefix in str(row[7])[:99]
            if named and str(row[7]).startswith("INSERT"):
                return int(row[0])
        time.sleep(0.001)
    pytest.fail("the load never began")


def test_without_rights_beside_the_database_it_is_restored_in_place_and_said_so(
    server: Server, database: str, command: Command
) -> None:
    make_orders(server, database, rows=20)
    for statement in (
        "CREATE OR REPLACE USER restorer@localhost IDENTIFIED BY 'x'",
        f"GRANT ALL ON {quote(database)}.* TO restorer@localhost",
        "GRANT SET USER, SUPER ON *.* TO restorer@localhost",
        "GRANT SELECT ON mysql.proc TO restorer@localhost",
    ):
        server.run(statement)
    restoring = command.having(DB_RESTORE_USER="restorer", DB_RESTORE_PASSWORD="x")
    name = restoring.backup()
    done = restoring.ok("restore", name, "--yes", "--dry-run")
    assert done["mode"] == "in place"
    granting = re.search(r"GRANT [^;]+;", done["in_place_because"][0])
    assert granting
    assert any("restored in place" in notice for notice in done["notices"])
    assert restoring.ok("restore", name, "--yes")["mode"] == "in place"
    server.run(granting[0])
    assert restoring.ok("restore", name, "--yes")["mode"] == "beside"


@pytest.mark.parametrize("method", ["rows", "sql"])
def test_a_reading_login_without_rights_on_the_target_is_told_of_with_the_grant(
    server: Server, database: str, command: Command, method: str
) -> None:
    make_orders(server, database, rows=20)
    for statement in (
        "CREATE OR REPLACE USER reader@localhost IDENTIFIED BY 'x'",
        f"GRANT ALL ON {quote(database)}.* TO reader@localhost",
        "GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO reader@localhost",
        "GRANT SELECT ON mysql.proc TO reader@localhost",
    ):
        server.run(statement)
    name = command.having(BACKUP_METHOD=method).backup()
    user = command.settings["DB_USER"]
    split = command.having(DB_USER="reader", DB_PASSWORD="x", DB_RESTORE_USER=user)
    copy = f"{database}_copy"
    words = ("restore", name, "--target-database", copy, "--yes")
    try:
        (notice,) = [
            one for one in split.ok(*words, "--dry-run")["notices"] if "may not read" in one
        ]
        loaded = split.run(*words)
        assert loaded.code == 60, loaded.said
        grants = re.findall(r"GRANT [^;]+;", notice)
        assert grants
        assert all(one in loaded.err + loaded.out for one in grants), loaded.said
        for one in grants:
            server.run(one)
        assert not any("may not read" in one for one in split.ok(*words)["notices"])
    finally:
        for one in (copy, *beside(server, copy)):
            server.run(f"DROP DATABASE IF EXISTS {quote(one)}")


def test_every_right_whose_lack_makes_a_restore_go_in_place_is_named_with_its_grant(
    server: Server, database: str, command: Command
) -> None:
    make_orders(server, database, rows=20)
    once = f"CREATE FUNCTION {quote(database)}.once(n INT) RETURNS INT DETERMINISTIC RETURN n"
    seen = f"CREATE VIEW {quote(database)}.seen AS SELECT {quote(database)}.once(id) n FROM "
    for statement in (
        once,
        f"{seen}{quote(database)}.orders",
        "CREATE OR REPLACE USER restorer@localhost IDENTIFIED BY 'x'",
        f"GRANT {', '.join(WRITING)} ON {quote(database)}.* TO restorer@localhost",
        "GRANT SET USER, SUPER ON *.* TO restorer@localhost",
    ):
        server.run(statement)
    restoring = command.having(DB_RESTORE_USER="restorer", DB_RESTORE_PASSWORD="x")
    name = restoring.backup()
    named: set[str] = set()
    done = restoring.ok("restore", name, "--yes", "--dry-run")
    for _ in range(4):
        done = restoring.ok("restore", name, "--yes", "--dry-run")
        if done["mode"] == "beside":
            break
        for why in done["in_place_because"]:
            granting = re.search(r"GRANT [^;]+;", why)
            assert granting, why
            named.add(granting[0])
            server.run(granting[0])
    assert done["mode"] == "beside"
    assert any("EXECUTE ON FUNCTION" in statement for statement in named), named
    assert any("mysql`.`proc" in statement for statement in named), named


def test_keys_of_databases_that_the_login_cannot_see_are_seen_or_it_is_restored_in_place(
    server: Server, database: str, command: Command
) -> None:
    make_orders(server, database, rows=20)
    for statement in (
        "CREATE OR REPLACE USER restorer@localhost IDENTIFIED BY 'x'",
        *(f"GRANT ALL ON `{database}{rest}`.* TO restorer@localhost" for rest in ("", r"\_\_%")),
        "GRANT SET USER, SUPER ON *.* TO restorer@localhost",
        "GRANT SELECT ON mysql.proc TO restorer@localhost",
    ):
        server.run(statement)
    both = command.having(DB_USER="restorer", DB_PASSWORD="x")
    name = command.backup()
    blind = both.ok("restore", name, "--yes", "--dry-run")
    assert blind["mode"] == "in place"
    assert "GRANT PROCESS ON *.*" in blind["in_place_because"][0]
    restoring = both.having(DB_RESTORE_USER="restorer", DB_RESTORE_PASSWORD="x")
    assert "GRANT PROCESS" in str(restoring.run("--json", "check").json)
    server.run("GRANT PROCESS ON *.* TO restorer@localhost")
    done = both.ok("restore", name, "--yes")
    assert done["mode"] == "beside"
    other, kept = f"{database}-other", done["before_schema"]
    server.run(f"CREATE DATABASE {quote(other)}")
    try:
        for parent, refused in ((database, ("restore", name, "--dry-run")), (kept, None)):
            server.run(
                f"CREATE OR REPLACE TABLE {quote(other)}.`a-b` (p INT, CONSTRAINT lead "
                f"FOREIGN KEY (p) REFERENCES {quote(parent)}.orders (id)) ENGINE=InnoDB"
            )
            if refused:
                planned = both.ok(*refused)
                assert planned["mode"] == "in place"
                assert f"lead of {other}.a-b" in planned["in_place_because"][0]
                continue
            dropping = both.run("drop-leftovers", "--yes")
            assert dropping.code == 50, dropping.said
            assert f"lead of {other}.a-b" in dropping.err
    finally:
        server.run(f"DROP DATABASE {quote(other)}")
    both.ok("drop-leftovers", "--yes")


@BOTH
def test_some_tables_alone_are_swapped(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    make_orders(server, database, rows=20)
    run_all(
        server,
        database,
        ["CREATE TRIGGER striped BEFORE INSERT ON zebras FOR EACH ROW SET NEW.stripes = 1"],
    )
    name = command.backup()
    saved = state(server, database)
    run_all(
        server,
        database,
        ["DROP TRIGGER striped", "DELETE FROM zebras", "INSERT INTO orders VALUES (99, 9, 9)"],
    )
    others = checksums(server, database)
    done = command.ok("restore", name, "--tables", "zebras", "--yes")
    assert (done["mode"], done["equal"]) == ("beside", True)
    now = state(server, database)
    assert now[0] == {**others, "zebras": saved[0]["zebras"]}
    assert now[1]["trigger striped"] == saved[1]["trigger striped"]
    assert set(checksums(server, done["before_schema"])) == {"zebras", "__ulasis_journal"}
    # Its foreign key leads to what stays: it cannot be moved alone.
    alone = command.ok("restore", name, "--tables", "orders", "--yes")
    assert alone["mode"] == "in place"
    assert checksums(server, database) == saved[0]


@BOTH
def test_a_default_from_a_sequence_stays_with_its_own_schema(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    run_all(
        server,
        database,
        [
            "CREATE SEQUENCE numbers START WITH 7",
            "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), v INT)",
            "INSERT INTO t (v) VALUES (1), (2)",
        ],
    )
    name = command.backup()
    server.run(f"INSERT INTO {quote(database)}.t (v) VALUES (3)")
    done = command.ok("restore", name, "--yes")
    assert (done["mode"], done["equal"]) == ("beside", True)
    server.run(f"DROP DATABASE {quote(done['before_schema'])}")
    server.run(f"INSERT INTO {quote(database)}.t (v) VALUES (4)")
    assert server.value(f"SELECT COUNT(*) FROM {quote(database)}.t") == 3
    server.run(f"DROP DATABASE {quote(database)}")
    server.run(f"CREATE DATABASE {quote(database)}")
    # There is no sequence that a DEFAULT could name before the swap: it is altered then.
    done = command.ok("restore", name, "--yes")
    assert (done["mode"], done["equal"]) == ("beside", True)
    server.run(f"DROP DATABASE {quote(done['before_schema'])}")
    server.run(f"INSERT INTO {quote(database)}.t (v) VALUES (4)")


def test_a_dry_run_shows_the_plan_and_makes_nothing(
    server: Server, database: str, command: Command
) -> None:
    make_orders(server, database, rows=20)
    name = command.backup()
    shown = command.run("restore", name, "--dry-run")
    assert shown.code == 0
    assert f"loaded into {database}__restore_" in shown.out
    assert beside(server, database) == []
    for suffix in ("before_1", "restore_0123abcd"):
        aside = f"{database}__{suffix}"
        for more in ((), ("--in-place",)):
            words = ("restore", name, "--dry-run", "--target-database", aside, *more)
            refused = command.run(*words)
            assert (refused.code, "keeps aside" in refused.err) == (2, True), refused.said
    some = command.run("restore", name, "--dry-run", "--in-place", "--tables", "zebras")
    assert "in place: only zebras is emptied, then loaded" in some.out, some.said


def test_rights_on_routines_are_given_back_in_place(
    server: Server, database: str, command: Command
) -> None:
    server.run(f"CREATE PROCEDURE {database}.called() SELECT 1")
    server.run("CREATE USER caller@localhost")
    try:
        backup = command.backup()
        server.run(f"GRANT EXECUTE ON PROCEDURE {database}.called TO caller@localhost")
        given = server.query("SHOW GRANTS FOR caller@localhost")
        command.ok("restore", backup, "--yes", "--in-place")
        assert server.query("SHOW GRANTS FOR caller@localhost") == given
    finally:
        server.run("DROP USER caller@localhost")


def test_a_plan_says_what_stands_against_moving_tables_with_triggers(
    scratch: ScratchServer, server: Server, tmp_path: Path
) -> None:
    name = "x" * 50
    server.run(f"CREATE DATABASE {name}")
    try:
        run_all(
            server,
            name,
            [
                "CREATE TABLE p (id INT PRIMARY KEY, n INT)",
                "CREATE TRIGGER on_p BEFORE INSERT ON p FOR EACH ROW SET NEW.n = 1",
            ],
        )
        command = command_for(scratch.login, tmp_path, name, BACKUP_METHOD="rows")
        backup = command.backup()
        planned = command.ok("restore", backup, "--dry-run")
        assert planned["mode"] == "in place"
        assert "too long" in planned["in_place_because"][0]
        server.run("SET GLOBAL max_write_lock_count = 1")
        refused = command.run("restore", backup, "--dry-run")
        assert (refused.code, "SET GLOBAL max_write_lock_count" in refused.err) == (15, True)
    finally:
        server.run("SET GLOBAL max_write_lock_count = DEFAULT")
        server.run(f"DROP DATABASE {name}")


def test_databases_whose_views_read_each_other_come_back_on_an_empty_server(
    scratch: ScratchServer, server: Server, database: str, command: Command
) -> None:
    with fresh_database(scratch.login, "u") as other:
        for one, two in ((database, other), (other, database)):
            run_all(server, one, ["CREATE TABLE t (id INT PRIMARY KEY, of VARCHAR(9))"])
            server.run(f"INSERT INTO {quote(one)}.t VALUES (1, %s)", (two[:1],))
        run_all(server, database, [f"CREATE VIEW theirs AS SELECT * FROM {other}.t"])
        run_all(server, other, [f"CREATE VIEW back AS SELECT * FROM {database}.theirs"])
        run_all(server, database, [f"CREATE VIEW forth AS SELECT * FROM {other}.back"])
        both = command.having(DB_NAME=f"{database},{other}", BACKUP_METHOD="rows")
        saved = state(server, database), state(server, other)
        name = both.backup()
        for one in (database, other):
            server.run(f"DROP DATABASE {quote(one)}")
        done = both.ok("restore", name, "--yes")
        assert [one["mode"] for one in done["databases"]] == ["beside", "beside"]
        assert (state(server, database), state(server, other)) == saved
        for schema in beside(server, other):
            server.run(f"DROP DATABASE {quote(schema)}")


@pytest.mark.parametrize("keys", ["keys", ""])
def test_three_databases_joined_by_keys_and_views_come_back_on_any_server(
    server: Server, database: str, command: Command, keys: str
) -> None:
    with (
        fresh_database(server.login, "a-näme") as odd,
        fresh_database(server.login, "z") as crm,
    ):
        make_chain(server, database, odd, crm)
        if not keys:
            server.run(f"ALTER TABLE {quote(database)}.ord DROP FOREIGN KEY fk_p")
            server.run(f"ALTER TABLE {quote(crm)}.people DROP FOREIGN KEY fk_o")
        all_of = (odd, database, crm)
        three = command.having(DB_NAME=",".join(all_of), BACKUP_METHOD="rows")
        saved = [state(server, one) for one in all_of]
        name = three.backup()
        server.run("SET foreign_key_checks = 0")
        for one in all_of:
            server.run(f"DROP DATABASE {quote(one)}")
        way = "in place" if keys else "beside"
        expected = {odd: "beside", database: way, crm: way}

        def restored(backup: str, *more: str) -> dict[str, str]:
            done = three.ok("restore", backup, "--yes", *more)["databases"]
            return {one["target"]: one["mode"] for one in done}

        assert restored(name) == expected
        assert [state(server, one) for one in all_of] == saved
        server.run(f"DELETE FROM {quote(database)}.ord WHERE id > 50")
        changed = [state(server, one) for one in all_of]
        assert restored(name) == expected
        assert [state(server, one) for one in all_of] == saved
        if keys:
            safety = max(
                (one for one in three.ok("list")["backups"] if one["kind"] == "safety"),
                key=lambda one: len(one["databases"]),
            )
            assert restored(safety["backup"], "--skip-pre-restore-backup") == {
                database: "in place", crm: "in place",
            }  # fmt: skip
            assert [state(server, one) for one in all_of] == changed
        for one in all_of:
            for schema in beside(server, one):
                server.run(f"DROP DATABASE {quote(schema)}")


def test_a_restore_killed_at_any_moment_is_settled_by_the_next(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Kill -9 at moments around the swap: the tables are all old or all new, never between."""
    with own_server("--log-bin-trust-function-creators=1") as running:
        command = command_for(running.login, tmp_path_factory.mktemp("home"), "shop")
        command = command.having(BACKUP_METHOD="rows")
        with connect(running.login) as server:
            server.run("CREATE DATABASE shop")
            make_orders(server, "shop", rows=200)
            new = state(server, "shop")
            name = command.backup()
            change(server, "shop")
            old = state(server, "shop")
            seen: set[str] = set()
            for delay in (0.0, 0.03, 0.06, 0.1, 0.2):
                process = command.start("restore", name, "--yes", "--skip-pre-restore-backup")
                _wait_for_schema(server)
                time.sleep(delay)
                process.kill()
                finish(process)
                seen.add(_settled(server, command, name, old=old, new=new))
                for schema in beside(server, "shop"):
                    server.run(f"DROP DATABASE {quote(schema)}")
            assert seen <= {"old", "new"}


def _wait_for_schema(server: Server) -> None:
    deadline = time.monotonic() + 60
    while not beside(server, "shop"):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _settled(server: Server, command: Command, name: str, *, old: State, new: State) -> str:
    """Check the tables, let another command settle, and return which state it came to."""
    tables = {table: value[0] for table, value in checksums(server, "shop").items()}
    tables = {table: value for table, value in tables.items() if not table.startswith("__ulasis")}
    sides = [{table: value[0] for table, value in side[0].items()} for side in (old, new)]
    assert tables in sides
    # A restore that asks, and gets no answer, settles what was left and does nothing else.
    deadline = time.monotonic() + 30
    while (done := command.run("restore", name)).code == 52 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert done.code == 51, done.said
    found = state(server, "shop")
    assert found in (old, new)
    side = "old" if found == old else "new"
    if side == "new":
        change(server, "shop")
    return side


TYPED = (
    "CREATE TABLE g (id INT PRIMARY KEY, s INT)",
    "INSERT INTO g VALUES (1, 1)",
    "create trigger low before insert on g for each row set new.s = 1",
    "CREATE\nTRIGGER\n  many\n  after   insert on g for each row set @x = 1",
    "create or replace trigger mixed Before Update on g for each row set new.s = 2",
)


@pytest.mark.parametrize("way", [(), ("--in-place",), ("--target-database",), ("--tables", "g")])
def test_triggers_come_back_however_their_words_were_typed(
    server: Server, database: str, command: Command, way: tuple[str, ...]
) -> None:
    """MariaDB keeps the words of a trigger as they were typed, and the dump shows them so."""
    run_all(server, database, TYPED)
    saved = portrait(server, database)
    command.backup()
    run_all(server, database, ["DROP TRIGGER low", "INSERT INTO g VALUES (2, 2)"])
    if way != ("--target-database",):
        command.ok("restore", "latest", "--yes", *way)
        assert portrait(server, database) == saved
        return
    command.ok("restore", "latest", "--yes", "--target-database", f"{database}__copy")
    names = server.query(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
        (f"{database}__copy",),
    )
    assert {name for (name,) in names} == {"low", "many", "mixed"}


def test_a_dump_that_cannot_be_taken_apart_is_restored_in_place_as_the_hint_says(
    server: Server, database: str, command: Command
) -> None:
    run_all(server, database, TYPED)
    saved = portrait(server, database)
    name = parse_payload(command.backup())
    assert name
    environment = {"BACKUP_STATE_DIR": str(command.home / STATE), **command.settings}
    config = read_config(flags={}, environment=environment, folder=command.home)
    odd = (b"/*!50003 CREATE*/", b"/*!50002 CREATE*/")
    forge_dump(build(config, ignore), name, lambda dump: dump.replace(*odd))
    run_all(server, database, ["DROP TRIGGER low", "INSERT INTO g VALUES (2, 2)"])

    done = command.run("restore", "latest", "--yes")
    assert (done.code, "--in-place" in done.said) == (50, True), done.said
    command.run("restore", "latest", "--yes", "--in-place")
    assert portrait(server, database) == saved
