"""The repository: which backups there are, how to find one, and how one comes to exist."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ulasis_backup.errors import (
    AuthenticationFailed,
    BackupNotFound,
    BlobMissing,
    CouldNotCheck,
    IntegrityError,
    NameTaken,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.repository import canonical, names
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.storage.base import Blob, Storage
from ulasis_backup.streams.encryption import CHANGED_HINT
from ulasis_backup.streams.keys import DataKey, WrappedKey

FORMAT = 1
REPOSITORY_FILE = "repository.json"
KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A backup in a listing. ``problem`` says what keeps it from being read or trusted."""

    name: PayloadName
    manifest: Manifest
    problem: UlasisError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """A file in the repository that is no backup, what it seems to be, and what to do.

    ``error`` is set where a manifest of ours cannot be read or trusted.
    """

    name: str
    what: str
    hint: str
    error: UlasisError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything in a repository: backups, oldest first, what is odd, and doubts about order.

    ``gaps`` are those of the doubts that say only that backups are gone: retention leaves such.
    """

    entries: tuple[Entry, ...]
    oddities: tuple[Oddity, ...]
    doubts: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Where the next backup of a series stands."""

    id: str
    sequence: int
    previous: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on *storage*, seen with the user's *key* (None: without)."""

    storage: Storage
    key: bytes | None


def ensure(repository: Repository) -> bool:
    """Make the repository unless it exists; return whether it was made.

    Raises UnknownFormat when a newer version must not be written to.
    """
    storage = repository.storage
    if storage.stat(REPOSITORY_FILE) is None:
        body = {"format": FORMAT, "id": os.urandom(16).hex(), "features": []}
        # Another host may have been quicker; then what it wrote counts.
        with contextlib.suppress(NameTaken):
            storage.put(REPOSITORY_FILE, [canonical.to_bytes(body)])
            return True
    body = canonical.from_bytes(_read(storage, REPOSITORY_FILE), name=REPOSITORY_FILE)
    _expect_known(repository, body)
    return False


def identity(repository: Repository) -> str:
    """Return the id of the repository; empty where there is none, or none that can be read.

    Raises StorageError.
    """
    try:
        data = _read(repository.storage, REPOSITORY_FILE)
        return str(canonical.from_bytes(data, name=REPOSITORY_FILE).get("id", ""))
    except (BlobMissing, IntegrityError):
        return ""


def ensure_known(repository: Repository) -> None:
    """Raise unless the repository, where there is one, may be written to; see ``ensure``."""
    if repository.storage.stat(REPOSITORY_FILE) is not None:
        ensure(repository)


def refuse_newer(repository: Repository) -> None:
    """Raise UnknownFormat if a newer version's repository would be misread.

    A damaged ``repository.json`` is no reason not to restore: it only keeps us from writing.
    """
    try:
        body = canonical.from_bytes(
            _read(repository.storage, REPOSITORY_FILE), name=REPOSITORY_FILE
        )
    except (BlobMissing, IntegrityError):
        return
    _expect_known(repository, body)


def listing(repository: Repository) -> Listing:
    """Return everything in *repository*; a file that cannot be read never hides the others.

    Raises UnknownFormat for a repository of a newer version.
    """
    refuse_newer(repository)
    blobs = {blob.name: blob for blob in repository.storage.list()}
    entries: list[Entry] = []
    oddities: list[Oddity] = []
    for name in blobs:
        payload = names.parse_manifest(name)
        if payload is None:
            oddities += _oddity(name, blobs)
            continue
        try:
            entries.append(_entry(repository, payload, blobs.get(str(payload))))
        except UlasisError as error:
            oddities.append(Oddity(name=name, what=error.message, hint=error.hint, error=error))
    ordered = tuple(sorted(entries, key=age))
    doubts, gaps = _doubts(ordered)
    return Listing(entries=ordered, oddities=tuple(oddities), doubts=doubts, gaps=gaps)


def load(repository: Repository, payload: PayloadName) -> Manifest:
    """Return the manifest of *payload*, authentic as far as the key allows.

    Raises BackupNotFound, IntegrityError and its children, UnknownFormat.
    """
    refuse_newer(repository)
    return _load(repository, payload)


