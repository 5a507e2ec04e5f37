"""``schedule``: have the operating system make backups, verify them and test restores."""

from __future__ import annotations

import os
import re
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
from ulasis_backup.operations.schedule_owner import Owner
from ulasis_backup.schedule import Block, Job, Place
from ulasis_backup.settings import Settings

ROOT_LOG = Path("/var/log/ulasis-backup.log")
SYSTEM_UNITS = Path("/etc/systemd/system")
UNIT = re.compile(
    r"ulasis-backup-(?:(?P<name>.+)-)?(?:backup|verify|test-restore)\.(?:service|timer)"
)
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

    ``warnings`` are what would not work unattended, ``state`` the folder that has to be there,
    ``owner`` is whose it is.
    """

    owner: Owner
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
    config: Config, system: System, whose: Owner, *, log: Path | None = None, program: str = ""
) -> Plan:
    """Return what the schedule of *whose*, kept by *system*, consists of.

    It may run on another machine. *log* takes the output under cron; *program* is the command,
    where it is not this one. Raises SettingsError for times that *system* cannot keep.
    """
    place = _place(config, whose, log=log, program=program)
    found = jobs(config.settings)
    if system is System.CRON:
        files = {"ulasis-backup.crontab": schedule.crontab_block(found, place)}
        commands: tuple[str, ...] = ("crontab -e",)
    elif system is System.SYSTEMD:
        files = schedule.units(found, place)
        timers = [name for name in files if name.endswith(".timer")]
        commands = ("systemctl daemon-reload", f"systemctl enable --now {' '.join(timers)}")
    else:
        files = {f"{place.called(job)}.xml": schedule.task_xml(job, place) for job in found}
        commands = tuple(
            schedule.schtasks_line(job, place, f"{place.called(job)}.xml") for job in found
        )
    return Plan(
        owner=whose,
        system=system,
        jobs=found,
        files=files,
        commands=commands,
        warnings=tuple(_warnings(config, os.environ)),
        state=config.state_folder.absolute(),
    )


def _place(config: Config, whose: Owner, *, log: Path | None, program: str) -> Place:
    settings = config.settings
    here = Path(whose.folder)
    command = (program,) if program else _own_command()
    return Place(
        program=(*command, *config.flags),
        folder=whose.folder,
        name=whose.name,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A schedule that is there: its ``name``, empty for one of an earlier version, and its text.

    ``parts`` are its lines of the crontab, or its unit files.
    """

    name: str
    text: str
    parts: tuple[str, ...]


def install(found: Plan) -> tuple[str, ...]:
    """Have the operating system keep the schedule; return what was changed.

    What an earlier installation of the same owner left is replaced. Raises ScheduleFailed,
    SettingsError.
    """
    if found.system is System.CRON:
        before = _crontab()
        ours = [one for one in schedule.blocks(before) if found.owner.owns(one.name, one.text)]
        _set_crontab(schedule.with_block(before, found.files["ulasis-backup.crontab"], ours))
        return ("the crontab of this user",)
    if found.system is System.SYSTEMD:
        folder = _unit_folder()
        with suppress(OSError):
            # Alerts that cannot be remembered are told of when that happens.
            found.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        before_units = _units(folder)
        written = write(found, folder)
        old = [one for one in before_units if found.owner.owns(one.name, one.text)]
        _forget({part for one in old for part in one.parts} - {str(path) for path in written})
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", *(path.name for path in written if path.suffix == ".timer"))
        return tuple(str(path) for path in written)
    message = "tasks of Windows are not installed from here"
    raise SettingsError(message, hint="--output FOLDER writes them; run the printed `schtasks`")


def remove(system: System, whose: Owner | None) -> tuple[str, ...]:
    """Take the schedule of *whose* away, None: each of ours; return what was changed.

    Raises ScheduleFailed, SettingsError.
    """
    if system is System.CRON:
        before = _crontab()
        gone = [one for one in schedule.blocks(before) if _is_of(one, whose)]
        if not gone:
            return ()
        _set_crontab(schedule.without_blocks(before, gone))
        return ("the crontab of this user",)
    if system is System.SYSTEMD:
        units = [one for one in _units(_unit_folder()) if _is_of(one, whose)]
        parts = sorted(part for one in units for part in one.parts)
        if parts:
            _forget(set(parts))
            _systemctl("daemon-reload")
        return tuple(parts)
    message = "tasks of Windows are not removed from here"
    raise SettingsError(message, hint="on Windows: schtasks /Delete /TN and the name of the task")


def _is_of(one: Block | Installed, whose: Owner | None) -> bool:
    return whose is None or whose.owns(one.name, one.text)


def installed(system: System) -> tuple[Installed, ...]:
    """Return our schedules that are there. Raises ScheduleFailed, SettingsError."""
    if system is System.CRON:
        return tuple(
            Installed(name=one.name, text=one.text, parts=tuple(one.text.splitlines()))
            for one in schedule.blocks(_crontab())
        )
    return _units(_unit_folder()) if system is System.SYSTEMD else ()


def _units(folder: Path) -> tuple[Installed, ...]:
    """Return the schedules whose units lie in *folder*."""
    parts: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("ulasis-backup-*")):
        match = UNIT.fullmatch(path.name)
        if match:
            parts.setdefault(match["name"] or "", []).append(path)
    return tuple(
        Installed(
            name=name,
            text="".join(_text(path) for path in paths if path.suffix == ".service"),
            parts=tuple(str(path) for path in paths),
        )
        for name, paths in parts.items()
    )


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", errors="replace")
    return ""


def lingering(user: str) -> str:
    """Return what keeps the units of *user* from running without a login; empty: nothing."""
    wanted = f"`sudo loginctl enable-linger {user}` lets them run always"
    try:
        done = _run(["loginctl", "show-user", user, "-p", "Linger"])
    except ScheduleFailed:
        return f"it is unknown whether timers run while {user} is not logged in; {wanted}"
    # Of one who is neither logged in nor lingers it knows nothing, and fails.
    if done.returncode == 0 and "Linger=yes" in done.stdout:
        return ""
    return f"timers run only while {user} is logged in, and not after the next start; {wanted}"


def own_lingering(system: System) -> str:
    """Return the same of this user where *system* keeps units of users, else nothing."""
    if system is not System.SYSTEMD or os.getuid() == 0:
        return ""
    import pwd  # noqa: PLC0415 (Windows has none)

    number = os.getuid()
    try:
        return lingering(pwd.getpwuid(number).pw_name)
    except KeyError:
        return lingering(str(number))


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


def _forget(units: set[str]) -> None:
    """Stop and remove *units*, paths of timers and services."""
    paths = [Path(unit) for unit in sorted(units)]
    timers = [path.name for path in paths if path.suffix == ".timer"]
    if timers:
        _systemctl("disable", "--now", *timers)
    for path in paths:
        path.unlink(missing_ok=True)


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
