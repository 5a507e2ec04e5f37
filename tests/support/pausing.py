"""A ``rows`` backup stopped in the middle: while it reads its first table."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.server import Command
from ulasis_backup.errors import Busy
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql.server import connect

LONG_TABLE = (
    "CREATE TABLE aardvarks (id INT PRIMARY KEY, stripes INT, wool LONGTEXT)",
    "INSERT INTO aardvarks SELECT seq, 0, REPEAT(CHAR(65 + seq % 26), 60000) FROM seq_1_to_800",
)
"""A first table of six pieces, so that a backup can be stopped while it reads them."""

READING = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
    "WHERE INFO LIKE 'SELECT HIGH_PRIORITY `id`%aardvarks%'"
)
TRIES = 5
SETTLED = 60.0
"""Seconds: how long it may take to come to the first table on a machine that has much to do."""


@contextmanager
def paused(command: Command, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a backup by one session and stop it while it reads the first table.

    The process is stopped as a whole, its watcher too; inside the server it goes on to hold what
    it holds. Behind the block it goes on.
    """
    process = _stopped(command.having(BACKUP_JOBS="1"), *options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)


def login_of(command: Command) -> Login:
    """Return the administrator of the server that *command* reaches."""
    return Login(
        host="localhost", port=3306, socket=command.settings["DB_SOCKET"], user="root",
        password=Secret(""),
    )  # fmt: skip


def _stopped(command: Command, *options: str) -> subprocess.Popen[str]:
    """Return a backup that is stopped in time; one that was missed is killed and tried again."""
    for _ in range(TRIES):
        process = command.start("backup", *options)
        if _stops_in_time(command, process):
            return process
        process.kill()
        said = process.communicate()
        assert process.returncode in (-signal.SIGKILL, Busy.exit_code), said
        time.sleep(0.3)  # until the server has seen that its sessions are gone
    message = f"no backup could be stopped while it read, in {TRIES} tries"
    raise AssertionError(message)


def _stops_in_time(command: Command, process: subprocess.Popen[str]) -> bool:
    deadline = time.monotonic() + SETTLED
    with connect(login_of(command)) as server:
        while not server.value(READING):
            if process.poll() is not None or time.monotonic() > deadline:
                return False
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.05)
        # What was sent fills the socket; most of the table is still to come.
        return bool(server.value(READING))
