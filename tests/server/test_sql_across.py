"""What dumps of MariaDB 11 and of MySQL have of their own, by the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.portrait import different, portrait
from support.server import command_for, emptied, run_all, servers_folder
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import quote

pytestmark = pytest.mark.server

DATABASE = "sql_across"
EVENTS = [
    f"CREATE EVENT e{number} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT {number}"
    for number in range(3)
]
OWN = {
    "mariadb-11.8": [],
    "mysql-9": [
        # Shown again without COLLATE for its columns only where they were given none.
        "CREATE TABLE latin (a VARCHAR(9), b ENUM('x', 'y(')) CHARSET latin1 COLLATE latin1_bin",
        "CREATE TABLE parent (a INT, KEY (a))",
        "SET SESSION restrict_fk_on_non_standard_key = 0",
        "CREATE TABLE child (a INT, CONSTRAINT loose FOREIGN KEY (a) REFERENCES parent (a))",
        "SET SESSION restrict_fk_on_non_standard_key = 1",
        "CREATE TABLE halves (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET ucs2)",
        "INSERT INTO halves VALUES (1, _ucs2 0xD83D)",
    ],
}


@pytest.mark.parametrize("name", ["mariadb-11.8", "mysql-9"])
def test_a_dump_comes_back_but_for_what_it_announced(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    running: ScratchServer = request.getfixturevalue("start")(name)
    folder = {"BACKUP_PROGRAMS_DIR": str(servers_folder(name))}
    with emptied(running, DATABASE) as server:
        server.run(f"CREATE DATABASE {DATABASE}")
        events = [*EVENTS, *OWN[name]]
        run_all(server, DATABASE, events)
        before = portrait(server, DATABASE)
        command = command_for(running.login, tmp_path, DATABASE, **folder)
        made = command.ok("backup")["backups"][0]
        losses = {loss["table"] for loss in made["text_losses"]}
        assert losses == ({"halves"} if name == "mysql-9" else set())
        server.run(f"DROP DATABASE {quote(DATABASE)}")
        done = command.ok("restore", made["backup"], "--yes", "--skip-pre-restore-backup")
        assert done["equal"]
        expected = {"rows of table halves"} if name == "mysql-9" else set()
        assert different(before, portrait(server, DATABASE)) == expected


def test_a_key_that_mysqldump_cannot_sort_by_is_refused_by_name(
    mysql_server: ScratchServer, tmp_path: Path
) -> None:
    folder = {"BACKUP_PROGRAMS_DIR": str(servers_folder("mysql-9"))}
    with emptied(mysql_server, DATABASE) as server:
        server.run(f"CREATE DATABASE {DATABASE}")
        run_all(server, DATABASE, ["CREATE TABLE odd (`a\nb` INT PRIMARY KEY)"])
        command = command_for(mysql_server.login, tmp_path, DATABASE, **folder)
        done = command.run("--json", "backup")
        assert done.code == 16
        said = "table 'odd' cannot be carried by a dump: mysqldump cannot sort by a key column"
        assert done.json["error"]["message"].startswith(said)
        assert command.having(BACKUP_METHOD="rows").run("backup").code == 0
