"""A storage in memory that keeps the contract, with a clock that tests set, and old copies."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from ulasis_backup.errors import BlobMissing, NameTaken, StorageError
from ulasis_backup.storage.base import Blob

READ_BYTES = 1 << 20
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


class MemoryStorage:
    """Blobs in a dictionary; ``now`` is the time that new ones get."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, datetime]] = {}
        self.now = EPOCH
        self.free: int | None = None
        self._lock = threading.Lock()
        self._folders: dict[str, set[str]] = {}

    @property
    def place(self) -> str:
        return "/memory"

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        self._expect_possible(name)
        if not replace:
            self._expect_free(name)
        data = b"".join(chunks)
        with self._lock:
            if not replace:
                self._expect_free(name)
            self._set(name, data)

    def open(self, name: str) -> Iterator[bytes]:
        self._expect_possible(name)
        if name not in self.blobs:
            raise BlobMissing(f"{name} does not exist", hint="it is a test")
        data, _ = self.blobs[name]
        for begin in range(0, len(data), READ_BYTES):
            yield data[begin : begin + READ_BYTES]

    def stat(self, name: str) -> Blob | None:
        self._expect_possible(name)
        return self._blob(name) if name in self.blobs else None

    def list(self, folder: str = "", *, deep: bool = False) -> Iterator[Blob]:
        if folder:
            self._expect_possible(folder)
        with self._lock:
            if deep:
                start = f"{folder}/" if folder else ""
                below = sorted(name for name in self.blobs if name.startswith(start))
                return iter([self._blob(name) for name in below])
            return iter([self._blob(name) for name in sorted(self._folders.get(folder, ()))])

    def delete(self, name: str) -> None:
        self._expect_possible(name)
        with self._lock:
            if self.blobs.pop(name, None):
                self._folders[folder_of(name)].remove(name)

    def free_bytes(self) -> int | None:
        return self.free

    def sweep(self, folder: str = "") -> None:
        """Nobody leaves anything here."""

    def pass_time(self, time: timedelta) -> None:
        """Move the clock, in either direction."""
        self.now += time

    def damage(self, name: str, place: int, flip: int = 1) -> None:
        """Change a bit of the byte at *place*, counted modulo the blob's size."""
        data, time = self.blobs[name]
        changed = bytearray(data)
        changed[place % len(changed)] ^= flip
        self.blobs[name] = (bytes(changed), time)

    def copy(self) -> dict[str, tuple[bytes, datetime]]:
        """Return a copy of everything, to be put back later."""
        return dict(self.blobs)

    def put_back(self, copy: dict[str, tuple[bytes, datetime]]) -> None:
        """Make everything what it was when *copy* was made, times included."""
        with self._lock:
            self.blobs = dict(copy)
            self._folders = {}
            for name in copy:
                self._folders.setdefault(folder_of(name), set()).add(name)

    def _set(self, name: str, data: bytes) -> None:
        self.blobs[name] = (data, self.now)
        self._folders.setdefault(folder_of(name), set()).add(name)

    def _blob(self, name: str) -> Blob:
        data, time = self.blobs[name]
        return Blob(name=name, bytes=len(data), modified_at=time)

    def _expect_free(self, name: str) -> None:
        if name in self.blobs:
            raise NameTaken(f"{name} exists already", hint="nothing was overwritten")

    def _expect_possible(self, name: str) -> None:
        if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
            raise StorageError(f"{name!r} is not a possible name", hint="give a plain file name")


def folder_of(name: str) -> str:
    """Return the folder that *name* lies in."""
    return name.rpartition("/")[0]
