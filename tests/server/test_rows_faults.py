"""What goes wrong during a ``rows`` backup: it is said, and nothing false comes of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos import World, expect_clean, random_blow, strike, world
from support.faults import (
    Shelf,
    digests_below,
    fill,
    listed,
    shelf,
    wait_until,
    with_temporary_folder,
)
from support.pausing import LONG_TABLE, login_of, paused
from support.server import (
    Command,
    Result,
    checksums,
    command_for,
    finish,
    fresh_database,
    make_orders,
    run_all,
)
from ulasis_backup.errors import (
    Busy,
    LoginRefused,
    ObjectsLeftOut,
    PrivilegeMissing,
    ServerError,
    ServerUnreachable,
    ServerUnsuitable,
    SettingsError,
    StorageDenied,
    StorageError,
    StorageFull,
)
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

KEY = "00112233445566778899aabbccddeeff" * 2
ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="mounting needs root")
OBEYING_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()
SEED = 20
BLOWS = 6


def expect_failure(before: Shelf, done: Result, *codes: int) -> None:
    """Expect one of *codes*, a message with a hint, and that nothing was listed or changed."""
    assert done.code in codes, done.said
    assert " ERROR " in done.err, done.said
    assert "\nHINT: " in done.err, done.said
    assert "Traceback" not in done.said, done.said
    expect_no_backup(before)


def expect_no_backup(before: Shelf) -> None:
    """Expect the same list, every old file as it was, and nothing but spare objects beside."""
    assert listed(before.command) == before.listed
    now = digests_below(before.command.folder)
    assert before.digests.items() <= now.items()
    spare = {name.partition("/")[0] for name in set(now) - set(before.digests)}
    assert spare <= {"objects", "marks"}
    before.expect_nothing_left()


@pytest.fixture(scope="module")
def shared(scratch: ScratchServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Return a repository with one encrypted backup of a database that stays as it is."""
    with fresh_database(scratch.login, "orders") as name:
        with connect(scratch.login) as server:
            make_orders(server, name, rows=2000)
            run_all(server, name, LONG_TABLE)
        home = tmp_path_factory.mktemp("orders")
        command = command_for(
            scratch.login, home, name, BACKUP_ENCRYPTION_KEY=KEY, BACKUP_METHOD="rows"
        )
        command = with_temporary_folder(command)
        command.backup()
        yield shelf(command, scratch.login)


@pytest.fixture
def orders(shared: Shelf) -> Iterator[Shelf]:
    """Return the shared repository; a change of rows gives each backup something to store."""
    with connect(shared.login) as server:
        database = quote(shared.command.settings["DB_NAME"])
        server.run(f"UPDATE {database}.aardvarks SET stripes = stripes + 1 WHERE id IN (1, 300)")
    yield shared
    for name in set(digests_below(shared.command.folder)) - set(shared.digests):
        (shared.command.folder / name).unlink()


@pytest.fixture
def own(command: Command) -> Command:
    """Return the command for the test's own database, with a temporary folder to look into."""
    return with_temporary_folder(command).having(BACKUP_METHOD="rows")


# At random moments; benchmarks/faults.py does the same some hundred times.


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("struck")) as opened:
        yield opened


def test_blows_at_random_moments_leave_nothing_false(struck: World) -> None:
    for number in range(BLOWS):
        chance = random.Random(SEED + number)  # noqa: S311 (a test's timing, not a secret)
        blow = random_blow(chance, struck.seconds)
        strike(struck, blow, chance, restore=number % 2 == 0)
    expect_clean(struck)


# At chosen moments.


def _sessions(server: Server) -> list[tuple[int, str, str]]:
    rows = server.query(
        "SELECT ID, COMMAND, COALESCE(INFO, '') FROM information_schema.PROCESSLIST "
        "WHERE ID <> CONNECTION_ID() AND USER = 'root' ORDER BY ID"
    )
    return [(int(number), str(command), str(info)) for number, command, info in rows]


