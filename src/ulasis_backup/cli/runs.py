"""A run and its company: hooks before and after, the dead-man's ping, alerts about its outcome.

None of them changes what the run did. A ``before`` hook that fails stops it; an ``after`` hook
that fails turns the 0 of a backup into 61; a ping or an alert that fails is a warning.
"""

from __future__ import annotations

import contextlib
import getpass
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ulasis_backup import errors
from ulasis_backup.config import Config
from ulasis_backup.events import Event, Observe, PhaseEnded, ignore
from ulasis_backup.observers import hooks, notify
from ulasis_backup.observers.discretion import discreet
from ulasis_backup.observers.incidents import Incident, Severity
from ulasis_backup.observers.outcomes import (
    MADE,
    Outcome,
    Place,
    Trouble,
    checked_by,
    incidents_of,
    relief_of,
    success_of,
)
from ulasis_backup.observers.ping import Ping
from ulasis_backup.operations.context import now
from ulasis_backup.operations.runlog import Timings, last_runs, note_run, note_used

if TYPE_CHECKING:
    from ulasis_backup.cli.session import Session

SECONDS_AFTER_SIGNAL = 5.0
"""Whoever sent a signal waits for us to end: what cannot be sent now is sent by the next run."""
STATUS = "status/"
"""How the keys of incidents begin that `status` finds."""
PINGED = "backup"
"""The operation that a dead-man's switch watches."""
QUEUE_HINT = "it is kept and tried again; `ulasis-backup alert list` shows it, `alert test` tries"

REMARK_HINT = "the others have it, so it is not sent again; is the address right?"


