"""What goes wrong during a backup: it is said, with the right code, and leaves no trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.faults import (
    Shelf,
    digests_below,
    end,
    faking,
    fill,
    go_on,
    listed,
    shelf,
    slow_dump,
    wait_for_pause,
    wait_until,
    with_temporary_folder,
)
from support.server import (
    Command,
    checksums,
    command_for,
    finish,
    free_port,
    fresh_database,
    make_orders,
    own_server,
    run_all,
)
from ulasis_backup.errors import (
    Busy,
    CouldNotCheck,
    DumpFailed,
    LoginRefused,
    ObjectsLeftOut,
    PrivilegeMissing,
    ProgramMissing,
    ServerUnreachable,
    ServerUnsuitable,
    SettingsError,
    StorageDenied,
    StorageError,
    StorageFull,
)
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

KEY = "00112233445566778899aabbccddeeff" * 2
ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="mounting needs root")
OBEYING_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()


@pytest.fixture(scope="module")
def shared(scratch: ScratchServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Return a repository with one encrypted backup of a database that stays as it is."""
    with fresh_database(scratch.login, "orders") as name:
        with connect(scratch.login) as server:
            make_orders(server, name, rows=4000)
        home = tmp_path_factory.mktemp("orders")
        command = command_for(scratch.login, home, name, BACKUP_ENCRYPTION_KEY=KEY)
        command = with_temporary_folder(command)
        command.backup()
        yield shelf(command, scratch.login)


@pytest.fixture
def orders(shared: Shelf) -> Iterator[Shelf]:
    """Return the shared repository; what a test adds to it is taken away."""
    yield shared
    shared.clean()


@pytest.fixture
def own(command: Command) -> Command:
    """Return the command for the test's own database, with a temporary folder to look into."""
    return with_temporary_folder(command)


BROKEN_PROGRAMS = {
    "is killed before its first byte": "kill -9 $$",
    "fails before its first byte": "exit 2",
    "says nothing and succeeds": "exit 0",
    "says something else and succeeds": "echo hello",
    "is killed in the middle": 'dump "$@" | head -c 100000; kill -9 $$',
    "is terminated in the middle": 'dump "$@" | head -c 100000; kill -TERM $$',
    "stops in the middle and succeeds": 'dump "$@" | head -c 100000; exit 0',
    "stops a byte before the end and succeeds": 'dump "$@" | head -c -1; exit 0',
    "is killed after its last byte": 'dump "$@"; kill -9 $$',
    "fails after its last byte": 'dump "$@"; exit 3',
    "writes no end mark": "dump \"$@\" | grep -av '^-- Dump completed'",
    "goes on after its end mark": 'dump "$@"; echo "DROP TABLE customers;"',
    "repeats itself": 'dump "$@"; dump "$@"',
    "leaves a table out": 'first=$1; shift; dump "$first" --ignore-table="${!#}.zebras" "$@"',
    "leaves all rows out": 'first=$1; shift; dump "$first" --no-data "$@"',
    "leaves all definitions out": 'first=$1; shift; dump "$first" --no-create-info "$@"',
    "leaves triggers out": 'dump "${@/#--triggers/--skip-triggers}"',
    "leaves routines out": 'dump "${@/#--routines/--skip-routines}"',
    "leaves events out": 'dump "${@/#--events/--skip-events}"',
    "loses its first bytes": 'dump "$@" | tail -c +4000',
    "floods standard error": 'dump "$@"; yes "no luck" | head -c 3000000 >&2; exit 5',
}


@pytest.mark.parametrize("script", BROKEN_PROGRAMS.values(), ids=BROKEN_PROGRAMS.keys())
def test_no_backup_is_made_when_the_dump_program(orders: Shelf, script: str) -> None:
    done = faking(orders.command, script).run("backup")
    orders.expect_failure(done, DumpFailed.exit_code)
    assert len(done.err) < 200_000


def test_a_missing_dump_program_is_named(orders: Shelf, tmp_path: Path) -> None:
    done = orders.command.having(BACKUP_PROGRAMS_DIR=str(tmp_path)).run("backup")
    orders.expect_failure(done, ProgramMissing.exit_code)
    assert "mariadb-dump is not installed" in done.err


