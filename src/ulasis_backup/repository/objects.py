"""The objects that ``rows`` backups share: stored once, never changed, read by many backups."""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from ulasis_backup.errors import BlobMissing, IntegrityError, Refused
from ulasis_backup.events import Notice
from ulasis_backup.repository import marks, objectfile
from ulasis_backup.repository.chains import Chain, Stored, choose_base, worth_it
from ulasis_backup.repository.objectfile import Content, Epoch, fingerprint, new_epoch, path_of
from ulasis_backup.repository.objectreader import DAMAGED, ObjectReader
from ulasis_backup.repository.uploads import Uploads
from ulasis_backup.storage.base import Storage
from ulasis_backup.streams import delta

__all__ = [
    "Epoch",
    "ObjectReader",
    "ObjectWriter",
    "Stored",
    "Tally",
    "choose_base",
    "fingerprint",
    "new_epoch",
]

DELTAS = 2
"""Differences that are made at once: each takes some 50 MB, for its base and zstd's window."""

RUN_AGAIN = "run the backup again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many objects, and their bytes as files."""

    objects: int = 0
    bytes: int = 0

    def plus(self, stored: Stored) -> Tally:
        """Return the tally with one more."""
        return Tally(objects=self.objects + 1, bytes=self.bytes + stored.stored)


