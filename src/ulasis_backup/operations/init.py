"""``init`` and ``keys generate``: a repository, a commented settings file, a key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ulasis_backup.errors import SettingsError
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.same_place import remember
from ulasis_backup.repository.repository import ensure
from ulasis_backup.settings import SECRETS, Settings
from ulasis_backup.streams.keys import KEY_BYTES

SETTINGS_FILE = "ulasis-backup.toml"
SKIPPED = frozenset({"backup_assertions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What ``init`` made; None where something was there already."""

    repository: str
    made_repository: bool
    settings_file: Path | None


def generate_key() -> str:
    """Return a new 256-bit key as 64 hexadecimal characters."""
    return os.urandom(KEY_BYTES).hex()


def initialise(context: Context, folder: Path) -> Initialised:
    """Make the repository and, in *folder*, a commented settings file unless there is one."""
    made = ensure(context.repository)
    remember(context)
    path = folder / SETTINGS_FILE
    written = _write_new(path, settings_template())
    return Initialised(
        repository=context.repository.storage.place,
        made_repository=made,
        settings_file=path if written else None,
    )


def write_key(path: Path) -> None:
    """Write a new key to *path*, readable by its owner alone; raises SettingsError if it exists."""
    if not _write_new(path, generate_key() + "\n"):
        message = f"{path} exists already and was left as it is"
        raise SettingsError(message, hint="a key must never be overwritten; choose another name")


def settings_template() -> str:
    """Return a settings file that names every setting with its default, commented out."""
    lines = [
        "# Settings of ulasis-backup. Flags, the environment and .env win over this file.",
        '# Secrets are better kept in files of their own: db_password_file = "…".',
        "",
    ]
    for name, field in Settings.model_fields.items():
        if name in SECRETS or name in SKIPPED:
            continue
        default = field.get_default(call_default_factory=True)
        lines += [f"# {field.description}", f"# {name} = {_toml(default)}", ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return '"' + ("" if value is None else str(value)) + '"'


def _write_new(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise SettingsError(message, hint="choose a folder that this user may write to") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True
