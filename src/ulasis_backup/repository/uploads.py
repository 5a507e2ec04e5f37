"""Storing objects on threads of their own, so that waiting for the disk holds nobody up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ulasis_backup.storage.base import Storage

THREADS = 4
MOST_WAITING = 32 << 20
"""Bytes that wait to be stored, unless one object alone has more."""


class Uploads:
    """Stores blobs in the background; ``finish`` returns when all of them are durable."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
        self._changed = threading.Condition()
        self._waiting: dict[str, int] = {}
        self._failure: BaseException | None = None

    def put(self, path: str, data: bytes) -> None:
        """Store *data* as *path*, soon; waits for room, and raises what failed before."""
        with self._changed:
            self._wait_until(
                lambda: not self._waiting or sum(self._waiting.values()) + len(data) <= MOST_WAITING
            )
            self._waiting[path] = len(data)
        self._pool.submit(self._put, path, data).add_done_callback(
            lambda done: self._end(path, done)
        )

    def wait_for(self, path: str) -> None:
        """Return when *path* does not wait to be stored; raises what failed."""
        with self._changed:
            self._wait_until(lambda: path not in self._waiting)

    def finish(self) -> None:
        """Return when everything is durable; raises what failed."""
        with self._changed:
            self._wait_until(lambda: not self._waiting)

    def close(self) -> None:
        """Give up what has not begun and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _put(self, path: str, data: bytes) -> None:
        self._storage.put(path, [data])

    def _end(self, path: str, done: Future[None]) -> None:
        with self._changed:
            self._waiting.pop(path, None)
            if not done.cancelled() and self._failure is None:
                self._failure = done.exception()
            self._changed.notify_all()

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._failure is not None or ready())
        if self._failure is not None:
            raise self._failure
