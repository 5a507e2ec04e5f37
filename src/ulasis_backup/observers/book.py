"""The book of alerts on disk: one file for each server, databases and repository.

Every change replaces the file in one step, under a lock, so that runs beside each other and a
``kill -9`` lose nothing. A message that was sent and could not be noted before the end is sent
again: twice is better than never.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ulasis_backup.config import Config
from ulasis_backup.observers.incidents import Book, Incident, Message, Open, Severity
from ulasis_backup.statefile import replace_file

VERSION = 1
LOCK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where a book lies. ``sending`` is held by the one process that sends from it."""

    book: Path

    @property
    def lock(self) -> Path:
        """Return the file that is locked while the book changes."""
        return self.book.with_suffix(".lock")

    @property
    def sending(self) -> Path:
        """Return the file that is locked while messages are sent."""
        return self.book.with_suffix(".sending")


def shelf_of(config: Config) -> Shelf:
    """Return where the alerts about what *config* backs up are remembered."""
    return Shelf(book=config.state_folder / f"alerts-{config.state_id}.json")


def read(shelf: Shelf) -> Book:
    """Return the book; an empty one where there is none. Raises OSError.

    One that cannot be understood is set aside: an alert that is sent twice is the lesser evil.
    """
    try:
        return _from_document(json.loads(shelf.book.read_text("utf-8")))
    except FileNotFoundError:
        return Book()
    except (ValueError, KeyError, TypeError, AttributeError):
        shelf.book.replace(shelf.book.with_suffix(".damaged"))
        return Book()


def change(shelf: Shelf, changed: Callable[[Book], Book]) -> Book:
    """Replace the book by what *changed* makes of it, and return that. Raises OSError."""
    shelf.book.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(shelf.lock, seconds=LOCK_SECONDS):
        before = read(shelf)
        after = changed(before)
        if after != before:
            _write(shelf.book, after)
        return after


@contextmanager
def locked(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the lock *path*, for which others are waited *seconds*. Raises OSError."""
    deadline = time.monotonic() + seconds
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                raise TimeoutError(0, "another run holds it", str(path))
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, book: Book) -> None:
    text = json.dumps(asdict(book) | {"version": VERSION}, default=_plain, ensure_ascii=False)
    replace_file(path, text)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _from_document(document: dict[str, Any]) -> Book:
    if document["version"] != VERSION:
        raise ValueError(document["version"])
    return Book(
        open=tuple(_open(entry) for entry in document["open"]),
        queue=tuple(_message(entry) for entry in document["queue"]),
        given_up=int(document["given_up"]),
    )


def _open(entry: dict[str, Any]) -> Open:
    incident = entry["incident"]
    return Open(
        incident=Incident(**{**incident, "severity": Severity(incident["severity"])}),
        since=datetime.fromisoformat(entry["since"]),
        told=datetime.fromisoformat(entry["told"]),
    )


def _message(entry: dict[str, Any]) -> Message:
    return Message(
        **{
            **entry,
            "severity": Severity(entry["severity"]),
            "made": datetime.fromisoformat(entry["made"]),
            "not_before": datetime.fromisoformat(entry["not_before"]),
            "delivered": tuple(entry["delivered"]),
        }
    )
