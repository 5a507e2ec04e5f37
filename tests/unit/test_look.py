"""What the daemon tells of between its jobs: a backup that is too old ends no run."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from support.manifests import KEY, Wanted, put_backup
from support.receivers import receiver
from support.shelf import context_at
from ulasis_backup.cli.runs import look
from ulasis_backup.cli.session import Session
from ulasis_backup.observers import notify
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.local import LocalStorage


def test_a_backup_that_is_too_old_is_told_of_once_and_again_when_it_is_over(tmp_path: Path) -> None:
    with receiver() as hook:
        folder = tmp_path / "backups"
        config = context_at(
            tmp_path, backup_dir=folder, slack_webhook_url=SecretStr(hook.url)
        ).config
        shelf = Repository(LocalStorage(folder), KEY)
        put_backup(shelf, Wanted(key=KEY, days=-400))
        alerts, session = notify.alerts_of(config), Session()

        first, second = look(config, alerts, session), look(config, alerts, session)

        bodies = list(hook.bodies())
        assert (first.problems, second.problems) == ((), ())
        told = [body for body in bodies if "is too old" in body]
        assert len(told) == 1
        assert "ulasis-backup backup" in told[0]
        put_backup(shelf, Wanted(key=KEY, days=4000))
        look(config, alerts, session)
        assert any("over: " in body and "is too old" in body for body in hook.bodies())
