"""The daemon with a clock that leaps, and jobs that are real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from support.clocks import leaping
from ulasis_backup.errors import Busy, SettingsError
from ulasis_backup.events import Event, Notice, PhaseBegan, PhaseEnded, ignore
from ulasis_backup.operations import daemon as operation
from ulasis_backup.operations.daemon import Daemon, run
from ulasis_backup.operations.daemon_memory import alone
from ulasis_backup.schedule import Job

BEGIN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AT_TWO = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
NIGHTLY = Job(name="backup", title="", arguments=("backup",), when="0 2 * * *")


def daemon_of(folder: Path, script: str, *jobs: Job, zone: str = "UTC") -> Daemon:
    """Return a daemon whose jobs are a *script* of the shell, with the job as ``$0``."""
    return Daemon(
        jobs=jobs or (NIGHTLY,),
        command=("/bin/sh", "-c", f"cd {folder}; {script}"),
        zone=ZoneInfo(zone),
        state=folder / "state/daemon.json",
    )


def lines(folder: Path) -> list[str]:
    file = folder / "done"
    return file.read_text().splitlines() if file.exists() else []


def _notices(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_a_state_that_cannot_be_written_any_more_is_said_and_stops_no_job(tmp_path: Path) -> None:
    events: list[Event] = []

    def lose_the_folder(event: Event) -> None:
        events.append(event)
        if (tmp_path / "state").is_dir():
            shutil.rmtree(tmp_path / "state")
            (tmp_path / "state").write_text("no folder")

    run(
        daemon_of(tmp_path, "echo $0 >> done"), lose_the_folder,
        clock=leaping(BEGIN, AT_TWO, AT_TWO + timedelta(minutes=1)),
    )  # fmt: skip

    assert lines(tmp_path) == ["backup"], "once: it is remembered in memory"
    assert any("cannot keep" in text for text in _notices(events))


def test_a_full_disk_under_the_state_stops_no_daemon(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "state").mkdir()
    with suppress(OSError), (small_disk / "big").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    daemon = Daemon(
        jobs=(NIGHTLY,), command=("/bin/sh", "-c", f"echo $0 >> {tmp_path}/done"), zone=UTC,
        state=small_disk / "state/daemon.json",
    )  # fmt: skip
    events: list[Event] = []

    run(daemon, events.append, clock=leaping(BEGIN, AT_TWO))

    assert lines(tmp_path) == ["backup"]
    assert any("No space left" in text for text in _notices(events))


def test_a_state_folder_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(SettingsError, match="cannot keep"):
        run(daemon_of(tmp_path, "true"), ignore, clock=leaping(BEGIN))


def test_what_could_not_be_written_is_written_once_that_is_possible(tmp_path: Path) -> None:
    away = tmp_path / "away"

    def lose_and_find(event: Event) -> None:
        if isinstance(event, PhaseBegan):
            (tmp_path / "state").rename(away)
            (tmp_path / "state").write_text("no folder")
        if isinstance(event, PhaseEnded) and event.name == "wait" and away.exists():
            (tmp_path / "state").unlink()
            away.rename(tmp_path / "state")

    later = AT_TWO + timedelta(minutes=1)
    run(daemon_of(tmp_path, "true"), lose_and_find, clock=leaping(BEGIN, AT_TWO, later))

    remembered = json.loads((tmp_path / "state/daemon.json").read_text())
    assert remembered["backup"] == {"done": AT_TWO.isoformat(), "begun": None, "tries": 0}


@pytest.mark.parametrize("end", ["kill -9 $$", "kill -15 $$", "exit 143", "exit 130"])
def test_a_job_that_was_cut_off_is_begun_again_and_not_for_ever(end: str, tmp_path: Path) -> None:
    moments = [AT_TWO + timedelta(minutes=11 * number) for number in range(6)]

    run(daemon_of(tmp_path, f"echo $0 >> done; {end}"), ignore, clock=leaping(BEGIN, *moments))

    assert lines(tmp_path) == ["backup"] * 3


def test_a_job_that_failed_by_itself_waits_for_its_next_time(tmp_path: Path) -> None:
    moments = [AT_TWO + timedelta(minutes=11 * number) for number in range(6)]

    run(daemon_of(tmp_path, "echo $0 >> done; exit 11"), ignore, clock=leaping(BEGIN, *moments))

    assert lines(tmp_path) == ["backup"]


def test_what_a_signal_cut_off_is_caught_up_by_the_next_daemon(tmp_path: Path) -> None:
    slow = daemon_of(tmp_path, "trap 'exit 143' TERM; echo begun >> done; sleep 30 & wait")

    def stop(event: Event) -> None:
        if isinstance(event, PhaseBegan):
            threading.Thread(target=_stop_once, args=(lambda: lines(tmp_path),)).start()

    run(slow, stop, clock=leaping(BEGIN, AT_TWO))
    run(
        daemon_of(tmp_path, "echo $0 >> done"), ignore, clock=leaping(AT_TWO + timedelta(minutes=1))
    )

    assert lines(tmp_path) == ["begun", "backup"]


def _stop_once(what: Callable[[], object]) -> None:
    while not what():
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_job_that_hears_of_the_end_before_it_can_listen_is_no_alarm(tmp_path: Path) -> None:
    def stop_at_once(event: Event) -> None:
        if isinstance(event, PhaseBegan):
            os.kill(os.getpid(), signal.SIGTERM)

    deaths: list[str] = []
    run(
        daemon_of(tmp_path, "sleep 30"), stop_at_once, clock=leaping(BEGIN, AT_TWO),
        died=lambda _job, why: deaths.append(why),
    )  # fmt: skip

    assert deaths == []
    assert json.loads((tmp_path / "state/daemon.json").read_text())["backup"]["tries"] == 0


def test_alerts_are_sent_while_a_job_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "LONGEST_WAIT", 0.05)
    during: list[bool] = []

    run(
        daemon_of(tmp_path, "touch runs; sleep 1; rm runs"), ignore, clock=leaping(BEGIN, AT_TWO),
        idle=lambda: during.append((tmp_path / "runs").exists()),
    )  # fmt: skip

    assert any(during)


@contextmanager
def _other_stdin() -> Iterator[None]:
    kept, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, reader, writer):
            os.close(descriptor)


def test_a_job_finds_nobody_to_ask_also_where_the_daemon_has_a_terminal(tmp_path: Path) -> None:
    with _other_stdin():
        run(
            daemon_of(tmp_path, "readlink /proc/$$/fd/0 >> done"), ignore,
            clock=leaping(BEGIN, AT_TWO),
        )  # fmt: skip

    assert lines(tmp_path) == ["/dev/null"]


def test_a_second_daemon_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, "true")
    with alone(daemon.state, ignore), pytest.raises(Busy, match="another daemon"):
        run(daemon, ignore, clock=leaping(BEGIN))

    run(daemon, ignore, clock=leaping(BEGIN))


def test_what_an_earlier_version_remembered_counts(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    before = json.dumps({"backup": "2026-11-24T03:00:00+01:00"})
    (tmp_path / "state/daemon.json").write_text(before)

    run(
        daemon_of(tmp_path, "echo $0 >> done"), ignore,
        clock=leaping(BEGIN, AT_TWO + timedelta(hours=1)),
    )  # fmt: skip

    assert lines(tmp_path) == ["backup"]


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, 21, 50, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 28, 22, 50, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 3, 50, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 3, 8, 4, 50, tzinfo=UTC)),
    ],
)
def test_in_a_night_that_changes_the_clock_each_job_is_done_as_often_as_it_should(
    zone: str, begin: datetime, tmp_path: Path
) -> None:
    hourly = Job(name="verify", title="", arguments=("hourly",), when="0 * * * *")
    nightly = Job(name="backup", title="", arguments=("nightly",), when="30 2 * * *")
    moments = [begin + timedelta(minutes=10 * number) for number in range(6 * 6 + 1)]

    run(
        daemon_of(tmp_path, "echo $0 >> done", hourly, nightly, zone=zone), ignore,
        clock=leaping(*moments),
    )  # fmt: skip

    assert sorted(lines(tmp_path)) == ["hourly"] * 6 + ["nightly"]
