"""Random tables, cut by their keys: no row lost or doubled at an edge, today or tomorrow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.memory import MemoryStorage
from support.server import fresh_database, run_all
from ulasis_backup.methods.index import Begin, Index, Range, TableHead, TableRows
from ulasis_backup.methods.look import RowsOptions, SeenTable, look
from ulasis_backup.methods.reading import Keep, RowsReader, order
from ulasis_backup.methods.rows import as_stored, known_objects
from ulasis_backup.model import ServerVersion
from ulasis_backup.mysql.columns import rows_select
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.wire import Packets, read_rows
from ulasis_backup.repository.objects import ObjectReader, ObjectWriter, new_epoch

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]

EVERYTHING = 8 << 20
Values = st.SearchStrategy[object]

LETTERS = st.text(alphabet="aAäÄbßsSzZ \\'\"%\x00\té漢😀", max_size=5)
DATES = st.sampled_from(
    [
        "0000-00-00",
        "2021-00-00",
        "2021-02-00",
        "2021-02-28",
        "2021-02-30",
        "2021-02-31",
        "2021-03-01",
        "2021-04-31",
        "1000-01-01",
        "9999-12-31",
    ]
) | st.dates().map(str)
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat(" "))
BIG = st.integers(2**63 - 20, 2**63 + 20) | st.integers(2**64 - 40, 2**64 - 1) | st.just(0)
KEYS: dict[str, Values] = {
    "INT": st.integers(-60, 60) | st.integers(-(2**31), 2**31 - 1),
    "TINYINT UNSIGNED ZEROFILL": st.integers(0, 255),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "BIGINT UNSIGNED": BIG,
    "YEAR": st.integers(1901, 2155) | st.just(0),
    "DECIMAL(30,10)": st.decimals(-(10**9), 10**9, places=10),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "DATE": DATES,
    "DATETIME(6)": MOMENTS | DATES,
    "TIME(3)": st.integers(-3020399, 3020399).map(lambda s: f"{'-' if s < 0 else ''}{abs(s)}.5"),
    "BINARY(3)": st.binary(max_size=3),
    "VARBINARY(8)": st.binary(max_size=8),
    "BIT(9)": st.integers(0, 511),
    "ENUM('b','a','','Z','ä')": st.sampled_from(["b", "a", "", "Z", "ä"]),
    "VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german2_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": LETTERS,
    "VARCHAR(9) CHARACTER SET utf16": LETTERS,
    "VARCHAR(9) CHARACTER SET sjis": LETTERS,
    "CHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci": LETTERS,
    "CHAR(5) CHARACTER SET binary": st.binary(max_size=5),
}
OF_MARIADB: dict[str, Values] = {
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_nopad_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin": LETTERS,
    "CHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_nopad_ci": LETTERS,
    "UUID": st.uuids().map(str),
    "INET6": st.ip_addresses(v=6).map(str),
}
OF_MYSQL: dict[str, Values] = {
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci": LETTERS,
    "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs": LETTERS,
    "CHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin": LETTERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Two sessions on one database: one that writes, one that reads as a backup does."""

    writer: Server
    reader: Server
    database: str


