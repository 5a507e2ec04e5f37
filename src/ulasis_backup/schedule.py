"""Schedules in the words of cron, systemd and the Windows Task Scheduler; pure text.

Everything starts from a cron expression of five fields. Sources of the other formats:
systemd.time(7), systemd.service(5), and the Task Scheduler schema of Windows (1.2).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import PurePath
from xml.sax.saxutils import escape

from cronsim import CronSim, CronSimError

from ulasis_backup.errors import SettingsError

FIELDS = 5
EVERY_DAY, EVERY_WEEKDAY, EVERY_MONTH = set(range(1, 32)), set(range(7)), set(range(1, 13))
MOST_TRIGGERS = 24
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
BEGIN, END = "# ulasis-backup: begin", "# ulasis-backup: end"
REPEATED = timedelta(hours=2)
"""More than any clock is put back by."""
HINT = "five fields: minute hour day month weekday, e.g. `0 2 * * *`"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPECIAL = re.compile(r"[#L]", re.IGNORECASE)
_NAMES = re.compile(
    r"(?i)jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When something is due, as sets: ``weekdays`` from 0, Sunday.

    ``either`` tells that a day of the month or a weekday is enough, as cron has it where both
    are given.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is done again and again: *arguments* of our command, and when (cron)."""

    name: str
    title: str
    arguments: tuple[str, ...]
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a schedule runs.

    ``name`` tells it from others of the same user; ``program`` is the command with its global
    options, ``folder`` where it runs (its ``.env`` lies there), ``log`` the file that its output
    goes to; empty: none. ``writable`` are the folders that it has to write to, ``sockets`` the
    sockets that it has to reach.
    """

    program: tuple[str, ...]
    folder: str
    log: str = ""
    writable: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def called(self, job: Job) -> str:
        """Return what units and tasks of *job* are called."""
        return "-".join(("ulasis-backup", *([self.name] if self.name else []), job.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Our lines of a crontab, from ``begin`` up to ``end``; ``name`` may be empty."""

    name: str
    begin: int
    end: int
    text: str


def parse(expression: str) -> Calendar:
    """Return when *expression*, of cron, is due; raises SettingsError for what cron would not."""
    fields = expression.split()
    special = any(_SPECIAL.search(_NAMES.sub("", text)) for text in fields)
    try:
        if len(fields) != FIELDS or special:
            raise CronSimError  # noqa: TRY301 (one message for all that is wrong)
        found = CronSim(expression, datetime(2024, 1, 1))  # noqa: DTZ001 (only its sets are used)
        next(found)
    except (CronSimError, StopIteration):
        message = f"{expression!r} is no cron expression, or never due"
        raise SettingsError(message, hint=HINT) from None
    return Calendar(
        minutes=frozenset(found.minutes),
        hours=frozenset(found.hours),
        days=frozenset(found.days),
        months=frozenset(found.months),
        weekdays=frozenset(day % 7 for day in found.weekdays if isinstance(day, int)),
        either=not found.day_and,
    )


def due_after(expression: str, moment: datetime) -> datetime:
    """Return when *expression* is next due after *moment*, in its time zone.

    As cron has it: what a change to summer time skips is done at once, what the change back
    repeats is done once, and what is due every hour in each hour.
    """
    parse(expression)
    # Compared in UTC: within one zone Python takes both passes of a repeated hour for the same.
    exact = moment.astimezone(UTC)
    return next(at for at in CronSim(expression, moment) if at.astimezone(UTC) > exact)


def due_before(expression: str, moment: datetime) -> datetime:
    """Return when *expression* was last due, at *moment* or before, in its time zone."""
    parse(expression)
    exact = moment.astimezone(UTC)
    # In a repeated hour what was due in its first pass stands later on the clock than now.
    later = (exact + REPEATED).replace(microsecond=0).astimezone(moment.tzinfo)
    found = CronSim(expression, later, reverse=True)
    return next(at for at in found if at.astimezone(UTC) <= exact)


def _check(place: Place, *, for_units: bool = False) -> None:
    """Raise SettingsError for what would become a line, or a directive, of its own."""
    words = (
        *place.program, place.folder, place.log, *place.writable, *place.sockets,
        *place.environment, *place.environment.values(),
    )  # fmt: skip
    for word in words:
        if _CONTROL.search(word):
            message = f"{word!r} holds a control character, and no schedule can carry that"
            raise SettingsError(message, hint="give the folder, file or option another name")
    # systemd takes a backslash at the end for a line that goes on, and drops blanks there.
    if for_units and re.search(r"[\\\s]\Z", place.folder):
        message = f"systemd cannot work in {place.folder!r}: it ends in a backslash or a blank"
        raise SettingsError(message, hint="give the folder another name, or use --for cron")


# cron


