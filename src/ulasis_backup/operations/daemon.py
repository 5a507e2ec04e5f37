"""``daemon``: one process that keeps the schedule itself, for containers.

Each job is a run of our own command: what it does to memory, or to itself, ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

from ulasis_backup.config import Config
from ulasis_backup.errors import SettingsError
from ulasis_backup.events import Notice, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.operations.schedule import jobs
from ulasis_backup.schedule import Job, due_after, due_before, parse
from ulasis_backup.statefile import replace_file

LONGEST_WAIT = 30.0
"""Seconds after which the clock is looked at again, which may have jumped."""

LOCAL_TIME = Path("/etc/localtime")

Moments = dict[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What is to be done: *jobs* by *command*, whose arguments they are, in *zone*.

    ``state`` is the file that remembers when each job was last begun, so that what was missed
    while nothing ran is done once.
    """

    jobs: tuple[Job, ...]
    command: tuple[str, ...]
    zone: tzinfo
    state: Path


def plan_daemon(config: Config) -> Daemon:
    """Return the daemon that the settings ask for. Raises SettingsError."""
    found = jobs(config.settings)
    for job in found:
        parse(job.when)
    return Daemon(
        jobs=found,
        command=(sys.executable, "-m", "ulasis_backup", *config.flags),
        zone=local_zone(),
        # Two daemons of one machine, for two servers or repositories, remember for themselves.
        state=config.state_folder / f"daemon-{config.state_id}.json",
    )


def due(
    scheduled: Sequence[Job], last: Mapping[str, datetime], moment: datetime
) -> tuple[Job, ...]:
    """Return those whose time has come since they were *last* begun, the longest due first.

    A job that was missed several times is due once. A *last* in the future, as after a clock was
    put back, counts as now.
    """
    found = []
    for job in scheduled:
        before = due_before(job.when, moment)
        if before > min(last[job.name], moment):
            found.append((before, job))
    return tuple(job for _, job in sorted(found, key=lambda pair: pair[0]))


def not_later(last: Mapping[str, datetime], moment: datetime) -> Moments:
    """Return *last* with *moment* for what lies behind it, as after a clock was put back.

    Remembered, it counts from then on: else nothing would be due until that clock comes again.
    """
    return {name: min(at, moment) for name, at in last.items()}


def next_due(scheduled: Sequence[Job], moment: datetime) -> tuple[datetime, Job]:
    """Return what is due next after *moment*, and when."""
    return min(((due_after(job.when, moment), job) for job in scheduled), key=lambda pair: pair[0])