class ObjectWriter:
    """Keeps plain bytes as objects for one run of a backup; for any number of threads.

    *known* are the pieces of the last backup of the series by fingerprint, from its index; that
    backup must be there still when the run begins. The run begins here: a mark is written, and
    what the storage holds is listed once. Before the manifest is written, ``check_before_commit``
    must pass. Close the writer after that.
    """

    def __init__(self, storage: Storage, epoch: Epoch, *, known: Mapping[str, Stored]) -> None:
        self._storage = storage
        self._epoch = epoch
        self._known = known
        # The order counts: what is listed later was listed after the run's mark was written.
        self._mark = marks.put(storage, marks.RUN)
        marks.note_epoch(storage, epoch.id)
        self._avoided = _names(marks.listed(storage)) | {
            blob.name.removeprefix(f"{DAMAGED}/") for blob in storage.list(DAMAGED)
        }
        self._expected = {name for one in known.values() for name in one.objects}
        self._sizes = objects_of(storage, epoch.id, among=self._expected)
        self._reader = ObjectReader(storage, epoch, cache=0)
        self._uploads = Uploads(storage)
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(DELTAS)
        self._kept: dict[str, Stored | Future[Stored]] = {}
        self._notices: list[Notice] = []
        self._written = self._reused = Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def written(self) -> Tally:
        """Return what this run has stored."""
        with self._lock:
            return self._written

    @property
    def reused(self) -> Tally:
        """Return what this run needed and found; each use counts."""
        with self._lock:
            return self._reused

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Return what a person should know: objects that were missing or damaged."""
        with self._lock:
            return tuple(self._notices)

    @property
    def used(self) -> Tally:
        """Return what the backup will need: every object once, bases included."""
        sizes = self._used()
        return Tally(objects=len(sizes), bytes=sum(sizes.values()))

    def keep(self, data: bytes, base: Stored | None) -> Stored:
        """Return where *data* lies, storing it unless it lies there already.

        *base* is what the same rows were before; the difference to it is stored if it is small.
        Stored objects are durable when ``check_before_commit`` has passed, not before. Raises
        StorageError and its children, also for objects that were to be stored earlier.
        """
        print_ = fingerprint(self._epoch, data)
        with self._lock:
            mine: Future[Stored] = Future()
            earlier = self._kept.setdefault(print_, mine)
        if earlier is not mine:
            stored = _result(earlier)
            self._count(stored, new=False)
            return stored
        try:
            stored = self._keep(print_, data, base)
        except BaseException as error:
            mine.set_exception(error)
            raise
        mine.set_result(stored)
        with self._lock:
            # A future takes five times the room, and there is one for every object.
            self._kept[print_] = stored
        return stored

    def check_before_commit(self, grace: timedelta) -> None:
        """Make sure that everything kept is durable and stays; to be called before the manifest.

        Raises Refused when the run is too old for *grace* (half of it is left to write the
        manifest), when an object is gone, or when a prune may be deleting one just now; and
        StorageError when an object could not be stored.
        """
        self._uploads.finish()
        if self.expired(grace):
            message = (
                "the run took too long, or the storage's clock jumped, or an old copy of it was "
                "put back: objects that the backup needs may be gone"
            )
            hint = f"{RUN_AGAIN}; a run must take less than half of the grace period"
            raise Refused(message, hint=hint)
        used = self._used()
        if used.keys() & _names(marks.being_deleted(self._storage)):
            raise Refused("a prune is deleting objects that this run needs", hint=RUN_AGAIN)
        there = objects_of(self._storage, self._epoch.id, among=used)
        for name, size in used.items():
            if there.get(name, -1) != size:
                message = f"object {name}, which this run needs, is gone or changed"
                raise Refused(message, hint=RUN_AGAIN)

    def expired(self, grace: timedelta) -> bool:
        """Tell whether the run is older than half of *grace*, or the storage is not what it was.

        That is so if its clock jumped that far, back or forth, or if the run's mark is gone, as
        when an old copy of the storage was put back.
        """
        mark = self._storage.stat(self._mark.name)
        age = marks.now(self._storage) - self._mark.modified_at
        return mark != self._mark or abs(age) > grace / 2

    def close(self) -> None:
        """Stop storing and remove the run's mark."""
        self._uploads.close()
        self._storage.delete(self._mark.name)

    def _keep(self, print_: str, data: bytes, base: Stored | None) -> Stored:
        known = self._known.get(print_)
        if known is None and base is not None and base.fingerprint == print_:
            known = base
        if known is not None:
            if self._usable(known):
                self._count(known, new=False)
                return known
            # Whole, so that it serves the older backups too, whatever else they have lost.
            return self._store_whole(print_, data)
        stored = self._store_delta(print_, data, base) if base is not None else None
        return stored or self._store_whole(print_, data)

    def _usable(self, stored: Stored) -> bool:
        """Tell whether a new backup may rest on *stored*."""
        for name in stored.objects:
            size = self._size(name)
            if size is None:
                self._avoid(name, f"object {name} is missing")
                return False
            if name == stored.name and size != stored.stored:
                self._set_aside(name)
                return False
        with self._lock:
            return self._avoided.isdisjoint(stored.objects)

    def _size(self, name: str) -> int | None:
        if name not in self._sizes and name not in self._expected:
            blob = self._storage.stat(path_of(self._epoch.id, name))
            if blob is not None:
                self._sizes[name] = blob.bytes
        return self._sizes.get(name)

    def _store_delta(self, print_: str, data: bytes, before: Stored) -> Stored | None:
        chain = choose_base(before)
        if not chain or not self._usable(before):
            return None
        with self._room:
            base = self._read_base(chain)
            frame = None if base is None else delta.compress_delta(data, base)
        if frame is None or not worth_it(len(frame), before.full):
            return None
        content = objectfile.encode(data, frame, chain[0][0])
        return self._store(print_, content, chain, before.full)

    def _read_base(self, chain: Chain) -> bytes | None:
        names = {name for name, _ in chain}
        for name in names:
            self._uploads.wait_for(path_of(self._epoch.id, name))
        try:
            base = self._reader.read(chain[0][0])
        except (BlobMissing, IntegrityError):
            base = None
        lost = names & self._reader.missing
        damaged = names & self._reader.damaged
        for name in lost:
            self._avoid(name, f"object {name} is missing")
        for name in damaged:
            self._set_aside(name)
        # Another object may have served; but ours must not build on what is lost.
        return None if lost or damaged else base

    def _store_whole(self, print_: str, data: bytes) -> Stored:
        return self._store(print_, objectfile.encode(data), (), 0)

    def _store(self, print_: str, content: Content, chain: Chain, full: int) -> Stored:
        name = objectfile.new_name(print_)
        file = objectfile.seal(self._epoch, name, content)
        self._sizes[name] = len(file)
        self._uploads.put(path_of(self._epoch.id, name), file)
        stored = Stored(
            fingerprint=print_, name=name, chain=chain, stored=len(file), full=full or len(file)
        )
        self._count(stored, new=True)
        return stored

    def _set_aside(self, name: str) -> None:
        moved = self._reader.set_aside(name)
        where = f"; it lies in {DAMAGED}/ now" if moved else ""
        self._avoid(name, f"object {name} is damaged{where}")

    def _avoid(self, name: str, message: str) -> None:
        with self._lock:
            new = name not in self._avoided
            self._avoided |= {name}
        if new:
            self._notice(message)

    def _notice(self, message: str) -> None:
        hint = "what this backup needs is stored anew; `ulasis-backup verify-all` names older ones"
        with self._lock:
            self._notices.append(Notice(message=message, hint=hint))

    def _count(self, stored: Stored, *, new: bool) -> None:
        with self._lock:
            if new:
                self._written = self._written.plus(stored)
            else:
                self._reused = self._reused.plus(stored)

    def _used(self) -> dict[str, int]:
        """Return the objects that the backup will need, and their sizes."""
        with self._lock:
            kept = [_result(one) for one in self._kept.values()]
        used = {name: self._sizes[name] for stored in kept for name in stored.objects}
        return used | {stored.name: stored.stored for stored in kept}


def objects_of(
    storage: Storage, epoch_id: str, *, among: Container[str] | None = None
) -> dict[str, int]:
    """Return name and size of every object of an epoch, or of those *among* the given names."""
    return {
        name: blob.bytes
        for folder in objectfile.folders(epoch_id)
        for blob in storage.list(folder)
        if (name := objectfile.name_in(blob.name)) and (among is None or name in among)
    }


def _result(kept: Stored | Future[Stored]) -> Stored:
    return kept if isinstance(kept, Stored) else kept.result()


def _names(paths: frozenset[str]) -> frozenset[str]:
    return frozenset(name for path in paths if (name := objectfile.name_in(path)))