class Run:
    """One operation from its begin to its end."""

    def __init__(self, operation: str, config: Config, *, at_terminal: bool) -> None:
        self._operation = operation
        self._config = config
        self._at_terminal = at_terminal
        self._started = now()
        self._alerts = notify.alerts_of(config)
        self._backups: list[str] = []
        self._troubles: list[Trouble] = []
        self._entered = False
        url = config.settings.backup_ping_url if operation == PINGED else None
        self._timings = Timings()
        self._ping = Ping(url.get_secret_value()) if url else None

    def begin(self) -> None:
        """Ping that it starts, and run the hook before it. Raises HookFailed."""
        # A person who stops a run at a terminal would leave a start without an end.
        if self._ping and not self._at_terminal:
            self._ping.call("start", f"{self._operation} of {place_of(self._config).short}")
        hook = hooks.hook_of(self._config.settings, "before", self._operation, self._facts(None))
        if hook:
            with self._failing():
                hooks.run(hook)
        self._entered = True

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Record that a backup was stopped by its hook: after a failed run nothing is pruned."""
        try:
            yield
        except hooks.HookFailed:
            if self._operation == "backup":
                from ulasis_backup.app import build  # noqa: PLC0415
                from ulasis_backup.operations.recorded import failing  # noqa: PLC0415

                with failing(build(self._config, ignore)):
                    raise
            raise

    def watching(self, observe: Observe) -> Observe:
        """Return *observe*, with us listening for the backups that are made."""

        def watch(event: Event) -> None:
            if self._operation == "backup" and isinstance(event, PhaseEnded):
                self._backups += [str(value) for name, value in event.facts if name == "backup"]
            observe(event)

        return self._timings.watching(watch)

    def about(self, backup: str) -> None:
        """Note that the run is about this *backup*."""
        self._backups.append(backup)

    def trouble(self, message: str, hint: str) -> None:
        """Note what went wrong."""
        self._troubles.append(Trouble(message=message, hint=hint))

    def end(self, code: int, session: Session) -> int:
        """Run the hook after it, ping, and tell of the outcome; return the exit code."""
        if code == errors.TERMINATED:
            return self._end_soon(session)
        try:
            code = self._after(code, session) if self._entered else code
        finally:
            # Also when a signal ends the hook: how the run ended has to be told.
            outcome = self._outcome(code)
            self._tell_all(outcome, session)
            self._measure(outcome, session)
        return code

    def _end_soon(self, session: Session) -> int:
        """Do the same after SIGTERM, what matters most first: containers are killed after 10 s."""
        outcome = self._outcome(errors.TERMINATED)
        self._tell_all(outcome, session)
        try:
            if self._entered:
                self._after(outcome.code, session)
        finally:
            self._measure(outcome, session)
        return outcome.code

    def _tell_all(self, outcome: Outcome, session: Session) -> None:
        if not outcome.counts:
            return
        stopped = outcome.code == errors.TERMINATED
        seconds = SECONDS_AFTER_SIGNAL if stopped else notify.SECONDS
        deadline = time.monotonic() + seconds
        if self._ping:
            failed = outcome.code not in MADE
            self._ping.call("fail" if failed else "", self._summary(outcome))
        try:
            told = self._tell(outcome, seconds, session)
            for problem in told.problems:
                session.warn(f"an alert was not sent: {problem}", QUEUE_HINT)
            for remark in told.remarks:
                session.warn(f"an alert did not reach all: {remark}", REMARK_HINT)
        finally:
            # Whatever became of the alerts: a call that is not waited for ends with the process.
            left = max(0.0, deadline - time.monotonic())
            for problem in self._ping.wait(left) if self._ping else ():
                session.warn(f"BACKUP_PING_URL was not reached: {problem}")

    def _measure(self, outcome: Outcome, session: Session) -> None:
        """Remember how the run ended, and publish metrics where the settings want them."""
        if not outcome.counts:
            return
        note_run(
            self._config,
            self._operation,
            ended=outcome.ended,
            exit_code=outcome.code,
            seconds=(outcome.ended - self._started).total_seconds(),
            phases=self._timings.seconds,
            good=outcome.code in MADE if self._operation == "backup" else outcome.code == 0,
        )
        self._note_used(outcome)
        settings = self._config.settings
        if not (settings.backup_metrics_file or settings.backup_pushgateway_url):
            return
        self._publish(session)

    def _publish(self, session: Session) -> None:
        # Costly to import, and rarely wanted.
        from ulasis_backup.app import build  # noqa: PLC0415
        from ulasis_backup.operations import metrics  # noqa: PLC0415
        from ulasis_backup.operations.status import status  # noqa: PLC0415

        found = None
        try:
            found = status(build(self._config, ignore))
        except errors.UlasisError as error:
            message = f"the metrics say nothing of the backups: {error.message}"
            session.warn(message, error.hint)
        try:
            metrics.publish(self._config, found, last_runs(self._config))
        except errors.UlasisError as error:
            session.warn(f"metrics were not published: {error.message}", error.hint)

    def _note_used(self, outcome: Outcome) -> None:
        """Remember what the repository takes after what made it larger or smaller."""
        if self._operation not in ("backup", "prune") or outcome.code not in MADE:
            return
        from ulasis_backup.app import build  # noqa: PLC0415 (costly, and not for failures)
        from ulasis_backup.operations.status import used_bytes  # noqa: PLC0415

        with contextlib.suppress(errors.UlasisError):
            used = used_bytes(build(self._config, ignore).repository.storage)
            note_used(self._config, outcome.ended, used)

    def _after(self, code: int, session: Session) -> int:
        facts = self._facts(self._outcome(code))
        try:
            hook = hooks.hook_of(self._config.settings, "after", self._operation, facts)
            if hook:
                stopped = code == errors.TERMINATED
                hooks.run(hooks.hurried(hook, SECONDS_AFTER_SIGNAL) if stopped else hook)
        except hooks.HookFailed as error:
            if self._operation == "backup" and code == 0:
                session.complain(f"the backup is made, but {error.message}", error.hint)
                return errors.FollowUpFailed.exit_code
            self.trouble(error.message, error.hint)
            session.warn(error.message, error.hint)
        return code

    def _tell(self, outcome: Outcome, seconds: float, session: Session) -> notify.Sent:
        wanted = outcome.code == 0 and self._config.settings.backup_alert_on_success
        # A failed run is told of by itself; what is open beside it can wait for the next good one.
        looking = self._alerts.channels and outcome.code in MADE
        standing = open_problems(self._config, session) if looking else None
        return notify.report(
            self._alerts,
            (*incidents_of(outcome), *(standing or ())),
            checked=(*checked_by(outcome), *((STATUS,) if standing is not None else ())),
            now=outcome.ended,
            relief=relief_of(outcome),
            also=(success_of(outcome),) if wanted else (),
            seconds=seconds,
        )

    def _outcome(self, code: int) -> Outcome:
        return Outcome(
            operation=self._operation,
            place=place_of(self._config),
            code=code,
            started=self._started,
            ended=now(),
            troubles=tuple(self._troubles),
            backups=tuple(self._backups),
            at_terminal=self._at_terminal,
        )

    def _summary(self, outcome: Outcome) -> str:
        said = "; ".join(trouble.message for trouble in outcome.troubles)
        text = said or relief_of(outcome)
        return discreet(f"{outcome.status}, exit code {outcome.code}: {text}", self._alerts.secrets)

    def _facts(self, outcome: Outcome | None) -> dict[str, str]:
        """Return what hooks learn; *outcome* once there is one."""
        place = place_of(self._config)
        facts = {
            "DATABASES": ",".join(place.databases),
            "SERVER": place.server,
            "REPOSITORY": place.repository,
            "BACKUP": " ".join(self._backups),
        }
        if outcome is None:
            return facts
        said = "; ".join(trouble.message for trouble in outcome.troubles)
        return facts | {
            "STATUS": outcome.status,
            "EXIT_CODE": str(outcome.code),
            "MESSAGE": discreet(said, self._alerts.secrets),
        }


def open_problems(config: Config, session: Session) -> tuple[Incident, ...] | None:
    """Return what `status` finds open, as incidents; None where it cannot look.

    A fault of ours in there is a warning: it must not cost the alert about the run itself.
    How runs ended is an incident of its own already.
    """
    from ulasis_backup.app import build  # noqa: PLC0415 (costly, and only with alerts)
    from ulasis_backup.operations.status import status  # noqa: PLC0415
    from ulasis_backup.operations.status_values import Level  # noqa: PLC0415

    try:
        problems = status(build(config, ignore)).all_problems
    except errors.UlasisError:
        return None
    except Exception as error:  # noqa: BLE001 (the run is over; its alert has to go out)
        session.warn(f"unexpected {type(error).__name__} in the status; this is a fault of ours")
        return None
    return tuple(
        Incident(
            key=f"{STATUS}{problem.key}",
            severity=Severity.FAILURE if problem.level is Level.CRITICAL else Severity.WARNING,
            title=problem.title,
            text=f"{problem.message}\nNext: {problem.hint}",
        )
        for problem in problems
        if not problem.key.endswith(" run")
    )


def look(config: Config, alerts: notify.Alerts, session: Session) -> notify.Sent:
    """Tell of what `status` finds open, and of what is over, without a run."""
    problems = open_problems(config, session)
    moment = now()
    if problems is None:
        return notify.flush(alerts, now=moment)
    return notify.report(
        alerts, problems, checked=(STATUS,), now=moment, relief="`ulasis-backup status` is fine"
    )


def place_of(config: Config) -> Place:
    """Return where a run with these settings takes place."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a number that has no name.
        user = "an unnamed user"
    return Place(
        server=config.server_name,
        databases=config.databases,
        repository=str(config.settings.backup_dir.absolute()),
        host=socket.gethostname(),
        user=user,
    )
