"""Scratch servers: private, throw-away, without network, always removed.

A scratch server lives in one temporary folder: data, socket, log, and ``owner.json``. The owner
holds a lock on that file for as long as it lives, so the next start can tell an abandoned folder
from one in use, end its server, and remove it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ulasis_backup.errors import ProgramMissing, ScratchServerFailed, ServerUnreachable
from ulasis_backup.model import Flavour, Login, Secret, ServerVersion
from ulasis_backup.mysql import programs
from ulasis_backup.mysql.programs import Program, ProgramFailed
from ulasis_backup.mysql.server import connect

PREFIX = "ulasis-scratch-"
OWNER_FILE = "owner.json"
START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.1
LONGEST_SOCKET = 100
"""Bytes: the operating system limits the path of a socket to about 107."""

UNSYNCED = {
    Flavour.MARIADB: ("--innodb-flush-method=nosync", "--skip-innodb-doublewrite"),
    Flavour.MYSQL: ("--innodb-flush-method=nosync", "--innodb-doublewrite=OFF"),
}
"""A scratch server is thrown away; waiting for its disk would be waiting for nothing."""

OPTIONS = (
    "--skip-networking", "--event-scheduler=OFF", "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0", "--innodb-autoinc-lock-mode=2",
    "--innodb-buffer-pool-size=256M", "--max-allowed-packet=1G", "--character-set-server=utf8mb4",
    "--skip-name-resolve", "--performance-schema=OFF", "--sync-binlog=0",
)  # fmt: skip
OWN_OPTIONS = {
    Flavour.MARIADB: ("--skip-slave-start",),
    # Its folder for files is a fixed one of the system; the X plugin has a port of its own.
    Flavour.MYSQL: ("--skip-replica-start", "--mysqlx=OFF", "--secure-file-priv=NULL"),
}
_VERSION = re.compile(r"\bVer (\S+)")
MISSING_HINT = "install mariadb-server-core (Debian, Ubuntu) or set BACKUP_PROGRAMS_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """An installed server; ``installer`` is what makes a data folder, if that is another one."""

    path: str
    version: ServerVersion
    installer: str = ""

    @property
    def flavour(self) -> Flavour:
        return self.version.flavour


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchServer:
    """A running scratch server; ``login`` is its administrator."""

    folder: Path
    login: Login
    pid: int


@contextlib.contextmanager
def scratch_server(
    *, options: Sequence[str] = (), programs_folder: Path | None = None
) -> Iterator[ScratchServer]:
    """Initialise and start a server of our own in a temporary folder; end and remove it after.

    *programs_folder* tells whose: the one whose programs lie there, MariaDB or MySQL; else the
    system's. *options* are added to the server's command line. Abandoned servers of killed owners
    are removed first. Raises ProgramMissing, ScratchServerFailed.
    """
    sweep()
    program = _program(programs_folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_parent_folder()))
    with _owned(folder) as owner, _removed(folder):
        _initialise(program, folder)
        command = _command(program, folder, options)
        with _running(command, folder) as process:
            _write_owner(owner, process.pid)
            login = Login(
                host="localhost", port=3306, socket=str(folder / "socket"), user="root",
                password=Secret(""),
            )  # fmt: skip
            _wait_until_ready(process, login, folder)
            yield ScratchServer(folder=folder, login=login, pid=process.pid)


def server_program(folder: Path | None = None) -> Program:
    """Return the program that a scratch server would run; raises ProgramMissing."""
    path = _need(("mariadbd", "mysqld"), folder)
    version = programs.version_line(path)
    flavour = Flavour.MARIADB if "mariadb" in version.lower() else Flavour.MYSQL
    return Program(path=path, version=version.removeprefix(path).strip(), flavour=flavour)


def installed_version(programs_folder: Path | None = None) -> ServerVersion:
    """Return the version of the server that ``scratch_server`` would start; nothing is started.

    Raises ProgramMissing, ScratchServerFailed.
    """
    return _program(programs_folder).version


def scratch_parent() -> Path:
    """Return the folder in which scratch servers keep their data: TMPDIR decides."""
    return _parent_folder()


def sweep() -> int:
    """End and remove scratch servers whose owners are gone; return how many there were."""
    swept = 0
    for folder in _parent_folder().glob(f"{PREFIX}*"):
        if _is_ours(folder) and _abandoned(folder):
            swept += 1
    return swept


def _parent_folder() -> Path:
    """Return where scratch servers live; a socket's path must not be long."""
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) + 40 < LONGEST_SOCKET else Path("/tmp")  # noqa: S108