@pytest.fixture(scope="module")
def place(any_server: ScratchServer) -> Iterator[Place]:
    with (
        fresh_database(any_server.login, "random") as database,
        connect(any_server.login, database=database) as writer,
        connect(any_server.login) as reader,
    ):
        # Dates that are none may be in tables, whatever the mode is now.
        writer.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'")
        reader.run("SET character_set_results = NULL")
        yield Place(writer=writer, reader=reader, database=database)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A table as it was read, and its pieces put together again."""

    rows: TableRows
    data: bytes
    version: ServerVersion

    @property
    def index(self) -> Index:
        """Return what the next backup inherits."""
        begin = Begin(
            databases=(), epoch="", epoch_key="",
            flavour=self.version.flavour, version=self.version.version,
        )  # fmt: skip
        return Index(begin=begin, options={}, definitions={}, tables=(self.rows,))


def seen(place: Place, target: int) -> SeenTable:
    with connect(place.reader.login) as server:
        (table,) = look(server, [place.database], RowsOptions(target=target)).tables
    return table


def in_memory(objects: dict[str, bytes]) -> Keep:
    def keep(packets: Packets, base: Range | None) -> Range:
        del base
        name = hashlib.sha256(packets.data).hexdigest()
        objects[name] = packets.data
        return Range(
            rows=packets.rows, bytes=len(packets.data), fingerprint=name, name=f"{name}-00000000"
        )

    return keep


def read(place: Place, before: Kept | None, target: int) -> Kept:
    """Read the only table as a backup does, cut into pieces of *target* bytes."""
    objects: dict[str, bytes] = {}
    reader = RowsReader(
        [place.reader],
        in_memory(objects),
        before=before.index if before else None,
        options=RowsOptions(target=target),
    )
    (rows,) = reader.read([seen(place, target)])
    data = b"".join(objects[part.fingerprint] for part in rows.ranges)
    return Kept(rows=rows, data=data, version=place.reader.version)


def plain(place: Place, head: TableHead) -> Packets:
    """Return all rows as one query gives them."""
    sql = rows_select(head.source, order_by=order(head))
    pieces = list(read_rows(place.reader, sql, target=EVERYTHING, limit=EVERYTHING))
    assert len(pieces) <= 1
    return pieces[0] if pieces else Packets(data=b"", rows=0)


def expect_whole(place: Place, found: Kept) -> None:
    """Expect every row once, in order, and boundaries that are the keys of first rows."""
    wanted = plain(place, found.rows.head)
    assert found.rows.rows == wanted.rows
    if found.rows.head.key is None:
        return
    assert found.data == wanted.data
    assert [part.begin is None for part in found.rows.ranges[:1]] == [True] * bool(wanted.rows)


def kinds_of(server: Server) -> dict[str, Values]:
    return KEYS | (OF_MARIADB if server.is_mariadb else OF_MYSQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """A random table: kinds of its key's columns, first rows, and changes by row number."""

    kinds: tuple[str, ...]
    engine: str
    primary: bool
    target: int
    rows: list[tuple[object, ...]]
    changes: list[tuple[str, int, tuple[object, ...]]]


def random_tables(server: Server) -> st.SearchStrategy[Random]:
    kinds = kinds_of(server)
    several = st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3)

    def of(chosen: list[str]) -> st.SearchStrategy[Random]:
        keys = st.tuples(*(kinds[kind] for kind in chosen))
        deeds = st.sampled_from(["insert", "insert", "delete", "key", "value"])
        return st.builds(
            Random,
            kinds=st.just(tuple(chosen)),
            engine=st.sampled_from(["InnoDB", "InnoDB", "MyISAM"]),
            primary=st.booleans(),
            target=st.integers(60, 500),
            rows=st.lists(keys, min_size=6, max_size=40),
            changes=st.lists(st.tuples(deeds, st.integers(0, 45), keys), max_size=25),
        )

    return several.flatmap(of)


def make(place: Place, random: Random) -> None:
    columns = ", ".join(f"k{n} {kind} NOT NULL" for n, kind in enumerate(random.kinds))
    names = ", ".join(f"k{n}" for n in range(len(random.kinds)))
    key = "PRIMARY KEY" if random.primary else "UNIQUE KEY odd"
    run_all(
        place.writer,
        place.database,
        [
            "DROP TABLE IF EXISTS t",
            (
                f"CREATE TABLE t (n INT, {columns}, v VARCHAR(90), {key} ({names})) "
                f"ENGINE={random.engine}"
            ),
        ],
    )
    for number, values in enumerate(random.rows):
        insert(place, number, values)


def insert(place: Place, number: int, values: tuple[object, ...]) -> None:
    text = None if number % 7 == 0 else "wordy " * (number % 11)
    holes = ", ".join(["%s"] * (len(values) + 2))
    place.writer.run(f"INSERT IGNORE INTO t VALUES ({holes})", (number, *values, text))


def change(place: Place, deed: str, number: int, values: tuple[object, ...]) -> None:
    if deed == "insert":
        insert(place, 100 + number, values)
    elif deed == "delete":
        place.writer.run("DELETE FROM t WHERE n = %s", (number,))
    elif deed == "key":
        place.writer.run("UPDATE IGNORE t SET k0 = %s WHERE n = %s", (values[0], number))
    else:
        place.writer.run("UPDATE t SET v = 'other' WHERE n = %s", (number,))


def test_no_row_is_lost_or_doubled_at_an_edge(place: Place) -> None:
    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(random=random_tables(place.writer))
    def check(random: Random) -> None:
        make(place, random)
        first = read(place, None, random.target)
        expect_whole(place, first)
        again = read(place, first, random.target)
        expect_whole(place, again)
        for deed, number, values in random.changes:
            change(place, deed, number, values)
        second = read(place, again, random.target)
        expect_whole(place, second)
        expect_whole(place, read(place, second, random.target))

    check()


