"""What is read of databases, and from when: keys without values, sequences, what is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from support.server import fresh_database, run_all
from ulasis_backup.errors import StorageFull
from ulasis_backup.methods.index import Begin, Index, Range
from ulasis_backup.methods.look import RowsOptions, Seen, SeenTable, look, with_positions
from ulasis_backup.methods.reading import RowsReader
from ulasis_backup.mysql.columns import Column
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.snapshot import MomentOptions, one_moment
from ulasis_backup.mysql.wire import Packets

pytestmark = pytest.mark.server


@pytest.fixture
def mysql(mysql_server: ScratchServer) -> Iterator[tuple[Server, str]]:
    """Return a session on MySQL, and an empty database."""
    with fresh_database(mysql_server.login) as database, connect(mysql_server.login) as server:
        yield server, database


@pytest.mark.parametrize("key", ["PRIMARY KEY (g)", "UNIQUE KEY (g, id)"])
def test_a_table_with_a_generated_column_in_its_key_is_read_in_its_order(
    mysql: tuple[Server, str], key: str
) -> None:
    server, database = mysql
    run_all(
        server,
        database,
        [
            f"CREATE TABLE t (id INT NOT NULL, g INT AS (100 - id) STORED NOT NULL, {key})",
            "INSERT INTO t (id) VALUES (1), (2), (3), (4), (5)",
        ],
    )
    options = RowsOptions(target=8)
    with one_moment(
        server.login,
        [database],
        look=lambda session: look(session, [database], options),
        options=MomentOptions(jobs=1),
    ) as moment:
        pieces: list[bytes] = []

        def keep(packets: Packets, base: Range | None) -> Range:
            assert base is None
            pieces.append(packets.data)
            return Range(rows=packets.rows, bytes=len(packets.data), fingerprint="00" * 32)

        reader = RowsReader(moment.sessions, keep, before=None, options=options)
        (table,) = reader.read(moment.seen.tables)
    assert (table.rows, [part.begin for part in table.ranges]) == (5, [None] * len(table.ranges))
    assert len(pieces) > 1
    assert b"".join(pieces) == b"".join(b"\x02\0\0\0\x01%d" % number for number in (5, 4, 3, 2, 1))


def asleep(table: SeenTable) -> SeenTable:
    """Return a table that takes the server ten minutes to read."""
    slow = Column(name="id", kind="int", select="SLEEP(600)")
    source = replace(table.head.source, columns=(slow,))
    return replace(table, head=replace(table.head, source=source))


def sleepers(server: Server) -> list[object]:
    asked = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SELECT%SLEEP(600)%'"
    return [number for (number,) in server.query(f"{asked} AND ID <> CONNECTION_ID()")]


@pytest.mark.parametrize("given_up", [True, False])
def test_reading_that_fails_or_is_given_up_waits_for_no_other_session(
    server: Server, database: str, *, given_up: bool
) -> None:
    run_all(server, database, [f"CREATE TABLE t{number} (id INT PRIMARY KEY)" for number in "12"])
    run_all(server, database, [f"INSERT INTO t{number} VALUES (1)" for number in "12"])
    options = RowsOptions()
    with one_moment(
        server.login,
        [database],
        look=lambda session: look(session, [database], options),
        options=MomentOptions(jobs=2),
    ) as moment:
        quick, slow = moment.seen.tables

        def keep(packets: Packets, base: Range | None) -> Range:
            assert base is None
            while not sleepers(server):
                time.sleep(0.01)
            if not given_up:
                raise StorageFull("no room")
            return Range(rows=packets.rows, bytes=len(packets.data), fingerprint="00" * 32)

        reader = RowsReader(moment.sessions, keep, before=None, options=options)
        if given_up:
            with closing(reader.read([quick, asleep(slow)])) as tables:
                assert next(tables).rows == 1
        else:
            with pytest.raises(StorageFull):
                list(reader.read([quick, asleep(slow)]))
    while sleepers(server):
        time.sleep(0.01)


def test_a_sequence_stands_behind_every_number_that_the_rows_of_the_moment_hold(
    server: Server, database: str
) -> None:
    run_all(
        server,
        database,
        [
            "CREATE SEQUENCE numbers NOCACHE",
            "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), x INT)",
            "INSERT INTO t (x) VALUES (1)",
        ],
    )

    def looking(session: Server) -> Seen:
        seen = look(session, [database], RowsOptions())
        server.run("INSERT INTO t (x) VALUES (2)")
        return seen

    options = MomentOptions(jobs=2)
    with one_moment(server.login, [database], look=looking, options=options) as moment:
        newest = moment.sessions[1].value(f"SELECT MAX(id) FROM {database}.t")
        seen = with_positions(moment.sessions[0], moment.seen)
    (sequence,) = (d for d in seen.databases[0].definitions if d.kind == "sequence")
    assert (newest, sequence.extra["position"]) == (2, "3")


@pytest.mark.parametrize(("version", "inherited"), [("", True), ("10.4.1-MariaDB", False)])
def test_boundaries_between_texts_are_not_inherited_from_another_version(
    server: Server, database: str, version: str, *, inherited: bool
) -> None:
    rows = ", ".join(f"('{letter * 9}')" for letter in "abcdefgh")
    run_all(
        server,
        database,
        ["CREATE TABLE t (v VARCHAR(20) PRIMARY KEY)", f"INSERT INTO t VALUES {rows}"],
    )
    server.run("SET character_set_results = NULL")
    options = RowsOptions(target=20)

    def keep(packets: Packets, base: Range | None) -> Range:
        bases.append(base)
        return Range(rows=packets.rows, bytes=len(packets.data), fingerprint="00" * 32)

    bases: list[Range | None] = []
    (table,) = look(server, [database], options).tables
    first = RowsReader([server], keep, before=None, options=options)
    (found,) = first.read([table])
    begin = Begin(
        databases=(database,), epoch="", epoch_key="",
        flavour=server.version.flavour, version=version or server.version.version,
    )  # fmt: skip
    before = Index(begin=begin, options={}, definitions={}, tables=(found,))
    bases.clear()
    (again,) = RowsReader([server], keep, before=before, options=options).read([table])
    assert again.rows == 8
    assert any(bases) is inherited
