"""Reading the index of a ``rows`` backup, whole and authentic."""

from __future__ import annotations

from ulasis_backup.errors import CouldNotCheck, IntegrityError, UlasisError
from ulasis_backup.methods.index import Index, read_index
from ulasis_backup.methods.summary import summary_of
from ulasis_backup.operations.context import Context
from ulasis_backup.repository import payload, repository
from ulasis_backup.repository.canonical import HINT
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName


def load_index(
    context: Context, name: PayloadName, *, allow_unauthenticated: bool = False
) -> Index:
    """Return the index of backup *name*, which its manifest vouches for.

    Raises IntegrityError and its children, BackupNotFound, BlobMissing.
    """
    manifest = repository.load_trusted(
        context.repository, name, allow_unauthenticated=allow_unauthenticated
    )
    return index_of(context, manifest)


def accounts_of(context: Context, manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the accounts in a backup as ``'user'@'host'``, and why they could not be read.

    Only encrypted ``rows`` backups can hold any, in their index.
    """
    if manifest.header.method != "rows" or not manifest.encrypted:
        return (), ()
    try:
        accounts = index_of(context, manifest).accounts
    except UlasisError as error:
        return (), (f"whether it holds accounts could not be read: {error.message}",)
    return tuple(account.text for account in accounts), ()


def index_of(context: Context, manifest: Manifest) -> Index:
    """Return the index that *manifest*, a trusted one, describes; see ``load_index``."""
    header, details = manifest.header, manifest.details
    if header.method != "rows" or details is None:
        message = f"{header.payload} is no rows backup"
        raise CouldNotCheck(message, hint="it was made by another method; see `show`")
    storage = context.repository.storage
    payload.check_stored(storage, manifest)
    index = read_index(payload.open_plain(storage, manifest))
    found = summary_of(index, manifest.data_key)
    same = (found.plain, found.tables, found.objects) == (
        details.plain,
        details.tables,
        details.objects,
    )
    if not same or index.begin.databases != header.databases:
        message = f"{header.payload} does not hold what its manifest says"
        raise IntegrityError(message, hint=HINT)
    return index
