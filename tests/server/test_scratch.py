"""Scratch servers: private, and gone afterwards, however their owner ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.faults import wait_until
from support.server import Command, own_server, servers_folder
from ulasis_backup.errors import ProgramMissing, ScratchServerFailed
from ulasis_backup.mysql.scratch import ScratchServer, scratch_server, sweep
from ulasis_backup.mysql.server import connect

pytestmark = pytest.mark.server

OWNER = """
import sys, time
from ulasis_backup.mysql.scratch import scratch_server
with scratch_server() as running:
    print(running.pid, running.folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder with a path short enough for sockets, watched for what is left in it."""
    with tempfile.TemporaryDirectory(prefix="short-") as folder:
        yield Path(folder)


def test_a_scratch_server_listens_on_no_network_port(any_server: ScratchServer) -> None:
    assert _network_sockets_of(any_server.pid) == set()
    assert _network_sockets_of(os.getpid()) is not None


def test_a_scratch_server_is_private(any_server: ScratchServer) -> None:
    assert any_server.folder.stat().st_mode & 0o777 == 0o700
    with connect(any_server.login) as server:
        assert str(server.value("SELECT @@skip_networking")) == "1"
        assert server.value("SELECT @@event_scheduler") == "OFF"


def test_a_scratch_server_has_a_binlog_when_it_is_asked_for(any_server: ScratchServer) -> None:
    with connect(any_server.login) as server:
        assert str(server.value("SELECT @@log_bin")) == "1"


def test_a_scratch_server_of_mysql_has_no_binlog_unless_asked() -> None:
    with own_server(name="mysql-9") as running, connect(running.login) as server:
        assert not server.is_mariadb
        assert str(server.value("SELECT @@log_bin")) == "0"


def test_a_server_that_was_not_fetched_is_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="scripts/servers"):
        servers_folder("no-such-server")


def test_a_scratch_server_is_gone_after_its_use_and_after_an_error() -> None:
    seen: list[ScratchServer] = []
    with pytest.raises(RuntimeError, match="on purpose"):
        _use_and_fail(seen)
    assert not seen[0].folder.exists()
    assert not _is_running(seen[0].pid)


def test_a_scratch_server_of_a_killed_owner_is_swept(short: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(short), "HOME": str(short)}
    with _owner(environment) as (owner, pid, folder):
        owner.kill()
        owner.wait()
        assert folder.exists()
        wait_until(lambda: not _is_running(pid))
        assert _sweep_in(environment) == 1
    assert not folder.exists()


def test_a_scratch_server_that_outlived_its_owner_is_ended(short: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(short), "HOME": str(short)}
    with _owner(environment) as (owner, pid, folder):
        # Stopped processes die of nothing but SIGKILL; the kernel sends that with the owner's
        # end. What is left to the sweep then is the folder alone, whatever state it is in.
        os.kill(pid, signal.SIGSTOP)
        owner.kill()
        owner.wait()
        assert _sweep_in(environment) == 1
        assert not _is_running(pid)
    assert not folder.exists()


def test_a_scratch_server_in_use_is_not_swept(scratch: ScratchServer) -> None:
    sweep()
    with connect(scratch.login) as server:
        assert server.value("SELECT 1") == 1


def test_a_scratch_server_goes_when_its_owner_is_terminated(short: Path) -> None:
    command = Command(home=short, settings={"TMPDIR": str(short)})
    process = command.start("demo")
    wait_until(lambda: any(path.exists() for path in short.glob("ulasis-scratch-*/socket")))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)
    assert process.returncode == 143
    assert list(short.glob("ulasis-*")) == []


def test_a_missing_server_program_is_named(short: Path) -> None:
    with pytest.raises(ProgramMissing, match="mariadbd"), scratch_server(programs_folder=short):
        pass


def test_a_server_that_does_not_start_says_why_and_leaves_nothing() -> None:
    before = set(Path("/tmp").glob("ulasis-scratch-*"))
    with (
        pytest.raises(ScratchServerFailed) as refused,
        scratch_server(options=("--no-such-option=1",)),
    ):
        pass
    assert "no-such-option" in refused.value.message
    assert refused.value.hint
    mine = set(Path("/tmp").glob("ulasis-scratch-*")) - before
    assert [folder for folder in mine if _owner_of(folder) == os.getpid()] == []


def _use_and_fail(seen: list[ScratchServer]) -> None:
    with scratch_server() as running:
        seen.append(running)
        assert _is_running(running.pid)
        raise RuntimeError("on purpose")


@contextlib.contextmanager
def _owner(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """Run a process that owns a scratch server; give it, the server's number, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], env=environment, text=True, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        number, folder = process.stdout.readline().split()
        yield process, int(number), Path(folder)
    finally:
        process.kill()
        process.communicate()


def _sweep_in(environment: dict[str, str]) -> int:
    script = "from ulasis_backup.mysql.scratch import sweep; print(sweep())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        text=True,
        capture_output=True,
        check=True,
    )
    return int(done.stdout)


def _network_sockets_of(pid: int) -> set[str]:
    """Return the inodes of TCP and UDP sockets that process *pid* has open."""
    mine = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kind, _, inode = str(descriptor.readlink()).partition(":")
            if kind == "socket":
                mine.add(inode.strip("[]"))
    known: set[str] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        if path.exists():
            known |= {line.split()[9] for line in path.read_text().splitlines()[1:]}
    return mine & known


def _is_running(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def _owner_of(folder: Path) -> int:
    try:
        text = (folder / "owner.json").read_text()
    except OSError:
        return 0
    return int(text.partition('"owner": ')[2].rstrip("}") or 0)
