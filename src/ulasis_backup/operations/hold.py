"""``hold`` and ``release``: keep a backup whatever the retention policy says, and let it go."""

from __future__ import annotations

import contextlib

from ulasis_backup.errors import BackupNotFound, SettingsError, WrongKey
from ulasis_backup.events import Notice
from ulasis_backup.operations.context import Context, chosen_backup, now, stamp
from ulasis_backup.repository import holds, names, repository
from ulasis_backup.repository.holds import Hold
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import Repository


def hold(context: Context, name: PayloadName, *, note: str = "") -> Hold:
    """Hold the backup; a hold that is there already is replaced, its note too where one is given.

    Raises BackupNotFound, Busy while a prune is removing it, StorageError, IntegrityError for a
    manifest that cannot be read.
    """
    if not note.isprintable():
        message = "the note may hold printable characters only"
        raise SettingsError(message, hint="leave out line ends and bytes that are not UTF-8")
    repository.ensure(context.repository)
    manifest = _manifest(context, name)
    before = holds.held_one(context.repository, manifest)
    note = note or (before.note if before else "")
    held_at = stamp(now())
    holds.put(context.repository, manifest, held_at=held_at, note=note)
    if context.repository.storage.stat(name.manifest) is None:
        holds.release(context.repository.storage, name.backup_id)
        message = f"{name} was removed while it was about to be held"
        raise BackupNotFound(message, hint="`ulasis-backup list` shows what there is")
    return Hold(backup=name.backup_id, held_at=held_at, note=note)


def held_backup(context: Context, text: str) -> PayloadName:
    """Return the backup that *text* names, be it gone and nothing left of it but a hold.

    Raises what ``chosen_backup`` raises.
    """
    try:
        return chosen_backup(context, text)
    except BackupNotFound:
        wanted = text.rsplit("/", 1)[-1]
        # Any suffix: there is no payload that could have another.
        name = (
            names.parse_manifest(wanted)
            or names.parse_payload(wanted)
            or PayloadName(backup_id=wanted, suffix=".sql")
        )
        hold_of = holds.path_of(name.backup_id)
        if names.is_backup_id(name.backup_id) and context.repository.storage.stat(hold_of):
            return name
        raise


def release(context: Context, name: PayloadName) -> bool:
    """Let the backup go; return whether it was held."""
    repository.ensure(context.repository)
    return holds.release(context.repository.storage, name.backup_id)


def _manifest(context: Context, name: PayloadName) -> Manifest:
    """Return the manifest, in need also without the key: then the hold is not signed."""
    with contextlib.suppress(WrongKey):
        return repository.load(context.repository, name)
    notice = "the hold is not signed: the key of this backup is not configured"
    context.observe(Notice(message=notice, hint="it holds; hold it again with the key"))
    return repository.load(Repository(context.repository.storage, None), name)
