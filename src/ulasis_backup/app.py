"""The composition root: settings become storage, repository, and observers."""

from __future__ import annotations

from collections.abc import Callable

from ulasis_backup.config import Config
from ulasis_backup.events import Observe
from ulasis_backup.model import AuditAnchor
from ulasis_backup.operations.context import Context
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.local import LocalStorage
from ulasis_backup.streams.keys import parse_key
from ulasis_backup.streams.pipeline import keep_memory


def build(
    config: Config, observe: Observe, *, anchor: Callable[[], AuditAnchor | None] = lambda: None
) -> Context:
    """Put together what the operations work with. Raises SettingsError for an unusable key.

    *anchor* returns the entry of the audit log with which the run began.
    """
    keep_memory()
    key = parse_key(config.key) if config.key else None
    storage = LocalStorage(config.settings.backup_dir)
    repository = Repository(storage, key)
    return Context(config=config, repository=repository, observe=observe, anchor=anchor)
