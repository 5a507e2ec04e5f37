"""Holds: ``holds/<backup>.json`` says that a backup is never removed by ``prune``.

A hold names the manifest by its digest and is signed as the backup is. One that is damaged, of
another manifest, or not authentic holds all the same, for that errs on the side of keeping; it is
named, so that somebody looks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ulasis_backup.errors import IntegrityError, StorageError, UlasisError
from ulasis_backup.repository import canonical, locks, sealed
from ulasis_backup.repository.canonical import Json
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.repository import Entry, Repository
from ulasis_backup.storage.base import Storage, read_whole

FOLDER = "holds"
FORMAT = 1
MOST_BYTES = 1 << 20
MOST_NOTE = 10_000
MAC_ROLE = "hold"
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold on a backup: since when, why, and what is wrong with it (empty: nothing)."""

    backup: str
    held_at: str = ""
    note: str = ""
    problem: str = ""


def path_of(backup_id: str) -> str:
    """Return the name of the hold on a backup."""
    return f"{FOLDER}/{backup_id}{_SUFFIX}"


def put(repository: Repository, manifest: Manifest, *, held_at: str, note: str = "") -> None:
    """Hold the backup that *manifest* describes; a hold that is there already is replaced.

    Without the key of a signed backup the hold is not signed, and holds. Raises Busy while a prune
    is removing the backup, StorageError.
    """
    body: Json = {
        "format": FORMAT, "backup": manifest.header.id, "manifest": manifest.digest,
        "held_at": held_at, "note": note[:MOST_NOTE],
    }  # fmt: skip
    storage = repository.storage
    data = canonical.to_bytes(body | sealed.mark(body, manifest.data_key, MAC_ROLE))
    storage.put(path_of(manifest.header.id), [data], replace=True)
    # Only now: a prune that comes later sees the hold.
    locks.refuse_removed(storage, manifest.header.id)


def release(storage: Storage, backup_id: str) -> bool:
    """Take the hold of a backup away; return whether there was one."""
    name = path_of(backup_id)
    held = storage.stat(name) is not None
    storage.delete(name)
    return held


def held(repository: Repository, entries: Iterable[Entry]) -> Mapping[str, Hold]:
    """Return every hold by backup id, also those on what is no backup any more.

    *entries* are the backups that there are. What cannot be read holds, and says so.
    """
    known = {entry.manifest.header.id: entry for entry in entries}
    found: dict[str, Hold] = {}
    for blob in repository.storage.list(FOLDER):
        if blob.name.endswith(_SUFFIX):
            backup_id = blob.name.removeprefix(f"{FOLDER}/").removesuffix(_SUFFIX)
            found[backup_id] = _read(repository, backup_id, known.get(backup_id))
    return found


def held_one(repository: Repository, manifest: Manifest) -> Hold | None:
    """Return the hold on the backup of *manifest*, if there is one."""
    backup_id = manifest.header.id
    if repository.storage.stat(path_of(backup_id)) is None:
        return None
    return _parsed(repository, backup_id, manifest)


def _read(repository: Repository, backup_id: str, entry: Entry | None) -> Hold:
    if entry is None:
        return Hold(backup=backup_id, problem="it is on no backup that can be read")
    return _parsed(repository, backup_id, entry.manifest)


def _parsed(repository: Repository, backup_id: str, manifest: Manifest) -> Hold:
    name = path_of(backup_id)
    try:
        data = read_whole(repository.storage, name, most=MOST_BYTES)
        body = canonical.from_bytes(data, name=name)
    except (IntegrityError, StorageError) as error:
        return Hold(backup=backup_id, problem=_problem(error))
    marks = {field: body.pop(field, None) for field in ("mac", "sha256")}
    return Hold(
        backup=backup_id,
        held_at=str(body.get("held_at", "")),
        note=str(body.get("note", "")),
        problem=_wrong(body, marks, manifest),
    )


def _wrong(body: Json, marks: Json, manifest: Manifest) -> str:
    """Return why a hold cannot be believed, an empty string if it can."""
    if body.get("format") != FORMAT:
        return "its format is not known to this version"
    if body.get("backup") != manifest.header.id or body.get("manifest") != manifest.digest:
        return "it was made for another manifest"
    if manifest.signed and manifest.data_key is None:
        return "it cannot be authenticated without the key"
    expected = sealed.mark(body, manifest.data_key, MAC_ROLE)
    for field, value in marks.items():
        wanted = str(expected.get(field, ""))
        if not hmac.compare_digest(str(value or "").encode(), wanted.encode()):
            return "it is not authentic" if manifest.signed else "it is damaged"
    return ""


def _problem(error: UlasisError) -> str:
    return f"it cannot be read: {error.message}"
