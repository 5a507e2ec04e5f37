"""Backups of one server on another: what can go arrives exactly, what cannot is named before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.portable import PORTABLE
from support.server import fresh_database, own_server, run_all
from ulasis_backup.methods.index import TableHead, TableRows
from ulasis_backup.methods.target import check_on_target
from ulasis_backup.methods.translate import Translation, translate
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.columns import row_source, rows_select
from ulasis_backup.mysql.creation import create, create_views, enable_events
from ulasis_backup.mysql.definitions import TABLE, read_definitions
from ulasis_backup.mysql.loading import loading_session
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

OLD, NEW, MYSQL = "mariadb-10.11", "mariadb-11.8", "mysql-9"
OPTIONS = ("--log-bin", "--server-id=1", "--log-bin-trust-function-creators=1", "--local-infile=1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a backup of a database would hold."""

    translation: Translation
    packets: dict[str, bytes]


@pytest.fixture(scope="module")
def old() -> Iterator[ScratchServer]:
    with own_server(*OPTIONS, name=OLD) as running:
        yield running


@pytest.fixture(scope="module")
def new() -> Iterator[ScratchServer]:
    with own_server(*OPTIONS, name=NEW) as running:
        yield running


@pytest.fixture(scope="module")
def mysql() -> Iterator[ScratchServer]:
    with own_server(*OPTIONS, name=MYSQL) as running:
        yield running


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
            packets[definition.name] = read(source, rows_select(rows, order_by="1"))
    translation = translate(definitions, tables, source=source.version, target=target.version)
    return Taken(translation=translation, packets=packets)


def read(server: Server, sql: str) -> bytes:
    server.run("SET SESSION character_set_results = NULL, time_zone = '+00:00'")
    try:
        return b"".join(
            piece.data for piece in read_rows(server, sql, target=1 << 20, limit=1 << 20)
        )
    finally:
        server.run("SET SESSION character_set_results = utf8mb4")


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
        for table in taken.translation.tables:
            name = table.head.source.table
            there = row_source(target, copy, name)
            assert read(target, rows_select(there, order_by="1")) == taken.packets[name], name
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
        ("CREATE TABLE t (a INT, b DATE, e DATE, PERIOD FOR x (b, e), "
         "UNIQUE KEY k (a, x WITHOUT OVERLAPS))",),
        "has no WITHOUT OVERLAPS",
    ),
    "key long of table t": (("CREATE TABLE t (a TEXT, UNIQUE KEY `long` (a))",), "any length"),
    "table d": (
        ("CREATE TABLE d (a INT) PARTITION BY LIST (a) (PARTITION x VALUES IN (1), "
         "PARTITION y DEFAULT)",),
        "has no DEFAULT partition",
    ),
    "table m": (
        ("CREATE TABLE m (a INT) ENGINE=MyISAM PARTITION BY HASH (a) PARTITIONS 2",),
        "no partitions in engine MyISAM",
    ),
    "table e": (("CREATE TABLE e (a INT) ENCRYPTED=YES",), "its files are encrypted"),
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
    (OLD, MYSQL, "CREATE TABLE t (a INT DEFAULT (NVL2(1, 2, 3)))", "table t"),
    (OLD, MYSQL, "CREATE TABLE t (a DECIMAL(60,35))", "table t"),
    (OLD, MYSQL, "CREATE TABLE t (a INT, b INT AUTO_INCREMENT, KEY (a, b)) ENGINE=Aria", "table t"),
    (MYSQL, OLD, "CREATE TABLE t (a INT) ENGINE=ARCHIVE", "table t"),
    (MYSQL, OLD, "CREATE TABLE t (a INT, b VARCHAR(40) AS (BIN_TO_UUID(a)))", "table t"),
    (MYSQL, OLD, "CREATE TABLE t (a INT, b INT AS (a) STORED PRIMARY KEY)", "table t"),
)


@pytest.mark.parametrize(("origin", "goal", "statement", "what"), ONLY_THE_TARGET_KNOWS)
def test_what_only_the_target_knows_is_found_by_a_trial_that_leaves_nothing(  # noqa: PLR0913 (fixtures)
    request: pytest.FixtureRequest, origin: str, goal: str, statement: str, what: str
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
        assert found[0].startswith(f"{what}: ")
        assert check_on_target(target, translation, database=copy) == found
        target.run(f"USE {quote(copy)}")
        assert target.query("SHOW TABLES") == []


CHANGED_FOR_MYSQL = (
    "CREATE TABLE a (a INT COMMENT ' PAGE_CHECKSUM=1') ENGINE=Aria TRANSACTIONAL=1 PAGE_CHECKSUM=1",
    "CREATE TABLE b (a INT, b VARCHAR(9) COMPRESSED) PAGE_COMPRESSED=1 PAGE_COMPRESSION_LEVEL=3",
    "CREATE TABLE c (a INT CHECK (a > 1), CONSTRAINT twice CHECK (a < 9))",
    "CREATE TABLE d (a INT, CONSTRAINT twice CHECK (a < 8))",
    "CREATE TABLE f (a INT, b VARCHAR(9) COLLATE utf8mb4_nopad_bin, KEY k (a) IGNORED)",
    "CREATE TABLE g (a TEXT DEFAULT 'a''b', b DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), "
    "c DATE DEFAULT (CURDATE()), d VARCHAR(30) DEFAULT CURRENT_TIMESTAMP(), u VARCHAR(99) "
    "DEFAULT USER())",
)
