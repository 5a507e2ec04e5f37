"""Passwords and keys: nowhere but where they belong."""

from __future__ import annotations

import base64
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.faults import end, fake_dump, faking, slow_dump, wait_for_pause, with_temporary_folder
from support.server import Command, Result, finish, make_orders, run_all
from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.operations.indexes import load_index
from ulasis_backup.repository import repository

pytestmark = pytest.mark.server

PASSWORD = "Tr0ub4dor & 'co' #3 \\ \"x\""
KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f90" * 2
RAW = bytes.fromhex(KEY)
SECRETS = (
    PASSWORD.encode(),
    b"Tr0ub4dor",
    KEY.encode(),
    KEY.upper().encode(),
    base64.b64encode(RAW),
    RAW,
)
RECORDING = (
    'printf "%s\\n" "$0" "$@" >> "$(dirname "$0")/record"; '
    'env >> "$(dirname "$0")/record"; tr "\\0" " " < /proc/$$/cmdline >> "$(dirname "$0")/record"'
)


@dataclass(slots=True)
class Watcher:
    """Collects command lines and environments of everything a process starts."""

    pid: int
    seen: set[bytes] = field(default_factory=set)
    children: set[int] = field(default_factory=set)
    own: set[bytes] = field(default_factory=set)

    def watch(self, done: threading.Event) -> None:
        while not done.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, IndexError):
                    self._look(folder)
            time.sleep(0.005)

    def _look(self, folder: Path) -> None:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        number = int(folder.name)
        # The command leads a session; its children are in it.
        if int(fields[3]) != self.pid:
            return
        line = (folder / "cmdline").read_bytes()
        self.seen.add(line)
        # A child that has not become another program yet is a copy of ours.
        if number != self.pid and line not in self.own:
            self.children.add(number)
            self.seen.add((folder / "environ").read_bytes())
        elif number == self.pid:
            self.own.add(line)


def run_watched(command: Command, *arguments: str) -> tuple[Result, Watcher]:
    """Run the command and return what it said, and what could be seen of it from outside."""
    process = command.start(*arguments)
    watcher, done = Watcher(process.pid), threading.Event()
    thread = threading.Thread(target=watcher.watch, args=(done,))
    thread.start()
    try:
        return finish(process), watcher
    finally:
        done.set()
        thread.join()


def expect_no_secret(*texts: bytes | str) -> None:
    for text in texts:
        data = text.encode() if isinstance(text, str) else text
        for secret in SECRETS:
            assert secret not in data


@pytest.fixture
def guarded(command: Command, server: Server, database: str) -> Iterator[Command]:
    """Return the command with a login that has a password, a key, and recording programs."""
    make_orders(server, database, rows=500)
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    run_all(
        server,
        database,
        (
            f"CREATE OR REPLACE USER secretive@localhost IDENTIFIED BY '{quoted}'",
            "GRANT ALL ON *.* TO secretive@localhost",
        ),
    )
    command = with_temporary_folder(command).having(
        DB_USER="secretive", DB_PASSWORD=PASSWORD, BACKUP_ENCRYPTION_KEY=KEY
    )
    folder = fake_dump(command.home, f'{RECORDING}; sleep 0.3; dump "$@"')
    client = folder / "mariadb"
    real = client.resolve()
    client.unlink()
    client.write_text(f'#!/bin/bash\n{RECORDING}; sleep 0.3; exec {real} "$@"\n')
    client.chmod(0o755)
    yield command.having(BACKUP_PROGRAMS_DIR=str(folder))
    server.run("DROP USER secretive@localhost")


