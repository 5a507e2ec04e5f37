"""Fixtures that all tests share: servers run for real, one a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import (
    SERVERS,
    Command,
    command_for,
    fresh_database,
    networked_server,
    servers_folder,
)
from ulasis_backup.mysql.scratch import ScratchServer, scratch_server
from ulasis_backup.mysql.server import Server, connect


@pytest.fixture(scope="session")
def scratch() -> Iterator[ScratchServer]:
    """Return a running MariaDB of our own, with a binlog, reachable through its socket alone."""
    with scratch_server(options=("--log-bin", "--server-id=1")) as running:
        yield running


@pytest.fixture(scope="session")
def networked() -> Iterator[tuple[ScratchServer, int]]:
    """Return a second MariaDB, without binlog, and the TCP port it listens on at 127.0.0.1."""
    with networked_server() as running:
        yield running


@pytest.fixture(scope="session", params=SERVERS)
def any_server(request: pytest.FixtureRequest) -> Iterator[ScratchServer]:
    """Return a running server, each of SERVERS in turn, with a binlog; skips where there is none.

    Of the system's MariaDB it is the same one as ``scratch``.
    """
    folder = servers_folder(request.param)
    if folder is None:
        yield request.getfixturevalue("scratch")
        return
    options = ("--log-bin", "--server-id=1")
    with scratch_server(options=options, programs_folder=folder) as running:
        yield running


@pytest.fixture
def server(scratch: ScratchServer) -> Iterator[Server]:
    """Return an administrator's session on the scratch server."""
    with connect(scratch.login) as opened:
        yield opened


@pytest.fixture
def database(scratch: ScratchServer) -> Iterator[str]:
    """Return the name of an empty database that lives as long as the test."""
    with fresh_database(scratch.login) as name:
        yield name


@pytest.fixture
def command(scratch: ScratchServer, tmp_path: Path, database: str) -> Command:
    """Return the real command, set to reach the test's database as administrator."""
    return command_for(scratch.login, tmp_path, database)
