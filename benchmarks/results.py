"""Figures are kept in a file as soon as they are measured: a run can be put together from parts.

A file holds the parts that one commit was measured with at one size, on one machine. What is from a
changed working tree has a file, too, and is never taken for the commit's.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import Report
from benchmarks.measure import Bound

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "benchmarks"
"""Ignored by git."""


def commit() -> str:
    """Return the commit that is measured; with `-changed` when the working tree differs from it."""
    found = _said("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _said("git", "status", "--porcelain", "--untracked-files=no", "--", "src")
    return f"{found}-changed" if changed else found


def machine() -> str:
    """Return what figures depend on: processor, memory, kernel and server."""
    facts = {
        key.strip(): value.strip()
        for line in _lines(Path("/proc/cpuinfo"))
        for key, _, value in [line.partition(":")]
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = facts.get("model name", platform.machine())
    return (
        f"{os.cpu_count()} processors, {model}; {memory:.0f} GiB; "
        f"Linux {platform.release()}; {_said('mariadbd', '--version')}"
    )


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _lines(path: Path) -> Sequence[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was measured so far of *commit* on *machine*, with *options*, kept in *folder*."""

    folder: Path
    commit: str
    machine: str
    options: Mapping[str, int]

    @property
    def path(self) -> Path:
        """Return the file; other options have another one."""
        chosen = "-".join(f"{name}{value}" for name, value in self.options.items())
        return self.folder / f"rows-{self.commit}-{chosen}.json"

    def parts(self) -> dict[str, Report]:
        """Return the parts that were measured, by their names; none of another machine."""
        if not self.path.exists():
            return {}
        document = json.loads(self.path.read_text(encoding="utf-8"))
        if document["machine"] != self.machine:
            return {}
        return {name: _report(found) for name, found in document["parts"].items()}

    def keep(self, name: str, report: Report) -> None:
        """Add a part; whoever is killed meanwhile leaves the file as it was."""
        parts = self.parts() | {name: report}
        document = {
            "commit": self.commit,
            "machine": self.machine,
            "options": dict(self.options),
            "parts": {name: asdict(part) for name, part in parts.items()},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(document, indent=2), encoding="utf-8")
        new.replace(self.path)


def _report(found: dict[str, Any]) -> Report:
    bounds = [Bound(**bound) for bound in found["bounds"]]
    return Report(**{**found, "bounds": bounds})
