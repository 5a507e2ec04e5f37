"""Rows loaded from their packets in every way: read again they are the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.portrait import SUPPORT, load_script
from support.server import free_port, fresh_database, own_server, run_all, servers_folder
from ulasis_backup.errors import (
    IntegrityError,
    LoadFailed,
    ServerError,
    ServerUnreachable,
    ServerUnsuitable,
)
from ulasis_backup.methods.index import TableHead
from ulasis_backup.methods.reading import order
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql import commands
from ulasis_backup.mysql.columns import RowSource, row_source, rows_select
from ulasis_backup.mysql.keys import table_key
from ulasis_backup.mysql.loading import Way, loading_session
from ulasis_backup.mysql.losses import TYPED_JSON, inexact_columns
from ulasis_backup.mysql.rows import check
from ulasis_backup.mysql.scratch import ScratchServer, scratch_server
from ulasis_backup.mysql.server import NOT_COMMITTED, Server, connect, quote
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

FULL = 0xFFFFFF
ELSEWHERE = {"FEDERATED", "SPIDER", "CONNECT", "MRG_MYISAM", "BLACKHOLE"}


@pytest.fixture(scope="module")
def scratch() -> Iterator[ScratchServer]:
    """Return a server with a binlog that lets any function be created."""
    with own_server("--log-bin", "--server-id=1", "--log-bin-trust-function-creators=1") as running:
        yield running


@pytest.fixture(params=list(Way), ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


def packets_of(reader: Server, source: RowSource) -> bytes:
    head = TableHead(source=source, key=table_key(reader, source.database, source.table))
    sql = rows_select(source, order_by=order(head))
    return b"".join(piece.data for piece in read_rows(reader, sql, target=1 << 20, limit=1 << 21))


def tables_of(reader: Server, database: str) -> list[str]:
    rows = reader.query(
        "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_TYPE NOT IN ('VIEW', 'SEQUENCE')",
        (database,),
    )
    return [str(name) for name, _, engine in rows if str(engine).upper() not in ELSEWHERE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two databases on one server: one to read from, one to load into."""

    login: Login
    server: Server
    reader: Server
    database: str
    copy: str

    def make(self, *statements: str) -> None:
        run_all(self.server, self.database, statements)

    def make_copy(self, *statements: str) -> None:
        run_all(self.server, self.copy, statements)

    def source(self, table: str = "t") -> RowSource:
        return row_source(self.reader, self.database, table)

    def packets(self, table: str = "t") -> bytes:
        return packets_of(self.reader, self.source(table))

    @property
    def ways(self) -> list[Way]:
        return [way for way in Way if way is not Way.BULK or self.server.is_mariadb]

    def copy_form(self, table: str) -> None:
        """Make the copy of a table anew, without rows."""
        like = f"{quote(self.database)}.{quote(table)}"
        name = f"{quote(self.copy)}.{quote(table)}"
        self.server.run(f"DROP TABLE IF EXISTS {name}")
        self.server.run(f"CREATE TABLE {name} LIKE {like}")

    def loaded(self, way: Way, table: str = "t") -> tuple[bytes, bytes]:
        """Load a table's rows into one of the same form; return the packets of both."""
        self.copy_form(table)
        source = self.source(table)
        before = packets_of(self.reader, source)
        with loading_session(self.login, self.copy, way=way) as session:
            rows = session.loader(source).load(before)
        assert rows == check(before, len(source.columns))
        return before, packets_of(self.reader, replace(source, database=self.copy))

    def count(self, table: str = "t") -> object:
        return self.server.value(f"SELECT COUNT(*) FROM {quote(self.copy)}.{table}")


@contextlib.contextmanager
def pair_on(running: ScratchServer) -> Iterator[Pair]:
    """Open two empty databases on a server."""
    with (
        connect(running.login) as server,
        connect(running.login) as reader,
        fresh_database(running.login) as database,
        fresh_database(running.login, "copy") as copy,
    ):
        reader.run("SET character_set_results = NULL")
        yield Pair(login=running.login, server=server, reader=reader, database=database, copy=copy)


@pytest.fixture
def pair(scratch: ScratchServer) -> Iterator[Pair]:
    """Return two empty databases on the system's MariaDB."""
    with pair_on(scratch) as opened:
        yield opened


@pytest.fixture
def any_pair(any_server: ScratchServer) -> Iterator[Pair]:
    """Return two empty databases on each server in turn, where files may be loaded."""
    with pair_on(any_server) as opened:
        variables = ("local_infile", "log_bin_trust_function_creators")
        before = [opened.server.value(f"SELECT @@GLOBAL.{name}") for name in variables]
        for name in variables:
            opened.server.run(f"SET GLOBAL {name} = 1")
        yield opened
        for name, value in zip(variables, before, strict=True):
            opened.server.run(f"SET GLOBAL {name} = {value}")


