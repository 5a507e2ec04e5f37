"""How runs of ``backup`` end, recorded for each series: after a failed one nothing is pruned."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from ulasis_backup.errors import StorageError, UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.repository import repository, runs
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.repository import Entry


class _Made(Protocol):
    """A backup that exists now."""

    @property
    def manifest(self) -> Manifest:
        """Return its manifest."""
        ...


_M = TypeVar("_M", bound=_Made)


def recorded(context: Context, chosen: tuple[str, ...], make: Callable[[], _M]) -> _M:
    """Run *make*, which backs *chosen* databases up, record how it ends, and return the backup.

    Raises what *make* raises. A process that is killed leaves the record of a run that began.
    """
    storage = context.repository.storage
    entries = repository.listing(context.repository).entries
    mine = repository.in_series(entries, context.config.server_name, chosen)
    series = mine[-1].manifest.header.series if mine else ""
    if series:
        runs.begin(storage, series, at=stamp(now()))
    try:
        made = make()
    except UlasisError as error:
        if series:
            runs.fail(storage, series, error, at=stamp(now()))
        raise
    header = made.manifest.header
    try:
        runs.succeed(storage, header.series, at=stamp(now()), backup_id=header.id)
    except StorageError as error:
        # The backup is made all the same, and what is not recorded only keeps more.
        message = f"the success could not be recorded: {error.message}"
        context.observe(Notice(message=message, hint="nothing is pruned until one is"))
    return made


@contextlib.contextmanager
def failing(context: Context) -> Iterator[None]:
    """Record an error of the block as a failure of every series that the settings may mean.

    For what happens before it is known what is backed up, as when the server cannot be reached.
    """
    try:
        yield
    except UlasisError as error:
        with contextlib.suppress(UlasisError):
            for series in _meant(context):
                runs.fail(context.repository.storage, series, error, at=stamp(now()))
        raise


def _meant(context: Context) -> set[str]:
    entries = repository.trusted(repository.listing(context.repository).entries)
    return {entry.manifest.header.series for entry in entries if _is_meant(context, entry)}


def _is_meant(context: Context, entry: Entry) -> bool:
    details, chosen = entry.manifest.details, context.config.databases
    if details is None or details.server_name != context.config.server_name:
        return False
    if chosen == ("*",) or repository.belongs_to(entry, details.server_name, chosen):
        return True
    held = details.selection or entry.manifest.header.databases
    return len(held) == 1 and held[0] in chosen
