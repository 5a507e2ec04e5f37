"""Tables that change under a ``rows`` backup: refused, or the backup is what was at its moment."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import pytest

from support.ddl import SUDDEN, SWAP
from support.faults import listed, wait_until, with_temporary_folder
from support.pausing import LONG_TABLE, paused
from support.server import Command, Result, checksums, finish, make_orders, run_all
from ulasis_backup.errors import SchemaChanged, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

CHANGED = SchemaChanged.exit_code
MODES = {
    "held-back": {"BACKUP_DDL": "block", "BACKUP_DDL_WAIT": "60"},
    "let-through": {"BACKUP_DDL": "block", "BACKUP_DDL_WAIT": "1"},
    "watched": {"BACKUP_DDL": "detect"},
}
PUT_IN_PLACE = (
    "CREATE TABLE new_zulu (y INT)",
    # While it waits for zulu it has new_zulu already: nobody else may even look at that one.
    "RENAME TABLE zulu TO old_zulu, new_zulu TO zulu",
)
EXCHANGE = "ALTER TABLE years EXCHANGE PARTITION p1 WITH TABLE zulu"
DEEDS = SUDDEN | {
    "copied": ("ALTER TABLE zebras ADD COLUMN extra INT NOT NULL DEFAULT 5, ALGORITHM=COPY",),
    "indexed-in-place": ("ALTER TABLE zebras ADD KEY (stripes), ALGORITHM=INPLACE",),
    "partition-truncated": ("ALTER TABLE years TRUNCATE PARTITION p1",),
    "partition-dropped": ("ALTER TABLE years DROP PARTITION p1",),
    "exchanged": (EXCHANGE,),
    "exchanged-twice": (EXCHANGE, "UPDATE zulu SET v = 5", EXCHANGE),
    "optimized": ("OPTIMIZE TABLE zebras", "ALTER TABLE zokors FORCE"),
    "trigger-created": (
        "CREATE TRIGGER second BEFORE INSERT ON zebras FOR EACH ROW SET NEW.stripes = 9",
    ),
    "routine-replaced": ("CREATE OR REPLACE PROCEDURE count_orders() SELECT 7",),
    "key-gone": ("ALTER TABLE zebras DROP PRIMARY KEY",),
}


@pytest.fixture
def zoo(command: Command, server: Server, database: str) -> Command:
    """Return the command for a database whose first table is long and whose last are touched."""
    make_orders(server, database, rows=300)
    run_all(
        server,
        database,
        (
            *LONG_TABLE,
            "CREATE TABLE zokors (id INT PRIMARY KEY, stripes INT)",
            "INSERT INTO zokors VALUES (1, 0), (2, 0), (3, 0)",
            (
                "CREATE TABLE years (y INT, v INT) PARTITION BY RANGE (y) "
                "(PARTITION p1 VALUES LESS THAN (2000), PARTITION p2 VALUES LESS THAN MAXVALUE)"
            ),
            "CREATE TABLE zulu (y INT, v INT)",
            "INSERT INTO years VALUES (1990, 1), (1991, 2), (2010, 3)",
            "INSERT INTO zulu VALUES (1950, 9)",
        ),
    )
    return with_temporary_folder(command).having(BACKUP_METHOD="rows", BACKUP_JOBS="1")


def _start(login: Login, database: str, statements: tuple[str, ...]) -> threading.Thread:
    """Run *statements* in a session of their own, beside what happens here."""
    thread = threading.Thread(target=_run_quietly, args=(login, database, statements))
    thread.start()
    return thread


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
        assert done.code == CHANGED, done.said
        assert "\nHINT: " in done.err
        assert "Traceback" not in done.err
        assert listed(command) == ()
        return
    command.ok("verify", "latest")
    command.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
    assert checksums(server, database) == before
    assert server.value(f"SELECT COUNT(*) FROM {quote(database)}.totals") == 300
    assert [row[0] for row in server.query(f"SHOW TRIGGERS FROM {quote(database)}")] == ["on_order"]
    shown = server.query(f"SHOW CREATE PROCEDURE {quote(database)}.count_orders")[0][2]
    assert "COUNT(*)" in str(shown)


ALWAYS = ("swapped-twice", "altered-in-an-instant", "dropped-and-made-again", "view-replaced")
CASES = [("watched", deed) for deed in DEEDS]
CASES += [("let-through", deed) for deed in ALWAYS]


@pytest.mark.parametrize(("mode", "deed"), CASES)
def test_a_database_that_changes_under_the_backup_is_refused_or_right(
    zoo: Command, server: Server, database: str, *, mode: str, deed: str
) -> None:
    before = checksums(server, database)
    command = zoo.having(**MODES[mode])
    with paused(command) as process:
        thread = _start(server.login, database, DEEDS[deed])
        # What is held back goes on to wait; the backup may let it through while it reads on.
        thread.join(0.5 if mode == "let-through" else 30)
        assert mode == "let-through" or not thread.is_alive()
    done = finish(process)
    thread.join()
    _expect_refusal_or_truth(command, done, server, before)


def test_ddl_that_is_held_back_does_not_spoil_the_backup(
    zoo: Command, server: Server, database: str
) -> None:
    before = checksums(server, database)
    command = zoo.having(**MODES["held-back"])
    with paused(command) as process:
        threads = [
            _start(server.login, database, statements)
            for statements in (("DROP TABLE aardvarks",), (SWAP,), PUT_IN_PLACE)
        ]
        wait_until(lambda: _waiting(server) == len(threads))
    done = finish(process)
    for thread in threads:
        thread.join()
    assert done.code == 0, done.said
    assert "aardvarks" not in checksums(server, database)
    _expect_refusal_or_truth(command, done, server, before)


def _waiting(server: Server) -> int:
    return int(
        server.value(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
            "WHERE STATE LIKE 'Waiting for table metadata lock%'"
        )
    )


# DDL at random moments, all through: each step brings one object to the next generation.

STEPS = {
    "marked": "UPDATE marked SET gen = {gen}",
    "told": "CREATE OR REPLACE PROCEDURE told() SELECT {gen} AS gen",
    "viewed": "CREATE OR REPLACE VIEW viewed AS SELECT {gen} AS gen",
    "swapped": "CREATE TABLE new_one (gen INT) AS SELECT {gen} AS gen;"
    "RENAME TABLE swapped TO old_one, new_one TO swapped; DROP TABLE old_one",
    "altered": "ALTER TABLE altered ALTER COLUMN gen SET DEFAULT {gen}",
    "copied": "ALTER TABLE copied MODIFY gen INT DEFAULT {gen} COMMENT '{gen}', ALGORITHM=COPY",
    "fired": "CREATE OR REPLACE TRIGGER fired BEFORE INSERT ON marked FOR EACH ROW "
    "SET NEW.gen = {gen}",
    "last": "UPDATE last SET gen = {gen}",
}
READ = {
    "told": "CALL told()",
    "altered": "SELECT DEFAULT(gen) AS gen FROM altered",
    "copied": "SELECT DEFAULT(gen) AS gen FROM copied",
    "fired": "SELECT REGEXP_SUBSTR(ACTION_STATEMENT, '[0-9]+$') FROM information_schema.TRIGGERS "
    "WHERE TRIGGER_NAME = 'fired' AND TRIGGER_SCHEMA = DATABASE()",
}


def _generations(login: Login, database: str) -> list[int]:
    with connect(login, database=database) as server:
        return [int(server.value(READ.get(name, f"SELECT gen FROM {name}"))) for name in STEPS]


def _change_until(login: Login, database: str, stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (a test's timing, not a secret)
    gen = 0
    with connect(login, database=database) as server:
        while not stop.is_set():
            gen += 1
            for step in STEPS.values():
                for statement in step.format(gen=gen).split(";"):
                    server.run(statement)
                stop.wait(chance.choice((0, 0, 0.02, 0.2, 0.6)))


@pytest.fixture
def changing(command: Command, server: Server, database: str) -> Command:
    """Return the command for a database of which every object has a generation."""
    make = "CREATE TABLE {} (gen INT DEFAULT 0)"
    tables = [name for name in STEPS if name not in ("told", "viewed", "fired")]
    run_all(server, database, [*LONG_TABLE, *(make.format(name) for name in tables)])
    run_all(server, database, [f"INSERT INTO {name} VALUES (0)" for name in tables])
    for step in ("told", "viewed", "fired"):
        run_all(server, database, [STEPS[step].format(gen=0)])
    return with_temporary_folder(command).having(BACKUP_METHOD="rows", BACKUP_JOBS="2")


@pytest.mark.parametrize("mode", ["held-back", "let-through", "watched"])
def test_ddl_at_random_times_is_refused_or_right(
    changing: Command, server: Server, database: str, mode: str
) -> None:
    stop, copy = threading.Event(), f"{database}_copy"
    arguments = (server.login, database, stop, len(mode))
    thread = threading.Thread(target=_change_until, args=arguments)
    thread.start()
    command = changing.having(**MODES[mode])
    try:
        codes = []
        for turn in range(2):
            time.sleep(0.1 * turn)
            codes.append(command.run("backup").code)
            assert codes[-1] in (0, CHANGED)
    finally:
        stop.set()
        thread.join()
    assert codes.count(0) == len(listed(command))
    try:
        for name in listed(command):
            command.ok("restore", name, "--target-database", copy, "--yes")
            found = _generations(server.login, copy)
            assert sorted(found, reverse=True) == found, found
            assert found[0] - found[-1] <= 1, found
    finally:
        server.run(f"DROP DATABASE IF EXISTS {quote(copy)}")


def test_a_restored_sequence_gives_no_number_that_a_row_has(
    command: Command, server: Server, database: str
) -> None:
    tables = [f"CREATE TABLE t{number} (id INT)" for number in range(60)]
    sequence = ("CREATE SEQUENCE numbers NOCACHE", "CREATE TABLE numbered (id INT PRIMARY KEY)")
    run_all(server, database, [*tables, *sequence])
    stop, copy = threading.Event(), f"{database}_copy"
    thread = threading.Thread(target=_number_until, args=(server.login, database, stop))
    thread.start()
    command = command.having(BACKUP_METHOD="rows")
    try:
        command.ok("backup")
    finally:
        stop.set()
        thread.join()
    try:
        command.ok("restore", "latest", "--target-database", copy, "--yes")
        largest = server.value(f"SELECT MAX(id) FROM {quote(copy)}.numbered")
        assert largest
        assert server.value(f"SELECT NEXTVAL({quote(copy)}.numbers)") > largest
    finally:
        server.run(f"DROP DATABASE IF EXISTS {quote(copy)}")


def _number_until(login: Login, database: str, stop: threading.Event) -> None:
    with connect(login, database=database) as server:
        while not stop.is_set():
            server.run("INSERT INTO numbered VALUES (NEXTVAL(numbers))")
