"""Tables that foreign keys join are tried by several sessions at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from support.server import run_all
from ulasis_backup.mysql.deferred import deferrable
from ulasis_backup.mysql.definitions import read_table
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import connect

PARENTS = "CREATE TABLE parents (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=InnoDB"
CHILDREN = """CREATE TABLE children (id INT PRIMARY KEY, parent INT, KEY (parent),
    FOREIGN KEY (parent) REFERENCES parents (id)) ENGINE=InnoDB"""


def test_a_table_is_dropped_while_one_that_points_at_it_is(
    any_server: ScratchServer, request: pytest.FixtureRequest
) -> None:
    """MariaDB says 1205 at once, in about one of eight tries, however long we would wait."""
    with connect(any_server.login) as first, connect(any_server.login) as second:
        first.run("CREATE DATABASE together")
        request.addfinalizer(lambda: _drop(any_server))
        for server in (first, second):
            server.run("SET SESSION foreign_key_checks = 0")
        run_all(first, "together", (PARENTS, CHILDREN))
        tables = [read_table(first, "together", name) for name in ("parents", "children")]
        first.run("DROP TABLE together.children, together.parents")
        done = Event()

        def neighbour() -> None:
            while not done.is_set():
                deferrable(second, "together", tables[1])

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(neighbour)
            try:
                found = [deferrable(first, "together", tables[0]) for _ in range(300)]
            finally:
                done.set()
            running.result()
        assert None not in found


def _drop(server: ScratchServer) -> None:
    with connect(server.login) as session:
        session.run("DROP DATABASE together")
