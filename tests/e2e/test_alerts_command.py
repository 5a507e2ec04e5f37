"""Alerts and the dead-man's ping around real runs of the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.test_golden_rows import golden
from support.faults import fill
from support.receivers import Receiver, receiver, wait_until
from support.server import Command, finish

__all__ = ["golden"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def ping() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, slack: Receiver, ping: Receiver) -> Command:
    """Return the command, told of receivers and of a server that is not there."""
    return Command(
        home=tmp_path,
        settings={
            "BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_STATE_DIR": str(tmp_path / "state"),
            "BACKUP_SERVER_NAME": "db1", "DB_NAME": "ulasis", "DB_PASSWORD": "s3cret-pass",
            "DB_SOCKET": str(tmp_path / "nobody"), "SLACK_WEBHOOK_URL": f"{slack.url}/TOKEN",
            "BACKUP_PING_URL": f"{ping.url}/uuid",
        },
    )  # fmt: skip


def titles(slack: Receiver) -> list[str]:
    """Return the first lines of the messages, without the sign and the program's name."""
    firsts = [json.loads(body)["text"].splitlines()[0] for body in slack.bodies()]
    return [line.split("ulasis-backup: ")[1].rstrip("*") for line in firsts]


def book(command: Command) -> tuple[Path, dict[str, Any]]:
    (path,) = Path(command.settings["BACKUP_STATE_DIR"]).glob("alerts-*.json")
    return path, json.loads(path.read_text())


def test_a_failed_backup_is_told_of_within_the_run_and_once(
    command: Command, slack: Receiver, ping: Receiver
) -> None:
    codes = [command.run("backup").code for _ in range(2)]

    assert codes == [11, 11]
    assert titles(slack) == ["backup of ulasis at db1 FAILED: server unreachable"]
    text = json.loads(slack.bodies()[0])["text"]
    for line in ("What:   no connection", "Hint:   ", "Where:  server db1", "When:   ", "Next:   "):
        assert f"\n{line}" in text
    assert ping.paths() == ["/uuid/start", "/uuid/fail"] * 2
    assert "no connection" in ping.bodies()[1]
    listed = command.ok("alert", "list")
    assert [entry["key"] for entry in listed["open"]] == ["backup"]
    assert listed["waiting"] == []


def test_receivers_that_fail_change_nothing_about_the_run_and_are_named(
    command: Command, slack: Receiver, ping: Receiver
) -> None:
    slack.answer = ping.answer = 500
    failed = command.run("backup")
    initialised = command.run("init")
    pruned = command.run("prune")

    assert (failed.code, initialised.code, pruned.code) == (11, 0, 0)
    assert "an alert was not sent: slack: HTTP 500" in failed.err
    assert "BACKUP_PING_URL was not reached: HTTP 500" in failed.err
    for secret in ("TOKEN", "uuid", slack.url, ping.url, "s3cret-pass"):
        assert secret not in failed.said

    slack.answer = 200
    assert command.ok("alert", "flush") == {"sent": 2, "waiting": 0, "problems": []}
    assert titles(slack) == [
        "backup of ulasis at db1 FAILED: server unreachable",
        "there is no good backup of db1/ulasis",
    ]


def test_a_run_that_was_killed_while_it_told_has_its_alert_sent_by_the_next(
    command: Command, slack: Receiver
) -> None:
    slack.answer = 0
    process = command.having(BACKUP_PING_URL=None).start("backup")
    wait_until(lambda: slack.got)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    slack.answer = 200
    assert titles(slack) == []

    assert command.run("backup").code == 11
    assert command.run("backup").code == 11
    assert len(titles(slack)) == 1


@needs_root
def test_run_after_run_on_a_full_disk_tells_of_the_same_failure_once(
    command: Command, slack: Receiver, small_disk: Path
) -> None:
    command = command.having(BACKUP_STATE_DIR=str(small_disk / "state"), BACKUP_PING_URL=None)
    slack.answer = 500
    assert command.run("backup").code == 11
    slack.answer = 200
    fill(small_disk / "filler", leaving=0)

    flushed = [command.run("--json", "alert", "flush").json["sent"] for _ in range(3)]
    codes = [command.run("backup").code for _ in range(2)]

    assert codes == [11, 11]
    assert flushed == [1, 0, 0]
    assert len(titles(slack)) == 1


