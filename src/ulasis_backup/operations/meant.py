"""Which series the settings ask for: by ``sql`` one for each database, by ``rows`` one of all."""

from __future__ import annotations

from collections.abc import Iterable

from ulasis_backup.config import Config
from ulasis_backup.repository.repository import Entry, trusted


def meant(config: Config, entries: Iterable[Entry]) -> tuple[tuple[str, ...], ...]:
    """Return the databases of each series; *entries* are the backups that there are.

    Where DB_NAME is ``*``, ``sql`` backs up what the server holds: of that only those databases are
    known here of which there is a backup.
    """
    if config.settings.backup_method != "sql":
        return (config.databases,)
    names = config.databases
    if names == ("*",):
        names = tuple(sorted(_alone(config, entries)))
    return tuple((name,) for name in names) or (config.databases,)


def _alone(config: Config, entries: Iterable[Entry]) -> set[str]:
    return {
        entry.manifest.header.databases[0]
        for entry in trusted(entries)
        if (details := entry.manifest.details)
        and details.server_name == config.server_name
        and not details.selection
        and len(entry.manifest.header.databases) == 1
    }
