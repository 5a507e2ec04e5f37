"""Fixtures that all tests share: servers run for real, one a worker."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.server import (
    MARIADBS,
    MYSQL,
    SERVERS,
    SYSTEMS_OWN,
    Command,
    command_for,
    fresh_database,
    networked_server,
    servers_folder,
)
from ulasis_backup.mysql.scratch import ScratchServer, scratch_server
from ulasis_backup.mysql.server import Server, connect

Start = Callable[[str], ScratchServer]

# How long an example takes says more of the machine's other work than of ours.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT reach the commands that tests start.

    A shell starts what it runs in the background with SIGINT ignored, and children inherit that.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """Return what starts a server, one of SERVERS, or gives the one that runs already.

    With a binlog, reachable through its socket alone. Skips where there is no such server.
    """
    running: dict[str, ScratchServer] = {}
    with contextlib.ExitStack() as stack:

        def started(name: str) -> ScratchServer:
            if name not in running:
                folder = servers_folder(name)
                options = ("--log-bin", "--server-id=1")
                opened = scratch_server(options=options, programs_folder=folder)
                running[name] = stack.enter_context(opened)
            return running[name]

        yield started


@pytest.fixture(scope="session")
def scratch(start: Start) -> ScratchServer:
    """Return the system's MariaDB, running."""
    return start(SYSTEMS_OWN)


@pytest.fixture(scope="session", params=SERVERS)
def any_server(request: pytest.FixtureRequest, start: Start) -> ScratchServer:
    """Return a running server, each of SERVERS in turn; skips where there is none."""
    return start(request.param)


@pytest.fixture(scope="session", params=MARIADBS)
def any_mariadb(request: pytest.FixtureRequest, start: Start) -> ScratchServer:
    """Return a running MariaDB, each version in turn; skips where there is none."""
    return start(request.param)


@pytest.fixture(scope="session")
def mysql_server(start: Start) -> ScratchServer:
    """Return a running MySQL; skips where there is none."""
    return start(MYSQL)


@pytest.fixture(scope="session")
def networked() -> Iterator[tuple[ScratchServer, int]]:
    """Return a second MariaDB, without binlog, and the TCP port it listens on at 127.0.0.1."""
    with networked_server() as running:
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


@pytest.fixture
def logged(server: Server) -> Iterator[Callable[[], int]]:
    """Return a function that counts the sessions opened so far, as the server logs them."""
    server.run("SET GLOBAL log_output = 'TABLE'")
    server.run("SET GLOBAL general_log = ON")

    def count() -> int:
        rows = "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Connect'"
        return int(server.value(rows))

    yield count
    server.run("SET GLOBAL general_log = OFF")
    server.run("TRUNCATE mysql.general_log")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of two MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