def test_every_trap_comes_back_to_the_byte(any_pair: Pair) -> None:
    pair = any_pair
    script = "trap_schema.sql" if pair.server.is_mariadb else "trap_schema_mysql.sql"
    load_script(pair.server, pair.database, SUPPORT / script)
    sources = [pair.source(name) for name in tables_of(pair.reader, pair.database)]
    before = {source.table: packets_of(pair.reader, source) for source in sources}
    named = inexact_columns(pair.server, pair.database, tuple(before))
    inexact = {loss.table for loss in named if loss.what == TYPED_JSON}
    for way in pair.ways:
        with loading_session(pair.login, pair.copy, way=way) as session:
            assert session.way is way
            for source in sources:
                pair.copy_form(source.table)
                rows = before[source.table]
                assert session.loader(source).load(rows) == check(rows, len(source.columns))
        after = {
            source.table: packets_of(pair.reader, replace(source, database=pair.copy))
            for source in sources
        }
        assert {name for name in after if after[name] != before[name]} == inexact
    assert len(sources) > 60


def test_a_server_without_the_bulk_protocol_says_so(mysql_server: ScratchServer) -> None:
    with (
        pytest.raises(LoadFailed, match="does not speak the bulk protocol"),
        loading_session(mysql_server.login, "mysql", way=Way.BULK),
    ):
        pass


MANY = ", ".join(f"'m{number}'" for number in range(62))
EXACT = (
    (
        f"CREATE TABLE t (id INT PRIMARY KEY, s SET('', {MANY}, 'last') NOT NULL, "
        "e ENUM('a', 'b'), u UUID, i4 INET4, i6 INET6, f FLOAT, d DOUBLE, "
        "m DECIMAL(65, 30), b BIT(64), y YEAR, "
        "t TIME(6), ts TIMESTAMP(6) NULL, g GEOMETRY, j JSON, c CHAR(9), vb VARBINARY(9))"
    ),
    (
        "INSERT INTO t VALUES (0, 9223372036854775809, 'a', UUID(), '127.0.0.1', '::1', 1e-45, "
        "-0e0, -0.000000000000000000000000000001, 0x0102030405060708, 2155, '-838:59:59.999999', "
        "'1970-01-01 00:00:00.000001', ST_GeomFromText('POINT(1 2)', 4326), '{}', 'a  ', 'b \\0'), "
        "(-1, 18446744073709551615, 0, NULL, NULL, NULL, 3.4028234e38, 4.9e-324, 0.5, 0, 0, "
        "'00:00:00.000001', NULL, NULL, '[1, 2 ]', '', ''), "
        "(2, 3, 0, NULL, NULL, NULL, 16777217, 1e308, 1, NULL, NULL, NULL, NULL, NULL, NULL, "
        "NULL, NULL)"
    ),
)


def test_values_that_other_ways_bend_come_back(pair: Pair) -> None:
    pair.make(*EXACT)
    for way in Way:
        before, after = pair.loaded(way)
        assert (way, after) == (way, before)
    # Two zeros of the ENUM, each with its warning.
    assert pair.server.value(f"SELECT COUNT(*) FROM {quote(pair.copy)}.t WHERE e = 0") == 2


@pytest.mark.parametrize("size", [FULL - 9, FULL - 8, FULL - 7, FULL + 9])
def test_rows_around_the_size_of_a_packet_come_back(pair: Pair, size: int) -> None:
    rows = f"INSERT INTO t VALUES (1, REPEAT('x', {size})), (2, NULL), (3, REPEAT(0x0102037F, 9))"
    pair.make("CREATE TABLE t (id INT PRIMARY KEY, b LONGBLOB)", rows)
    for way in (Way.BULK, Way.LOAD_DATA):
        before, after = pair.loaded(way)
        assert after == before


def test_a_row_of_a_hundred_megabytes_comes_back(pair: Pair) -> None:
    rows = "INSERT INTO t VALUES (REPEAT(0x000102030405FF275C, 11111111)), (NULL), ('')"
    pair.make("CREATE TABLE t (b LONGBLOB)", rows)
    for way in (Way.BULK, Way.LOAD_DATA):
        before, after = pair.loaded(way)
        assert len(before) > 99_999_999
        assert after == before


def test_rows_in_which_every_byte_occurs_come_back(pair: Pair, way: Way) -> None:
    pair.make(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARBINARY(300), b VARBINARY(300))",
        "INSERT INTO t SELECT 256 * n.seq + a.seq, CONCAT(CHAR(a.seq), CHAR(n.seq)), "
        "IF(a.seq MOD 3, NULL, CONCAT(CHAR(n.seq), CHAR(3), CHAR(a.seq))) "
        "FROM mysql.seq_0_to_255 a, mysql.seq_0_to_255 n",
    )
    before, after = pair.loaded(way)
    assert len(before) > 500_000
    assert after == before


