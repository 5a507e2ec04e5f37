"""The audit log around a command: one entry before it acts, one when it has ended.

What only reads in passing gets one entry at its end. Nothing here stops a command or changes its
exit code.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ulasis_backup import __version__
from ulasis_backup.config import Config
from ulasis_backup.errors import UlasisError
from ulasis_backup.events import Event, Observe, PhaseEnded
from ulasis_backup.model import AuditAnchor
from ulasis_backup.observers.discretion import discreet, secrets_of
from ulasis_backup.observers.outcomes import words_of
from ulasis_backup.operations.auditing import (
    Journal,
    Told,
    changed_settings,
    note_settings,
    this_process,
    who_runs,
)
from ulasis_backup.operations.context import now, stamp
from ulasis_backup.repository import auditfile
from ulasis_backup.repository.auditfile import Body, Made
from ulasis_backup.repository.repository import Repository

if TYPE_CHECKING:
    from ulasis_backup.cli.session import Session

WRITING = frozenset({"restore", "undo", "settle", "drop-leftovers"})
"""The commands that use the login that writes."""
MOST_ARGUMENTS = 60
MOST_MESSAGES = 5
MOST_BACKUPS = 200
RUN_BYTES = 8


class Recording:
    """A command in the audit log, from its begin to its end; *briefly*: at its end only."""

    def __init__(
        self, command: str, config: Config, repository: Repository, *, briefly: bool
    ) -> None:
        self._journal = Journal(config, repository)
        self._secrets = secrets_of(config.settings)
        self._briefly = briefly
        self._began = time.monotonic()
        self._backups: list[str] = []
        self._made: dict[str, str] = {}
        self._messages: list[str] = []
        self._anchor: AuditAnchor | None = None
        self._warned = False
        self._overridden: dict[str, object] = {}
        self._body = self._asked(command, config)

    def begin(self, session: Session) -> None:
        """Store that the command begins, and which settings are not what they were."""
        self._overridden = {name: value for name, value in session.flags.items() if value}
        changes = tuple(
            replace(change, before=self._said(change.before), after=self._said(change.after))
            for change in changed_settings(self._journal, self._overridden)
        )
        self._body = replace(self._body, changes=changes)
        if not self._briefly:
            told = self._journal.begin(self._body)
            self._anchor = told.anchor
            self._warn(told, session)
            note_settings(self._journal, self._overridden)

    def anchor(self) -> AuditAnchor | None:
        """Return the entry with which the command began, once it is stored."""
        # The first backup makes the repository on its way.
        if self._anchor is None and not self._briefly:
            self._anchor = self._journal.catch_up(self._body.run)
        return self._anchor

    def watching(self, observe: Observe) -> Observe:
        """Return *observe*, with us listening for the backups that are made."""

        def watch(event: Event) -> None:
            if isinstance(event, PhaseEnded):
                facts = {name: str(value) for name, value in event.facts}
                self.about(*(facts[name] for name in ("backup",) if name in facts))
                if {"backup", "manifest"} <= facts.keys():
                    self._made[facts["backup"]] = facts["manifest"]
            observe(event)

        return watch

    def about(self, *backups: str) -> None:
        """Note that the command is about these backups."""
        self._backups += [name for name in backups if name not in self._backups]

    def trouble(self, message: str) -> None:
        """Note what went wrong."""
        self._messages.append(message)

    def end(self, code: int, session: Session) -> None:
        """Store how the command ended."""
        ended = replace(
            self._body,
            event=auditfile.Event.ENDED,
            at=stamp(now()),
            backups=tuple(auditfile.text_of(name) for name in self._backups[:MOST_BACKUPS]),
            made=tuple(
                Made(backup=auditfile.text_of(name), manifest=digest)
                for name, digest in list(self._made.items())[:MOST_BACKUPS]
            ),
            code=code,
            outcome="ok" if code == 0 else words_of(code),
            messages=tuple(self._said(message) for message in self._messages[:MOST_MESSAGES]),
            seconds=round(time.monotonic() - self._began, 3),
        )
        if not self._briefly:
            # What the begin has said of settings holds for the end.
            self._warn(self._journal.tell(replace(ended, changes=())), session)
        elif self._can_tell():
            self._warn(self._journal.begin(ended), session)
            note_settings(self._journal, self._overridden)

    def _can_tell(self) -> bool:
        """Tell whether a repository was there to be read, as far as that can be seen."""
        try:
            return self._journal.exists()
        except UlasisError:
            return True

    def _asked(self, command: str, config: Config) -> Body:
        writes = command in WRITING
        login = config.writing if writes else config.reading
        return Body(
            event=auditfile.Event.BEGAN,
            run=os.urandom(RUN_BYTES).hex(),
            at=stamp(now()),
            command=command,
            arguments=tuple(self._said(word) for word in sys.argv[1 : MOST_ARGUMENTS + 1]),
            who=who_runs(),
            process=this_process(),
            tool=f"ulasis-backup {__version__}",
            repository=self._said(self._journal.repository.storage.place),
            server=self._said(config.server_name),
            login=self._said(login.user),
            databases=tuple(self._said(name) for name in config.databases),
        )

    def _said(self, text: str) -> str:
        return auditfile.text_of(discreet(text, self._secrets))

    def _warn(self, told: Told, session: Session) -> None:
        if told.problem and not self._warned:
            self._warned = True
            session.warn(told.problem, told.hint)


def recording(command: str, config: Config, session: Session, *, briefly: bool) -> Recording | None:
    """Begin to record *command*; None where the settings want no log, or nothing can be told.

    Raises SettingsError for a key of the repository that is unusable.
    """
    from ulasis_backup.app import build  # noqa: PLC0415
    from ulasis_backup.events import ignore  # noqa: PLC0415

    if not config.settings.backup_audit:
        return None
    repository = build(config, ignore).repository
    try:
        made = Recording(command, config, repository, briefly=briefly)
        made.begin(session)
    except Exception as error:  # noqa: BLE001 (a failing log must stop no restore)
        session.warn(f"unexpected {type(error).__name__} in the audit log; this is a fault of ours")
        return None
    return made


def finish(made: Recording, code: int, session: Session) -> None:
    """Store how the command of *made* ended; whatever fails is a warning."""
    try:
        made.end(code, session)
    except Exception as error:  # noqa: BLE001 (the run is over; its outcome stands)
        session.warn(f"unexpected {type(error).__name__} in the audit log; this is a fault of ours")
