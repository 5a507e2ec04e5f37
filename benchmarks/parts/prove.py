"""A test restore of a `rows` backup beside the restore alone: the proof must not cost much more.

Both load the same rows by two jobs. The restore reads every object before it touches the server,
and writes the binlog; the test restore starts a server of its own, and reads all rows again to
compare them. Processor seconds are those of all processes together: on a busy machine they tell
more than the clock.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from benchmarks import ours
from benchmarks.bench import Bench, Report, alternate, medians, spread
from benchmarks.database import run_sql
from benchmarks.measure import Usage, at_most, run, table

COPY = "restored"
RESTORE, TEST_RESTORE = "restore alone (not compared)", "test-restore"
ASKED = 1.3


def measure(bench: Bench) -> Report:
    """Restore and test-restore in turns."""
    repository = ours.fresh(bench.folder / "repository")
    ours.back_up_rows(bench, repository)
    spent: dict[str, list[float]] = {RESTORE: [], TEST_RESTORE: []}
    ways: dict[str, Callable[[], Usage]] = {
        RESTORE: lambda: ours.restore_rows(bench, repository, target=COPY),
        TEST_RESTORE: lambda: _test_restore(bench),
    }
    counted = {name: _counting(bench, way, spent[name]) for name, way in ways.items()}
    measured = alternate(counted, runs=bench.runs)
    middle = medians(measured)
    ratio = middle[TEST_RESTORE].seconds / middle[RESTORE].seconds
    return Report(
        title="Test restore",
        tables=[_times(measured, spent)],
        bounds=[at_most("test-restore: times of the restore alone", ratio, ASKED)],
        notes=["every test restore ended with the verdict proven"],
        figures={
            "runs": {name: [asdict(usage) for usage in of] for name, of in measured.items()},
            "processor seconds": spent,
        },
    )


def _test_restore(bench: Bench) -> Usage:
    return run(
        [str(bench.command), "test-restore", "latest", "--jobs", "2"],
        folder=bench.folder,
        settings=ours.settings(bench, bench.folder / "repository"),
    )


def _counting(bench: Bench, way: Callable[[], Usage], spent: list[float]) -> Callable[[], Usage]:
    """Return *way* on a server without the copy; what all its processes spent is added."""

    def counted() -> Usage:
        run_sql(bench.server, f"DROP DATABASE IF EXISTS {COPY}")
        before = _children()
        usage = way()
        spent.append(_children() - before + usage.server_cpu_seconds)
        return usage

    return counted


def _children() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def _times(measured: Mapping[str, Sequence[Usage]], spent: Mapping[str, Sequence[float]]) -> str:
    middle = medians(measured)
    first = middle[RESTORE].seconds
    rows = [
        [
            name, f"{usage.seconds:.1f}", spread(measured[name]), f"{usage.seconds / first:.2f}",
            f"{min(spent[name]):.1f}", f"{min(spent[name]) / min(spent[RESTORE]):.2f}",
            f"{usage.peak_megabytes:.0f}",
        ]
        for name, usage in middle.items()
    ]  # fmt: skip
    head = ["", "seconds", "of", "times", "least CPU s", "times", "our MB"]
    return table(head, rows)
