"""Databases built from an index: equal in everything, or failed, and never hanging."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.contents import Taken, take
from support.definitions import shop_and_trap
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import fresh_database, own_server, run_all
from ulasis_backup.errors import BlobMissing, IntegrityError, LoadFailed, ServerUnreachable
from ulasis_backup.methods import rows_restore
from ulasis_backup.methods.index import Range
from ulasis_backup.methods.rows_restore import DatabaseContents, build_database
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.loading import Way
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote

pytestmark = pytest.mark.server

MYSQL_TRAPS = "trap_schema_mysql.sql"
SHOP = (
    "CREATE TABLE makers (id INT PRIMARY KEY, name VARCHAR(40), UNIQUE KEY (name))",
    (
        "CREATE TABLE goods (id INT AUTO_INCREMENT PRIMARY KEY, maker INT, text VARCHAR(600), "
        "code CHAR(8), UNIQUE KEY code (code), KEY text (text(20)), "
        "CONSTRAINT made FOREIGN KEY (maker) REFERENCES makers (id)) AUTO_INCREMENT = 77777"
    ),
    "CREATE TABLE notes (text TEXT, FULLTEXT KEY (text))",
    "CREATE TABLE empty (id INT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 9",
    "INSERT INTO makers SELECT seq, CONCAT('maker ', seq) FROM mysql.seq_1_to_200",
    (
        "INSERT INTO goods SELECT seq, 1 + seq MOD 200, REPEAT(MD5(seq), 10), LPAD(seq, 8, '0') "
        "FROM mysql.seq_1_to_6000"
    ),
    "INSERT INTO notes VALUES ('one note'), ('another note')",
    (
        "CREATE TRIGGER counted BEFORE INSERT ON goods FOR EACH ROW "
        "SET NEW.code = COALESCE(NEW.code, 'x')"
    ),
    "CREATE VIEW made AS SELECT m.name, g.code FROM goods g JOIN makers m ON m.id = g.maker",
    "CREATE PROCEDURE known() SELECT COUNT(*) FROM goods",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01' DO DELETE FROM notes",
)


@pytest.fixture(scope="module")
def scratch() -> Iterator[ScratchServer]:
    with own_server("--log-bin-trust-function-creators=1") as running:
        yield running


@pytest.fixture
def copy(scratch: ScratchServer) -> Iterator[str]:
    with fresh_database(scratch.login, "copy") as name:
        yield name


@pytest.fixture
def shop(scratch: ScratchServer, server: Server, database: str) -> Taken:
    run_all(server, database, SHOP)
    return take(scratch.login, database)


def build(
    scratch: ScratchServer, copy: str, taken: Taken, *, jobs: int = 3, way: Way | None = None
) -> list[int]:
    told: list[int] = []
    build_database(
        scratch.login, copy, taken.contents, read=taken.read, jobs=jobs, on_bytes=told.append,
        way=way,
    )  # fmt: skip
    return told


def test_every_trap_is_built_again_and_equal(any_server: ScratchServer) -> None:
    with shop_and_trap(any_server) as server:
        mariadb = server.is_mariadb
        scripts = ["trap_schema.sql", "trap_schema_qualified.sql"] if mariadb else [MYSQL_TRAPS]
        for script in scripts:
            load_script(server, "trap", SUPPORT / script)
        before = portrait(server, "trap")
        taken = take(any_server.login, "trap")
        server.run("USE mysql")
        server.run("DROP DATABASE trap")
        server.run("CREATE DATABASE trap CHARACTER SET utf8mb4")
        told = build(any_server, "trap", taken)
        assert told[-1] == sum(table.bytes for table in taken.contents.tables)
        lost = {name.split()[-1] for name in different(before, portrait(server, "trap"))}
    assert lost == (set() if mariadb else {"trap_json_typed"})


def test_a_large_table_gets_its_keys_after_its_rows_and_is_the_same(
    scratch: ScratchServer, server: Server, copy: str, shop: Taken
) -> None:
    assert max(table.bytes for table in shop.contents.tables) > rows_restore.DEFER
    server.run("SET GLOBAL log_output = 'TABLE', general_log = 1")
    try:
        build(scratch, copy, shop, jobs=2)
    finally:
        server.run("SET GLOBAL general_log = 0")
    said = [str(text) for (text,) in server.query("SELECT argument FROM mysql.general_log")]
    server.run("TRUNCATE TABLE mysql.general_log")
    assert any(text.startswith("ALTER TABLE `goods` ADD UNIQUE KEY `code`") for text in said)
    assert any(text.startswith("ALTER TABLE `goods` ADD CONSTRAINT `made`") for text in said)
    built = take(scratch.login, copy)
    assert timeless(built) == timeless(shop)
    assert built.rows() == shop.rows()


def timeless(taken: Taken) -> list[Definition]:
    """Return the definitions without the time at which events were created."""
    return [replace(d, extra={**d.extra, "created": ""}) for d in taken.contents.definitions]


def test_only_the_tables_that_are_wanted_are_built(
    scratch: ScratchServer, server: Server, copy: str, shop: Taken
) -> None:
    read: list[str] = []

    def noted(part: Range) -> bytes:
        read.append(part.name)
        return shop.read(part)

    tables = DatabaseContents(
        definitions=shop.contents.of_kind("table"), tables=shop.contents.tables
    )
    build_database(
        scratch.login, copy, tables, read=noted, jobs=2, on_bytes=lambda _: None,
        tables=frozenset({"makers", "notes"}),
    )  # fmt: skip
    assert [name for (name,) in server.query(f"SHOW TABLES FROM {quote(copy)}")] == [
        "makers",
        "notes",
    ]
    wanted = [t for t in tables.tables if t.head.source.table in ("makers", "notes")]
    assert sorted(read) == sorted(part.name for t in wanted for part in t.ranges if part.name)
    with pytest.raises(LoadFailed, match="holds no table nowhere"):
        build_database(
            scratch.login, copy, tables, read=noted, jobs=2, on_bytes=lambda _: None,
            tables=frozenset({"nowhere"}),
        )  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 4])
def test_what_cannot_be_read_ends_the_build(
    scratch: ScratchServer, copy: str, shop: Taken, jobs: int
) -> None:
    threads = threading.active_count()
    left = [4]

    def failing(part: Range) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise BlobMissing("the object is gone")
        return shop.read(part)

    with pytest.raises(BlobMissing):
        build_database(
            scratch.login, copy, shop.contents, read=failing, jobs=jobs, on_bytes=lambda _: None
        )
    assert threading.active_count() == threads


def test_a_range_of_other_rows_than_it_says_ends_the_build(
    scratch: ScratchServer, copy: str, shop: Taken
) -> None:
    tables = tuple(
        replace(table, ranges=tuple(replace(part, rows=part.rows + 1) for part in table.ranges))
        for table in shop.contents.tables
    )
    wrong = replace(shop, contents=replace(shop.contents, tables=tables))
    with pytest.raises(IntegrityError, match="has other rows"):
        build(scratch, copy, wrong)


def test_a_range_of_another_size_than_it_says_ends_the_build(
    scratch: ScratchServer, copy: str, shop: Taken
) -> None:
    objects = {name: data + b"\1\0\0\0\xfb" for name, data in shop.objects.items()}
    with pytest.raises(IntegrityError, match="another size"):
        build(scratch, copy, replace(shop, objects=objects))


def test_a_table_that_the_server_refuses_is_named_before_rows_are_loaded(
    scratch: ScratchServer, copy: str, shop: Taken
) -> None:
    wrong = tuple(
        replace(d, text=d.text.replace(b"`text` text", b"`text` txet"))
        for d in shop.contents.definitions
    )
    read: list[Range] = []

    def noted(part: Range) -> bytes:
        read.append(part)
        return shop.read(part)

    with pytest.raises(LoadFailed, match="table notes could not be created"):
        build_database(
            scratch.login, copy, replace(shop.contents, definitions=wrong), read=noted, jobs=2,
            on_bytes=lambda _: None,
        )  # fmt: skip
    assert not read


def test_a_killed_session_ends_the_build(
    scratch: ScratchServer, server: Server, copy: str, shop: Taken
) -> None:
    def killing(part: Range) -> bytes:
        with alone:
            others = server.query(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
                "AND COMMAND <> 'Daemon'"
            )
            for (number,) in others:
                with contextlib.suppress(QueryFailed):
                    server.run(f"KILL {number}")
        return shop.read(part)

    alone = threading.Lock()

    with pytest.raises(ServerUnreachable):
        build_database(
            scratch.login, copy, shop.contents, read=killing, jobs=2, on_bytes=lambda _: None
        )


def test_a_failure_breaks_off_a_session_that_waits(
    scratch: ScratchServer, copy: str, shop: Taken
) -> None:
    # One session waits for a lock that nobody gives back; another one fails meanwhile.
    goods, makers = (
        {
            part.name
            for t in shop.contents.tables
            if t.head.source.table == name
            for part in t.ranges
        }
        for name in ("goods", "makers")
    )
    held = threading.Event()
    with connect(scratch.login) as locker:

        def read(part: Range) -> bytes:
            if part.name in goods and not held.is_set():
                locker.run(f"LOCK TABLES {quote(copy)}.goods READ")
                held.set()
            if part.name in makers:
                held.wait(20)
                # The other session waits for the lock by now, or soon will.
                time.sleep(0.5)
                raise BlobMissing("the object is gone")
            return shop.read(part)

        with pytest.raises(BlobMissing):
            build_database(
                scratch.login, copy, shop.contents, read=read, jobs=2, on_bytes=lambda _: None
            )
