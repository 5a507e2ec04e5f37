"""The dead-man's switch: somebody elsewhere who calls when we are silent for too long.

``<address>/start`` when a run begins, ``<address>`` when it went well, ``<address>/fail`` when it
did not, as healthchecks.io and its kin understand them.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit, urlunsplit

from ulasis_backup.observers.channels import NotSent, post

TRIES = 3
PAUSE_SECONDS = 1.0
MOST_CHARACTERS = 2000


class Ping:
    """Calls made one after the other in a thread of their own, for which nobody has to wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._threads: list[threading.Thread] = []
        self._problems: list[str] = []

    def call(self, what: str, text: str) -> None:
        """Begin to call; *what* is ``start``, ``fail``, or empty when all went well."""
        before = self._threads[-1] if self._threads else None
        thread = threading.Thread(target=self._call, args=(what, text, before), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Out of threads: a backup may have more luck than we.
            self._problems.append("no thread could be started")
        else:
            self._threads.append(thread)

    def wait(self, seconds: float) -> tuple[str, ...]:
        """Wait for the calls, *seconds* at most, and return what went wrong."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        hanging = any(thread.is_alive() for thread in self._threads)
        return (*self._problems, *(("no answer in time",) if hanging else ()))

    def _call(self, what: str, text: str, before: threading.Thread | None) -> None:
        if before:
            # In order: a start that arrives late would look like a run that never ended.
            before.join()
        body = text[:MOST_CHARACTERS].encode()
        for left in reversed(range(TRIES)):
            try:
                post(address(self._url, what), body, content="text/plain; charset=utf-8")
            except NotSent as error:
                if not left:
                    self._problems.append(str(error))
                    return
                time.sleep(PAUSE_SECONDS)
            else:
                return


def address(url: str, what: str) -> str:
    """Return *url* with *what* at the end of its path; a query string stays where it is."""
    if not what:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{what}"))
