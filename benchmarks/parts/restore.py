"""Restores side by side, into an empty database, the binlog on; compared after every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from benchmarks import ours, peers
from benchmarks.bench import Bench, Report, alternate, medians, require_equal, spread, there
from benchmarks.database import NAME, run_sql
from benchmarks.measure import MEGABYTE, Bound, Usage, at_least, table

COPY = "restored"
CLIENT = "mariadb < dump"
MYLOADER = "myloader -t 2 --enable-binlog"
MYLOADER_CHUNKS = "myloader -t 2 --enable-binlog, chunks"
MYLOADER_WITHOUT = "myloader -t 2, without binlog"
BULK = "rows, bulk protocol"
LOAD_DATA = "rows, LOAD DATA"
ASKED = {(BULK, CLIENT): 4.0, (BULK, MYLOADER): 2.0, (LOAD_DATA, CLIENT): 2.5,
         (LOAD_DATA, MYLOADER): 1.0}  # fmt: skip


def measure(bench: Bench) -> Report:
    """Restore in turns by each way."""
    binlogs: dict[str, float] = {}

    def check(name: str) -> None:
        binlogs[name] = _binlog_megabytes(bench)
        require_equal(bench.server, source=NAME, copy=COPY)
        run_sql(bench.server, f"DROP DATABASE {COPY}")

    measured = alternate(_ways(bench), runs=bench.runs, after=check)
    run_sql(bench.server, "RESET MASTER")
    return Report(
        title="Restore",
        tables=[_times(measured, binlogs)],
        bounds=_bounds(medians(measured)) if bench.with_ours else [],
        notes=["after every run the checksums and the indexes of all tables were equal"],
        figures={"runs": {name: [asdict(usage) for usage in of] for name, of in measured.items()}},
    )


def _ways(bench: Bench) -> dict[str, Callable[[], Usage]]:
    """Make a backup for each way, and return the ways that load them."""
    dump, folder = bench.folder / "dump.sql", bench.folder / "mydumper"
    chunks = bench.folder / "mydumper-chunks"
    peers.dump(bench, dump)
    ways: dict[str, Callable[[], Usage]] = {CLIENT: lambda: peers.load(bench, dump, target=COPY)}
    if there("myloader"):
        peers.mydumper(bench, folder)
        ways[MYLOADER] = lambda: peers.myloader(bench, folder, "--enable-binlog", target=COPY)
        peers.mydumper(bench, chunks, *peers.CHUNKS)
        ways[MYLOADER_CHUNKS] = lambda: peers.myloader(
            bench, chunks, "--enable-binlog", target=COPY
        )
        ways[MYLOADER_WITHOUT] = lambda: peers.myloader(bench, folder, target=COPY)
    if bench.with_ours:
        repository = ours.fresh(bench.folder / "repository")
        ours.back_up_rows(bench, repository)
        for name, load_by in ((BULK, "bulk"), (LOAD_DATA, "load-data")):
            ways[name] = _our_way(bench, load_by)
    return {name: _emptied(bench, way) for name, way in ways.items()}


def _our_way(bench: Bench, load_by: str) -> Callable[[], Usage]:
    repository = bench.folder / "repository"
    return lambda: ours.restore_rows(bench, repository, target=COPY, load_by=load_by)


def _emptied(bench: Bench, way: Callable[[], Usage]) -> Callable[[], Usage]:
    """Return *way* with an empty database and no binlogs before it."""

    def emptied() -> Usage:
        sql = f"DROP DATABASE IF EXISTS {COPY}; CREATE DATABASE {COPY}; RESET MASTER"
        run_sql(bench.server, sql)
        return way()

    return emptied


def _binlog_megabytes(bench: Bench) -> float:
    """Return what the restore wrote into the binlog: none would be an unfair advantage."""
    logs = run_sql(bench.server, "SHOW BINARY LOGS").splitlines()
    return sum(int(line.split("\t")[1]) for line in logs) / MEGABYTE


def _times(measured: Mapping[str, Sequence[Usage]], binlogs: Mapping[str, float]) -> str:
    middle = medians(measured)
    rows = [
        [
            name, f"{usage.seconds:.1f}", spread(measured[name]),
            f"{middle[CLIENT].seconds / usage.seconds:.1f}",
            f"{usage.server_cpu_seconds:.1f}", f"{binlogs[name]:.0f}",
            f"{usage.family_megabytes:.0f}",
        ]
        for name, usage in middle.items()
    ]  # fmt: skip
    head = ["", "seconds", "of", "times as fast", "server CPU s", "binlog MB", "client MB"]
    return table(head, rows)


def _bounds(middle: Mapping[str, Usage]) -> list[Bound]:
    return [
        at_least(
            f"{name}: times as fast as {peer}", middle[peer].seconds / middle[name].seconds, bound
        )
        for (name, peer), bound in ASKED.items()
        if peer in middle
    ]
