"""What a run keeps beside the audit log: who is gone, what is remembered, what waits."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.auditing import body
from ulasis_backup.config import read_config
from ulasis_backup.operations.audit import moment_of
from ulasis_backup.operations.auditing import Journal, is_gone, this_process, who_runs
from ulasis_backup.repository import audit
from ulasis_backup.repository.auditfile import Event, Head, OpenRun, Process
from ulasis_backup.repository.repository import Repository, ensure
from ulasis_backup.storage.local import LocalStorage

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LONGEST = timedelta(hours=48)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    settings = {
        "BACKUP_DIR": str(tmp_path / "b"), "BACKUP_STATE_DIR": str(tmp_path / "s"),
        "BACKUP_AUDIT_HOST": "db1",
    }  # fmt: skip
    config = read_config(flags={}, environment=settings, folder=tmp_path)
    return Journal(config, Repository(LocalStorage(tmp_path / "b"), None))


def _run(process: Process, at: datetime = NOW) -> OpenRun:
    return OpenRun(run="r", seq=1, command="prune", at=at.isoformat(), process=process)


def _gone(process: Process, at: datetime = NOW) -> bool:
    return is_gone(_run(process, at), this_process(), NOW, longest=LONGEST)


def test_who_lives_is_not_gone_and_who_took_the_number_is_somebody_else() -> None:
    here = this_process()

    assert not _gone(here)
    assert _gone(replace(here, started="1"))
    assert _gone(replace(here, boot="another boot"))


def test_a_process_that_ended_is_gone_also_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                             stdin=subprocess.PIPE)  # fmt: skip
    said = Path(f"/proc/{child.pid}/stat").read_bytes().rpartition(b")")[2].split()
    there = replace(this_process(), pid=child.pid, started=said[19].decode())
    assert not _gone(there)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert _gone(there)
    child.communicate()
    assert _gone(there)


def test_who_cannot_be_seen_is_believed_to_live_for_as_long_as_a_run_may_take() -> None:
    elsewhere = replace(this_process(), space="pid:[1]", started="1")

    assert not _gone(elsewhere, NOW - timedelta(hours=47))
    assert _gone(elsewhere, NOW - timedelta(hours=49))
    assert not _gone(Process(pid=1), NOW)


def test_what_is_remembered_goes_on_and_back_only_after_a_loss(journal: Journal) -> None:
    ensure(journal.repository)
    writer = journal.writer()
    first = audit.append(writer, body(Event.ENDED, "a"), journal.memory())
    assert first
    second = audit.append(writer, body(Event.ENDED, "b"), first.memory)
    assert second
    before = journal.memory()
    assert journal.remember(second, before) == ""
    # A slower process comes later with an earlier entry.
    journal.remember(first, before)

    assert journal.memory() == second.memory
    journal.remember(first, second.memory)
    assert journal.memory() == first.memory
    assert first.memory.head == Head(seq=2, digest=first.entry.digest)


def test_what_waits_is_stored_in_its_order_before_what_comes_now(journal: Journal) -> None:
    assert journal.tell(body(Event.BEGAN, "a")).problem == ""
    assert journal.tell(body(Event.ENDED, "a")).problem == ""
    assert len(journal.waiting()) == 2
    assert {path.stat().st_mode & 0o777 for path in journal.waiting()} == {0o600}
    assert not Path(journal.repository.storage.place).exists()
    ensure(journal.repository)
    told = journal.tell(body(Event.ENDED, "b"))
    keys = audit.Keys(journal.repository)
    said = [
        keys.body_of(entry)
        for seq in (2, 3, 4)
        if (entry := audit.read_entry(journal.repository.storage, "db1", seq))
    ]

    assert [(one.run, one.event, one.late) for one in said] == [
        ("a", Event.BEGAN, True), ("a", Event.ENDED, True), ("b", Event.ENDED, False),
    ]  # fmt: skip
    assert journal.waiting() == ()
    assert told.anchor
    assert told.anchor.seq == 4


def test_a_spooled_file_that_is_damaged_keeps_the_others_from_nothing(journal: Journal) -> None:
    journal.tell(body(Event.ENDED, "a"))
    (journal.spool / "00-damaged.json").write_text("{")
    ensure(journal.repository)
    journal.tell(body(Event.ENDED, "b"))

    assert audit.numbers_of(journal.repository.storage, "db1") == [1, 2, 3]
    assert [path.name for path in journal.waiting()] == ["00-damaged.json"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("12h", NOW - timedelta(hours=12)),
        ("2026-11-01T02:00Z", datetime(2026, 11, 1, 2, tzinfo=UTC)),
        ("999999999d", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_so_long_ago(text: str, moment: datetime) -> None:
    assert moment_of(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "d", "-1d", "yesterday", "٣d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        moment_of(text, NOW)


def test_it_is_known_who_runs() -> None:
    assert who_runs().uid == os.getuid()
