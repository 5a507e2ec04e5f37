"""Our own command, as a user would run it: settings in the environment, encrypted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.database import NAME
from benchmarks.measure import Usage, run


def settings(bench: Bench, repository: Path, database: str = NAME) -> dict[str, str]:
    """Return the settings for *repository* and *database*."""
    return {
        "BACKUP_DIR": str(repository), "BACKUP_STATE_DIR": f"{repository}.state",
        "BACKUP_ENCRYPTION_KEY": bench.key,
        "BACKUP_ENCRYPTION_ENABLED": "true", "DB_SOCKET": str(bench.server.socket),
        "DB_HOST": "localhost", "DB_USER": "root", "DB_PASSWORD": "", "DB_NAME": database,
    }  # fmt: skip


def back_up_sql(bench: Bench, repository: Path, *, database: str = NAME) -> Usage:
    """Make a backup by the method `sql`, with its defaults."""
    return run(
        [str(bench.command), "backup"],
        server=bench.server, folder=bench.folder,
        settings=settings(bench, repository, database) | {"BACKUP_METHOD": "sql"},
    )  # fmt: skip


def back_up_rows(bench: Bench, repository: Path, *, database: str = NAME, jobs: int = 2) -> Usage:
    """Make a backup by the method `rows`."""
    return run(
        [str(bench.command), "backup", "--method", "rows", "--jobs", str(jobs)],
        server=bench.server, folder=bench.folder,
        settings=settings(bench, repository, database),
    )  # fmt: skip


def restore_rows(
    bench: Bench,
    repository: Path,
    *,
    target: str,
    database: str = NAME,
    load_by: str = "",
    tables: Sequence[str] = (),
) -> Usage:
    """Restore the latest backup of *database* into *target* by two jobs."""
    command = [
        str(bench.command), "restore", "latest", "--yes", "--skip-pre-restore-backup",
        "--no-compare", "--jobs", "2", "--target-database", target,
    ]  # fmt: skip
    command += ["--load-by", load_by] if load_by else []
    command += ["--tables", ",".join(tables)] if tables else []
    return run(
        command, server=bench.server, folder=bench.folder,
        settings=settings(bench, repository, database),
    )  # fmt: skip


def fresh(repository: Path) -> Path:
    """Return the path of *repository*, with nothing there, and nothing remembered of it."""
    for folder in (repository, repository.with_name(f"{repository.name}.state")):
        shutil.rmtree(folder, ignore_errors=True)
    return repository
