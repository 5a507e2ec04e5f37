"""The daemon as a process: it does what was missed, one after the other, and stops in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLD = "2020-01-01T00:00:00+00:00"


@contextmanager
def _daemon(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run a daemon; its lines arrive in the list."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BACKUP_", "DB_"))}
    environment = {**clean, "BACKUP_STATE_DIR": str(folder / "state"), **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "ulasis_backup", "daemon"], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # A shell may have set SIGINT aside for what it runs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    lines: list[str] = []
    assert process.stdout
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _wait_for(lines: list[str], text: str) -> None:
    deadline = time.monotonic() + 30
    while not any(text in line for line in lines):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


def _state(folder: Path) -> Path:
    (found,) = (folder / "state").glob("daemon-*.json")
    return found


def _forget(folder: Path, **settings: str) -> None:
    """Let every job be long overdue."""
    with _daemon(folder, **settings) as (process, lines):
        _wait_for(lines, "ended  phase=wait")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    path = _state(folder)
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), OLD)))


def test_nothing_is_missed_on_the_first_start(tmp_path: Path) -> None:
    with _daemon(tmp_path) as (process, lines):
        _wait_for(lines, "ended  phase=wait")
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=20) == 0
    assert not any("began" in line for line in lines)


def test_missed_jobs_are_done_once_each_one_after_the_other(tmp_path: Path) -> None:
    settings = {"DB_SOCKET": "/nowhere", "BACKUP_SCHEDULE_TEST_RESTORE": "off"}
    _forget(tmp_path, **settings)
    with _daemon(tmp_path, **settings) as (process, lines):
        _wait_for(lines, "backup ended with exit code 11")
        _wait_for(lines, "verify ended with exit code 60")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0

    starts = [n for n, line in enumerate(lines) if "phase=backup" in line or "phase=verify" in line]
    ends = [n for n, line in enumerate(lines) if "exit_code=" in line]
    assert len([n for n in starts if "began" in lines[n]]) == 2
    assert starts[-1] > ends[0], "the second begins when the first has ended"
    assert OLD not in _state(tmp_path).read_text()


def test_a_signal_ends_the_job_that_runs_and_then_the_daemon(tmp_path: Path) -> None:
    settings = {
        "DB_SOCKET": str(tmp_path / "silent"), "BACKUP_SCHEDULE_VERIFY": "off",
        "BACKUP_SCHEDULE_TEST_RESTORE": "off",
    }  # fmt: skip
    _forget(tmp_path, **settings)
    with socket.socket(socket.AF_UNIX) as silent:
        # A server that never says a word: the backup waits for its greeting.
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        with _daemon(tmp_path, **settings) as (process, lines):
            _wait_for(lines, "began  phase=backup")
            peer, _ = silent.accept()
            with peer:
                process.send_signal(signal.SIGTERM)

                assert process.wait(timeout=30) == 0
        assert any("exit_code=143" in line for line in lines), lines


def test_a_state_that_cannot_be_kept_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with _daemon(tmp_path, BACKUP_STATE_DIR=str(tmp_path / "file/state")) as (process, lines):
        assert process.wait(timeout=20) == 2
    assert any("BACKUP_STATE_DIR" in line for line in lines)


def test_metrics_are_answered_while_it_runs(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _daemon(tmp_path, BACKUP_METRICS_LISTEN=f"127.0.0.1:{port}") as (process, lines):
        _wait_for(lines, "ended  phase=wait")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=20) == 0
    assert "ulasis_backup_status_level 2.0" in text, "there is no backup yet"