def test_sigterm_in_the_middle_is_a_failure(
    command: Command, slack: Receiver, ping: Receiver
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        # A server that never says a word: the backup waits for its greeting.
        silent.bind(command.settings["DB_SOCKET"])
        silent.listen()
        process = command.start("backup")
        peer, _ = silent.accept()
        with peer:
            process.terminate()
            done = finish(process)

    assert done.code == 143
    assert titles(slack) == ["backup of ulasis at db1 FAILED: stopped by a signal"]
    assert ping.paths() == ["/uuid/start", "/uuid/fail"]


def test_ctrl_c_is_nobody_elses_business(command: Command, slack: Receiver, ping: Receiver) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(command.settings["DB_SOCKET"])
        silent.listen()
        process = command.behind(sys.executable, "-c", RESTORE_SIGINT).start("backup")
        peer, _ = silent.accept()
        with peer:
            process.send_signal(signal.SIGINT)
            done = finish(process)

    assert done.code == 130
    assert titles(slack) == []
    assert set(ping.paths()) <= {"/uuid/start"}, "neither a success nor a failure"


RESTORE_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""A shell may have set SIGINT aside for what it runs in the background."""

BROKEN = (
    "import ulasis_backup.operations.prune as operation, sys\n"
    "def broken(_): raise RuntimeError('s3cret-pass')\n"
    "operation.prune = broken\n"
    "from ulasis_backup.cli.main import main\n"
    "sys.argv = ['ulasis-backup', 'prune']\n"
    "main()\n"
)


def test_a_fault_of_the_program_is_a_failure_too(command: Command, slack: Receiver) -> None:
    process = subprocess.run(
        [sys.executable, "-c", BROKEN], cwd=command.home, check=False, capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(command.home), **command.settings},
    )  # fmt: skip

    assert process.returncode == 1
    assert titles(slack) == ["prune of ulasis at db1 FAILED: unexpected error"]
    assert "s3cret-pass" not in slack.bodies()[0]


def test_prune_recovers_when_there_is_a_repository(command: Command, slack: Receiver) -> None:
    assert command.run("prune").code == 60
    assert command.run("init").code == 0
    assert command.having(BACKUP_ALERT_ON_SUCCESS="true").run("prune").code == 0

    assert titles(slack) == [
        "prune of ulasis at db1 needs a look: could not check",
        "over: prune of ulasis at db1 needs a look: could not check",
        # A good run looks at what else is open.
        "there is no good backup of db1/ulasis",
        "prune of ulasis at db1 is done",
    ]


def test_a_failed_verdict_is_told_of_by_name_until_all_is_intact_again(
    golden: Command, slack: Receiver, tmp_path: Path
) -> None:
    golden = golden.having(SLACK_WEBHOOK_URL=slack.url, BACKUP_STATE_DIR=str(tmp_path / "state"))
    victim, other, _ = sorted(golden.folder.glob("*.enc"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    assert golden.run("verify-all").code == 41
    assert golden.run("verify", victim.name).code == 41
    assert golden.run("verify", other.name).code == 0
    assert titles(slack)[1:] == [
        f"verify of {victim.name} FAILED: authentication failed",
        f"{victim.name} failed its last check",
    ]
    assert victim.name in slack.bodies()[0]
    assert other.name not in slack.bodies()[0]

    victim.write_bytes(whole)
    assert golden.run("verify-all").code == 0
    assert [title[:5] for title in titles(slack)[3:]] == ["over:"] * 3


def test_the_test_says_of_each_channel_whether_it_arrived(
    command: Command, slack: Receiver
) -> None:
    with receiver(answer=404) as other:
        two = command.having(BACKUP_ALERT_URLS=other.url.replace("http", "json"))
        both = two.run("alert", "test")
        document = two.run("--json", "alert", "test").json
    alone = command.run("alert", "test")

    assert (both.code, alone.code) == (61, 0)
    assert both.out.splitlines()[:2] == ["slack: sent", "alert address 1 (json): FAILED: HTTP 404"]
    assert [entry["sent"] for entry in document["channels"]] == [True, False]
    assert titles(slack) == ["test of the alerts"] * 3


def test_an_incident_is_closed_by_its_key_and_people_are_told_by_whom(
    command: Command, slack: Receiver
) -> None:
    assert command.run("prune").code == 60
    listed = command.run("alert", "list").out
    wrong = command.run("alert", "close", "prun")
    closed = command.run("alert", "close", "prune")

    assert "\n  Key:    prune\n" in listed
    assert (wrong.code, closed.code) == (50, 0)
    assert "alert list" in wrong.err
    assert closed.out == "closed: prune\n1 sent, 0 waiting\n"
    assert titles(slack)[1:] == ["over: prune of ulasis at db1 needs a look: could not check"]
    assert "closed by hand, by " in slack.bodies()[1]
    assert command.ok("alert", "list")["open"] == []


@pytest.mark.parametrize("words", ["test", "list", "flush", "close backup"])
def test_without_channels_it_says_what_to_set(command: Command, words: str) -> None:
    done = command.having(SLACK_WEBHOOK_URL=None).run("alert", *words.split())

    assert done.code == 2
    assert "HINT: set SLACK_WEBHOOK_URL" in done.err


def test_the_daemon_sends_what_waits_and_reminds(command: Command, slack: Receiver) -> None:
    slack.answer = 500
    assert command.run("backup").code == 11
    slack.answer = 200
    path, document = book(command)
    old = (datetime.now(UTC) - timedelta(hours=30)).isoformat()
    document["queue"][0]["not_before"] = document["open"][0]["told"] = old
    path.write_text(json.dumps(document))

    process = command.start("daemon")
    wait_until(lambda: len(slack.accepted) == 2)
    process.terminate()
    assert finish(process).code == 0

    failed = "backup of ulasis at db1 FAILED: server unreachable"
    assert titles(slack) == [failed, f"still open: {failed}"]


def test_the_daemon_tells_of_a_job_that_was_killed(
    command: Command, slack: Receiver, tmp_path: Path
) -> None:
    every = {"BACKUP_SCHEDULE_VERIFY": "off", "BACKUP_SCHEDULE_TEST_RESTORE": "off"}
    first = command.having(**every).start("daemon")
    wait_until(lambda: list((tmp_path / "state").glob("daemon-*.json")))
    first.terminate()
    finish(first)
    (state,) = (tmp_path / "state").glob("daemon-*.json")
    state.write_text(json.dumps({"backup": "2020-01-01T00:00:00+00:00"}))
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o700)

    daemon = command.having(**every, BACKUP_HOOK_BEFORE_BACKUP=str(hook)).start("daemon")
    wait_until(lambda: slack.accepted)
    daemon.terminate()

    assert finish(daemon).code == 0
    assert titles(slack) == ["backup of ulasis at db1 FAILED: unexpected error"]
    assert "backup was killed by signal 9" in slack.bodies()[0]
