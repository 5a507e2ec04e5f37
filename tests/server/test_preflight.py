"""What a restore looks for before it touches anything: each finding, and nothing touched."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from support.portrait import portrait
from support.server import (
    MYSQL,
    SYSTEMS_OWN,
    Command,
    Result,
    command_for,
    emptied,
    fresh_database,
    own_server,
    run_all,
    servers_folder,
)
from ulasis_backup.errors import PrivilegeMissing, Refused, ServerUnsuitable
from ulasis_backup.methods.definers import Redefining, Traits, redefine_pieces
from ulasis_backup.methods.dump_objects import units_of
from ulasis_backup.methods.mend import quote_triggers
from ulasis_backup.methods.sections import split
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import DatabaseDenied, Server, connect
from ulasis_backup.operations.suited import refuse_unknown_settings

pytestmark = pytest.mark.server

Start = Callable[[str], ScratchServer]
METHODS = ("sql", "rows")
SHOP = "preflight_shop"
OWNER = "shop_owner@localhost"
WAYS_OUT = "or restore with --definers current (your login instead) or --definers skip"
OBJECTS = (
    "CREATE TABLE t (id INT PRIMARY KEY, a INT)",
    "INSERT INTO t VALUES (1, 1), (2, 2)",
    "CREATE DEFINER={owner} TRIGGER t1 BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
    "CREATE DEFINER={root} TRIGGER t2 BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 2",
    "CREATE DEFINER={owner} TRIGGER t3 BEFORE UPDATE ON t FOR EACH ROW SET @x = 'DEFINER=`a`@`b`'",
    "CREATE DEFINER={owner} VIEW v AS SELECT id FROM t",
    "CREATE DEFINER={root} VIEW w AS SELECT id FROM v",
    # Of the same name as what is gone, and no need of it.
    "CREATE TABLE p (f INT)",
    "CREATE DEFINER={root} VIEW u AS SELECT f FROM p",
    "CREATE DEFINER={owner} FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE DEFINER={root} FUNCTION g() RETURNS INT DETERMINISTIC RETURN 2",
    "CREATE DEFINER={owner} PROCEDURE p() SELECT 1",
    "CREATE DEFINER={owner} EVENT e1 ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    "CREATE DEFINER={root} EVENT e2 ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 2",
    "CREATE DEFINER={owner} EVENT e3 ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 3",
)
SHOWN_KINDS = ("trigger", "view", "function", "procedure", "event")
OWNED = ("trigger t1", "trigger t3", "view v", "function f", "procedure p", "event e1", "event e3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A server with a database whose objects had an owner that is gone, and backups of it."""

    login: Login
    command: Command
    backups: dict[str, str]


