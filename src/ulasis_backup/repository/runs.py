"""Records in ``runs/`` of how the last run of each series ended: they decide whether to prune.

``succeeded-<series>.json`` is written when a run has made its backup, and taken away when the next
one begins: a full disk lets nothing be written, but always lets something be deleted. So a series
without it is one whose last run failed, was killed, or is going on, and nothing of it is removed.
``unfinished-<series>.json`` says which of these, as far as there was room to write it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from ulasis_backup.errors import IntegrityError, StorageError, StorageFull, UlasisError
from ulasis_backup.repository import canonical
from ulasis_backup.storage.base import Storage, read_whole

FOLDER = "runs"
FORMAT = 1
MOST_BYTES = 1 << 16
_PLAIN = re.compile(r"[0-9a-f]{1,64}")


class State(StrEnum):
    """How the last run of a series ended."""

    SUCCEEDED = "succeeded"
    BEGUN = "begun"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """How the last run of a series ended; ``at`` is when it ended or began.

    ``error`` is the class of the error and ``exit_code`` its number. Nothing more is kept of it:
    messages may name what is encrypted elsewhere.
    """

    state: State
    at: str = ""
    error: str = ""
    exit_code: int = 0

    @property
    def for_space(self) -> bool:
        """Tell whether it failed for lack of space, or left no word about why it ended."""
        unknown = self.state in (State.UNKNOWN, State.BEGUN)
        return unknown or self.exit_code == StorageFull.exit_code

    @property
    def reason(self) -> str:
        """Return why nothing is removed; empty after a success."""
        return {
            State.SUCCEEDED: "",
            State.BEGUN: f"the run begun at {self.at} goes on, or was cut off",
            State.FAILED: f"the last run failed at {self.at} ({self.error}, {self.exit_code})",
            State.UNKNOWN: "no run has recorded a success since the last one began",
        }[self.state]


def begin(storage: Storage, series: str, *, at: str) -> None:
    """Record that a run of *series* begins. Needs no space, or tells of none being there."""
    _put(storage, _unfinished(series), {"state": State.BEGUN, "at": at})
    storage.delete(_succeeded(series))


def fail(storage: Storage, series: str, error: UlasisError, *, at: str) -> None:
    """Record that a run of *series* failed; as far as there is room, why."""
    body = {
        "state": State.FAILED, "at": at, "error": type(error).__name__,
        "exit_code": error.exit_code,
    }  # fmt: skip
    _put(storage, _unfinished(series), body)
    with contextlib.suppress(StorageError):
        storage.delete(_succeeded(series))


def succeed(storage: Storage, series: str, *, at: str, backup_id: str) -> None:
    """Record that a run of *series* made a backup: what earlier ones left is done with.

    Raises StorageError; then nothing of the series is removed until a later run succeeds.
    """
    storage.delete(_unfinished(series))
    body = {"format": FORMAT, "state": State.SUCCEEDED, "at": at, "backup": backup_id}
    storage.put(_succeeded(series), [canonical.to_bytes(body)], replace=True)


def last_run(storage: Storage, series: str) -> LastRun:
    """Return how the last run of *series* ended. What cannot be read is no success."""
    unfinished = _read(storage, _unfinished(series))
    if unfinished is not None and unfinished.state is not State.SUCCEEDED:
        return unfinished
    succeeded = _read(storage, _succeeded(series))
    if succeeded is not None and succeeded.state is State.SUCCEEDED:
        return succeeded
    return LastRun(state=State.UNKNOWN)


def _read(storage: Storage, name: str) -> LastRun | None:
    if storage.stat(name) is None:
        return None
    try:
        body = canonical.from_bytes(read_whole(storage, name, most=MOST_BYTES), name=name)
        code = body.get("exit_code", 0)
        return LastRun(
            state=State(body["state"]),
            at=str(body.get("at", "")),
            error=str(body.get("error", "")),
            exit_code=code if isinstance(code, int) else 0,
        )
    except (IntegrityError, StorageError, KeyError, ValueError):
        return LastRun(state=State.UNKNOWN)


def _put(storage: Storage, name: str, body: canonical.Json) -> None:
    """Write a record where there is room: without it the absence of the other one tells enough."""
    with contextlib.suppress(StorageError):
        storage.put(name, [canonical.to_bytes({"format": FORMAT, **body})], replace=True)


def _succeeded(series: str) -> str:
    return f"{FOLDER}/succeeded-{_safe(series)}.json"


def _unfinished(series: str) -> str:
    return f"{FOLDER}/unfinished-{_safe(series)}.json"


def _safe(series: str) -> str:
    """Return *series* for a file name: a manifest that nobody signed may say anything."""
    plain = _PLAIN.fullmatch(series) is not None
    return series if plain else hashlib.sha256(series.encode("utf-8", "replace")).hexdigest()
