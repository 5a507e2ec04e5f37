"""Objects of a dump against those of the server: equal in every byte and every setting."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from support.definitions import read, shop_and_trap
from support.portrait import SUPPORT, load_script
from support.server import SERVERS, servers_folder
from ulasis_backup.errors import DumpFailed
from ulasis_backup.methods.dumped import definitions_of, for_tables
from ulasis_backup.methods.sections import split
from ulasis_backup.methods.sql import DumpPlan, SqlCapture, SqlOptions, plan_dump
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.definitions import digest_bytes
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, quote

pytestmark = pytest.mark.server

MARIADB_TRAPS = ("trap_schema.sql", "trap_schema_qualified.sql")
MYSQL_TRAPS = ("trap_schema_mysql.sql",)
ODD_NAMES = (
    "SELECT DISTINCT c.TABLE_NAME FROM information_schema.COLUMNS c JOIN information_schema.TABLES "
    "t USING (TABLE_SCHEMA, TABLE_NAME) WHERE t.TABLE_SCHEMA = 'trap' AND t.TABLE_TYPE = "
    "'BASE TABLE' AND (INSTR(c.COLUMN_NAME, CHAR(10)) OR INSTR(c.TABLE_NAME, CHAR(10)))"
)


@pytest.mark.parametrize("name", SERVERS)
def test_every_object_of_a_dump_is_what_the_server_shows(
    start: Callable[[str], ScratchServer], name: str
) -> None:
    running, folder = start(name), servers_folder(name)
    options = SqlOptions(block_ddl=False, look_for_losses=False, programs_folder=folder)
    with shop_and_trap(running) as server:
        for script in MARIADB_TRAPS if server.is_mariadb else MYSQL_TRAPS:
            load_script(server, "trap", SUPPORT / script)
        if not server.is_mariadb:
            _drop_odd_names(server)
        plan = _printable_plan(server, options)
        pieces = list(split(SqlCapture(plan, running.login, options, None).chunks()))
        found = schema.database_options(server, "trap")
        assert found
        told = list(definitions_of(pieces, collation=found.collation))
        wanted = [one for one in read(server, "trap") if one.kind not in ("table", "sequence")]
    # What is sent for tables alone is not refused.
    assert [piece for piece in pieces if for_tables(piece)]
    assert len(told) > 40
    expected = {(one.kind, one.name): digest_bytes(one) for one in wanted}
    assert {(one.kind, one.name): digest_bytes(one) for one in told} == expected


def _drop_odd_names(server: Server) -> None:
    """Drop the tables on whose names mysqldump stumbles."""
    server.run("SET foreign_key_checks = 0")
    for (table,) in server.query(ODD_NAMES):
        server.run(f"DROP TABLE trap.{quote(table)}")
    server.run("SET foreign_key_checks = 1")


def _printable_plan(server: Server, options: SqlOptions) -> DumpPlan:
    """Return the plan of a dump, once what no dump can carry is gone."""
    while True:
        try:
            return plan_dump(server, "trap", options)
        except DumpFailed as error:
            found = re.match(r"(\w+) '(.*)' cannot be carried", error.message)
            if found is None:
                raise
            server.run(f"DROP {found[1].upper()} trap.{quote(found[2])}")
