"""Small blobs in ``marks/`` by which runs and prunes see each other. They never lock anything.

``run-…`` begins a backup's run, ``deleting-…`` is there while a prune deletes, ``epoch-<id>`` tells
that an epoch has objects, ``unreferenced-…`` lists objects that no backup needed when it was
written. All times are the storage's own: the time of change that it gives to what was just
written. docs/design.md, Deleting objects, says why this is enough.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ulasis_backup.errors import BlobMissing, IntegrityError, NameTaken, StorageError
from ulasis_backup.repository import canonical
from ulasis_backup.repository.objectfile import name_in
from ulasis_backup.storage.base import Blob, Storage, read_whole

FOLDER = "marks"
RUN = f"{FOLDER}/run-"
NOW = f"{FOLDER}/now-"
DELETING = f"{FOLDER}/deleting-"
EPOCH = f"{FOLDER}/epoch-"
UNREFERENCED = f"{FOLDER}/unreferenced-"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreferencedList:
    """A list of the paths of objects, and when the storage says that it was written."""

    name: str
    written_at: datetime
    paths: frozenset[str]


def put(storage: Storage, kind: str, *, lists: Iterable[str] = ()) -> Blob:
    """Write a mark of *kind* (``RUN``, ``NOW``, ``DELETING``) and return it with its time.

    *lists* are the names of those by which objects are about to be deleted.
    """
    name = f"{kind}{os.urandom(8).hex()}.json"
    storage.put(name, [canonical.to_bytes({"format": FORMAT, "lists": sorted(lists)})])
    blob = storage.stat(name)
    if blob is None:
        hint = "somebody deletes files there, or the storage forgets; find out before going on"
        raise StorageError(f"{name} vanished from {storage.place}", hint=hint)
    return blob


def now(storage: Storage) -> datetime:
    """Return the storage's time."""
    mark = put(storage, NOW)
    storage.delete(mark.name)
    return mark.modified_at


def time_of(storage: Storage) -> datetime:
    """Return the storage's time; where nothing can be written, so that nobody knows it, ours."""
    try:
        return now(storage)
    except StorageError:
        return datetime.now(UTC)


def note_epoch(storage: Storage, epoch_id: str) -> None:
    """Tell whoever deletes that *epoch_id* has objects; idempotent."""
    name = f"{EPOCH}{epoch_id}.json"
    if storage.stat(name) is None:
        with contextlib.suppress(NameTaken):
            storage.put(name, [canonical.to_bytes({"format": FORMAT})])


def epochs(storage: Storage) -> tuple[str, ...]:
    """Return the ids of all epochs that may have objects."""
    names = [blob.name for blob in storage.list(FOLDER) if blob.name.startswith(EPOCH)]
    return tuple(name.removeprefix(EPOCH).removesuffix(".json") for name in names)


def put_list(storage: Storage, paths: Iterable[str]) -> None:
    """Write a list of *paths*; it never changes."""
    body = {"format": FORMAT, "objects": sorted(paths)}
    storage.put(f"{UNREFERENCED}{os.urandom(8).hex()}.json", [canonical.to_bytes(body)])


def lists(storage: Storage) -> Iterator[UnreferencedList]:
    """Return all lists that can be read; what cannot be read lets nothing be deleted."""
    for blob in storage.list(FOLDER):
        if blob.name.startswith(UNREFERENCED):
            # A list that has just been removed is of no interest either.
            with contextlib.suppress(BlobMissing, IntegrityError):
                paths = _paths(storage, blob.name)
                yield UnreferencedList(name=blob.name, written_at=blob.modified_at, paths=paths)


def listed(storage: Storage) -> frozenset[str]:
    """Return the paths of all objects that are on a list."""
    return frozenset(path for one in lists(storage) for path in one.paths)


def being_deleted(storage: Storage) -> frozenset[str]:
    """Return the paths of all objects that a prune may be deleting just now."""
    acted_on = {
        name
        for blob in storage.list(FOLDER)
        if blob.name.startswith(DELETING)
        for name in _lists_of(storage, blob.name)
    }
    if not acted_on:
        return frozenset()
    return frozenset(path for one in lists(storage) if one.name in acted_on for path in one.paths)


def _lists_of(storage: Storage, mark: str) -> list[str]:
    try:
        data = read_whole(storage, mark, most=canonical.MOST_BYTES)
    except BlobMissing:
        return []
    return [str(name) for name in canonical.from_bytes(data, name=mark)["lists"]]


def _paths(storage: Storage, name: str) -> frozenset[str]:
    data = read_whole(storage, name, most=canonical.MOST_BYTES)
    body = canonical.from_bytes(data, name=name)
    paths = body.get("objects")
    good = body.get("format") == FORMAT and isinstance(paths, list)
    # Nothing but objects: no list may have a manifest deleted.
    if not good or any(not isinstance(path, str) or name_in(path) is None for path in paths or ()):
        raise IntegrityError(f"{name} is no list of objects", hint=canonical.HINT)
    return frozenset(paths or ())
