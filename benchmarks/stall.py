"""A client that commits all the time, and how long its commits took: what a backup costs others."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pymysql
from benchmarks.database import Server, client, run_sql

TABLE = "commits"
SLOW_TABLE = "slow"
PAUSE_SECONDS = 0.001
"""Between two commits: a client that never rests would take a processor of its own."""

WARM_UP_SECONDS = 0.5
STATEMENT_SECONDS = 15


@dataclass(slots=True, kw_only=True)
class Meter:
    """The seconds that each commit took, filled while it runs."""

    seconds: list[float] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)


@contextlib.contextmanager
def committing(server: Server, database: str) -> Iterator[Meter]:
    """Commit single-row updates in *database* from another thread until the block ends.

    The tables it needs are made first and dropped afterwards. Raises the client's error, if any.
    """
    run_sql(
        server,
        f"CREATE TABLE IF NOT EXISTS {TABLE} (id INT PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB;"
        f"REPLACE INTO {TABLE} VALUES (1, 0); CREATE TABLE IF NOT EXISTS {SLOW_TABLE} LIKE {TABLE};"
        f"REPLACE INTO {SLOW_TABLE} VALUES (1, 0);",
        database,
    )
    meter, stop = Meter(), threading.Event()
    thread = threading.Thread(target=_commit, args=(server, database, meter, stop), daemon=True)
    thread.start()
    try:
        time.sleep(WARM_UP_SECONDS)
        meter.seconds.clear()
        yield meter
    finally:
        stop.set()
        thread.join()
    if meter.problems:
        raise meter.problems[0]
    run_sql(server, f"DROP TABLE {TABLE}, {SLOW_TABLE}", database)


@contextlib.contextmanager
def long_statement(server: Server, database: str) -> Iterator[None]:
    """Keep an UPDATE of another table running, for STATEMENT_SECONDS or until the block ends."""
    sql = f"UPDATE {SLOW_TABLE} SET n = n + 1 WHERE SLEEP({STATEMENT_SECONDS}) = 1"
    process = subprocess.Popen(
        [*client(server, database), f"--execute={sql}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for_it(server, sql)
        yield
    finally:
        process.kill()
        process.wait()


def _commit(server: Server, database: str, meter: Meter, stop: threading.Event) -> None:
    try:
        connection = pymysql.connect(
            unix_socket=str(server.socket), user="root", database=database, autocommit=True
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            while not stop.is_set():
                started = time.perf_counter()
                cursor.execute(f"UPDATE {TABLE} SET n = n + 1 WHERE id = 1")
                meter.seconds.append(time.perf_counter() - started)
                time.sleep(PAUSE_SECONDS)
    except pymysql.MySQLError as problem:
        meter.problems.append(problem)


def _wait_for_it(server: Server, sql: str) -> None:
    """Return when the statement runs; a backup that began before it would not meet it."""
    asked = f"SELECT COUNT(*) FROM information_schema.processlist WHERE info = '{sql}'"
    while run_sql(server, asked).strip() == "0":
        time.sleep(0.05)
