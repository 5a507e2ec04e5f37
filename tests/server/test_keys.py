"""Ranges of keys: whatever the type and the collation, each row lies in exactly one range."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.server import MYSQL, SYSTEMS_OWN, fresh_database, run_all
from ulasis_backup.mysql.keys import Boundary, Key, condition, literal, table_key
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

LETTERS = st.text(alphabet="aAäÄbßsS zZ\\'\"%\x00é漢😀", max_size=4)
MOMENT = st.datetimes().map(lambda moment: moment.isoformat(" "))
TYPES: dict[str, st.SearchStrategy[object]] = {
    "INT": st.integers(-(2**31), 2**31 - 1),
    "BIGINT UNSIGNED": st.integers(2**63 - 3, 2**64 - 1),
    "DECIMAL(20,5)": st.decimals(-(10**9), 10**9, places=5),
    "DATE": st.dates().map(str),
    "DATETIME(6)": MOMENT,
    "TIME(3)": st.integers(-3020399, 3020399).map(str),
    "BINARY(3)": st.binary(max_size=3),
    "VARBINARY(8)": st.binary(max_size=8),
    "VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_swedish_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf16 COLLATE utf16_general_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET sjis": LETTERS,
    "CHAR(9) CHARACTER SET ucs2": LETTERS,
}
OF_MARIADB: dict[str, st.SearchStrategy[object]] = {
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_nopad_ci": LETTERS,
}
OF_MYSQL: dict[str, st.SearchStrategy[object]] = {
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin": LETTERS,
    "CHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_ja_0900_as_cs_ks": LETTERS,
    "VARCHAR(9) CHARACTER SET gb18030": LETTERS,
}


@pytest.fixture(scope="module")
def keyed(any_server: ScratchServer) -> Iterator[tuple[Server, str]]:
    """Return a session and a database that all examples of this file share."""
    with connect(any_server.login) as server, fresh_database(any_server.login) as database:
        yield server, database


def shown(kind: str) -> str:
    """Return the SELECT expression that gives *kind*'s values as row packets hold them."""
    return "HEX({})" if "CHAR" in kind or "BINARY" in kind else "HEX(CAST({} AS CHAR))"


def read(server: Server, table: str, kinds: list[str], *, where: str, order: str) -> list[Boundary]:
    """Return the keys of the rows that satisfy *where*, in order."""
    listed = ", ".join(shown(kind).format(f"k{n}") for n, kind in enumerate(kinds))
    clause = f" WHERE {where}" if where else ""
    rows = server.query(f"SELECT {listed} FROM {table}{clause} ORDER BY {order}")
    return [tuple(bytes.fromhex(str(value)) for value in row) for row in rows]


