"""Hooks, ping and alerts around backups and restores of a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.receivers import receiver
from support.server import Command, make_orders
from ulasis_backup.mysql.server import Server

pytestmark = pytest.mark.server


def test_a_backup_fails_recovers_and_is_made_although_its_after_hook_fails(
    command: Command, server: Server, database: str, tmp_path: Path
) -> None:
    make_orders(server, database, rows=20)
    hook = tmp_path / "after"
    hook.write_text(
        '#!/bin/sh\necho "$ULASIS_STATUS $ULASIS_BACKUP" >> told\nexit "$HOOK_STATUS"\n'
    )
    hook.chmod(0o700)
    with receiver() as slack, receiver() as ping:
        told = command.having(
            BACKUP_STATE_DIR=str(tmp_path / "state"), BACKUP_SERVER_NAME="db1",
            SLACK_WEBHOOK_URL=slack.url, BACKUP_PING_URL=f"{ping.url}/uuid",
            BACKUP_HOOK_AFTER_BACKUP=str(hook), HOOK_STATUS="0",
        )  # fmt: skip
        down = told.having(DB_SOCKET=str(tmp_path / "nobody"))
        codes = [
            down.run("backup").code,
            told.run("backup").code,
            told.having(HOOK_STATUS="4").run("backup").code,
            told.run("backup").code,
            told.run("restore", "latest", "--yes", "--dry-run").code,
            told.run("restore", "no-such-backup", "--yes").code,
        ]

    made = [entry["backup"] for entry in command.ok("list")["backups"]]
    assert codes == [11, 0, 61, 0, 0, 31]
    assert (tmp_path / "told").read_text().split() == [
        "failed", "ok", made[0], "ok", made[1], "ok", made[2],
    ]  # fmt: skip
    assert ping.paths() == [
        "/uuid/start", "/uuid/fail", *["/uuid/start", "/uuid"] * 3,
    ]  # fmt: skip
    titles = [json.loads(body)["text"].splitlines()[0] for body in slack.bodies()]
    subject = f"backup of {database} at db1"
    expected = [
        f"{subject} FAILED: server unreachable",
        f"over: {subject} FAILED: server unreachable",
        f"{subject} needs a look: follow up failed",
        f"over: {subject} needs a look: follow up failed",
        f"restore of {database} at db1 FAILED: backup not found",
    ]
    assert len(titles) == len(expected)
    assert all(wanted in title for wanted, title in zip(expected, titles, strict=True))
    assert (
        "the backup is made, but BACKUP_HOOK_AFTER_BACKUP ended with status 4" in slack.bodies()[2]
    )
