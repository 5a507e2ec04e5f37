"""Strike rows backups at random moments, many times, and count how they ended.

    python -m benchmarks.faults --runs 200 --seed 1

Each run changes rows, starts a backup and kills or freezes us, a session or the server, or lets
the disk be full. After each: nothing new is listed unless it is whole; what is listed verifies, and
what is new restores equal; what was stored before is untouched; nothing is left running. Every
fifth run a backup that nobody strikes has to work. Prints a table, and violations with their seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.chaos import World, expect_clean, random_blow, strike, world

FRESH = 25
"""Runs in one repository; then a new server and a new repository."""

CLEAN = 5


def main() -> None:
    """Run and report; exit 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcomes: Counter[tuple[str, int, bool]] = Counter()
    violations: list[str] = []
    begun = time.monotonic()
    for first in range(0, options.runs, FRESH):
        seeds = [options.seed * 100_000 + n for n in range(first, min(first + FRESH, options.runs))]
        _batch(seeds, outcomes, violations)
        done = sum(outcomes.values()) + len(violations)
        print(f"{done} runs, {len(violations)} violations", flush=True)
    _report(outcomes, violations, time.monotonic() - begun)
    sys.exit(1 if violations else 0)


def _batch(
    seeds: list[int], outcomes: Counter[tuple[str, int, bool]], violations: list[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, world(Path(folder)) as place:
        for number, seed in enumerate(seeds):
            try:
                outcomes[_run(place, seed)] += 1
                if number % CLEAN == CLEAN - 1:
                    expect_clean(place)
            except AssertionError:
                violations.append(f"seed {seed}: {traceback.format_exc(limit=-3)}")
                print(violations[-1], flush=True)
                # What it left behind would be counted against the next ones.
                place.victim.revive()


def _run(place: World, seed: int) -> tuple[str, int, bool]:
    chance = random.Random(seed)  # noqa: S311 (a test's timing, not a secret)
    blow = random_blow(chance, place.seconds)
    outcome = strike(place, blow, chance, restore=True)
    return blow.what, outcome.code, outcome.made


def _report(
    outcomes: Counter[tuple[str, int, bool]], violations: list[str], seconds: float
) -> None:
    print(f"\n{'what':34} {'exit code':>9} {'backup':>7} {'runs':>5}")
    for (what, code, made), count in sorted(outcomes.items()):
        print(f"{what:34} {code:9} {'made' if made else 'none':>7} {count:5}")
    total = sum(outcomes.values()) + len(violations)
    print(f"{total} runs in {seconds:.0f} s, {len(violations)} violations")


if __name__ == "__main__":
    main()
