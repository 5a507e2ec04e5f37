"""A folder on a local disk: files 0600, folders 0700, nothing half-written is ever visible.

A blob is written to a file without a name (``O_TMPFILE``), synced, and then linked to its name,
which fails if the name is taken. Where the file system has no such files a temporary name is
used; leftovers of killed runs are swept by the next ``put`` into the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from ulasis_backup.errors import (
    BlobMissing,
    NameTaken,
    StorageDenied,
    StorageError,
    StorageFull,
)
from ulasis_backup.statefile import sync_folder
from ulasis_backup.storage.base import Blob

READ_BYTES = 1 << 20
SYNC_BYTES = 32 << 20
TEMPORARY = ".ulasis-tmp-"
REPLACING = ".ulasis-new-"
ABANDONED_SECONDS = 3600
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


class LocalStorage:
    """Blobs as files below a folder, which is made at the first ``put``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """Return the folder's path."""
        return str(self._folder)

    def put(self, name: str, chunks: Iterable[bytes], *, replace: bool = False) -> None:
        """Store *chunks* as file *name*; see ``Storage.put``."""
        path = self._path(name)
        with _own_errors(), _said(path):
            if not replace and path.exists():
                raise _taken(path)
            _make_folder(path.parent)
            _sweep(path.parent)
            with _unnamed(path.parent) as (descriptor, temporary):
                _write_all(descriptor, _labelled(chunks))
                _publish(descriptor, temporary, path, replace=replace)
            sync_folder(path.parent)

    def open(self, name: str) -> Iterator[bytes]:
        """Read file *name*; see ``Storage.open``."""
        path = self._path(name)
        with _said(path):
            try:
                file = path.open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError):
                hint = "`ulasis-backup list` shows what is there"
                raise BlobMissing(f"{path} does not exist", hint=hint) from None
            with file:
                while chunk := file.read(READ_BYTES):
                    yield chunk

    def stat(self, name: str) -> Blob | None:
        """Return size and time of file *name*."""
        path = self._path(name)
        with _said(path):
            try:
                return _blob(name, path.stat())
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, folder: str = "", *, deep: bool = False) -> Iterator[Blob]:
        """Return the files in *folder*; see ``Storage.list``."""
        path = self._path(folder) if folder else self._folder
        found = list(_files(path, f"{folder}/" if folder else "", deep=deep))
        return iter(sorted(found, key=lambda blob: blob.name))

    def delete(self, name: str) -> None:
        """Remove file *name*."""
        path = self._path(name)
        with _said(path):
            path.unlink(missing_ok=True)
            if path.parent.exists():
                sync_folder(path.parent)

    def free_bytes(self) -> int | None:
        """Return the free space of the file system, of that which the folder is going to be on."""
        there = next(place for place in (self._folder, *self._folder.parents) if place.exists())
        with _said(there):
            facts = os.statvfs(there)
        # Some network file systems say nothing.
        return facts.f_bavail * facts.f_frsize if facts.f_blocks else None

    def sweep(self, folder: str = "") -> None:
        """Remove temporary files in *folder* whose writers are gone."""
        path = self._path(folder) if folder else self._folder
        with _said(path):
            _sweep(path)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise StorageError(f"{name!r} is not a possible name", hint="give a plain file name")
        return self._folder.joinpath(*parts)


def _files(path: Path, prefix: str, *, deep: bool) -> Iterator[Blob]:
    with _said(path), contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith((TEMPORARY, REPLACING)):
                continue
            with contextlib.suppress(FileNotFoundError):
                facts = entry.stat()
                if stat.S_ISREG(facts.st_mode):
                    yield _blob(prefix + entry.name, facts)
                elif deep and entry.is_dir(follow_symlinks=False):
                    yield from _files(path / entry.name, f"{prefix}{entry.name}/", deep=True)


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn errors of the operating system into ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            message = f"no room left at {path.parent}: {reason}"
            hint = "free space, raise the quota or file size limit, or choose another BACKUP_DIR"
            raise StorageFull(message, hint=hint) from None
        if error.errno in DENIED:
            hint = f"let this user read and write {path.parent}, or choose another BACKUP_DIR"
            raise StorageDenied(f"{path}: {reason}", hint=hint) from None
        hint = "check the disk and the folder"
        raise StorageError(f"{path}: {reason}", hint=hint) from None


class _SourceFailedError(Exception):
    """Carries an OSError of the source past ``_said``: it is not the storage's."""


def _labelled(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except OSError as error:
        raise _SourceFailedError from error


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except _SourceFailedError as error:
        if error.__cause__:
            raise error.__cause__ from None


def _taken(path: Path) -> NameTaken:
    return NameTaken(f"{path} exists already", hint="nothing was overwritten; try again")


def _blob(name: str, facts: os.stat_result) -> Blob:
    modified_at = datetime.fromtimestamp(facts.st_mtime, UTC)
    return Blob(name=name, bytes=facts.st_size, modified_at=modified_at)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        for missing in reversed([folder, *folder.parents]):
            if not missing.is_dir():
                with contextlib.suppress(FileExistsError):
                    missing.mkdir(mode=0o700)
                sync_folder(missing.parent)


@contextlib.contextmanager
def _unnamed(folder: Path) -> Iterator[tuple[int, Path | None]]:
    """Open a new file for writing that vanishes unless it is published."""
    try:
        flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(folder, flags, 0o600)
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in NO_TMPFILE:
            raise
        with _temporary(folder) as opened:
            yield opened
        return
    try:
        yield descriptor, None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[tuple[int, Path | None]]:
    descriptor, temporary = _locked_temporary(folder)
    try:
        yield descriptor, temporary
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _locked_temporary(folder: Path) -> tuple[int, Path]:
    """Make a temporary file and lock it for as long as it is open: the sweep leaves those alone."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    while True:
        temporary = folder / f"{TEMPORARY}{os.getpid()}-{os.urandom(6).hex()}"
        descriptor = os.open(temporary, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweep may have come between the two.
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)


def _write_all(descriptor: int, chunks: Iterable[bytes]) -> None:
    """Write *chunks* and sync; what is written goes to the disk while more is made."""
    with ThreadPoolExecutor(1, thread_name_prefix="sync") as pool:
        syncing: Future[None] | None = None
        unsynced = 0
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            unsynced += len(chunk)
            if unsynced >= SYNC_BYTES and (syncing is None or syncing.done()):
                if syncing:
                    syncing.result()
                syncing, unsynced = pool.submit(os.fdatasync, descriptor), 0
        if syncing:
            syncing.result()
        os.fsync(descriptor)


def _publish(descriptor: int, temporary: Path | None, path: Path, *, replace: bool) -> None:
    """Give the written file its name, in one step."""
    source = temporary or Path(f"/proc/self/fd/{descriptor}")
    target = path if not replace else path.parent / f"{REPLACING}{os.urandom(6).hex()}"
    try:
        # The folder descriptor makes Python call linkat(2), which alone can follow the link
        # in /proc that stands for a file without a name; it means nothing to absolute paths.
        os.link(source, target, src_dir_fd=descriptor, follow_symlinks=temporary is None)
    except FileExistsError:
        raise _taken(path) from None
    if replace:
        target.replace(path)


def _sweep(folder: Path) -> None:
    """Remove temporary files whose writers are gone."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)
    for leftover in folder.glob(f"{REPLACING}*"):
        # Such a name lives for one system call; nothing tells who made it.
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_ctime > ABANDONED_SECONDS:
                leftover.unlink()
