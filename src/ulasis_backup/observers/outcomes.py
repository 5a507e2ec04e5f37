"""How a run ended, as incidents and in words: what, where, when, why, and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ulasis_backup import errors
from ulasis_backup.observers.incidents import Incident, Message, Severity, message

DONE = 0
MADE = {DONE, errors.FollowUpFailed.exit_code, errors.ObjectsLeftOut.exit_code}
"""Exit codes of a backup that is made and listed."""
SLIPS = {
    errors.SettingsError.exit_code, errors.BackupNotFound.exit_code,
    errors.AmbiguousName.exit_code, errors.ConfirmationNeeded.exit_code,
}  # fmt: skip
"""What a person at a terminal mistypes, sees, and types again: nobody else is called."""
BY_HAND = ("restore", "prune")
"""No schedule of ours runs these: whoever did knows how it ended, and may never do it again."""
MOST_TROUBLES = 10
MOST_NAMES = 3
NEXT = {
    "backup": "ulasis-backup check, then ulasis-backup backup",
    "verify": "ulasis-backup verify-all; ulasis-backup list shows what else there is",
    "verify-all": "ulasis-backup verify-all; ulasis-backup list shows what else there is",
    "test-restore": "ulasis-backup test-restore latest",
    "restore": "do what the hint says; ulasis-backup list shows the backups",
    "prune": "ulasis-backup prune",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that went wrong, and what to do about it."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which server and databases a run is about, and where and by whom it was run."""

    server: str
    databases: tuple[str, ...]
    repository: str
    host: str
    user: str

    @property
    def short(self) -> str:
        """Return databases and server in a few words."""
        names = ", ".join(self.databases[:MOST_NAMES])
        more = len(self.databases) - MOST_NAMES
        names = "all databases" if self.databases == ("*",) else names
        return f"{names}{f' and {more} more' if more > 0 else ''} at {self.server}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. ``backups`` are those it made or looked at."""

    operation: str
    place: Place
    code: int
    started: datetime
    ended: datetime
    troubles: tuple[Trouble, ...] = ()
    backups: tuple[str, ...] = ()
    at_terminal: bool = False

    @property
    def status(self) -> str:
        """Return ``ok``, ``warning`` (done, with something to look at) or ``failed``."""
        if self.code == DONE:
            return "ok"
        return "warning" if _severity(self) is Severity.WARNING else "failed"

    @property
    def counts(self) -> bool:
        """Tell whether anybody is to hear of it: not of Ctrl-C, nor of slips at a terminal."""
        slip = self.at_terminal and self.code in SLIPS
        return self.code != errors.INTERRUPTED and not slip


def incidents_of(outcome: Outcome) -> tuple[Incident, ...]:
    """Return what is wrong after *outcome*: nothing, or one incident."""
    if outcome.code == DONE:
        return ()
    return (
        Incident(
            key=_key(outcome),
            severity=_severity(outcome),
            title=_title(outcome),
            text=_text(outcome),
            lasting=outcome.operation not in BY_HAND,
        ),
    )


def checked_by(outcome: Outcome) -> tuple[str, ...]:
    """Return the keys of the incidents that *outcome* says something about."""
    operation = outcome.operation
    if operation == "verify":
        return (_key(outcome),)
    if operation == "verify-all" and outcome.code == DONE:
        return (operation, "verify/")
    made = operation == "backup" and outcome.code in MADE
    # A failed run neither finds nor clears what only a made backup can show.
    return (operation, f"{operation}/") if made or outcome.code == DONE else (operation,)


def success_of(outcome: Outcome) -> Message:
    """Return the message that *outcome*, a good one, went well."""
    title = f"{outcome.operation} of {outcome.place.short} is done"
    return message(Severity.INFO, title, _text(outcome), now=outcome.ended)


def relief_of(outcome: Outcome) -> str:
    """Return in one line what shows that an incident is over."""
    time = outcome.ended.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    names = _names(outcome.backups)
    return f"{outcome.operation} went well at {time}" + (f": {names}" if names else "")


def _lines(what: str, place: Place, then: str) -> str:
    return f"What:   {what}\n{_where(place)}\nNext:   {then}"


def _severity(outcome: Outcome) -> Severity:
    mild = {*MADE, errors.CouldNotCheck.exit_code, errors.Busy.exit_code}
    return Severity.WARNING if outcome.code in mild else Severity.FAILURE


def _key(outcome: Outcome) -> str:
    operation = outcome.operation
    if operation == "verify":
        # Of one backup: another that is intact changes nothing about it.
        return f"verify/{outcome.backups[0]}" if outcome.backups else "verify/?"
    if operation == "backup" and outcome.code in MADE - {DONE}:
        return f"backup/{outcome.code}"
    return operation


def _title(outcome: Outcome) -> str:
    subject = f"{outcome.operation} of {outcome.place.short}"
    if outcome.operation == "verify" and outcome.backups:
        subject = f"verify of {outcome.backups[0]}"
    verb = "needs a look" if outcome.status == "warning" else "FAILED"
    return f"{subject} {verb}: {words_of(outcome.code)}"


def words_of(code: int) -> str:
    """Return in words what an exit code means, e.g. ``server unreachable``."""
    if code in (errors.TERMINATED, errors.INTERRUPTED):
        return "stopped by a signal"
    names = {error.exit_code: error.__name__ for error in reversed(errors.all_errors())}
    if code == errors.UNEXPECTED or code not in names:
        return "unexpected error"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", names[code]).lower()


def _text(outcome: Outcome) -> str:
    lines = []
    for trouble in outcome.troubles[:MOST_TROUBLES]:
        lines.append(f"What:   {trouble.message}")
        lines += [f"Hint:   {trouble.hint}"] if trouble.hint else []
    if len(outcome.troubles) > MOST_TROUBLES:
        lines.append(f"        and {len(outcome.troubles) - MOST_TROUBLES} more, see the log")
    if outcome.code and not outcome.troubles:
        lines.append(f"What:   {words_of(outcome.code)}; the log says more")
    names = _names(outcome.backups)
    lines += [f"Backup: {names}"] if names else []
    lines.append(_where(outcome.place))
    lines.append(f"When:   {_time(outcome.started)} to {_time(outcome.ended)}")
    if outcome.code:
        lines.append(f"Code:   exit code {outcome.code}")
        lines.append(f"Next:   {NEXT.get(outcome.operation, 'look at the log')}")
    return "\n".join(lines)


def _where(place: Place) -> str:
    names = "all databases" if place.databases == ("*",) else ", ".join(place.databases)
    return (
        f"Where:  server {place.server}, databases {names}\n"
        f"        repository {place.repository}; run by {place.user} on {place.host}"
    )


def _names(backups: tuple[str, ...]) -> str:
    more = len(backups) - MOST_NAMES
    return ", ".join(backups[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
