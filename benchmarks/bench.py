"""What the parts of `benchmarks.rows` share: the server, the folder, our command, the report."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.database import Server, run_sql
from benchmarks.measure import Bound, Broken, Usage, bounds_table, median

PACKAGES = {
    "mydumper": "mydumper",
    "myloader": "mydumper",
    "restic": "restic",
    "borg": "borgbackup",
}
INSTALL = "apt-get install mydumper restic borgbackup"
TABLES = ("users", "reviews", "items")


class NotEqual(Broken):
    """What was restored is not what was backed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every part needs to know."""

    server: Server
    folder: Path
    command: Path
    key: str
    runs: int
    days: int
    days_mib: int
    plot: Path
    with_ours: bool
    """False: the peers alone, to try the benchmark; then nothing is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one part found: tables for people, bounds, and what must be said with them."""

    title: str
    tables: Sequence[str]
    bounds: Sequence[Bound] = ()
    notes: Sequence[str] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
    """The single runs, for `--json`."""


def text(report: Report) -> str:
    """Return *report* as Markdown."""
    parts = [f"## {report.title}", *report.tables]
    parts += [bounds_table(report.bounds)] if report.bounds else []
    parts += ["\n".join(f"* {note}" for note in report.notes)] if report.notes else []
    return "\n\n".join(parts) + "\n"


def say(words: str) -> None:
    """Tell on standard error what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def there(program: str) -> bool:
    """Tell whether a peer is installed; say loudly when not."""
    if shutil.which(program):
        return True
    say(f"*** SKIPPED: {program} is not installed: apt-get install {PACKAGES[program]}")
    return False


def alternate(
    ways: Mapping[str, Callable[[], Usage]],
    *,
    runs: int,
    after: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Usage]]:
    """Let *ways* take turns *runs* times; call *after* with a way's name when it has run."""
    measured: dict[str, list[Usage]] = {name: [] for name in ways}
    for number in range(1, runs + 1):
        for name, way in ways.items():
            usage = way()
            measured[name].append(usage)
            say(f"run {number} of {runs}: {name}: {usage.seconds:.1f} s (load {load()})")
            after(name)
    return measured


def medians(measured: Mapping[str, Sequence[Usage]]) -> dict[str, Usage]:
    """Return each way's median run."""
    return {name: median(usages) for name, usages in measured.items()}


def load() -> str:
    """Return how busy the machine is: figures of a shared one are worth as much as this is low."""
    return ", ".join(f"{average:.1f}" for average in os.getloadavg())


def spread(usages: Sequence[Usage]) -> str:
    """Return the quickest and the slowest run."""
    seconds = [usage.seconds for usage in usages]
    return f"{min(seconds):.1f}-{max(seconds):.1f}"


def checksums(server: Server, database: str, tables: Sequence[str] = TABLES) -> str:
    """Return the server's checksums of *tables*, whatever the database's name is."""
    names = ", ".join(f"{database}.{table}" for table in tables)
    return run_sql(server, f"CHECKSUM TABLE {names}").replace(f"{database}.", "")


def require_equal(
    server: Server, *, source: str, copy: str, tables: Sequence[str] = TABLES
) -> None:
    """Raise NotEqual unless *tables* are the same in both databases, rows and indexes."""
    for what in (checksums, _indexes):
        asked, got = what(server, source, tables), what(server, copy, tables)
        if asked != got:
            raise NotEqual(f"{copy} differs from {source}:\n{asked}--\n{got}")


def _indexes(server: Server, database: str, tables: Sequence[str]) -> str:
    """Return the index columns: a restore that leaves indexes out would be quick."""
    names = ", ".join(f"'{table}'" for table in tables)
    return run_sql(
        server,
        "SELECT table_name, index_name, seq_in_index, column_name, non_unique"
        " FROM information_schema.statistics"
        f" WHERE table_schema = '{database}' AND table_name IN ({names}) ORDER BY 1, 2, 3",
    )
