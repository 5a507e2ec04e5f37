"""An export is an ordinary dump: the client program makes the same database of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.contents import take
from support.portrait import SUPPORT, different, load_script, portrait
from support.server import own_server, run_all
from ulasis_backup.errors import DumpFailed
from ulasis_backup.methods import load
from ulasis_backup.methods.export import export_sql, unexportable
from ulasis_backup.methods.rows_restore import DatabaseContents
from ulasis_backup.model import Flavour
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def scratch() -> Iterator[ScratchServer]:
    with own_server("--log-bin-trust-function-creators=1") as running:
        yield running


def test_the_client_program_makes_the_same_database_of_an_export(
    scratch: ScratchServer, server: Server
) -> None:
    server.run("CREATE DATABASE trap CHARACTER SET utf8mb4")
    for script in ("trap_schema.sql", "trap_schema_qualified.sql"):
        load_script(server, "trap", SUPPORT / script)
    taken = take(scratch.login, "trap")
    refused = {one.name for one, _ in unexportable(taken.contents.definitions)}
    for one, _ in unexportable(taken.contents.definitions):
        server.run(f"DROP {one.kind} trap.`{one.name}`")
    kept = tuple(one for one in taken.contents.definitions if one.name not in refused)
    contents = replace(taken.contents, definitions=kept)
    before = portrait(server, "trap")
    server.run("DROP DATABASE trap")
    server.run("CREATE DATABASE trap CHARACTER SET utf8mb4")
    load.run_script(export_sql(contents, read=taken.read, flavour=Flavour.MARIADB), server, "trap")
    assert different(before, portrait(server, "trap")) == set()
    assert len(refused) < 5


def test_what_the_client_program_would_misread_is_refused_by_name(
    scratch: ScratchServer, server: Server, database: str
) -> None:
    run_all(server, database, ("CREATE PROCEDURE odd() SELECT 'a\0b'",))
    contents: DatabaseContents = take(scratch.login, database).contents
    with pytest.raises(DumpFailed, match=r"procedure 'odd' cannot be exported: .* NUL byte"):
        list(export_sql(contents, read=lambda _: b"", flavour=Flavour.MARIADB))
