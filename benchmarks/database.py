"""A private MariaDB server with a generated database of about 1 GB, kept between runs.

    python -m benchmarks.database --work FOLDER [--scale 0.1]

builds it alone; `benchmarks.sql` builds it when it is not there; `benchmarks.rows` builds one in a
folder of its own each time. The rows are computed inside the server from their numbers, so that
equal scales give equal data: prose-like reviews, users with random tokens, and narrow order items,
with the secondary indexes that such tables have. A dump of it compresses about 2.6-fold with
gzip -6.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import itertools
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ulasis_backup.mysql.programs import tied

NAME = "bench"
VERSION = 2
"""Part of the folder's name: raise it when the rows change."""

MIB_OF_ROWS = 932
"""The row packets of scale 1."""

START_SECONDS = 60
SENTENCES = 200_000
WORDS_PER_SENTENCE = 18
WORDS = 3_000
REVIEWS_PER_INSERT = 100_000

TABLES = """
CREATE TABLE users (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  email VARCHAR(120) NOT NULL,
  name VARCHAR(80) NOT NULL,
  country CHAR(2) NOT NULL,
  token CHAR(32) NOT NULL,
  created_at DATETIME NOT NULL,
  UNIQUE KEY email (email),
  KEY created (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE reviews (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  business_id INT UNSIGNED NOT NULL,
  user_id INT UNSIGNED NOT NULL,
  rating TINYINT UNSIGNED NOT NULL,
  title VARCHAR(120) NOT NULL,
  body TEXT NOT NULL,
  device CHAR(12) NOT NULL,
  created_at DATETIME(3) NOT NULL,
  KEY business (business_id, created_at),
  KEY user (user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE items (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id INT UNSIGNED NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  quantity SMALLINT UNSIGNED NOT NULL,
  price DECIMAL(8,2) NOT NULL,
  KEY order_items (order_id),
  KEY product (product_id, quantity)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
"""

WORD_TABLE = """
CREATE TEMPORARY TABLE word (k INT UNSIGNED NOT NULL PRIMARY KEY, word VARCHAR(20) NOT NULL)
  ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
"""

SENTENCE_ROWS = f"""
CREATE TEMPORARY TABLE sentence (k INT UNSIGNED NOT NULL PRIMARY KEY, txt VARCHAR(400) NOT NULL)
  ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO sentence
  SELECT seq DIV {WORDS_PER_SENTENCE}, GROUP_CONCAT(word ORDER BY seq SEPARATOR ' ')
  FROM seq_0_to_{SENTENCES * WORDS_PER_SENTENCE - 1}
  JOIN word ON word.k = FLOOR({WORDS} * POW(CRC32(CONCAT('w', seq)) / 4294967296, 2))
  GROUP BY seq DIV {WORDS_PER_SENTENCE};
"""

USER_ROWS = """
INSERT INTO users
  SELECT seq, CONCAT(SUBSTRING_INDEX(txt, ' ', 1), '.', seq, '@example.', ELT(1 + seq MOD 3, 'com',
      'org', 'net')),
    CONCAT(SUBSTRING_INDEX(txt, ' ', 1), ' ', SUBSTRING_INDEX(txt, ' ', -1)),
    ELT(1 + CRC32(CONCAT('c', seq)) MOD 6, 'DE', 'FR', 'GB', 'TR', 'ES', 'JP'), MD5(seq),
    '2021-01-01' + INTERVAL seq * 300 + CRC32(CONCAT('t', seq)) MOD 300 SECOND
  FROM seq_1_to_{users} JOIN sentence ON k = CRC32(CONCAT('u', seq)) MOD {sentences};
"""

REVIEW_ROWS = """
INSERT INTO reviews
  SELECT seq, 1 + CRC32(CONCAT('b', seq)) MOD 5000, 1 + CRC32(CONCAT('u', seq)) MOD {users},
    1 + CRC32(CONCAT('r', seq)) MOD 5, SUBSTRING_INDEX(a.txt, ' ', 5),
    CONCAT(b.txt, '. ', c.txt, '. ', d.txt, IF(seq MOD 3 = 0, '! 😊', '. ')),
    LEFT(MD5(CONCAT('d', seq)), 12),
    '2022-01-01' + INTERVAL seq * 60000000 + CRC32(CONCAT('t', seq)) MOD 60000000 MICROSECOND
  FROM seq_{first}_to_{last}
  JOIN sentence_title a ON a.k = CRC32(CONCAT('1', seq)) MOD {sentences}
  JOIN sentence b ON b.k = CRC32(CONCAT('2', seq)) MOD {sentences}
  JOIN sentence_second c ON c.k = CRC32(CONCAT('3', seq)) MOD {sentences}
  JOIN sentence_third d ON d.k = CRC32(CONCAT('4', seq)) MOD {sentences};
"""

