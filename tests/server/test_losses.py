"""What the text of a dump loses is found and named before anybody has to miss it."""

from __future__ import annotations

import pytest

from support.server import Command, fresh_database, run_all
from ulasis_backup.model import TextLoss
from ulasis_backup.mysql.columns import row_source, rows_select
from ulasis_backup.mysql.losses import TRANSACTIONS, TYPED_JSON, inexact_columns
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

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


TYPED = (
    "CAST(CAST(1.10 AS DECIMAL(5,2)) AS JSON)",
    "JSON_ARRAY(CAST(12345.67 AS DECIMAL(7,2)))",
    "JSON_OBJECT('d', DATE'2020-01-01')",
    "JSON_ARRAY('x', TIME'-10:00:00')",
    "CAST(TIMESTAMP'2020-01-01 00:00:00.5' AS JSON)",
    "JSON_OBJECT('b', x'00FF')",
    "CAST(b'101' AS JSON)",
    # As text the one value is a byte longer, the other a byte shorter.
    "JSON_OBJECT('a', DATE'2020-01-01', 'b', CAST(1.10 AS DECIMAL(5,2)))",
    "JSON_OBJECT('deep', JSON_ARRAY(1, JSON_OBJECT('d', DATE'2020-01-01')))",
)
PLAIN = (
    """'{"b":1,  "a" : 2.5, "n":-0.0, "x":[null, true, 1e308, "2020-01-01", "é😀"]}'""",
    "'18446744073709551615'",
    "'1234567890123456789012345678901234567890.123456789'",
    "CAST(7 AS JSON)",
    "CAST(1.5e0 AS JSON)",
    "'null'",
    "NULL",
)


def test_json_with_types_that_text_does_not_have_is_named(mysql_server: ScratchServer) -> None:
    with connect(mysql_server.login) as server, fresh_database(mysql_server.login) as database:
        plain = ", ".join(f"({value})" for value in PLAIN)
        typed = ", ".join(f"({value})" for value in TYPED)
        statements = [
            "CREATE TABLE plain (j JSON, copy JSON AS (JSON_ARRAY(j, CAST(1.1 AS DECIMAL(2,1)))))",
            f"INSERT INTO plain (j) VALUES {plain}",
            # What an update in place frees stays where it is.
            f"""INSERT INTO plain (j) VALUES ('{{"a": "{"x" * 50}", "b": 1}}')""",
            "UPDATE plain SET j = JSON_SET(j, '$.a', 'y')",
            "CREATE TABLE typed (j JSON, `other j` JSON)",
            f"INSERT INTO typed (j) VALUES {typed}",
        ]
        run_all(server, database, statements)
        assert inexact_columns(server, database, ["plain"]) == ()
        loss = TextLoss(table="typed", column="j", what=TYPED_JSON, values=len(TYPED))
        assert inexact_columns(server, database, ["plain", "typed"]) == (loss,)
        for value in TYPED:
            server.run("DELETE FROM typed")
            server.run(f"INSERT INTO typed (j) VALUES ({value})")
            assert inexact_columns(server, database, ["typed"]) != (), value


def test_history_by_transaction_numbers_is_named_and_only_the_present_read(
    any_mariadb: ScratchServer,
) -> None:
    with connect(any_mariadb.login) as server, fresh_database(any_mariadb.login) as database:
        period = "PERIOD FOR SYSTEM_TIME (began, ended)) WITH SYSTEM VERSIONING"
        columns = "began {0} GENERATED ALWAYS AS ROW START, ended {0} GENERATED ALWAYS AS ROW END"
        statements = [
            f"CREATE TABLE numbers (a INT, {columns.format('BIGINT UNSIGNED')}, {period}",
            f"CREATE TABLE times (a INT, {columns.format('TIMESTAMP(6)')}, {period}",
            "CREATE TABLE plain (a INT)",
            "INSERT INTO numbers (a) VALUES (1), (2)",
            "DELETE FROM numbers WHERE a = 2",
        ]
        run_all(server, database, statements)
        found = inexact_columns(server, database, ["numbers", "times", "plain"])
        assert [(loss.table, loss.what) for loss in found] == [("numbers", TRANSACTIONS)]
        source = row_source(server, database, "numbers")
        assert server.query(rows_select(source)) == [(1,)]
        assert row_source(server, database, "times").versioned
