"""What every storage can do. The contract tests in ``tests/contract`` run against each driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ulasis_backup.errors import IntegrityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A stored blob: its name (with ``/`` between folders), size in bytes, time of change."""

    name: str
    bytes: int
    modified_at: datetime


class Storage(Protocol):
    """A place for named blobs. Blobs are immutable: written whole or not at all."""

    @property
    def place(self) -> str:
        """Return the place for messages, e.g. the folder's path."""
        ...

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        """Store *chunks* as *name*, all or nothing.

        An exception from *chunks* leaves nothing behind and goes on to the caller. Raises
        NameTaken unless *replace*, StorageFull, StorageDenied. Durable when it returns.
        """
        ...

    def open(self, name: str) -> Iterator[bytes]:
        """Read *name* in chunks; always the version that existed at the first read.

        Raises BlobMissing before the first chunk.
        """
        ...

    def stat(self, name: str) -> Blob | None:
        """Return size and time of *name*, or None when there is none."""
        ...

    def list(self, folder: str = "", *, deep: bool = False) -> Iterator[Blob]:
        """Return the blobs directly in *folder*, sorted by name; none for a missing folder.

        With *deep* also those in all folders below it, as object stores list them at once.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove *name*; idempotent."""
        ...

    def free_bytes(self) -> int | None:
        """Return how much more can be stored; None where nobody knows."""
        ...

    def sweep(self, folder: str = "") -> None:
        """Remove what killed writers left in *folder*, if there can be such; idempotent."""
        ...


def read_whole(storage: Storage, name: str, *, most: int) -> bytes:
    """Return all bytes of *name*; raises BlobMissing, and IntegrityError beyond *most* bytes."""
    chunks: list[bytes] = []
    size = 0
    for chunk in storage.open(name):
        size += len(chunk)
        if size > most:
            hint = "it is damaged or not ours; use a copy"
            raise IntegrityError(f"{name} is larger than {most} bytes", hint=hint)
        chunks.append(chunk)
    return b"".join(chunks)