def ranges_cover(
    server: Server, table: str, kinds: list[str], *, key: Key, chosen: list[int]
) -> None:
    """Assert that the ranges between the *chosen* rows hold all rows once, in order."""
    everything = read(server, table, kinds, where="", order=key.order)
    at = sorted({number % len(everything) for number in chosen} - {0}) if everything else []
    # A boundary stays one when its row is gone.
    gone = at[: len(at) // 2]
    for number in gone:
        same = [
            f"{quote(column.name)} = {literal(column, value)}"
            for column, value in zip(key.columns, everything[number], strict=True)
        ]
        server.run(f"DELETE FROM {table} WHERE {' AND '.join(same)}")
    left = [row for number, row in enumerate(everything) if number not in gone]
    bounds = [None, *(everything[number] for number in at), None]
    parts = [
        read(server, table, kinds, where=condition(key, begin, end), order=key.order)
        for begin, end in pairwise(bounds)
    ]
    assert [row for part in parts for row in part] == left
    short = [None, *(everything[number][:1] for number in at[1:2]), None]
    parts = [
        read(server, table, kinds, where=condition(key, begin, end), order=key.order)
        for begin, end in pairwise(short)
    ]
    assert [row for part in parts for row in part] == left


def ranges_of(keyed: tuple[Server, str], kind: str, values: st.SearchStrategy[object]) -> None:
    """Assert for tables with a key of *kind* that each row lies in exactly one range."""
    server, database = keyed
    table = f"{quote(database)}.{quote(kind[:60])}"
    server.run(f"CREATE TABLE {table} (k0 {kind} PRIMARY KEY)")
    key = table_key(server, database, kind[:60])
    assert key is not None
    assert key.cuttable

    @settings(max_examples=20, deadline=None)
    @given(values=st.lists(values, max_size=12), chosen=st.lists(st.integers(0, 99)))
    def check(values: list[object], chosen: list[int]) -> None:
        server.run(f"DELETE FROM {table}")
        for value in values:
            server.run(f"INSERT IGNORE INTO {table} VALUES (%s)", (value,))
        ranges_cover(server, table, [kind], key=key, chosen=chosen)

    check()


@pytest.mark.parametrize("kind", TYPES | OF_MARIADB)
@pytest.mark.parametrize("any_server", [SYSTEMS_OWN], indirect=True)
def test_each_row_is_in_exactly_one_range(keyed: tuple[Server, str], kind: str) -> None:
    ranges_of(keyed, kind, (TYPES | OF_MARIADB)[kind])


@pytest.mark.parametrize("kind", OF_MYSQL | dict(list(TYPES.items())[::3]))
@pytest.mark.parametrize("any_server", [MYSQL], indirect=True)
def test_each_row_is_in_exactly_one_range_on_mysql(keyed: tuple[Server, str], kind: str) -> None:
    ranges_of(keyed, kind, (TYPES | OF_MYSQL)[kind])


def test_ranges_between_dates_that_no_calendar_has(keyed: tuple[Server, str]) -> None:
    server, database = keyed
    table = f"{quote(database)}.dates"
    server.run(f"CREATE TABLE {table} (k0 DATE, k1 DATETIME(6), PRIMARY KEY (k0, k1))")
    key = table_key(server, database, "dates")
    assert key is not None
    before = server.value("SELECT @@sql_mode")
    server.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
    server.run(
        f"INSERT INTO {table} VALUES ('0000-00-00', '0000-00-00'), ('2020-02-31', '0000-02-30'), "
        "('2020-02-31', '2021-02-29 10:00:00.000001'), ('2020-00-15', '2020-06-00'), "
        "('2020-02-30', '2020-01-01'), ('0000-02-31', '9999-12-31'), ('9999-12-31', '2020-01-01')"
    )
    server.run("SET SESSION sql_mode = %s", (before,))
    everything = read(server, table, ["DATE", "DATETIME(6)"], where="", order=key.order)
    for number, boundary in enumerate(everything):
        first, second = (
            read(server, table, ["DATE", "DATETIME(6)"], where=where, order=key.order)
            for where in (condition(key, None, boundary), condition(key, boundary, None))
        )
        assert (first, second) == (everything[:number], everything[number:])


@pytest.mark.parametrize(
    "kinds",
    [
        ("INT", "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
        ("VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci", "DATETIME(6)", "INT"),
    ],
)
def test_ranges_of_a_key_with_several_columns(
    keyed: tuple[Server, str], kinds: tuple[str, ...]
) -> None:
    server, database = keyed
    name = f"several {len(kinds)}"
    table = f"{quote(database)}.{quote(name)}"
    columns = ", ".join(f"k{n} {kind}" for n, kind in enumerate(kinds))
    order = ", ".join(f"k{n}" for n in range(len(kinds)))
    server.run(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({order}))")
    key = table_key(server, database, name)
    assert key is not None
    # Few values, so that rows share the first columns of their keys.
    few = [st.sampled_from([1, 2, 3]) if kind == "INT" else TYPES[kind] for kind in kinds]
    few[0] = st.sampled_from(["1", "2", "3"])

    @settings(max_examples=30, deadline=None)
    @given(rows=st.lists(st.tuples(*few), max_size=14), chosen=st.lists(st.integers(0, 99)))
    def check(rows: list[tuple[object, ...]], chosen: list[int]) -> None:
        server.run(f"DELETE FROM {table}")
        marks = ", ".join(["%s"] * len(kinds))
        for row in rows:
            server.run(f"INSERT IGNORE INTO {table} VALUES ({marks})", row)
        ranges_cover(server, table, list(kinds), key=key, chosen=chosen)

    check()


def test_which_key_a_table_is_read_by(keyed: tuple[Server, str]) -> None:
    server, database = keyed
    hidden = "IGNORED" if server.is_mariadb else "INVISIBLE"
    run_all(
        server,
        database,
        [
            "CREATE TABLE none (a INT, KEY (a))",
            "CREATE TABLE nullable (a INT, UNIQUE (a))",
            "CREATE TABLE prefix (a VARCHAR(99) NOT NULL, UNIQUE (a(3)))",
            "CREATE TABLE second (a INT, b INT NOT NULL, UNIQUE na (a), UNIQUE nb (b))",
            "CREATE TABLE two (a INT NOT NULL, b INT NOT NULL, UNIQUE (b), PRIMARY KEY (a))",
            "CREATE TABLE first (a INT NOT NULL, b INT NOT NULL, UNIQUE z (a), UNIQUE y (b))",
            f"CREATE TABLE hid (a INT NOT NULL, b INT NOT NULL, UNIQUE z (b), UNIQUE (a) {hidden})",
            "CREATE TABLE labels (a ENUM('x','y') PRIMARY KEY)",
            "CREATE TABLE floats (a DOUBLE PRIMARY KEY)",
            "CREATE TABLE `odd ``%s` (`k ``%s` INT PRIMARY KEY)",
        ],
    )
    keys = {
        name: table_key(server, database, name)
        for name in (
            "none",
            "nullable",
            "prefix",
            "second",
            "two",
            "labels",
            "floats",
            "odd `%s",
            "first",
            "hid",
        )
    }
    assert (keys["none"], keys["nullable"], keys["prefix"]) == (None, None, None)
    found = {name: (key.index, key.order, key.cuttable) for name, key in keys.items() if key}
    assert found == {
        "second": ("nb", "`b`", True),
        "first": ("z", "`a`", True),
        "hid": ("z", "`b`", True),
        "two": ("PRIMARY", "`a`", True),
        "labels": ("PRIMARY", "`a`", False),
        "floats": ("PRIMARY", "`a`", False),
        "odd `%s": ("PRIMARY", "`k ``%s`", True),
    }


def test_a_key_with_an_expression_orders_nothing(mysql_server: ScratchServer) -> None:
    with connect(mysql_server.login) as server, fresh_database(mysql_server.login) as database:
        statements = [
            "CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, UNIQUE x ((a + 1)), UNIQUE y (b, a))",
            "CREATE TABLE u (a INT NOT NULL, UNIQUE x ((a + 1)))",
            "SET SESSION sql_generate_invisible_primary_key = ON",
            "CREATE TABLE added (a INT)",
        ]
        run_all(server, database, statements)
        found = [table_key(server, database, name) for name in ("t", "u", "added")]
        assert [key and key.order for key in found] == ["`b`, `a`", None, "`my_row_id`"]


def test_a_range_of_a_key_is_found_by_the_index(keyed: tuple[Server, str]) -> None:
    server, database = keyed
    values = ", ".join(f"('{number:04}', 1)" for number in range(2000))
    collation = "CHARACTER SET latin1 COLLATE latin1_german1_ci"
    run_all(
        server,
        database,
        [
            f"CREATE TABLE large (a VARCHAR(20) {collation}, b INT, PRIMARY KEY (a, b))",
            f"INSERT INTO large VALUES {values}",
            "ANALYZE TABLE large",
        ],
    )
    key = table_key(server, database, "large")
    assert key is not None
    where = condition(key, (b"0500", b"1"), (b"0600", b"1"))
    server.run("FLUSH STATUS")
    counted = server.value(f"SELECT COUNT(*) FROM {quote(database)}.large WHERE {where}")
    read_rows = sum(
        int(value) for _, value in server.query("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    )
    assert counted == 100
    assert read_rows < 300


def test_a_year_orders_rows_and_cuts_none(server: Server, database: str) -> None:
    server.run(f"CREATE TABLE {quote(database)}.y (a INT, b YEAR, PRIMARY KEY (a, b))")
    key = table_key(server, database, "y")
    assert key is not None
    assert (key.order, key.cuttable) == ("`a`, `b`", False)
