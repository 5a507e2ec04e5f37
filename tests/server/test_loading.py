"""Rows loaded from their packets in every way: read again they are the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.portrait import SUPPORT, load_script
from support.server import fresh_database, own_server
from ulasis_backup.methods.index import TableHead
from ulasis_backup.methods.reading import order
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.columns import RowSource, row_source, rows_select
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.definitions import read_definitions
from ulasis_backup.mysql.keys import table_key
from ulasis_backup.mysql.loading import LoadingSession, Way, loading_session
from ulasis_backup.mysql.rows import check
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

ELSEWHERE = {"FEDERATED", "SPIDER", "CONNECT", "MRG_MYISAM", "BLACKHOLE"}


@pytest.fixture(scope="module")
def scratch() -> Iterator[ScratchServer]:
    """Return a server with a binlog that lets any function be created."""
    with own_server("--log-bin", "--server-id=1", "--log-bin-trust-function-creators=1") as running:
        yield running


@pytest.fixture
def reader(scratch: ScratchServer) -> Iterator[Server]:
    """Return a session that reads as a backup does."""
    with connect(scratch.login) as opened:
        opened.run("SET character_set_results = NULL")
        yield opened


@pytest.fixture
def copy(scratch: ScratchServer) -> Iterator[str]:
    """Return the name of a second empty database."""
    with fresh_database(scratch.login, "copy") as name:
        yield name


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


def make_like(server: Server, database: str, copy: str) -> None:
    found = schema.catalogue(server, database)
    for definition in read_definitions(server, database, found):
        if definition.kind in ("sequence", "table"):
            create(server, copy, definition)


def reload(  # noqa: PLR0917 (one for each part)
    reader: Server, session: LoadingSession, database: str, copy: str, name: str
) -> tuple[bytes, bytes]:
    """Load a table's rows into its copy; return the packets of both."""
    source = row_source(reader, database, name)
    before = packets_of(reader, source)
    if before:
        rows = session.loader(source).load(before)
        assert rows == check(before, len(source.columns))
    after = packets_of(reader, replace(source, database=copy))
    return before, after


def test_every_trap_comes_back_to_the_byte(  # noqa: PLR0917 (fixtures)
    scratch: ScratchServer, server: Server, reader: Server, database: str, copy: str, way: Way
) -> None:
    load_script(server, database, SUPPORT / "trap_schema.sql")
    make_like(server, database, copy)
    with loading_session(scratch.login, copy, way=way) as session:
        assert session.way is way
        for name in tables_of(reader, database):
            before, after = reload(reader, session, database, copy, name)
            assert (name, after) == (name, before)