def _need(names: Sequence[str], folder: Path | None) -> str:
    path = programs.find(names, folder=folder)
    if path is None:
        raise ProgramMissing(f"{names[0]} is not installed", hint=MISSING_HINT)
    return path


def _program(folder: Path | None) -> _Program:
    # Absolute, for it runs in another folder.
    folder = folder.absolute() if folder else None
    path = _need(("mariadbd", "mysqld"), folder)
    try:
        version = programs.run([path, "--no-defaults", "--version"])
    except ProgramFailed as error:
        raise ScratchServerFailed(f"{path} does not run: {error.said[-500:]}") from None
    found = _VERSION.search(version)
    text = found[1] if found else "0"
    if "mariadb" not in version.lower():
        return _Program(path=path, version=ServerVersion(flavour=Flavour.MYSQL, version=text))
    installer = _need(("mariadb-install-db", "mysql_install_db"), folder)
    mariadb = ServerVersion(flavour=Flavour.MARIADB, version=text)
    return _Program(path=path, version=mariadb, installer=installer)


def _initialise(program: _Program, folder: Path) -> None:
    command = (
        [program.installer, "--no-defaults", "--skip-test-db",
         "--auth-root-authentication-method=normal"]
        if program.installer
        else [program.path, "--no-defaults", "--initialize-insecure", *OWN_OPTIONS[Flavour.MYSQL]]
    )  # fmt: skip
    command += [
        f"--datadir={folder / 'data'}", *UNSYNCED[program.flavour], *_as_root(),
        # A starting server removes what lies in its tmpdir, other servers' tables included.
        f"--tmpdir={folder}",
    ]  # fmt: skip
    try:
        programs.run(command)
    except ProgramFailed as error:
        message = f"a scratch server could not be initialised: {error.said[-500:]}"
        raise ScratchServerFailed(message, hint=_space_hint(folder)) from None


def _command(program: _Program, folder: Path, options: Sequence[str]) -> list[str]:
    return [
        program.path, "--no-defaults", f"--datadir={folder / 'data'}",
        f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}",
        *UNSYNCED[program.flavour], *OPTIONS, *OWN_OPTIONS[program.flavour], *options,
        *_as_root(),
    ]  # fmt: skip


def _as_root() -> list[str]:
    """Return what makes the server agree to run as root; others need nothing."""
    return ["--user=root"] if os.getuid() == 0 else []


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            programs.tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env=programs.environment(), start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        # Nothing is worth an orderly end: the data goes too, and a server that is still
        # starting would not even hear of it.
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], login: Login, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            message = f"a scratch server did not start: {_last_words(folder)}"
            raise ScratchServerFailed(message, hint=_space_hint(folder))
        # Only once somebody listens: PyMySQL leaks a socket of its own when it cannot connect.
        if _listens(login.socket):
            with contextlib.suppress(ServerUnreachable), connect(login):
                return
        time.sleep(POLL_SECONDS)


def _listens(path: str) -> bool:
    """Tell whether a server listens on the socket at *path*; its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _last_words(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").splitlines()
    errors = [line for line in lines if "[ERROR]" in line]
    return " / ".join((errors or lines)[-3:])


def _space_hint(folder: Path) -> str:
    free = shutil.disk_usage(folder).free >> 20
    return f"there are {free} MiB free in {folder.parent}; set TMPDIR to use another place"


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[int]:
    """Hold the lock on *folder* that says: in use."""
    descriptor = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_owner(descriptor: int, server_pid: int) -> None:
    facts = {"server": server_pid, "started": _start_time(server_pid), "owner": os.getpid()}
    os.pwrite(descriptor, json.dumps(facts).encode(), 0)


def _is_ours(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return facts.st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()


def _abandoned(folder: Path) -> bool:
    """End the server in *folder* and remove it, unless its owner still lives."""
    try:
        descriptor = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return _remove_if_old(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        with contextlib.suppress(ValueError, KeyError):
            facts = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
            _end_server(int(facts["server"]), str(facts["started"]))
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)


def _remove_if_old(folder: Path) -> bool:
    """Remove a folder whose owner died before it could mark it, unless it is in the making."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > START_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            return True
    return False


def _end_server(pid: int, started: str) -> None:
    """End the process *pid* if it is still the one that was started then."""
    if not started or _start_time(pid) != started:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_SECONDS
    while _start_time(pid) == started and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _start_time(pid: int) -> str:
    """Return when process *pid* started, in the kernel's ticks; empty if there is none (alive)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
