"""``schedule``: have the operating system make backups, verify them and test restores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ulasis_backup import schedule
from ulasis_backup.config import Config
from ulasis_backup.errors import SettingsError, UlasisError
from ulasis_backup.schedule import Job, Place
from ulasis_backup.settings import Settings

ROOT_LOG = Path("/var/log/ulasis-backup.log")
SYSTEM_UNITS = Path("/etc/systemd/system")
OFF = ("", "off", "never")
CONTAINER_HINT = "in a container use `ulasis-backup daemon`; --output FOLDER writes the files only"


class System(StrEnum):
    """Who keeps the time."""

    CRON = "cron"
    SYSTEMD = "systemd"
    WINDOWS = "windows"


class ScheduleFailed(UlasisError):
    """The operating system did not take the schedule, or did not give it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be installed: ``files`` by name, and the ``commands`` that a person would type.

    ``warnings`` are what would not work unattended, ``state`` the folder that has to be there.
    """

    system: System
    jobs: tuple[Job, ...]
    files: Mapping[str, str]
    commands: tuple[str, ...]
    warnings: tuple[str, ...]
    state: Path


def jobs(settings: Settings) -> tuple[Job, ...]:
    """Return what is to be done, and when. Raises SettingsError where nothing is."""
    wanted = (
        Job(
            name="backup",
            title="make a backup",
            arguments=("backup", "--scheduled"),
            when=settings.backup_schedule_backup,
        ),
        Job(
            name="verify",
            title="verify all backups",
            arguments=("verify-all",),
            when=settings.backup_schedule_verify,
        ),
        Job(
            name="test-restore",
            title="prove the newest backup by a test restore",
            arguments=("test-restore", "latest"),
            when=settings.backup_schedule_test_restore,
        ),
    )
    found = tuple(job for job in wanted if job.when.strip().lower() not in OFF)
    if not found:
        message = "no job has a time: every BACKUP_SCHEDULE_… setting is off"
        raise SettingsError(message, hint="set BACKUP_SCHEDULE_BACKUP, e.g. to `0 2 * * *`")
    return found


def plan(
    config: Config, system: System, *, folder: str, log: Path | None, program: str = ""
) -> Plan:
    """Return what a schedule kept by *system* consists of.

    Runs begin in *folder*, empty: in this one; it may be one of another machine. *log* takes the
    output under cron; *program* is the command, where it is not this one. Raises SettingsError
    for times that *system* cannot keep.
    """
    place = _place(config, folder=folder, log=log, program=program)
    found = jobs(config.settings)
    if system is System.CRON:
        files = {"ulasis-backup.crontab": schedule.crontab_block(found, place)}
        commands: tuple[str, ...] = ("crontab -e",)
    elif system is System.SYSTEMD:
        files = schedule.units(found, place)
        timers = [name for name in files if name.endswith(".timer")]
        commands = ("systemctl daemon-reload", f"systemctl enable --now {' '.join(timers)}")
    else:
        files = {f"ulasis-backup-{job.name}.xml": schedule.task_xml(job, place) for job in found}
        commands = tuple(
            schedule.schtasks_line(job, f"ulasis-backup-{job.name}.xml") for job in found
        )
    return Plan(
        system=system,
        jobs=found,
        files=files,
        commands=commands,
        warnings=tuple(_warnings(config, os.environ)),
        state=config.state_folder.absolute(),
    )


def _place(config: Config, *, folder: str, log: Path | None, program: str) -> Place:
    settings = config.settings
    here = Path(folder or Path.cwd())
    command = (program,) if program else _own_command()
    return Place(
        program=(*command, *config.flags),
        folder=folder or str(here),
        log=str((log or _default_log(here)).absolute()),
        # With a minus it may be missing: without, systemd would not start what tells of that.
        writable=(
            f"-{(here / settings.backup_dir).absolute()}",
            f"-{config.state_folder.absolute()}",
            *_metrics_folder(settings, here),
        ),
        sockets=(settings.db_socket,) if settings.db_socket else (),
    )


def _metrics_folder(settings: Settings, here: Path) -> tuple[str, ...]:
    file = settings.backup_metrics_file
    return (f"-{(here / file).absolute().parent}",) if file else ()


def _own_command() -> tuple[str, ...]:
    """Return how this program is started, by a path that holds anywhere."""
    started = Path(sys.argv[0]).absolute()
    if started.name.startswith("ulasis-backup") and started.exists():
        return (str(started),)
    beside = Path(sys.executable).parent / "ulasis-backup"
    return (str(beside),) if beside.exists() else (sys.executable, "-m", "ulasis_backup")


def _default_log(folder: Path) -> Path:
    return ROOT_LOG if hasattr(os, "getuid") and os.getuid() == 0 else folder / "ulasis-backup.log"


def _warnings(config: Config, environment: Mapping[str, str]) -> list[str]:
    """Return what works here and would not work unattended."""
    names = [name.upper() for name in Settings.model_fields if environment.get(name.upper())]
    found = []
    if names:
        found.append(
            f"set in this shell alone, and unknown to a schedule: {', '.join(sorted(names))}; put "
            "them into .env in this folder, or into a settings file"
        )
    if not config.key:
        found.append("there is no key: scheduled backups will not be encrypted")
    return found


def write(found: Plan, folder: Path) -> tuple[Path, ...]:
    """Write the files of a plan into *folder*; return their paths. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_write(folder / name, text) for name, text in found.files.items())
    except OSError as error:
        message = f"cannot write {error.filename or folder}: {error.strerror}"
        raise SettingsError(message, hint="--output FOLDER chooses another place") from None


