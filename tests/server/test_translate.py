"""Backups of one server on another: what can go arrives exactly, what cannot is named before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from support.portable import PORTABLE
from support.server import fresh_database, run_all
from ulasis_backup.methods.index import TableHead, TableRows
from ulasis_backup.methods.target import check_on_target
from ulasis_backup.methods.translate import Translation, translate
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.columns import RowSource, row_source, rows_select
from ulasis_backup.mysql.creation import create, create_views, enable_events
from ulasis_backup.mysql.definitions import TABLE, read_definitions
from ulasis_backup.mysql.loading import loading_session
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

OLD, NEW, MYSQL = "mariadb-10.11", "mariadb-11.8", "mysql-9"
Start = Callable[[str], ScratchServer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a backup of a database would hold."""

    translation: Translation
    packets: dict[str, bytes]


@pytest.fixture(scope="module")
def old(start: Start) -> Iterator[ScratchServer]:
    with permissive(start(OLD)) as running:
        yield running


@pytest.fixture(scope="module")
def new(start: Start) -> Iterator[ScratchServer]:
    with permissive(start(NEW)) as running:
        yield running


@pytest.fixture(scope="module")
def mysql(start: Start) -> Iterator[ScratchServer]:
    with permissive(start(MYSQL)) as running:
        yield running


@contextlib.contextmanager
def permissive(running: ScratchServer) -> Iterator[ScratchServer]:
    """Let *running* create all routines and take LOAD DATA LOCAL."""
    wanted = ("log_bin_trust_function_creators", "local_infile")
    with connect(running.login) as server:
        before = [int(server.value(f"SELECT @@GLOBAL.{name}")) for name in wanted]
        for name in wanted:
            server.run(f"SET GLOBAL {name} = 1")
        yield running
        for name, value in zip(wanted, before, strict=True):
            server.run(f"SET GLOBAL {name} = {value}")


