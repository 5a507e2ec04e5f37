"""The page ``/metrics`` of the daemon: made when it is asked for, from the repository."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import ClassVar

from prometheus_client import CONTENT_TYPE_LATEST

from ulasis_backup.errors import SettingsError, UlasisError

KEPT = 15.0
"""Seconds for which an answer is given again: who asks often must not read the storage often."""

Page = Callable[[], bytes]


@contextmanager
def served(address: str, page: Page) -> Iterator[int]:
    """Answer ``/metrics`` at *address* (``host:port``) with *page* while the block runs.

    Yields the port. Raises SettingsError where nobody can listen there.
    """
    host, _, port = address.rpartition(":")
    kept = _Kept(page)

    class Answer(_Answer):
        made = kept

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET

    try:
        server = Server((host.strip("[]"), int(port)), Answer)
    except (OSError, OverflowError) as error:
        message = f"BACKUP_METRICS_LISTEN: cannot listen at {address}: {error}"
        raise SettingsError(message, hint="choose a free port, e.g. 127.0.0.1:9105") from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Kept:
    """A page that is made anew after a while, by one thread at a time."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._made = b""
        self._at = -KEPT

    def get(self) -> bytes:
        with self._lock:
            if monotonic() - self._at > KEPT:
                self._made = self._page()
                self._at = monotonic()
            return self._made


class _Answer(BaseHTTPRequestHandler):
    made: ClassVar[_Kept]
    timeout = 10

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND, "only /metrics is here")
            return
        try:
            body = self.made.get()
        except UlasisError as error:
            # Prometheus counts the target as down then, which it is.
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Say nothing: who scrapes every few seconds would fill the log."""