def _write(path: Path, text: str) -> Path:
    # The native encoding of tasks, which their first line names.
    path.write_text(text, encoding="utf-16" if path.suffix == ".xml" else "utf-8")
    return path


def install(found: Plan) -> tuple[str, ...]:
    """Have the operating system keep the schedule; return what was changed.

    What an earlier installation left is replaced. Raises ScheduleFailed, SettingsError.
    """
    if found.system is System.CRON:
        block = found.files["ulasis-backup.crontab"]
        _set_crontab(schedule.with_block(_crontab(), block))
        return ("the crontab of this user",)
    if found.system is System.SYSTEMD:
        folder = _unit_folder()
        with suppress(OSError):
            # Alerts that cannot be remembered are told of when that happens.
            found.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = write(found, folder)
        _forget_others(folder, {path.name for path in written})
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", *(path.name for path in written if path.suffix == ".timer"))
        return tuple(str(path) for path in written)
    message = "tasks of Windows are not installed from here"
    raise SettingsError(message, hint="--output FOLDER writes them; run the printed `schtasks`")


def remove(system: System) -> tuple[str, ...]:
    """Take our schedule away; return what was changed, nothing if there was none.

    Raises ScheduleFailed, SettingsError.
    """
    if system is System.CRON:
        before = _crontab()
        after = schedule.without_block(before)
        if after == before:
            return ()
        _set_crontab(after)
        return ("the crontab of this user",)
    if system is System.SYSTEMD:
        folder = _unit_folder()
        gone = _forget_others(folder, set())
        if gone:
            _systemctl("daemon-reload")
        return tuple(str(folder / name) for name in gone)
    message = "tasks of Windows are not removed from here"
    raise SettingsError(message, hint='on Windows: schtasks /Delete /TN "ulasis-backup backup"')


def installed(system: System) -> tuple[str, ...]:
    """Return our lines of the crontab, or our unit files; nothing where there are none."""
    if system is System.CRON:
        text = _crontab()
        ours = text[len(schedule.without_block(text)) :] if text else ""
        rest = schedule.without_block(text).splitlines()
        lines = text.splitlines()
        return tuple(line for line in lines if line not in rest) if ours or lines != rest else ()
    if system is System.SYSTEMD:
        return tuple(str(path) for path in sorted(_unit_folder().glob("ulasis-backup-*.*")))
    return ()


def _crontab() -> str:
    """Return the user's crontab, empty if there is none."""
    done = _run(["crontab", "-l"])
    if done.returncode:
        said = done.stderr.lower()
        if "no crontab" in said:
            return ""
        raise ScheduleFailed(f"`crontab -l` failed: {done.stderr.strip()}", hint=CONTAINER_HINT)
    return done.stdout


def _set_crontab(text: str) -> None:
    done = _run(["crontab", "-"], stdin=text)
    if done.returncode:
        message = f"`crontab -` refused the new crontab: {done.stderr.strip()}"
        raise ScheduleFailed(message, hint="nothing was changed; --output FOLDER writes the lines")


def _unit_folder() -> Path:
    """Return where units of this user go; SYSTEMD_UNIT_PATH is systemd's own variable."""
    chosen = os.environ.get("SYSTEMD_UNIT_PATH", "").split(":")[0]
    if chosen:
        return Path(chosen)
    if os.getuid() == 0:
        return SYSTEM_UNITS
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "systemd" / "user"


def _forget_others(folder: Path, kept: set[str]) -> tuple[str, ...]:
    """Stop and remove our units but *kept*; return their names."""
    ours = (*folder.glob("ulasis-backup-*.timer"), *folder.glob("ulasis-backup-*.service"))
    names = sorted(path.name for path in ours)
    gone = [name for name in names if name not in kept]
    timers = [name for name in gone if name.endswith(".timer")]
    if timers:
        _systemctl("disable", "--now", *timers)
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    return tuple(gone)


def _systemctl(*words: str) -> None:
    command = ["systemctl", *([] if os.getuid() == 0 else ["--user"]), *words]
    done = _run(command)
    if done.returncode:
        message = f"`{' '.join(command)}` failed: {done.stderr.strip()}"
        raise ScheduleFailed(message, hint=CONTAINER_HINT)


def _run(command: Sequence[str], *, stdin: str = "") -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        raise ScheduleFailed(f"{command[0]} is not installed", hint=CONTAINER_HINT)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
