"""Row packets off the wire: nothing lost at a cut, errors in the middle, rows of every size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.server import fresh_database, run_all
from ulasis_backup.errors import ServerUnreachable
from ulasis_backup.mysql.rows import fields
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

FULL = 0xFFFFFF


@pytest.fixture
def session(any_server: ScratchServer) -> Iterator[Server]:
    """Return a session that a test may break."""
    with connect(any_server.login) as opened:
        deepest = "max_recursive_iterations" if opened.is_mariadb else "cte_max_recursion_depth"
        opened.run(f"SET SESSION {deepest} = 1000000")
        yield opened


@pytest.fixture
def database(any_server: ScratchServer) -> Iterator[str]:
    """Return the name of an empty database that lives as long as the test."""
    with fresh_database(any_server.login) as name:
        yield name


def numbers(count: int, what: str = "n") -> str:
    """Return a SELECT of *what* for each n from 1 to *count*, on any server."""
    rows = f"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < {count})"
    return f"{rows} SELECT {what} FROM r"


def test_a_result_without_rows_is_no_piece(session: Server) -> None:
    assert list(read_rows(session, "SELECT 1 FROM DUAL WHERE 0", target=10, limit=20)) == []
    assert session.value("SELECT 7") == 7


def test_values_come_as_they_are(session: Server) -> None:
    sql = "SELECT NULL, '', 1, x'00ff', REPEAT('a', 250), REPEAT('b', 251), REPEAT('c', 70000)"
    (piece,) = read_rows(session, sql, target=10, limit=20)
    values = (None, b"", b"1", b"\x00\xff", b"a" * 250, b"b" * 251, b"c" * 70000)
    assert list(fields(piece.data, 7)) == [values]


def test_pieces_are_cut_between_rows_and_lose_none(session: Server, database: str) -> None:
    table = f"{quote(database)}.t"
    session.run(f"CREATE TABLE {table} (a INT PRIMARY KEY, b VARBINARY(3000))")

    @settings(max_examples=25, deadline=None)
    @given(
        sizes=st.lists(st.integers(0, 3000), max_size=60),
        target=st.integers(1, 9000),
        more=st.integers(0, 9000),
    )
    def check(sizes: list[int], target: int, more: int) -> None:
        session.run(f"DELETE FROM {table}")
        if sizes:
            rows = ", ".join(f"({n}, REPEAT('x', {size}))" for n, size in enumerate(sizes))
            session.run(f"INSERT INTO {table} VALUES {rows}")
        sql = f"SELECT * FROM {table} ORDER BY a"
        pieces = list(read_rows(session, sql, target=target, limit=target + more))
        found = [row for piece in pieces for row in fields(piece.data, 2)]
        assert found == [(b"%d" % n, b"x" * size) for n, size in enumerate(sizes)]
        assert [piece.rows for piece in pieces] == [
            sum(1 for _ in fields(piece.data, 2)) for piece in pieces
        ]
        assert all(len(piece.data) >= target for piece in pieces[:-1])
        if sum(len(piece.data) for piece in pieces) <= target + more:
            assert len(pieces) <= 1

    check()


@pytest.mark.parametrize("size", [FULL - 5, FULL - 4, FULL - 3, FULL, 2 * FULL - 4, 40 << 20])
def test_rows_that_span_packets(session: Server, size: int) -> None:
    # A column of that size has a length of 4 or 9 bytes before it.
    sql = f"SELECT REPEAT('x', {size}) UNION ALL SELECT 'end'"
    pieces = list(read_rows(session, sql, target=1 << 20, limit=2 << 20))
    rows = [row for piece in pieces for row in fields(piece.data, 1)]
    assert [len(row[0] or b"") for row in rows] == [size, 3]
    assert rows[0][0] == b"x" * size
    # In the canonical form nothing tells where in a result a row stood.
    again = list(read_rows(session, f"SELECT REPEAT('x', {size})", target=1, limit=1))
    assert again[0].data == pieces[0].data[: len(again[0].data)]


def test_an_error_before_the_first_row(session: Server) -> None:
    with pytest.raises(QueryFailed) as failed:
        list(read_rows(session, "SELECT * FROM mysql.nothing", target=1, limit=1))
    assert failed.value.number == 1146
    assert session.value("SELECT 7") == 7


def test_an_error_in_the_middle_of_the_rows(session: Server, database: str) -> None:
    run_all(
        session,
        database,
        [
            "CREATE TABLE t (a INT PRIMARY KEY)",
            f"INSERT INTO t {numbers(100_000)}",
        ],
    )
    sql = (
        f"SELECT a, IF(a = 90000, (SELECT 1 UNION SELECT 2), 0) FROM {quote(database)}.t ORDER BY a"
    )
    got = 0
    pieces = read_rows(session, sql, target=1000, limit=1000)
    while got < 80000:
        got += next(pieces).rows
    with pytest.raises(QueryFailed) as failed:
        list(pieces)
    assert failed.value.number == 1242
    assert session.value("SELECT 7") == 7


def test_a_connection_that_breaks_within_the_rows(
    session: Server, any_server: ScratchServer
) -> None:
    number = session.value("SELECT CONNECTION_ID()")
    sql = numbers(200_000, "n, REPEAT('x', 1000)")
    pieces = read_rows(session, sql, target=1000, limit=1000)
    assert next(pieces).rows
    with connect(any_server.login) as other:
        other.run(f"KILL {number}")
    with pytest.raises(ServerUnreachable):
        list(pieces)


def test_what_is_given_up_closes_the_connection(session: Server) -> None:
    rows = read_rows(session, numbers(200_000), target=100, limit=100)
    assert next(rows).rows
    rows.close()
    with pytest.raises(ServerUnreachable):
        session.value("SELECT 7")
