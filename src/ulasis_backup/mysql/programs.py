"""Client programs: found, started with our option file alone, and never trusted blindly.

Passwords travel in an option file that lies in memory and is inherited as a descriptor: nothing
on the command line, in the environment, or on disk. The program sees only that file
(``--defaults-file``), so no ``~/.my.cnf`` can bend a dump.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ulasis_backup.errors import ProgramMissing, ServerError
from ulasis_backup.model import Flavour, Login, ServerVersion

READ_BYTES = 1 << 20
PIPE_BYTES = 1 << 20
GRACE_SECONDS = 10
STDERR_BYTES = 64 << 10
SYSTEM_FOLDERS = (
    "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec",
    "/usr/local/mysql/bin", "/opt/homebrew/bin",
)  # fmt: skip
DUMP = {Flavour.MARIADB: ("mariadb-dump", "mysqldump"), Flavour.MYSQL: ("mysqldump",)}
CLIENT = {Flavour.MARIADB: ("mariadb", "mysql"), Flavour.MYSQL: ("mysql",)}
PACKAGES = {
    Flavour.MARIADB: "install mariadb-client (Debian, Ubuntu) or set BACKUP_PROGRAMS_DIR",
    Flavour.MYSQL: "install mysql-client of the server's version or set BACKUP_PROGRAMS_DIR",
}
F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An installed client program and its version line."""

    path: str
    version: str
    flavour: Flavour


class ProgramFailed(ServerError):
    """A program ended with an error; ``status`` as in subprocess, ``said`` its last words."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0, said: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.said = said


def find(names: Sequence[str], *, folder: Path | None = None) -> str | None:
    """Return the path of the first of *names* that is installed.

    Looked for in *folder* alone if given, else on PATH, beside this Python, in usual places.
    """
    if folder:
        places = str(folder)
    else:
        beside = str(Path(sys.executable).parent)
        # An empty entry would mean the current folder.
        path = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place]
        places = os.pathsep.join([*path, beside, *SYSTEM_FOLDERS])
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return found
    return None


def dump_program(server: ServerVersion, *, folder: Path | None = None) -> Program:
    """Return the dump program that fits *server*; raises ProgramMissing."""
    return _fitting(DUMP[server.flavour], server, folder)


def client_program(server: ServerVersion, *, folder: Path | None = None) -> Program:
    """Return the interactive client that fits *server*; raises ProgramMissing."""
    return _fitting(CLIENT[server.flavour], server, folder)


@contextlib.contextmanager
def option_file(
    login: Login, flavour: Flavour, more: Sequence[str] = ()
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the first argument for a client program, and the descriptors it must inherit."""
    content = "\n".join(["[client]", *_connection_options(login, flavour), *more, ""]).encode()
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("options", os.MFD_CLOEXEC)
        try:
            # The programs ignore option files that others could write to.
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, content)
            yield f"--defaults-file=/dev/fd/{descriptor}", (descriptor,)
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="ulasis-options-") as folder:
        path = Path(folder, "client.cnf")
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield f"--defaults-file={path}", ()


