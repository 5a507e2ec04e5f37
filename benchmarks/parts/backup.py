"""Backups side by side: time, server cost, memory, and what a committing client feels."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.bench import Bench, Report, alternate, medians, say, spread, there
from benchmarks.database import NAME, run_sql
from benchmarks.measure import Bound, Usage, at_least, at_most, stored_megabytes, table
from benchmarks.stall import STATEMENT_SECONDS, committing, long_statement

PIPELINE_BOUND = 9.0
MYDUMPER_BOUND = 1.0
MEMORY_BOUND = 250.0
STALL_BOUND = 1000.0
IDLE_SECONDS = 5
MANY = "many"
MANY_TABLES = 1000
HEAVY = "heavy"
HEAVY_TABLES = 4
HEAVY_ROWS = 4
HEAVY_BYTES = 15_000_000

NOTES = (
    "the committing client updates one row, commits, waits 1 ms, and so on",
    "commits are not flushed to the disk (`innodb_flush_log_at_trx_commit=0`): locks show, not it",
    f"the long statement is an UPDATE of {STATEMENT_SECONDS} s that began before the backup",
)

Way = Callable[[str], Usage]
"""Makes one backup of the database whose name it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """What the committing client met during one backup."""

    seconds: float
    longest_ms: float
    commits_per_second: float


def measure(bench: Bench) -> Report:
    """Measure all ways in turns, then each again beside a committing client."""
    stored: dict[str, float] = {}
    ways = _ways(bench, stored)
    timed = {name: _on(way, NAME) for name, way in ways.items() if name != "mariadb-dump alone"}
    measured = alternate(timed, runs=bench.runs)
    stalls = _all_stalls(bench, ways)
    memory = _memory(bench) if bench.with_ours else {}
    return Report(
        title="Backup",
        tables=[_times(measured, stored), *_stall_tables(stalls), *_memory_tables(memory)],
        bounds=_bounds(medians(measured), stalls, memory) if bench.with_ours else [],
        notes=NOTES,
        figures={"runs": {name: [asdict(usage) for usage in of] for name, of in measured.items()}},
    )


def _ways(bench: Bench, stored: dict[str, float]) -> dict[str, Way]:
    """Return the ways by name; each notes in *stored* what it left on the disk."""
    target = bench.folder / "backup"
    made: dict[str, Callable[[str], Usage]] = {
        "pipeline": lambda database: peers.pipeline(bench, target, database=database),
        "mariadb-dump alone": lambda database: peers.dump(bench, target, database=database),
    }
    if there("mydumper"):
        made["mydumper -t 2"] = lambda database: peers.mydumper(bench, target, database=database)
        # By default a table is one file and one thread's work; this is what it can do at best.
        made["mydumper -t 2, chunks"] = lambda database: peers.mydumper(
            bench, target, *peers.CHUNKS, database=database
        )
        made["mydumper -t 2, gzip"] = lambda database: peers.mydumper(
            bench, target, "--compress", database=database
        )
    made["sql"] = lambda database: ours.back_up_sql(bench, target, database=database)
    if bench.with_ours:
        made["rows"] = lambda database: ours.back_up_rows(bench, target, database=database)
    return {name: _noted(name, way, target, stored) for name, way in made.items()}


def _noted(name: str, way: Way, target: Path, stored: dict[str, float]) -> Way:
    def noted(database: str) -> Usage:
        _away(target)
        usage = way(database)
        if database == NAME:
            stored[name] = stored_megabytes(target)
        _away(target)
        return usage

    return noted


def _away(target: Path) -> None:
    target.unlink() if target.is_file() else ours.fresh(target)


def _on(way: Way, database: str) -> Callable[[], Usage]:
    return lambda: way(database)


def _all_stalls(bench: Bench, ways: Mapping[str, Way]) -> dict[str, dict[str, Stall]]:
    """Return the stalls of each way by scene: the big database, many tables, a long statement."""
    locking = {name: way for name, way in ways.items() if name in {"mydumper -t 2", "sql", "rows"}}
    seen = {name: way for name, way in ways.items() if name == "mariadb-dump alone"} | locking
    found = {
        "the whole database": {"no backup": _idle(bench)}
        | {name: _stall(bench, name, way, NAME, runs=bench.runs) for name, way in seen.items()}
    }
    with _many_tables(bench):
        found[f"{MANY_TABLES} small tables"] = {
            name: _stall(bench, name, way, MANY, runs=bench.runs) for name, way in locking.items()
        }
        found[f"{MANY_TABLES} small tables, a long statement runs"] = {
            name: _stall(bench, name, way, MANY, beside=True) for name, way in locking.items()
        }
    return found


def _idle(bench: Bench) -> Stall:
    with committing(bench.server, NAME) as meter:
        time.sleep(IDLE_SECONDS)
        seconds = list(meter.seconds)
    return _stall_of(seconds, IDLE_SECONDS)


def _stall(
    bench: Bench, name: str, way: Way, database: str, *, runs: int = 1, beside: bool = False
) -> Stall:
    """Return the worst stall of *runs* backups, and the median of the rest."""
    stalls = [_one_stall(bench, way, database, beside=beside) for _ in range(runs)]
    worst = max(stall.longest_ms for stall in stalls)
    say(f"stall of {name} on {database}{' beside a long statement' * beside}: {worst:.0f} ms")
    return Stall(
        seconds=statistics.median(stall.seconds for stall in stalls),
        longest_ms=worst,
        commits_per_second=statistics.median(stall.commits_per_second for stall in stalls),
    )


