"""The sessions of a swap, and how others find out whether they still live.

Each holds a name lock of its own, so that whoever finishes the work of a killed run waits until
the last statement of that run is over: a server goes on with a statement whose client is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

from ulasis_backup.errors import Busy, ServerUnsuitable
from ulasis_backup.model import Login
from ulasis_backup.mysql.server import QueryFailed, Server, connect

PATIENCE = 10
"""Seconds to wait for the last statement of a run that was killed."""

TOO_MANY = frozenset({1040, 1203, 1226})
IN_USE = frozenset({1205, 1213})
"""Errors of a lock that is not to be had now, or not without a deadlock."""

OWN_WAIT = 60
"""Seconds that our statements wait for locks where nothing else is said: never for a day."""


@contextlib.contextmanager
def swap_session(login: Login, database: str, number: int) -> Iterator[Server]:
    """Open session *number* of a swap of *database*; raises Busy if there is one already."""
    try:
        with connect(login) as server:
            if server.value("SELECT GET_LOCK(%s, %s)", (_name(database, number), PATIENCE)) != 1:
                raise busy(database)
            server.run(f"SET SESSION lock_wait_timeout = {OWN_WAIT}")
            if not server.is_mariadb:
                # Keys may point at any key, as InnoDB allows: else such tables could not move.
                with contextlib.suppress(QueryFailed):
                    server.run("SET SESSION restrict_fk_on_non_standard_key = 0")
            yield server
    except QueryFailed as error:
        if error.number not in TOO_MANY:
            raise
        message = f"the swap needs {number + 1} sessions: {error.message}"
        hint = "raise max_connections of the server, or restore with --in-place"
        raise ServerUnsuitable(message, hint=hint) from None


def wait_for_others(server: Server, database: str, count: int) -> None:
    """Wait until none of the first *count* sessions of a swap lives; raises Busy."""
    for number in range(1, count):
        name = _name(database, number)
        if server.value("SELECT GET_LOCK(%s, %s)", (name, PATIENCE)) != 1:
            raise busy(database)
        server.run("SELECT RELEASE_LOCK(%s)", (name,))


def busy(database: str) -> Busy:
    """Return the error that says that somebody else works on the swap of *database*."""
    message = f"the tables of {database} are being swapped by another run"
    return Busy(message, hint="wait until it is done; it shows in SHOW PROCESSLIST")


def _name(database: str, number: int) -> str:
    return f"ulasis-swap:{hashlib.sha256(database.encode()).hexdigest()[:32]}:{number}"