@pytest.fixture(params=[(OLD, MYSQL), (NEW, MYSQL), (MYSQL, OLD), (MYSQL, NEW)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[ScratchServer, ScratchServer]:
    names = {OLD: "old", NEW: "new", MYSQL: "mysql"}
    source, target = (request.getfixturevalue(names[name]) for name in request.param)
    return source, target


def take(source: Server, database: str, target: Server) -> Taken:
    """Read *database* as a backup does, translated for *target*."""
    found = schema.catalogue(source, database)
    definitions = read_definitions(source, database, found)
    tables, packets = [], {}
    for definition in definitions:
        if definition.kind == TABLE:
            rows = row_source(source, database, definition.name)
            tables.append(TableRows(head=TableHead(source=rows, key=None), ranges=()))
            packets[definition.name] = read(source, rows)
    translation = translate(definitions, tables, source=source.version, target=target.version)
    return Taken(translation=translation, packets=packets)


def read(server: Server, source: RowSource) -> bytes:
    """Return all rows, ordered by all columns, for many tables have no key."""
    order = ", ".join(str(number + 1) for number in range(len(source.columns)))
    sql = rows_select(source, order_by=order)
    server.run("SET SESSION character_set_results = NULL, time_zone = '+00:00'")
    try:
        return b"".join(
            piece.data for piece in read_rows(server, sql, target=1 << 20, limit=1 << 20)
        )
    finally:
        server.run("SET SESSION character_set_results = utf8mb4")


def read_back(target: Server, database: str, taken: Taken) -> dict[str, bytes]:
    """Return the packets of all tables, read as the translation says."""
    sources = [replace(table.head.source, database=database) for table in taken.translation.tables]
    return {source.table: read(target, source) for source in sources}


def put(target: Server, database: str, taken: Taken) -> None:
    """Create everything of *taken* in *database*, rows as well."""
    objects = {kind: [d for d in taken.translation.definitions if d.kind == kind] for kind in KINDS}
    for definition in objects[TABLE]:
        create(target, database, definition)
    with loading_session(target.login, database) as session:
        for table in taken.translation.tables:
            packets = taken.packets[table.head.source.table]
            if packets:
                session.loader(table.head.source).load(packets)
    for kind in KINDS[1:]:
        if kind == ObjectKind.VIEW:
            create_views(target, database, objects[kind])
            continue
        for definition in objects[kind]:
            create(target, database, definition)
    enable_events(target, database, objects[ObjectKind.EVENT])


KINDS = (
    TABLE, ObjectKind.FUNCTION, ObjectKind.PROCEDURE, ObjectKind.VIEW, ObjectKind.TRIGGER,
    ObjectKind.EVENT,
)  # fmt: skip


def hexed(server: Server, database: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every value of every column in hexadecimal, generated and invisible ones too."""
    values = {}
    for table, column, kind in server.query(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS c JOIN "
        "information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE LIKE 'BASE%%'",
        (database,),
    ):
        name = quote(column)
        # Of JSON, text in two forms of storage, the letters count.
        shown = f"HEX(CAST({name} AS CHAR CHARACTER SET utf8mb4))"
        exact = f"HEX(CAST({name} AS BINARY))" if "text" not in kind and kind != "json" else shown
        if kind == "float":
            exact = f"CAST({name} AS DOUBLE)"
        rows = server.query(f"SELECT {exact} FROM {quote(database)}.{quote(table)}")
        values[f"{table}.{column}"] = sorted(rows, key=repr)
    return values


def test_a_portable_database_arrives_in_every_value_on_the_other_flavour(
    pair: tuple[ScratchServer, ScratchServer],
) -> None:
    source_server, target_server = pair
    with (
        connect(source_server.login) as source,
        connect(target_server.login) as target,
        fresh_database(source.login) as database,
        fresh_database(target.login, "copy") as copy,
    ):
        source.run(f"ALTER DATABASE {quote(database)} COLLATE utf8mb4_general_ci")
        run_all(source, database, PORTABLE)
        taken = take(source, database, target)
        assert taken.translation.problems == ()
        assert check_on_target(target, taken.translation, database=copy) == ()
        put(target, copy, taken)
        assert hexed(target, copy) == hexed(source, database)
        assert read_back(target, copy, taken) == taken.packets
        assert target.value(f"SELECT COUNT(*) FROM {copy}.a_view") == 1
        assert (
            target.value(
                "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
                (copy,),
            )
            == 1
        )


CANNOT_GO_TO_MYSQL = {
    "sequence s": (("CREATE SEQUENCE s",), "MySQL 9.7 has no sequences"),
    "column t.a": (
        ("CREATE SEQUENCE s", "CREATE TABLE t (a INT DEFAULT NEXTVAL(s))"),
        "it needs a sequence",
    ),
    "column t.u": (("CREATE TABLE t (u UUID)",), "has no type uuid"),
    "column t.i": (("CREATE TABLE t (i INET6)",), "has no type inet6"),
    "column t.c": (
        ("CREATE TABLE t (c VARCHAR(9) COLLATE utf8mb4_uca1400_ai_ci)",),
        "collation utf8mb4_uca1400_ai_ci is unknown to MySQL 9.7",
    ),
    "column t.n": (
        ("CREATE TABLE t (n CHAR(9) CHARACTER SET latin1 COLLATE latin1_swedish_nopad_ci)",),
        "collation latin1_swedish_nopad_ci is unknown",
    ),
    "table t": (("CREATE TABLE t (a INT) WITH SYSTEM VERSIONING",), "no system-versioned tables"),
    "table p": (
        ("CREATE TABLE p (a INT, b DATE, e DATE, PERIOD FOR x (b, e))",),
        "has no periods",
    ),
    "key k of table t": (
        (
            "CREATE TABLE t (a INT, b DATE, e DATE, PERIOD FOR x (b, e))",
            "ALTER TABLE t ADD UNIQUE KEY k (a, x WITHOUT OVERLAPS)",
        ),
        "has no WITHOUT OVERLAPS",
    ),
    "key long of table t": (("CREATE TABLE t (a TEXT, UNIQUE KEY `long` (a))",), "any length"),
    "table d": (
        ("CREATE TABLE d (a INT) PARTITION BY LIST (a) (PARTITION y DEFAULT)",),
        "has no DEFAULT partition",
    ),
    "table m": (
        ("CREATE TABLE m (a INT) ENGINE=MyISAM PARTITION BY HASH (a) PARTITIONS 2",),
        "no partitions in engine MyISAM",
    ),
    "procedure o": (
        ("SET SESSION sql_mode = ORACLE", "CREATE PROCEDURE o AS BEGIN NULL; END"),
        "made with sql_mode ORACLE",
    ),
    "package g": (
        ("SET SESSION sql_mode = ORACLE", "CREATE PACKAGE g AS PROCEDURE p(); END"),
        "MySQL 9.7 has no packages",
    ),
}  # fmt: skip
CANNOT_GO_TO_MARIADB = {
    "column t.x": (
        ("CREATE TABLE t (x VARCHAR(9) COLLATE utf8mb4_ja_0900_as_cs)",),
        "collation utf8mb4_ja_0900_as_cs is unknown to MariaDB 10.11",
    ),
    "column t.g": (
        ("CREATE TABLE t (g VARCHAR(9) CHARACTER SET gb18030)",),
        "collation gb18030_chinese_ci is unknown",
    ),
    "column t.v": (("CREATE TABLE t (v VECTOR(3))",), "has no type vector"),
    "column t.h": (
        ("CREATE TABLE t (a INT, h INT NOT NULL INVISIBLE)",),
        "no invisible column that is NOT NULL without a default",
    ),
    "key u of table t": (
        ("CREATE TABLE t (a VARCHAR(9), UNIQUE KEY u ((UPPER(a))))",),
        "no unique keys over expressions",
    ),
}


@pytest.mark.parametrize("what", CANNOT_GO_TO_MYSQL)
def test_what_cannot_go_to_mysql_is_named(
    old: ScratchServer, mysql: ScratchServer, what: str
) -> None:
    statements, why = CANNOT_GO_TO_MYSQL[what]
    assert any(
        problem.startswith(f"{what}: ") and why in problem
        for problem in problems_of(old, mysql, statements)
    )


@pytest.mark.parametrize("what", CANNOT_GO_TO_MARIADB)
def test_what_cannot_go_to_mariadb_is_named(
    old: ScratchServer, mysql: ScratchServer, what: str
) -> None:
    statements, why = CANNOT_GO_TO_MARIADB[what]
    assert any(
        problem.startswith(f"{what}: ") and why in problem
        for problem in problems_of(mysql, old, statements)
    )


def problems_of(
    source_server: ScratchServer, target_server: ScratchServer, statements: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what is said to be in the way of a database that *statements* make."""
    with (
        connect(source_server.login) as source,
        connect(target_server.login) as target,
        fresh_database(source.login) as database,
    ):
        run_all(source, database, statements)
        return take(source, database, target).translation.problems


ONLY_THE_TARGET_KNOWS = (
    # Functions, limits and rules of which nothing can be told from the text.
    (OLD, MYSQL, "CREATE TABLE t (a INT DEFAULT (NVL2(1, 2, 3)))"),
    (OLD, MYSQL, "CREATE TABLE t (a DECIMAL(60,35))"),
    (OLD, MYSQL, "CREATE TABLE t (a INT, b INT AUTO_INCREMENT, KEY (a, b)) ENGINE=Aria"),
    (MYSQL, OLD, "CREATE TABLE t (a INT) ENGINE=ARCHIVE"),
    (MYSQL, OLD, "CREATE TABLE t (a INT, b VARCHAR(40) AS (BIN_TO_UUID(a)))"),
    (MYSQL, OLD, "CREATE TABLE t (a INT, b INT AS (a) STORED PRIMARY KEY)"),
)


@pytest.mark.parametrize(("origin", "goal", "statement"), ONLY_THE_TARGET_KNOWS)
def test_what_only_the_target_knows_is_found_by_a_trial_that_leaves_nothing(
    request: pytest.FixtureRequest, origin: str, goal: str, statement: str
) -> None:
    names = {OLD: "old", MYSQL: "mysql"}
    source_login, target_login = (
        request.getfixturevalue(names[name]).login for name in (origin, goal)
    )
    with (
        connect(source_login) as source,
        connect(target_login) as target,
        fresh_database(source_login) as database,
        fresh_database(target_login, "copy") as copy,
    ):
        run_all(source, database, (statement, "CREATE TABLE fine (a INT)"))
        translation = take(source, database, target).translation
        assert translation.problems == ()
        found = check_on_target(target, translation, database=copy)
        assert len(found) == 1
        assert found[0].startswith("table t: ")
        assert check_on_target(target, translation, database=copy) == found
        target.run(f"USE {quote(copy)}")
        assert target.query("SHOW TABLES") == []


CHANGED_FOR_MYSQL = (
    "CREATE TABLE a (a INT COMMENT ' PAGE_CHECKSUM=1') ENGINE=Aria TRANSACTIONAL=1 PAGE_CHECKSUM=1",
    "CREATE TABLE b (a INT, b VARCHAR(9) COMPRESSED) PAGE_COMPRESSED=1 PAGE_COMPRESSION_LEVEL=3",
    "CREATE TABLE c (a INT, CONSTRAINT twice CHECK (a < 9))",
    "CREATE TABLE d (a INT, CONSTRAINT twice CHECK (a < 8))",
    "CREATE TABLE f (a INT, b VARCHAR(9) COLLATE utf8mb4_nopad_bin, KEY k (a) IGNORED)",
    (
        "CREATE TABLE g (a TEXT DEFAULT 'a''b', b DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), "
        "c DATE DEFAULT (CURDATE()), d VARCHAR(30) DEFAULT CURRENT_TIMESTAMP(), "
        "u VARCHAR(99) DEFAULT USER())"
    ),
    "CREATE TABLE h (a VARCHAR(9) COLLATE utf8mb4_croatian_mysql561_ci) DATA DIRECTORY = '/tmp'",
    "INSERT INTO f (a, b) VALUES (1, 'x'), (2, 'x ')",
)
NOTICES_FOR_MYSQL = {
    "table a: MySQL 9.7 has no engine Aria: InnoDB takes its place",
    "table a: MySQL 9.7 has no option PAGE_CHECKSUM: it goes",
    "table a: MySQL 9.7 has no option TRANSACTIONAL: it goes",
    "table b: MySQL 9.7 has no option page_compressed: it goes",
    "table b: MySQL 9.7 has no option page_compression_level: it goes",
    "column b.b: its values are not compressed one by one there",
    (
        "constraint twice of table c, constraint twice of table d: it is given the table's name "
        "too, for MySQL wants it once in a database"
    ),
    "column f.b: collation utf8mb4_nopad_bin becomes utf8mb4_0900_bin, which is the same",
    (
        "column h.a: collation utf8mb4_croatian_mysql561_ci becomes utf8mb4_croatian_ci, "
        "which is the same"
    ),
    "table h: it lies in the server's own folder there, no DATA or INDEX DIRECTORY",
}
CHANGED_FOR_MARIADB = (
    (
        "CREATE TABLE a (a INT, v VARCHAR(9) INVISIBLE, p POINT NOT NULL SRID 4326, "
        "c GEOMETRYCOLLECTION, n INT AS (a + 1) STORED NOT NULL, KEY k (a) INVISIBLE, "
        "KEY up ((UPPER(v))), CONSTRAINT no CHECK (a > 5) NOT ENFORCED)"
    ),
    (
        "CREATE TABLE b (id INT COLUMN_FORMAT FIXED, t TEXT, FULLTEXT KEY ft (t) "
        "WITH PARSER ngram) COMPRESSION = 'zlib'"
    ),
    "CREATE TABLE c (x VARCHAR(9) COLLATE utf8mb4_de_pb_0900_ai_ci)",
    "CREATE TABLE d (x VARCHAR(9) COLLATE utf8mb4_0900_bin, y VARCHAR(9) COLLATE utf8mb4_bin)",
    "CREATE TABLE e (x VARCHAR(9) COLLATE utf8mb4_croatian_ci)",
    "INSERT INTO a (a, v, p) VALUES (1, 'x', ST_GeomFromText('POINT(1 2)', 4326))",
    "INSERT INTO d VALUES ('x', 'x'), ('x ', 'y ')",
)
UNICODE = "characters newer than Unicode 9 may compare otherwise"
NOTICES_FOR_MARIADB = {
    "column a.p: MariaDB does not hold it to SRID 4326",
    "column a.n: NOT NULL goes: MariaDB has it not on generated columns",
    "key up of table a: MariaDB has no keys over expressions: it is left out",
    "constraint no of table a: MariaDB would enforce it: it is left out",
    "column b.id: STORAGE and COLUMN_FORMAT mean nothing there",
    "key ft of table b: MariaDB has not this full-text parser: the key is left out",
    "table b: MariaDB has no option COMPRESSION like this: it goes",
    "column c.x: collation utf8mb4_de_pb_0900_ai_ci becomes utf8mb4_uca1400_german2_nopad_ai_ci; "
    + UNICODE,
    "column d.x: collation utf8mb4_0900_bin becomes utf8mb4_nopad_bin, which is the same",
    (
        "column e.x: collation utf8mb4_croatian_ci becomes utf8mb4_croatian_mysql561_ci, "
        "which is the same"
    ),
}


def test_what_is_changed_for_mysql_is_told_and_works(
    old: ScratchServer, mysql: ScratchServer
) -> None:
    missing, there = moved(old, mysql, CHANGED_FOR_MYSQL, NOTICES_FOR_MYSQL)
    assert missing == set()
    assert "KEY `k` (`a`) /*!80000 INVISIBLE */" in there["f"]
    assert "`a` text COLLATE utf8mb4_general_ci DEFAULT (_utf8mb4'a\\'b')" in there["g"]
    assert "`b` datetime(3) DEFAULT CURRENT_TIMESTAMP(3)" in there["g"]
    assert "COMMENT ' PAGE_CHECKSUM=1'" in there["a"]


def test_what_is_changed_for_mariadb_is_told_and_works(
    old: ScratchServer, mysql: ScratchServer
) -> None:
    missing, there = moved(mysql, old, CHANGED_FOR_MARIADB, NOTICES_FOR_MARIADB)
    assert missing == set()
    assert "`v` varchar(9) INVISIBLE DEFAULT NULL" in there["a"]
    assert "KEY `k` (`a`) IGNORED" in there["a"]
    assert "CHECK" not in there["a"]


def moved(
    source_server: ScratchServer,
    target_server: ScratchServer,
    statements: tuple[str, ...],
    notices: set[str],
) -> tuple[set[str], dict[str, str]]:
    """Move what *statements* make; return the notices not given, and how the tables are shown."""
    with (
        connect(source_server.login) as source,
        connect(target_server.login) as target,
        fresh_database(source.login) as database,
        fresh_database(target.login, "copy") as copy,
    ):
        source.run(f"ALTER DATABASE {quote(database)} COLLATE utf8mb4_general_ci")
        run_all(source, database, statements)
        taken = take(source, database, target)
        assert taken.translation.problems == ()
        assert check_on_target(target, taken.translation, database=copy) == ()
        put(target, copy, taken)
        assert hexed(target, copy) == hexed(source, database)
        target.run(f"USE {quote(copy)}")
        shown = {
            definition.name: target.query(f"SHOW CREATE TABLE {quote(definition.name)}")[0][1]
            for definition in taken.translation.definitions
        }
        return notices - set(taken.translation.notices), shown


OBJECTS = (
    "SET SESSION collation_connection = utf8mb4_0900_as_cs",
    "CREATE TABLE t (a VARCHAR(9) COLLATE utf8mb4_0900_as_cs PRIMARY KEY)",
    "INSERT INTO t VALUES ('x'), ('X')",
    (
        "CREATE FUNCTION f(a VARCHAR(9)) RETURNS VARCHAR(9) CHARSET utf8mb4 COLLATE "
        "utf8mb4_0900_as_cs DETERMINISTIC RETURN a"
    ),
    "CREATE VIEW v AS SELECT a, f(a) AS b FROM t WHERE a = 'x' COLLATE utf8mb4_0900_as_cs",
    "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = IF(NEW.a = 'y', 'z', NEW.a)",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01' DISABLE ON REPLICA DO SELECT 1",
)


def test_objects_keep_their_collations_on_the_other_flavour(
    old: ScratchServer, mysql: ScratchServer
) -> None:
    with (
        connect(mysql.login) as source,
        connect(old.login) as target,
        fresh_database(mysql.login) as database,
        fresh_database(old.login, "copy") as copy,
    ):
        run_all(source, database, OBJECTS)
        taken = take(source, database, target)
        assert taken.translation.problems == ()
        assert check_on_target(target, taken.translation, database=copy) == ()
        put(target, copy, taken)
        assert target.query(f"SELECT * FROM {copy}.v") == [("x", "x")]
        target.run(f"INSERT INTO {copy}.t VALUES ('y'), ('Y')")
        assert sorted(target.query(f"SELECT * FROM {copy}.t")) == [("X",), ("Y",), ("x",), ("z",)]
        assert target.query(
            "SELECT STATUS, DATABASE_COLLATION FROM information_schema.EVENTS "
            "WHERE EVENT_SCHEMA = %s",
            (copy,),
        )[0] == ("SLAVESIDE_DISABLED", "utf8mb4_uca1400_nopad_ai_ci")


VECTORS = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VECTOR(3) NOT NULL, w VECTOR(2))",
    "INSERT INTO t VALUES (1, 0x0000803F000000C0F9021550, NULL)",
    "INSERT INTO t VALUES (2, 0xCDCCCC3D0000000000000080, 0x0000000001000000)",
)


@pytest.mark.parametrize("to_mysql", [True, False])
def test_vectors_go_both_ways(new: ScratchServer, mysql: ScratchServer, *, to_mysql: bool) -> None:
    source, target = (new, mysql) if to_mysql else (mysql, new)
    extra = ("ALTER TABLE t ADD VECTOR KEY (v)",) if to_mysql else ()
    left_out = {"key v of table t: MySQL 9.7 has no such index: it is left out"}
    missing, _ = moved(source, target, (*VECTORS, *extra), left_out if to_mysql else set())
    assert missing == set()


VERSIONED = (
    "SET SESSION time_zone = '+00:00'",
    "CREATE TABLE v (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING",
    "INSERT INTO v VALUES (1, 1), (2, 2)",
    "UPDATE v SET x = 3 WHERE id = 1",
    "DELETE FROM v WHERE id = 2",
)


@pytest.mark.parametrize("forward", [True, False])
def test_rows_that_have_not_ended_have_not_ended_on_another_version_either(
    old: ScratchServer, new: ScratchServer, *, forward: bool
) -> None:
    # MariaDB 11.5 moved the end of time from 2038 to 2106.
    source_server, target_server = (old, new) if forward else (new, old)
    with (
        connect(source_server.login) as source,
        connect(target_server.login) as target,
        fresh_database(source.login) as database,
        fresh_database(target.login, "copy") as copy,
    ):
        source.run(f"ALTER DATABASE {quote(database)} COLLATE utf8mb4_general_ci")
        run_all(source, database, VERSIONED)
        taken = take(source, database, target)
        assert taken.translation.problems == ()
        assert check_on_target(target, taken.translation, database=copy) == ()
        put(target, copy, taken)
        assert read_back(target, copy, taken) == taken.packets
        assert target.query(f"SELECT * FROM {copy}.v") == [(1, 3)]
        history = "FOR SYSTEM_TIME ALL WHERE row_end < NOW(6) ORDER BY id"
        before = source.query(f"SELECT *, row_start, row_end FROM {database}.v {history}")
        assert target.query(f"SELECT *, row_start, row_end FROM {copy}.v {history}") == before
        target.run(f"UPDATE {copy}.v SET x = 4")
        assert target.value(f"SELECT COUNT(*) FROM {copy}.v FOR SYSTEM_TIME ALL") == 4


def test_what_an_older_mariadb_lacks_is_named(old: ScratchServer, new: ScratchServer) -> None:
    statements = (
        "CREATE TABLE a (v VECTOR(3) NOT NULL)",
        "CREATE TABLE b (x VARCHAR(9) COLLATE utf8mb4_0900_ai_ci)",
        "CREATE TABLE c (u UUID, i INET6, x VARCHAR(9) COLLATE utf8mb4_uca1400_ai_ci)",
    )
    with (
        connect(new.login) as source,
        connect(old.login) as target,
        fresh_database(source.login) as database,
    ):
        run_all(source, database, statements)
        translation = take(source, database, target).translation
    assert translation.problems == ("column a.v: MariaDB 10.11 has no type vector",)
    (notice,) = translation.notices
    assert notice.startswith("column b.x: collation utf8mb4_0900_ai_ci becomes utf8mb4_uca1400_")
