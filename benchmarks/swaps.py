"""Strike swaps and undos at random moments, many times: always exactly old or exactly new.

    python -m benchmarks.swaps --runs 100 --seed 1 --server mariadb-10.11

Each run swaps a database with foreign keys, triggers, views, routines and events, or undoes that,
and is struck once: we are killed, or one of our sessions, or the server, at some moment or at a
phase. Then `settle` has to make the whole database exactly the old or exactly the new one, with
nothing left beside it that is not named. Prints a table, and violations with their seed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.chaos import Victim
from support.portrait import Portrait, different
from support.server import own_server
from support.swapping import (
    HOME,
    drop_all,
    load_beside,
    make_states,
    picture,
    plan_for,
    start_child,
)
from ulasis_backup.errors import ServerError, UlasisError
from ulasis_backup.mysql import swap
from ulasis_backup.mysql.server import connect
from ulasis_backup.mysql.swap_plans import SwapPlan

PHASES = (
    "journal", "mark", "events off", "locked", "triggers off", "renaming", "gate", "renamed",
    "triggers on", "objects", "done",
)  # fmt: skip
WHAT = ("kill us", "kill the server", "kill a session")
OPTIONS = (
    "--log-bin", "--server-id=1", "--log-bin-trust-function-creators=1", "--event-scheduler=ON",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done to which direction, what ``settle`` said, and what the database was then."""

    what: str
    direction: str
    settled: str
    state: str


def main() -> None:
    """Run and report; exit 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", default="mariadb-10.11")
    options = parser.parse_args()
    outcomes: Counter[Outcome] = Counter()
    violations: list[str] = []
    begun = time.monotonic()
    with (
        own_server(*OPTIONS, name=options.server) as running,
        tempfile.TemporaryDirectory(prefix="swaps-") as folder,
    ):
        words = Path(f"/proc/{running.pid}/cmdline").read_text(encoding="utf-8").split("\0")
        victim = Victim(
            login=running.login, pid=running.pid, arguments=words[:-1], folder=running.folder
        )
        for number in range(options.runs):
            seed = options.seed * 100_000 + number
            try:
                outcomes[_run(victim, Path(folder), random.Random(seed))] += 1  # noqa: S311 (timing)
            except (AssertionError, UlasisError):
                violations.append(f"seed {seed}: {traceback.format_exc(limit=-4)}")
                print(violations[-1], flush=True)
                victim.revive()
        victim.end()
    _report(outcomes, violations, time.monotonic() - begun)
    sys.exit(1 if violations else 0)


def _run(victim: Victim, folder: Path, chance: random.Random) -> Outcome:
    victim.revive()
    what, direction = chance.choice(WHAT), chance.choice(("swap", "undo"))
    with connect(victim.login) as server:
        old, new, objects = make_states(server)
        plan = plan_for(server, objects)
        load_beside(server, plan)
        if direction == "undo":
            swap.swap(victim.login, plan, wait=20)
    _strike(victim, (plan, folder), chance, (what, direction))
    victim.revive()
    return _judge(victim, old, new, (what, direction))


def _strike(
    victim: Victim, of: tuple[SwapPlan, Path], chance: random.Random, how: tuple[str, str]
) -> None:
    (plan, folder), (what, direction) = of, how
    at_phase = what != "kill a session" and chance.random() < 0.5  # noqa: PLR2004 (half of them)
    phase = chance.choice(PHASES) if at_phase else "never"
    pids = [str(victim.pid)] if what == "kill the server" else []
    with start_child(victim.login, plan, folder, direction, phase, *pids) as process:
        if not at_phase:
            time.sleep(0.4 + chance.random() * 2.2)
            if what == "kill us":
                process.kill()
            elif what == "kill the server":
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
            else:
                _kill_session(victim, chance)
        process.wait(timeout=120)
    # A server that was killed takes a moment to be gone.
    time.sleep(0.5)


def _kill_session(victim: Victim, chance: random.Random) -> None:
    with connect(victim.login) as server:
        rows = server.query(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
            "AND USER = 'root'"
        )
        if rows:
            with suppress(ServerError):
                server.run(f"KILL {chance.choice(rows)[0]}")


def _judge(victim: Victim, old: Portrait, new: Portrait, how: tuple[str, str]) -> Outcome:
    settled = swap.settle(victim.login, HOME)
    with connect(victim.login) as server:
        now = picture(server)
        unlike = {"old": different(old, now), "new": different(new, now)}
        _need(not swap.incomplete(server, HOME), "the mark is still there")
        _need(not swap.pending(server, HOME), "something is still pending")
        beside = [name for (name,) in server.query(f"SHOW DATABASES LIKE '{HOME}\\_\\_%'")]
        _need(not any("__restore_" in name for name in beside), f"left: {beside}")
        drop_all(server)
    state = next((name for name, others in unlike.items() if not others), "")
    _need(bool(state), f"neither: {unlike}")
    said = str(settled[0].outcome) if settled else "nothing to settle"
    return Outcome(what=how[0], direction=how[1], settled=said, state=state)


def _need(holds: bool, what: str) -> None:  # noqa: FBT001 (a condition)
    if not holds:
        raise AssertionError(what)


def _report(outcomes: Counter[Outcome], violations: list[str], seconds: float) -> None:
    print(f"\n{'what':18} {'of':6} {'settle':20} {'database':9} {'runs':>5}")
    for one, count in sorted(outcomes.items(), key=lambda pair: str(pair[0])):
        print(f"{one.what:18} {one.direction:6} {one.settled:20} {one.state:9} {count:5}")
    total = sum(outcomes.values()) + len(violations)
    print(f"{total} runs in {seconds:.0f} s, {len(violations)} violations")


if __name__ == "__main__":
    main()
