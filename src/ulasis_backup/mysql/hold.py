"""Sessions that hold metadata locks while they read, and when they give way to DDL.

The locks belong to the transactions that read, and on MariaDB nothing but their end frees them:
to let DDL through is to lose the snapshots. So a run ends at once then, instead of reading on for
hours what it could not use: whatever waited behind us has changed the schema by then.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import SchemaChanged, ServerError
from ulasis_backup.model import Login
from ulasis_backup.mysql.server import QueryFailed, Server, connect
from ulasis_backup.mysql.still import HINT, TABLE_LOCK, waiting

POLL_SECONDS = 0.5
CHANGED = frozenset({1146, 1412})
"""Errors of a table that is gone, or that is newer than the snapshot."""

LOCKED = 1205
"""The error of a table that DDL, or a lock of somebody's, has kept from us for too long."""

WAIT_HINT = f"{HINT}; a longer BACKUP_DDL_WAIT lets DDL wait for longer"


class Hold:
    """Sessions that DDL may wait for; ``lost`` tells why they were ended, empty until then."""

    def __init__(self, connections: Sequence[int]) -> None:
        self._connections = tuple(connections)
        self._deciding = threading.Lock()
        self._done = False
        self.lost = ""

    @property
    def connections(self) -> tuple[int, ...]:
        """Return the numbers of the sessions."""
        return self._connections

    def give_way(self, server: Server, reason: str) -> None:
        """End the sessions, through *server*, unless they have done their work."""
        with self._deciding:
            if self._done or self.lost:
                return
            self.lost = reason
            for number in self._connections:
                with contextlib.suppress(QueryFailed):  # it is gone already
                    server.run(f"KILL CONNECTION {number}")

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Let nobody end the sessions while the schema is compared, nor after it was found equal.

        Raises SchemaChanged when they were ended before.
        """
        with self._deciding:
            if self.lost:
                raise self.changed()
            yield
            self._done = True

    def changed(self) -> SchemaChanged:
        """Return the error that says why the run came to nothing."""
        return SchemaChanged(self.lost, hint=WAIT_HINT)

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what readers stumble over once a schema has changed into SchemaChanged."""
        try:
            yield
        except SchemaChanged:
            raise
        except ServerError as error:
            if self.lost:
                raise self.changed() from error
            if isinstance(error, QueryFailed) and error.number in CHANGED:
                message = f"a table changed before it was read ({error.message})"
                raise SchemaChanged(message, hint=HINT) from error
            if isinstance(error, QueryFailed) and error.number == LOCKED:
                message = f"DDL, or somebody's lock, held a table that was needed ({error.message})"
                raise SchemaChanged(message, hint=HINT) from error
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the watcher works with: DDL on *databases* may wait behind *hold* for *wait* s.

    ``ready`` is set when it has begun to look, or has failed.
    """

    login: Login
    hold: Hold
    databases: tuple[str, ...]
    wait: int
    ready: threading.Event
    done: threading.Event


@contextlib.contextmanager
def watched(login: Login, hold: Hold, *, databases: Sequence[str], wait: int) -> Iterator[None]:
    """Let DDL through that has waited behind *hold* for *wait* seconds; the watcher looks already.

    Without PROCESS only our own sessions are seen.
    """
    ready, done = threading.Event(), threading.Event()
    watch = Watch(
        login=login, hold=hold, databases=tuple(databases), wait=wait, ready=ready, done=done
    )
    watcher = threading.Thread(target=_watch, args=(watch,), name="ddl-watcher", daemon=True)
    watcher.start()
    try:
        ready.wait()
        yield
    finally:
        done.set()
        watcher.join()


def _watch(watch: Watch) -> None:
    try:
        with connect(watch.login) as server:
            watch.ready.set()
            _watch_with(server, watch)
    except ServerError as error:
        # Without a watcher nobody may be kept waiting.
        reason = f"the watcher for waiting DDL failed ({error.message})"
        with contextlib.suppress(ServerError), connect(watch.login) as server:
            watch.hold.give_way(server, reason)
    finally:
        watch.ready.set()


def _watch_with(server: Server, watch: Watch) -> None:
    since: float | None = None
    while not watch.done.wait(POLL_SECONDS):
        found = waiting(server, also=TABLE_LOCK)
        if any(one.connection in watch.hold.connections for one in found):
            # It waits behind somebody who waits behind another session of ours: for ever.
            reason = (
                "DDL or a writer that waits for us came before the backup had reached its table"
            )
            watch.hold.give_way(server, reason)
            return
        if not any(one.is_ddl and one.may_concern(watch.databases) for one in found):
            since = None
            continue
        since = since or time.monotonic()
        if time.monotonic() - since >= watch.wait:
            reason = f"DDL waited behind the backup for {watch.wait} s and was let through"
            watch.hold.give_way(server, reason)
            return