def read_from(
    command: Sequence[str], *, inherit: Sequence[int] = (), warnings: list[str] | None = None
) -> Generator[bytes, None, None]:
    """Run *command* and yield what it writes; raises ProgramFailed at the end if it failed.

    What a successful program printed on standard error is added to *warnings*. Closing the
    iterator early ends the program.
    """
    started = _started(
        [*_block_buffered(), *command], inherit, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    with started as (process, errors):
        output = process.stdout
        if output is None:
            return
        _widen(output)
        while chunk := os.read(output.fileno(), READ_BYTES):
            yield chunk
        _expect_success(process, errors, command)
        if warnings is not None:
            warnings += _words(errors).splitlines()


def write_to(
    command: Sequence[str],
    chunks: Iterable[bytes],
    *,
    inherit: Sequence[int] = (),
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> str:
    """Run *command*, feed it *chunks*, and return what it printed on standard error.

    *started* is told of the process, so that another thread can end it.
    An error from *chunks* kills the program before it could take the cut input for the end, and
    goes on to the caller. Raises ProgramFailed if the program failed.
    """
    with _started(command, inherit, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        process, errors = running
        if process.stdin is None:
            return ""
        if started:
            started(process)
        _widen(process.stdin)
        complete = _feed(process, process.stdin, chunks)
        _expect_success(process, errors, command)
        if not complete:
            raise _failed(command, 0, f"it did not read all of its input {_words(errors)}")
        return _words(errors)


def run(command: Sequence[str], *, timeout: float | None = None) -> str:
    """Run *command* to its end and return its output; raises ProgramFailed."""
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", timeout=timeout, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise _failed(command, done.returncode, said[-STDERR_BYTES:])
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of our children: no secrets, no option files, plain messages."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
        if name in os.environ
    }
    # The login path file is read even with --defaults-file; an empty one says nothing.
    return kept | {
        "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC",
        "MYSQL_TEST_LOGIN_FILE": os.devnull,
    }  # fmt: skip


def tied(command: Sequence[str]) -> list[str]:
    """Return *command* such that Linux ends it with us, even when we are killed.

    By ``setpriv`` (util-linux), not by code of ours between fork and exec: with threads running
    that could hang. Without it a child ends at its next write to our pipe.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def version_line(path: str) -> str:
    """Return what the program at *path* says of its version; raises ProgramFailed."""
    return run([path, "--no-defaults", "--version"]).strip()


def _fitting(names: Sequence[str], server: ServerVersion, folder: Path | None) -> Program:
    flavour = server.flavour
    path = find(names, folder=folder)
    if path is None:
        raise ProgramMissing(f"{names[0]} is not installed", hint=PACKAGES[flavour])
    version = version_line(path)
    found = Flavour.MARIADB if "mariadb" in version.lower() else Flavour.MYSQL
    if found is not flavour:
        message = f"{path} belongs to {found}, the server is {flavour} {server.version}"
        raise ProgramMissing(message, hint=PACKAGES[flavour])
    return Program(path=path, version=version.removeprefix(path).strip(), flavour=found)


def _connection_options(login: Login, flavour: Flavour) -> list[str]:
    options = [f"user={_quoted(login.user)}", f"password={_quoted(login.password.reveal())}"]
    if login.by_socket:
        return [*options, "protocol=socket", f"socket={_quoted(login.socket)}"]
    options += ["protocol=tcp", f"host={_quoted(login.host)}", f"port={login.port}"]
    if login.ssl_require:
        options += _tls_options(login, flavour)
    return options


def _tls_options(login: Login, flavour: Flavour) -> list[str]:
    authority = [f"ssl-ca={_quoted(login.ssl_ca)}"] if login.ssl_ca else []
    if flavour is Flavour.MYSQL:
        return [f"ssl-mode={'VERIFY_IDENTITY' if authority else 'REQUIRED'}", *authority]
    return ["ssl", f"ssl-verify-server-cert={int(bool(authority))}", *authority]


def _quoted(value: str) -> str:
    """Quote a value for an option file; ``#``, blanks, quotes and backslashes are data."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _block_buffered() -> list[str]:
    """Return the start of a command that makes a program write to its pipe in large blocks.

    The dump programs write 4 KiB at a time; a quarter of a million system calls for 1 GB cost
    about as much as encrypting it. Without ``stdbuf`` (coreutils) it is only slower.
    """
    stdbuf = shutil.which("stdbuf") if sys.platform == "linux" else None
    return [stdbuf, f"--output={PIPE_BYTES}"] if stdbuf else []


@contextlib.contextmanager
def _started(
    command: Sequence[str], inherit: Sequence[int], *, stdin: int, stdout: int
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    # A file for the errors: a full pipe that nobody reads would stall the program.
    with tempfile.TemporaryFile(prefix="ulasis-errors-") as errors:
        process = subprocess.Popen(
            tied(command), stdin=stdin, stdout=stdout, stderr=errors, env=environment(),
            pass_fds=inherit, bufsize=0,
        )  # fmt: skip
        try:
            yield process, errors
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdout, process.stdin):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _feed(process: subprocess.Popen[bytes], pipe: IO[bytes], chunks: Iterable[bytes]) -> bool:
    """Write *chunks* and close; False if the program stopped reading before the end."""
    try:
        for chunk in chunks:
            if not _write(pipe, chunk):
                return False
        pipe.close()
    except BaseException:
        # Before the pipe is closed: its end would look like the end of the input.
        process.kill()
        raise
    return True


def _write(pipe: IO[bytes], chunk: bytes) -> bool:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[pipe.write(rest) :]
    except BrokenPipeError:
        return False
    return True


def _widen(pipe: IO[bytes]) -> None:
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 (not on every platform)

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE_BYTES)


def _expect_success(
    process: subprocess.Popen[bytes], errors: IO[bytes], command: Sequence[str]
) -> None:
    status = process.wait()
    if status:
        raise _failed(command, status, _words(errors))


def _failed(command: Sequence[str], status: int, said: str) -> ProgramFailed:
    name = Path(command[0]).name
    ended = (
        f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
    )
    words = f": {said}" if said else ""
    hint = "see the message above; `ulasis-backup check` tests the set-up"
    return ProgramFailed(f"{name} {ended}{words}", hint=hint, status=status, said=said)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _words(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - STDERR_BYTES))
    return errors.read().decode("utf-8", "replace").strip()