def crontab_block(jobs: Sequence[Job], place: Place) -> str:
    """Return the lines of a crontab that do *jobs*, between two marks."""
    _check(place)
    mark = f"{BEGIN} {place.name}".rstrip()
    lines = [f"{mark} (schedule install writes what is between these marks)"]
    for job in jobs:
        parse(job.when)
        command = (
            f"cd {shlex.quote(place.folder)} && {shlex.join([*place.program, *job.arguments])}"
        )
        if place.log:
            command += f" >> {shlex.quote(place.log)} 2>&1"
        # An unescaped % is the end of a line for cron, also within quotes.
        lines += [f"# {job.title}", f"{' '.join(job.when.split())} " + command.replace("%", r"\%")]
    return "\n".join([*lines, f"{END} {place.name}".rstrip(), ""])


def with_block(crontab: str, block: str, before: Sequence[Block] = ()) -> str:
    """Return *crontab* with *block* at its end, and without what was there *before*."""
    rest = without_blocks(crontab, before)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return rest + block


def without_blocks(crontab: str, gone: Sequence[Block]) -> str:
    """Return *crontab* without the blocks that it found, as ``blocks`` did, and that are *gone*."""
    lines = crontab.splitlines(keepends=True)
    for block in sorted(gone, key=lambda one: one.begin, reverse=True):
        del lines[block.begin : block.end]
    return "".join(lines)


def blocks(crontab: str) -> tuple[Block, ...]:
    """Return our blocks of *crontab*; raises SettingsError where a mark is missing."""
    lines = crontab.splitlines(keepends=True)
    marks = [n for n, line in enumerate(lines) if line.startswith((BEGIN, END))]
    found = []
    for begin, end in zip_longest(marks[::2], marks[1::2]):
        name = _name_in(lines[begin], BEGIN)
        if end is None or name is None or _name_in(lines[end], END) != name:
            message = "the marks of ulasis-backup in the crontab are not as they were written"
            hint = f"`crontab -e`: remove {BEGIN!r} to {END!r} by hand"
            raise SettingsError(message, hint=hint)
        text = "".join(lines[begin : end + 1])
        found.append(Block(name=name, begin=begin, end=end + 1, text=text))
    return tuple(found)


def _name_in(line: str, mark: str) -> str | None:
    if not line.startswith(mark):
        return None
    return line.removeprefix(mark).partition("(")[0].strip()


# systemd


def on_calendar(expression: str) -> tuple[str, ...]:
    """Return *expression* as OnCalendar= values: more than one where cron means either day."""
    found = parse(expression)
    clock = f"{_list(found.hours, range(24))}:{_list(found.minutes, range(60), every='*')}:00"
    months = _list(found.months, range(1, 13))
    every = f"*-{months}-* {clock}"
    by_day = f"*-{months}-{_list(found.days, range(1, 32))} {clock}"
    days = ",".join(WEEKDAYS[day][:3] for day in sorted(found.weekdays))
    any_weekday = found.weekdays == EVERY_WEEKDAY
    if found.either:
        return (by_day, f"{days} {every}")
    return (by_day if any_weekday else f"{days} {by_day}",)


def _list(values: Iterable[int], everything: range, *, every: str = "*") -> str:
    found = sorted(values)
    if found == list(everything):
        return every
    return ",".join(f"{value:02d}" for value in found)


def units(jobs: Sequence[Job], place: Place) -> dict[str, str]:
    """Return the unit files that do *jobs*, by file name: a service and a timer for each."""
    _check(place, for_units=True)
    found: dict[str, str] = {}
    for job in jobs:
        found[f"{place.called(job)}.service"] = _service(job, place)
        found[f"{place.called(job)}.timer"] = _timer(job)
    return found


def _service(job: Job, place: Place) -> str:
    writable = " ".join(_quoted(path) for path in place.writable)
    # A private /tmp would hide a server's socket there.
    private = "no" if any(path.startswith("/tmp/") for path in place.sockets) else "yes"  # noqa: S108
    words = " ".join(_quoted(word, dollar=True) for word in (*place.program, *job.arguments))
    variables = [f"Environment={_quoted(f'{k}={v}')}" for k, v in sorted(place.environment.items())]
    return "\n".join(
        [
            "[Unit]",
            f"Description=ulasis-backup: {job.title}{f' ({place.name})' if place.name else ''}",
            "Documentation=man:systemd.exec(5)",
            "After=network-online.target mariadb.service mysql.service",
            "Wants=network-online.target",
            "",
            "[Service]",
            "Type=oneshot",
            f"WorkingDirectory={_escaped(place.folder)}",
            f"ExecStart={words}",
            *variables,
            # What has not ended after a day hangs: ended, it is told of, and the next one runs.
            "TimeoutStartSec=1d",
            "KillMode=mixed",
            "TimeoutStopSec=5min",
            "Nice=10",
            "UMask=0077",
            "NoNewPrivileges=yes",
            f"PrivateTmp={private}",
            "PrivateDevices=yes",
            "ProtectSystem=strict",
            "ProtectHome=read-only",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "LockPersonality=yes",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "SystemCallArchitectures=native",
            *([f"ReadWritePaths={writable}"] if writable else []),
            "",
        ]
    )


