"""``prune``: delete the objects that no backup needs any more, in two steps.

Which backups to keep is not decided here: objects that fewer and fewer backups need become
unreferenced when backups go. A run lists what is unreferenced; a later one, after the grace
period, deletes it. Nothing is deleted while any manifest or index cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from ulasis_backup.errors import CouldNotCheck, Refused, UlasisError
from ulasis_backup.events import PhaseBegan, PhaseEnded
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.repository import repository
from ulasis_backup.repository.unreferenced import Deleted, delete_listed, list_unreferenced


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune did: objects newly listed as unreferenced, and those that were deleted."""

    backups: int
    listed: int
    deleted: Deleted
    grace: timedelta


def prune(context: Context) -> Pruned:
    """List what no backup needs, delete what has been listed for longer than the grace period.

    Raises CouldNotCheck where there is no repository, Refused while any backup cannot be read and
    understood: it may need any object.
    """
    if context.repository.storage.stat(repository.REPOSITORY_FILE) is None:
        message = f"there is no repository in {context.repository.storage.place}"
        raise CouldNotCheck(message, hint="is BACKUP_DIR right, and its disk mounted?")
    grace = timedelta(hours=context.config.settings.backup_grace_hours)
    storage = context.repository.storage
    context.observe(PhaseBegan(name="prune", subject=storage.place))
    deleted = delete_listed(storage, lambda: _referenced(context), grace=grace)
    backups = len(repository.listing(context.repository).entries)
    listed = list_unreferenced(storage, _referenced(context))
    facts = (("deleted", deleted.objects), ("bytes", deleted.bytes), ("listed", listed))
    context.observe(PhaseEnded(name="prune", facts=facts))
    return Pruned(backups=backups, listed=listed, deleted=deleted, grace=grace)


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
    message = f"nothing was deleted: {name} cannot be read, and may need any object"
    hint = f"{error.message}; mend it, or take it away if it is worth nothing, then prune again"
    return Refused(message, hint=hint)