@pytest.fixture(scope="module", params=(SYSTEMS_OWN, MYSQL))
def shop(
    request: pytest.FixtureRequest, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    running, folder = start(request.param), servers_folder(request.param)
    settings = {"BACKUP_PROGRAMS_DIR": str(folder)} if folder else {}
    command = command_for(running.login, tmp_path_factory.mktemp("shop"), SHOP, **settings)
    with emptied(running, SHOP) as server:
        server.run(f"DROP USER IF EXISTS {OWNER}")
        server.run(f"CREATE USER {OWNER}")
        server.run(f"CREATE DATABASE {SHOP}")
        server.run(f"GRANT ALL ON {SHOP}.* TO {OWNER}")
        run_all(server, SHOP, [t.format(owner=OWNER, root="root@localhost") for t in OBJECTS])
        backups = {method: command.having(BACKUP_METHOD=method).backup() for method in METHODS}
        server.run(f"DROP USER {OWNER}")
        yield Shop(login=running.login, command=command, backups=backups)


@contextmanager
def untouched(login: Login, database: str) -> Iterator[None]:
    """Expect that *database* is the same at the end, but for a change made at the beginning."""
    with connect(login) as server:
        before = portrait(server, database)
        yield
        assert portrait(server, database) == before


def expect_refusal(done: Result, code: int, message: str, hint: str) -> None:
    error = done.json["error"]
    assert (error["exit_code"], error["message"], error["hint"]) == (code, message, hint)
    assert done.code == code


@pytest.mark.parametrize("method", METHODS)
def test_a_view_that_the_server_would_not_create_is_named_before_anything_is_touched(
    shop: Shop, method: str
) -> None:
    with untouched(shop.login, SHOP):
        done = shop.command.run("--json", "restore", shop.backups[method], "--yes")
    expect_refusal(
        done,
        ServerUnsuitable.exit_code,
        "view w cannot be created: view v, which it reads, has a definer that does not exist on "
        f"the target: {OWNER}",
        f"create that account first, {WAYS_OUT}",
    )


@pytest.mark.parametrize("method", METHODS)
def test_definers_that_do_not_exist_give_way_to_the_restoring_login(
    shop: Shop, method: str
) -> None:
    copy = f"{SHOP}_copy"
    done = shop.command.ok(
        "restore", shop.backups[method], "--definers", "current", "--target-database", copy
    )
    assert done["equal"]
    said = f"definer {OWNER} is replaced by root@localhost: event e1, event e3, function f, "
    assert any(notice.startswith(said) for notice in done["notices"])
    with connect(shop.login) as server:
        found = portrait(server, copy)
        server.run(f"DROP DATABASE {copy}")
    assert set(OWNED) <= found.keys()
    assert "shop_owner" not in str(found)
    # What only looks like a definer stays.
    assert "DEFINER=`a`@`b`" in str(found["trigger t3"])


@pytest.mark.parametrize("method", METHODS)
def test_objects_of_definers_that_do_not_exist_can_be_left_out(shop: Shop, method: str) -> None:
    copy = f"{SHOP}_copy"
    done = shop.command.ok(
        "restore", shop.backups[method], "--definers", "skip", "--target-database", copy
    )
    assert done["equal"]
    why = f"is left out: its definer {OWNER} cannot be had on the target"
    needing = "view w is left out: it needs view v, which is left out"
    expected = {*(f"{label} {why}" for label in OWNED), needing}
    assert {notice for notice in done["notices"] if "left out" in notice} == expected
    with connect(shop.login) as server:
        found = portrait(server, copy)
        server.run(f"DROP DATABASE {copy}")
    objects = {"trigger t2", "view u", "function g", "event e2"}
    assert {name for name in found if name.split()[0] in SHOWN_KINDS} == objects


@pytest.fixture
def restorer(shop: Shop) -> Iterator[str]:
    """Return the quoted account of a login that may write the shop, and set no definers."""
    with connect(shop.login) as server:
        server.run("DROP USER IF EXISTS restorer@localhost")
        server.run("CREATE USER restorer@localhost IDENTIFIED BY 'x'")
        server.run(f"GRANT ALL ON {SHOP}.* TO restorer@localhost")
        yield "'restorer'@'localhost'"
        server.run("DROP USER restorer@localhost")


@pytest.mark.parametrize("method", ["rows"])
def test_each_missing_right_about_definers_is_told_by_its_grant(
    shop: Shop, method: str, restorer: str
) -> None:
    command = shop.command.having(DB_RESTORE_USER="restorer", DB_RESTORE_PASSWORD="x")
    checked = command.run("--json", "check").json["checks"]
    (own,) = (
        entry
        for entry in checked
        # Of the other one `check` says that it restores in place alone.
        if entry["name"] == "restore login" and "definer" in entry["message"]
    )
    right = "SET_ANY_DEFINER" if "SET_ANY_DEFINER" in own["hint"] else "SET USER"
    assert (own["state"], f"GRANT {right} ON *.* TO {restorer};" in own["hint"]) == (
        "warning",
        True,
    )
    said = []
    done = Result(code=0, out="", err="")
    with connect(shop.login) as server, untouched(shop.login, SHOP):
        for _ in range(8):
            done = command.run("--json", "restore", shop.backups[method], "--yes")
            if done.code != PrivilegeMissing.exit_code:
                break
            hint = done.json["error"]["hint"]
            assert hint.startswith("run as an administrator: ")
            grants = re.findall(r"GRANT [^;]+;", hint)
            said += grants
            for grant in grants:
                server.run(grant)
        mariadb = server.is_mariadb
    orders = [
        f"GRANT SELECT ON mysql.global_priv TO {restorer};",
        f"GRANT SET USER ON *.* TO {restorer};",
    ]
    if not mariadb:
        orders = [
            f"GRANT SET_ANY_DEFINER ON *.* TO {restorer};",
            f"GRANT SELECT ON mysql.user TO {restorer};",
            f"GRANT SELECT ON mysql.global_grants TO {restorer};",
            f"GRANT ALLOW_NONEXISTENT_DEFINER ON *.* TO {restorer};",
            f"GRANT SYSTEM_USER ON *.* TO {restorer};",
        ]
    # Which is named first is nobody's concern: several may be named at once.
    assert sorted(said) == sorted(orders)
    # All that it asked for: what is left is the view that no right helps.
    assert done.code == ServerUnsuitable.exit_code


@pytest.mark.parametrize("method", ["rows"])
def test_a_login_that_may_set_no_definers_restores_with_its_own(
    shop: Shop, method: str, restorer: str
) -> None:
    command = shop.command.having(DB_RESTORE_USER="restorer", DB_RESTORE_PASSWORD="x")
    words = ("restore", shop.backups[method], "--yes", "--definers", "current")
    with connect(shop.login) as server:
        if not server.is_mariadb:
            with untouched(shop.login, SHOP):
                done = command.run("--json", *words)
            expect_refusal(
                done,
                PrivilegeMissing.exit_code,
                f"{SHOP} holds objects of definers that may have SYSTEM_USER, which this login "
                f"may not drop: root@localhost, {OWNER}",
                f"run as an administrator: GRANT SYSTEM_USER ON *.* TO {restorer};",
            )
            return
    assert command.ok(*words, "--skip-pre-restore-backup")["equal"]
    with connect(shop.login) as server:
        found = str(portrait(server, SHOP))
    assert ("shop_owner" in found, "`root`@" in found) == (False, False)


def test_an_unknown_way_with_definers_is_a_mistake(shop: Shop) -> None:
    done = shop.command.run("--json", "restore", "latest", "--definers", "none")
    expect_refusal(done, 2, "--definers: there is no 'none'", "choose one of: keep, current, skip")


@pytest.mark.parametrize(
    "dropped", [(0, 1), (1, 0), (2,), (0, 1, 2)], ids=["first", "second", "last", "all"]
)
def test_a_dump_without_some_objects_is_what_the_program_writes_when_they_are_gone(
    database: str, start: Start, dropped: tuple[int, ...]
) -> None:
    with emptied(start(SYSTEMS_OWN), database) as server:
        collations = ("latin1_german1_ci", "utf8mb4_bin", "utf8mb4_general_ci")
        server.run(f"CREATE DATABASE {database}")
        run_all(server, database, ["CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)"])
        made = []
        for number, collation in enumerate(collations):
            # An object of another collation than its database's has lines of its own around it.
            server.run(f"ALTER DATABASE {database} COLLATE {collation}")
            made.append(_make_some(server, number))
        before = _dump(server.login, database)
        assert all(units_of(piece).joined() == piece.data for piece in split(iter([before])))
        gone = frozenset(one for number in dropped for one in made[number])
        change = Redefining(definers=frozenset(), dropped=gone)
        cut = b"".join(piece.data for piece in redefine_pieces(split(iter([before])), change))
        for kind, name in gone:
            server.run(f"DROP {kind} {name}")
        after = _dump(server.login, database)
        assert _lines(cut) == _lines(after)


def _make_some(server: Server, number: int) -> list[tuple[str, str]]:
    """Make a trigger, a routine, an event and a view; return their kinds and names."""
    server.run(f"CREATE TRIGGER t{number} BEFORE INSERT ON t FOR EACH ROW SET @a = 1")
    server.run(f"CREATE PROCEDURE p{number}() SELECT 1")
    server.run(f"CREATE EVENT e{number} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1")
    server.run(f"CREATE VIEW v{number} AS SELECT 1 AS one")
    names = zip(("trigger", "procedure", "event", "view"), "tpev", strict=True)
    return [(kind, f"{letter}{number}") for kind, letter in names]


def _lines(dump: bytes) -> list[bytes]:
    """Return what counts: a section with no event has no settings around it either."""
    for frame in (
        b"/*!50106 SET @save_time_zone= @@TIME_ZONE */ ;\n",
        b"DELIMITER ;\n/*!50106 SET TIME_ZONE= @save_time_zone */ ;\n",
    ):
        dump = dump.replace(frame, b"")
    return [line for line in dump.split(b"\n") if line]


def _dump(login: Login, database: str) -> bytes:
    command = [
        "mariadb-dump", "--no-defaults", f"--socket={login.socket}", "--user=root", "--routines",
        "--events", "--triggers", "--add-drop-trigger", "--skip-dump-date", "--skip-add-locks",
    ]  # fmt: skip
    printed = subprocess.run([*command, database], check=True, capture_output=True).stdout
    pieces = quote_triggers(split(iter([printed])), ["t0", "t1", "t2"])
    return b"".join(piece.data for piece in pieces)


@pytest.fixture
def target(networked: tuple[ScratchServer, int], command: Command) -> Command:
    """Return the command aimed at another server, which has the same repository."""
    return command.having(DB_SOCKET=networked[0].login.socket)


@pytest.mark.parametrize("method", METHODS)
def test_a_time_zone_that_the_target_does_not_know_is_told_before_anything_is_touched(
    server: Server, command: Command, target: Command, method: str
) -> None:
    database = command.settings["DB_NAME"]
    zone = [
        "REPLACE INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (77, 'N')",
        "REPLACE INTO mysql.time_zone_name VALUES ('Some/Where', 77)",
        "REPLACE INTO mysql.time_zone_transition_type VALUES (77, 0, 7200, 0, 'SOM')",
    ]
    event = "CREATE EVENT early ON SCHEDULE EVERY 1 DAY DO SELECT 1"
    there = ["SET time_zone = 'Some/Where'", event, "SET time_zone = '+00:00'"]
    run_all(server, database, [*zone, *there])
    name = command.having(BACKUP_METHOD=method).backup()
    done = target.run("--json", "restore", name)
    expect_refusal(
        done,
        ServerUnsuitable.exit_code,
        "the target does not know the time zone of events of the backup: Some/Where: event early",
        "load its time zone tables, as an administrator: "
        "mariadb-tzinfo-to-sql /usr/share/zoneinfo | mariadb mysql",
    )
    assert database not in _databases(target)


def _databases(command: Command) -> set[str]:
    login = Login(
        host="localhost", port=3306, user="root", password=Secret(""),
        socket=command.settings["DB_SOCKET"],
    )  # fmt: skip
    with connect(login) as server:
        return {str(name) for (name,) in server.query("SHOW DATABASES")}


def test_names_that_the_target_would_change_or_confuse_are_told_before_anything_is_touched(
    server: Server, database: str, command: Command, lower: ScratchServer
) -> None:
    target = command.having(DB_SOCKET=lower.login.socket)
    run_all(server, database, ["CREATE TABLE Orders (id INT)", "CREATE TABLE orders (id INT)"])
    doubled = target.run("--json", "restore", command.backup())
    expect_refusal(
        doubled,
        ServerUnsuitable.exit_code,
        "the target has lower_case_table_names = 1; these names would be one there: "
        "table Orders and table orders",
        "restore on a server with lower_case_table_names = 0",
    )
    server.run(f"DROP TABLE {database}.orders")
    changed = target.run("--json", "restore", command.backup())
    expect_refusal(
        changed,
        ServerUnsuitable.exit_code,
        "the target has lower_case_table_names = 1 and would give other names to table Orders",
        "restore on a server with lower_case_table_names = 0",
    )
    assert database not in _databases(target)


@pytest.fixture(scope="module")
def lower() -> Iterator[ScratchServer]:
    """Return a server that keeps names in lower case."""
    with own_server("--lower-case-table-names=1") as running:
        yield running


def test_a_collation_that_the_target_does_not_know_is_told_before_anything_is_touched(
    start: Start, server: Server, command: Command
) -> None:
    newer = start("mariadb-11.8").login
    with fresh_database(newer) as name, connect(newer) as source:
        run_all(source, name, ["CREATE TABLE t (v TEXT COLLATE utf8mb4_general1400_as_ci)"])
        folder = servers_folder("mariadb-11.8")
        made = command.having(
            DB_SOCKET=newer.socket, DB_NAME=name, BACKUP_PROGRAMS_DIR=str(folder)
        ).backup()
        done = command.run("--json", "restore", made)
    expect_refusal(
        done,
        ServerUnsuitable.exit_code,
        "the target cannot take this backup: table t: the server knows no collation "
        "utf8mb4_general1400_as_ci",
        "restore it on a server of its own version, or a newer one",
    )
    assert (name,) not in server.query("SHOW DATABASES")


def test_a_sql_mode_that_the_target_does_not_know_is_named_with_its_objects(
    mysql_server: ScratchServer,
) -> None:
    old = Traits(kind="procedure", name="p", sql_mode="NO_AUTO_CREATE_USER")
    new = Traits(kind="procedure", name="q", sql_mode="ANSI_QUOTES")
    with connect(mysql_server.login) as server:
        before = server.value("SELECT @@SESSION.sql_mode")
        with pytest.raises(ServerUnsuitable) as caught:
            refuse_unknown_settings(server, (old, new))
        assert server.value("SELECT @@SESSION.sql_mode") == before
        refuse_unknown_settings(server, (new,))
    said = "the target does not know the sql_mode of objects of the backup"
    assert caught.value.message == f"{said}: NO_AUTO_CREATE_USER: procedure p"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_server_without_the_room_is_left_alone(
    small: ScratchServer, server: Server, database: str, command: Command
) -> None:
    run_all(
        server,
        database,
        ["CREATE TABLE t (v LONGTEXT)", "INSERT INTO t VALUES (REPEAT('x', 50 << 20))"],
    )
    name = command.having(BACKUP_METHOD="rows").backup()
    target = command.having(DB_SOCKET=small.login.socket)
    done = target.run("--json", "restore", name)
    assert done.code == ServerUnsuitable.exit_code, done.said
    assert re.match(
        rf"no room: {small.folder}/data/ has [\d,]+ bytes left, the restore needs [\d,]+ or more",
        done.json["error"]["message"],
    )
    assert database not in _databases(target)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchServer]:
    """Return a server whose disk has little room left."""
    folder = tmp_path_factory.mktemp("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", folder], check=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with own_server() as running:
            tempfile.tempdir = before
            yield running
    finally:
        tempfile.tempdir = before
        subprocess.run(["umount", folder], check=True)