def _load(repository: Repository, payload: PayloadName) -> Manifest:
    name = payload.manifest
    try:
        data = _read(repository.storage, name)
    except BlobMissing:
        hint = "list shows what there is; `restore --orphan` opens a payload without manifest"
        raise BackupNotFound(f"{payload} has no manifest", hint=hint) from None
    manifest = manifests.parse(data, name=name, key=repository.key)
    if (manifest.header.id, manifest.header.payload) != (payload.backup_id, str(payload)):
        message = f"{name} belongs to another backup, {manifest.header.payload}"
        raise AuthenticationFailed(message, hint=CHANGED_HINT)
    return manifest


def load_trusted(
    repository: Repository, payload: PayloadName, *, allow_unauthenticated: bool = False
) -> Manifest:
    """Return the manifest of *payload* with details; refuse what a configured key cannot vouch for.

    Raises AuthenticationFailed for an unsigned backup while a key is configured, unless
    *allow_unauthenticated*.
    """
    manifest = manifests.need_key(load(repository, payload))
    if repository.key and not manifest.signed and not allow_unauthenticated:
        message = f"{payload} is not signed, although a key is configured"
        hint = (
            "it was made without the key, or somebody replaced it; if you know it to be good, "
            "use --allow-unauthenticated"
        )
        raise AuthenticationFailed(message, hint=hint)
    return manifest


def series_of(entries: Iterable[Entry], server_name: str, databases: Sequence[str]) -> Series:
    """Return where the next backup of *server_name* and *databases* stands."""
    ours = in_series(entries, server_name, tuple(databases))
    if not ours:
        return Series(id=os.urandom(8).hex(), sequence=1, previous="")
    last = ours[-1].manifest
    header = last.header
    return Series(id=header.series, sequence=header.sequence + 1, previous=last.digest)


def commit(
    repository: Repository, payload: PayloadName, manifest: bytes, key_copy: bytes | None
) -> None:
    """Make the backup whose *payload* is stored exist: key copy, then the manifest, last."""
    if key_copy is not None:
        repository.storage.put(payload.key_copy, [key_copy])
    repository.storage.put(payload.manifest, [manifest])


def key_copy(keys: tuple[WrappedKey, ...], data_key: DataKey) -> bytes:
    """Return the bytes of ``keys/<backup>.json``."""
    body = manifests.serialise_keys(keys, data_key)
    return canonical.to_bytes(body | {"format": FORMAT, "id": data_key.backup_id})


def check_key_copy(repository: Repository, manifest: Manifest, payload: PayloadName) -> str:
    """Return what is wrong with the spare key copy of *manifest*, or an empty string."""
    if not manifest.keys or repository.key is None:
        return ""
    try:
        data = _read(repository.storage, payload.key_copy)
        body = canonical.from_bytes(data, name=payload.key_copy)
        manifests.parse_key_copy(
            data, name=payload.key_copy, backup_id=payload.backup_id, key=repository.key
        )
    except UlasisError as error:
        return error.message
    expected = {"format": FORMAT, "id": payload.backup_id}
    if {name: body.get(name) for name in expected} != expected:
        return f"{payload.key_copy} is not the copy of this backup's keys"
    return ""


def mend_key_copy(repository: Repository, manifest: Manifest, payload: PayloadName) -> None:
    """Write the spare key copy anew from *manifest*, a trusted one; raises StorageError."""
    if manifest.data_key is not None:
        data = key_copy(manifest.keys, manifest.data_key)
        repository.storage.put(payload.key_copy, [data], replace=True)


def orphan_key(repository: Repository, backup_id: str) -> DataKey:
    """Return the data key of a backup whose manifest is lost, from the spare copy."""
    name = f"keys/{backup_id}.json"
    if repository.key is None:
        hint = "set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE"
        raise WrongKey(f"{backup_id} is encrypted, and no key is configured", hint=hint)
    data = _read(repository.storage, name)
    return manifests.parse_key_copy(data, name=name, backup_id=backup_id, key=repository.key)


def belongs_to(entry: Entry, server_name: str, databases: Sequence[str]) -> bool:
    """Tell whether *entry* is a backup of *server_name* and *databases*, as far as we can read."""
    details = entry.manifest.details
    if details is None or details.server_name != server_name:
        return False
    return (details.selection or entry.manifest.header.databases) == tuple(databases)


def _expect_known(repository: Repository, body: canonical.Json) -> None:
    features = body.get("features")
    listed = [str(feature) for feature in features] if isinstance(features, list) else ["?"]
    unknown = sorted(set(listed) - KNOWN_FEATURES)
    if body.get("format") != FORMAT or unknown:
        needs = ", ".join(unknown) or f"format {body.get('format')}"
        message = f"{repository.storage.place} was written by a newer version: it needs {needs}"
        raise UnknownFormat(message, hint="use a newer version of ulasis-backup")


