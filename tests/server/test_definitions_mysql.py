"""Every object that a MySQL can hold is read and created again, equal to the byte."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.definitions import again, read, send, shop_and_trap
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import fresh_database, run_all
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.deferred import deferrable, split_keys
from ulasis_backup.mysql.definitions import TABLE, Definition, read_definitions, read_table
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect

pytestmark = pytest.mark.server

TRAPS = SUPPORT / "trap_schema_mysql.sql"


BODIES = (
    b"CREATE TABLE t (id INT PRIMARY KEY, n INT)",
    # No NUL: MySQL itself keeps bodies and comments up to the first one only.
    b"CREATE PROCEDURE odd() BEGIN /* ;; \nDELIMITER ;;\n\n */ SELECT 'a\x01b;;'; --\x01x\n END",
    b"CREATE PROCEDURE comment() COMMENT '\xc3\xa9\\'\\\\n\\r\\Z\t\"' SELECT '\xc3\xa9'",
    b"CREATE TRIGGER shop.t1 AFTER UPDATE ON shop.t FOR EACH ROW SET @b = 1",
    (
        b"CREATE TRIGGER shop.a0 AFTER UPDATE ON shop.t FOR EACH ROW "
        b"/* x */ PRECEDES t1 SET @b = ';;'"
    ),
    b"CREATE DEFINER=nobody@nowhere TRIGGER a2 AFTER UPDATE ON t FOR EACH ROW SET @b = 2",
    b"SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    b'CREATE EVENT "an ""ansi" ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT \'\\\', "x" FROM t; END',
    b"SET sql_mode = ''",
)
TABLES = (
    (
        b"CREATE TABLE counted (a INT COMMENT ' AUTO_INCREMENT=5 ', "
        b"id INT AUTO_INCREMENT PRIMARY KEY, `) ENGINE=InnoDB AUTO_INCREMENT=7 x` INT DEFAULT 3, "
        b"y VARCHAR(60) DEFAULT ') ENGINE=InnoDB AUTO_INCREMENT=9 X', "
        b"CHECK (y <> '\n) ENGINE=InnoDB AUTO_INCREMENT=8 ')) AUTO_INCREMENT=77 "
        b"COMMENT=' AUTO_INCREMENT=5 '"
    ),
    (
        b"CREATE TABLE stamps (a TIMESTAMP NOT NULL, b TIMESTAMP NULL, "
        b"c TIMESTAMP NOT NULL DEFAULT '0000-00-00')"
    ),
    (
        b"CREATE TABLE bytes (v VARBINARY(20) DEFAULT 0x80FF005C270A0D1A09225C30, KEY k (v)) "
        b"COMMENT='\xc3\xa9'"
    ),
    (
        b"CREATE TABLE listed (v VARBINARY(20)) PARTITION BY LIST COLUMNS (v) "
        b"(PARTITION a VALUES IN (x'80FF'), PARTITION b VALUES IN ('a'))"
    ),
    (
        b"CREATE TABLE collated (a VARCHAR(9), b VARCHAR(9) COLLATE utf8mb4_bin, "
        b"`c varchar(9) COLLATE utf8mb4_bin` ENUM(') COLLATE utf8mb4_bin', 'x'), "
        b"d TEXT CHARACTER SET utf8mb4, e CHAR(5) AS (a COLLATE utf8mb4_bin), f SET('it''s'), "
        b"g VARCHAR(9) COLLATE utf8mb4_general_ci) COLLATE utf8mb4_general_ci"
    ),
    b"CREATE TABLE keyless (a INT, b TEXT, KEY (a), FULLTEXT KEY (b))",
)
"""`b` and `g` of `collated` have collations of their own, the others those of the table."""


@contextlib.contextmanager
def other_defaults(server: Server) -> Iterator[None]:
    """Give new tables and new sessions of the server what it has not by default."""
    variables = {
        "sql_generate_invisible_primary_key": "ON",
        "default_collation_for_utf8mb4": "utf8mb4_general_ci",
        "show_gipk_in_create_table_and_information_schema": "OFF",
        "sql_require_primary_key": "ON",
        "explicit_defaults_for_timestamp": "OFF",
        "show_create_table_verbosity": "ON",
        "default_storage_engine": "MyISAM",
    }
    for name, value in variables.items():
        server.run(f"SET SESSION {name} = %s", (value,))
    try:
        yield
    finally:
        for name in variables:
            server.run(f"SET SESSION {name} = DEFAULT")


@pytest.fixture
def server(mysql_server: ScratchServer) -> Iterator[Server]:
    """Return a session on a MySQL with empty databases `shop` and `trap`."""
    with shop_and_trap(mysql_server) as opened:
        yield opened


def test_every_trap_of_mysql_is_created_again_and_equal(server: Server) -> None:
    load_script(server, "trap", TRAPS)
    seen = portrait(server, "trap")
    before, after = again(server, "trap")
    assert after == before
    assert len(before) > 150
    server.run("ALTER DATABASE trap CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci")
    lost = different(seen, portrait(server, "trap"))
    assert {name for name in lost if not name.startswith("rows of")} == set()


def test_odd_texts_of_mysql_come_back(server: Server) -> None:
    send(server, BODIES)
    send(server, TABLES)
    before, after = again(server, "shop")
    assert after == before


def test_keys_of_mysql_that_can_wait_give_the_same_table(server: Server) -> None:
    load_script(server, "trap", TRAPS)
    tables = [found for found in read(server, "trap") if found.kind == "table"]
    splits = {found.name for found in tables if split_keys(found.text)}
    assert {"trap_indexes", "trap_tree", "trap_json", "trap_key_generated"} <= splits
    assert {found.name for found in tables if deferrable(server, "shop", found)} == splits
    assert server.query("SHOW TABLES FROM shop") == []


def test_keys_of_a_mariadb_can_wait_too_where_a_mysql_shows_them_in_other_words(
    scratch: ScratchServer, server: Server
) -> None:
    """A table is then as it should be when both ways of making it give the same."""
    made = (
        "CREATE TABLE parents (id INT PRIMARY KEY, a INT, UNIQUE KEY (a))",
        (
            "CREATE TABLE children (id INT PRIMARY KEY, a INT, t TEXT, KEY (t(9)), "
            "CONSTRAINT up FOREIGN KEY (a) REFERENCES parents (a))"
        ),
    )
    with connect(scratch.login) as mariadb, fresh_database(scratch.login) as database:
        run_all(mariadb, database, made)
        found = schema.catalogue(mariadb, database)
        tables = read_definitions(mariadb, database, found)
    for table in tables:
        assert deferrable(server, "shop", table), table.name
        create(server, "shop", table)
        assert read_table(server, "shop", table.name) != table, "nothing is shown otherwise"
        server.run(f"DROP TABLE shop.{table.name}")


def test_settings_of_a_mysql_do_not_change_what_is_created(server: Server) -> None:
    send(server, TABLES)
    before = read(server, "shop")
    with other_defaults(server):
        _, after = again(server, "shop")
        assert after == before


def test_a_view_that_mysql_itself_cannot_read_is_left_out(server: Server) -> None:
    server.run("CREATE TABLE t (id INT)")
    # The letter holds a backslash (0x5C), which MySQL takes for an escape when it reads the view.
    send(server, [b"SET NAMES sjis", "CREATE VIEW v AS SELECT 'ソ' FROM t".encode("shift_jis")])
    server.run("SET NAMES utf8mb4")
    (broken,) = schema.broken_views(server, "shop", schema.catalogue(server, "shop"))
    assert (broken.name, "1064" in broken.reason) == ("v", True)
    assert "ソ" in broken.definition
    assert [found.name for found in read(server, "shop")] == ["t"]


def test_triggers_of_old_clients_on_tables_with_their_letters_come_back(server: Server) -> None:
    statements = (
        b"SET NAMES sjis",
        "CREATE TABLE `チ表` (`ソ` INT)",
        "CREATE TRIGGER `表` AFTER DELETE ON `チ表` FOR EACH ROW SET @`ソ` = OLD.`ソ`",
        "CREATE DEFINER=`ソ`@`x` TRIGGER tr BEFORE DELETE ON `チ表` FOR EACH ROW SET @a = 'ソ'",
        b"SET NAMES utf8mb4",
    )
    send(server, statements, "shift_jis")
    before, after = again(server, "shop")
    assert after == before
    assert [found.name for found in before] == ["チ表", "表", "tr"]


def test_the_numbers_of_tables_tell_one_that_was_made_again(server: Server) -> None:
    run_all(server, "shop", ["CREATE DATABASE `sh-o_p.%`", "CREATE TABLE `sh-o_p.%`.t (id INT)"])
    before = schema.table_ids(server, "sh-o_p.%")
    server.run("TRUNCATE TABLE `sh-o_p.%`.t")
    after = schema.table_ids(server, "sh-o_p.%")
    server.run("DROP DATABASE `sh-o_p.%`")
    assert before
    assert after
    assert before.keys() == after.keys()
    assert before != after
    assert schema.table_ids(server, "é") is None


def test_tables_that_point_at_each_other_are_created_by_two_sessions_at_once(
    mysql_server: ScratchServer,
) -> None:
    def table(name: str, other: str) -> Definition:
        text = f"CREATE TABLE `{name}` (id INT PRIMARY KEY, o INT, KEY (o), CONSTRAINT f_{name} "
        text += f"FOREIGN KEY (o) REFERENCES `{other}` (id)) ENGINE=InnoDB"
        return Definition(kind=TABLE, name=name, text=text.encode())

    pairs = [table("a", "b"), table("b", "a")]
    with (
        connect(mysql_server.login) as one,
        connect(mysql_server.login) as two,
        fresh_database(mysql_server.login) as database,
        ThreadPoolExecutor(2) as pool,
    ):
        for _ in range(60):
            made = pool.map(
                lambda pair: create(pair[0], database, pair[1]), zip((one, two), pairs, strict=True)
            )
            assert len(list(made)) == 2
            one.run("SET SESSION foreign_key_checks = 0")
            one.run(f"DROP TABLE `{database}`.a, `{database}`.b")
            one.run("SET SESSION foreign_key_checks = 1")
