"""A fault of ours in the status: a monitor hears UNKNOWN, and no alert is lost with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.receivers import receiver
from support.server import Command

FAULT = """
import cronsim

def fail(_self):
    raise KeyError("a fault")

cronsim.CronSim.advance = fail
"""


@pytest.fixture
def faulty(command: Command, tmp_path: Path) -> Command:
    """Return the command with a fault in what tells when a job is next due."""
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault/sitecustomize.py").write_text(FAULT)
    return command.having(PYTHONPATH=str(tmp_path / "fault"))


def test_a_monitor_takes_a_fault_for_unknown_and_a_person_reads_what_to_do(faulty: Command) -> None:
    nagios = faulty.run("status", "--nagios", "--no-server")
    screen = faulty.run("status", "--no-server")

    assert (nagios.code, screen.code) == (3, 3)
    assert nagios.out.startswith("ULASIS UNKNOWN - unexpected KeyError")
    assert "unexpected KeyError" in screen.err
    assert "ULASIS_BACKUP_TRACEBACK" in screen.err


def test_a_fault_in_the_status_costs_neither_the_alert_of_the_run_nor_the_ping(
    faulty: Command,
) -> None:
    with receiver() as slack, receiver() as ping:
        done = faulty.having(
            SLACK_WEBHOOK_URL=f"{slack.url}/TOKEN", BACKUP_PING_URL=f"{ping.url}/uuid",
            BACKUP_HOOK_AFTER_BACKUP="exit 7", BACKUP_SCHEDULE_VERIFY="off",
        ).run("backup")  # fmt: skip

        assert done.code == 61, done.said
        assert "unexpected KeyError in the status" in done.err
        assert any("needs a look" in body for body in slack.bodies())
        assert ping.paths() == ["/uuid/start", "/uuid"]


def test_a_posix_rule_in_tz_is_no_fault(command: Command) -> None:
    done = command.having(TZ="CET-1CEST,M3.5.0,M10.5.0/3").run("status", "--nagios", "--no-server")

    assert done.code == 2
    assert "there is no good backup" in done.out


def test_a_fault_while_alerts_are_sent_does_not_cost_the_ping(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from ulasis_backup.observers import notify\n\n"
        "def fail(*_, **__):\n    raise KeyError('a fault')\n\n"
        "notify.report = fail\n"
    )
    with receiver() as ping:
        done = command.having(
            PYTHONPATH=str(tmp_path), BACKUP_PING_URL=f"{ping.url}/uuid", DB_SOCKET="/nowhere"
        ).run("backup")

        assert done.code == 11, done.said
        assert "unexpected KeyError after the run" in done.err
        assert ping.paths() == ["/uuid/start", "/uuid/fail"]
