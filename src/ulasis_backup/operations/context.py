"""What every operation works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ulasis_backup.config import Config
from ulasis_backup.errors import SettingsError, StorageError
from ulasis_backup.events import Notice, Observe
from ulasis_backup.methods.sql import SqlOptions
from ulasis_backup.model import AuditAnchor
from ulasis_backup.mysql.beside import is_beside
from ulasis_backup.mysql.server import Server, databases
from ulasis_backup.repository import locks
from ulasis_backup.repository.find import find
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Settings, the repository, and who listens.

    ``anchor`` returns the entry of the audit log with which the run began, if there is one.
    """

    config: Config
    repository: Repository
    observe: Observe
    anchor: Callable[[], AuditAnchor | None] = lambda: None


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Return *moment* as it stands in manifests, e.g. ``2026-11-22T02:00:00.123456+00:00``."""
    return moment.astimezone(UTC).isoformat()


def sql_options(config: Config, *, allow_partial: bool = False) -> SqlOptions:
    """Return the dump options that the settings ask for."""
    settings = config.settings
    return SqlOptions(
        lock_tables=settings.backup_lock_tables,
        block_ddl=settings.backup_ddl == "block",
        ddl_wait=settings.backup_ddl_wait,
        allow_partial=allow_partial,
        programs_folder=settings.backup_programs_dir,
    )


def chosen_backup(context: Context, text: str) -> PayloadName:
    """Return the backup that *text* names; ``latest`` is of the settings' server and database."""
    config = context.config
    return find(
        context.repository, text, server_name=config.server_name, databases=config.databases
    )


@contextmanager
def reading(context: Context, name: PayloadName) -> Iterator[None]:
    """Keep prunes from removing the backup while the block reads it.

    Raises Busy while one is removing it. Where nothing can be written, as on a full disk or one
    that is mounted to be read only, the block runs all the same: a disaster is no time to refuse.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.reading(context.repository.storage, name.backup_id))
        except StorageError as error:
            message = f"a prune on another host would not see that {name} is read: {error.message}"
            context.observe(Notice(message=message, hint="do not prune meanwhile"))
        yield


def chosen_databases(config: Config, server: Server) -> tuple[str, ...]:
    """Return the databases to back up; ``*`` in DB_NAME means all that the login may see.

    What restores keep beside databases is not among them.
    """
    everything = (name for name in databases(server) if not is_beside(name))
    chosen = tuple(everything) if config.databases == ("*",) else config.databases
    if not chosen:
        message = f"DB_NAME={config.settings.db_name} names no database that this login may see"
        raise SettingsError(message, hint="set DB_NAME, or give the login rights on a database")
    return chosen
