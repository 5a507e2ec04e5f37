"""What the last self-test of this installation found, and whether it still speaks of it.

One small file in the state folder: it is about the programs of this machine, not about a
repository.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ulasis_backup import __version__
from ulasis_backup.config import Config
from ulasis_backup.operations.self_test import SelfTest, Versions
from ulasis_backup.statefile import replace_file

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """When programs were tried, which, by which version of this tool, and whether they passed."""

    at: str
    tool: str
    passed: bool
    versions: Versions


def record(config: Config, found: SelfTest) -> Path | None:
    """Keep what *found* says; return the file, None where none can be written."""
    document = {
        "format": FORMAT, "at": found.at, "tool": __version__, "passed": found.passed,
        "versions": asdict(found.versions),
        "methods": {result.method: str(result.outcome) for result in found.results},
    }  # fmt: skip
    path = _path(config)
    try:
        replace_file(path, json.dumps(document, indent=2) + "\n")
    except OSError:
        return None
    return path


def last(config: Config) -> Tried | None:
    """Return what the last self-test left, None where there is nothing that can be read."""
    try:
        document = json.loads(_path(config).read_text(encoding="utf-8"))
        versions = Versions(**{name: str(document["versions"][name]) for name in _NAMES})
        return Tried(
            at=str(document["at"]),
            tool=str(document["tool"]),
            passed=document["passed"] is True,
            versions=versions,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def changed(then: Tried, now: Versions) -> tuple[str, ...]:
    """Return what is not the same any more, e.g. ``client: Ver 15.1 …, now Ver 15.2 …``."""
    pairs = [(name, getattr(then.versions, name), getattr(now, name)) for name in _NAMES]
    pairs.append(("ulasis-backup", then.tool, __version__))
    return tuple(
        f"{name}: {old or 'none'}, now {new or 'none'}" for name, old, new in pairs if old != new
    )


_NAMES = ("server", "dump", "client")


def _path(config: Config) -> Path:
    return config.state_folder / "self-test.json"
