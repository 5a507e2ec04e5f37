"""How long commits stand still while several snapshots of one moment are opened.

    python -m benchmarks.moment [--tables 1000] [--jobs 4] [--writers 4] [--runs 5] [--programs DIR]

starts a scratch server, makes tables, lets writers commit small transactions all through, and
prints for each run how long the moment took, how long commits were stopped as the tool measured
it, and the longest commit that any writer saw meanwhile; before that, the longest without us.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ulasis_backup.model import Login
from ulasis_backup.mysql import definitions, schema
from ulasis_backup.mysql.scratch import scratch_server
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.snapshot import MomentOptions, one_moment

DATABASE = "stall"


@dataclass(slots=True)
class Pulse:
    """The longest commit since somebody last asked, in seconds."""

    stop: threading.Event = field(default_factory=threading.Event)
    longest: float = 0.0
    commits: int = 0

    def take(self) -> float:
        """Return the longest commit since the last time."""
        longest, self.longest = self.longest, 0.0
        return longest

    def write(self, login: Login, number: int) -> None:
        """Commit small transactions until told to stop."""
        with connect(login, database=DATABASE) as server:
            while not self.stop.is_set():
                begun = time.monotonic()
                server.run(f"UPDATE t{number} SET v = v + 1 WHERE id = 1")
                self.longest = max(self.longest, time.monotonic() - begun)
                self.commits += 1
                time.sleep(0.001)


@contextmanager
def writing(login: Login, writers: int) -> Iterator[Pulse]:
    """Let *writers* sessions commit all through."""
    pulse = Pulse()
    threads = [threading.Thread(target=pulse.write, args=(login, n)) for n in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield pulse
    finally:
        pulse.stop.set()
        for thread in threads:
            thread.join()


def look(server: Server) -> int:
    """Read what a backup would read while DDL cannot run."""
    found = schema.catalogue(server, DATABASE)
    return len(definitions.read_definitions(server, DATABASE, found))


def measure(login: Login, options: MomentOptions, pulse: Pulse) -> str:
    """Take one moment and return the figures as a line."""
    pulse.take()
    begun = time.monotonic()
    with one_moment(login, [DATABASE], look=look, options=options) as moment:
        taken = time.monotonic() - begun
        longest = pulse.take()
        moment.check()
    return (
        f"{moment.how}: {taken:.2f} s in all, commits stopped for {moment.stopped * 1000:.0f} ms, "
        f"longest commit {longest * 1000:.0f} ms"
    )


def main() -> None:
    """Run the benchmark and print its lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, number in (("tables", 1000), ("jobs", 4), ("writers", 4), ("runs", 5)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--programs", type=Path, default=None)
    chosen = parser.parse_args()
    options = ("--log-bin", "--server-id=1")
    with scratch_server(options=options, programs_folder=chosen.programs) as running:
        with connect(running.login) as server:
            server.run(f"CREATE DATABASE {DATABASE}")
            for number in range(max(chosen.tables, chosen.writers)):
                server.run(f"CREATE TABLE {DATABASE}.t{number} (id INT PRIMARY KEY, v INT)")
                server.run(f"INSERT INTO {DATABASE}.t{number} VALUES (1, 0)")
        with writing(running.login, chosen.writers) as pulse:
            time.sleep(3)
            print(f"without us: longest commit {pulse.take() * 1000:.0f} ms in 3 s")
            for _ in range(chosen.runs):
                print(measure(running.login, MomentOptions(jobs=chosen.jobs), pulse))


if __name__ == "__main__":
    main()
