"""What the daemon remembers of its jobs: which are due by that, and the file that keeps it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ulasis_backup.errors import Busy, SettingsError
from ulasis_backup.events import Notice, Observe
from ulasis_backup.schedule import Job, due_before
from ulasis_backup.statefile import locked, replace_file

TRIES = 3
"""How often a job is begun for one of its times, where it is cut off each time."""
RETRY = timedelta(minutes=10)
SET_UP = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
    errno.ELOOP, errno.ENAMETOOLONG,
}  # fmt: skip
"""Faults of a folder that stay until a person mends them, unlike a disk that is full."""
STATE_HINT = "BACKUP_STATE_DIR names a folder that this user may write to, and that stays"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of one job: ``done`` is when its last run that ended by itself was begun.

    ``begun`` is when a later one was begun that did not, or has not yet; ``tries`` counts those
    for one time of the schedule, and before ``again`` there is no other.
    """

    done: datetime
    begun: datetime | None = None
    tries: int = 0
    again: datetime | None = None


Pasts = Mapping[str, Past]


def due(scheduled: Sequence[Job], pasts: Pasts, moment: datetime) -> tuple[Job, ...]:
    """Return those whose time has come since they were last done, the longest due first.

    A job that was missed several times is due once, and so is one that was cut off. A *past* in
    the future, as after a clock was put back, counts as now.
    """
    found = []
    for job in scheduled:
        before = due_before(job.when, moment).astimezone(UTC)
        if _is_due(pasts[job.name], before, moment.astimezone(UTC)):
            found.append((before, job))
    return tuple(job for _, job in sorted(found, key=lambda pair: pair[0]))


def _is_due(past: Past, before: datetime, moment: datetime) -> bool:
    if before <= min(past.done, moment):
        return False
    if past.begun is None or before > past.begun:
        return True
    return past.tries < TRIES and (past.again is None or past.again <= moment)


def begun(past: Past, job: Job, moment: datetime) -> Past:
    """Return *past* with a run of *job* that begins at *moment*."""
    before = due_before(job.when, moment).astimezone(UTC)
    same = past.begun is not None and past.begun >= before
    return Past(done=past.done, begun=moment.astimezone(UTC), tries=past.tries + 1 if same else 1)


def ended(past: Past) -> Past:
    """Return *past* after the run that was begun ended by itself, well or not."""
    return Past(done=past.begun or past.done)


def cut_off(past: Past, moment: datetime, *, by_us: bool) -> Past:
    """Return *past* after the run that was begun was cut off, *by_us* where we were to stop."""
    tries = past.tries - 1 if by_us else past.tries
    return replace(past, tries=tries, again=moment.astimezone(UTC) + RETRY)


def not_later(pasts: Pasts, moment: datetime) -> dict[str, Past]:
    """Return *pasts* with *moment* for what lies behind it, as after a clock was put back.

    Remembered, it counts from then on: else nothing would be due until that clock comes again.
    """
    now = moment.astimezone(UTC)
    return {
        name: replace(
            past,
            done=min(past.done, now),
            begun=min(past.begun, now) if past.begun else None,
            again=min(past.again, now + RETRY) if past.again else None,
        )
        for name, past in pasts.items()
    }


class Memory:
    """What is remembered of each job, and in the file *path* as far as that can be written."""

    def __init__(self, path: Path, jobs: Sequence[Job], moment: datetime, observe: Observe) -> None:
        self._path = path
        self._observe = observe
        known = _read(path)
        # One that is not known of was not missed.
        first = Past(done=moment.astimezone(UTC))
        self.pasts: dict[str, Past] = {job.name: known.get(job.name, first) for job in jobs}
        self._unwritten = False

    def begin(self) -> None:
        """Write the file; raises SettingsError where the folder is not fit for it."""
        try:
            replace_file(self._path, _text(self.pasts))
        except OSError as error:
            refuse_set_up(self._path, error)
            self._not_written(error)

    def set(self, name: str, past: Past) -> None:
        """Remember *past* of the job *name*; that it cannot be written is said, and no more."""
        self.pasts[name] = past
        self._write()

    def look_at(self, moment: datetime) -> None:
        """Bring what is remembered before *moment*, and write what could not be written."""
        earlier = not_later(self.pasts, moment)
        if earlier != self.pasts:
            self.pasts = earlier
            self._write()
        elif self._unwritten:
            with suppress(OSError):
                replace_file(self._path, _text(self.pasts))
                self._unwritten = False

    def _write(self) -> None:
        try:
            replace_file(self._path, _text(self.pasts))
        except OSError as error:
            self._not_written(error)
        else:
            self._unwritten = False

    def _not_written(self, error: OSError) -> None:
        self._unwritten = True
        message = (
            f"cannot keep {self._path}: {error.strerror}; jobs go on, a restart may repeat some"
        )
        self._observe(Notice(message=message, hint=STATE_HINT))


@contextmanager
def alone(path: Path, observe: Observe) -> Iterator[None]:
    """Be the only daemon that keeps *path* while the block runs.

    Raises Busy where another one is, SettingsError where the folder is not fit for a lock.
    """
    lock = path.with_suffix(".lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, seconds=0))
        except TimeoutError:
            message = f"another daemon keeps this schedule already: it holds {lock}"
            hint = "stop that one, or give this one a BACKUP_STATE_DIR of its own if both are meant"
            raise Busy(message, hint=hint) from None
        except OSError as error:
            refuse_set_up(lock, error)
            message = f"cannot lock {lock}: {error.strerror}; a second daemon would not be noticed"
            observe(Notice(message=message, hint=STATE_HINT))
        yield


def refuse_set_up(path: Path, error: OSError) -> None:
    """Raise SettingsError for an *error* at *path* that only a person can mend."""
    if error.errno in SET_UP:
        message = f"cannot keep {path}: {error.strerror}"
        raise SettingsError(message, hint=STATE_HINT) from None


def _text(pasts: Pasts) -> str:
    document = {
        name: {
            "done": past.done.isoformat(),
            "begun": past.begun.isoformat() if past.begun else None,
            "tries": past.tries,
        }
        for name, past in pasts.items()
    }
    return json.dumps(document)


def _read(path: Path) -> dict[str, Past]:
    """Return what the file holds, as far as it can be read.

    What was begun and has no end there was cut off with the daemon: nothing waits for that.
    """
    found: dict[str, Past] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        for name, entry in json.loads(path.read_text("utf-8")).items():
            # A moment alone, as earlier versions wrote it.
            given = {"done": entry} if isinstance(entry, str) else entry
            begun_at = given.get("begun")
            found[name] = Past(
                done=_moment(given["done"]),
                begun=_moment(begun_at) if begun_at else None,
                tries=int(given.get("tries", 0)),
            )
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
