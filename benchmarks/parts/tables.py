"""Restoring one table reads that table's objects and no others."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import TABLES, Bench, Report, require_equal, say
from benchmarks.database import NAME, run_sql
from benchmarks.measure import MEGABYTE, Broken, Usage, at_most, table

COPY = "restored"


class CannotSee(Broken):
    """The file system does not note who reads: nothing could be proved here."""


def measure(bench: Bench) -> Report:
    """Restore each table alone and see which objects are read; then again with no others there."""
    if not bench.with_ours:
        return Report(title="One table", tables=[], notes=["there is nothing here but ours"])
    repository = ours.fresh(bench.folder / "repository")
    ours.back_up_rows(bench, repository)
    objects = {path for path in (repository / "objects").rglob("*") if path.is_file()}
    whole = _megabytes(objects)
    read: dict[str, set[Path]] = {}
    rows = []
    for name in TABLES:
        usage, read[name] = _watched(bench, repository, objects, name)
        with _moved_away(objects - read[name], bench.folder / "aside"):
            _restore(bench, repository, name)
        rows.append([name, f"{usage.seconds:.1f}", str(len(read[name])),
                     f"{_megabytes(read[name]):.1f}", f"{whole:.1f}"])  # fmt: skip
        say(f"{name} alone: {len(read[name])} of {len(objects)} objects")
    shared = set().union(*(read[one] & read[other] for one, other in combinations(TABLES, 2)))
    return Report(
        title="One table",
        tables=[table(["table", "seconds", "objects read", "MB read", "MB of all"], rows)],
        bounds=[at_most("objects read for more than one table", len(shared), 0)],
        notes=[
            "each table was restored once more with all other objects moved away, and was equal"
        ],
    )


def _restore(bench: Bench, repository: Path, name: str) -> Usage:
    usage = ours.restore_rows(bench, repository, target=COPY, tables=[name])
    require_equal(bench.server, source=NAME, copy=COPY, tables=[name])
    run_sql(bench.server, f"DROP DATABASE {COPY}")
    return usage


def _watched(
    bench: Bench, repository: Path, objects: set[Path], name: str
) -> tuple[Usage, set[Path]]:
    """Restore the table *name* and return the objects whose access time moved."""
    _age(objects)
    _require_access_times(bench.folder)
    usage = _restore(bench, repository, name)
    return usage, {path for path in objects if path.stat().st_atime_ns != 0}


def _age(paths: set[Path]) -> None:
    """Set the access times back to 1970; a read moves them, `relatime` or not."""
    for path in paths:
        os.utime(path, ns=(0, path.stat().st_mtime_ns))


def _require_access_times(folder: Path) -> None:
    probe = folder / "probe"
    probe.write_bytes(b"x")
    _age({probe})
    probe.read_bytes()
    if probe.stat().st_atime_ns == 0:
        raise CannotSee(f"{folder} is mounted with noatime: choose another --work")


@contextlib.contextmanager
def _moved_away(paths: set[Path], aside: Path) -> Iterator[None]:
    aside.mkdir()
    moved = [(path, aside / str(number)) for number, path in enumerate(sorted(paths))]
    for path, place in moved:
        path.rename(place)
    try:
        yield
    finally:
        for path, place in moved:
            place.rename(path)
        shutil.rmtree(aside)


def _megabytes(paths: set[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / MEGABYTE
