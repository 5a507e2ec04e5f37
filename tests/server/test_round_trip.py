"""``restore(backup(x)) == x``: for every way to store it, and for every trap of the server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.portrait import (
    SUPPORT,
    Portrait,
    different,
    load_blocks,
    load_sample,
    load_script,
    portrait,
)
from support.server import Command, command_for, fresh_database
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

KEY = os.urandom(32).hex()
UNSIGNED: dict[str, str] = {}
SIGNED = {"BACKUP_ENCRYPTION_KEY": KEY, "BACKUP_ENCRYPTION_ENABLED": "false"}
CBC = {"BACKUP_ENCRYPTION_KEY": KEY, "BACKUP_ENCRYPTION_CIPHER": "aes-256-cbc"}
GCM = {"BACKUP_ENCRYPTION_KEY": KEY, "BACKUP_ENCRYPTION_CIPHER": "aes-256-gcm"}
PAIRS = [
    *(
        (compression, way)
        for compression in ("gzip", "zstd", "none")
        for way in (UNSIGNED, CBC, GCM)
    ),
    ("gzip", SIGNED),
]


@pytest.fixture(scope="module")
def sample(scratch: ScratchServer) -> Iterator[tuple[str, Portrait]]:
    """Return the name of a database that holds the sample, and its portrait.

    Its FLOAT values are rounded to what text can hold, so that nothing at all may differ.
    """
    with fresh_database(scratch.login, "sample") as name, connect(scratch.login) as server:
        load_sample(server, name)
        server.run(f"UPDATE {quote(name)}.topic_weights SET weight = CAST(CONCAT(weight) AS FLOAT)")
        yield name, portrait(server, name)


def wreck(server: Server, database: str) -> None:
    """Take the whole database away and leave something else under its name."""
    server.run(f"DROP DATABASE {quote(database)}")
    server.run(f"CREATE DATABASE {quote(database)} CHARACTER SET sjis COMMENT 'not the old one'")
    server.run(f"CREATE TABLE {quote(database)}.intruder (id INT)")


@pytest.mark.parametrize("pair", PAIRS)
def test_the_sample_comes_back_whole_however_it_is_stored(
    sample: tuple[str, Portrait],
    command: Command,
    server: Server,
    pair: tuple[str, dict[str, str]],
) -> None:
    (database, before), (compression, way) = sample, pair
    command = command.having(DB_NAME=database, BACKUP_COMPRESSION=compression, **way)
    made = command.ok("backup")["backups"][0]
    assert made["encrypted"] is ("BACKUP_ENCRYPTION_CIPHER" in way)
    assert made["text_losses"] == []
    wreck(server, database)
    done = command.ok("restore", made["backup"], "--yes", "--skip-pre-restore-backup")
    assert (done["equal"], done["moved"]) == (True, [])
    assert different(before, portrait(server, database)) == set()


def test_the_sample_comes_back_but_for_the_digits_of_float_that_the_backup_named(
    database: str, command: Command, server: Server
) -> None:
    load_sample(server, database)
    before = portrait(server, database)
    made = command.ok("backup")["backups"][0]
    assert lost_columns(made) == {("topic_weights", "weight")}
    wreck(server, database)
    done = command.ok("restore", made["backup"], "--yes", "--skip-pre-restore-backup")
    assert done["lossy"] is True
    assert different(before, portrait(server, database)) == contents_of("topic_weights")


@pytest.fixture
def trusting(scratch: ScratchServer) -> Iterator[ScratchServer]:
    """Return the scratch server while it lets any function be created in spite of its binlog."""
    with connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        yield scratch
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


@pytest.mark.parametrize("character_set", ["utf8mb4", "latin1"])
def test_every_trap_comes_back_but_for_what_the_backup_named(
    trusting: ScratchServer, tmp_path: Path, character_set: str
) -> None:
    with fresh_database(trusting.login) as database, connect(trusting.login) as server:
        server.run(
            f"ALTER DATABASE {quote(database)} CHARACTER SET {character_set} COMMENT 'it''s'"
        )
        load_blocks(server, database, SUPPORT / "trap_schema.sql", leave=UNPRINTABLE)
        # Tables that lose something of their own are looked at below.
        run_statements(
            server, database, "DROP TABLE trap_enum_charsets", "DROP TABLE trap_unknown_options"
        )
        before = portrait(server, database)
        command = command_for(trusting.login, tmp_path, database, **CBC)
        made = command.ok("backup")["backups"][0]
        assert lost_columns(made) == {
            ("trap_float", "f"),
            ("trap_float", "f_unsigned"),
            ("trap_enum_empty", "e"),
            ("trap_enum_empty", "s"),
            ("trap sequence; cycle", ""),
        }
        assert made["left_out"] == []
        wreck(server, database)
        done = command.ok("restore", made["backup"], "--yes", "--skip-pre-restore-backup")
        assert (done["equal"], done["moved"], done["lossy"]) == (True, [], True)
        assert different(before, portrait(server, database)) == {
            *contents_of("trap_float"),
            *contents_of("trap_enum_empty"),
            "position of sequence trap sequence; cycle",
        }


def test_names_that_carry_their_own_schema_come_back(
    trusting: ScratchServer, tmp_path: Path
) -> None:
    with connect(trusting.login) as server:
        server.run("CREATE DATABASE trap CHARACTER SET utf8mb4")
        try:
            load_script(server, "trap", SUPPORT / "trap_schema_qualified.sql")
            before = portrait(server, "trap")
            command = command_for(trusting.login, tmp_path, "trap", **GCM)
            made = command.ok("backup")["backups"][0]
            assert made["text_losses"] == []
            wreck(server, "trap")
            done = command.ok("restore", made["backup"], "--yes", "--skip-pre-restore-backup")
            assert (done["equal"], done["moved"], done["lossy"]) == (True, [], False)
            assert different(before, portrait(server, "trap")) == set()
        finally:
            server.run("DROP DATABASE trap")


@pytest.mark.parametrize(
    ("block", "lost"),
    [
        ("enum_and_set_empty_member", "trap_enum_charsets"),
        ("defaults", "trap_unknown_options"),
        ("routine_comment_charset", "trap_procedure_latin1_comment"),
    ],
)
def test_definitions_that_cannot_be_printed_are_named_when_the_backup_is_made(
    trusting: ScratchServer, tmp_path: Path, block: str, lost: str
) -> None:
    with fresh_database(trusting.login) as database, connect(trusting.login) as server:
        load_blocks(server, database, SUPPORT / "trap_schema.sql", only=block)
        before = portrait(server, database)
        command = command_for(trusting.login, tmp_path, database)
        made = command.ok("backup")["backups"][0]
        assert lost in lost_tables(made)
        wreck(server, database)
        done = command.run("--json", "restore", "latest", "--yes", "--skip-pre-restore-backup")
        assert done.code in (0, 44), done.said
        # Nothing is lost but what was named.
        gone = different(before, portrait(server, database))
        assert {name.rpartition(" ")[2] for name in gone} <= lost_tables(made)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("float_key", "print alike"),
        ("event_semicolons", "trap_event_semicolons"),
        ("transaction_versioned", "transaction-precise"),
    ],
)
def test_what_no_dump_can_hold_is_refused_with_its_name(
    scratch: ScratchServer, tmp_path: Path, block: str, said: str
) -> None:
    with fresh_database(scratch.login) as database, connect(scratch.login) as server:
        load_blocks(server, database, SUPPORT / "trap_schema_refused.sql", only=block)
        command = command_for(scratch.login, tmp_path, database)
        done = command.run("--json", "backup")
        assert done.code == 16, done.said
        assert said in done.json["error"]["message"]
        assert command.ok("list")["backups"] == []


def test_equal_data_gives_equal_plain_bytes(
    scratch: ScratchServer, sample: tuple[str, Portrait], tmp_path: Path
) -> None:
    command = command_for(scratch.login, tmp_path, sample[0], BACKUP_COMPRESSION="none")
    first, second = (command.ok("backup")["backups"][0] for _ in range(2))
    # The binlog's position stands in the dump as a comment; nothing moved it in between.
    payloads = [(command.folder / made["backup"]).read_bytes() for made in (first, second)]
    assert payloads[0] == payloads[1]


UNPRINTABLE = ("routine_comment_charset",)


def run_statements(server: Server, database: str, *statements: str) -> None:
    server.run(f"USE {quote(database)}")
    for statement in statements:
        server.run(statement)


def lost_tables(made: dict[str, Any]) -> set[str]:
    """Return the tables of which the backup says that its text loses something."""
    return {loss["table"] for loss in made["text_losses"]}


def lost_columns(made: dict[str, Any]) -> set[tuple[str, str]]:
    return {(loss["table"], loss["column"]) for loss in made["text_losses"]}


def contents_of(table: str) -> set[str]:
    """Return the parts of a portrait that show the contents of *table*."""
    return {f"rows of table {table}", f"checksum of table {table}"}
