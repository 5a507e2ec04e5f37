"""``self-test`` and what ``check`` makes of it: with good programs, a bad one, and none."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from support.server import STATE, Command
from ulasis_backup.errors import CouldNotCheck, NotEqual
from ulasis_backup.mysql.server import Server
from ulasis_backup.mysql.values import lost, read_values
from ulasis_backup.operations.check import self_test_findings
from ulasis_backup.operations.self_test import self_test, verdict_of

pytestmark = pytest.mark.server

RECORD = Path(STATE, "self-test.json")


def found(command: Command) -> dict[str, str]:
    """Return what ``check`` says of the self-test."""
    checks = command.run("--json", "check").json["checks"]
    result: dict[str, str] = next(entry for entry in checks if entry["name"] == "self-test")
    return result


@pytest.mark.timeout(180)
def test_the_installed_programs_lose_nothing_that_they_do_not_announce(command: Command) -> None:
    assert found(command)["state"] == "skipped"
    document = command.ok("self-test")
    rows, sql = document["results"]
    assert (rows["method"], rows["outcome"], rows["lost"]) == ("rows", "exact", [])
    assert (sql["method"], sql["outcome"]) == ("sql", "loses what it announces")
    assert "rows of table trap_float" in sql["announced"]
    assert sql["lost"] == []
    assert document["passed"] is True
    assert found(command)["state"] == "ok"
    # Another client program than the one that was tried.
    path = command.home / RECORD
    record = json.loads(path.read_text())
    record["versions"]["client"] = "Ver 1.0"
    path.write_text(json.dumps(record))
    changed = found(command)
    assert changed["state"] == "warning"
    assert "client: Ver 1.0, now Ver " in changed["message"]
    assert "`ulasis-backup self-test`" in changed["hint"]
    # A file that is no record is none.
    path.write_text("[]")
    assert found(command)["state"] == "skipped"


def test_a_dump_program_that_bends_one_value_is_found_out(tmp_path: Path) -> None:
    folder = programs(tmp_path, **{"mariadb-dump": " | sed 's/some words here/some words hire/'"})
    done = self_test(folder, only=frozenset({"engines"}))
    error = verdict_of(done)
    assert isinstance(error, NotEqual)
    assert error.message == "with the installed programs sql would lose more than it says"
    findings = list(self_test_findings(done))
    assert [finding.state for finding in findings] == ["ok", "failed"]
    assert findings[0].message == "rows: exact"
    lost_there = "sql: loses more than it announces (rows of table trap_myisam)"
    assert findings[1].message == lost_there


def programs(home: Path, **endings: str) -> Path:
    """Return a folder with the installed programs, behind scripts with other *endings*."""
    folder = home / "programs"
    folder.mkdir()
    for name in ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"):
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
        if path is None:
            pytest.skip(f"no {name} here")
        ending = endings.get(name, "")
        call = f'{path} "$@"{ending}' if ending else f'exec {path} "$@"'
        script = folder / name
        script.write_text(f"#!/bin/sh\n{call}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


def test_without_a_server_program_nothing_is_tried_and_nothing_is_claimed(
    command: Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = command.having(BACKUP_PROGRAMS_DIR=str(empty))
    done = bare.run("--json", "self-test")
    assert done.code == CouldNotCheck.exit_code
    assert done.json["error"] == {
        "message": "no self-test: mariadbd is not installed",
        "hint": "install mariadb-server-core (Debian, Ubuntu) or set BACKUP_PROGRAMS_DIR",
        "exit_code": 60,
    }
    assert not (command.home / RECORD).exists()
    assert found(bare)["state"] == "skipped"
    deep = bare.run("--json", "check", "--deep").json["checks"]
    assert {entry["name"]: entry["state"] for entry in deep}["self-test"] == "failed"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE t SET f = 0.33333331 WHERE id = 1", "rows of table t"),
        ("UPDATE t SET v = 'a ' WHERE id = 1", "rows of table t"),
        ("DELETE FROM t WHERE id = 2", "rows of table t"),
        ("INSERT INTO n VALUES (1)", "rows of table n"),
        ("ALTER TABLE t AUTO_INCREMENT = 100", "position of table t"),
        ("ALTER TABLE t COMMENT 'x'", "table t"),
        ("CREATE OR REPLACE VIEW w AS SELECT 2 AS a", "view w"),
        ("DO NEXTVAL(s)", "position of sequence s"),
    ],
)
def test_reading_by_value_sees_every_change(
    server: Server, database: str, change: str, named: str
) -> None:
    server.run(f"USE {database}")
    for statement in (
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, f FLOAT, v VARCHAR(9))",
        "INSERT INTO t VALUES (1, 0.33333334, 'a'), (2, NULL, '')",
        "CREATE TABLE n (a INT)",
        "INSERT INTO n VALUES (1)",
        "CREATE VIEW w AS SELECT 1 AS a",
        "CREATE SEQUENCE s NOCACHE",
    ):
        server.run(statement)
    before = read_values(server, database)
    assert lost(before, read_values(server, database)) == ()
    server.run(change)
    assert lost(before, read_values(server, database)) == (named,)
