"""How the last run of each operation on this machine ended, for metrics: kept in the state folder.

It is written after every run and may be lost without harm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic

from ulasis_backup.config import Config
from ulasis_backup.events import Event, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.statefile import replace_file

MOST_POINTS = 60
"""Runs of which it is remembered what the repository took: two months of nights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: when it ended (ISO 8601), how, and the seconds of it and of each phase."""

    at: str
    exit_code: int
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    succeeded_at: str = ""


class Timings:
    """Adds up the seconds of each phase that an operation tells of."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def watching(self, observe: Observe) -> Observe:
        """Return *observe*, with us listening."""

        def watch(event: Event) -> None:
            if isinstance(event, PhaseBegan):
                self._begun[event.name] = monotonic()
            elif isinstance(event, PhaseEnded) and event.name in self._begun:
                passed = monotonic() - self._begun.pop(event.name)
                self.seconds[event.name] = self.seconds.get(event.name, 0.0) + passed
            observe(event)

        return watch


def note_run(
    config: Config,
    operation: str,
    *,
    ended: datetime,
    exit_code: int,
    seconds: float,
    phases: Mapping[str, float],
    good: bool,
) -> None:
    """Remember how a run ended, as far as that can be written; *good* tells of a success."""
    path = _path(config)
    found = last_runs(config)
    before = found.get(operation)
    at = ended.isoformat()
    kept = before.succeeded_at if before else ""
    found[operation] = RunRecord(
        at=at, exit_code=exit_code, seconds=seconds, phases=phases,
        succeeded_at=at if good else kept,
    )  # fmt: skip
    _write(path, json.dumps({name: asdict(record) for name, record in found.items()}))


def last_runs(config: Config) -> dict[str, RunRecord]:
    """Return the last run of each operation, as far as it is remembered."""
    found: dict[str, RunRecord] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        for name, body in json.loads(_path(config).read_text("utf-8")).items():
            found[name] = RunRecord(**body)
    return found


def note_used(config: Config, at: datetime, used: int) -> None:
    """Remember how many bytes the repository took *at* that moment, as far as it can be written."""
    course = [*used_over_time(config), (at, used)][-MOST_POINTS:]
    _write(_used_path(config), json.dumps([[when.isoformat(), size] for when, size in course]))


def used_over_time(config: Config) -> tuple[tuple[datetime, int], ...]:
    """Return how many bytes the repository took, oldest first, as far as this machine knows."""
    with suppress(OSError, ValueError, TypeError):
        points = json.loads(_used_path(config).read_text("utf-8"))
        return tuple((datetime.fromisoformat(when), int(size)) for when, size in points)
    return ()


def _write(path: Path, text: str) -> None:
    with suppress(OSError):
        replace_file(path, text)


def _used_path(config: Config) -> Path:
    return config.state_folder / f"used-{config.state_id}.json"


def _path(config: Config) -> Path:
    return config.state_folder / f"runs-{config.state_id}.json"
