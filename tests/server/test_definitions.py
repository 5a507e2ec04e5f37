"""Every object that a server can hold is read and created again, equal to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.definitions import again, build, read, send, shop_and_trap
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import SYSTEMS_OWN, run_all
from ulasis_backup.errors import LoadFailed
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.creation import create, create_views, enable_events, run
from ulasis_backup.mysql.deferred import adds_foreign_keys, deferrable, split_keys
from ulasis_backup.mysql.definitions import (
    digest_bytes,
)
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server

pytestmark = pytest.mark.server

SCRIPTS = ("trap_schema.sql", "trap_schema_refused.sql", "trap_schema_qualified.sql")
NAMING = {"e", "f", "p", "q", "x", "y", "v", "a_view_on_v"}
"""What trap_schema_qualified.sql makes that names its schema itself."""

OTHER_CLIENTS = (
    b"CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)",
    b"SET NAMES sjis",
    # These letters hold a backslash (0x5C) and a backtick (0x60).
    (
        "CREATE PROCEDURE `ソチ`(`チ表` INT, x ENUM('ソ','チ')) COMMENT 'ソ表''' "
        "SELECT 'ソ', 'チ''', `チ表`"
    ),
    (
        "CREATE FUNCTION `関数`(`チ表` INT) RETURNS ENUM('ソ','チ') CHARSET utf8mb4 DETERMINISTIC "
        "COMMENT 'チ' RETURN 'ソ'"
    ),
    (
        "CREATE DEFINER=`ソ`@`localhost` TRIGGER `ソt` BEFORE INSERT ON t FOR EACH ROW "
        "SET @a = 'ソ', @`チ` = '表'"
    ),
    (
        "CREATE DEFINER=`ソ`@`localhost` EVENT `ソe` ON SCHEDULE EVERY 1 DAY "
        "STARTS '2036-01-01' COMMENT 'ソ''' DO SET @a = 'ソ', @`チ` = '表'"
    ),
    "CREATE VIEW `ソv` AS SELECT 'ソ' AS `チ`, id AS `表` FROM t",
    b"SET NAMES latin1",
    b"CREATE DEFINER=`\xe9`@`localhost` VIEW `v\xe9` AS SELECT '\xe9' AS `\xe9` FROM t",
    (
        b"CREATE DEFINER=`\xe9`@`localhost` PROCEDURE `\xe9` (`\xe9` INT, x ENUM('\xe9')) "
        b"COMMENT '\xe9\\'\\\\n\\r\\0\\Z\t\"' SELECT '\xe9'"
    ),
    b"SET NAMES utf8mb4",
)
BODIES = (
    b"CREATE TABLE t (id INT PRIMARY KEY, n INT)",
    b"CREATE PROCEDURE nul() BEGIN /* \0 ;; \nDELIMITER ;;\n\n */ SELECT 'a\0b;;'; --\x01x\n END",
    b"CREATE PROCEDURE comment() COMMENT '\xc3\xa9\\'\\\\n\\r\\0\\Z\t\"' SELECT '\xc3\xa9'",
    b"CREATE TRIGGER IF NOT EXISTS shop.t1 AFTER UPDATE ON shop.t FOR EACH ROW SET @b = 1",
    (
        b"CREATE OR REPLACE TRIGGER shop.a0 AFTER UPDATE ON shop.t FOR EACH ROW "
        b"/* x */ PRECEDES t1 SET @b = ';;'"
    ),
    b"CREATE DEFINER=nobody@nowhere TRIGGER a2 AFTER UPDATE ON t FOR EACH ROW SET @b = 2",
    b"SET sql_mode = 'ORACLE'",
    b'CREATE DEFINER=nobody@nowhere PACKAGE "p\xc3\xa9" AS PROCEDURE a; END',
    (
        b'CREATE DEFINER=nobody@nowhere PACKAGE BODY "p\xc3\xa9" AS '
        b"PROCEDURE a AS BEGIN SELECT 1; END; END"
    ),
    b"CREATE TRIGGER oracle BEFORE UPDATE ON t FOR EACH ROW BEGIN :NEW.n := 5; END",
    b'CREATE EVENT "an oracle" ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1; END',
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
    b"CREATE TABLE uncounted (a INT) COMMENT=' AUTO_INCREMENT=5 '",
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
        b"CREATE TABLE past (x INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 1 DAY "
        b"STARTS '2026-01-01 00:00:00' AUTO PARTITIONS 3"
    ),
    b"CREATE SEQUENCE round START WITH 1 MINVALUE 1 MAXVALUE 3 CYCLE NOCACHE",
    b"CREATE SEQUENCE ended START WITH 1 MINVALUE 1 MAXVALUE 2 CACHE 2",
    (
        b"CREATE SEQUENCE down START WITH -1 MINVALUE -90 MAXVALUE 5 INCREMENT -7 NOCACHE "
        b"COMMENT 'it''s' ENGINE=Aria"
    ),
    b"SELECT NEXTVAL(round), NEXTVAL(ended), NEXTVAL(down)",
    b"SELECT NEXTVAL(round), NEXTVAL(ended)",
    b"SELECT NEXTVAL(round)",
    b"SELECT NEXTVAL(round)",
    b"CREATE TABLE shop (shop INT DEFAULT NEXTVAL(shop.down), KEY shop (shop))",
    b"CREATE VIEW nexts AS SELECT NEXTVAL(shop.round) AS n, t.shop FROM shop.shop t",
)
KEYS = (
    "CREATE TABLE parents (id INT PRIMARY KEY, a INT, b INT, UNIQUE KEY pair (a, b))",
    (
        "CREATE TABLE plain (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(20) "
        "COMMENT '), KEY `x` (`a`)', `KEY ``x`` (``a``),` INT, g GEOMETRY NOT NULL, t TEXT, "
        "UNIQUE KEY u (b), KEY `a, (b` (a, b(3) DESC) COMMENT 'it''s, KEY (', SPATIAL KEY s (g), "
        "FULLTEXT KEY f (t), KEY hidden (a) IGNORED, CHECK (a <> ',KEY `b` (`a`)'), "
        "CONSTRAINT `up, FOREIGN KEY` FOREIGN KEY (a, id) REFERENCES parents (a, b) "
        "ON DELETE CASCADE, "
        "CONSTRAINT self FOREIGN KEY (a) REFERENCES plain (id)) COMMENT=', KEY `z` (`z`)'"
    ),
    "CREATE TABLE counted (id INT PRIMARY KEY, n INT AUTO_INCREMENT, x INT, KEY (n), KEY (x))",
    "CREATE TABLE without (a INT NOT NULL, b INT, UNIQUE KEY (a), KEY (b))",
    "CREATE TABLE hashed (id INT PRIMARY KEY, t TEXT, b INT, UNIQUE KEY (t), KEY (b))",
    "CREATE TABLE whole (id INT PRIMARY KEY, a INT, KEY (a)) PARTITION BY HASH (id) PARTITIONS 2",
    "CREATE TABLE other (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=Aria",
    "CREATE TABLE bare (id INT PRIMARY KEY, a INT)",
)


@pytest.fixture
def server(any_mariadb: ScratchServer) -> Iterator[Server]:
    """Return a session on a MariaDB with empty databases `shop` and `trap`."""
    with shop_and_trap(any_mariadb) as opened:
        yield opened


@pytest.fixture
def anywhere(any_server: ScratchServer) -> Iterator[Server]:
    """Return the same, on MySQL too."""
    with shop_and_trap(any_server) as opened:
        yield opened


def test_every_trap_is_created_again_and_equal(server: Server) -> None:
    for script in SCRIPTS:
        load_script(server, "trap", SUPPORT / script)
    seen = portrait(server, "trap")
    options = schema.need_database(server, "trap")
    before, after = again(server, "trap")
    assert after == before
    assert len(before) > 200
    server.run(f"ALTER DATABASE trap COLLATE {options.collation}")
    lost = different(seen, portrait(server, "trap"))
    assert {name for name in lost if not name.startswith(("rows of", "checksum of"))} == set()


@pytest.mark.parametrize("any_mariadb", [SYSTEMS_OWN], indirect=True)
def test_what_does_not_name_its_schema_can_be_created_in_another(server: Server) -> None:
    for script in SCRIPTS:
        load_script(server, "trap", SUPPORT / script)
    found = read(server, "trap")
    free = [definition for definition in found if definition.name not in NAMING]
    server.run("CREATE DATABASE copy CHARACTER SET sjis")
    build(server, "copy", free)
    enable_events(server, "copy", free)
    assert list(read(server, "copy")) == free
    server.run("DROP DATABASE trap")
    assert list(read(server, "copy")) == free


def test_objects_of_clients_with_other_character_sets_come_back(anywhere: Server) -> None:
    settings = "SELECT @@character_set_client, @@character_set_results, @@sql_mode"
    as_before = anywhere.query(settings)
    for sql in OTHER_CLIENTS:
        anywhere.run_bytes(sql if isinstance(sql, bytes) else sql.encode("shift_jis"))
    before, after = again(anywhere, "shop")
    assert after == before
    # MySQL cannot read one of the views itself.
    assert len(before) == (8 if anywhere.is_mariadb else 7)
    assert anywhere.query(settings) == as_before


@pytest.mark.parametrize("statements", [BODIES, TABLES])
def test_odd_texts_come_back(server: Server, statements: tuple[bytes, ...]) -> None:
    send(server, statements)
    before, after = again(server, "shop")
    assert after == before


def test_a_table_option_alone_is_taken_for_its_auto_increment(server: Server) -> None:
    send(server, TABLES)
    found = {definition.name: definition for definition in read(server, "shop")}
    assert found["counted"].extra == {"auto_increment": "77"}
    assert found["counted"].text.count(b" AUTO_INCREMENT=5 ") == 2
    assert found["uncounted"].extra == {}
    assert b" AUTO_INCREMENT=5 " in found["uncounted"].text


def test_sequences_go_on_where_they_stood(server: Server) -> None:
    send(server, TABLES)
    again(server, "shop")
    server.run("USE shop")
    assert server.query("SELECT NEXTVAL(round), NEXTVAL(down)") == [(2, -8)]
    assert server.query("SELECT cycle_count FROM round") == [(1,)]
    with pytest.raises(QueryFailed, match="run out"):
        server.run("SELECT NEXTVAL(ended)")


def test_triggers_of_all_six_timings_keep_their_order(anywhere: Server) -> None:
    anywhere.run("CREATE TABLE t (id INT)")
    for number in (3, 1, 2):
        for timing in ("BEFORE", "AFTER"):
            for event in ("INSERT", "UPDATE", "DELETE"):
                name = f"{timing}_{event}_{number}"
                anywhere.run(f"CREATE TRIGGER {name} {timing} {event} ON t FOR EACH ROW SET @a = 1")
    sql = "SELECT TRIGGER_NAME, ACTION_ORDER FROM information_schema.TRIGGERS ORDER BY 1"
    orders = anywhere.query(sql)
    before, after = again(anywhere, "shop")
    assert after == before
    assert anywhere.query(sql) == orders
    assert ("AFTER_DELETE_3", 1) in orders


def test_events_are_created_switched_off_and_then_as_they_were(anywhere: Server) -> None:
    run_all(
        anywhere,
        "shop",
        (
            "SET timestamp = 1600000000, time_zone = '+03:00'",
            "CREATE EVENT gone ON SCHEDULE AT '2020-09-14 00:00:00' DO SET @a = 1",
            "CREATE EVENT gone_off ON SCHEDULE AT '2020-09-14 00:00:00' DISABLE DO SET @a = 1",
            (
                "CREATE EVENT often ON SCHEDULE EVERY 1 SECOND ENDS '2030-01-01 00:00:00' "
                "COMMENT ' ON COMPLETION PRESERVE ENABLE DO ' DO INSERT INTO ticks VALUES (1)"
            ),
            "CREATE EVENT replica ON SCHEDULE EVERY 1 DAY DISABLE ON SLAVE DO SET @a = 1",
            (
                "CREATE DEFINER=nobody@nowhere EVENT foreigner ON SCHEDULE EVERY 1 DAY "
                "STARTS '2036-01-01 00:00:00' DO SET @a = 1"
            ),
            "SET timestamp = DEFAULT, time_zone = '+00:00'",
        ),
    )
    before = read(anywhere, "shop")
    status = "SELECT EVENT_NAME, STATUS FROM information_schema.EVENTS ORDER BY 1"
    as_they_were = anywhere.query(status)
    aside = "SLAVESIDE_DISABLED" if anywhere.is_mariadb else "REPLICA_SIDE_DISABLED"
    anywhere.run("DROP DATABASE shop")
    anywhere.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
    build(anywhere, "shop", before)
    assert {state for _, state in anywhere.query(status)} == {"DISABLED", aside}
    enable_events(anywhere, "shop", before)
    assert anywhere.query(status) == as_they_were
    assert {state for _, state in as_they_were} == {"ENABLED", "DISABLED", aside}
    assert read(anywhere, "shop") == before
    assert anywhere.value("SELECT ABS(UNIX_TIMESTAMP() - @@timestamp) < 3600") == 1
    assert anywhere.value("SELECT YEAR(NOW()) > 2020") == 1


def test_views_on_views_are_created_whatever_their_names(anywhere: Server) -> None:
    run_all(
        anywhere,
        "shop",
        (
            "CREATE TABLE base (id INT)",
            "CREATE VIEW z AS SELECT id FROM base",
            "CREATE ALGORITHM=TEMPTABLE SQL SECURITY INVOKER VIEW m AS SELECT id FROM z",
            "CREATE DEFINER=nobody@nowhere SQL SECURITY INVOKER VIEW a AS SELECT id FROM m",
        ),
    )
    before, after = again(anywhere, "shop")
    assert after == before
    assert [found.name for found in before] == ["base", "a", "m", "z"]


def test_a_broken_view_is_left_out(anywhere: Server) -> None:
    run_all(
        anywhere,
        "shop",
        (
            "CREATE TABLE base (id INT)",
            "CREATE VIEW broken AS SELECT id FROM base",
            "CREATE VIEW fine AS SELECT 1 AS one",
            "DROP TABLE base",
        ),
    )
    assert [found.name for found in read(anywhere, "shop")] == ["fine"]


def test_a_view_that_never_can_be_created_is_named(anywhere: Server) -> None:
    run_all(
        anywhere, "shop", ("CREATE TABLE base (id INT)", "CREATE VIEW v AS SELECT id FROM base")
    )
    views = [found for found in read(anywhere, "shop") if found.kind == "view"]
    anywhere.run("DROP TABLE shop.base")
    with pytest.raises(LoadFailed, match="view v could not be created") as caught:
        create_views(anywhere, "trap", views)
    assert caught.value.hint


def test_the_database_keeps_its_collation_when_an_object_remembers_another(
    anywhere: Server,
) -> None:
    anywhere.run("CREATE PROCEDURE p() SELECT 1")
    before = read(anywhere, "shop")
    anywhere.run("ALTER DATABASE trap COLLATE latin1_german1_ci")
    create(anywhere, "trap", before[0])
    assert read(anywhere, "trap") == before
    with pytest.raises(LoadFailed):
        create(anywhere, "trap", replace(before[0], text=b"CREATE PROCEDURE nonsense"))
    options = schema.need_database(anywhere, "trap")
    assert options.collation == "latin1_german1_ci"


def test_a_session_is_given_back_as_it_was(server: Server) -> None:
    send(server, BODIES)
    variables = (
        "SHOW SESSION VARIABLES "
        "WHERE Variable_name NOT LIKE '%timestamp' AND Variable_name NOT LIKE '%gtid%'"
    )
    found = read(server, "shop")
    server.run("DROP DATABASE shop")
    server.run("CREATE DATABASE shop CHARACTER SET utf8mb4")
    server.run("USE trap")
    before = server.query(variables)
    build(server, "shop", found)
    assert server.query(variables) == before
    assert server.value("SELECT DATABASE()") == "trap"


def test_digests_leave_positions_out_and_nothing_else(server: Server) -> None:
    send(server, TABLES)
    found = {definition.name: definition for definition in read(server, "shop")}
    digests = {name: digest_bytes(definition) for name, definition in found.items()}
    assert len(set(digests.values())) == len(digests)
    server.run("INSERT INTO shop.counted (a) VALUES (1)")
    server.run("SELECT NEXTVAL(shop.round)")
    server.run("ALTER TABLE shop.uncounted COMMENT 'another'")
    now = {found.name: digest_bytes(found) for found in read(server, "shop")}
    assert {name for name in now if now[name] != digests[name]} == {"uncounted"}
    view = found["nexts"]
    assert digest_bytes(replace(view, charset_client="latin1")) != digests["nexts"]


def test_keys_that_can_wait_are_split_off_and_give_the_same_table(server: Server) -> None:
    run_all(server, "shop", KEYS)
    tables = [found for found in read(server, "shop") if found.kind == "table"]
    server.run("USE trap")
    deferred = {found.name: deferrable(server, "trap", found) for found in tables}
    assert server.query("SHOW TABLES") == []
    # Foreign keys come last, when the tables they point to are there.
    later: list[bytes] = []
    for found in tables:
        text, alters = deferred[found.name] or (found.text, [])
        create(server, "trap", replace(found, text=text))
        later += alters
    for alter in sorted(later, key=adds_foreign_keys):
        run(server, "trap", alter)
    assert [found for found in read(server, "trap") if found.kind == "table"] == tables
    assert {name for name, steps in deferred.items() if steps} == {
        "parents", "plain", "counted", "without", "hashed",
    }  # fmt: skip
    text, alters = deferred["plain"] or (b"", [])
    assert [adds_foreign_keys(alter) for alter in alters] == [False, True]
    assert (text.count(b"\n  KEY"), text.count(b"\n  FULLTEXT"), text.count(b"FOREIGN KEY (")) == (
        0, 1, 0,
    )  # fmt: skip


def test_a_table_that_is_there_is_never_touched_to_try_its_keys(server: Server) -> None:
    run_all(server, "shop", KEYS)
    server.run("INSERT INTO parents VALUES (1, 1, 1)")
    parents = next(found for found in read(server, "shop") if found.name == "parents")
    assert split_keys(parents.text) is not None
    assert deferrable(server, "shop", parents) is None
    assert server.query("SELECT COUNT(*) FROM shop.parents") == [(1,)]


@pytest.mark.parametrize("any_mariadb", [SYSTEMS_OWN], indirect=True)
def test_the_keys_of_every_trap_come_back_where_they_are_deferred(server: Server) -> None:
    load_script(server, "trap", SUPPORT / "trap_schema.sql")
    tables = [found for found in read(server, "trap") if found.kind == "table"]
    splits = {found.name for found in tables if split_keys(found.text)}
    assert {"trap_indexes", "trap_types", "trap_tree"} <= splits
    assert {found.name for found in tables if deferrable(server, "shop", found)} == splits
