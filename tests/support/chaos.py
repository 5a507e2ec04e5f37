"""Backups that are struck at random moments, and what has to be true after each blow."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.faults import digests_below, processes_with, sessions, wait_until
from support.pausing import LONG_TABLE
from support.server import (
    Command,
    Result,
    checksums,
    command_for,
    finish,
    make_orders,
    own_server,
    run_all,
)
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.errors import ServerError
from ulasis_backup.model import Login, Verdict
from ulasis_backup.mysql.server import connect, quote
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.verify_all import verify_all
from ulasis_backup.repository import repository

DATABASE, COPY = "shop", "shop_copy"
KEY = "00112233445566778899aabbccddeeff" * 2
PATIENCE = 60.0
LOST = {10, 11, 17}
"""Exit codes of a server, or a session, that was lost or in the way."""

BLOWS: dict[str, set[int]] = {
    "kill us": {-signal.SIGKILL},
    "terminate us": {143, -signal.SIGTERM},
    "interrupt us": {130, -signal.SIGINT},
    "freeze us": LOST,
    "kill a session": LOST,
    "kill a query": LOST,
    "kill the server": LOST,
    "freeze the server": LOST,
    "limit the size of files": {22},
    "kill us behind the payload": {-signal.SIGKILL},
    "terminate us behind the payload": {143, -signal.SIGTERM},
}
"""What is done, and with which exit codes a backup may fail for it."""

ENDING_US = {"kill us", "terminate us", "interrupt us", "kill us behind the payload"} | {
    "terminate us behind the payload"
}
"""Blows that can hit between the manifest and the end: then there is a backup all the same."""


@dataclass(slots=True, kw_only=True)
class Victim:
    """A server that may be killed: it comes back with its data."""

    login: Login
    pid: int
    arguments: list[str]
    folder: Path
    revived: subprocess.Popen[bytes] | None = None

    def revive(self) -> None:
        """Start the server again if it is dead, and wait until it answers."""
        if _is_alive(self.pid):
            return
        self.end()
        # PyMySQL leaks its socket when it cannot connect, so there shall be none of the dead one.
        Path(self.login.socket).unlink(missing_ok=True)
        # MySQL's own lock: the dead one is a zombie until its parent looks, and counts as alive.
        Path(f"{self.login.socket}.lock").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.revived = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self.pid = self.revived.pid
        wait_until(self._answers, PATIENCE)

    def _answers(self) -> bool:
        if Path(self.login.socket).exists():
            with suppress(ServerError), connect(self.login):
                return True
        return False

    def end(self) -> None:
        """End a server that was revived; the first one has somebody else to care."""
        if self.revived is not None:
            self.revived.kill()
            self.revived.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A server of its own, a database on it, and a repository."""

    victim: Victim
    command: Command
    seconds: float
    """How long a backup takes that nobody strikes."""

    @property
    def context(self) -> Context:
        config = read_config(flags={}, environment=self.command.settings, folder=self.command.home)
        return build(config, lambda _: None)

    def listed(self) -> set[str]:
        entries = repository.listing(self.context.repository).entries
        return {str(entry.name) for entry in entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What happens, how many seconds after the start, and for how long or at which size."""

    what: str
    after: float
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a struck backup ended: its exit code, and whether there is a new backup."""

    blow: Blow
    code: int
    made: bool


@contextmanager
def world(home: Path, *, jobs: str = "2") -> Iterator[World]:
    """Run a server with a database of several ranges, and make a first backup of it."""
    with ExitStack() as stack:
        running = stack.enter_context(own_server("--log-bin", "--server-id=1"))
        words = Path(f"/proc/{running.pid}/cmdline").read_text(encoding="utf-8").split("\0")
        victim = Victim(
            login=running.login, pid=running.pid, arguments=words[:-1], folder=running.folder
        )
        stack.callback(victim.end)
        with connect(running.login) as server:
            server.run(f"CREATE DATABASE {DATABASE}")
            make_orders(server, DATABASE, rows=1500)
            old = "CREATE TABLE old (id INT PRIMARY KEY, n INT) ENGINE=Aria TRANSACTIONAL=0"
            run_all(server, DATABASE, (*LONG_TABLE, old, "INSERT INTO old VALUES (1, 1), (2, 2)"))
        temporary = home / "temporary"
        temporary.mkdir()
        command = command_for(
            running.login, home, DATABASE, BACKUP_METHOD="rows", BACKUP_JOBS=jobs,
            BACKUP_ENCRYPTION_KEY=KEY, TMPDIR=str(temporary),
        )  # fmt: skip
        command.ok("backup")
        begun = time.monotonic()
        command.ok("backup")
        yield World(victim=victim, command=command, seconds=time.monotonic() - begun)


def random_blow(chance: random.Random, seconds: float) -> Blow:
    """Return a blow at some moment of a run that takes *seconds*."""
    return Blow(
        what=chance.choice(list(BLOWS)),
        after=chance.uniform(0.1, seconds * 1.05),
        length=chance.choice([0.3, 1.0, 3.0, 6.0]),
    )


def strike(world: World, blow: Blow, chance: random.Random, *, restore: bool) -> Outcome:
    """Change a few rows, start a backup, strike, and expect that nothing false came of it."""
    with connect(world.victim.login, database=DATABASE) as server:
        server.run("UPDATE aardvarks SET stripes = stripes + 1 WHERE id %% 40 = 3", ())
        wanted = checksums(server, DATABASE)
    before, files = world.listed(), digests_below(world.command.folder)
    command = world.command
    if blow.what == "limit the size of files":
        command = command.behind("prlimit", f"--fsize={chance.choice([100, 700, 3000, 9000])}")
    process = command.start("backup")
    with suppress(ProcessLookupError):
        _strike(world, blow, chance, process)
    done = finish(process)
    world.victim.revive()
    new = world.listed() - before
    _expect_plain_words(blow, done)
    assert before <= world.listed()
    assert len(new) == (1 if done.code == 0 else len(new) if blow.what in ENDING_US else 0), new
    _expect_untouched(files, digests_below(command.folder))
    _expect_nothing_left(world)
    verdicts = [found.verdict for found in verify_all(world.context)]
    assert Verdict.FAILED not in verdicts
    if new and restore:
        expect_equal(world, new.pop(), wanted)
        new.add("")
    return Outcome(blow=blow, code=done.code, made=bool(new))


def expect_clean(world: World) -> None:
    """Expect that a backup works which nobody strikes, and that it restores equal."""
    with connect(world.victim.login) as server:
        wanted = checksums(server, DATABASE)
    expect_equal(world, world.command.backup(), wanted)


def expect_equal(world: World, name: str, wanted: dict[str, tuple[object, str]]) -> None:
    """Expect that backup *name* restores to *wanted*."""
    world.command.ok("restore", name, "--target-database", COPY, "--yes")
    with connect(world.victim.login) as server:
        assert checksums(server, COPY) == wanted
        server.run(f"DROP DATABASE {quote(COPY)}")


def _strike(
    world: World, blow: Blow, chance: random.Random, process: subprocess.Popen[str]
) -> None:
    if blow.what.endswith("behind the payload"):
        _wait_for_payload(world, process)
    else:
        time.sleep(blow.after)
    ours, servers = process.pid, world.victim.pid
    if blow.what.startswith("kill us"):
        os.kill(ours, signal.SIGKILL)
    elif blow.what.startswith("terminate us"):
        os.kill(ours, signal.SIGTERM)
    elif blow.what == "interrupt us":
        os.kill(ours, signal.SIGINT)
    elif blow.what.startswith("freeze"):
        _freeze(ours if blow.what == "freeze us" else servers, blow.length)
    elif blow.what == "kill the server":
        os.kill(servers, signal.SIGKILL)
        wait_until(lambda: not _is_alive(servers))
    elif blow.what in ("kill a session", "kill a query"):
        _kill_one(world.victim.login, chance, query=blow.what == "kill a query")


def _wait_for_payload(world: World, process: subprocess.Popen[str]) -> None:
    known = set(os.listdir(world.command.folder))  # noqa: PTH208 (fast, to be in time)
    while process.poll() is None:
        if set(os.listdir(world.command.folder)) - known:  # noqa: PTH208 (the same)
            return


def _freeze(number: int, seconds: float) -> None:
    os.kill(number, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(number, signal.SIGCONT)


def _kill_one(login: Login, chance: random.Random, *, query: bool) -> None:
    with connect(login) as server:
        rows = server.query(
            "SELECT ID FROM information_schema.PROCESSLIST "
            "WHERE ID <> CONNECTION_ID() AND USER = 'root' ORDER BY ID"
        )
        if rows:
            with suppress(ServerError):
                server.run(f"KILL {'QUERY' if query else ''} {chance.choice(rows)[0]}")


def _is_alive(number: int) -> bool:
    with suppress(OSError):
        text = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[0] != "Z"
    return False


def _expect_plain_words(blow: Blow, done: Result) -> None:
    assert done.code == 0 or done.code in BLOWS[blow.what], done.said
    assert "Traceback" not in done.said, done.said
    if done.code > 0:
        assert " ERROR " in done.err, done.said
    if done.code in LOST | {22}:
        assert "\nHINT: " in done.err, done.said


def _expect_untouched(before: dict[str, str], now: dict[str, str]) -> None:
    kept = {name: print_ for name, print_ in before.items() if not name.startswith("marks/")}
    assert kept.items() <= now.items()


def _expect_nothing_left(world: World) -> None:
    wait_until(lambda: not processes_with(str(world.command.home)))
    assert list(Path(world.command.settings["TMPDIR"]).iterdir()) == []
    wait_until(lambda: sessions(world.victim.login) == 0)
