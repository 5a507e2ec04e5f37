"""Thirty days of changes, each backed up by us, and dumped for restic and borg."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import changes, ours, peers
from benchmarks.bench import Bench, Report, require_equal, say, there
from benchmarks.chart import draw
from benchmarks.database import build, run_sql, size_of_mib
from benchmarks.measure import Bound, at_most, stored_megabytes, table

DATABASE = "days"
COPY = "restored"
TOTAL_BOUND = 1.5
ROWS = "rows"

NOTES = (
    "restic and borg get the text of mariadb-dump, plain, on standard input",
    "their seconds are theirs alone: the seconds of the dump come on top",
    "all repositories are encrypted; all compress by zstd (borg is told to, its default is lz4)",
)

Keeper = Callable[[int, Path], float]
"""Keeps the day whose number and dump it gets, and returns the seconds that it took."""


def measure(bench: Bench) -> Report:
    """Live through the days, keeping each by every way."""
    build(bench.server, size_of_mib(bench.days_mib), DATABASE)
    keepers = _keepers(bench)
    totals: dict[str, list[float]] = {name: [] for name in keepers}
    seconds: dict[str, list[float]] = {name: [] for name in ("mariadb-dump", *keepers)}
    for day in range(1, bench.days + 1):
        _live(bench, keepers, day, totals=totals, seconds=seconds)
    notes = _after(bench, totals)
    run_sql(bench.server, f"DROP DATABASE {DATABASE}")
    return Report(
        title=(
            f"{bench.days} days, {bench.days_mib} MiB of rows on the first,"
            " each later day 1 % of all rows changed at random and 0.2 % new"
        ),
        tables=[_summary(totals, seconds), _by_day(totals)] if totals else [],
        bounds=_bounds(totals),
        notes=notes,
        figures={"stored_megabytes": totals, "seconds": seconds},
    )


def _keepers(bench: Bench) -> dict[str, Keeper]:
    """Return who keeps the days, their repositories made."""
    found: dict[str, Keeper] = {}
    if bench.with_ours:
        repository = ours.fresh(_repository(bench, ROWS))
        found[ROWS] = lambda _day, _dump: (
            ours.back_up_rows(bench, repository, database=DATABASE).seconds
        )
    if there("restic"):
        restic = ours.fresh(_repository(bench, "restic"))
        peers.restic(bench, restic, None)
        found["restic"] = lambda _day, dump: peers.restic(bench, restic, dump).seconds
    if there("borg"):
        borg = ours.fresh(_repository(bench, "borg"))
        peers.borg(bench, borg, None)
        found["borg"] = lambda day, dump: (
            peers.borg(bench, borg, dump, archive=f"day-{day}").seconds
        )
    return found


def _repository(bench: Bench, name: str) -> Path:
    return bench.folder / f"days-{name}"


def _live(
    bench: Bench,
    keepers: Mapping[str, Keeper],
    day: int,
    *,
    totals: Mapping[str, list[float]],
    seconds: Mapping[str, list[float]],
) -> None:
    """Let a day pass, the first without changes, and keep it."""
    if day > 1:
        changes.update(bench.server, DATABASE, day=day)
        changes.insert(bench.server, DATABASE, day=day)
    dump = bench.folder / "day.sql"
    seconds["mariadb-dump"].append(peers.dump(bench, dump, database=DATABASE).seconds)
    for name, keep in keepers.items():
        seconds[name].append(keep(day, dump))
        totals[name].append(stored_megabytes(_repository(bench, name)))
    run_sql(bench.server, "RESET MASTER")
    said = ", ".join(f"{name} {total[-1]:.1f} MB" for name, total in totals.items())
    say(f"day {day} of {bench.days}: {said}")


def _after(bench: Bench, totals: Mapping[str, Sequence[float]]) -> list[str]:
    """Prove that our last day restores, draw the plot, and say so."""
    notes = [*NOTES]
    if ROWS in totals:
        repository = _repository(bench, ROWS)
        usage = ours.restore_rows(bench, repository, target=COPY, database=DATABASE)
        require_equal(bench.server, source=DATABASE, copy=COPY)
        run_sql(bench.server, f"DROP DATABASE {COPY}")
        notes.append(f"the last day was restored in {usage.seconds:.1f} s and was equal")
    if draw(totals, bench.plot):
        notes.append(f"the plot is {bench.plot}")
    else:
        notes.append("no plot was drawn: matplotlib is not installed (dependency group `bench`)")
        say("*** SKIPPED: the plot: matplotlib is not installed: pip install matplotlib")
    return notes


def _summary(totals: Mapping[str, Sequence[float]], seconds: Mapping[str, Sequence[float]]) -> str:
    rows = [["mariadb-dump", f"{statistics.median(seconds['mariadb-dump']):.1f}", "", "", "", ""]]
    for name, total in totals.items():
        later = (total[-1] - total[0]) / max(1, len(total) - 1)
        rows.append([
            name, f"{statistics.median(seconds[name]):.1f}", f"{total[0]:.1f}", f"{later:.2f}",
            f"{total[-1]:.1f}", f"{total[-1] / total[0]:.2f}",
        ])  # fmt: skip
    head = ["", "seconds a day", "first day MB", "later days MB", "all days MB", "all ÷ first"]
    return table(head, rows)


def _by_day(totals: Mapping[str, Sequence[float]]) -> str:
    head = ["day", *(f"{name} MB" for name in totals)]
    by_day = zip(*totals.values(), strict=True)
    rows = [
        [str(day), *(f"{total:.1f}" for total in stored)] for day, stored in enumerate(by_day, 1)
    ]
    return table(head, rows)


def _bounds(totals: Mapping[str, Sequence[float]]) -> list[Bound]:
    mine = totals.get(ROWS)
    return [at_most("all days ÷ first day", mine[-1] / mine[0], TOTAL_BOUND)] if mine else []
