"""``schedule`` as a user runs it, with a crontab program and a systemctl of our own on PATH."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CRONTAB = """#!/bin/sh
file="$CRONTAB_FILE"
case "$1" in
  -l) if [ -e "$file" ]; then cat "$file"; else echo "no crontab for $USER" >&2; exit 1; fi ;;
  -) cat > "$file" ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$SYSTEMCTL_LOG"
"""


def _run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("BACKUP_", "DB_"))}
    environment = {
        **clean, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder),
        "BACKUP_STATE_DIR": str(folder / "state"),
        "CRONTAB_FILE": str(folder / "crontab"), "SYSTEMCTL_LOG": str(folder / "systemctl.log"),
        **more,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "ulasis_backup", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name, text in (("crontab", CRONTAB), ("systemctl", SYSTEMCTL)):
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def test_install_show_and_remove_leave_the_rest_of_the_crontab_alone(folder: Path) -> None:
    (folder / "crontab").write_text("5 5 * * * mine\n")

    installed = _run(folder, "schedule", "install", BACKUP_SCHEDULE_VERIFY="off")
    text = (folder / "crontab").read_text()
    again = _run(folder, "schedule", "install")
    shown = json.loads(_run(folder, "--json", "schedule", "show").stdout)
    removed = _run(folder, "schedule", "remove")

    assert installed.returncode == again.returncode == removed.returncode == 0, installed.stderr
    assert text.startswith("5 5 * * * mine\n")
    assert "backup --scheduled" in text
    assert "verify-all" not in text
    assert [job["name"] for job in shown["jobs"]] == ["backup", "verify", "test-restore"]
    assert len(shown["installed"]) == 8
    assert (folder / "crontab").read_text() == "5 5 * * * mine\n"
    assert "there was no schedule" in _run(folder, "schedule", "remove").stdout


def test_settings_that_only_this_shell_knows_are_named(folder: Path) -> None:
    found = _run(folder, "schedule", "show", DB_PASSWORD="hidden", DB_NAME="shop")

    assert "DB_NAME, DB_PASSWORD" in found.stderr
    assert "hidden" not in found.stdout + found.stderr


def test_a_line_as_installed_runs_the_command(folder: Path) -> None:
    (folder / ".env").write_text(
        "BACKUP_DIR=nightly\nDB_HOST=localhost\nDB_SOCKET=/none\n"
        f"BACKUP_STATE_DIR={folder / 'state'}\n"
    )
    _run(folder, "schedule", "install", "--log", str(folder / "a log%.txt"))
    line = next(
        line for line in (folder / "crontab").read_text().splitlines() if "verify-all" in line
    )
    # What cron does: five fields away, \\% is %, the rest goes to the shell.
    command = line.split(" ", 5)[5].replace("\\%", "%")

    done = subprocess.run(["/bin/sh", "-c", command], cwd="/", check=False, env={"PATH": "/bin"})

    assert done.returncode == 60, "there is nothing to verify yet"
    assert "nothing to verify" in (folder / "a log%.txt").read_text()


def test_units_are_installed_and_removed(folder: Path) -> None:
    units = folder / "units"
    where = {"SYSTEMD_UNIT_PATH": str(units), "BACKUP_STATE_DIR": str(folder / "my state")}
    _run(folder, "schedule", "install", "--for", "systemd", **where)

    assert len(list(units.iterdir())) == 6
    (service,) = [path.read_text() for path in units.glob("*-backup.service")]
    assert f'"-{folder}/my state"' in service, "what is remembered may be written"
    assert (folder / "my state").is_dir()
    said = (folder / "systemctl.log").read_text()
    assert "daemon-reload" in said
    assert re.search(r"enable --now ulasis-backup-\S+-backup.timer", said)
    _run(folder, "schedule", "remove", "--for", "systemd", **where)
    assert not list(units.iterdir())


def test_files_for_another_machine_are_written(folder: Path) -> None:
    done = _run(
        folder, "--json", "schedule", "install", "--for", "windows", "--output", "tasks",
        "--program", r"C:\tools\ulasis-backup.exe", "--folder", r"D:\backups", "--name", "shop",
    )  # fmt: skip

    written = sorted(path.name for path in (folder / "tasks").iterdir())
    assert done.returncode == 0
    assert written == [
        f"ulasis-backup-shop-{job}.xml" for job in ("backup", "test-restore", "verify")
    ]  # fmt: skip
    text = (folder / "tasks/ulasis-backup-shop-backup.xml").read_text("utf-16")
    assert r"<WorkingDirectory>D:\backups</WorkingDirectory>" in text
    assert json.loads(done.stdout)["commands"][0].startswith("schtasks /Create")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--for", "launchd"), {}, "choose cron, systemd or windows"),
        ((), {"BACKUP_SCHEDULE_BACKUP": "daily"}, "no cron expression"),
        ((), {"PATH": "/nowhere"}, "crontab is not installed"),
        (("--name", "a b"), {}, "no name for a schedule"),
    ],
)
def test_what_cannot_be_installed_is_an_error_with_a_hint(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    done = _run(folder, "schedule", "install", *arguments, **environment)

    assert done.returncode != 0
    assert said in done.stderr
    assert "HINT" in done.stderr
    assert not (folder / "crontab").exists()


@pytest.mark.parametrize("system", ["cron", "systemd"])
def test_schedules_of_two_settings_files_stand_side_by_side(folder: Path, system: str) -> None:
    units = {"SYSTEMD_UNIT_PATH": str(folder / "units")}
    for name in ("shop", "blog"):
        (folder / f"{name}.toml").write_text(f'backup_dir = "{folder}/{name}"\n')

    def said(file: str, *words: str) -> dict[str, Any]:
        flags = ("--json", "--config", f"{file}.toml", "schedule")
        done = _run(folder, *flags, *words, "--for", system, **units)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    first, second = said("shop", "install"), said("blog", "install")
    said("shop", "install")
    shown = said("shop", "show")

    assert first["name"] != second["name"]
    assert shown["others"] == [second["name"]]
    assert len(shown["installed"]) == (8 if system == "cron" else 6)
    assert said("shop", "remove")["others"] == [second["name"]]
    assert said("blog", "show")["installed"]
    assert said("shop", "remove", "--name", second["name"])["others"] == []
    said("shop", "install")
    said("blog", "install")
    assert said("blog", "remove", "--all")["others"] == []
    assert said("shop", "show")["installed"] == []


@pytest.mark.parametrize("system", ["cron", "systemd"])
def test_a_schedule_without_a_name_is_replaced_by_its_own_and_left_by_others(
    folder: Path, system: str
) -> None:
    units = {"SYSTEMD_UNIT_PATH": str(folder / "units")}
    where = ("schedule", "install", "--for", system)
    done = json.loads(_run(folder, "--json", *where, **units).stdout)
    # As earlier versions wrote it.
    for path in (folder / "crontab", *(folder / "units").glob("*")):
        if path.exists():
            text = path.read_text().replace(f" {done['name']}", "")
            path.write_text(text)
            path.rename(path.with_name(path.name.replace(f"-{done['name']}", "")))

    other = _run(folder, "--backup-dir", "other", *where, **units)
    beside = json.loads(_run(folder, "--json", "schedule", "show", "--for", system, **units).stdout)
    again = _run(folder, *where, **units)
    after = json.loads(_run(folder, "--json", "schedule", "show", "--for", system, **units).stdout)

    assert (other.returncode, again.returncode) == (0, 0)
    assert beside["installed"], "what has no name is known by its folder and options"
    assert len(beside["others"]) == 1
    assert (len(after["installed"]), len(after["others"])) == (len(beside["installed"]), 1)
    assert any(done["name"] in line for line in after["installed"])


LOGINCTL = """#!/bin/sh
test "$*" = "show-user 54321 -p Linger" || exit 2
cat "$HOME/linger" || { echo "User ID 54321 is not logged in or lingering" >&2; exit 1; }
"""


@pytest.mark.parametrize(
    ("linger", "said"),
    [
        ("Linger=yes", ""),
        ("Linger=no", "timers run only while 54321 is logged in"),
        (None, "timers run only while 54321 is logged in"),
    ],
)
def test_timers_of_a_user_that_end_with_the_login_are_told_of(
    folder: Path, linger: str | None, said: str
) -> None:
    (folder / "bin/loginctl").write_text(LOGINCTL)
    (folder / "bin/loginctl").chmod(0o755)
    if linger:
        (folder / "linger").write_text(f"{linger}\n")
    # A user that is not root, and that the tests need not have.
    (folder / "sitecustomize.py").write_text("import os\nos.getuid = lambda: 54321\n")
    where = {"SYSTEMD_UNIT_PATH": str(folder / "units"), "PYTHONPATH": str(folder)}

    for verb in ("show", "install"):
        done = _run(folder, "schedule", verb, "--for", "systemd", **where)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert ("loginctl enable-linger 54321" in done.stderr) == bool(said)
    written = _run(folder, "schedule", "install", "--for", "systemd", "--output", "x", **where)
    assert "enable-linger" not in written.stderr, "that is for another machine"