ITEM_ROWS = """
INSERT INTO items
  SELECT seq, 1 + seq DIV 3, 1 + CRC32(CONCAT('p', seq)) MOD 20000,
    1 + CRC32(CONCAT('q', seq)) MOD 4, (99 + CRC32(CONCAT('m', seq)) MOD 9900) / 100
  FROM seq_1_to_{items};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running private server."""

    socket: Path
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many rows each table gets."""

    users: int
    reviews: int
    items: int


def size_of(scale: float) -> Size:
    """Return the rows for *scale*; 1.0 is about 1 GB of row data."""
    return Size(
        users=max(1, int(500_000 * scale)),
        reviews=max(1, int(2_000_000 * scale)),
        items=max(1, int(4_000_000 * scale)),
    )


def size_of_mib(mib: float) -> Size:
    """Return the rows for about *mib* MiB of row data."""
    return size_of(mib / MIB_OF_ROWS)


def words() -> list[str]:
    """Return the made-up words, short ones first, as a language has them."""
    starts = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl")
    syllables = [start + end for start in starts for end in ("a", "e", "i", "o", "u", "an", "er")]
    pairs = itertools.product(syllables, syllables[::-1])
    step = max(1, math.floor(len(syllables) ** 2 / (WORDS - len(syllables))))
    longer = ["".join(pair) for pair in itertools.islice(pairs, 0, None, step)]
    return (syllables + longer)[:WORDS]


def client(server: Server, database: str = "") -> list[str]:
    """Return the command line of the client program for *server*."""
    return [
        "mariadb", "--no-defaults", "--user=root", f"--socket={server.socket}",
        "--default-character-set=utf8mb4", "--binary-mode", "--batch", "--skip-column-names",
        *([database] if database else []),
    ]  # fmt: skip


def run_sql(server: Server, sql: str, database: str = "") -> str:
    """Run *sql* with the client program and return what it prints."""
    command = client(server, database)
    done = subprocess.run(command, input=sql, text=True, stdout=subprocess.PIPE, check=True)
    return done.stdout


@contextlib.contextmanager
def database_server(work: Path, scale: float) -> Iterator[Server]:
    """Start the server whose data lie in *work*; build its database when it is not complete."""
    folder = work / f"database-{VERSION}-{scale:g}"
    with private_server(folder) as server:
        if not (folder / "complete").exists():
            build(server, size_of(scale))
            (folder / "complete").touch()
        yield server


@contextlib.contextmanager
def private_server(folder: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """Run a server whose data lie in *folder*, initialised first if need be.

    *options* are added to its command line. Its socket lies in a short path, for these are limited
    in length.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data" / "mysql").exists():
        _initialise(folder)
    with tempfile.TemporaryDirectory(prefix="ulasis-bench-") as short:
        place = Server(socket=Path(short) / "socket", pid=0)
        command = ["mariadbd", "--no-defaults", *_server_options(folder, place.socket), *options]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(tied(command), stdout=log, stderr=log)
        try:
            server = replace(place, pid=process.pid)
            _wait_until_ready(server, process)
            yield server
        finally:
            process.terminate()
            process.wait()


def build(server: Server, size: Size, database: str = NAME) -> None:
    """Create *database* anew and fill it."""
    started = time.monotonic()
    run_sql(server, f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}")
    run_sql(server, _statements(size), database)
    print(f"built the database in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _statements(size: Size) -> str:
    """Return all of it as one script: the sentences are temporary tables of one session."""
    listed = ", ".join(f"({number}, '{word}')" for number, word in enumerate(words()))
    return "\n".join([
        "SET SESSION sql_mode = '', time_zone = '+00:00', unique_checks = 0;",
        "SET SESSION join_cache_level = 0;",
        TABLES,
        WORD_TABLE,
        f"INSERT INTO word VALUES {listed};",
        SENTENCE_ROWS,
        *_copies_of_the_sentences(),
        USER_ROWS.format(users=size.users, sentences=SENTENCES),
        *_review_inserts(size),
        ITEM_ROWS.format(items=size.items),
        "ANALYZE TABLE users, reviews, items;",
    ])  # fmt: skip


def _copies_of_the_sentences() -> Iterator[str]:
    """Yield the copies that one statement needs beside the first."""
    for name in ("title", "second", "third"):
        yield f"CREATE TEMPORARY TABLE sentence_{name} LIKE sentence;"
        yield f"INSERT INTO sentence_{name} SELECT * FROM sentence;"


def _review_inserts(size: Size) -> Iterator[str]:
    """Yield the statements that write the reviews, in moderate transactions."""
    for first in range(1, size.reviews + 1, REVIEWS_PER_INSERT):
        last = min(first + REVIEWS_PER_INSERT - 1, size.reviews)
        yield REVIEW_ROWS.format(first=first, last=last, users=size.users, sentences=SENTENCES)


def _initialise(folder: Path) -> None:
    subprocess.run(
        [
            "mariadb-install-db", "--no-defaults", f"--datadir={folder / 'data'}",
            f"--user={getpass.getuser()}", "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _server_options(folder: Path, socket: Path) -> list[str]:
    return [
        f"--datadir={folder / 'data'}", f"--socket={socket}", f"--pid-file={socket.parent}/pid",
        f"--user={getpass.getuser()}", "--skip-networking", "--skip-log-bin",
        "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=512M",
        "--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4",
        "--max-allowed-packet=256M", "--tmp-table-size=512M", "--max-heap-table-size=512M",
    ]  # fmt: skip


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    ping = [*client(server), "--execute=SELECT 1"]
    while subprocess.run(ping, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the database server did not start: see the file `log` in --work")
        time.sleep(0.1)


def main() -> None:
    """Build the database and say how big it is."""
    parser = argparse.ArgumentParser(description="Build the benchmark database.")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep it in")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is about 1 GB")
    arguments = parser.parse_args()
    with database_server(arguments.work.resolve(), arguments.scale) as server:
        print(run_sql(server, "SHOW TABLE STATUS", NAME), end="")


if __name__ == "__main__":
    main()
