"""``schedule``: times for backups, verification and test restores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session
from ulasis_backup.errors import SettingsError

if TYPE_CHECKING:
    from ulasis_backup.config import Config
    from ulasis_backup.operations.schedule import Installed, Plan, System
    from ulasis_backup.schedule import Job

LOOK_EVERY = 3600.0
"""Seconds after which the daemon looks whether something is open, e.g. a backup too old."""

UNNAMED = "one without a name, of an earlier version"

For = Annotated[
    str, typer.Option("--for", metavar="SYSTEM", help="`cron`, `systemd` or `windows`.")
]
Log = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="cron: where the output goes.")
]
Program = Annotated[
    str, typer.Option("--program", metavar="PATH", help="The command, on another machine.")
]
Folder = Annotated[
    str, typer.Option("--folder", metavar="PATH", help="Where it runs, if not in this folder.")
]
Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Its name, if not made of the folder.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Write the files there, change nothing."),
]
schedule_app = typer.Typer(
    help="Backups, verification and test restores at their times.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    schedule_app.callback()(_schedule)
    schedule_app.command("show")(show)
    schedule_app.command("install")(install)
    schedule_app.command("remove")(remove)
    app.add_typer(schedule_app, name="schedule")
    app.command("daemon")(daemon)


def show(
    context: typer.Context,
    *,
    system: For = "cron",
    log: Log = None,
    program: Program = "",
    folder: Folder = "",
    name: Name = "",
) -> None:
    """Show what would be installed, when each job is next due, and what is installed."""
    from ulasis_backup.operations import schedule as operation  # noqa: PLC0415
    from ulasis_backup.operations.context import now  # noqa: PLC0415
    from ulasis_backup.schedule import due_after  # noqa: PLC0415

    session: Session = context.obj
    found = _plan(session, system, log, program=program, folder=folder, name=name)
    there: tuple[Installed, ...] = ()
    try:
        there = operation.installed(found.system)
    except operation.ScheduleFailed as error:
        session.warn(error.message, error.hint)
    _warn_of_logins(session, found)
    here = now().astimezone()
    due = {job.name: due_after(job.when, here).isoformat(timespec="minutes") for job in found.jobs}
    lines = [f"{job.title}: {job.when}, next {due[job.name]}" for job in found.jobs]
    for file, text in found.files.items():
        lines += ["", f"# {file}", text.rstrip("\n")]
    lines += ["", *(f"$ {command}" for command in found.commands)]
    ours = [part for one in there if found.owner.owns(one.name, one.text) for part in one.parts]
    others = [one.name for one in there if not found.owner.owns(one.name, one.text)]
    lines += ["", f"installed: {len(ours) or 'nothing'}", *(f"  {line}" for line in ours)]
    lines += [f"installed beside it: {called or UNNAMED}" for called in others]
    document = {**_document(found), "next": due, "installed": ours, "others": others}
    session.show(document, *lines)


def install(
    context: typer.Context,
    *,
    system: For = "cron",
    log: Log = None,
    program: Program = "",
    folder: Folder = "",
    name: Name = "",
    output: Output = None,
) -> None:
    """Install the schedule for this user and folder; what it left there before is replaced."""
    from ulasis_backup.operations import schedule as operation  # noqa: PLC0415

    session: Session = context.obj
    found = _plan(session, system, log, program=program, folder=folder, name=name)
    session.record_anyway("schedule install")
    if output:
        changed = tuple(str(path) for path in operation.write(found, output))
    else:
        changed = operation.install(found)
        _warn_of_logins(session, found)
    lines = [f"{job.title}: {job.when}" for job in found.jobs]
    lines += [f"{'written' if output else 'installed'}: {name}" for name in changed]
    lines += [f"$ {command}" for command in found.commands] if output else []
    session.show({**_document(found), "changed": list(changed)}, *lines)


def remove(
    context: typer.Context,
    *,
    system: For = "cron",
    folder: Folder = "",
    name: Name = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every schedule of ours, of other folders too.")
    ] = False,
) -> None:
    """Take the schedule away again; nothing else in the crontab is touched."""
    from ulasis_backup.operations import schedule as operation  # noqa: PLC0415
    from ulasis_backup.operations.schedule_owner import Owner, check_name, owner  # noqa: PLC0415

    session: Session = context.obj
    keeper = _system(system)
    session.record_anyway("schedule remove")
    if everything:
        whose = None
    elif name:
        # By its name alone: its folder and settings may be gone.
        whose = Owner(name=check_name(name))
    else:
        whose = owner(session.config(), folder=folder, name="")
    changed = operation.remove(keeper, whose)
    others = [one.name for one in operation.installed(keeper)]
    lines = [f"removed: {part}" for part in changed] or ["there was no schedule of ours"]
    lines += [f"still installed: {called or UNNAMED}" for called in others]
    session.show({"removed": list(changed), "others": others}, *lines)


def daemon(context: typer.Context) -> None:
    """Keep the schedule in this process, for containers; SIGTERM ends it in good order."""
    from ulasis_backup.observers.log import configure, log_events  # noqa: PLC0415
    from ulasis_backup.operations import daemon as operation  # noqa: PLC0415

    session: Session = context.obj
    config = session.config()
    session.record_anyway("daemon", config)
    # What a daemon does is worth its lines, also on a terminal.
    configure(max(1, session.verbosity), "json" if session.json_log else "text")
    with _metrics(config):
        operation.run(
            operation.plan_daemon(config),
            log_events(),
            idle=_Between(session, config),
            died=lambda job, why: _tell_of_death(session, config, job, why),
        )


@contextmanager
def _metrics(config: Config) -> Iterator[None]:
    """Answer /metrics while the block runs, if the settings want that."""
    if not config.settings.backup_metrics_listen:
        yield
        return
    from ulasis_backup.app import build  # noqa: PLC0415
    from ulasis_backup.events import ignore  # noqa: PLC0415
    from ulasis_backup.operations.metrics import as_text  # noqa: PLC0415
    from ulasis_backup.operations.metrics_page import served  # noqa: PLC0415
    from ulasis_backup.operations.runlog import last_runs  # noqa: PLC0415
    from ulasis_backup.operations.status import status  # noqa: PLC0415

    def page() -> bytes:
        return as_text(status(build(config, ignore)), last_runs(config))

    with served(config.settings.backup_metrics_listen, page):
        yield


def _tell_of_death(session: Session, config: Config, job: Job, why: str) -> None:
    """Tell of a job in its place that was killed, e.g. for want of memory."""
    from ulasis_backup.cli.runs import Run  # noqa: PLC0415
    from ulasis_backup.errors import UNEXPECTED  # noqa: PLC0415

    run = Run(job.arguments[0], config, at_terminal=False)
    run.trouble(why, "the system's log may say by whom, e.g. `journalctl -k`")
    try:
        run.end(UNEXPECTED, session)
    except Exception as error:  # noqa: BLE001 (alerts must not end the schedule)
        session.warn(f"unexpected {type(error).__name__} while alerts were sent")


class _Between:
    """What the daemon does between its jobs: send what waits, and look every hour.

    A backup that is not made ends no run that could tell of it.
    """

    def __init__(self, session: Session, config: Config) -> None:
        self._session = session
        self._config = config
        self._look_at = monotonic() + LOOK_EVERY

    def __call__(self) -> None:
        from ulasis_backup.cli.runs import look  # noqa: PLC0415
        from ulasis_backup.observers import notify  # noqa: PLC0415
        from ulasis_backup.operations.context import now  # noqa: PLC0415

        done = notify.Sent()
        try:
            alerts = notify.alerts_of(self._config)
            if alerts.channels and monotonic() >= self._look_at:
                self._look_at = monotonic() + LOOK_EVERY
                done = look(self._config, alerts, self._session)
            elif notify.due(alerts, now=now()):
                done = notify.flush(alerts, now=now())
        except Exception as error:  # noqa: BLE001 (alerts must not end the schedule)
            self._session.warn(f"unexpected {type(error).__name__} while alerts were sent")
        for problem in done.problems:
            self._session.warn(f"an alert was not sent: {problem}", "it is tried again")
        for remark in done.remarks:
            self._session.warn(f"an alert did not reach all: {remark}")


def _plan(
    session: Session, system: str, log: Path | None, *, program: str, folder: str, name: str
) -> Plan:
    from ulasis_backup.operations import schedule as operation  # noqa: PLC0415
    from ulasis_backup.operations.schedule_owner import owner  # noqa: PLC0415

    config = session.config()
    whose = owner(config, folder=folder, name=name)
    found = operation.plan(config, _system(system), whose, log=log, program=program)
    for warning in found.warnings:
        session.warn(warning)
    return found


def _warn_of_logins(session: Session, found: Plan) -> None:
    from ulasis_backup.operations.schedule import own_lingering  # noqa: PLC0415

    said = own_lingering(found.system)
    if said:
        session.warn(said)


def _system(text: str) -> System:
    from ulasis_backup.operations.schedule import System  # noqa: PLC0415

    try:
        return System(text)
    except ValueError:
        message = f"--for: {text!r} keeps no schedules"
        raise SettingsError(message, hint="choose cron, systemd or windows") from None


def _document(found: Plan) -> dict[str, Any]:
    return {
        "name": found.owner.name,
        "system": str(found.system),
        "jobs": [{"name": job.name, "when": job.when, "does": job.title} for job in found.jobs],
        "files": dict(found.files),
        "commands": list(found.commands),
        "warnings": list(found.warnings),
    }


def _schedule() -> None:
    """Backups, verification and test restores at their times."""
