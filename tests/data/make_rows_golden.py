"""Make the golden rows backups anew: ``python tests/data/make_rows_golden.py`` (a minute at most).

Three backups of a tiny database, made by the real command on a scratch server: a table whose rows
lie in an object and then in two differences, one whose rows are in the index itself, and one of
everything else. What is committed stays as it is: it proves that what an older version wrote can
be read. Make it anew only beside the old one, for a new version of the format.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.server import command_for, run_all  # noqa: E402 (found only now)
from ulasis_backup.mysql.scratch import scratch_server  # noqa: E402 (the same)
from ulasis_backup.mysql.server import connect  # noqa: E402 (the same)

GOLDEN = FOLDER / "rows-format-1"
KEY = "5c" * 32
DATABASE = "golden"
MADE = (
    (
        "CREATE TABLE readings (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(80), "
        "at DATETIME(3), amount DECIMAL(9,2), kind ENUM('', 'a', 'b'), f FLOAT, KEY (code)) "
        "AUTO_INCREMENT = 9000"
    ),
    (
        "INSERT INTO readings SELECT seq, SHA2(seq, 256), '2020-02-29' + INTERVAL seq MINUTE, "
        "seq / 7, seq % 3 + 1, seq / 3 FROM seq_1_to_400"
    ),
    "CREATE TABLE things (id INT PRIMARY KEY, name VARCHAR(40), data BLOB, doc JSON)",
    "INSERT INTO things VALUES (1, 'naïve 😀', x'00ff27', '[1]'), (2, '', '', NULL)",
    "CREATE SEQUENCE numbers START WITH 10 CYCLE",
    "DO NEXTVAL(numbers)",
    "CREATE VIEW z_view AS SELECT name FROM things",
    "CREATE VIEW a_view AS SELECT name FROM z_view",
    "CREATE TRIGGER on_thing BEFORE INSERT ON things FOR EACH ROW SET NEW.name = TRIM(NEW.name)",
    "CREATE PROCEDURE count_things() BEGIN SELECT COUNT(*) FROM things; END",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM things WHERE id > 100",
)
CHANGES = (
    "UPDATE readings SET amount = amount + 1 WHERE id % 90 = 1",
    "UPDATE readings SET f = -f, code = REVERSE(code) WHERE id % 100 = 7",
)


def main() -> None:
    """Make the folder anew."""
    with (
        tempfile.TemporaryDirectory(prefix="golden-") as home,
        scratch_server() as running,
        connect(running.login) as server,
    ):
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        server.run(f"CREATE DATABASE {DATABASE} CHARACTER SET latin1 COMMENT 'gold''s'")
        command = command_for(
            running.login, Path(home), DATABASE, BACKUP_METHOD="rows", BACKUP_ENCRYPTION_KEY=KEY,
            BACKUP_SERVER_NAME="golden",
        )  # fmt: skip
        for changes in (MADE, CHANGES[:1], CHANGES[1:]):
            run_all(server, DATABASE, changes)
            command.backup()
        shutil.rmtree(GOLDEN, ignore_errors=True)
        shutil.copytree(command.folder, GOLDEN)


if __name__ == "__main__":
    main()
