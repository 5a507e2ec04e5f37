"""Receivers of alerts, for real: an HTTP server on loopback that can be told how to behave."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Receiver:
    """What arrived, as path and body. ``answer`` is the status; 0: it never answers.

    It answers after ``delay`` seconds. A body with ``unwanted`` in it is answered with ``refusal``.
    """

    url: str = ""
    answer: int = 200
    delay: float = 0
    unwanted: str = ""
    refusal: int = 400
    got: list[tuple[str, str]] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [path for path, _ in self.accepted]

    def bodies(self) -> list[str]:
        return [body for _, body in self.accepted]


@contextlib.contextmanager
def receiver(answer: int = 200) -> Iterator[Receiver]:
    """Run a server; its ``answer`` may be changed while it runs."""
    state = Receiver(answer=answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(length).decode()
            state.got.append((self.path, body))
            state.headers.append(self.headers)
            if not state.answer:
                state.closing.wait(60)
                return
            state.closing.wait(state.delay)
            refused = state.unwanted and state.unwanted in body
            answer = state.refusal if refused else state.answer
            if answer in range(200, 300):
                state.accepted.append((self.path, body))
            self.send_response(answer)
            if answer in range(300, 400):
                self.send_header("Location", f"{state.url}/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until(what: Callable[[], object], seconds: float = 20) -> None:
    """Wait until *what* is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)
