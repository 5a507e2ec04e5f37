"""One run of the command: its global options, its output, its observers."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ulasis_backup.model import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ulasis_backup.cli.auditing import Recording
    from ulasis_backup.cli.runs import Run
    from ulasis_backup.config import Config
    from ulasis_backup.events import Observe
    from ulasis_backup.model import AuditAnchor
    from ulasis_backup.operations.context import Context

_COMMAND = re.compile(r"`ulasis-backup (?!-)")
_LAST: list[Session] = []


@dataclass(slots=True, kw_only=True)
class Session:
    """What the global options asked for. Heavy imports wait until a command needs them."""

    flags: Mapping[str, str | None] = field(default_factory=dict)
    config_file: Path | None = None
    json: bool = False
    verbosity: int = 0
    json_log: bool = False
    running: Run | None = None
    recording: Recording | None = None

    def __post_init__(self) -> None:
        _LAST[:] = [self]

    def override(self, **settings: str | None) -> None:
        """Let options of a command stand above the environment; None is an option not given."""
        self.flags = {**self.flags, **{k: v for k, v in settings.items() if v is not None}}

    def config(self) -> Config:
        """Read the settings."""
        from ulasis_backup.config import exposed_sources, read_config  # noqa: PLC0415

        config = read_config(flags=self.flags, config_file=self.config_file)
        self._configure_log(config.settings.backup_log_format)
        for name in exposed_sources(config):
            self.warn(f"{name} can be read by every user of this machine", f"chmod 600 {name}")
        return config

    @contextmanager
    def context(self, *, recorded: str = "", briefly: bool = False) -> Iterator[Context]:
        """Put together what the operations need, with log lines or progress bars listening.

        *recorded* is how the audit log calls the command; see ``record``.
        """
        config = self.config()
        if recorded:
            self.record(recorded, config, briefly=briefly)
        with self._world(config, lambda observe: observe) as world:
            yield world

    @contextmanager
    def run(self, operation: str) -> Iterator[Context]:
        """Do the same for *operation*, which hooks, the dead-man's ping and alerts accompany.

        The audit log tells of it first. What comes after it happens in ``end``, when the exit code
        is known.
        """
        from ulasis_backup.cli.runs import Run  # noqa: PLC0415

        config = self.config()
        self.record(operation, config)
        self.running = Run(operation, config, at_terminal=self.may_ask())
        self.running.begin()
        with self._world(config, self.running.watching) as world:
            yield world

    def record(self, command: str, config: Config | None = None, *, briefly: bool = False) -> None:
        """Let the audit log tell of *command*: now and when it ends, or *briefly* at its end.

        Raises SettingsError where the settings cannot be used.
        """
        from ulasis_backup.cli.auditing import recording  # noqa: PLC0415
        from ulasis_backup.config import read_config  # noqa: PLC0415

        config = config or read_config(flags=self.flags, config_file=self.config_file)
        self.recording = recording(command, config, self, briefly=briefly)

    def record_anyway(self, command: str, config: Config | None = None) -> None:
        """Do the same for a *command* that can do without the repository's settings.

        Where they are unusable it is not recorded, and says so.
        """
        from ulasis_backup.errors import SettingsError  # noqa: PLC0415

        try:
            self.record(command, config)
        except SettingsError as error:
            self.warn(f"this is not in the audit log: {error.message}", error.hint)

    def end(self, code: int) -> int:
        """Tell whoever is to know how the run ended, and return its exit code."""
        try:
            code = self.running.end(code, self) if self.running else code
        finally:
            if self.recording:
                from ulasis_backup.cli.auditing import finish  # noqa: PLC0415

                finish(self.recording, code, self)
        return code

    def about(self, backup: str) -> None:
        """Note that the run is about this *backup*."""
        if self.running:
            self.running.about(backup)
        self.touched(backup)

    def touched(self, *backups: str) -> None:
        """Note for the audit log alone which backups were read or removed."""
        if self.recording:
            self.recording.about(*backups)

    def trouble(self, message: str, hint: str = "") -> None:
        """Note what went wrong, in words, for alerts; nothing is printed."""
        if self.running:
            self.running.trouble(message, hint)
        if self.recording:
            self.recording.trouble(message)

    @contextmanager
    def _world(self, config: Config, watching: Callable[[Observe], Observe]) -> Iterator[Context]:
        from ulasis_backup.app import build  # noqa: PLC0415
        from ulasis_backup.observers.log import log_events  # noqa: PLC0415

        console = self.errors()
        if self.json or self.verbosity != 0 or not console.is_terminal:
            yield build(config, watching(self._heard(log_events())), anchor=self._anchor)
            return
        from ulasis_backup.observers.progress import progress_bars  # noqa: PLC0415

        with progress_bars(console) as observe:
            yield build(config, watching(self._heard(observe)), anchor=self._anchor)

    def _heard(self, observe: Observe) -> Observe:
        return self.recording.watching(observe) if self.recording else observe

    def _anchor(self) -> AuditAnchor | None:
        return self.recording.anchor() if self.recording else None

    def show(self, document: Any, *text: str | Table) -> None:  # noqa: ANN401 (JSON)
        """Print *document* as JSON, or else *text*: lines and tables."""
        if self.json:
            import json  # noqa: PLC0415

            typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
            return
        console = self.output()
        for part in text:
            if isinstance(part, str):
                console.print(printable(part), markup=False, highlight=False, soft_wrap=True)
            else:
                console.print(part)

    def warn(self, message: str, hint: str = "") -> None:
        """Say something that a person should know, on standard error."""
        if self.verbosity >= 0:
            typer.echo(_line("WARNING", message, self.as_typed(hint)), err=True)

    def as_typed(self, hint: str) -> str:
        """Return *hint* with the global options of this run in each of our commands in it.

        Without them a command that is copied would look at another server or repository.
        """
        if "`ulasis-backup " not in hint:
            return hint
        from ulasis_backup.config import words_of  # noqa: PLC0415

        words = words_of(self.flags, self.config_file)
        # One that has options already was put together with them.
        return _COMMAND.sub(lambda _: f"`{shlex.join(['ulasis-backup', *words])} ", hint)

    def complain(self, message: str, hint: str = "") -> None:
        """Say that something failed although the run goes on: a line with ERROR, even if quiet."""
        hint = self.as_typed(hint)
        self.trouble(message, hint)
        typer.echo(_line("ERROR", message, hint), err=True)

    def fail(self, message: str, hint: str, code: int) -> None:
        """Say what went wrong: a line with ERROR, a line with HINT; with ``--json`` also there."""
        hint = self.as_typed(hint)
        self.trouble(message, hint)
        if self.json_log:
            from ulasis_backup.observers.log import log_error  # noqa: PLC0415

            log_error(message, hint, code)
        else:
            typer.echo(_line("ERROR", message, ""), err=True)
            if hint:
                typer.echo(_hint(hint), err=True)
        if self.json:
            self.show({"error": {"message": message, "hint": hint, "exit_code": code}})

    def output(self) -> Console:
        """Return the console on standard output."""
        from rich.console import Console  # noqa: PLC0415

        width = None if sys.stdout.isatty() else 200
        return Console(width=width, soft_wrap=False)

    def errors(self) -> Console:
        """Return the console on standard error."""
        from rich.console import Console  # noqa: PLC0415

        return Console(stderr=True)

    def may_ask(self) -> bool:
        """Tell whether there is a person to ask."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def _configure_log(self, form: str) -> None:
        from ulasis_backup.observers.log import configure  # noqa: PLC0415

        # In a log file, as under cron, the course of a run is worth its lines.
        plain = self.verbosity == 0 and not self.json and not sys.stderr.isatty()
        configure(1 if plain else self.verbosity, "json" if form == "json" else "text")
        self.json_log = form == "json"


def session_of(arguments: Sequence[str]) -> Session:
    """Return the session of this run; where there is none yet, one that fits *arguments*."""
    return _LAST[0] if _LAST else Session(json="--json" in arguments)


def _hint(hint: str) -> str:
    return f"HINT: {printable(hint)}"


def _line(level: str, message: str, hint: str) -> str:
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message, hint = printable(message), printable(hint)
    return f"{time} {level:<8} {message}" + (f"  HINT: {hint}" if hint else "")
