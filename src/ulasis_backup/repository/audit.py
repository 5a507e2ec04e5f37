"""The audit log of a host: how an entry is put behind the last one, read, and trimmed.

``audit/<host>/<number>.json``, one immutable file an entry, each naming the one before it by its
digest. A number that is taken makes the writer look again, so that several processes write one
chain. What the machine remembers of the chain (``Memory``) saves reading it, and shows when its
end is not there any more.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ulasis_backup.errors import (
    AuthenticationFailed,
    BlobMissing,
    IntegrityError,
    NameTaken,
    StorageError,
    UlasisError,
    WrongKey,
)
from ulasis_backup.repository import auditfile
from ulasis_backup.repository import repository as repositories
from ulasis_backup.repository.auditfile import Body, Entry, Event, Facts, Head, Kind, OpenRun
from ulasis_backup.repository.manifest import parse_key_copy
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.base import Storage, read_whole
from ulasis_backup.streams.keys import DataKey, new_data_key, wrap
from ulasis_backup.streams.signing import Signer

MOST_TRIES = 1000
LONGEST_PAUSE = 0.02
"""Seconds that a writer waits at the most before it looks again."""
PROBES = 64
"""So many numbers are tried beyond the remembered one before the folder is listed."""
LOOK_BACK = 16
"""Entries about the log itself that may lie behind the last one of a run, e.g. new keys."""
KEY_ID_BYTES = 8
SPARE = ".spare"
_KEY_ID = re.compile(rf"audit-[a-z0-9._-]{{1,80}}-[0-9a-f]{{{2 * KEY_ID_BYTES}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What this machine remembers of a log: the last entry it stored, the key it introduced."""

    head: Head | None = None
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of a log. ``missing`` is what this machine remembers and what is not there."""

    head: Head | None = None
    entry: Entry | None = None
    open: tuple[OpenRun, ...] = ()
    missing: Head | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """What it takes to write the log of *host*.

    ``former`` finds a key that signed before this one, by its fingerprint. ``clock`` gives the
    time as it is stored.
    """

    repository: Repository
    host: str
    signer: Signer
    data_key: DataKey | None
    clock: Callable[[], str]
    former: Callable[[str], Signer | None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An entry that is stored now, what is to be remembered, and what was found to be gone."""

    entry: Entry
    memory: Memory
    missing: Head | None = None


class Keys:
    """Opens the keys of sealed bodies, each once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._known: dict[str, DataKey | UlasisError] = {}

    def body_of(self, entry: Entry) -> Body:
        """Return the body of *entry*, one of a run. Raises WrongKey, IntegrityError, StorageError.

        WrongKey says nothing against the entry; IntegrityError does.
        """
        if entry.body is not None:
            return entry.body
        if entry.sealed_with not in self._known:
            self._known[entry.sealed_with] = self._found(entry)
        found = self._known[entry.sealed_with]
        if isinstance(found, UlasisError):
            raise found
        return auditfile.unseal(entry, found)

    def _found(self, entry: Entry) -> DataKey | UlasisError:
        try:
            return _read_key(self._repository, entry.host, entry.sealed_with)
        except UlasisError as error:
            return error


def writing_key(repository: Repository, host: str) -> DataKey | None:
    """Return the key that seals new entries of *host*: one that is there, or a new one.

    None where the repository has no key. Raises StorageError.
    """
    if repository.key is None:
        return None
    storage = repository.storage
    names = [blob.name.rpartition("/")[2] for blob in storage.list(_keys_folder(host))]
    for key_id in sorted({name.removesuffix(".json").removesuffix(SPARE) for name in names}):
        try:
            return _read_key(repository, host, key_id)
        except (IntegrityError, BlobMissing):
            # Made with another key of the user's, or damaged: a new one serves from now on.
            continue
    made = new_data_key(f"audit-{host}-{os.urandom(KEY_ID_BYTES).hex()}")
    data = repositories.key_copy((wrap(made, repository.key),), made)
    # The spare one first: what names the key must not be all there is of it.
    for name in (_key_path(host, made.backup_id + SPARE), _key_path(host, made.backup_id)):
        storage.put(name, [data])
    return made


def append(writer: Writer, body: Body, memory: Memory) -> Stored | None:
    """Store an entry that says *body*; which runs are open follows from the entry before it.

    None where a run is said to be interrupted of which somebody else has said so, or which ended.

    What the log lacks goes before it: the introduction of the key that signs, and that entries
    which this machine remembers are gone. Raises StorageError and its children.
    """
    return _append(writer, memory, lambda tail: _of_run(writer, tail, body))


def append_facts(writer: Writer, kind: Kind, facts: Facts, memory: Memory) -> Stored:
    """Store an entry of *kind* about the log itself; see ``append``."""
    stored = _append(writer, memory, lambda tail: _of_log(writer, tail, kind, facts))
    if stored is None:
        msg = "only what is said of a run may be left unsaid"
        raise TypeError(msg)
    return stored


def tail_of(repository: Repository, host: str, memory: Memory) -> Tail:
    """Return the end of a host's log. Raises StorageError."""
    storage, remembered = repository.storage, memory.head
    missing: Head | None = None
    if remembered is not None and _is_there(storage, host, remembered):
        last = _furthest(storage, host, remembered.seq)
    else:
        numbers = numbers_of(storage, host)
        last = numbers[-1] if numbers else 0
        # What lies before the first one that is left was trimmed, or `audit verify` says so.
        if remembered is not None and not (numbers and remembered.seq < numbers[0]):
            missing = remembered
    if not last:
        return Tail(missing=missing)
    data = _read(storage, host, last)
    return Tail(
        head=Head(seq=last, digest=auditfile.digest_of(data)),
        entry=_parsed(data, host, last),
        open=_open_at(repository, host, last),
        missing=missing,
    )