def _bytes_below(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_can_be_seen_from_outside_shows_a_secret(
    guarded: Command, server: Server, database: str, form: str
) -> None:
    command = guarded.having(BACKUP_LOG_FORMAT=form)
    runs = [run_watched(command, "-vv", "backup", "--note", "hello")]
    runs.append(run_watched(command, "-vv", "verify", "latest"))
    server.run(f"DROP TABLE {quote(database)}.zebras")
    runs.append(run_watched(command, "-vv", "restore", "latest", "--yes"))
    runs += [run_watched(command, "-vv", *words) for words in (["list"], ["check"])]
    for done, watcher in runs:
        assert done.code == 0, done.said
        expect_no_secret(done.said, *watcher.seen)
    assert any(watcher.children for _, watcher in runs)
    assert b"defaults-file" in b"".join(watcher_seen(runs))
    record = (command.home / "programs" / "record").read_bytes()
    assert b"defaults-file" in record
    expect_no_secret(record, *_bytes_below(command.folder))
    assert list((command.home / "temporary").iterdir()) == []


def watcher_seen(runs: list[tuple[Result, Watcher]]) -> set[bytes]:
    return {text for _, watcher in runs for text in watcher.seen}


def test_secrets_from_files_work_and_stay_there(guarded: Command) -> None:
    password, key = guarded.home / "password", guarded.home / "key"
    password.write_text(PASSWORD + "\n")
    key.write_text(KEY + "\n")
    settings = dict(guarded.settings)
    for name, path in (("DB_PASSWORD", password), ("BACKUP_ENCRYPTION_KEY", key)):
        del settings[name]
        settings[f"{name}_FILE"] = str(path)
    done, watcher = run_watched(Command(home=guarded.home, settings=settings), "-vv", "backup")
    assert done.code == 0, done.said
    expect_no_secret(done.said, *watcher.seen, *_bytes_below(guarded.folder))


def test_a_killed_run_leaves_no_secret_behind(guarded: Command, server: Server) -> None:
    command = faking(guarded, slow_dump(20, after=5000))
    process = command.start("backup")
    wait_for_pause(command, process)
    end(process, signal.SIGKILL)
    done = finish(process)
    expect_no_secret(done.said)
    assert _bytes_below(command.home / "temporary") == []
    expect_no_secret(*_bytes_below(command.folder))
    assert server.value("SELECT 1") == 1


ERRORS = {
    "wrong password": {"DB_PASSWORD": PASSWORD + "!"},
    "wrong password over tcp": {"DB_PASSWORD": PASSWORD + "!", "DB_HOST": "127.0.0.1"},
    "key of a wrong length": {"BACKUP_ENCRYPTION_KEY": KEY + "00"},
    "password as port": {"DB_PORT": PASSWORD},
    "key as level": {"BACKUP_COMPRESSION_LEVEL": KEY},
    "key as cipher": {"BACKUP_ENCRYPTION_CIPHER": KEY},
    "both a password and a file": {"DB_PASSWORD_FILE": "/nowhere"},
    "unknown database": {"DB_NAME": "nowhere"},
    "program that fails": {},
}


@pytest.mark.parametrize("what", ERRORS)
@pytest.mark.parametrize("traceback", ["", "1"], ids=["message", "traceback"])
def test_no_error_shows_a_secret(guarded: Command, what: str, traceback: str) -> None:
    command = guarded.having(**ERRORS[what], ULASIS_BACKUP_TRACEBACK=traceback)
    if what == "program that fails":
        command = faking(command, "cat /proc/$$/environ /proc/$PPID/cmdline >&2; exit 3")
    done = command.run("-vv", "backup")
    assert done.code not in (0, 1), done.said
    assert "\nHINT: " in done.err
    expect_no_secret(done.said)


@pytest.mark.parametrize("files", ["6", "9", "12"])
@pytest.mark.parametrize("traceback", ["", "1"], ids=["message", "traceback"])
def test_no_unexpected_error_shows_a_secret(guarded: Command, files: str, traceback: str) -> None:
    command = guarded.having(ULASIS_BACKUP_TRACEBACK=traceback)
    done = command.behind("prlimit", f"--nofile={files}").run("-vv", "backup")
    assert done.code != 0
    expect_no_secret(done.said)


def test_files_are_for_their_owner_alone_whatever_the_umask(guarded: Command) -> None:
    command = guarded.behind("bash", "-c", 'umask 000; exec "$@"', "--")
    command.ok("backup")
    for path in (command.folder, *command.folder.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


# The same for rows, whose programs are none and whose objects have keys of their own.


@pytest.fixture
def by_rows(guarded: Command, server: Server, database: str) -> Command:
    """Return the guarded command for rows backups, of a table that is large enough for objects."""
    fill = "SELECT seq AS id, SHA2(seq, 512) AS noise FROM seq_1_to_400"
    run_all(server, database, [f"CREATE TABLE large (id INT PRIMARY KEY, noise TEXT) {fill}"])
    return guarded.having(BACKUP_METHOD="rows", BACKUP_LOG_FORMAT="json")


def test_nothing_of_a_rows_backup_shows_a_secret(
    by_rows: Command, server: Server, database: str
) -> None:
    runs = [run_watched(by_rows, "-vv", "backup")]
    server.run(f"UPDATE {quote(database)}.large SET noise = 'other' WHERE id = 7")
    runs += [run_watched(by_rows, "-vv", *words) for words in (["backup"], ["verify-all"])]
    server.run(f"DROP TABLE {quote(database)}.large")
    runs.append(run_watched(by_rows, "-vv", "restore", "latest", "--yes"))
    shown = by_rows.run("--json", "show", "latest")
    runs.append((shown, runs[0][1]))
    config = read_config(flags={}, environment=by_rows.settings, folder=by_rows.home)
    context = build(config, lambda _: None)
    entries = repository.listing(context.repository).entries
    keys = [bytes.fromhex(load_index(context, e.name).begin.epoch_key) for e in entries]
    assert len(keys) == 3
    files = [*_bytes_below(by_rows.folder), *_bytes_below(by_rows.home / "temporary")]
    for done, watcher in runs:
        assert done.code == 0, done.said
        expect_no_secret(done.said, *watcher.seen)
        assert not any(key.hex() in done.said for key in keys)
    expect_no_secret(*files)
    for key in keys:
        assert not any(key in data or key.hex().encode() in data for data in files)


def test_the_files_of_a_rows_backup_are_for_their_owner_alone(by_rows: Command) -> None:
    command = by_rows.behind("bash", "-c", 'umask 000; exec "$@"', "--")
    command.ok("backup")
    assert any((command.folder / "objects").rglob("*-*"))
    for path in (command.folder, *command.folder.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@pytest.mark.parametrize("what", ["wrong password", "key of a wrong length", "unknown database"])
def test_no_error_of_a_rows_backup_shows_a_secret(by_rows: Command, what: str) -> None:
    command = by_rows.having(**ERRORS[what], ULASIS_BACKUP_TRACEBACK="1")
    done = command.run("-vv", "backup")
    assert done.code not in (0, 1), done.said
    expect_no_secret(done.said)


@pytest.mark.parametrize("files", ["6", "8", "10"])
def test_no_unexpected_error_of_a_rows_backup_shows_a_secret(by_rows: Command, files: str) -> None:
    command = by_rows.having(ULASIS_BACKUP_TRACEBACK="1")
    done = command.behind("prlimit", f"--nofile={files}").run("-vv", "backup")
    assert done.code != 0
    expect_no_secret(done.said)
