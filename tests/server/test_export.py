"""An export is an ordinary dump: the client program makes the same database of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.contents import take
from support.definitions import shop_and_trap
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import MYSQL, own_server, run_all, servers_folder
from ulasis_backup.errors import DumpFailed
from ulasis_backup.methods import load
from ulasis_backup.methods.export import export_sql, unexportable
from ulasis_backup.model import Flavour
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server

pytestmark = pytest.mark.server

MYSQL_TRAPS = "trap_schema_mysql.sql"


@pytest.fixture(scope="module")
def scratch() -> Iterator[ScratchServer]:
    with own_server("--log-bin-trust-function-creators=1") as running:
        yield running


def test_the_client_program_makes_the_same_database_of_an_export(
    any_server: ScratchServer,
) -> None:
    with shop_and_trap(any_server) as server:
        flavour = server.version.flavour
        mariadb = server.is_mariadb
        scripts = ["trap_schema.sql", "trap_schema_qualified.sql"] if mariadb else [MYSQL_TRAPS]
        for script in scripts:
            load_script(server, "trap", SUPPORT / script)
        taken = take(any_server.login, "trap")
        found = unexportable(taken.contents.definitions, flavour)
        for one, _ in found:
            server.run(f"DROP {one.kind} trap.`{one.name}`")
        refused = {one.name for one, _ in found}
        kept = tuple(one for one in taken.contents.definitions if one.name not in refused)
        contents = replace(taken.contents, definitions=kept)
        before = portrait(server, "trap")
        server.run("USE mysql")
        server.run("DROP DATABASE trap")
        server.run("CREATE DATABASE trap CHARACTER SET latin1")
        script_text = export_sql(
            contents, options=taken.options, read=taken.read, flavour=flavour
        )  # fmt: skip
        folder = None if mariadb else servers_folder(MYSQL)
        load.run_script(script_text, server, "trap", programs_folder=folder)
        lost = {name.split()[-1] for name in different(before, portrait(server, "trap"))}
    assert lost == (set() if mariadb else {"trap_json_typed"})
    assert len(refused) < 5


def test_what_the_client_program_would_misread_is_refused_by_name(
    scratch: ScratchServer, server: Server, database: str
) -> None:
    run_all(server, database, ("CREATE PROCEDURE odd() SELECT 'a\0b'",))
    taken = take(scratch.login, database)
    with pytest.raises(DumpFailed, match=r"procedure 'odd' cannot be exported: .* NUL byte"):
        export_sql(taken.contents, options=taken.options, read=taken.read, flavour=Flavour.MARIADB)