def numbers_of(storage: Storage, host: str) -> list[int]:
    """Return the numbers of the entries of *host*, in order."""
    found = (auditfile.parse_path(blob.name) for blob in storage.list(auditfile.folder_of(host)))
    return sorted(name[1] for name in found if name)


def hosts_of(storage: Storage) -> tuple[str, ...]:
    """Return the hosts that have a log, by name."""
    names = (blob.name.split("/") for blob in storage.list(auditfile.FOLDER, deep=True))
    return tuple(sorted({parts[1] for parts in names if len(parts) > 2}))  # noqa: PLR2004 (a path)


def read_entry(storage: Storage, host: str, seq: int) -> Entry | None:
    """Return entry *seq* of *host*, unchecked; None where it cannot be parsed.

    Raises StorageError.
    """
    return _parsed(_read(storage, host, seq), host, seq)


def trim(writer: Writer, before: str, memory: Memory) -> Stored | None:
    """Remove the entries stored before the moment *before*, but the last one; None: none is.

    First an entry says which are going to go; so a removal that was cut off is gone on with.
    Raises StorageError.
    """
    storage, host = writer.repository.storage, writer.host
    facts = trimming(storage, host, before)
    if facts is None:
        return None
    stored = append_facts(writer, Kind.TRIMMED, facts, memory)
    for seq in numbers_of(storage, host):
        if seq < facts.first:
            storage.delete(auditfile.path_of(host, seq))
    return stored


def trimming(storage: Storage, host: str, before: str) -> Facts | None:
    """Return what a ``trim`` would say, None where nothing is old enough. Changes nothing.

    It goes no further than to where the log is not whole: that has to be looked at by somebody.
    """
    numbers = numbers_of(storage, host)
    gone = _Gone()
    for seq in numbers:
        entry = read_entry(storage, host, seq)
        if entry is None or not gone.goes_on_with(entry):
            break
        if entry.at >= before or seq == numbers[-1]:
            gone.last = entry
            break
        gone.take(entry)
    first = gone.last
    if first is None or first.seq == numbers[0]:
        return None
    return Facts(
        first=first.seq, previous=first.previous, gone=first.seq - numbers[0],
        publics=tuple(sorted(public.hex() for public in gone.publics.values())),
    )  # fmt: skip


class _Gone:
    """What is going to be trimmed, entry by entry; ``last`` is the newest one that is whole."""

    def __init__(self) -> None:
        self.last: Entry | None = None
        self.publics: dict[str, bytes] = {}

    def goes_on_with(self, entry: Entry) -> bool:
        """Tell whether *entry* follows and, as far as its key is known by now, is authentic."""
        follows = self.last is None or entry.previous == self.last.digest
        publics = self.publics | auditfile.publics_in(entry)
        return follows and (entry.key not in publics or auditfile.is_authentic(entry, publics))

    def take(self, entry: Entry) -> None:
        self.last = entry
        self.publics |= auditfile.publics_in(entry)


def _append(writer: Writer, memory: Memory, build: Callable[[Tail], Entry | None]) -> Stored | None:
    missing: Head | None = None
    for _ in range(MOST_TRIES):
        tail = tail_of(writer.repository, writer.host, memory)
        before = _first_of_all(writer, tail, memory)
        entry, signer = before or (build(tail), writer.signer)
        if entry is None:
            return None
        try:
            stored = _put(writer, entry, signer)
        except NameTaken:
            # Somebody was quicker; more than one may be waiting.
            time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 (nothing secret)
            continue
        missing = missing or tail.missing
        memory = Memory(head=stored.head, key=memory.key)
        if stored.kind is Kind.KEY:
            memory = replace(memory, key=writer.signer.fingerprint)
        if before is None:
            return Stored(entry=stored, memory=memory, missing=missing)
    message = f"the audit log of {writer.host} could not be written: others were always quicker"
    raise StorageError(message, hint="try again")