def _timer(job: Job) -> str:
    return "\n".join(
        [
            "[Unit]",
            f"Description=ulasis-backup: when to do: {job.title}",
            "",
            "[Timer]",
            *(f"OnCalendar={moment}" for moment in on_calendar(job.when)),
            "AccuracySec=1min",
            # What was missed while the machine was off is done when it is back.
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str, *, dollar: bool = False) -> str:
    """Return *word* as one argument of a unit file; *dollar* where variables are replaced."""
    text = _escaped(word)
    if dollar:
        text = text.replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Windows


def task_xml(job: Job, place: Place) -> str:
    """Return *job* as a task of the Windows Task Scheduler, to be written as UTF-16.

    Raises SettingsError for an expression that no few triggers say.
    """
    _check(place)
    triggers = "".join(_triggers(parse(job.when), job))
    program, *options = place.program
    arguments = escape(_windows_line([*options, *job.arguments]))
    return (
        '<?xml version="1.0" encoding="UTF-16"?>\n'
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">\n'
        f"  <RegistrationInfo><Description>ulasis-backup: {escape(job.title)}</Description>"
        "</RegistrationInfo>\n"
        f"  <Triggers>\n{triggers}  </Triggers>\n"
        '  <Principals><Principal id="Author"><LogonType>S4U</LogonType>'
        "<RunLevel>LeastPrivilege</RunLevel></Principal></Principals>\n"
        "  <Settings>\n"
        "    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>\n"
        "    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>\n"
        "    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>\n"
        "    <StartWhenAvailable>true</StartWhenAvailable>\n"
        "    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>\n"
        "  </Settings>\n"
        '  <Actions Context="Author">\n'
        f"    <Exec><Command>{escape(program)}</Command><Arguments>{arguments}</Arguments>"
        f"<WorkingDirectory>{escape(place.folder)}</WorkingDirectory></Exec>\n"
        "  </Actions>\n"
        "</Task>\n"
    )


def schtasks_line(job: Job, place: Place, xml: PurePath | str) -> str:
    """Return the command that makes the task of *job* out of the file *xml*."""
    return _windows_line(["schtasks", "/Create", "/TN", place.called(job), "/XML", str(xml), "/F"])


def _windows_line(words: Sequence[str]) -> str:
    """Return *words* as Windows programs take them apart again (CommandLineToArgvW)."""
    return " ".join(_windows_word(word) for word in words)


def _windows_word(word: str) -> str:
    if word and not re.search(r'[\s"]', word):
        return word
    doubled = re.sub(r'(\\*)"', r"\1\1\\" + '"', word)
    return '"' + re.sub(r"(\\+)\Z", r"\1\1", doubled) + '"'


def _triggers(found: Calendar, job: Job) -> Iterator[str]:
    times = [(hour, minute) for hour in sorted(found.hours) for minute in sorted(found.minutes)]
    ways = list(_ways(found))
    if not ways or len(times) > MOST_TRIGGERS:
        message = f"the Task Scheduler has no few words for {job.when!r} ({job.name})"
        raise SettingsError(message, hint="choose certain hours, and days or weekdays")
    for hour, minute in times:
        for way in ways:
            yield (
                f"    <CalendarTrigger><StartBoundary>2024-01-01T{hour:02d}:{minute:02d}:00"
                f"</StartBoundary><Enabled>true</Enabled>{way}</CalendarTrigger>\n"
            )


def _ways(found: Calendar) -> Iterator[str]:
    """Yield the days on which something is due; nothing where the scheduler cannot say it."""
    all_days, all_weekdays = found.days == EVERY_DAY, found.weekdays == EVERY_WEEKDAY
    weekdays = "".join(f"<{WEEKDAYS[day]} />" for day in sorted(found.weekdays))
    days = "".join(f"<Day>{day}</Day>" for day in sorted(found.days))
    months = "".join(f"<{MONTHS[month - 1]} />" for month in sorted(found.months))
    by_month = (
        f"<ScheduleByMonth><Months>{months}</Months><DaysOfMonth>{days}</DaysOfMonth>"
        "</ScheduleByMonth>"
    )
    all_months = found.months == EVERY_MONTH
    if all_days and all_weekdays:
        every_day = "<ScheduleByDay><DaysInterval>1</DaysInterval></ScheduleByDay>"
        yield every_day if all_months else by_month
        return
    if all_weekdays:
        yield by_month
        return
    if (not all_days and not found.either) or not all_months:
        return
    yield (
        f"<ScheduleByWeek><WeeksInterval>1</WeeksInterval><DaysOfWeek>{weekdays}</DaysOfWeek>"
        "</ScheduleByWeek>"
    )
    if not all_days:
        yield by_month
