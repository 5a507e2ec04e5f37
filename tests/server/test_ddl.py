"""Tables that change under a dump: it fails, or the backup is what was there at its start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from support.ddl import SUDDEN, SWAP
from support.faults import (
    faking,
    go_on,
    listed,
    slow_dump,
    wait_for_pause,
    wait_until,
    with_temporary_folder,
)
from support.server import Command, Result, checksums, finish, make_orders, run_all
from ulasis_backup.errors import DumpFailed, SchemaChanged, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

REFUSALS = (DumpFailed.exit_code, SchemaChanged.exit_code)
MODES = {
    "held-back": {"BACKUP_DDL": "block", "BACKUP_DDL_WAIT": "20"},
    "let-through": {"BACKUP_DDL": "block", "BACKUP_DDL_WAIT": "1"},
    "watched": {"BACKUP_DDL": "detect"},
    "unprivileged": {"DB_USER": "watcher", "DB_PASSWORD": "watching"},
}
DEEDS = SUDDEN | {
    "altered": ("ALTER TABLE zebras ADD COLUMN extra INT NOT NULL DEFAULT 5, ALGORITHM=COPY",),
    "exchanged": ("ALTER TABLE years EXCHANGE PARTITION p1 WITH TABLE zulu",),
    "routine-dropped": ("DROP PROCEDURE count_orders",),
}


@pytest.fixture
def zoo(command: Command, server: Server, database: str) -> Iterator[Command]:
    """Return the command for a database whose first table is long and whose last are touched."""
    make_orders(server, database, rows=4000)
    run_all(
        server,
        database,
        (
            "CREATE TABLE aardvarks (id INT PRIMARY KEY, stripes INT)",
            "CREATE TABLE zokors (id INT PRIMARY KEY, stripes INT)",
            "INSERT INTO aardvarks VALUES (1, 0), (2, 0), (3, 0)",
            "INSERT INTO zokors VALUES (1, 0), (2, 0), (3, 0)",
            (
                "CREATE TABLE years (y INT, v INT) PARTITION BY RANGE (y) "
                "(PARTITION p1 VALUES LESS THAN (2000), PARTITION p2 VALUES LESS THAN MAXVALUE)"
            ),
            "CREATE TABLE zulu (y INT, v INT)",
            "INSERT INTO years VALUES (1990, 1), (1991, 2), (2010, 3)",
            "INSERT INTO zulu VALUES (1950, 9)",
            "CREATE OR REPLACE USER watcher@localhost IDENTIFIED BY 'watching'",
            "GRANT SELECT ON mysql.proc TO watcher@localhost",
            (
                "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES "
                f"ON {quote(database)}.* TO watcher@localhost"
            ),
        ),
    )
    # The program stops behind the first table's rows: aardvarks are dumped, zebras are not.
    yield faking(with_temporary_folder(command), slow_dump(30, after=60_000))
    server.run("DROP USER watcher@localhost")


@contextmanager
def _meanwhile(
    login: Login, database: str, statements: tuple[str, ...]
) -> Iterator[threading.Thread]:
    """Run *statements* in a session of their own, beside what happens inside."""
    thread = threading.Thread(target=_run_quietly, args=(login, database, statements))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def _run_quietly(login: Login, database: str, statements: tuple[str, ...]) -> None:
    # A statement may find that the one before it had no effect yet; that is not the matter here.
    with connect(login, database=database) as server, suppress(ServerError):
        for statement in statements:
            server.run(statement)


def _expect_refusal_or_truth(
    command: Command, done: Result, server: Server, before: dict[str, tuple[object, str]]
) -> None:
    database = command.settings["DB_NAME"]
    if done.code:
        assert done.code in REFUSALS, done.said
        assert "\nHINT: " in done.err
        assert listed(command) == ()
        return
    plain = command.having(DB_USER="root", DB_PASSWORD="", BACKUP_PROGRAMS_DIR="")
    assert plain.run("restore", listed(plain)[0], "--yes", "--skip-pre-restore-backup").code == 0
    assert checksums(server, database) == before
    assert server.value(f"SELECT COUNT(*) FROM {quote(database)}.totals") == 4000
    assert server.query(f"SHOW TRIGGERS FROM {quote(database)}")
    assert server.query("SHOW PROCEDURE STATUS WHERE Db = %s", (database,))


HARDEST = (
    "altered", "dropped-and-made-again", "truncated", "swapped", "swapped-twice", "exchanged",
    "view-replaced", "created",
)  # fmt: skip
CASES = [("watched", deed) for deed in DEEDS]
CASES += [(mode, deed) for mode in ("let-through", "unprivileged") for deed in HARDEST]


@pytest.mark.parametrize(("mode", "deed"), CASES)
def test_a_database_that_changes_under_the_dump_is_refused_or_right(
    zoo: Command, server: Server, database: str, *, mode: str, deed: str
) -> None:
    before = checksums(server, database)
    command = zoo.having(**MODES[mode])
    process = command.start("backup")
    wait_for_pause(command, process)
    with _meanwhile(server.login, database, DEEDS[deed]) as thread:
        thread.join(10)
        assert not thread.is_alive()
        go_on(command)
        done = finish(process)
    _expect_refusal_or_truth(command, done, server, before)


def test_ddl_that_is_held_back_does_not_spoil_the_backup(
    zoo: Command, server: Server, database: str
) -> None:
    before = checksums(server, database)
    command = zoo.having(**MODES["held-back"])
    process = command.start("backup")
    wait_for_pause(command, process)
    drop = "DROP TABLE aardvarks"
    with _meanwhile(server.login, database, (drop,)) as thread:
        wait_until(lambda: _waits(server))
        assert thread.is_alive()
        go_on(command)
        done = finish(process)
    assert done.code == 0, done.said
    assert "aardvarks" not in checksums(server, database)
    _expect_refusal_or_truth(command, done, server, before)


def test_a_dump_that_waits_behind_ddl_does_not_wait_for_long(
    zoo: Command, server: Server, database: str
) -> None:
    command = zoo.having(BACKUP_DDL="block", BACKUP_DDL_WAIT="3")
    process = command.start("backup")
    wait_for_pause(command, process)
    with _meanwhile(server.login, database, DEEDS["altered"]):
        wait_until(lambda: _waits(server))
        begun = time.monotonic()
        go_on(command)
        done = finish(process)
    assert time.monotonic() - begun < 3 + 5
    assert done.code in REFUSALS, done.said


def test_ddl_is_let_through_after_its_time_and_the_backup_fails(
    zoo: Command, server: Server, database: str
) -> None:
    command = zoo.having(**MODES["let-through"])
    process = command.start("backup")
    wait_for_pause(command, process)
    begun = time.monotonic()
    with _meanwhile(server.login, database, DEEDS["altered"]) as thread:
        thread.join(10)
        assert not thread.is_alive()
    waited = time.monotonic() - begun
    go_on(command)
    done = finish(process)
    assert 0.5 < waited < 5
    assert done.code == SchemaChanged.exit_code, done.said
    assert listed(command) == ()


@pytest.mark.parametrize("mode", ["let-through", "watched", "unprivileged"])
def test_swapping_in_a_loop_is_refused_or_right(
    zoo: Command, server: Server, database: str, mode: str
) -> None:
    before = checksums(server, database)
    command = zoo.having(**MODES[mode])
    process = command.start("backup")
    wait_for_pause(command, process)
    stop = threading.Event()
    thread = threading.Thread(target=_swap_until, args=(server.login, database, stop))
    thread.start()
    time.sleep(2)
    go_on(command)
    done = finish(process)
    stop.set()
    thread.join()
    _expect_refusal_or_truth(command, done, server, before)


def _swap_until(login: Login, database: str, stop: threading.Event) -> None:
    """Swap two tables back and forth; an even number of times."""
    with connect(login, database=database) as server:
        while not stop.is_set():
            server.run(SWAP)
            server.run(SWAP)


def test_tables_without_transactions_are_one_moment_too(
    command: Command, server: Server, database: str
) -> None:
    run_all(
        server,
        database,
        (
            "CREATE TABLE first (id INT PRIMARY KEY AUTO_INCREMENT, t CHAR(200)) ENGINE=MyISAM",
            "CREATE TABLE second (id INT PRIMARY KEY AUTO_INCREMENT, t CHAR(200)) ENGINE=Aria",
            "INSERT INTO first SELECT seq, 'x' FROM seq_1_to_20000",
            "INSERT INTO second SELECT seq, 'x' FROM seq_1_to_20000",
        ),
    )
    command = faking(with_temporary_folder(command), slow_dump(30, after=60_000))
    process = command.start("backup")
    wait_for_pause(command, process)
    inserts = tuple(f"INSERT INTO {name} (t) VALUES ('late')" for name in ("second", "first"))
    with _meanwhile(server.login, database, inserts):
        time.sleep(0.5)
        go_on(command)
        done = finish(process)
    assert done.code == 0, done.said
    plain = command.having(BACKUP_PROGRAMS_DIR="")
    plain.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
    counts = "SELECT (SELECT COUNT(*) FROM first), (SELECT COUNT(*) FROM second)"
    assert server.query(counts) == [(20_000, 20_000)]


def test_a_dump_that_waits_behind_a_writer_who_waits_for_our_lock_ends(
    command: Command, server: Server, database: str
) -> None:
    """Readers queue behind writers of tables without transactions, be the lock our own."""
    run_all(
        server,
        database,
        (
            "CREATE TABLE first (id INT PRIMARY KEY AUTO_INCREMENT, t CHAR(200)) ENGINE=MyISAM",
            "CREATE TABLE second (id INT PRIMARY KEY AUTO_INCREMENT, t CHAR(200)) ENGINE=Aria",
            "INSERT INTO first SELECT seq, 'x' FROM seq_1_to_20000",
            "INSERT INTO second SELECT seq, 'x' FROM seq_1_to_20000",
        ),
    )
    command = faking(with_temporary_folder(command), slow_dump(30, after=60_000))
    process = command.start("backup")
    wait_for_pause(command, process)
    with _meanwhile(server.login, database, ("UPDATE second SET t = 'late'",)):
        wait_until(lambda: _waits(server, "Waiting for table level lock"))
        go_on(command)
        done = finish(process)
    assert done.code == SchemaChanged.exit_code, done.said
    assert listed(command) == ()


def _waits(server: Server, state: str = "Waiting for table metadata lock") -> bool:
    return bool(
        server.value(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE %s",
            (f"{state}%",),
        )
    )