def _first_of_all(writer: Writer, tail: Tail, memory: Memory) -> tuple[Entry, Signer] | None:
    """Return what has to stand in the log before anything else can, and who signs it."""
    ours = writer.signer
    by = tail.entry.key if tail.entry else ""
    known = by == ours.fingerprint or (memory.key == ours.fingerprint and tail.missing is None)
    if tail.head is None or not known:
        # A key that is at hand and was known before vouches for the new one.
        signer = (writer.former(by) if by and by != ours.fingerprint else None) or ours
        facts = Facts(public=ours.public.hex())
        return _of_log(writer, tail, Kind.KEY, facts), signer
    if tail.missing is not None:
        facts = Facts(lost=tail.missing.seq, digest=tail.missing.digest)
        return _of_log(writer, tail, Kind.LOST, facts), ours
    return None


def _of_run(writer: Writer, tail: Tail, body: Body) -> Entry | None:
    seq = _next(tail)
    begun = next((one for one in tail.open if one.run == body.run), None)
    if begun is None and body.event is Event.INTERRUPTED:
        return None
    left = tuple(one for one in tail.open if one.run != body.run)
    if body.event is Event.BEGAN:
        left += (
            OpenRun(
                run=body.run, seq=seq, command=body.command, at=body.at, process=body.process
            ),
        )  # fmt: skip
    said = replace(body, open=left, of=begun.seq if begun else 0)
    return _entry(writer, tail, Kind.RUN, body=said)


def _of_log(writer: Writer, tail: Tail, kind: Kind, facts: Facts) -> Entry:
    return _entry(writer, tail, kind, facts=facts)


def _entry(
    writer: Writer, tail: Tail, kind: Kind, *, facts: Facts | None = None, body: Body | None = None
) -> Entry:
    return Entry(
        host=writer.host, seq=_next(tail), at=writer.clock(), kind=kind,
        previous=tail.head.digest if tail.head else "", key="", facts=facts, body=body,
    )  # fmt: skip


def _next(tail: Tail) -> int:
    return tail.head.seq + 1 if tail.head else 1


def _put(writer: Writer, entry: Entry, signer: Signer) -> Entry:
    data = auditfile.serialise(entry, signer, writer.data_key)
    path = auditfile.path_of(writer.host, entry.seq)
    writer.repository.storage.put(path, [data])
    return auditfile.parse(data, name=path)


def _is_there(storage: Storage, host: str, head: Head) -> bool:
    try:
        return auditfile.digest_of(_read(storage, host, head.seq)) == head.digest
    except (BlobMissing, IntegrityError):
        return False


def _furthest(storage: Storage, host: str, seq: int) -> int:
    """Return the number of the last entry, which is *seq* or, most likely, not far beyond."""
    for number in range(seq + 1, seq + 1 + PROBES):
        if storage.stat(auditfile.path_of(host, number)) is None:
            return number - 1
    return numbers_of(storage, host)[-1]


def _open_at(repository: Repository, host: str, last: int) -> tuple[OpenRun, ...]:
    """Return the runs that are open after entry *last*, as far as its contents can be read."""
    keys = Keys(repository)
    for seq in range(last, max(0, last - LOOK_BACK), -1):
        try:
            entry = read_entry(repository.storage, host, seq)
            if entry is None:
                return ()
            if entry.kind is Kind.RUN:
                return keys.body_of(entry).open
        except UlasisError:
            return ()
    return ()


def _read(storage: Storage, host: str, seq: int) -> bytes:
    return read_whole(storage, auditfile.path_of(host, seq), most=auditfile.MOST_BYTES)


def _parsed(data: bytes, host: str, seq: int) -> Entry | None:
    try:
        return auditfile.parse(data, name=auditfile.path_of(host, seq))
    except UlasisError:
        return None


def _read_key(repository: Repository, host: str, key_id: str) -> DataKey:
    if not _KEY_ID.fullmatch(key_id):
        raise AuthenticationFailed(f"{key_id!r} names no key of the audit log", hint=auditfile.HINT)
    if repository.key is None:
        message = f"the audit log of {host} is encrypted, and no key is configured"
        raise WrongKey(message, hint="set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE")
    failed: UlasisError | None = None
    for name in (_key_path(host, key_id), _key_path(host, key_id + SPARE)):
        try:
            data = read_whole(repository.storage, name, most=auditfile.MOST_BYTES)
            return parse_key_copy(data, name=name, backup_id=key_id, key=repository.key)
        except BlobMissing:
            message = f"{name}, the key of the audit log of {host}, is gone"
            failed = failed or IntegrityError(message, hint="put it back from a copy")
        except IntegrityError as error:
            failed = error
    raise failed or IntegrityError(f"there is no {key_id}", hint=auditfile.HINT)


def _keys_folder(host: str) -> str:
    return f"{auditfile.folder_of(host)}/keys"


def _key_path(host: str, key_id: str) -> str:
    return f"{_keys_folder(host)}/{key_id}.json"
