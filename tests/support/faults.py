"""What fault tests share: fake dump programs, and the proof that a failed run changed nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from support.server import Command, Result
from ulasis_backup.model import Login
from ulasis_backup.mysql.server import connect

RECORDS = ("audit", "runs")
"""Folders of what each run leaves behind, a failed one too."""
PATIENCE = 20.0
"""Seconds: far above what anything here takes when it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A repository as it was before something went wrong."""

    command: Command
    login: Login
    listed: tuple[str, ...]
    digests: dict[str, str]

    def expect_failure(self, done: Result, *codes: int) -> None:
        """Expect one of *codes*, a message with a hint, and everything else as it was."""
        assert done.code in codes, done.said
        assert " ERROR " in done.err, done.said
        assert "Traceback" not in done.said, done.said
        if not set(codes) & {130, 143}:
            assert "\nHINT: " in done.err, done.said
        self.expect_unchanged()

    def expect_unchanged(self) -> None:
        """Expect the same backups in the list, the same bytes, nothing left running or lying."""
        assert listed(self.command) == self.listed
        assert digests_below(self.command.folder) == self.digests
        self.expect_nothing_left()

    def clean(self) -> None:
        """Remove the files that came after, and the program that was put in place."""
        for name in set(digests_below(self.command.folder)) - set(self.digests):
            (self.command.folder / name).unlink()
        self.expect_unchanged()

    def expect_nothing_left(self) -> None:
        """Expect no process, no temporary file and no session but the test's own."""
        wait_until(lambda: not processes_with(str(self.command.home)))
        temporary = Path(self.command.settings["TMPDIR"])
        assert list(temporary.iterdir()) == []
        wait_until(lambda: sessions(self.login) <= 1)


def shelf(command: Command, login: Login) -> Shelf:
    """Return what is in the repository of *command* now."""
    return Shelf(
        command=command,
        login=login,
        listed=listed(command),
        digests=digests_below(command.folder),
    )


def with_temporary_folder(command: Command) -> Command:
    """Return *command* with a temporary folder of its own, so that leftovers show."""
    folder = command.home / "temporary"
    folder.mkdir(exist_ok=True)
    return command.having(TMPDIR=str(folder))


def listed(command: Command) -> tuple[str, ...]:
    """Return the names of the backups that ``list`` shows."""
    return tuple(entry["backup"] for entry in command.ok("list")["backups"])


def digests_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below *folder*, but for the records of runs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in RECORDS
    }


def wait_until(happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until *happened*; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def sessions(login: Login) -> int:
    """Return how many sessions other than ours the server has."""
    with connect(login) as server:  # one more, not counted
        rows = server.query(
            "SELECT ID FROM information_schema.PROCESSLIST "
            "WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')"
        )
    return len(rows)


def processes() -> Iterator[tuple[int, str, str]]:
    """Return number, command line and environment of every process that may be read."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
            around = (folder / "environ").read_bytes().decode(errors="replace")
            yield int(folder.name), line, around


def processes_with(text: str) -> list[int]:
    """Return the processes other than ours whose command line or environment holds *text*."""
    return [
        number
        for number, line, around in processes()
        if number != os.getpid() and (text in line or text in around)
    ]


REAL_DUMP = shutil.which("mariadb-dump") or "mariadb-dump"


def fake_dump(home: Path, script: str) -> Path:
    """Make a folder with a ``mariadb-dump`` of our own and return it.

    In *script*, ``dump`` runs the real program with the arguments of the fake.
    """
    folder = home / "programs"
    folder.mkdir(exist_ok=True)
    (folder / "paused").unlink(missing_ok=True)
    program = folder / "mariadb-dump"
    program.write_text(
        "#!/bin/bash\n"
        'if [[ "$*" == *--version* ]]; then exec REAL "$@"; fi\n'
        'dump() { REAL "$@"; }\n'
        "set -o pipefail\n".replace("REAL", REAL_DUMP)
        + script
        + "\n"
    )
    program.chmod(0o755)
    client = folder / "mariadb"
    if not client.exists():
        client.symlink_to(shutil.which("mariadb") or "mariadb")
    return folder


def faking(command: Command, script: str) -> Command:
    """Return *command* with a fake dump program."""
    return command.having(BACKUP_PROGRAMS_DIR=str(fake_dump(command.home, script)))


def slow_dump(seconds: float, after: int = 20_000) -> str:
    """Return a script that dumps, and stops for *seconds* after the first *after* bytes.

    The file ``paused`` beside the program tells that it has stopped; creating the file ``go``
    there lets it go on.
    """
    turns = round(seconds * 20)
    return (
        f'here="$(dirname "$0")"; rm -f "$here/go"; dump "$@" | '
        f'{{ head -c {after}; touch "$here/paused"; '
        f'for ((i = 0; i < {turns}; i++)); do [[ -e "$here/go" ]] && break; '
        "kill -0 $$ || exit; sleep 0.05; done; "
        "cat; }"
    )


def wait_for_pause(command: Command, process: subprocess.Popen[str]) -> None:
    """Wait until the slow dump of *command* has stopped in the middle."""
    paused = command.home / "programs" / "paused"
    wait_until(lambda: paused.exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def go_on(command: Command) -> None:
    """Let the slow dump of *command* go on."""
    (command.home / "programs" / "go").touch()


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send *number* to the process alone, not to its children."""
    os.kill(process.pid, number)


def fill(path: Path, *, leaving: int) -> None:
    """Write *path* until its disk is full, then leave so many bytes free."""
    path.unlink(missing_ok=True)
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(path, path.stat().st_size - leaving)