def test_a_dump_whose_session_is_killed_makes_no_backup(orders: Shelf) -> None:
    command = faking(orders.command, slow_dump(10))
    process = command.start("backup")
    wait_for_pause(command, process)
    with connect(orders.login) as server:
        # Of our sessions only the dump program's has a default database.
        rows = server.query(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s",
            (command.settings["DB_NAME"],),
        )
        assert rows
        server.run(f"KILL {rows[0][0]}")
    go_on(command)
    # Between two tables mariadb-dump ends without a word, so the cause cannot be told.
    orders.expect_failure(finish(process), ServerUnreachable.exit_code, DumpFailed.exit_code)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "shut-down"])
def test_no_backup_is_made_when_the_server_is_stopped_in_mid_dump(
    tmp_path: Path, how: signal.Signals
) -> None:
    with own_server() as running:
        with connect(running.login) as server:
            server.run("CREATE DATABASE shop")
            make_orders(server, "shop", rows=30_000)
        command = with_temporary_folder(command_for(running.login, tmp_path, "shop"))
        command.backup()
        before, files = listed(command), digests_below(command.folder)
        command = faking(command, slow_dump(20))
        process = command.start("backup")
        wait_for_pause(command, process)
        os.kill(running.pid, how)
        wait_until(lambda: not (running.folder / "pid").exists() or how is signal.SIGKILL)
        go_on(command)
        done = finish(process)
    assert done.code == ServerUnreachable.exit_code, done.said
    assert "HINT: " in done.err
    assert (listed(command), digests_below(command.folder)) == (before, files)
    command.ok("verify", before[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_stopped_in_mid_dump_leaves_nothing(
    orders: Shelf, number: signal.Signals
) -> None:
    command = faking(orders.command, slow_dump(30))
    process = command.start("backup")
    wait_for_pause(command, process)
    end(process, number)
    done = finish(process)
    if number is signal.SIGKILL:
        assert done.code == -signal.SIGKILL
        orders.expect_unchanged()
    else:
        orders.expect_failure(done, 128 + number)


def test_a_backup_that_is_killed_at_any_time_is_whole_or_not_there(orders: Shelf) -> None:
    for turn in range(10):
        process = orders.command.start("backup")
        time.sleep(0.15 + turn * 0.06)
        process.kill()
        finish(process)
        orders.expect_nothing_left()
    now = digests_below(orders.command.folder)
    assert now.items() >= orders.digests.items()
    # Killed between payload and manifest it leaves the payload, which is no backup: 60.
    done = orders.command.run("--json", "verify-all")
    assert done.code in (0, 60), done.said
    document = done.json
    assert document["failed"] == 0
    assert {entry["backup"] for entry in document["backups"]} >= set(orders.listed)


def test_a_payload_without_manifest_is_no_backup(orders: Shelf) -> None:
    known = _names(orders)
    process = orders.command.start("backup")
    while not (new := _names(orders) - known):
        assert process.poll() is None, process.communicate()
    process.kill()
    finish(process)
    orders.expect_nothing_left()
    document = orders.command.ok("list")
    assert [entry["backup"] for entry in document["backups"]] == list(orders.listed)
    assert [(entry["file"] if "file" in entry else entry["name"]) for entry in document["others"]]
    assert len(new) == 1
    done = orders.command.run("verify", new.pop())
    assert done.code == 31, done.said
    orders.command.backup()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_stopped_after_its_payload_takes_it_away_again(
    orders: Shelf, number: signal.Signals
) -> None:
    known = _names(orders)
    process = orders.command.start("backup")
    while not _names(orders) - known:
        assert process.poll() is None, process.communicate()
    end(process, number)
    done = finish(process)
    if done.code == 0:
        pytest.skip("the backup was quicker than the signal")
    orders.expect_failure(done, 128 + number)


def test_a_second_backup_at_the_same_time_is_refused(orders: Shelf) -> None:
    command = faking(orders.command, slow_dump(30))
    process = command.start("backup")
    wait_for_pause(command, process)
    second = orders.command.run("backup")
    assert second.code == Busy.exit_code, second.said
    assert "HINT: " in second.err
    end(process, signal.SIGTERM)
    finish(process)
    orders.expect_unchanged()


# The disk.


def test_a_file_size_limit_is_no_success(orders: Shelf) -> None:
    done = orders.command.behind("prlimit", "--fsize=20000").run("backup")
    orders.expect_failure(done, StorageFull.exit_code)


@NEEDS_ROOT
def test_a_full_disk_is_no_success_wherever_it_gets_full(orders: Shelf, small_disk: Path) -> None:
    command = orders.command.having(
        BACKUP_DIR=str(small_disk / "backups"), BACKUP_CHECK_SPACE="false"
    )
    command.backup()
    before = shelf(command, orders.login)
    payload = max(path.stat().st_size for path in command.folder.iterdir())
    pages = payload // 4096
    for left in (0, 1, pages // 2, pages, pages + 1, pages + 2):
        fill(small_disk / "filling", leaving=left * 4096)
        before.expect_failure(command.run("backup"), StorageFull.exit_code)
    (small_disk / "filling").unlink()
    command.backup()
    assert command.ok("verify-all")["failed"] == 0


def test_a_folder_that_may_not_be_written_is_named(orders: Shelf) -> None:
    command = orders.command.behind(*OBEYING_MODES)
    command.folder.chmod(0o500)
    try:
        done = command.run("backup")
        orders.expect_failure(done, StorageDenied.exit_code)
    finally:
        command.folder.chmod(0o700)
    assert str(command.folder) in done.err


def test_a_folder_that_may_not_be_read_is_no_empty_one(orders: Shelf) -> None:
    command = orders.command.behind(*OBEYING_MODES)
    command.folder.chmod(0)
    try:
        codes = [
            command.run(*arguments).code
            for arguments in (["backup"], ["list"], ["verify-all"], ["verify", "latest"])
        ]
    finally:
        command.folder.chmod(0o700)
    assert codes == [StorageDenied.exit_code] * 4
    orders.expect_unchanged()


def test_a_payload_that_may_not_be_read_is_not_intact(orders: Shelf) -> None:
    command = orders.command.behind(*OBEYING_MODES)
    payload = command.folder / orders.listed[0]
    payload.chmod(0)
    try:
        done = command.run("verify", orders.listed[0])
        everything = command.run("--json", "verify-all")
    finally:
        payload.chmod(0o600)
    assert done.code == StorageDenied.exit_code, done.said
    assert everything.code == CouldNotCheck.exit_code, everything.said
    assert everything.json["could_not_check"] == 1


def test_a_repository_that_is_a_file_is_refused(orders: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    done = orders.command.having(BACKUP_DIR=str(path)).run("backup")
    orders.expect_failure(done, StorageError.exit_code)
    assert path.read_bytes() == b""


# The login.


def test_an_unknown_database_is_named(orders: Shelf) -> None:
    done = orders.command.having(DB_NAME="nowhere").run("backup")
    orders.expect_failure(done, SettingsError.exit_code)
    assert "nowhere" in done.err


@pytest.mark.parametrize("by", ["socket", "tcp"])
def test_a_server_that_is_not_there_is_named(orders: Shelf, by: str, tmp_path: Path) -> None:
    port = str(free_port())
    socket = str(tmp_path / "no-socket")
    settings = {"DB_SOCKET": socket} if by == "socket" else {"DB_HOST": "127.0.0.1"}
    done = orders.command.having(**settings, DB_PORT=port).run("backup")
    orders.expect_failure(done, ServerUnreachable.exit_code)
    assert (socket if by == "socket" else f"127.0.0.1:{port}") in done.err


@pytest.fixture
def keeper(server: Server, scratch: ScratchServer) -> Iterator[Login]:
    """Return a login without any right."""
    run_all(
        server,
        "mysql",
        (
            "DROP USER IF EXISTS keeper@localhost",
            "CREATE USER keeper@localhost IDENTIFIED BY 'pass word#1'",
        ),
    )
    yield Login(
        host="localhost", port=3306, socket=scratch.login.socket, user="keeper",
        password=Secret("pass word#1"),
    )  # fmt: skip
    server.run("DROP USER keeper@localhost")


def _as(command: Command, login: Login) -> Command:
    return command.having(DB_USER=login.user, DB_PASSWORD=login.password.reveal())


def test_a_wrong_password_is_told_apart(orders: Shelf, keeper: Login) -> None:
    done = _as(orders.command, keeper).having(DB_PASSWORD="secret-but-wrong").run("backup")
    orders.expect_failure(done, LoginRefused.exit_code)
    assert "secret-but-wrong" not in done.said


def test_the_grant_of_the_strategy_alone_is_refused_and_the_hint_mends_it(
    orders: Shelf, keeper: Login, server: Server
) -> None:
    server.run("GRANT SELECT, LOCK TABLES, SHOW VIEW ON *.* TO keeper@localhost")
    command = _as(orders.command, keeper)
    done = command.run("backup")
    orders.expect_failure(done, PrivilegeMissing.exit_code)
    assert "TRIGGER" in done.err
    assert "EVENT" in done.err
    for statement in re.findall(r"GRANT [^;]+;", done.err):
        server.run(statement)
    name = command.backup()
    shown = {entry["name"] for entry in _show(command, name)["objects"]}
    assert shown == {"on_order", "count_orders", "nightly", "totals"}


def test_a_partial_backup_is_marked_and_asked_for(
    orders: Shelf, keeper: Login, server: Server
) -> None:
    server.run("GRANT SELECT, LOCK TABLES, SHOW VIEW ON *.* TO keeper@localhost")
    made = _as(orders.command, keeper).ok("backup", "--allow-partial")["backups"][0]
    assert made["partial"] is True
    assert orders.command.ok("list")["backups"][-1]["partial"] is True


def test_a_login_that_sees_a_part_of_the_database_is_refused(
    orders: Shelf, keeper: Login, server: Server
) -> None:
    database = quote(orders.command.settings["DB_NAME"])
    server.run(f"GRANT SELECT, SHOW VIEW, TRIGGER ON {database}.customers TO keeper@localhost")
    done = _as(orders.command, keeper).run("backup")
    orders.expect_failure(done, PrivilegeMissing.exit_code)


def test_rights_through_a_role_count_when_the_role_is_active(
    orders: Shelf, keeper: Login, server: Server
) -> None:
    command = _as(orders.command, keeper)
    run_all(
        server,
        "mysql",
        (
            "GRANT SELECT ON *.* TO keeper@localhost",
            "CREATE OR REPLACE ROLE keeping",
            "GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON *.* TO keeping",
            "GRANT keeping TO keeper@localhost",
        ),
    )
    try:
        refused = command.run("backup")
        server.run("SET DEFAULT ROLE keeping FOR keeper@localhost")
        name = command.backup()
    finally:
        server.run("DROP ROLE keeping")
    assert refused.code == PrivilegeMissing.exit_code, refused.said
    assert len(_show(command, name)["objects"]) == 4


# Option files and server settings.

HOSTILE = """
[client]
user=nobody
password=wrong
host=192.0.2.1
protocol=tcp
[client-mariadb]
user=nobody
[mysqldump]
no-data
no-create-info
where=1=0
[mariadb-dump]
no-data
skip-triggers
[mysql]
init-command="SET sql_log_bin=0"
"""


def test_option_files_of_others_change_nothing(own: Command, server: Server, database: str) -> None:
    make_orders(server, database)
    before = checksums(server, database)
    folder = own.home / "hostile"
    folder.mkdir()
    for path in (own.home / ".my.cnf", folder / "my.cnf", own.home / ".mylogin.cnf"):
        path.write_text(HOSTILE)
        path.chmod(0o600)
    command = own.having(
        MYSQL_HOME=str(folder), MARIADB_HOME=str(folder), MYSQL_PWD="wrong", MYSQL_HOST="192.0.2.1",
        MYSQL_TCP_PORT="1", MYSQL_UNIX_PORT="/nowhere", MYSQL_GROUP_SUFFIX="-mariadb",
        MYSQL_TEST_LOGIN_FILE=str(own.home / ".mylogin.cnf"), USER="nobody", LOGNAME="nobody",
    )  # fmt: skip
    if ROOT:
        bind = 'mount --bind "$0" /etc/mysql && exec "$@"'
        command = command.behind("unshare", "--mount", "bash", "-c", bind, str(folder))
    else:
        pytest.skip("hiding /etc/mysql needs root")
    bare = subprocess.run(
        [*command.prefix, "mariadb-dump", f"--socket={own.settings['DB_SOCKET']}", database],
        env={"PATH": os.environ["PATH"], "HOME": str(own.home)} | command.settings,
        capture_output=True, check=False,
    )  # fmt: skip
    assert bare.returncode
    name = command.backup()
    server.run(f"DROP TABLE {quote(database)}.orders")
    command.ok("restore", name, "--yes")
    assert checksums(server, database) == before


CUTTING = {"sql_select_limit": "1", "system_versioning_asof": "'2020-01-01 00:00:00'"}


@pytest.mark.parametrize("variable", CUTTING)
def test_a_server_setting_that_would_cut_the_dump_is_refused(
    orders: Shelf, server: Server, variable: str
) -> None:
    server.run(f"SET GLOBAL {variable} = {CUTTING[variable]}")
    try:
        done = orders.command.run("backup")
    finally:
        server.run(f"SET GLOBAL {variable} = DEFAULT")
    orders.expect_failure(done, ServerUnsuitable.exit_code)
    assert variable in done.err


def test_a_backup_is_one_moment_even_where_read_committed_is_the_default(
    own: Command, server: Server, database: str
) -> None:
    run_all(
        server,
        database,
        (
            "CREATE TABLE alice (id INT PRIMARY KEY, cents BIGINT, filler CHAR(200))",
            "CREATE TABLE bob (id INT PRIMARY KEY, cents BIGINT)",
            "INSERT INTO alice SELECT seq, 1000, REPEAT('a', 200) FROM seq_1_to_2000",
            "INSERT INTO bob SELECT seq, 1000 FROM seq_1_to_2000",
            "SET GLOBAL tx_isolation = 'READ-COMMITTED'",
        ),
    )
    command = faking(own, slow_dump(10, after=100_000))
    done = threading.Event()
    writer = threading.Thread(target=_transfer, args=(server.login, database, done))
    writer.start()
    try:
        process = command.start("backup")
        wait_for_pause(command, process)
        time.sleep(0.5)
        go_on(command)
        made = finish(process)
    finally:
        done.set()
        writer.join()
        server.run("SET GLOBAL tx_isolation = DEFAULT")
    assert made.code == 0, made.said
    assert _transferred(server, database) > 0
    own.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
    total = "SELECT (SELECT SUM(cents) FROM alice) + (SELECT SUM(cents) FROM bob)"
    assert server.value(total) == 4_000_000


def _transfer(login: Login, database: str, done: threading.Event) -> None:
    with connect(login, database=database) as server:
        turn = 0
        while not done.is_set():
            turn += 1
            row = turn % 2000 + 1
            server.run("START TRANSACTION")
            server.run("UPDATE alice SET cents = cents - 7 WHERE id = %s", (row,))
            server.run("UPDATE bob SET cents = cents + 7 WHERE id = %s", (row,))
            server.run("COMMIT")


def _transferred(server: Server, database: str) -> int:
    return int(server.value(f"SELECT SUM(cents) FROM {quote(database)}.bob")) - 2_000_000


# Objects that cannot be dumped.


def test_an_event_on_which_the_dump_program_hangs_is_refused_by_name(
    own: Command, server: Server, database: str
) -> None:
    make_orders(server, database, rows=10)
    own.backup()
    before = shelf(own, server.login)
    body = "BEGIN SELECT ';;'; END"
    run_all(server, database, (f"CREATE EVENT hanging ON SCHEDULE EVERY 1 DAY DO {body}",))
    done = own.run("backup")
    before.expect_failure(done, DumpFailed.exit_code)
    assert "hanging" in done.err


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
    done = own.run("backup")
    assert done.code == ObjectsLeftOut.exit_code, done.said
    assert "broken_one" in done.err
    assert "HINT: " in done.err
    again = own.run("--json", "backup")
    assert again.code == ObjectsLeftOut.exit_code
    made = again.json["backups"][0]
    assert made["left_out"] == ["broken_one"]
    left_out = _show(own, made["backup"])["left_out"]
    assert [entry["name"] for entry in left_out] == ["broken_one"]
    assert "lost_column" in left_out[0]["definition"]
    assert own.ok("verify-all")["failed"] == 0


@pytest.mark.parametrize("suffix", ["MYI", "MYD"])
def test_a_crashed_table_makes_no_backup(
    own: Command, server: Server, scratch: ScratchServer, database: str, *, suffix: str
) -> None:
    make_orders(server, database, rows=10)
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
    before.expect_failure(done, DumpFailed.exit_code)
    assert "CHECK TABLE" in done.err
    assert "old" in done.err


def _names(orders: Shelf) -> set[str]:
    return {path.name for path in orders.command.folder.iterdir()}


def _show(command: Command, name: str) -> dict[str, list[dict[str, str]]]:
    details: dict[str, list[dict[str, str]]] = command.ok("show", name)["details"]
    return details
