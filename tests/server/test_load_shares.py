"""A dump whose tables are loaded by several client programs at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.portrait import different, portrait
from support.server import Command, checksums, run_all
from ulasis_backup.mysql.server import Server, databases

pytestmark = pytest.mark.server

CLIENTS = 3
ROWS = "SELECT seq, 1 + seq % 1000, REPEAT(MD5(seq), 30) FROM seq_1_to_12000"
COLUMNS = "parent INT, t TEXT, FOREIGN KEY (parent) REFERENCES parents (id)"
TABLES = (
    "CREATE TABLE parents (id INT PRIMARY KEY, n INT, t TEXT, KEY (n))",
    f"CREATE TABLE children (id INT PRIMARY KEY, {COLUMNS})",
    f"CREATE TABLE others (id INT AUTO_INCREMENT PRIMARY KEY, {COLUMNS} ON DELETE CASCADE)",
    "CREATE TABLE old (id INT, n INT, t TEXT, KEY (n)) ENGINE=MyISAM",
    "CREATE TABLE empty (id INT PRIMARY KEY)",
    *(f"INSERT INTO {name} {ROWS}" for name in ("parents", "children", "others", "old")),
    "CREATE TABLE pasts (id INT PRIMARY KEY, t TEXT) WITH SYSTEM VERSIONING",
    "INSERT INTO pasts SELECT seq, MD5(seq) FROM seq_1_to_900",
    "UPDATE pasts SET t = 'changed' WHERE id < 100",
    "CREATE SEQUENCE numbers START WITH 7",
    "CREATE TRIGGER on_child BEFORE INSERT ON children FOR EACH ROW SET NEW.t = 'new'",
    "CREATE VIEW both_of_them AS SELECT c.id, p.t FROM children c JOIN parents p ON p.id = parent",
)


@pytest.fixture
def filled(server: Server, database: str, command: Command) -> Command:
    """Return the command with a backup of a database of 45 MB; it loads with three clients."""
    run_all(server, database, TABLES)
    command = command.having(BACKUP_JOBS=str(CLIENTS))
    command.backup()
    run_all(server, database, ["DELETE FROM children WHERE id < 5000", "DROP TABLE old"])
    return command


def watched(command: Command, folder: Path, then: str) -> tuple[Command, Path]:
    """Return the command with a client program that notes its process number, and does *then*.

    *then* knows as ``$number`` how many clients began before.
    """
    folder.mkdir()
    client, notes = folder / "mariadb", folder / "notes"
    client.write_text(
        "#!/bin/bash\n"
        'if [[ "$*" == *--version* ]]; then exec /usr/bin/mariadb "$@"; fi\n'
        f'exec 9>>"{notes}"; flock 9; number=$(wc -l < "{notes}"); echo $$ >&9; exec 9>&-\n'
        f"{then}\n"
    )
    client.chmod(0o755)
    (folder / "mariadb-dump").symlink_to("/usr/bin/mariadb-dump")
    return command.having(BACKUP_PROGRAMS_DIR=str(folder)), notes


def test_the_tables_are_shared_and_all_are_equal(
    server: Server, database: str, filled: Command, tmp_path: Path
) -> None:
    command, notes = watched(filled, tmp_path / "programs", 'exec /usr/bin/mariadb "$@"')
    seen, sums = portrait(server, database), checksums(server, database)
    done = command.ok("restore", "latest", "--yes")
    assert done["compared"]
    assert len(notes.read_text().split()) == 1 + CLIENTS
    command.ok("undo", "--yes")
    assert different(seen, portrait(server, database)) == set()
    assert checksums(server, database) == sums
    assert server.value(f"SELECT COUNT(*) FROM {database}.children") == 7001


def test_a_client_that_fails_ends_the_others_and_nothing_live_is_touched(
    server: Server, database: str, filled: Command, tmp_path: Path
) -> None:
    # One would sleep for an hour, one fails: nobody waits for the hour.
    then = (
        "case $number in\n"
        '0) exec /usr/bin/mariadb "$@";;\n'
        "1) head -c 3000000 > /dev/null; exec sleep 3600;;\n"
        '2) head -c 3000000 > /dev/null; echo "ERROR 1114 (HY000) at line 7: full" >&2; exit 1;;\n'
        '*) exec /usr/bin/mariadb "$@";;\n'
        "esac"
    )
    command, notes = watched(filled, tmp_path / "programs", then)
    seen = portrait(server, database)
    done = command.run("restore", "latest", "--yes")
    assert done.code == 18, done.said
    assert "ERROR 1114" in done.said
    assert f"{database} is as it was" in done.said
    assert different(seen, portrait(server, database)) == set()
    assert [name for name in databases(server) if name.startswith(f"{database}__")] == []
    for number in notes.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(number), 0)