def test_a_reading_session_that_is_killed_makes_no_backup(orders: Shelf) -> None:
    with paused(orders.command) as process, connect(orders.login) as server:
        (reader,) = [one for one in _sessions(server) if "aardvarks" in one[2]]
        server.run(f"KILL {reader[0]}")
    expect_failure(orders, finish(process), ServerUnreachable.exit_code)


SESSIONS = 4
"""Of a backup by one job: two that hold locks, one that reads, and the watcher, who is there
before a row is read."""


def test_whichever_session_is_killed_the_backup_fails_or_is_right(own: Command) -> None:
    """Kill each session of a run in turn: one that was needed fails it, one that was not may go."""
    with connect(login_of(own)) as server:
        run_all(server, own.settings["DB_NAME"], LONG_TABLE)
    own.backup()
    codes = []
    for turn in range(SESSIONS):
        with connect(login_of(own)) as server:
            server.run(f"UPDATE {quote(own.settings['DB_NAME'])}.aardvarks SET stripes = {turn}")
            with paused(own) as process:
                # Those of a try that came too late to be stopped end when the server notices.
                wait_until(lambda: len(_sessions(server)) <= SESSIONS)
                numbers = [number for number, _, _ in _sessions(server)]
                assert len(numbers) == SESSIONS
                server.run(f"KILL {numbers[turn]}")
            codes.append(finish(process).code)
    assert set(codes) <= {0, ServerError.exit_code, ServerUnreachable.exit_code, 17}
    assert own.ok("verify-all")["failed"] == 0
    assert len(listed(own)) == 1 + codes.count(0)


def test_tables_that_are_no_longer_locked_make_no_backup(
    own: Command, server: Server, database: str
) -> None:
    """Two tables without transactions, written while the session that locks them is killed."""
    lock = "CREATE TABLE {} (id INT PRIMARY KEY, n INT) ENGINE=MyISAM"
    run_all(
        server,
        database,
        [*LONG_TABLE, *(lock.format(name) for name in ("locked_a", "locked_b"))],
    )
    run_all(server, database, [f"INSERT INTO locked_{x} VALUES (1, 1)" for x in "ab"])
    with paused(own) as process:
        write = f"UPDATE {quote(database)}.locked_b SET n = 2"
        thread = threading.Thread(target=_run, args=(server, write))
        thread.start()
        with connect(server.login) as killer:
            wait_until(lambda: any(info == write for _, _, info in _sessions(killer)))
            (reader,) = [number for number, _, info in _sessions(killer) if "aardvarks" in info]
            # It was opened just before the first that reads.
            locking = max(number for number, _, _ in _sessions(killer) if number < reader)
            killer.run(f"KILL {locking}")
            thread.join(20)
            assert not thread.is_alive()
    done = finish(process)
    assert done.code in (ServerError.exit_code, ServerUnreachable.exit_code), done.said
    assert "\nHINT: " in done.err
    assert listed(own) == ()


def _run(server: Server, statement: str) -> None:
    server.run(statement)


def test_writers_of_locked_tables_do_not_make_the_backup_fail(
    own: Command, server: Server, database: str
) -> None:
    make = "CREATE TABLE {} (id INT PRIMARY KEY, n INT) ENGINE={}"
    run_all(
        server,
        database,
        [
            *LONG_TABLE,
            make.format("old_a", "MyISAM"),
            make.format("old_b", "Aria"),
            "INSERT INTO old_a VALUES (1, 1)",
            "INSERT INTO old_b VALUES (1, 1)",
        ],
    )
    statements = [f"UPDATE {quote(database)}.old_{x} SET n = 2" for x in "ab"]
    with contextlib.ExitStack() as stack, paused(own) as process:
        for statement in statements:
            writer = stack.enter_context(connect(server.login))
            thread = threading.Thread(target=_run, args=(writer, statement))
            thread.start()
            stack.callback(thread.join)
        wait_until(lambda: sum(info in statements for _, _, info in _sessions(server)) == 2)
        os.kill(process.pid, signal.SIGCONT)
        done = finish(process)
    assert done.code == 0, done.said
    own.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
    both = "SELECT (SELECT n FROM old_a), (SELECT n FROM old_b)"
    run_all(server, database, [])
    assert server.query(both) == [(1, 1)]