def test_a_missing_right_on_a_database_is_not_taken_for_a_refused_login(
    scratch: ScratchServer, server: Server
) -> None:
    server.run("CREATE OR REPLACE USER nobody@localhost")
    login = Login(
        host="localhost", port=3306, user="nobody", password=Secret(""),
        socket=scratch.login.socket,
    )  # fmt: skip
    with connect(login) as opened, pytest.raises(DatabaseDenied) as caught:
        opened.run("CREATE DATABASE not_ours")
    assert (caught.value.exit_code, caught.value.number) == (PrivilegeMissing.exit_code, 1044)
    assert "`ulasis-backup check` prints the GRANT" in caught.value.hint


@pytest.mark.parametrize("method", METHODS)
def test_a_body_that_cannot_be_renamed_is_refused_before_anything_is_touched(
    server: Server, database: str, command: Command, method: str
) -> None:
    body = f"SELECT COUNT(*) FROM {database}.other AS {database}"
    run_all(server, database, ["CREATE TABLE t (id INT)", f"CREATE PROCEDURE p() {body}"])
    name = command.having(BACKUP_METHOD=method).backup()
    done = command.run("--json", "restore", name, "--target-database", f"{database}_copy")
    assert done.code == Refused.exit_code
    assert "in a way that cannot be rewritten safely" in done.json["error"]["message"]
    assert (f"{database}_copy",) not in server.query("SHOW DATABASES")
