"""Removing backups, whole and in an order that never leaves a listed backup without its payload."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from ulasis_backup.errors import StorageFull
from ulasis_backup.repository import holds, locks, proofs
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import Repository

LONGEST = timedelta(minutes=5)
"""How long one run removes at the most, well within the time that its signs count."""


def remove(
    repository: Repository,
    names: Iterable[PayloadName],
    still: Callable[[], frozenset[str]],
) -> tuple[PayloadName, ...]:
    """Remove the backups *names* that are *still* to be removed, and return those that were.

    *still* is called once, after the signs that others look for are written: it must then read
    the repository again and return the payload names that may go. Whoever reads or holds a backup
    from then on is refused; whoever did so before is seen by *still*. May be repeated whenever it
    was cut off. Raises StorageError; what is half removed then is removed by a later prune.
    """
    signs: dict[PayloadName, str | None] = {}
    removed: list[PayloadName] = []
    end = time.monotonic() + LONGEST.total_seconds()
    try:
        for name in names:
            signs[name] = _sign(repository, name)
        going = still() if signs else frozenset()
        for name in list(signs):
            if str(name) in going and time.monotonic() < end:
                # Cut off within, the sign stays and tells the next prune to go on.
                del signs[name]
                delete(repository, name)
                locks.end_removing(repository.storage, name.backup_id)
                removed.append(name)
    finally:
        for sign in signs.values():
            if sign is not None:
                repository.storage.delete(sign)
    return tuple(removed)


def _sign(repository: Repository, name: PayloadName) -> str | None:
    """Write the sign that *name* is going to be removed; None where there is no room even for that.

    Removing is what makes room then. A reader who comes at the same moment finds files missing.
    """
    try:
        return locks.begin_removing(repository.storage, name.backup_id)
    except StorageFull:
        return None


def delete(repository: Repository, name: PayloadName) -> None:
    """Delete everything of one backup but its shared objects; idempotent.

    The manifest goes first: from then on the backup does not exist.
    """
    storage = repository.storage
    storage.delete(name.manifest)
    storage.delete(str(name))
    storage.delete(name.key_copy)
    proofs.delete_proofs(repository, name.backup_id)
    storage.delete(holds.path_of(name.backup_id))