def test_a_second_backup_at_the_same_time_is_refused(orders: Shelf) -> None:
    with paused(orders.command) as process:
        second = orders.command.run("backup")
        assert second.code == Busy.exit_code, second.said
        assert "\nHINT: " in second.err
        process.kill()
    finish(process)
    expect_no_backup(orders)


def test_after_a_kill_the_next_backup_works_and_heals_nothing_that_is_whole(orders: Shelf) -> None:
    with paused(orders.command) as process:
        process.kill()
    finish(process)
    expect_no_backup(orders)
    orders.command.backup()
    assert orders.command.ok("verify-all")["failed"] == 0


# The disk.


@pytest.mark.parametrize("size", [100, 3000])
def test_a_file_size_limit_is_no_success(orders: Shelf, size: int) -> None:
    done = orders.command.behind("prlimit", f"--fsize={size}").run("backup")
    expect_failure(orders, done, StorageFull.exit_code)


@NEEDS_ROOT
def test_a_full_disk_is_no_success_wherever_it_gets_full(orders: Shelf, small_disk: Path) -> None:
    command = orders.command.having(BACKUP_DIR=str(small_disk / "backups"))
    command.backup()
    before = shelf(command, orders.login)
    database = quote(command.settings["DB_NAME"])
    with connect(orders.login) as server:
        server.run(f"UPDATE {database}.customers SET note = REVERSE(MD5(id))")
    for left in (0, 3):
        fill(small_disk / "filling", leaving=left * 4096)
        expect_failure(before, command.run("backup"), StorageFull.exit_code)
        _remove_new(before)
    (small_disk / "filling").unlink()
    command.backup()
    assert command.ok("verify-all")["failed"] == 0


def _remove_new(before: Shelf) -> None:
    for name in set(digests_below(before.command.folder)) - set(before.digests):
        (before.command.folder / name).unlink()


@pytest.mark.parametrize("below", ["", "objects"])
@pytest.mark.parametrize("mode", [0o500, 0])
def test_a_folder_that_may_not_be_used_is_named(orders: Shelf, below: str, mode: int) -> None:
    command = orders.command.behind(*OBEYING_MODES)
    folders = [orders.command.folder / below]
    if below:
        folders += sorted(path for path in folders[0].rglob("*") if path.is_dir())
    for folder in reversed(folders):
        folder.chmod(mode)
    try:
        done = command.run("backup")
    finally:
        for folder in folders:
            folder.chmod(0o700)
    expect_failure(orders, done, StorageDenied.exit_code)
    assert str(orders.command.folder) in done.err


