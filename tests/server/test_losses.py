"""What the text of a dump loses is found and named before anybody has to miss it."""

from __future__ import annotations

import pytest

from support.server import Command, run_all
from ulasis_backup.mysql.server import Server, quote

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    "case",
    [
        ("sjis", "0x835C5C", 1),
        ("sjis", "0x835C", 0),
        ("cp932", "0xFA4A", 1),
        ("ascii", "0xC3A4", 1),
        ("latin1", "0x8081FF", 0),
        ("utf16", "0x00E4D83DDE00", 0),
    ],
)
def test_text_that_does_not_survive_utf8mb4_is_named(
    server: Server, database: str, command: Command, case: tuple[str, str, int]
) -> None:
    charset, value, lost = case
    insert = f"INSERT INTO t VALUES (CAST({value} AS BINARY))"
    run_all(server, database, [f"CREATE TABLE t (a VARCHAR(9)) CHARACTER SET {charset}", insert])
    made = command.ok("backup")["backups"][0]
    assert [loss["values"] for loss in made["text_losses"]] == [lost][:lost]
    before = server.value(f"SELECT HEX(a) FROM {quote(database)}.t")
    done = command.ok("restore", "latest", "--yes")
    assert done["lossy"] is bool(lost)
    assert (server.value(f"SELECT HEX(a) FROM {quote(database)}.t") != before) is bool(lost)


def test_values_of_a_unique_key_that_print_alike_are_refused(
    server: Server, database: str, command: Command
) -> None:
    rows = "INSERT INTO t VALUES (16777214), (16777215)"
    run_all(server, database, ["CREATE TABLE t (f FLOAT PRIMARY KEY)", rows])
    refused = command.run("backup")
    assert refused.code == 16
    assert "unique key" in refused.said
