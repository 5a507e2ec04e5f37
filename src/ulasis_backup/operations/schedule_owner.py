"""Whose schedule is it? Several may be installed for one user, and each replaces its own alone."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ulasis_backup.config import FLAGS, Config
from ulasis_backup.errors import SettingsError

OPTIONS = ("--config", *FLAGS.values())
"""The global options that choose server and repository; each has a value."""
MOST_LETTERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A schedule by its ``name``, by the ``folder`` it runs in and the global ``options``."""

    name: str
    folder: str = ""
    options: tuple[str, ...] = ()

    def owns(self, name: str, text: str) -> bool:
        """Tell whether a schedule that is called *name* and consists of *text* is this one.

        Also under another name, or none, as earlier versions wrote them: what runs the same
        command in the same folder would do everything twice.
        """
        if name == self.name:
            return True
        return bool(self.folder) and origin(text) == (self.folder, self.options)


def owner(config: Config, *, folder: str, name: str) -> Owner:
    """Return whose the schedule is that runs in *folder*, empty: in this one.

    Without a *name* it is called after what it is known by: the folder and the options.
    Raises SettingsError.
    """
    place = folder or str(Path.cwd())
    called = check_name(name) if name else _name(place, config.flags)
    return Owner(name=called, folder=place, options=config.flags)


def check_name(name: str) -> str:
    """Return *name*; raises SettingsError where a unit cannot be called so."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
        message = f"--name: {name!r} is no name for a schedule"
        raise SettingsError(message, hint="40 letters, digits, `-`, `_` and `.` at the most")
    return name


def _name(folder: str, options: Sequence[str]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", Path(folder).name.lower())[:MOST_LETTERS].strip("-")
    digest = hashlib.sha256("\0".join((folder, *options)).encode()).hexdigest()[:6]
    return f"{words}-{digest}" if words else digest


def origin(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the folder and the global options of *text*: lines of a crontab, or a service."""
    folder, words = "", [""]
    try:
        for line in text.splitlines():
            if line.startswith("WorkingDirectory="):
                folder = line.partition("=")[2].replace("%%", "%")
            elif line.startswith("ExecStart="):
                command = line.partition("=")[2].replace("%%", "%").replace("$$", "$")
                words = shlex.split(command)
            elif " cd " in line and not line.startswith("#"):
                # Five fields, and then `cd FOLDER && COMMAND`.
                _, folder, _, *words = shlex.split(line.split(" ", 5)[5].replace(r"\%", "%"))
    except (ValueError, IndexError):
        return None
    options = (word for pair in pairwise(words) if pair[0] in OPTIONS for word in pair)
    return (folder, tuple(options)) if folder else None
