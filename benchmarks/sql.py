"""The method `sql` beside what a user would pick instead, on a generated database of about 1 GB.

    python -m benchmarks.sql [--work FOLDER] [--scale 1] [--runs 3] [--json]

Three ways take turns: the shell pipeline (mariadb-dump | gzip -6 | openssl enc), mariadb-dump
alone into /dev/null, and `ulasis-backup backup`, encrypted, into a folder. Compare figures only
within one run. The exit status is 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.database import NAME, Server, database_server
from benchmarks.measure import (
    PIPELINE,
    Bound,
    Usage,
    at_least,
    at_most,
    bounds_table,
    dump_command,
    run,
    stored_megabytes,
)
from benchmarks.ours import fresh

ROOT = Path(__file__).resolve().parent.parent
HELP_RUNS = 10

PIPELINE_BOUND = 5.0
BARE_BOUND = 1.25
MEMORY_BOUND = 150.0
HELP_BOUND = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of one way took."""

    seconds: float
    server_cpu_seconds: float
    stored_megabytes: float
    peak_megabytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The medians of each way, the bounds, and the single runs."""

    scale: float
    medians: dict[str, Measured]
    help_seconds: float
    bounds: list[Bound]
    runs: dict[str, list[Measured]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every way needs to know."""

    server: Server
    folder: Path
    command: Path
    key: str


def pipeline(bench: Bench) -> Measured:
    """Run the shell pipeline into a file."""
    key_file = bench.folder / "pipeline.key"
    key_file.write_text(bench.key)
    target = bench.folder / "pipeline.sql.gz.enc"
    command = ["bash", "-c", PIPELINE, "pipeline", *dump_command(bench.server, NAME)]
    with target.open("wb") as stored:
        usage = run(
            command, server=bench.server, folder=bench.folder, settings={"KEY": str(key_file)},
            stdout=stored,
        )  # fmt: skip
    return _measured(usage, stored_megabytes(target))


def bare(bench: Bench) -> Measured:
    """Run the dump program alone and throw its output away."""
    command = dump_command(bench.server, NAME)
    with Path(os.devnull).open("wb") as nowhere:
        usage = run(command, server=bench.server, folder=bench.folder, stdout=nowhere)
    return _measured(usage, 0.0)


def ours(bench: Bench) -> Measured:
    """Run our own command, encrypted, into an empty folder."""
    target = fresh(bench.folder / "backups")
    settings = {
        "BACKUP_DIR": str(target), "BACKUP_STATE_DIR": f"{target}.state",
        "BACKUP_ENCRYPTION_KEY": bench.key, "BACKUP_METHOD": "sql",
        "BACKUP_ENCRYPTION_ENABLED": "true", "DB_SOCKET": str(bench.server.socket),
        "DB_HOST": "localhost", "DB_USER": "root", "DB_PASSWORD": "", "DB_NAME": NAME,
    }  # fmt: skip
    command = [str(bench.command), "backup"]
    usage = run(command, server=bench.server, folder=bench.folder, settings=settings)
    measured = _measured(usage, stored_megabytes(target))
    fresh(target)
    return measured


WAYS: dict[str, Callable[[Bench], Measured]] = {"pipeline": pipeline, "bare": bare, "ours": ours}


def help_seconds(command: Path) -> float:
    """Return the median time of `--help`."""
    times = []
    for _ in range(HELP_RUNS):
        started = time.perf_counter()
        subprocess.run([str(command), "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def report(bench: Bench, *, scale: float, runs: int) -> Report:
    """Let the ways take turns *runs* times and judge the medians."""
    measured: dict[str, list[Measured]] = {name: [] for name in WAYS}
    for number in range(1, runs + 1):
        for name, way in WAYS.items():
            measured[name].append(way(bench))
            told = f"run {number} of {runs}: {name} {measured[name][-1].seconds:.1f} s"
            print(told, file=sys.stderr, flush=True)
    medians = {name: median(list_of_runs) for name, list_of_runs in measured.items()}
    seconds = help_seconds(bench.command)
    bounds = judge(medians, seconds)
    return Report(scale=scale, medians=medians, help_seconds=seconds, bounds=bounds, runs=measured)


def median(runs: Sequence[Measured]) -> Measured:
    """Return the median of each figure; the peak is the highest of all."""
    return Measured(
        seconds=statistics.median(run.seconds for run in runs),
        server_cpu_seconds=statistics.median(run.server_cpu_seconds for run in runs),
        stored_megabytes=statistics.median(run.stored_megabytes for run in runs),
        peak_megabytes=max(run.peak_megabytes for run in runs),
    )


def judge(medians: dict[str, Measured], seconds_of_help: float) -> list[Bound]:
    """Compare the medians with what is promised."""
    mine = medians["ours"]
    faster = medians["pipeline"].seconds / mine.seconds
    slower = mine.seconds / medians["bare"].seconds
    return [
        at_least("times faster than the pipeline", faster, PIPELINE_BOUND),
        at_most("times the bare dump", slower, BARE_BOUND),
        at_most("peak memory, MB", mine.peak_megabytes, MEMORY_BOUND),
        at_most("--help, seconds", seconds_of_help, HELP_BOUND),
    ]


def text(found: Report) -> str:
    """Return the report as tables for people."""
    lines = [f"{'':10}{'seconds':>9}{'server CPU s':>14}{'stored MB':>11}{'peak MB':>9}"]
    for name, way in found.medians.items():
        figures = f"{way.seconds:9.1f}{way.server_cpu_seconds:14.1f}"
        figures += f"{way.stored_megabytes:11.0f}" if way.stored_megabytes else f"{'-':>11}"
        figures += f"{way.peak_megabytes:9.0f}" if name == "ours" else f"{'-':>9}"
        lines.append(f"{name:10}{figures}")
    return "\n".join([*lines, "", bounds_table(found.bounds)])


def _measured(usage: Usage, stored: float) -> Measured:
    return Measured(
        seconds=usage.seconds, server_cpu_seconds=usage.server_cpu_seconds,
        stored_megabytes=stored, peak_megabytes=usage.peak_megabytes,
    )  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure `ulasis-backup backup --method sql`.")
    work = Path(tempfile.gettempdir()) / "ulasis-backup-benchmark"
    command = ROOT / ".venv" / "bin" / "ulasis-backup"
    parser.add_argument("--work", type=Path, default=work, help="keeps the database between runs")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is about 1 GB of row data")
    parser.add_argument("--runs", type=int, default=3, help="alternations")
    parser.add_argument("--command", type=Path, default=command, help="our command")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    with (
        database_server(work, arguments.scale) as server,
        tempfile.TemporaryDirectory(dir=work) as folder,
    ):
        bench = Bench(
            server=server, folder=Path(folder), command=arguments.command.absolute(),
            key=secrets.token_hex(32),
        )  # fmt: skip
        bare(bench)  # warms the server's buffers; not counted
        found = report(bench, scale=arguments.scale, runs=arguments.runs)
    print(json.dumps(asdict(found), indent=2) if arguments.json else text(found))
    return 0 if all(bound.met for bound in found.bounds) else 1


if __name__ == "__main__":
    sys.exit(main())
