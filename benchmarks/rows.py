"""The method `rows` beside what a user would pick instead, on a generated database of about 1 GB.

    python -m benchmarks.rows [--mib 1000] [--runs 3]
        [--only backup,restore,tables,prove,deltas,days]
    python -m benchmarks.rows --resume             # what is missing of this commit, then everything

A private server with the binlog on, in a folder that is removed at the end. Peers are mydumper and
myloader, restic and borg (Debian: `apt-get install mydumper restic borgbackup`); what is not
installed is left out, loudly. Compare figures only within one run. Each part is kept
in `build/benchmarks` when it is measured, so that a run can be put together from parts of one
commit, with the same options, on one machine; the plot is drawn from there. The exit status is 1
when a bound is missed, 2 when a command failed or a restored table was not equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.bench import INSTALL, Bench, Report, load, say, text
from benchmarks.chart import draw
from benchmarks.database import Server, build, private_server, size_of_mib
from benchmarks.measure import Broken
from benchmarks.parts import backup, days, deltas, prove, restore, tables
from benchmarks.results import FOLDER, Results, commit, machine

ROOT = Path(__file__).resolve().parent.parent
EXIT_BROKEN = 2
EXIT_ENDED = 128 + signal.SIGTERM
BINLOG = ("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")

PARTS: dict[str, Callable[[Bench], Report]] = {
    "backup": backup.measure,
    "restore": restore.measure,
    "prove": prove.measure,
    "tables": tables.measure,
    "deltas": deltas.measure,
    "days": days.measure,
}
"""In this order: the deltas change the rows, the days have a database of their own."""


@contextlib.contextmanager
def world(arguments: argparse.Namespace) -> Iterator[Bench]:
    """Start the server in a folder that goes at the end."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    prefix = "ulasis-benchmark-"
    with tempfile.TemporaryDirectory(dir=arguments.work.resolve(), prefix=prefix) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        with private_server(folder / "server", BINLOG) as server:
            yield _bench(arguments, server, folder / "files")


def conditions(results: Results) -> str:
    """Return what the figures depend on, for people who read them later."""
    options = ", ".join(f"{name} {value}" for name, value in results.options.items())
    return f"commit {results.commit}; {results.machine}; load before {load()}; {options}"


def _bench(arguments: argparse.Namespace, server: Server, folder: Path) -> Bench:
    return Bench(
        server=server, folder=folder, command=arguments.command.absolute(),
        key=secrets.token_hex(32), runs=arguments.runs, days=arguments.days,
        days_mib=arguments.days_mib, plot=arguments.plot.absolute(),
        with_ours=not arguments.without_ours,
    )  # fmt: skip


def _measure(bench: Bench, results: Results, wanted: Sequence[str], mib: int) -> None:
    """Run the parts; each is kept as soon as it is done."""
    if set(wanted) != {"days"}:
        build(bench.server, size_of_mib(mib))
    for name in wanted:
        say(f"part: {name}")
        report = PARTS[name](bench)
        notes = [*report.notes, f"load average at the end: {load()}"]
        report = replace(report, notes=notes)
        results.keep(name, report)
        say(f"kept in {results.path}")


def _results(arguments: argparse.Namespace) -> Results:
    options = {name: getattr(arguments, name) for name in ("mib", "runs", "days", "days_mib")}
    return Results(
        folder=arguments.results, commit=commit(), machine=machine(),
        options=options | {"ours": int(not arguments.without_ours)},
    )  # fmt: skip


def _parts(words: str) -> Sequence[str]:
    names = words.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure `ulasis-backup` with the method `rows`.", epilog=f"peers: {INSTALL}"
    )
    temp = Path(tempfile.gettempdir())
    command = ROOT / ".venv" / "bin" / "ulasis-backup"
    add = parser.add_argument
    add("--work", type=Path, default=temp, help="where the folder is made")
    add("--mib", type=int, default=1000, help="MiB of rows; 50 to try it")
    add("--runs", type=int, default=3, help="alternations")
    add("--only", type=_parts, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    add("--days", type=int, default=30, help="how many days")
    add("--days-mib", type=int, default=200, help="MiB of rows on the first day")
    add("--plot", type=Path, default=FOLDER / "days.png", help="PNG file of the days")
    add("--results", type=Path, default=FOLDER, help="where figures are kept")
    add("--resume", action="store_true", help="measure only what is not kept of this commit yet")
    add("--command", type=Path, default=command, help="our command")
    add("--without-ours", action="store_true", help="the peers alone; nothing is judged")
    add("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and return the exit status."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_ENDED))
    results = _results(arguments)
    said = conditions(results)
    kept = results.parts() if arguments.resume else {}
    wanted = [name for name in PARTS if name in arguments.only and name not in kept]
    try:
        if wanted:
            with world(arguments) as bench:
                _measure(bench, results, wanted, arguments.mib)
    except Broken as problem:
        print(f"broken: {problem}", file=sys.stderr)
        return EXIT_BROKEN
    found = results.parts()
    reports = [found[name] for name in PARTS if name in arguments.only]
    _show(said, reports, found.get("days"), arguments)
    return 0 if all(bound.met for report in reports for bound in report.bounds) else 1


def _show(
    said: str, reports: Sequence[Report], days: Report | None, arguments: argparse.Namespace
) -> None:
    """Print all parts that were asked for, whenever they were measured, and draw the days."""
    if arguments.json:
        document = {"conditions": said, "parts": [asdict(report) for report in reports]}
        print(json.dumps(document, indent=2))
    else:
        print("\n".join([f"{said}\n", *(text(report) for report in reports)]))
    totals = days.figures.get("stored_megabytes") if days else None
    if isinstance(totals, dict) and totals:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(totals, arguments.plot)


if __name__ == "__main__":
    sys.exit(main())
