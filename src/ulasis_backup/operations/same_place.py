"""Whether the repository is the one that this machine knows: a disk may not be mounted."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ulasis_backup.errors import Refused
from ulasis_backup.operations.context import Context
from ulasis_backup.repository import repository
from ulasis_backup.statefile import replace_file


def expect_same(context: Context) -> None:
    """Raise Refused where there was another repository before, or where it is gone.

    Backups on the empty folder under a disk that is not mounted would look like a good beginning.
    """
    known, found = _known(context), repository.identity(context.repository)
    if not known or found == known:
        return
    place = context.repository.storage.place
    message = f"the repository that was in {place} {'is another one' if found else 'is gone'}"
    hint = "is the disk mounted, and the right one? `ulasis-backup init` goes on with what is there"
    raise Refused(message, hint=hint)


def remember(context: Context) -> None:
    """Remember which repository it is, as far as that can be written."""
    found = repository.identity(context.repository)
    if found and found != _known(context):
        with contextlib.suppress(OSError):
            replace_file(_path(context), found)


def _known(context: Context) -> str:
    """Return the repository's id as this machine knows it, empty where it knows none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _path(context).read_text("utf-8").strip()
    return ""


def _path(context: Context) -> Path:
    config = context.config
    return config.state_folder / f"repository-{config.state_id}"
