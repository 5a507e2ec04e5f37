"""Deleting the objects that no backup needs any more, in two steps.

Objects that fewer and fewer backups need become unreferenced when backups go. A run lists what is
unreferenced; a later one, after the grace period, deletes it. Nothing is deleted while any manifest
or index cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from ulasis_backup.errors import Refused, UlasisError
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.repository import marks, repository
from ulasis_backup.repository.unreferenced import Deleted, delete_listed, list_unreferenced, waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedObjects:
    """Objects newly listed as unreferenced, and those that were deleted.

    ``waiting`` objects in all are on a list now, the new ones among them.
    """

    listed: int
    waiting: int
    deleted: Deleted
    grace: timedelta


def prune_objects(context: Context) -> PrunedObjects:
    """List what no backup needs, delete what has been listed for longer than the grace period.

    Raises Refused while any backup cannot be read and understood: it may need any object.
    """
    grace = timedelta(hours=context.config.settings.backup_grace_hours)
    storage = context.repository.storage
    deleted = delete_listed(storage, lambda: _referenced(context), grace=grace)
    listed = list_unreferenced(storage, _referenced(context))
    left = waiting(storage)
    return PrunedObjects(listed=listed, waiting=left, deleted=deleted, grace=grace)


def objects_wait(context: Context) -> bool:
    """Tell whether an earlier run has listed objects that are to be deleted."""
    return bool(marks.listed(context.repository.storage))


def _referenced(context: Context) -> frozenset[str]:
    """Return the names of all objects that any backup needs, bases included."""
    return frozenset(name for names in _needed(context) for name in names)


def _needed(context: Context) -> Iterator[frozenset[str]]:
    found = repository.listing(context.repository)
    for oddity in found.oddities:
        if oddity.error is not None:
            raise _unreadable(oddity.name, oddity.error)
    for entry in found.entries:
        if entry.problem is not None:
            raise _unreadable(str(entry.name), entry.problem)
        if entry.manifest.header.method != "rows":
            continue
        try:
            yield load_index(context, entry.name).objects
        except UlasisError as error:
            raise _unreadable(str(entry.name), error) from None


def _unreadable(name: str, error: UlasisError) -> Refused:
    message = f"no object was deleted: {name} cannot be read, and may need any object"
    hint = f"{error.message}; mend it, or take it away if it is worth nothing, then prune again"
    return Refused(message, hint=hint)
