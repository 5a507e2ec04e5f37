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
            packets[definition.name] = read(source, rows_select(rows, order_by="1, 2"))
    translation = translate(definitions, tables, source=source.version, target=target.version)
    return Taken(translation=translation, packets=packets)


def read(server: Server, sql: str) -> bytes:
    server.run("SET SESSION character_set_results = NULL, time_zone = '+00:00'")
    try:
        return b"".join(piece.data for piece in read_rows(server, sql, target=1 << 20, limit=1 << 30))
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
            assert read(target, rows_select(there, order_by="1, 2")) == taken.packets[name], name
        assert target.value(f"SELECT COUNT(*) FROM {copy}.a_view") == 1
        assert (
            target.value(
                "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
                (copy,),
            )
            == 1
        )
