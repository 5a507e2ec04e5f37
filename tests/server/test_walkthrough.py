"""The strategy's walk-through with its own variables, and everything that restores can meet."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.portrait import SUPPORT, different, load_script, portrait
from support.server import (
    Command,
    command_for,
    fresh_database,
    make_orders,
    networked_server,
    run_all,
)
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

KEY = os.urandom(32).hex()
OLD = {
    "ulasis-backup-2023-10-26.sql.gz.enc": b"what the old scripts encrypted",
    "ulasis-backup-2023-10-26.sql.gz.enc.meta.json": b'{"filename": "ulasis-backup-2023-10-26"}',
    "ulasis-backup-2023-09-01.sql.gz": b"\x1f\x8b not even gzip",
}
PASSWORD = "p#ss \"w'ord\\ ;$HOME"


@pytest.fixture
def orders(server: Server, database: str) -> str:
    """Return a database with two tables, a view, a trigger, a routine and an event."""
    make_orders(server, database, rows=200)
    return database


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def harm(server: Server, database: str) -> None:
    """Change, remove and add something of each kind."""
    run_all(
        server,
        database,
        (
            "DELETE FROM zebras",
            "UPDATE orders SET total = 1",
            "DROP VIEW totals",
            "DROP TRIGGER on_order",
            "DROP EVENT nightly",
            "ALTER TABLE customers DROP COLUMN note",
            "CREATE TABLE intruder (id INT)",
            "CREATE VIEW spy AS SELECT 1 AS one",
            "CREATE TRIGGER thief BEFORE INSERT ON zebras FOR EACH ROW SET NEW.stripes = 0",
            "CREATE PROCEDURE rob() SELECT 1",
            "CREATE FUNCTION lie() RETURNS INT DETERMINISTIC RETURN 1",
            "CREATE EVENT ambush ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
            "CREATE SEQUENCE more",
        ),
    )


EXTRA = {
    "table intruder",
    "view spy",
    "trigger thief",
    "procedure rob",
    "function lie",
    "event ambush",
    "sequence more",
}


def test_the_walk_through_of_the_strategy(
    orders: str, command: Command, server: Server, database: str
) -> None:
    command = command.having(
        BACKUP_COMPRESSION_LEVEL="6",
        BACKUP_ENCRYPTION_ENABLED="true",
        BACKUP_ENCRYPTION_KEY=KEY,
        BACKUP_RETENTION_DAYS="30",
        BACKUP_MAX_COUNT="10",
        DB_SSL_REQUIRE="true",  # met by the socket
        BACKUP_NAME="ulasis",
    )
    command.folder.mkdir()
    for name, content in OLD.items():
        (command.folder / name).write_bytes(content)
    before = portrait(server, orders)

    made = command.run("backup")
    assert made.code == 0, made.said
    file = next(word for word in made.out.split() if word.startswith("ulasis-backup-"))
    assert file.endswith(".sql.gz.enc")
    listed = command.run("list")
    assert listed.code == 0
    assert file in listed.out
    assert "old scripts" in listed.out
    verified = command.run("verify", file)
    assert (verified.code, "intact" in verified.out) == (0, True), verified.said
    every = command.run("verify-all")
    assert (every.code, "1 intact, 0 failed" in every.out) == (0, True), every.said

    names = [
        file,
        file.removesuffix(".sql.gz.enc"),
        file[: len("ulasis-backup-2026-11-22T02")],
        str(command.folder / file),
        f"{file}.meta.json",
        "latest",
    ]
    for name in names:
        assert command.ok("verify", name)["backup"] == file
        harm(server, orders) if name == names[0] else None
        restored = command.run("restore", name, "--yes", *_unsaved(name, names))
        assert restored.code == 0, restored.said
        assert different(before, portrait(server, database)) == set()
    for name, content in OLD.items():
        assert (command.folder / name).read_bytes() == content
        refused = command.run("--json", "restore", name, "--yes")
        assert refused.code == 31, refused.said


def _unsaved(name: str, names: list[str]) -> tuple[str, ...]:
    """Make a safety backup the first time only; with two backups a prefix is not unique."""
    return () if name == names[-1] else ("--skip-pre-restore-backup",)


def test_old_files_are_shown_as_foreign_and_stay_byte_for_byte(
    orders: str, command: Command
) -> None:
    command.folder.mkdir()
    for name, content in OLD.items():
        (command.folder / name).write_bytes(content)
    before = digests(command.folder)
    command.backup()
    others = command.ok("list")["others"]
    assert {entry["name"] for entry in others} == set(OLD)
    assert all("foreign" in entry["what"] and orders not in entry["name"] for entry in others)
    assert command.ok("verify-all")["failed"] == 0
    command.ok("restore", "latest", "--yes")
    after = digests(command.folder)
    assert {name: after[name] for name in OLD} == before


def test_every_command_prints_one_json_document(
    orders: str, command: Command, tmp_path: Path
) -> None:
    assert orders
    runs = [
        ("init",),
        ("keys", "generate"),
        ("keys", "generate", "--output", str(tmp_path / "key")),
        ("check",),
        ("test-connection",),
        ("list",),
        ("backup", "--note", "first"),
        ("backup", "--scheduled"),
        ("list",),
        ("list", "--here"),
        ("show", "latest"),
        ("verify", "latest"),
        ("verify-all",),
        ("restore", "latest", "--dry-run"),
        ("restore", "latest", "--yes"),
        ("restore", "latest", "--yes", "--no-compare", "--skip-pre-restore-backup"),
    ]
    for arguments in runs:
        done = command.run("--json", *arguments)
        assert done.code == 0, (arguments, done.said)
        assert isinstance(json.loads(done.out), dict), arguments
    failing = [
        (31, ("show", "nothing")),
        (31, ("verify", "nothing")),
        (31, ("restore", "nothing", "--yes")),
        (51, ("restore", "latest")),
        (2, ("no-such-command",)),
        (2, ("backup", "--no-such-option")),
        (2, ("verify",)),
    ]
    for code, arguments in failing:
        done = command.run("--json", *arguments)
        assert done.code == code, (arguments, done.said)
        assert done.json["error"]["exit_code"] == code
        assert done.json["error"]["message"]


def test_a_second_database_and_a_second_server_do_not_disturb_each_other(
    orders: str, command: Command, scratch: ScratchServer, networked: tuple[ScratchServer, int]
) -> None:
    other_server, _ = networked
    folder = command.settings["BACKUP_DIR"]
    with fresh_database(scratch.login) as second:
        blog = command.having(DB_NAME=second)
        far = command_for(other_server.login, command.home, orders, BACKUP_DIR=folder)
        with connect(scratch.login) as server, connect(other_server.login) as there:
            run_all(server, second, ("CREATE TABLE posts (id INT)",))
            there.run(f"CREATE DATABASE {quote(orders)}")
            run_all(there, orders, ("CREATE TABLE elsewhere (id INT)",))
            made = {
                name: [each.backup() for _ in range(2)]
                for name, each in (("shop", command), ("blog", blog), ("far", far))
            }
            made["shop"].append(command.backup())
            assert len(command.ok("list")["backups"]) == 7
            assert command.ok("list")["doubts"] == []
            for name, each in (("shop", command), ("blog", blog), ("far", far)):
                here = [entry["backup"] for entry in each.ok("list", "--here")["backups"]]
                assert here == made[name]
                assert each.ok("show", "latest")["payload"] == made[name][-1]
            before = portrait(server, second)
            command.ok("restore", "latest", "--yes")
            far.ok("restore", "latest", "--yes")
            assert different(before, portrait(server, second)) == set()
            assert set(portrait(there, orders)) >= {"table elsewhere"}
            assert command.ok("list")["doubts"] == []
            assert command.ok("verify-all")["failed"] == 0
            there.run(f"DROP DATABASE {quote(orders)}")


def test_what_the_backup_does_not_have_is_named_first_and_then_removed(
    orders: str, command: Command, server: Server
) -> None:
    before = portrait(server, orders)
    command.backup()
    harm(server, orders)
    harmed = portrait(server, orders)
    plan = command.ok("restore", "latest", "--dry-run")
    assert set(plan["removed"]) == EXTRA
    assert {"view totals", "trigger on_order", "event nightly"} <= set(plan["created"])
    assert {"table orders", "table zebras", "table customers"} <= set(plan["replaced"])
    shown = command.run("restore", "latest", "--dry-run").out
    assert all(name in shown for name in EXTRA)
    assert different(harmed, portrait(server, orders)) == set()
    assert len(command.ok("list")["backups"]) == 1
    done = command.ok("restore", "latest", "--yes")
    assert set(done["removed"]) == EXTRA
    assert different(before, portrait(server, orders)) == set()


def test_live_data_is_replaced_only_when_somebody_says_yes(
    orders: str, command: Command, server: Server
) -> None:
    command.backup()
    harm(server, orders)
    harmed = portrait(server, orders)
    for arguments in (("restore", "latest"), ("--json", "restore", "latest")):
        done = command.run(*arguments)
        assert done.code == 51, done.said
        assert "--yes" in done.err
    assert different(harmed, portrait(server, orders)) == set()
    assert len(command.ok("list")["backups"]) == 1


def test_an_empty_database_is_restored_unasked(
    orders: str, command: Command, server: Server
) -> None:
    before = portrait(server, orders)
    command.backup()
    server.run(f"DROP DATABASE {quote(orders)}")
    done = command.ok("restore", "latest")
    assert done["safety_backup"] is None
    # Made anew, with the character set that it had.
    assert different(before, portrait(server, orders)) == set()


def test_a_safety_backup_is_made_verified_listed_and_never_the_latest(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(BACKUP_ENCRYPTION_KEY=KEY)
    made = command.backup()
    harm(server, orders)
    harmed = portrait(server, orders)
    done = command.ok("restore", "latest", "--yes")
    listed = {entry["backup"]: entry for entry in command.ok("list")["backups"]}
    assert listed[done["safety_backup"]]["kind"] == "safety"
    assert made in listed[done["safety_backup"]]["note"]
    assert command.ok("show", "latest")["payload"] == made
    assert command.ok("verify", done["safety_backup"])["verdict"] == "intact"
    command.ok("restore", done["safety_backup"], "--yes")
    assert different(harmed, portrait(server, orders)) == set()


def test_without_a_safety_backup_when_asked_for(
    orders: str, command: Command, server: Server
) -> None:
    command.backup()
    harm(server, orders)
    done = command.ok("restore", "latest", "--yes", "--skip-pre-restore-backup")
    assert done["safety_backup"] is None
    assert len(command.ok("list")["backups"]) == 1


@pytest.mark.parametrize("way", ["plain", "aes-256-cbc", "aes-256-gcm"])
def test_a_payload_whose_manifest_is_lost_is_restored_as_an_orphan(
    orders: str, command: Command, server: Server, way: str
) -> None:
    if way != "plain":
        command = command.having(BACKUP_ENCRYPTION_KEY=KEY, BACKUP_ENCRYPTION_CIPHER=way)
    before = portrait(server, orders)
    name = command.backup()
    (command.folder / f"{name}.meta.json").unlink()
    assert command.ok("list")["backups"] == []
    assert command.run("--json", "restore", name, "--yes").code == 31
    harm(server, orders)
    done = command.ok("restore", name, "--orphan", "--yes", "--skip-pre-restore-backup")
    assert done["target"] == orders
    assert different(before, portrait(server, orders)) == set()


def test_an_orphan_opens_with_the_right_key_alone(
    orders: str, command: Command, server: Server
) -> None:
    sealed = command.having(BACKUP_ENCRYPTION_KEY=KEY)
    name = sealed.backup()
    (command.folder / f"{name}.meta.json").unlink()
    harm(server, orders)
    harmed = portrait(server, orders)
    restoring = ("--json", "restore", name, "--orphan", "--yes")
    assert command.run(*restoring).code == 42
    assert command.having(BACKUP_ENCRYPTION_KEY=os.urandom(32).hex()).run(*restoring).code == 42
    payload = command.folder / name
    whole = payload.read_bytes()
    payload.write_bytes(whole[:-1])
    assert sealed.run(*restoring).code == 41
    payload.write_bytes(whole)
    assert different(harmed, portrait(server, orders)) == set()
    assert len(command.ok("list")["backups"]) == 0


def test_a_plain_orphan_is_refused_while_a_key_is_configured(orders: str, command: Command) -> None:
    assert orders
    name = command.backup()
    (command.folder / f"{name}.meta.json").unlink()
    keyed = command.having(BACKUP_ENCRYPTION_KEY=KEY)
    arguments = ("--json", "restore", name, "--orphan", "--yes")
    assert keyed.run(*arguments).code == 41
    assert keyed.run(*arguments, "--allow-unauthenticated").code == 0


def test_a_plain_orphan_that_is_cut_short_is_refused_before_anything_is_touched(
    orders: str, command: Command, server: Server
) -> None:
    command = command.having(BACKUP_COMPRESSION="none")
    name = command.backup()
    (command.folder / f"{name}.meta.json").unlink()
    payload = command.folder / name
    payload.write_bytes(payload.read_bytes()[:-30])
    harm(server, orders)
    harmed = portrait(server, orders)
    done = command.run("--json", "restore", name, "--orphan", "--yes")
    assert done.code in (16, 40), done.said
    assert different(harmed, portrait(server, orders)) == set()


def test_a_restore_that_fails_half_way_prints_the_command_that_mends_it(
    orders: str, command: Command, server: Server, tmp_path: Path
) -> None:
    command.backup()
    harm(server, orders)
    harmed = portrait(server, orders)
    client = tmp_path / "programs" / "mariadb"
    client.parent.mkdir()
    client.write_text(
        "#!/bin/bash\n"
        'if [[ "$*" == *--version* ]]; then exec mariadb "$@"; fi\n'
        'head -c 9000 | grep -v "^--" | mariadb "$@"; exit 1\n'
    )
    client.chmod(0o755)
    (client.parent / "mariadb-dump").symlink_to("/usr/bin/mariadb-dump")
    broken = command.having(BACKUP_PROGRAMS_DIR=str(client.parent))
    done = broken.run("--json", "restore", "latest", "--yes")
    assert (done.code, f"{orders} is as it was" in done.said) == (18, True), done.said
    assert different(harmed, portrait(server, orders)) == set()
    done = broken.run("--json", "restore", "latest", "--yes", "--in-place")
    assert done.code == 18, done.said
    assert different(harmed, portrait(server, orders)) != set(), done.said
    words = shlex.split(done.json["error"]["hint"].partition("`")[2].partition("`")[0])
    assert words[0] == "ulasis-backup", done.said
    mended = command.run(*words[1:])
    assert mended.code == 0, mended.said
    assert different(harmed, portrait(server, orders)) == set()


@pytest.fixture
def trap(scratch: ScratchServer) -> Iterator[str]:
    """Return the database whose definitions carry its name, ``trap``."""
    with connect(scratch.login) as server:
        server.run("CREATE DATABASE trap CHARACTER SET utf8mb4")
        try:
            load_script(server, "trap", SUPPORT / "trap_schema_qualified.sql")
            yield "trap"
        finally:
            server.run("DROP DATABASE trap")


REFUSED = {
    # `trap` is a variable here, and a schema.
    "procedure p": "DROP PROCEDURE trap.p",
    # A column alias and a table of the schema's own name.
    "view a_view_on_v": "DROP VIEW trap.a_view_on_v",
    "table trap": "DROP TABLE trap.trap",
}


def test_names_that_cannot_be_rewritten_are_refused_before_anything_is_touched(
    trap: str, command: Command, server: Server
) -> None:
    command = command.having(DB_NAME=trap)
    command.backup()
    before = portrait(server, trap)
    known = server.query("SHOW DATABASES")
    done = command.run("--json", "restore", "latest", "--target-database", "trap_copy", "--yes")
    assert done.code == 50, done.said
    assert "cannot be rewritten" in done.json["error"]["message"]
    assert server.query("SHOW DATABASES") == known
    assert different(before, portrait(server, trap)) == set()


def test_a_copy_under_another_name_never_touches_the_live_database(
    trap: str, command: Command, server: Server, scratch: ScratchServer
) -> None:
    for statement in REFUSED.values():
        server.run(statement)
    command = command.having(DB_NAME=trap)
    command.backup()
    server.run("INSERT INTO trap.t (v) VALUES ('newer than the backup')")
    live = portrait(server, trap)
    with fresh_database(scratch.login) as copy:
        done = command.ok("restore", "latest", "--target-database", copy)
        assert (done["target"], done["equal"]) == (copy, True)
        assert different(live, portrait(server, trap)) == set()
        # The copy works on itself: triggers, routines, defaults, keys and views.
        rows = f"SELECT COUNT(*) FROM {quote(copy)}.t"
        count = int(server.value(rows))
        run_all(server, copy, ("INSERT INTO t (v) VALUES ('in the copy')", "DELETE FROM child"))
        server.run(f"DELETE FROM {quote(copy)}.t WHERE v LIKE 'two%%'")
        assert server.value(rows) == count
        assert server.value(f"SELECT {quote(copy)}.f(1)") == count
        assert len(server.query(f"SELECT * FROM {quote(copy)}.v")) == count
        server.query(f"CALL {quote(copy)}.q()")
        assert different(live, portrait(server, trap)) == set()
        texts = json.dumps(sorted(str(value) for value in portrait(server, copy).values()))
        left = texts.replace("'trap.t'", "").replace("trap.t in a comment", "")
        assert "`trap`.`seq`" not in left
        assert "REFERENCES `trap`" not in left


def test_a_copy_into_a_database_that_is_in_use_saves_that_one_first(
    orders: str, command: Command, server: Server, scratch: ScratchServer
) -> None:
    before = portrait(server, orders)
    command.backup()
    with fresh_database(scratch.login) as other:
        run_all(
            server, other, ("CREATE TABLE precious (id INT)", "INSERT INTO precious VALUES (7)")
        )
        target = ("restore", "latest", "--target-database", other)
        assert command.run("--json", *target).code == 51
        done = command.ok(*target, "--yes")
        assert done["removed"] == ["table precious"]
        assert different(before, portrait(server, orders)) == set()
        saved = command.having(DB_NAME=other)
        saved.ok("restore", done["safety_backup"], "--yes", "--skip-pre-restore-backup")
        assert server.query(f"SELECT * FROM {quote(other)}.precious") == [(7,)]


@pytest.mark.parametrize("target", ["mysql", "information_schema", "x" * 65, "sys"])
def test_no_restore_goes_into_the_servers_own_databases(
    orders: str, command: Command, target: str
) -> None:
    assert orders
    command.backup()
    done = command.run("--json", "restore", "latest", "--target-database", target, "--yes")
    assert done.code == 2, done.said


READING = (
    "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON {database}.* TO {account}",
    "GRANT SELECT ON mysql.proc TO {account}",
    "GRANT PROCESS, BINLOG MONITOR ON *.* TO {account}",
)
ON_OBJECTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, "
    "CREATE VIEW, SHOW VIEW, TRIGGER, EVENT, CREATE ROUTINE, ALTER ROUTINE"
)
WRITING = (
    f"GRANT {ON_OBJECTS} ON {{database}}.* TO {{account}}",
    "GRANT SET USER ON *.* TO {account}",
)


@pytest.fixture
def logins(scratch: ScratchServer, database: str) -> Iterator[tuple[Login, Login]]:
    """Return logins with exactly the rights that docs/start.md gives, on a server that trusts."""
    made = []
    with connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        for user, grants in (("walk_reader", READING), ("walk_writer", WRITING)):
            account = f"{user}@localhost"
            server.run(f"CREATE USER {account} IDENTIFIED BY %s", (PASSWORD,))
            escaped = quote(database.replace("_", "\\_"))
            for grant in grants:
                server.run(grant.format(database=escaped, account=account))
            made.append(replace(scratch.login, user=user, password=Secret(PASSWORD)))
        try:
            yield made[0], made[1]
        finally:
            server.run("DROP USER walk_reader@localhost, walk_writer@localhost")
            server.run("SET GLOBAL log_bin_trust_function_creators = 0")


def test_two_logins_with_the_documented_rights_are_enough_and_the_reader_stays_one(
    orders: str, server: Server, logins: tuple[Login, Login], tmp_path: Path
) -> None:
    reader, writer = logins
    before = portrait(server, orders)
    command = command_for(reader, tmp_path, orders, BACKUP_ENCRYPTION_KEY=KEY)
    checked = command.ok("check")
    assert checked["failed"] == 0
    made = command.ok("backup")["backups"][0]
    assert (made["partial"], made["notices"]) == (False, [])
    harm(server, orders)
    harmed = portrait(server, orders)
    refused = command.run("--json", "restore", "latest", "--yes")
    assert refused.code == 13, refused.said
    assert "GRANT" in refused.json["error"]["hint"]
    assert different(harmed, portrait(server, orders)) == set()
    both = command.having(DB_RESTORE_USER=writer.user, DB_RESTORE_PASSWORD=PASSWORD)
    done = both.ok("restore", "latest", "--yes")
    assert done["equal"] is True
    assert different(before, portrait(server, orders)) == set()


def test_a_restore_login_with_a_wrong_password_is_named(orders: str, command: Command) -> None:
    assert orders
    command.backup()
    bad = command.having(DB_RESTORE_USER="nobody_here", DB_RESTORE_PASSWORD="wrong-one")
    done = bad.run("--json", "restore", "latest", "--yes")
    assert done.code == 12, done.said
    assert "DB_RESTORE_USER" in done.json["error"]["hint"]
    assert "wrong-one" not in done.said


def test_several_databases_make_a_backup_each(
    orders: str, command: Command, scratch: ScratchServer
) -> None:
    with fresh_database(scratch.login) as second:
        both = command.having(DB_NAME=f"{orders},{second}")
        made = both.ok("backup")
        assert [entry["database"] for entry in made["backups"]] == [orders, second]
        everything = command.having(DB_NAME="*").ok("backup")
        names = {entry["database"] for entry in everything["backups"]}
        assert {orders, second} <= names
        assert not names & {"mysql", "sys", "information_schema", "performance_schema"}
        partly = command.having(DB_NAME=f"{orders},no_such_database").run("--json", "backup")
        assert partly.code == 2, partly.said
        assert [entry["database"] for entry in partly.json["backups"]] == [orders]
        assert partly.json["failed"][0]["database"] == "no_such_database"
        assert command.having(DB_NAME=second).ok("show", "latest")["databases"] == [second]


def test_odd_database_names_go_the_whole_way(command: Command, server: Server) -> None:
    for name in ("two `words`", "quo'te\"s", "Größe 表", "100%_x", "-- a.b"):
        server.run(f"CREATE DATABASE {quote(name)} CHARACTER SET utf8mb4")
        try:
            run_all(server, name, ("CREATE TABLE `t``x` (id INT)", "INSERT INTO `t``x` VALUES (1)"))
            before = portrait(server, name)
            odd = command.having(DB_NAME=name)
            odd.backup()
            run_all(server, name, ("DELETE FROM `t``x`", "CREATE VIEW v AS SELECT 1 AS n"))
            done = odd.ok("restore", "latest", "--yes")
            assert done["equal"] is True
            assert different(before, portrait(server, name)) == set()
        finally:
            server.run(f"DROP DATABASE {quote(name)}")


def test_the_same_over_tcp(networked: tuple[ScratchServer, int], tmp_path: Path) -> None:
    there, port = networked
    with fresh_database(there.login) as database, connect(there.login) as server:
        make_orders(server, database, rows=100)
        before = portrait(server, database)
        server.run("CREATE USER tcp@'127.0.0.1' IDENTIFIED BY %s", (PASSWORD,))
        server.run("GRANT ALL ON *.* TO tcp@'127.0.0.1'")
        login = Login(host="127.0.0.1", port=port, user="tcp", password=Secret(PASSWORD))
        command = command_for(login, tmp_path, database)
        try:
            command.backup()
            harm(server, database)
            command.ok("restore", "latest", "--yes")
            assert different(before, portrait(server, database)) == set()
            # This server offers no TLS, and nothing goes on without when it is required.
            done = command.having(DB_SSL_REQUIRE="true").run("--json", "backup")
            assert done.code in (11, 12), done.said
        finally:
            server.run("DROP USER tcp@'127.0.0.1'")


def test_the_command_that_is_printed_is_the_one_that_was_run(command: Command) -> None:
    """``python -m ulasis_backup`` is the same as the installed command."""
    installed = Path(sys.executable).parent / "ulasis-backup"
    assert installed.exists()
    done = command.behind("/usr/bin/env").run("--version")
    assert done.code == 0
    assert done.out.startswith("ulasis-backup ")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a CA, a certificate of it for 127.0.0.1, and another CA."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        openssl(
            folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            f"/CN=tests {name}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    openssl(
        folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1",
        "-keyout", "server.key", "-out", "server.csr",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(
        folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem",
    )  # fmt: skip
    return folder


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[tuple[ScratchServer, Login]]:
    """Return a server that speaks TLS, and a login that it lets in over TLS alone."""
    options = (f"--ssl-cert={certificates}/server.pem", f"--ssl-key={certificates}/server.key")
    with networked_server(*options) as (running, port), connect(running.login) as server:
        server.run("CREATE USER safe@'%%' IDENTIFIED BY %s REQUIRE SSL", (PASSWORD,))
        server.run("GRANT ALL ON *.* TO safe@'%'")
        login = Login(host="127.0.0.1", port=port, user="safe", password=Secret(PASSWORD))
        yield running, login


def test_tls_is_used_when_it_is_required_and_proves_the_server_when_there_is_a_ca(
    encrypted: tuple[ScratchServer, Login], certificates: Path, tmp_path: Path
) -> None:
    running, login = encrypted
    with fresh_database(running.login) as database, connect(running.login) as server:
        make_orders(server, database, rows=50)
        before = portrait(server, database)
        bare = command_for(login, tmp_path, database)
        required = bare.having(DB_SSL_REQUIRE="true")
        proven = required.having(DB_SSL_CA=str(certificates / "ca.pem"))
        assert bare.run("--json", "backup").code == 12
        required.backup()
        proven.backup()
        assert tls_finding(required) == ("warning", "not verified")
        assert tls_finding(proven) == ("ok", "is verified")
        harm(server, database)
        proven.ok("restore", "latest", "--yes")
        assert different(before, portrait(server, database)) == set()


@pytest.mark.parametrize("wrong", ["other.pem", "server.key", "missing.pem"])
def test_a_server_that_the_ca_does_not_vouch_for_gets_no_password(
    encrypted: tuple[ScratchServer, Login], certificates: Path, tmp_path: Path, wrong: str
) -> None:
    running, login = encrypted
    with fresh_database(running.login) as database:
        command = command_for(login, tmp_path, database, DB_SSL_REQUIRE="true")
        done = command.having(DB_SSL_CA=str(certificates / wrong)).run("--json", "backup")
        assert done.code in (11, 12), done.said
        assert done.json["error"]["hint"]
        assert command.ok("list")["backups"] == []


def test_a_certificate_for_another_name_is_refused(
    encrypted: tuple[ScratchServer, Login], certificates: Path, tmp_path: Path
) -> None:
    running, login = encrypted
    with fresh_database(running.login) as database:
        command = command_for(
            replace(login, host="localhost"), tmp_path, database, DB_SSL_REQUIRE="true"
        )
        assert command.having().run("--json", "backup").code == 0
        done = command.having(DB_SSL_CA=str(certificates / "ca.pem")).run("--json", "backup")
        assert done.code in (11, 12), done.said


def tls_finding(command: Command) -> tuple[str, str]:
    """Return state of the check of TLS, and what it says about the server's identity."""
    (found,) = (entry for entry in command.ok("check")["checks"] if entry["name"] == "tls")
    said = "not verified" if "not verified" in found["message"] else "is verified"
    assert said in found["message"]
    return found["state"], said
