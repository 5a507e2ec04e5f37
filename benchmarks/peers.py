"""What a user could take instead of us: the pipeline, mydumper, restic and borg."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.database import NAME, client
from benchmarks.measure import PIPELINE, Usage, dump_command, run

THREADS = "2"
CHUNKS = ("--rows", "100000")


def pipeline(bench: Bench, target: Path, *, database: str = NAME) -> Usage:
    """Dump, compress and encrypt with the programs that every server has."""
    key_file = bench.folder / "pipeline.key"
    key_file.write_text(bench.key)
    command = ["bash", "-c", PIPELINE, "pipeline", *dump_command(bench.server, database)]
    with target.open("wb") as stored:
        return run(
            command, server=bench.server, folder=bench.folder, settings={"KEY": str(key_file)},
            stdout=stored,
        )  # fmt: skip


def dump(bench: Bench, target: Path, *, database: str = NAME) -> Usage:
    """Dump as plain SQL into the file *target*."""
    with target.open("wb") as stored:
        return run(
            dump_command(bench.server, database), server=bench.server, folder=bench.folder,
            stdout=stored,
        )  # fmt: skip


def load(bench: Bench, source: Path, *, target: str) -> Usage:
    """Load the dump *source* with the client program."""
    with source.open("rb") as stored:
        return run(
            client(bench.server, target), server=bench.server, folder=bench.folder, stdin=stored
        )


def mydumper(bench: Bench, target: Path, *options: str, database: str = NAME) -> Usage:
    """Dump with mydumper into the folder *target*, made anew."""
    shutil.rmtree(target, ignore_errors=True)
    command = [
        "mydumper", "-u", "root", "-S", str(bench.server.socket), "-B", database, "-t", THREADS,
        "--triggers", "--events", "--routines", "-o", str(target), *options,
    ]  # fmt: skip
    return run(command, server=bench.server, folder=bench.folder)


def myloader(bench: Bench, source: Path, *options: str, target: str) -> Usage:
    """Load what mydumper made."""
    command = [
        "myloader", "-u", "root", "-S", str(bench.server.socket), "-s", NAME, "-B", target,
        "-t", THREADS, "-d", str(source), *options,
    ]  # fmt: skip
    return run(command, server=bench.server, folder=bench.folder)


def restic(bench: Bench, repository: Path, source: Path | None) -> Usage:
    """Give the dump *source* to restic; without one make the repository."""
    password_file = bench.folder / "restic.password"
    password_file.write_text(bench.key)
    command = ["restic", "--quiet", "--repo", str(repository)]
    settings = {"RESTIC_PASSWORD_FILE": str(password_file)}
    if source is None:
        return run([*command, "init"], folder=bench.folder, settings=settings)
    with source.open("rb") as stored:
        return run(
            [*command, "backup", "--stdin", "--stdin-filename", "dump.sql"],
            folder=bench.folder, settings=settings, stdin=stored,
        )  # fmt: skip


def borg(bench: Bench, repository: Path, source: Path | None, *, archive: str = "") -> Usage:
    """Give the dump *source* to borg as *archive*; without one make the repository."""
    settings = {"BORG_PASSPHRASE": bench.key, "BORG_DISPLAY_PASSPHRASE": "no"}
    if source is None:
        command = ["borg", "init", "--encryption", "repokey", str(repository)]
        return run(command, folder=bench.folder, settings=settings)
    # zstd as restic and we have it; borg's own default, lz4, would store more.
    command = [
        "borg", "create", "--compression", "zstd,3", "--stdin-name", "dump.sql",
        f"{repository}::{archive}", "-",
    ]  # fmt: skip
    with source.open("rb") as stored:
        return run(command, folder=bench.folder, settings=settings, stdin=stored)
