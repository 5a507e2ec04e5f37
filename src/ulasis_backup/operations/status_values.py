"""What ``status`` says, as values: series, storage, and what is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ulasis_backup.estimate import Duration
from ulasis_backup.model import Verdict
from ulasis_backup.operations.leftovers import Leftover


class Level(IntEnum):
    """How bad it is; the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_RANK = {Level.OK: 0, Level.UNKNOWN: 1, Level.WARNING: 2, Level.CRITICAL: 3}
"""What is known to be bad is worse than what is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something open: what, and the next command.

    ``key`` names it for alerts; ``title`` says it in few words without numbers that move, which
    would look like news.
    """

    level: Level
    key: str
    title: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A backup in a status: its name, when it was begun, and what stands about it."""

    name: str
    at: datetime
    verdict: Verdict
    plain_bytes: int
    added_bytes: int
    seconds: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStatus:
    """The state of one series: backups of one server and set of databases.

    ``rpo`` are the seconds since the newest complete backup was begun: what would be lost now.
    ``rto`` is None where no restore was measured. ``sizes`` are the bytes that each backup added,
    oldest first. ``newest_by_method`` is the newest good backup of each method.
    """

    server: str
    databases: tuple[str, ...]
    backups: int
    newest: Known | None
    newest_proven: Known | None
    rpo: float | None
    rto: Duration | None
    verdicts: Mapping[Verdict, int]
    sizes: tuple[int, ...]
    problems: tuple[Problem, ...]
    newest_by_method: tuple[Known, ...] = ()

    @property
    def name(self) -> str:
        """Return how it is called, e.g. ``db1:3306/shop``."""
        return f"{self.server}/{','.join(self.databases)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStatus:
    """What the repository takes, in bytes. ``free`` is None where it cannot be known."""

    place: str
    used: int
    free: int | None
    full_at: datetime | None
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that a tired person has to know. ``next_runs`` are due if a schedule runs.

    ``leftovers`` are what restores keep on the server; None where nobody looked, or could.
    """

    at: datetime
    series: tuple[SeriesStatus, ...]
    storage: StorageStatus
    problems: tuple[Problem, ...]
    next_runs: tuple[tuple[str, datetime], ...]
    leftovers: tuple[Leftover, ...] | None = None

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Return what is open, the worst first."""
        every = (*self.problems, *(p for series in self.series for p in series.problems))
        return tuple(sorted(every, key=lambda problem: -_RANK[problem.level]))

    @property
    def level(self) -> Level:
        """Return the worst level."""
        return max((p.level for p in self.all_problems), key=_RANK.__getitem__, default=Level.OK)
