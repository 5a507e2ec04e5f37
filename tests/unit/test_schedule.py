"""Schedules: cron expressions in the words of cron, systemd and Windows."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from support.shelf import context_at
from ulasis_backup import schedule
from ulasis_backup.errors import SettingsError
from ulasis_backup.operations import schedule as operation
from ulasis_backup.operations.schedule_owner import origin, owner
from ulasis_backup.schedule import Job, Place, due_after, due_before, on_calendar, parse

BASE = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
PLACE = Place(
    program=("/opt/ulasis 100%/ulasis-backup", "--config", "/etc/a $b.toml"),
    folder="/srv/it's here",
    log="/var/log/100%.log",
    writable=("/srv/back ups",),
)
JOB = Job(
    name="backup", title="make a backup", arguments=("backup", "--scheduled"), when="0 2 * * *"
)
EXPRESSIONS = (
    "0 2 * * *", "*/15 * * * *", "30 4 1,15 * 5", "0 3 * * 0", "0 3 * * 7", "5 0 * 8 *",
    "0 22 * * 1-5", "0 0 1 1 *", "0 4 8-14 * *", "59 23 31 12 *", "0 0 */2 * 1",
)  # fmt: skip
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def _systemd_next(values: tuple[str, ...], count: int) -> list[datetime]:
    """Return the next *count* times of several OnCalendar= values, as systemd sees them."""
    found = set()
    for value in values:
        done = subprocess.run(
            ["systemd-analyze", "calendar", f"--iterations={count}",
             f"--base-time={BASE:%Y-%m-%d %H:%M:%S} UTC", value],
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            _, colon, text = line.partition(": ")
            if colon and text.endswith(" UTC") and ("Next elapse" in line or "Iter" in line):
                found.add(datetime.strptime(text[4:-4], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
    return sorted(found)[:count]


@needs_systemd
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_systemd_is_due_when_cron_is(expression: str) -> None:
    wanted = CronSim(expression, BASE)
    expected = [next(wanted) for _ in range(6)]

    assert _systemd_next(on_calendar(expression), 6) == expected


@needs_systemd
@settings(max_examples=25, deadline=None)
@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    days=st.sampled_from(["*", "1", "1-7", "10,20,30", "*/3"]),
    month=st.sampled_from(["*", "1", "2,6", "*/4"]),
    weekday=st.sampled_from(["*", "0", "1-5", "6,7", "WED"]),
)
def test_any_expression_means_the_same_to_systemd(
    *, minute: int, hour: int, days: str, month: str, weekday: str
) -> None:
    expression = f"{minute} {hour} {days} {month} {weekday}"
    wanted = CronSim(expression, BASE)
    expected = [next(wanted) for _ in range(3)]

    assert _systemd_next(on_calendar(expression), 3) == expected


@pytest.mark.parametrize(
    "expression", ["", "0 2 * *", "61 2 * * *", "0 2 * * 1#2", "0 2 L * *", "0 0 30 2 *", "@daily"]
)
def test_what_is_no_cron_expression_is_refused(expression: str) -> None:
    with pytest.raises(SettingsError, match="no cron expression") as raised:
        parse(expression)

    assert "0 2 * * *" in raised.value.hint


def test_a_time_that_summer_time_skips_is_due_all_the_same_and_a_repeated_one_once() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    skipped = due_after("30 2 * * *", datetime(2026, 3, 28, 12, 0, tzinfo=berlin))
    first = due_after("30 2 * * *", datetime(2026, 10, 24, 12, 0, tzinfo=berlin))
    second = due_after("30 2 * * *", first)

    assert skipped.date().isoformat() == "2026-03-29"
    assert first.date().isoformat() == "2026-10-25"
    assert second.date().isoformat() == "2026-10-26"


def test_a_line_of_the_crontab_runs_the_command_in_its_folder() -> None:
    line = schedule.crontab_block([JOB], PLACE).splitlines()[2]

    assert line.startswith("0 2 * * * cd ")
    command = line.removeprefix("0 2 * * * ")
    # cron: an escaped % is a %, a bare one would end the command.
    assert "%" not in command.replace(r"\%", "")
    words = shlex.split(command.replace(r"\%", "%"))
    assert words == [
        "cd", "/srv/it's here", "&&", "/opt/ulasis 100%/ulasis-backup", "--config",
        "/etc/a $b.toml", "backup", "--scheduled", ">>", "/var/log/100%.log", "2>&1",
    ]  # fmt: skip


def test_other_lines_of_a_crontab_stay_as_they_are() -> None:
    others = "MAILTO=me\n* * * * * true\n# no newline at the end"
    once = schedule.with_block(others, schedule.crontab_block([JOB], PLACE))
    later = Job(name="backup", title="later", arguments=("backup",), when="0 5 * * *")
    again = schedule.crontab_block([later], PLACE)
    twice = schedule.with_block(once, again, schedule.blocks(once))

    assert twice.startswith(others + "\n")
    assert "0 2 * * *" not in twice
    assert twice.count(schedule.BEGIN) == 1
    assert schedule.without_blocks(twice, schedule.blocks(twice)) == others + "\n"


def test_a_crontab_with_a_mark_missing_is_left_alone() -> None:
    broken = schedule.crontab_block([JOB], PLACE).replace(schedule.END, "# something else")

    with pytest.raises(SettingsError, match="marks"):
        schedule.blocks(broken)


@needs_systemd
def test_units_are_good_to_systemd(tmp_path: Path) -> None:
    program = Path(sys.executable)
    place = Place(
        program=(str(program), "-m", "ulasis 100% $HOME"),
        folder=str(tmp_path),
        writable=(str(tmp_path / "back ups"), f"-{tmp_path / 'my state'}"),
        sockets=("/tmp/mysql.sock",),
    )
    files = schedule.units([JOB], place)
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "ulasis" in line]

    assert not ours, done.stderr
    assert done.returncode == 0
    service = files["ulasis-backup-backup.service"]
    assert '"ulasis 100%% $$HOME" backup --scheduled' in service
    assert "PrivateTmp=no" in service
    assert "Persistent=true" in files["ulasis-backup-backup.timer"]


@pytest.mark.parametrize(
    ("expression", "ways"),
    [
        ("0 2 * * *", {"ScheduleByDay"}),
        ("0 3 * * 0", {"ScheduleByWeek"}),
        ("0 4 1 * *", {"ScheduleByMonth"}),
        ("0 4 1 * 5", {"ScheduleByWeek", "ScheduleByMonth"}),
    ],
)
def test_a_task_of_windows_has_the_triggers(expression: str, ways: set[str]) -> None:
    job = Job(name="x", title="a & b", arguments=("verify-all",), when=expression)
    text = schedule.task_xml(job, PLACE)
    # Our own text, and no entity in it.
    tree = ET.fromstring(text.encode("utf-16"))  # noqa: S314
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}

    assert {name for name in names if name.startswith("ScheduleBy")} == ways
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert tree.findtext(f".//{space}Command") == PLACE.program[0]
    assert tree.findtext(f".//{space}Arguments") == '--config "/etc/a $b.toml" verify-all'


def test_what_windows_cannot_say_is_refused() -> None:
    for expression in ("*/5 * * * *", "0 3 * 2 1", "0 3 */2 * */2"):
        job = Job(name="x", title="x", arguments=(), when=expression)
        with pytest.raises(SettingsError, match="Task Scheduler"):
            schedule.task_xml(job, PLACE)


def test_words_of_a_windows_command_keep_quotes_and_backslashes() -> None:
    line = schedule.schtasks_line(JOB, PLACE, 'C:\\my "tasks\\')

    assert line == r'schtasks /Create /TN ulasis-backup-backup /XML "C:\my \"tasks\\" /F'


def test_units_may_write_the_metrics_file_where_there_is_one(tmp_path: Path) -> None:
    for file, wanted in ((None, False), (tmp_path / "collector/ulasis.prom", True)):
        config = context_at(tmp_path, backup_metrics_file=file).config
        whose = owner(config, folder=str(tmp_path), name="shop")
        found = operation.plan(config, operation.System.SYSTEMD, whose)
        text = found.files["ulasis-backup-shop-backup.service"]
        (line,) = [line for line in text.splitlines() if line.startswith("ReadWritePaths=")]
        assert (f"-{tmp_path}/collector" in line) == wanted


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def _between(expression: str, zone: str, begin: str, end: str) -> list[str]:
    """Return what is due after *begin* until *end*, in UTC."""
    moment = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    found: list[str] = []
    while True:
        moment = due_after(expression, moment.astimezone(ZoneInfo(zone))).astimezone(UTC)
        if moment > datetime.fromisoformat(end).replace(tzinfo=UTC):
            return found
        found.append(f"{moment:%d %H:%M}")


@pytest.mark.parametrize(
    ("zone", "expression", "begin", "end", "due"),
    [
        (BERLIN, "30 2 * * *", "2026-10-24 12:00", "2026-10-26 02:00", ["25 00:30", "26 01:30"]),
        (BERLIN, "30 2 * * *", "2026-03-28 12:00", "2026-03-30 02:00", ["29 01:00", "30 00:30"]),
        (BERLIN, "0 * * * *", "2026-10-24 23:30", "2026-10-25 03:00",
         ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]),
        (BERLIN, "0 * * * *", "2026-03-28 23:30", "2026-03-29 02:00",
         ["29 00:00", "29 01:00", "29 02:00"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31 12:00", "2026-11-02 12:00", ["01 05:30", "02 06:30"]),
        (NEW_YORK, "30 2 * * *", "2026-03-07 12:00", "2026-03-09 12:00", ["08 07:00", "09 06:30"]),
        (NEW_YORK, "0 * * * *", "2026-11-01 04:30", "2026-11-01 07:00",
         ["01 05:00", "01 06:00", "01 07:00"]),
    ],
)  # fmt: skip
def test_both_changes_of_the_clock_neither_repeat_a_job_nor_leave_one_out(
    *, zone: str, expression: str, begin: str, end: str, due: list[str]
) -> None:
    assert _between(expression, zone, begin, end) == due


@given(
    minutes=st.integers(0, 3 * 60),
    change=st.sampled_from(
        [
            (BERLIN, datetime(2026, 3, 29, 0, 0, tzinfo=UTC)),
            (BERLIN, datetime(2026, 10, 25, 0, 0, tzinfo=UTC)),
            (NEW_YORK, datetime(2026, 3, 8, 6, 0, tzinfo=UTC)),
            (NEW_YORK, datetime(2026, 11, 1, 5, 0, tzinfo=UTC)),
            ("Australia/Lord_Howe", datetime(2026, 4, 4, 14, 0, tzinfo=UTC)),
        ]
    ),
    when=st.sampled_from(
        [
            "30 2 * * *",
            "30 1 * * *",
            "0,30 1,2,3 * * *",
            "0 * * * *",
            "*/15 * * * *",
            "*/20 1,2 * * *",
        ]
    ),
)
def test_before_and_after_meet_at_any_moment_of_a_change(
    *, minutes: int, change: tuple[str, datetime], when: str
) -> None:
    zone, begin = change
    moment = begin + timedelta(minutes=minutes, seconds=20)
    before = due_before(when, moment.astimezone(ZoneInfo(zone)))
    after = due_after(when, moment.astimezone(ZoneInfo(zone)))

    assert before.astimezone(UTC) <= moment < after.astimezone(UTC)
    assert due_after(when, before).astimezone(UTC) == after.astimezone(UTC)
    assert due_before(when, after).astimezone(UTC) == after.astimezone(UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"folder": "/srv/a\nExecStartPre=/bin/evil"},
        {"program": ("/opt/ulasis-backup", "--database", "a\n* * * * * evil")},
        {"log": "/var/log/a\r.log"},
        {"writable": ("/srv/a\x85b",)},
        {"environment": {"A": "b\nUser=root"}},
    ],
)
def test_a_control_character_is_refused_by_every_system(change: dict[str, Any]) -> None:
    place = replace(PLACE, **change)

    for made in (
        lambda: schedule.crontab_block([JOB], place),
        lambda: schedule.units([JOB], place),
        lambda: schedule.task_xml(JOB, place),
    ):
        with pytest.raises(SettingsError, match="control character"):
            made()


def test_a_folder_that_would_swallow_the_next_line_of_a_unit_is_refused() -> None:
    for folder in ("/srv/back\\", "/srv/blank "):
        with pytest.raises(SettingsError, match="systemd cannot work in"):
            schedule.units([JOB], replace(PLACE, folder=folder))

    assert "back\\' && " in schedule.crontab_block([JOB], replace(PLACE, folder="/srv/back\\"))
    schedule.task_xml(JOB, replace(PLACE, folder="D:\\"))


def test_a_repository_that_is_gone_does_not_keep_a_unit_from_starting(tmp_path: Path) -> None:
    config = context_at(tmp_path, backup_dir=tmp_path / "gone").config
    whose = owner(config, folder=str(tmp_path), name="shop")
    text = operation.plan(config, operation.System.SYSTEMD, whose).files[
        "ulasis-backup-shop-backup.service"
    ]

    assert f"ReadWritePaths=-{tmp_path}/gone " in text


def test_a_job_of_systemd_that_hangs_is_ended_after_a_day() -> None:
    assert "\nTimeoutStartSec=1d\n" in schedule.units([JOB], PLACE)["ulasis-backup-backup.service"]


def test_blocks_of_a_crontab_go_one_by_one() -> None:
    crontab = "1 1 * * * mine\n"
    for name in ("shop", "", "blog"):
        crontab = schedule.with_block(
            crontab, schedule.crontab_block([JOB], replace(PLACE, name=name))
        )
    found = schedule.blocks(crontab)

    assert [block.name for block in found] == ["shop", "", "blog"]
    left = schedule.without_blocks(crontab, [found[0], found[2]])
    assert [block.name for block in schedule.blocks(left)] == [""]
    assert schedule.without_blocks(left, schedule.blocks(left)) == "1 1 * * * mine\n"


@pytest.mark.parametrize(
    "breaks", [(schedule.END, "# x"), (" shop", " blog"), (schedule.BEGIN, "#")]
)
def test_marks_that_do_not_pair_are_an_error(breaks: tuple[str, str]) -> None:
    block = schedule.crontab_block([JOB], replace(PLACE, name="shop"))

    with pytest.raises(SettingsError, match="marks"):
        schedule.blocks(block.replace(*breaks, 1))


def test_where_a_schedule_runs_and_with_which_options_is_read_from_what_was_installed() -> None:
    place = replace(
        PLACE, program=("/opt/python", "-m", "ulasis_backup", "--config", "/etc/a $b 5%.toml")
    )
    expected = ("/srv/it's here", ("--config", "/etc/a $b 5%.toml"))

    assert origin(schedule.crontab_block([JOB], place)) == expected
    assert origin(schedule.units([JOB], place)["ulasis-backup-backup.service"]) == expected
    bare = replace(PLACE, program=("/opt/ulasis-backup",))
    assert origin(schedule.crontab_block([JOB], bare)) == ("/srv/it's here", ())
    assert origin("# nothing of the kind\n* * * * * 'odd") is None
