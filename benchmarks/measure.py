"""What every benchmark needs: run a command and see its cost, judge a bound, print a table."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.database import Server

from ulasis_backup.methods.sql import OPTIONS

PIPELINE = 'set -o pipefail; "$@" | gzip -6 | openssl enc -aes-256-cbc -pbkdf2 -pass "file:$KEY"'
"""What a user would write instead; the words after it are the dump command."""

POLL_SECONDS = 0.02
MEGABYTE = 1_000_000
TOLD_BYTES = 2_000


class Broken(Exception):
    """No figure of this run counts; the message says why."""


class CommandFailed(Broken):
    """A measured command ended badly; its figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one run of one command cost."""

    seconds: float
    server_cpu_seconds: float
    peak_megabytes: float
    """The high-water mark of the command's own resident memory."""
    family_megabytes: float
    """The same of the command and of all its child processes, added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One promise and what came of it."""

    name: str
    measured: float
    asked: str
    met: bool


def run(
    command: Sequence[str],
    *,
    server: Server | None = None,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> Usage:
    """Run *command* in *folder*, with *settings* as its environment, and return what it cost.

    The processor time is *server*'s, 0 without one. Output that is not sent to *stdout* goes to a
    file. Raises CommandFailed, with the end of that output, when the exit status is not 0.
    """
    os.sync()  # what an earlier run has left to be written is not this one's work
    environment = {
        "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder),
        "BACKUP_STATE_DIR": str(folder / "state"),
    }  # fmt: skip
    with (folder / "output").open("w+b") as said:
        before = cpu_seconds(server.pid) if server else 0.0
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=stdin or subprocess.DEVNULL, stdout=stdout or said, stderr=said,
            cwd=folder, env={**environment, **(settings or {})},
        )  # fmt: skip
        with _ended(process):
            peaks = _watch(process)
        seconds = time.perf_counter() - started
        spent = cpu_seconds(server.pid) - before if server else 0.0
        if process.returncode:
            raise CommandFailed(_failure(command, process.returncode, said))
    return Usage(
        seconds=seconds, server_cpu_seconds=spent,
        peak_megabytes=peaks[process.pid] / MEGABYTE,
        family_megabytes=sum(peaks.values()) / MEGABYTE,
    )  # fmt: skip


def median(runs: Sequence[Usage]) -> Usage:
    """Return the median of each figure; of memory the highest."""
    return Usage(
        seconds=statistics.median(run.seconds for run in runs),
        server_cpu_seconds=statistics.median(run.server_cpu_seconds for run in runs),
        peak_megabytes=max(run.peak_megabytes for run in runs),
        family_megabytes=max(run.family_megabytes for run in runs),
    )


def at_least(name: str, measured: float, bound: float) -> Bound:
    """Judge a figure that should not be small."""
    return Bound(name=name, measured=measured, asked=f">= {bound:g}", met=measured >= bound)


def at_most(name: str, measured: float, bound: float) -> Bound:
    """Judge a figure that should not be big."""
    return Bound(name=name, measured=measured, asked=f"<= {bound:g}", met=measured <= bound)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* as a Markdown table whose columns stand in line; all but the first right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *rows))


def bounds_table(bounds: Sequence[Bound]) -> str:
    """Return what was asked and what came of it."""
    rows = [
        [bound.name, f"{bound.measured:.2f}", bound.asked, "met" if bound.met else "MISSED"]
        for bound in bounds
    ]
    return table(["asked for", "measured", "asked", ""], rows)


def dump_command(server: Server, database: str) -> list[str]:
    """Return the dump program's command line, with the options that the method `sql` gives it."""
    login = ("--no-defaults", "--user=root", f"--socket={server.socket}")
    return ["mariadb-dump", *login, *OPTIONS, database]


def stored_megabytes(place: Path) -> float:
    """Return the sizes of all files below *place*, or of the file itself, added."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file()) / MEGABYTE


def cpu_seconds(pid: int) -> float:
    """Return the processor time that *pid* has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind when the measurement is broken off."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _watch(process: subprocess.Popen[bytes]) -> dict[int, int]:
    """Wait for *process* and return the peak memory of it and its children, in bytes by pid."""
    peaks: dict[int, int] = {}
    while True:
        for pid in _family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), _peak_bytes(pid))
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return peaks


def _family(pid: int) -> Iterator[int]:
    """Yield *pid* and its descendants, as far as they are still there."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                yield from _family(int(child))


def _peak_bytes(pid: int) -> int:
    """Return the high-water mark of the resident memory, 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _failure(command: Sequence[str], status: int, said: IO[bytes]) -> str:
    said.seek(0)
    end = said.read()[-TOLD_BYTES:].decode(errors="replace").strip()
    return f"{' '.join(command)}\nexit status {status}: {end}"
