"""Every value that a server can hold is read as row packets and written again, equal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.definitions import read, shop_and_trap
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import MYSQL, SYSTEMS_OWN
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.columns import RowSource, row_source, rows_select
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.losses import inexact_columns
from ulasis_backup.mysql.prepared import prepared
from ulasis_backup.mysql.rows import to_values
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.mysql.wire import read_rows

pytestmark = pytest.mark.server

WRITING: dict[str, str | int | None] = {
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES",
    "foreign_key_checks": 0,
    "unique_checks": 0,
    "time_zone": "+00:00",
}
WISHED: dict[str, str | int | None] = {
    "check_constraint_checks": 0,
    "system_versioning_insert_history": 1,
}
PIECE = 1 << 20
INEXACT = {"trap_json_typed"}


@pytest.fixture
def server(any_server: ScratchServer) -> Iterator[Server]:
    """Return a session with empty databases `shop` and `trap`."""
    with shop_and_trap(any_server) as opened:
        yield opened


def copy_rows(server: Server, source: RowSource, database: str) -> None:
    """Write the rows of *source* into the table of the same name in *database*."""
    with prepared(server, database, {"character_set_results": None, "time_zone": "+00:00"}):
        pieces = list(read_rows(server, rows_select(source), target=PIECE, limit=PIECE))
    names = ", ".join(quote(column.name) for column in source.columns)
    head = f"INSERT IGNORE INTO {quote(source.table)} ({names}) VALUES ".encode()
    with prepared(server, database, WRITING, wished=WISHED):
        for piece in pieces:
            server.run_bytes(head + b", ".join(to_values(piece.data, source.columns)))


@pytest.mark.parametrize("any_server", [SYSTEMS_OWN, MYSQL], indirect=True)
def test_the_rows_of_every_trap_come_back(server: Server) -> None:
    script = "trap_schema.sql" if server.is_mariadb else "trap_schema_mysql.sql"
    load_script(server, "trap", SUPPORT / script)
    found = schema.catalogue(server, "trap")
    tables = [table.name for table in found.tables if not table.is_sequence]
    for definition in read(server, "trap"):
        if definition.kind in ("table", "sequence"):
            create(server, "shop", definition)
    for table in tables:
        if table != "trap_merge":
            copy_rows(server, row_source(server, "trap", table), "shop")
    before, after = portrait(server, "trap"), portrait(server, "shop")
    rows = {name for name in different(before, after) if name.startswith("rows of table ")}
    lost = {name.removeprefix("rows of table ") for name in rows}
    assert lost == INEXACT.intersection(tables)
    named = inexact_columns(server, "trap", tables)
    assert {loss.table for loss in named} == lost