VALUE = st.one_of(st.none(), st.binary(max_size=300))
TEXT = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=40))
ROW = st.tuples(
    VALUE,
    TEXT,
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    st.one_of(st.none(), st.datetimes()),
    st.one_of(st.none(), st.integers(0, 3)),
    st.one_of(st.none(), st.binary(min_size=2, max_size=2)),
    st.one_of(st.none(), st.decimals(-999, 999, places=9)),
)
TYPES = (
    "a BLOB, b TEXT CHARACTER SET utf8mb4, c BIGINT, d DOUBLE, e DATETIME(6), f ENUM('x', '', 'z'),"
    " g BIT(16), h DECIMAL(30, 9)"
)


def test_whatever_is_in_a_table_comes_back(pair: Pair, way: Way) -> None:
    for name in (pair.database, pair.copy):
        run_all(pair.server, name, (f"CREATE TABLE t (n INT PRIMARY KEY, {TYPES})",))
    source = pair.source()
    sql = f"INSERT INTO {quote(pair.database)}.t VALUES ({', '.join(['%s'] * 9)})"
    with loading_session(pair.login, pair.copy, way=way) as session:
        loader = session.loader(source)

        @settings(max_examples=12, deadline=None)
        @given(rows=st.lists(ROW, min_size=1, max_size=30))
        def check_rows(rows: list[tuple[object, ...]]) -> None:
            for name in (pair.database, pair.copy):
                pair.server.run(f"DELETE FROM {quote(name)}.t")
            for number, row in enumerate(rows):
                pair.server.run(sql, (number, *row))
            before = packets_of(pair.reader, source)
            assert loader.load(before) == len(rows)
            assert packets_of(pair.reader, replace(source, database=pair.copy)) == before

        check_rows()


def test_a_value_that_does_not_fit_fails_the_load(pair: Pair, way: Way) -> None:
    pair.make("CREATE TABLE t (a VARCHAR(9))", "INSERT INTO t VALUES ('long')")
    pair.make_copy("CREATE TABLE t (a VARCHAR(2))")
    with (
        loading_session(pair.login, pair.copy, way=way) as session,
        pytest.raises(LoadFailed, match="exactly: the server warns: Data truncated"),
    ):
        session.loader(pair.source()).load(pair.packets())
    assert pair.count() == 0


def test_a_zero_too_many_in_an_enum_fails_the_load(pair: Pair, way: Way) -> None:
    # To the copy, 3 is no member: it warns as a zero would, which is not in the packets.
    rows = "INSERT INTO t VALUES ('c'), ('a')"
    pair.make("CREATE TABLE t (e ENUM('a', 'b', 'c'))", rows)
    pair.make_copy("CREATE TABLE t (e ENUM('a', 'b'))")
    with (
        loading_session(pair.login, pair.copy, way=way) as session,
        pytest.raises(LoadFailed, match="exactly"),
    ):
        session.loader(pair.source()).load(pair.packets())


@pytest.mark.parametrize("key", ["PRIMARY KEY", "UNIQUE KEY"])
def test_rows_that_are_there_already_fail_the_load(pair: Pair, way: Way, key: str) -> None:
    rows = "INSERT INTO t SELECT seq FROM mysql.seq_1_to_10"
    pair.make(f"CREATE TABLE t (a INT NOT NULL, {key} (a))", rows)
    with (
        loading_session(pair.login, pair.database, way=way) as session,
        pytest.raises(LoadFailed, match=r"^table .*\.t could not be loaded"),
    ):
        session.loader(pair.source()).load(pair.packets())
    assert pair.server.value(f"SELECT COUNT(*) FROM {quote(pair.database)}.t") == 10


def test_malformed_packets_are_refused_and_nothing_stays(pair: Pair, way: Way) -> None:
    rows = "INSERT INTO t SELECT seq, REPEAT('x', 200) FROM mysql.seq_1_to_30000"
    pair.make("CREATE TABLE t (a INT PRIMARY KEY, b TEXT)", rows)
    pair.make_copy("CREATE TABLE t (a INT PRIMARY KEY, b TEXT)")
    source = pair.source()
    with loading_session(pair.login, pair.copy, way=way) as session:
        with pytest.raises(IntegrityError):
            session.loader(source).load(packets_of(pair.reader, source)[:-1])
        with pytest.raises(ServerUnreachable):
            session.server.value("SELECT 1")
    assert pair.count() == 0