def test_a_repository_that_is_a_file_is_refused(orders: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    done = orders.command.having(BACKUP_DIR=str(path)).run("backup")
    expect_failure(orders, done, StorageError.exit_code)


# The login, the server's settings, tables that cannot be read.


@pytest.fixture
def keeper(server: Server) -> Iterator[None]:
    """Make a login without any right."""
    server.run("CREATE OR REPLACE USER keeper@localhost IDENTIFIED BY 'pass'")
    yield
    server.run("DROP USER keeper@localhost")


@pytest.mark.usefixtures("keeper")
def test_a_wrong_password_and_missing_rights_are_told_apart(orders: Shelf, server: Server) -> None:
    command = orders.command.having(DB_USER="keeper", DB_PASSWORD="wrong")
    expect_failure(orders, command.run("backup"), LoginRefused.exit_code)
    command = orders.command.having(DB_USER="keeper", DB_PASSWORD="pass")
    expect_failure(
        orders, command.run("backup"), PrivilegeMissing.exit_code, SettingsError.exit_code
    )
    database = quote(command.settings["DB_NAME"])
    server.run(f"GRANT SELECT ON {database}.* TO keeper@localhost")
    done = command.run("backup")
    expect_failure(orders, done, PrivilegeMissing.exit_code)
    assert "GRANT" in done.err


HOSTILE = {
    "sql_select_limit": "3",
    "system_versioning_asof": "'2020-01-01 00:00:00'",
    "tx_isolation": "'READ-COMMITTED'",
    "max_sort_length": "64",
    "character_set_results": "latin1",
    "group_concat_max_len": "4",
    "sql_mode": "'PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    "time_zone": "'+05:30'",
    "low_priority_updates": "1",
    "sql_quote_show_create": "0",
    "old_mode": "'UTF8_IS_UTF8MB3,NO_PROGRESS_INFO'",
}


def test_what_the_server_is_set_to_changes_nothing(orders: Shelf, server: Server) -> None:
    command, database = orders.command, orders.command.settings["DB_NAME"]
    before = checksums(server, database)
    copy = f"{database}_copy"
    for variable, value in HOSTILE.items():
        server.run(f"SET GLOBAL {variable} = {value}")
    try:
        command.ok("backup")
    finally:
        for variable in HOSTILE:
            server.run(f"SET GLOBAL {variable} = DEFAULT")
    try:
        command.ok("restore", "latest", "--target-database", copy, "--yes")
        assert checksums(server, copy) == before
    finally:
        server.run(f"DROP DATABASE IF EXISTS {quote(copy)}")


@pytest.mark.parametrize("variable", ["max_join_size = 10", "max_statement_time = 0.00001"])
def test_a_server_that_lets_nobody_read_is_named(
    orders: Shelf, server: Server, variable: str
) -> None:
    server.run(f"SET GLOBAL {variable}")
    try:
        done = orders.command.run("backup")
    finally:
        server.run(f"SET GLOBAL {variable.partition(' ')[0]} = DEFAULT")
    if done.code:
        expect_failure(orders, done, ServerError.exit_code, ServerUnsuitable.exit_code)


def test_a_broken_view_is_left_out_named_and_its_definition_kept(
    own: Command, server: Server, database: str
) -> None:
    make_orders(server, database, rows=10)
    run_all(
        server,
        database,
        (
            "CREATE TABLE gone (a INT)",
            "CREATE VIEW broken_one AS SELECT a AS lost_column FROM gone",
            "DROP TABLE gone",
        ),
    )
    done = own.run("--json", "backup")
    assert done.code == ObjectsLeftOut.exit_code, done.said
    assert "broken_one" in done.err
    left_out = own.ok("show", "latest")["details"]["left_out"]
    assert [entry["name"] for entry in left_out] == ["broken_one"]
    assert "lost_column" in left_out[0]["definition"]
    assert own.ok("verify-all")["failed"] == 0


@pytest.mark.parametrize("suffix", ["MYI", "MYD"])
def test_a_crashed_table_makes_no_backup(
    own: Command, server: Server, scratch: ScratchServer, database: str, *, suffix: str
) -> None:
    run_all(
        server,
        database,
        (
            "CREATE TABLE old (id INT PRIMARY KEY, t VARCHAR(200)) ENGINE=MyISAM",
            "INSERT INTO old SELECT seq, REPEAT(CHAR(64 + seq % 26), seq % 200) FROM seq_1_to_5000",
        ),
    )
    own.backup()
    before = shelf(own, server.login)
    server.run("FLUSH TABLES")
    path = scratch.folder / "data" / database / f"old.{suffix}"
    with path.open("r+b") as file:
        file.seek(0 if suffix == "MYI" else path.stat().st_size // 2)
        file.write(b"\xff" * 3000)
    done = own.run("backup")
    expect_failure(before, done, 10, 16)
    assert "old" in done.err
