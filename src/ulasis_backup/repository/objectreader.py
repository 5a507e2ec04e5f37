"""Reading objects, through their bases; others of the same fingerprint stand in for lost ones."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict

from ulasis_backup.errors import BlobMissing, IntegrityError, NameTaken
from ulasis_backup.repository import objectfile
from ulasis_backup.repository.objectfile import HINT, MOST_STORED, Epoch, path_of, print_of
from ulasis_backup.storage.base import Storage, read_whole

CACHE_BYTES = 64 << 20
DEEPEST = 64
"""Links that are followed. Chains have ten; each that lost an object may go on behind another."""

DAMAGED = "damaged"


class ObjectReader:
    """Reads objects of one epoch; for any number of threads.

    ``damaged`` and ``missing`` name what was found so, even where another object served. The last
    *cache* plain bytes are kept, so that a chain is read forward without decoding bases again.
    """

    def __init__(self, storage: Storage, epoch: Epoch, *, cache: int = CACHE_BYTES) -> None:
        self._storage = storage
        self._epoch = epoch
        self._cache = _Cache(cache)
        self._lock = threading.Lock()
        self._damaged: set[str] = set()
        self._missing: set[str] = set()

    @property
    def damaged(self) -> frozenset[str]:
        """Return the objects whose own bytes were found to be damaged."""
        with self._lock:
            return frozenset(self._damaged)

    @property
    def missing(self) -> frozenset[str]:
        """Return the objects that were found to be missing."""
        with self._lock:
            return frozenset(self._missing)

    def read(self, name: str) -> bytes:
        """Return the plain bytes of object *name*, proven to be those that its name names.

        Where it, or an object that it builds on, is missing or damaged, any object with the same
        fingerprint serves instead. Raises BlobMissing, AuthenticationFailed, IntegrityError,
        UnknownFormat.
        """
        return self._read(name, seen=set(), depth=0)

    def set_aside(self, name: str) -> bool:
        """Move *name* to ``damaged/`` if it is damaged still; return whether it is there now.

        Idempotent. The object no longer serves anybody, and the next backup stores its bytes anew.
        """
        with self._lock:
            self._damaged.discard(name)
        # Once more: what a cable or a controller garbled on its way may lie there whole.
        with contextlib.suppress(BlobMissing, IntegrityError):
            self._decode(name, seen={name}, depth=0)
        if name not in self.damaged:
            return False
        path = path_of(self._epoch.id, name)
        with contextlib.suppress(NameTaken):
            self._storage.put(f"{DAMAGED}/{name}", self._storage.open(path))
        self._storage.delete(path)
        return True

    def _read(self, name: str, *, seen: set[str], depth: int) -> bytes:
        plain = self._cache.get(name)
        if plain is None:
            try:
                plain = self._first(name, seen, depth)
            except (BlobMissing, IntegrityError) as error:
                plain = self._twin(name, seen, depth, error)
            self._cache.keep(name, plain)
        return plain

    def _first(self, name: str, seen: set[str], depth: int) -> bytes:
        # Which objects can be reached does not depend on the way there: none is tried twice.
        if name in seen or depth > DEEPEST:
            raise IntegrityError(f"object {name} builds on itself, or on too many", hint=HINT)
        seen.add(name)
        return self._decode(name, seen=seen, depth=depth)

    def _twin(self, name: str, seen: set[str], depth: int, error: Exception) -> bytes:
        """Return the same bytes from another object that has them."""
        for blob in self._storage.list(objectfile.folder_of(self._epoch.id, name)):
            other = objectfile.name_in(blob.name)
            if other and print_of(other) == print_of(name) and other not in seen:
                with contextlib.suppress(BlobMissing, IntegrityError):
                    return self._first(other, seen, depth)
        raise error

    def _decode(self, name: str, *, seen: set[str], depth: int) -> bytes:
        path = path_of(self._epoch.id, name)
        try:
            file = read_whole(self._storage, path, most=MOST_STORED)
            content = objectfile.unseal(self._epoch, name, file)
        except BlobMissing:
            self._note(self._missing, name)
            raise
        except IntegrityError:
            self._note(self._damaged, name)
            raise
        base = self._read(content.base, seen=seen, depth=depth + 1) if content.base else None
        try:
            return objectfile.decode(self._epoch, name, content, base)
        except IntegrityError:
            # The base is proven to be the right one, so this object is the damaged one.
            self._note(self._damaged, name)
            raise

    def _note(self, names: set[str], name: str) -> None:
        with self._lock:
            names.add(name)


class _Cache:
    """The plain bytes that were used last, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        with self._lock:
            if name in self._entries:
                self._entries.move_to_end(name)
            return self._entries.get(name)

    def keep(self, name: str, plain: bytes) -> None:
        with self._lock:
            if name in self._entries or len(plain) > self._most:
                return
            self._entries[name] = plain
            self._held += len(plain)
            while self._held > self._most:
                _, oldest = self._entries.popitem(last=False)
                self._held -= len(oldest)