def _read(storage: Storage, name: str) -> bytes:
    data = b""
    for chunk in storage.open(name):
        data += chunk
        if len(data) > canonical.MOST_BYTES:
            raise IntegrityError(f"{name} is too large", hint=canonical.HINT)
    return data


def _entry(repository: Repository, payload: PayloadName, blob: Blob | None) -> Entry:
    problem: UlasisError | None = None
    try:
        manifest = _load(repository, payload)
    except WrongKey as error:
        problem = error
        manifest = _load(Repository(repository.storage, None), payload)
    if blob is None:
        hint = "the backup is lost; look for a copy, or remove the manifest"
        raise BlobMissing(f"the payload {payload} is missing", hint=hint)
    if repository.key and not manifest.signed:
        # First of all: this decides whether anything else in it may be believed.
        problem = AuthenticationFailed("not signed, although a key is configured")
    elif blob.bytes != manifest.header.stored.bytes:
        message = (
            f"the payload has {blob.bytes:,} bytes instead of {manifest.header.stored.bytes:,}"
        )
        problem = IntegrityError(message, hint=CHANGED_HINT)
    return Entry(name=payload, manifest=manifest, problem=problem)


def _oddity(name: str, blobs: dict[str, Blob]) -> list[Oddity]:
    payload = names.parse_payload(name)
    if payload and payload.manifest not in blobs:
        what = "payload without manifest: a backup that never finished, or whose manifest is lost"
        way = (
            "`restore --orphan` can open it"
            if payload.suffix.startswith(".sql")
            else "look for a copy of its manifest"
        )
        hint = f"remove it if a run was cut off; else {way}"
        error = CouldNotCheck(what, hint=hint)
        return [Oddity(name=name, what=what, hint=hint, error=error)]
    if payload or name == REPOSITORY_FILE:
        return []
    if names.looks_old(name):
        what = "foreign: written by the old scripts; never touched by us"
        return [Oddity(name=name, what=what, hint="restore it with the tool that wrote it")]
    return [Oddity(name=name, what="foreign: not ours; never touched by us", hint="")]


def age(entry: Entry) -> tuple[datetime, int]:
    """Return what entries of different series are ordered by: time, then sequence number."""
    header = entry.manifest.header
    return datetime.fromisoformat(header.started_at), header.sequence


def in_series(
    entries: Iterable[Entry], server_name: str, databases: tuple[str, ...]
) -> list[Entry]:
    """Return the entries of one series, by sequence number, so not by anybody's clock."""
    ours = [entry for entry in trusted(entries) if belongs_to(entry, server_name, databases)]
    if not ours:
        return []
    series = max(ours, key=age).manifest.header.series
    mine = [entry for entry in ours if entry.manifest.header.series == series]
    return sorted(mine, key=lambda entry: entry.manifest.header.sequence)


def trusted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the *entries* but those that a configured key does not vouch for.

    Anybody who can write to the storage could have put them there.
    """
    return tuple(entry for entry in entries if not isinstance(entry.problem, AuthenticationFailed))


def _doubts(listed: Sequence[Entry]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the sequence numbers and digests say against the order, and the gaps of it."""
    entries = trusted(listed)
    found: list[str] = []
    gaps: list[str] = []
    for series in dict.fromkeys(entry.manifest.header.series for entry in entries):
        members = sorted(
            (entry for entry in entries if entry.manifest.header.series == series),
            key=lambda entry: entry.manifest.header.sequence,
        )
        for before, after in pairwise(members):
            doubt = _doubt(before, after)
            found += doubt
            gaps += doubt if _steps(before, after) > 1 else []
    return tuple(found), tuple(gaps)


def _steps(before: Entry, after: Entry) -> int:
    return after.manifest.header.sequence - before.manifest.header.sequence


def _doubt(before: Entry, after: Entry) -> list[str]:
    second, step = after.manifest.header, _steps(before, after)
    if step == 0:
        return [f"{after.name} has the same sequence number as {before.name} ({second.sequence})"]
    if step == 1 and second.previous != before.manifest.digest:
        return [f"{after.name} does not follow {before.name}: one of them was put there later"]
    if step > 1:
        return [f"{step - 1} backup(s) between {before.name} and {after.name} are gone"]
    return []
