"""``daemon``: one process that keeps the schedule itself, for containers.

Each job is a run of our own command: what it does to memory, or to itself, ends with it.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from io import BytesIO
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

from ulasis_backup.config import Config
from ulasis_backup.errors import INTERRUPTED, TERMINATED
from ulasis_backup.events import Notice, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.operations.daemon_memory import Memory, alone, begun, cut_off, due, ended
from ulasis_backup.operations.schedule import jobs
from ulasis_backup.schedule import Job, due_after, parse

LONGEST_WAIT = 30.0
"""Seconds after which the clock is looked at again, which may have jumped."""

LOCAL_TIME = Path("/etc/localtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What is to be done: *jobs* by *command*, whose arguments they are, in *zone*.

    ``state`` is the file that remembers when each job was last done, so that what was missed
    while nothing ran, or was cut off, is done once.
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


def next_due(scheduled: Sequence[Job], moment: datetime) -> tuple[datetime, Job]:
    """Return what is due next after *moment*, and when, in its time zone."""
    found = ((due_after(job.when, moment), job) for job in scheduled)
    return min(found, key=lambda pair: pair[0].astimezone(UTC))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What tells the time, in UTC, and waits some seconds or until an event is set."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait: Callable[[threading.Event, float], object] = threading.Event.wait


MACHINE = Clock()


def run(
    daemon: Daemon,
    observe: Observe,
    *,
    idle: Callable[[], None] = lambda: None,
    died: Callable[[Job, str], None] = lambda _job, _why: None,
    clock: Clock = MACHINE,
) -> None:
    """Do the jobs at their times, one after the other, until SIGTERM or SIGINT comes.

    Between them, and while one runs, *idle* is called, at least every LONGEST_WAIT seconds, and
    *died* with a job that could not tell by itself why it ended.

    A signal reaches the job that runs, which rolls back or finishes; then this returns. Raises
    Busy if another daemon keeps this schedule, SettingsError if the state cannot be kept for a
    reason that only a person can mend.
    """

    def here() -> datetime:
        return clock.now().astimezone(daemon.zone)

    with _signals() as stop, alone(daemon.state, observe):
        memory = Memory(daemon.state, daemon.jobs, here(), observe)
        memory.begin()
        _say_next(daemon, here(), observe)
        while not stop.is_set():
            memory.look_at(here())
            for job in due(daemon.jobs, memory.pasts, here()):
                if stop.is_set():
                    break
                past = begun(memory.pasts[job.name], job, here())
                memory.set(job.name, past)
                end = _do(daemon, job, stop, observe, idle=idle)
                by_us = stop.is_set()
                memory.set(
                    job.name, cut_off(past, here(), by_us=by_us) if end.cut_off else ended(past)
                )
                if end.why:
                    died(job, end.why)
                _say_next(daemon, here(), observe)
            if not stop.is_set():
                idle()
            moment, _ = next_due(daemon.jobs, here())
            seconds = moment.astimezone(UTC) - clock.now()
            clock.wait(stop.event, max(0.0, min(LONGEST_WAIT, seconds.total_seconds())))


def _say_next(daemon: Daemon, moment: datetime, observe: Observe) -> None:
    at, job = next_due(daemon.jobs, moment)
    facts = (("job", job.name), ("at", at.isoformat(timespec="minutes")))
    observe(PhaseEnded(name="wait", facts=facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a job ended: cut off or by itself, and ``why`` where it could not say so itself."""

    cut_off: bool
    why: str = ""


def _do(
    daemon: Daemon, job: Job, stop: _Stop, observe: Observe, *, idle: Callable[[], None]
) -> _End:
    """Run *job* to its end."""
    observe(PhaseBegan(name=job.name, subject=" ".join(job.arguments)))
    try:
        # Nobody is there to answer, also where the daemon has a terminal.
        process = subprocess.Popen(
            [*daemon.command, *job.arguments], stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        message = f"{job.name} could not be started: {error.strerror}"
        observe(Notice(message=message))
        return _End(cut_off=True, why=message)
    with stop.forwarded_to(process):
        code = _ended(process, stop, idle)
    observe(PhaseEnded(name=job.name, facts=(("exit_code", code),)))
    if code and not stop.is_set():
        message = f"{job.name} ended with exit code {code}"
        observe(Notice(message=message, hint="its own lines above say why"))
    if stop.is_set() and code == -signal.SIGTERM:
        # It was told to stop before it could listen: nothing had begun, and nobody is to worry.
        return _End(cut_off=True)
    why = f"{job.name} was killed by signal {-code}" if code < 0 else ""
    return _End(cut_off=code < 0 or code in (INTERRUPTED, TERMINATED), why=why)


def _ended(process: subprocess.Popen[bytes], stop: _Stop, idle: Callable[[], None]) -> int:
    """Wait for *process*; a job that hangs must not keep alerts and reminders waiting."""
    while True:
        try:
            return process.wait(LONGEST_WAIT)
        except subprocess.TimeoutExpired:
            if not stop.is_set():
                idle()


class _Stop:
    """A wish to stop, and the process that has to hear of it."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_set: Callable[[], bool] = self.event.is_set

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        self.event.set()
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