def local_zone(local_time: Path = LOCAL_TIME) -> tzinfo:
    """Return the machine's time zone, with its rules for summer time where they can be known."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name and local_time.is_symlink():
        name = str(local_time.resolve()).partition("/zoneinfo/")[2]
    # A zone that ZoneInfo does not know is a KeyError.
    with suppress(OSError, ValueError, KeyError):
        if name and not name.startswith("/"):
            return ZoneInfo(name)
    with suppress(OSError, ValueError):
        # In a container local time is often a file of its own, whose path says nothing.
        is_file = not name or name.startswith("/")
        return _from_file(Path(name or local_time)) if is_file else _from_rule(name)
    return datetime.now(UTC).astimezone().tzinfo or UTC


def _from_file(path: Path) -> ZoneInfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file)


def _from_rule(rule: str) -> ZoneInfo:
    """Return the zone of a POSIX *rule*, e.g. ``CET-1CEST,M3.5.0,M10.5.0/3``; raises ValueError.

    Such a rule stands at the end of every file of a zone (RFC 8536); here nothing is before it.
    """
    nothing = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    nothing += struct.pack(">lbb4s", 0, 0, 0, b"UTC")
    return ZoneInfo.from_file(BytesIO(nothing * 2 + b"\n" + rule.encode() + b"\n"))


def run(
    daemon: Daemon,
    observe: Observe,
    *,
    idle: Callable[[], None] = lambda: None,
    died: Callable[[Job, str], None] = lambda _job, _why: None,
) -> None:
    """Do the jobs at their times, one after the other, until SIGTERM or SIGINT comes.

    Between them *idle* is called, at least every LONGEST_WAIT seconds, and *died* with a job that
    could not tell by itself why it ended.

    A signal reaches the job that runs, which rolls back or finishes; then this returns. Raises
    SettingsError if the state cannot be kept.
    """
    with _signals() as stop:
        last = _read(daemon, datetime.now(daemon.zone))
        _write(daemon.state, last)
        _say_next(daemon, observe)
        while not stop.is_set():
            moment = datetime.now(daemon.zone)
            if last != not_later(last, moment):
                last = not_later(last, moment)
                _write(daemon.state, last)
            for job in due(daemon.jobs, last, moment):
                if stop.is_set():
                    break
                last[job.name] = datetime.now(daemon.zone)
                _write(daemon.state, last)
                why = _do(daemon, job, stop, observe)
                if why:
                    died(job, why)
                _say_next(daemon, observe)
            if not stop.is_set():
                idle()
            moment, _ = next_due(daemon.jobs, datetime.now(daemon.zone))
            seconds = (moment - datetime.now(daemon.zone)).total_seconds()
            stop.wait(max(0.0, min(LONGEST_WAIT, seconds)))


def _say_next(daemon: Daemon, observe: Observe) -> None:
    moment, job = next_due(daemon.jobs, datetime.now(daemon.zone))
    facts = (("job", job.name), ("at", moment.isoformat(timespec="minutes")))
    observe(PhaseEnded(name="wait", facts=facts))


def _do(daemon: Daemon, job: Job, stop: _Stop, observe: Observe) -> str:
    """Run *job*; return why it ended where it could not say so itself, else nothing."""
    observe(PhaseBegan(name=job.name, subject=" ".join(job.arguments)))
    try:
        process = subprocess.Popen([*daemon.command, *job.arguments], start_new_session=True)
    except OSError as error:
        message = f"{job.name} could not be started: {error.strerror}"
        observe(Notice(message=message))
        return message
    with stop.forwarded_to(process):
        code = process.wait()
    observe(PhaseEnded(name=job.name, facts=(("exit_code", code),)))
    if code and not stop.is_set():
        message = f"{job.name} ended with exit code {code}"
        observe(Notice(message=message, hint="its own lines above say why"))
    return f"{job.name} was killed by signal {-code}" if code < 0 else ""


class _Stop:
    """A wish to stop, and the process that has to hear of it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_set: Callable[[], bool] = self._event.is_set
        self.wait: Callable[[float], bool] = self._event.wait

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        self._event.set()
        self._tell()

    @contextmanager
    def forwarded_to(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        self._process = process
        # The signal may have come while the process was being started.
        if self.is_set():
            self._tell()
        try:
            yield
        finally:
            self._process = None

    def _tell(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)


@contextmanager
def _signals() -> Iterator[_Stop]:
    stop = _Stop()
    before = {
        number: signal.signal(number, stop.handle) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read(daemon: Daemon, moment: datetime) -> Moments:
    """Return when each job was last begun; one that is not known of was not missed."""
    found: Moments = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        for name, text in json.loads(daemon.state.read_text("utf-8")).items():
            found[name] = datetime.fromisoformat(text).astimezone(daemon.zone)
    return {job.name: found.get(job.name, moment) for job in daemon.jobs}


def _write(path: Path, last: Moments) -> None:
    text = json.dumps({name: moment.isoformat() for name, moment in last.items()})
    try:
        replace_file(path, text)
    except OSError as error:
        message = f"cannot keep {path}: {error.strerror}"
        hint = "BACKUP_STATE_DIR names a folder that this user may write to, and that stays"
        raise SettingsError(message, hint=hint) from None
