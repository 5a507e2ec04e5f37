"""What the second backup stores: with nothing changed, and with one row in a hundred changed."""

from __future__ import annotations

from benchmarks import changes, ours
from benchmarks.bench import Bench, Report, require_equal, say
from benchmarks.database import NAME, run_sql
from benchmarks.measure import at_most, stored_megabytes, table

COPY = "restored"
UNCHANGED_BOUND = 0.2
CHANGED_BOUND = 2.0


def measure(bench: Bench) -> Report:
    """Make three backups in one repository, and restore the last."""
    if not bench.with_ours:
        return Report(title="Deltas", tables=[], notes=["there is nothing here but ours"])
    repository = ours.fresh(bench.folder / "repository")
    rows, added, changed = [], [], 0.0
    for name in ("first", "nothing changed", "1 % of all rows changed"):
        if name.startswith("1"):
            changed = changes.update(bench.server, NAME, day=1)
        before = stored_megabytes(repository)
        usage = ours.back_up_rows(bench, repository)
        added.append(stored_megabytes(repository) - before)
        share = 100 * added[-1] / added[0]
        say(f"{name}: {added[-1]:.2f} MB, {share:.2f} %")
        rows.append([name, f"{usage.seconds:.1f}", f"{usage.server_cpu_seconds:.1f}",
                     f"{added[-1]:.2f}", f"{share:.2f}"])  # fmt: skip
    ours.restore_rows(bench, repository, target=COPY)
    require_equal(bench.server, source=NAME, copy=COPY)
    run_sql(bench.server, f"DROP DATABASE {COPY}")
    return Report(
        title="Deltas",
        tables=[table(["backup", "seconds", "server CPU s", "added MB", "% of the first"], rows)],
        bounds=[
            at_most("nothing changed, % of the first", 100 * added[1] / added[0], UNCHANGED_BOUND),
            at_most("1 % changed, % of the first", 100 * added[2] / added[0], CHANGED_BOUND),
        ],
        notes=[
            f"the server counted {100 * changed:.2f} % of all rows as changed",
            "the last backup was restored: its checksums and indexes were equal",
        ],
        figures={"added_megabytes": added},
    )
