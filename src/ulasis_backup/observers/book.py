"""The book of alerts on disk: one file for each server, databases and repository.

Every change replaces the file in one step, under a lock, so that runs beside each other and a
``kill -9`` lose nothing. A message that was sent and could not be noted before the end is sent
again: twice is better than never.

Where the disk is full the book goes into the reserve, room that was taken while there was some;
where nothing can be written the process remembers it. Else the same message would go out again with
every look. Both follow the book that they were made from: once another one lies there, they are
void.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ulasis_backup.config import Config
from ulasis_backup.observers.incidents import Book, Incident, Message, Open, Severity
from ulasis_backup.statefile import locked, replace_file

VERSION = 1
LOCK_SECONDS = 5.0
RESERVE_BYTES = 1 << 16
_REMEMBERED: dict[Path, tuple[Book, Book]] = {}
"""By file the book that could not be written, behind the one that it would have replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where a book lies. ``sending`` is held by the one process that sends from it."""

    book: Path

    @property
    def lock(self) -> Path:
        """Return the file that is locked while the book changes."""
        return self.book.with_suffix(".lock")

    @property
    def reserve(self) -> Path:
        """Return the file whose room takes the book when there is no other."""
        return self.book.with_suffix(".reserve")

    @property
    def sending(self) -> Path:
        """Return the file that is locked while messages are sent."""
        return self.book.with_suffix(".sending")


def shelf_of(config: Config) -> Shelf:
    """Return where the alerts about what *config* backs up are remembered."""
    return Shelf(book=config.state_folder / f"alerts-{config.state_id}.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A book after a change, and why it could not be written; the process remembers it then."""

    book: Book
    trouble: OSError | None = None


def read(shelf: Shelf) -> Book:
    """Return the book; an empty one where there is none. Raises OSError.

    One that cannot be understood is set aside: an alert that is sent twice is the lesser evil.
    """
    base, remembered = _REMEMBERED.get(shelf.book, (None, Book()))
    try:
        before = _on_disk(shelf)
    except OSError:
        if base is None:
            raise
        return remembered
    return remembered if base == before else before


def change(shelf: Shelf, changed: Callable[[Book], Book]) -> Changed:
    """Replace the book by what *changed* makes of it, and return that; raises nothing."""
    try:
        shelf.book.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(shelf.lock, seconds=LOCK_SECONDS):
            return _change(shelf, changed)
    except OSError as error:
        return _remember(shelf, changed, error)


def _change(shelf: Shelf, changed: Callable[[Book], Book]) -> Changed:
    after = changed(read(shelf))
    if after != _on_disk(shelf):
        _write(shelf, after)
    _take_reserve(shelf.reserve)
    _REMEMBERED.pop(shelf.book, None)
    return Changed(book=after)


def _remember(shelf: Shelf, changed: Callable[[Book], Book], trouble: OSError) -> Changed:
    base, before = Book(), Book()
    with suppress(OSError):
        before = read(shelf)
        base = _on_disk(shelf)
    after = changed(before)
    _REMEMBERED[shelf.book] = (base, after)
    return Changed(book=after, trouble=trouble)


def _on_disk(shelf: Shelf) -> Book:
    text = shelf.book.read_bytes() if shelf.book.exists() else None
    text = _from_reserve(shelf, text or b"") or text
    if text is None:
        return Book()
    try:
        return _from_document(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        shelf.book.replace(shelf.book.with_suffix(".damaged"))
        return Book()


def _write(shelf: Shelf, book: Book) -> None:
    text = json.dumps(asdict(book) | {"version": VERSION}, default=_plain, ensure_ascii=False)
    try:
        replace_file(shelf.book, text)
    except OSError as error:
        _into_reserve(shelf, text.encode(), error)


def _take_reserve(path: Path) -> None:
    """Take room for a book while there is some."""
    if path.exists():
        return
    with suppress(OSError):
        replace_file(path, " " * RESERVE_BYTES)


def _into_reserve(shelf: Shelf, text: bytes, error: OSError) -> None:
    """Write *text* over the reserve, which needs no new room; raises *error* where that fails."""
    try:
        before = shelf.book.read_bytes() if shelf.book.exists() else b""
        signed = b"%s %s %s" % (_digest(before), _digest(text), text)
        if len(signed) > RESERVE_BYTES:
            raise error
        descriptor = os.open(shelf.reserve, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, signed.ljust(RESERVE_BYTES), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        raise error from None


def _from_reserve(shelf: Shelf, before: bytes) -> bytes:
    """Return the book in the reserve if it is whole and follows *before*, else nothing."""
    try:
        parts = shelf.reserve.read_bytes().rstrip(b" ").split(b" ", 2)
    except OSError:
        return b""
    whole = len(parts) == 3 and parts[:2] == [_digest(before), _digest(parts[2])]  # noqa: PLR2004
    return parts[2] if whole else b""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


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
