"""Some days in the life of the daemon, with a real server: it fails, it is back, we are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.clocks import leaping
from support.receivers import receiver, wait_until
from support.server import Command, finish
from ulasis_backup.config import read_config
from ulasis_backup.events import Event, PhaseEnded
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.operations.daemon import plan_daemon, run

OLD = "2020-01-01T00:00:00+00:00"


def at(day: int, clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-12-{day:02d} {clock}").replace(tzinfo=UTC)


def _titles(bodies: list[str]) -> list[str]:
    firsts = [json.loads(body)["text"].splitlines()[0] for body in bodies]
    return [line.split("ulasis-backup: ")[1].rstrip("*") for line in firsts]


@pytest.fixture
def shop(command: Command, server: Server, database: str, tmp_path: Path) -> Command:
    """Return the command with a table to back up, and a socket that can be taken away."""
    server.run(f"CREATE TABLE {quote(database)}.t (id INT PRIMARY KEY, x INT)")
    server.run(f"INSERT INTO {quote(database)}.t VALUES (1, 2)")
    (tmp_path / "socket").symlink_to(command.settings["DB_SOCKET"])
    return command.having(
        DB_SOCKET=str(tmp_path / "socket"), BACKUP_STATE_DIR=str(tmp_path / "state"),
        BACKUP_SERVER_NAME="db1", BACKUP_MAX_COUNT="1", TZ="UTC",
        BACKUP_SCHEDULE_VERIFY="0 3 1 * *", BACKUP_SCHEDULE_TEST_RESTORE="0 4 1 * *",
    )  # fmt: skip


def test_five_nights(shop: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "socket"
    target = socket.readlink()
    ends: list[tuple[str, object]] = []

    def watch(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.name != "wait":
            ends.append((event.name, dict(event.facts)["exit_code"]))

    with receiver() as slack:
        told: list[int] = []

        def back() -> None:
            told.append(len(slack.bodies()))
            socket.symlink_to(target)

        for name, value in shop.having(SLACK_WEBHOOK_URL=f"{slack.url}/TOKEN").settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        run(
            plan_daemon(read_config(flags={})), watch,
            clock=leaping(
                at(1, "00:00"), at(1, "02:00"), at(1, "03:00"), at(1, "04:00"),
                at(2, "01:59"), at(2, "02:00"), at(2, "02:01"),
                # The machine sleeps over the third night.
                at(3, "09:00"), at(4, "02:00"),
                then={at(2, "01:59"): socket.unlink, at(2, "02:01"): back},
            ),
        )  # fmt: skip

        assert ends == [
            ("backup", 0), ("verify", 0), ("test-restore", 0), ("backup", 11), ("backup", 0),
            ("backup", 0),
        ]  # fmt: skip
        titles = _titles(slack.bodies())
        assert told == [1], "within the run that failed"
        assert "FAILED: server unreachable" in titles[0]
        assert titles[1].startswith("over: ")
        assert len(titles) == 2
    kept = shop.ok("list")["backups"]
    assert "proven" in {one["verdict"] for one in kept}
    assert len(kept) == 2, "the newest, and the newest proven: the one between was removed"


def _children(process: subprocess.Popen[str]) -> list[int]:
    file = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in file.read_text().split()]


def _state(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = (tmp_path / "state").glob("daemon-*.json")
    return path, json.loads(path.read_text())


def _waiting(server: Server) -> bool:
    sql = (
        "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
    )
    return bool(server.value(sql))


def test_a_daemon_that_is_killed_in_a_backup_leaves_none_and_makes_it_when_it_is_back(
    shop: Command, server: Server, database: str, tmp_path: Path
) -> None:
    nightly = shop.having(BACKUP_SCHEDULE_VERIFY="off", BACKUP_SCHEDULE_TEST_RESTORE="off")
    first = nightly.start("daemon")
    wait_until(lambda: list((tmp_path / "state").glob("daemon-*.json")))
    first.terminate()
    assert finish(first).code == 0
    path, known = _state(tmp_path)
    path.write_text(json.dumps(dict.fromkeys(known, OLD)))

    server.run(f"LOCK TABLES {quote(database)}.t WRITE")
    killed = nightly.start("daemon")
    wait_until(lambda: _waiting(server))
    # As a power failure has it: the daemon, its job, and what that had started.
    jobs = _children(killed)
    killed.kill()
    for job in jobs:
        os.killpg(job, signal.SIGKILL)
    finish(killed)
    server.run("UNLOCK TABLES")
    assert nightly.ok("list")["backups"] == []
    assert _state(tmp_path)[1]["backup"]["begun"]

    again = nightly.start("daemon")
    wait_until(lambda: _state(tmp_path)[1]["backup"]["begun"] is None)
    again.terminate()

    assert finish(again).code == 0
    (made,) = nightly.ok("list")["backups"]
    assert nightly.run("verify", made["backup"]).code == 0