def _one_stall(bench: Bench, way: Way, database: str, *, beside: bool) -> Stall:
    with committing(bench.server, database) as meter, contextlib.ExitStack() as stack:
        if beside:
            stack.enter_context(long_statement(bench.server, database))
        started = time.perf_counter()
        way(database)
        seconds = time.perf_counter() - started
        stack.close()  # a commit that is still held back must end before it can be counted
        time.sleep(0.1)
        commits = list(meter.seconds)
    return _stall_of(commits, seconds)


def _stall_of(commits: Sequence[float], seconds: float) -> Stall:
    return Stall(
        seconds=seconds,
        longest_ms=max(commits) * 1000,
        commits_per_second=len(commits) / seconds,
    )


@contextlib.contextmanager
def _database(bench: Bench, name: str, tables: Sequence[str]) -> Iterator[None]:
    """Have a database of that *name*, made by the statements *tables*."""
    run_sql(bench.server, f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")
    run_sql(bench.server, "\n".join(tables), name)
    yield
    run_sql(bench.server, f"DROP DATABASE {name}")


@contextlib.contextmanager
def _many_tables(bench: Bench) -> Iterator[None]:
    """Have a database of many small tables."""
    tables = [
        f"CREATE TABLE t{number} (id INT PRIMARY KEY, v VARCHAR(40), KEY v (v)) ENGINE=InnoDB;"
        f"INSERT INTO t{number} SELECT seq, MD5(seq + {number}) FROM seq_1_to_20;"
        for number in range(MANY_TABLES)
    ]
    with _database(bench, MANY, tables):
        yield


def _memory(bench: Bench) -> dict[str, Usage]:
    """Return what our process takes with two and four jobs, and with rows of almost 16 MB."""
    repository = bench.folder / "backup"
    found = {}
    for jobs in (2, 4):
        found[f"{jobs} jobs"] = ours.back_up_rows(bench, ours.fresh(repository), jobs=jobs)
    with _heavy_rows(bench):
        found[f"4 jobs, rows of {HEAVY_BYTES / 1e6:.0f} MB"] = ours.back_up_rows(
            bench, ours.fresh(repository), database=HEAVY, jobs=4
        )
    ours.fresh(repository)
    return found


@contextlib.contextmanager
def _heavy_rows(bench: Bench) -> Iterator[None]:
    """Have a database whose tables, one for each job, hold rows just under 16 MB."""
    tables = [
        f"CREATE TABLE t{number} (id INT PRIMARY KEY, v LONGBLOB NOT NULL) ENGINE=InnoDB;"
        f"INSERT INTO t{number} SELECT id, LEFT(REPEAT(body, {HEAVY_BYTES} DIV LENGTH(body) + 1),"
        f" {HEAVY_BYTES}) FROM {NAME}.reviews LIMIT {HEAVY_ROWS};"
        for number in range(HEAVY_TABLES)
    ]
    with _database(bench, HEAVY, tables):
        yield


def _times(measured: Mapping[str, Sequence[Usage]], stored: Mapping[str, float]) -> str:
    middle = medians(measured)
    rows = [
        [
            name, f"{usage.seconds:.1f}", spread(measured[name]),
            f"{middle['pipeline'].seconds / usage.seconds:.1f}",
            f"{usage.server_cpu_seconds:.1f}", f"{stored[name]:.0f}",
            f"{usage.family_megabytes:.0f}",
        ]
        for name, usage in middle.items()
    ]  # fmt: skip
    head = ["", "seconds", "of", "times as fast", "server CPU s", "stored MB", "client MB"]
    return table(head, rows)


def _stall_tables(found: Mapping[str, Mapping[str, Stall]]) -> Iterator[str]:
    for scene, stalls in found.items():
        rows = [
            [name, f"{stall.seconds:.1f}", f"{stall.longest_ms:.0f}",
             f"{stall.commits_per_second:.0f}"]
            for name, stall in stalls.items()
        ]  # fmt: skip
        yield table([scene, "seconds", "longest commit, ms", "commits/s"], rows)


def _memory_tables(memory: Mapping[str, Usage]) -> Iterator[str]:
    if memory:
        rows = [[name, f"{usage.peak_megabytes:.0f}"] for name, usage in memory.items()]
        yield table(["our memory", "peak MB"], rows)


def _bounds(
    middle: Mapping[str, Usage],
    stalls: Mapping[str, Mapping[str, Stall]],
    memory: Mapping[str, Usage],
) -> list[Bound]:
    mine = middle["rows"].seconds
    found = [at_least("times as fast as the pipeline", middle["pipeline"].seconds / mine,
                      PIPELINE_BOUND)]  # fmt: skip
    if "mydumper -t 2" in middle:
        faster = middle["mydumper -t 2"].seconds / mine
        found.append(at_least("times as fast as mydumper -t 2", faster, MYDUMPER_BOUND))
    found += [
        at_most(f"longest commit, ms: {scene}", of["rows"].longest_ms, STALL_BOUND)
        for scene, of in stalls.items()
    ]
    found += [
        at_most(f"peak MB: {name}", usage.peak_megabytes, MEMORY_BOUND)
        for name, usage in memory.items()
    ]
    return found