LONG_KEYS: dict[str, Callable[[int], str]] = {
    "latin1": lambda number: "x" * 100 + f"{number * 7919 % 3000:05}",
    "utf8mb4 COLLATE utf8mb4_unicode_ci": lambda number: "ß" * 70 + f"{number * 7919 % 3000:05}",
}


@pytest.mark.parametrize("charset", LONG_KEYS)
def test_keys_that_differ_late_are_in_order_although_the_server_sorts_by_their_start(
    place: Place, charset: str
) -> None:
    make_key = LONG_KEYS[charset]
    kind = f"VARCHAR(150) CHARACTER SET {charset} NOT NULL PRIMARY KEY"
    run_all(
        place.writer,
        place.database,
        ["DROP TABLE IF EXISTS t", f"CREATE TABLE t (k {kind}, v INT) ENGINE=MyISAM"],
    )
    rows = ", ".join(f"('{make_key(number)}', {number})" for number in range(1000))
    place.writer.run(f"INSERT INTO t VALUES {rows}")
    place.writer.run("SET GLOBAL max_sort_length = 64")
    try:
        with connect(place.reader.login) as reader:
            reader.run("SET character_set_results = NULL")
            fresh = Place(writer=place.writer, reader=reader, database=place.database)
            first = read(fresh, None, 4000)
            second = read(fresh, first, 4000)
            for found in (first, second):
                assert found.rows.rows == 1000
                expect_whole(fresh, found)
    finally:
        place.writer.run("SET GLOBAL max_sort_length = DEFAULT")
    assert len(first.rows.ranges) > 10


def test_a_key_that_is_generated_orders_its_rows(place: Place) -> None:
    if place.writer.is_mariadb:
        pytest.skip("MariaDB has no generated primary keys")
    run_all(
        place.writer,
        place.database,
        [
            "DROP TABLE IF EXISTS t",
            "CREATE TABLE t (a INT, b INT AS (a * 2) STORED PRIMARY KEY, v VARCHAR(90))",
        ],
    )
    for number in range(60):
        place.writer.run("INSERT INTO t (a, v) VALUES (%s, REPEAT('v', 50))", (number * 37 % 61,))
    first = read(place, None, 500)
    expect_whole(place, first)
    place.writer.run("UPDATE t SET a = a + 100 WHERE a < 20")
    expect_whole(place, read(place, first, 500))


def test_chains_of_differences_decode(place: Place) -> None:
    """Keep fifteen days of a table as objects, and read each day again."""
    run_all(
        place.writer,
        place.database,
        ["DROP TABLE IF EXISTS t", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))"],
    )
    rows = ", ".join(f"({n}, '{hashlib.sha512(b'%d' % n).hexdigest()}')" for n in range(600))
    place.writer.run(f"INSERT INTO t VALUES {rows}")
    storage, epoch = MemoryStorage(), new_epoch(key=True)
    days: list[tuple[Kept, bytes]] = []
    for day in range(15):
        place.writer.run(f"UPDATE t SET v = REVERSE(v) WHERE id %% 97 = {day}", ())
        place.writer.run(f"DELETE FROM t WHERE id = {day * 31}")
        before = days[-1][0].index if days else None
        known = known_objects(before) if before else {}
        with ObjectWriter(storage, epoch, known=known) as writer:

            def keep(packets: Packets, base: Range | None, to: ObjectWriter = writer) -> Range:
                stored = to.keep(packets.data, as_stored(base) if base else None)
                return Range(
                    rows=packets.rows, bytes=len(packets.data), fingerprint=stored.fingerprint,
                    name=stored.name, chain=stored.chain, stored=stored.stored, full=stored.full,
                )  # fmt: skip

            options = RowsOptions(target=10_000)
            reader = RowsReader([place.reader], keep, before=before, options=options)
            (found,) = reader.read([seen(place, 10_000)])
            writer.check_before_commit(timedelta(hours=1))
        kept = Kept(rows=found, data=b"", version=place.reader.version)
        days.append((kept, plain(place, found.head).data))
    for kept, wanted in days:
        objects = ObjectReader(storage, epoch)
        assert b"".join(objects.read(part.name) for part in kept.rows.ranges) == wanted
    depths = {len(part.chain) for kept, _ in days for part in kept.rows.ranges}
    assert max(depths) >= 6
