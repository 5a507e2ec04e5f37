"""Small blobs in ``locks/`` by which who reads a backup and who removes it see each other.

``reading-<backup>-…`` is there while somebody restores from a backup, ``removing-<backup>-…`` while
a prune takes it away. Each side writes its own blob first and looks for the other's then, so that
of two who come at once at least one sees the other and steps back; nobody waits. What a killed run
leaves stops counting with time. Times are the storage's own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from ulasis_backup.errors import Busy, StorageError
from ulasis_backup.repository import canonical, marks
from ulasis_backup.repository.names import is_backup_id
from ulasis_backup.storage.base import Storage

FOLDER = "locks"
READING = f"{FOLDER}/reading-"
REMOVING = f"{FOLDER}/removing-"
REMOVING_LASTS = timedelta(minutes=15)
"""How long a sign of removing counts. A prune stops removing well before."""

_END_BYTES = 8
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Which backups are read and removed, by id: the time of the latest sign of each."""

    reading: Mapping[str, datetime]
    removing: Mapping[str, datetime]


@contextmanager
def reading(storage: Storage, backup_id: str) -> Iterator[None]:
    """Keep a prune from removing the backup while the block runs.

    Raises Busy while one is removing it, StorageError where nothing can be written.
    """
    sign = _put(storage, READING, backup_id)
    try:
        refuse_removed(storage, backup_id)
        yield
    finally:
        # A sign that stays stops counting; what was read is read.
        with suppress(StorageError):
            storage.delete(sign)


def refuse_removed(storage: Storage, backup_id: str) -> None:
    """Raise Busy while a prune is removing the backup."""
    since = signs(storage).removing.get(backup_id)
    if since is not None and marks.now(storage) - since < REMOVING_LASTS:
        message = f"a prune is removing {backup_id}"
        hint = "choose another backup; if that prune was killed, it answers again in 15 minutes"
        raise Busy(message, hint=hint)


def begin_removing(storage: Storage, backup_id: str) -> str:
    """Say that the backup is going to be removed; return the sign's name."""
    return _put(storage, REMOVING, backup_id)


def signs(storage: Storage) -> Signs:
    """Return every sign there is, however old."""
    found: dict[str, dict[str, datetime]] = defaultdict(dict)
    for blob in storage.list(FOLDER):
        for kind in (READING, REMOVING):
            backup_id = _backup_of(blob.name, kind)
            if backup_id:
                known = found[kind].get(backup_id, blob.modified_at)
                found[kind][backup_id] = max(known, blob.modified_at)
    return Signs(reading=found[READING], removing=found[REMOVING])


def end_removing(storage: Storage, backup_id: str) -> None:
    """Take every sign of removing the backup away, also those of killed runs."""
    for blob in list(storage.list(FOLDER)):
        if _backup_of(blob.name, REMOVING) == backup_id:
            storage.delete(blob.name)


def sweep(storage: Storage, now: datetime, *, grace: timedelta) -> None:
    """Take the signs of readers away that were killed longer than *grace* ago."""
    for blob in list(storage.list(FOLDER)):
        if _backup_of(blob.name, READING) and now - blob.modified_at > grace:
            storage.delete(blob.name)


def _put(storage: Storage, kind: str, backup_id: str) -> str:
    name = f"{kind}{backup_id}-{os.urandom(_END_BYTES).hex()}{_SUFFIX}"
    storage.put(name, [canonical.to_bytes({"format": 1})])
    return name


def _backup_of(name: str, kind: str) -> str:
    """Return the id of the backup that a sign of *kind* is of; empty for what is none."""
    if not name.startswith(kind) or not name.endswith(_SUFFIX):
        return ""
    backup_id, _, _ = name.removeprefix(kind).removesuffix(_SUFFIX).rpartition("-")
    return backup_id if is_backup_id(backup_id) else ""