def test_statements_keep_to_what_the_server_takes_at_once(pair: Pair, way: Way) -> None:
    rows = "INSERT INTO t SELECT seq, REPEAT('x', 400000) FROM mysql.seq_1_to_5"
    pair.make("CREATE TABLE t (a INT PRIMARY KEY, b LONGTEXT)", rows)
    usual = pair.server.value("SELECT @@GLOBAL.max_allowed_packet")
    pair.server.run("SET GLOBAL max_allowed_packet = 1048576")
    try:
        before, after = pair.loaded(way)
        assert after == before
        if way is not Way.LOAD_DATA:
            pair.server.run(
                f"INSERT INTO {quote(pair.database)}.t VALUES (9, REPEAT('y', 1100000))"
            )
            with pytest.raises(LoadFailed, match="the server allows") as failed:
                pair.loaded(way)
            assert "max_allowed_packet" in failed.value.hint
    finally:
        pair.server.run(f"SET GLOBAL max_allowed_packet = {usual}")


def test_the_best_way_is_taken_and_one_that_is_not_allowed_refused(pair: Pair) -> None:
    with loading_session(pair.login, pair.database) as session:
        assert session.way is Way.BULK
    pair.server.run("SET GLOBAL local_infile = 0")
    try:
        with (
            pytest.raises(LoadFailed) as failed,
            loading_session(pair.login, pair.database, way=Way.LOAD_DATA),
        ):
            pass
        assert "local_infile" in failed.value.hint
    finally:
        pair.server.run("SET GLOBAL local_infile = 1")


def test_the_server_gets_no_file_of_ours(pair: Pair) -> None:
    pair.make("CREATE TABLE t (a TEXT)")
    sql = f"LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE {quote(pair.database)}.t"
    with loading_session(pair.login, pair.database, way=Way.LOAD_DATA) as session:
        refused = pytest.raises(ServerUnsuitable, match="asked for a file")
        with refused:
            commands.start_infile(session.server, sql.encode(), b"data")
    with loading_session(pair.login, pair.database, way=Way.LOAD_DATA) as session:
        refused_too = pytest.raises(ServerError)
        with refused_too:
            session.server.run(sql)
    assert pair.server.value(f"SELECT COUNT(*) FROM {quote(pair.database)}.t") == 0


def test_without_the_binlog_nothing_reaches_it(pair: Pair) -> None:
    rows = "INSERT INTO t VALUES (1)"
    pair.make("CREATE TABLE t (a INT PRIMARY KEY)", rows)
    pair.make_copy("CREATE TABLE t (a INT PRIMARY KEY)")
    source = pair.source()
    before = packets_of(pair.reader, source)
    grown = []
    for log_bin in (False, True):
        pair.server.run(f"DELETE FROM {quote(pair.copy)}.t")
        position = pair.server.query("SHOW MASTER STATUS")
        with loading_session(pair.login, pair.copy, log_bin=log_bin) as session:
            session.loader(source).load(before)
        grown.append(pair.server.query("SHOW MASTER STATUS") != position)
    assert grown == [False, True]


def test_the_bulk_protocol_goes_over_tls() -> None:
    # From 11.4 on MariaDB makes its own certificate.
    port = free_port()
    network = ("--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}")
    folder = servers_folder("mariadb-11.8")
    with (
        scratch_server(options=network, programs_folder=folder) as running,
        pair_on(running) as pair,
    ):
        pair.server.run("CREATE USER u@'127.0.0.1' IDENTIFIED BY 'secret'")
        pair.server.run("GRANT ALL ON *.* TO u@'127.0.0.1'")
        pair.make("CREATE TABLE t (a INT, b BLOB)", "INSERT INTO t VALUES (1, 'x'), (2, NULL)")
        pair.copy_form("t")
        login = Login(
            host="127.0.0.1", port=port, user="u", password=Secret("secret"), ssl_require=True
        )
        with loading_session(login, pair.copy, way=Way.BULK) as session:
            assert session.server.has_tls
            assert session.loader(pair.source()).load(pair.packets()) == 2
        assert packets_of(pair.reader, replace(pair.source(), database=pair.copy)) == pair.packets()


def test_a_duplicate_key_that_shows_only_at_commit_is_named_as_one_of_two_causes(
    pair: Pair,
) -> None:
    if not pair.server.is_mariadb:
        pytest.skip("MySQL says 1062 at once")
    pair.make("CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1), (1)")
    pair.make_copy("CREATE TABLE t (n INT PRIMARY KEY)")
    with (
        loading_session(pair.login, pair.copy) as session,
        pytest.raises(LoadFailed, match="1180") as caught,
    ):
        session.loader(pair.source()).load(pair.packets())
    assert caught.value.hint == NOT_COMMITTED
