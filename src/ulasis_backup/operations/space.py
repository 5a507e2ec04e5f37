"""Room for a backup, looked for before it begins: a run that fills the disk helps nobody."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from ulasis_backup.errors import StorageFull
from ulasis_backup.events import Notice
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.repository import repository
from ulasis_backup.repository.repository import Entry

ROOMY = 2
"""How many backups as large as the last one should find room; with fewer there is a notice."""


def expect_room(context: Context, request: BackupRequest) -> None:
    """Raise StorageFull where less is free than the last backup of the series and method took.

    A first backup, and a storage that does not know what is free, are let through.
    """
    settings = context.config.settings
    free = context.repository.storage.free_bytes()
    if free is None or not settings.backup_check_space:
        return
    entries = repository.listing(context.repository).entries
    chosen = request.selection or request.databases
    series = repository.in_series(entries, context.config.server_name, chosen)
    method = request.method or settings.backup_method
    last = _last_size(series, method)
    command = shlex.join(["ulasis-backup", *context.config.flags, "prune"])
    place = context.repository.storage.place
    said = f"the last backup took {_mega(last)} and {_mega(free)} are free at {place}"
    if free < last:
        hint = (
            f"free space; `{command} --after-failure` removes what the retention policy does not "
            f"keep, with --dry-run it shows that first (BACKUP_CHECK_SPACE=false lets it try)"
        )
        raise StorageFull(f"there is no room for a backup: {said}", hint=hint)
    if free < last * ROOMY:
        hint = f"free space soon; `{command} --dry-run` shows what retention keeps and why"
        context.observe(Notice(message=f"the storage is nearly full: {said}", hint=hint))


def _last_size(series: Iterable[Entry], method: str) -> int:
    sizes = [
        entry.manifest.added_bytes for entry in series if entry.manifest.header.method == method
    ]
    return sizes[-1] if sizes else 0


def _mega(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
