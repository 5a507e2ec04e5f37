"""A ``rows`` backup stopped in the middle: behind the first pieces of its first table."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.server import Command

LONG_TABLE = (
    "CREATE TABLE aardvarks (id INT PRIMARY KEY, stripes INT, wool LONGTEXT)",
    "INSERT INTO aardvarks SELECT seq, 0, REPEAT(CHAR(65 + seq % 26), 60000) FROM seq_1_to_800",
)
"""A first table of six pieces, so that a backup can be stopped between them."""

SETTLED = 60.0
"""Seconds: how long the first piece may take on a machine that has much to do."""


@contextmanager
def paused(command: Command, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a backup by one session and stop it when it has stored its first new object.

    The process is stopped as a whole, its watcher too; inside the server it goes on to hold what
    it holds. Behind the block it goes on.
    """
    before = objects(command)
    process = command.having(BACKUP_JOBS="1").start("backup", *arguments)
    try:
        deadline = time.monotonic() + SETTLED
        while objects(command) <= before and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was stored in time"
        assert process.poll() is None, process.communicate()
        os.kill(process.pid, signal.SIGSTOP)
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)


def objects(command: Command) -> int:
    """Return the number of stored objects."""
    folder = command.folder / "objects"
    return sum(1 for path in folder.glob("*/*/*") if path.name[0].isalnum())
