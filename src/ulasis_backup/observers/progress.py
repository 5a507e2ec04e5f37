"""Progress on a terminal: bytes, rate, time left. Elsewhere there are only log lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from ulasis_backup.events import BytesMoved, Event, Notice, Observe, PhaseBegan, PhaseEnded
from ulasis_backup.model import printable


class _Bars:
    """One bar a phase."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._task: TaskID | None = None

    def observe(self, event: Event) -> None:
        """Show *event*."""
        if isinstance(event, PhaseBegan):
            self._end()
            title = f"{event.name} {event.subject}".strip()
            self._task = self._progress.add_task(
                escape(printable(title)), total=event.total or None
            )
        elif isinstance(event, BytesMoved) and self._task is not None:
            self._progress.update(self._task, completed=event.done)
        elif isinstance(event, PhaseEnded):
            self._end()
        elif isinstance(event, Notice):
            self._console.print(Text(printable(f"warning: {event.message}"), style="yellow"))
            if event.hint:
                self._console.print(Text(printable(f"   HINT: {event.hint}")))

    def _end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


@contextmanager
def progress_bars(console: Console) -> Iterator[Observe]:
    """Show bars on *console*, which must be a terminal, for as long as the context lasts."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(compact=True), console=console, transient=True, refresh_per_second=5,
    )  # fmt: skip
    with progress:
        yield _Bars(progress, console).observe
