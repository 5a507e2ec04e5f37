"""Ranges of keys: whatever the type and the collation, each row lies in exactly one range."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.server import fresh_database, run_all
from ulasis_backup.mysql.keys import Boundary, Key, condition, literal, table_key
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

LETTERS = st.text(alphabet="aAäÄbßsS zZ\\'\"%\x00é漢😀", max_size=4)
MOMENT = st.datetimes().map(lambda moment: moment.isoformat(" "))
TYPES: dict[str, st.SearchStrategy[object]] = {
    "INT": st.integers(-(2**31), 2**31 - 1),
    "BIGINT UNSIGNED": st.integers(2**63 - 3, 2**64 - 1),
    "YEAR": st.integers(1901, 2155),
    "DECIMAL(20,5)": st.decimals(-(10**9), 10**9, places=5),
    "DATE": st.dates().map(str),
    "DATETIME(6)": MOMENT,
    "TIME(3)": st.integers(-3020399, 3020399).map(str),
    "BINARY(3)": st.binary(max_size=3),
    "VARBINARY(8)": st.binary(max_size=8),
    "VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_nopad_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb3 COLLATE utf8mb3_swedish_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf16 COLLATE utf16_general_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET sjis": LETTERS,
    "CHAR(9) CHARACTER SET ucs2": LETTERS,
}


@pytest.fixture(scope="module")
def keyed(scratch: ScratchServer) -> Iterator[tuple[Server, str]]:
    """Return a session and a database that all examples of this file share."""
    with connect(scratch.login) as server, fresh_database(scratch.login) as database:
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


@pytest.mark.parametrize("kind", TYPES)
def test_each_row_is_in_exactly_one_range(keyed: tuple[Server, str], kind: str) -> None:
    server, database = keyed
    table = f"{quote(database)}.{quote(kind[:60])}"
    server.run(f"CREATE TABLE {table} (k0 {kind} PRIMARY KEY)")
    key = table_key(server, database, kind[:60])
    assert key is not None
    assert key.cuttable

    @settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(values=st.lists(TYPES[kind], max_size=12), chosen=st.lists(st.integers(0, 99)))
    def check(values: list[object], chosen: list[int]) -> None:
        server.run(f"DELETE FROM {table}")
        for value in values:
            server.run(f"INSERT IGNORE INTO {table} VALUES (%s)", (value,))
        ranges_cover(server, table, [kind], key=key, chosen=chosen)

    check()


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


def test_which_key_a_table_is_read_by(server: Server, database: str) -> None:
    run_all(
        server,
        database,
        [
            "CREATE TABLE none (a INT, KEY (a))",
            "CREATE TABLE nullable (a INT, UNIQUE (a))",
            "CREATE TABLE prefix (a VARCHAR(99) NOT NULL, UNIQUE (a(3)))",
            "CREATE TABLE second (a INT, b INT NOT NULL, UNIQUE na (a), UNIQUE nb (b))",
            "CREATE TABLE two (a INT NOT NULL, b INT NOT NULL, UNIQUE (b), PRIMARY KEY (a))",
            "CREATE TABLE labels (a ENUM('x','y') PRIMARY KEY)",
            "CREATE TABLE floats (a DOUBLE PRIMARY KEY)",
            "CREATE TABLE `odd ``%s` (`k ``%s` INT PRIMARY KEY)",
        ],
    )
    keys = {
        name: table_key(server, database, name)
        for name in ("none", "nullable", "prefix", "second", "two", "labels", "floats", "odd `%s")
    }
    assert (keys["none"], keys["nullable"], keys["prefix"]) == (None, None, None)
    found = {name: (key.index, key.order, key.cuttable) for name, key in keys.items() if key}
    assert found == {
        "second": ("nb", "`b`", True),
        "two": ("PRIMARY", "`a`", True),
        "labels": ("PRIMARY", "`a`", False),
        "floats": ("PRIMARY", "`a`", False),
        "odd `%s": ("PRIMARY", "`k ``%s`", True),
    }


def test_a_range_of_a_key_is_found_by_the_index(server: Server, database: str) -> None:
    values = ", ".join(f"('{number:04}', 1)" for number in range(2000))
    collation = "CHARACTER SET latin1 COLLATE latin1_german1_ci"
    run_all(
        server,
        database,
        [
            f"CREATE TABLE t (a VARCHAR(20) {collation}, b INT, PRIMARY KEY (a, b))",
            f"INSERT INTO t VALUES {values}",
            "ANALYZE TABLE t",
        ],
    )
    key = table_key(server, database, "t")
    assert key is not None
    where = condition(key, (b"0500", b"1"), (b"0600", b"1"))
    server.run("FLUSH STATUS")
    counted = server.value(f"SELECT COUNT(*) FROM {quote(database)}.t WHERE {where}")
    read_rows = sum(
        int(value) for _, value in server.query("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    )
    assert counted == 100
    assert read_rows < 300
