"""The anomaly watch: after a backup, is it unlike those before it? Then the last good one is held.

The hold stays until a person has looked and releases it; as long it is an open problem of
``status``, and alerts tell of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ulasis_backup.anomaly import Anomaly, Facts, anomalies
from ulasis_backup.errors import UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.hold import hold
from ulasis_backup.repository import holds, proofs, repository
from ulasis_backup.repository.holds import Hold
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.repository import Entry

NOTE = "anomaly watch: "
"""How the note of a hold begins that nobody but the watch has put."""

BY_HAND = "held by hand"
"""The note of a hold that somebody has put without one, beside ours."""

MOST_SAID = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is unlike before in a backup, and which one before it is held now (empty: none).

    With ``problem`` it is not known, or the last good one could not be held.
    """

    backup: str
    anomalies: tuple[Anomaly, ...]
    held: str = ""
    problem: UlasisError | None = None


def watch(context: Context, made: MadeBackup) -> Watched:
    """Compare a new backup with those before it; hold the last good one where it is unlike them.

    Raises StorageError and its children, Busy; what cannot be compared is no anomaly.
    """
    now = facts_of(made.manifest)
    before = _before(context, made.manifest)
    found = (
        anomalies(now, [facts for entry in before if (facts := facts_of(entry.manifest))])
        if now
        else ()
    )
    if not found:
        return Watched(backup=str(made.name), anomalies=())
    good = _last_good(context, before)
    said = "; ".join(str(one) for one in found[:MOST_SAID])
    if len(found) > MOST_SAID:
        said += f"; and {len(found) - MOST_SAID} more"
    hint = "look whether that is meant; `ulasis-backup show` tells what each of them holds"
    if good:
        note = _hold(context, good, made.manifest.header.id)
        hint += f"; {good.name} is held until `{_closing(good, note)}`"
    context.observe(Notice(message=f"{made.name} is unlike the backups before: {said}", hint=hint))
    return Watched(backup=str(made.name), anomalies=found, held=str(good.name) if good else "")


def watched_holds(held: Mapping[str, Hold], entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the backups among *entries* that the watch holds, and nobody has released."""
    for entry in entries:
        found = held.get(entry.manifest.header.id)
        if found and NOTE in found.note:
            yield entry


def how_to_close(held: Mapping[str, Hold], entry: Entry) -> str:
    """Return the command that ends what the watch has begun with *entry*, and no hold but its."""
    return _closing(entry, held[entry.manifest.header.id].note)


def _hold(context: Context, entry: Entry, unlike: str) -> str:
    """Hold *entry*, beside a hold that somebody has put already; return the note.

    In the open: the note names no table.
    """
    before = holds.held_one(context.repository, entry.manifest)
    theirs = _theirs(before.note) or BY_HAND if before and not _only_ours(before.note) else ""
    note = f"{theirs}; " if theirs else ""
    note += f"{NOTE}{unlike} is unlike it"
    hold(context, entry.name, note=note)
    return note


def _only_ours(note: str) -> bool:
    return note.startswith(NOTE)


def _theirs(note: str) -> str:
    """Return what of a note is not the watch's."""
    return note.partition(NOTE)[0].removesuffix("; ")


def _closing(entry: Entry, note: str) -> str:
    if _only_ours(note):
        return f"ulasis-backup release {entry.name}"
    # Somebody else holds it as well, and goes on to.
    return shlex.join(["ulasis-backup", "hold", str(entry.name), "--note", _theirs(note)])


def facts_of(manifest: Manifest) -> Facts | None:
    """Return what a backup says about itself; None where that cannot be read."""
    details = manifest.details
    if details is None:
        return None
    return Facts(
        backup=manifest.header.id,
        rows={f"{table.database}.{table.name}".lstrip("."): table.rows for table in details.tables},
        plain_bytes=details.plain.bytes,
        added_bytes=manifest.added_bytes,
    )


def _before(context: Context, manifest: Manifest) -> list[Entry]:
    """Return the earlier backups of the same series and method, oldest first."""
    header = manifest.header
    listing = repository.listing(context.repository)
    return sorted(
        (
            entry
            for entry in repository.trusted(listing.entries)
            if entry.problem is None
            and entry.manifest.header.series == header.series
            and entry.manifest.header.method == header.method
            and entry.manifest.header.kind is not Kind.SAFETY
            and not entry.manifest.header.partial
            and entry.manifest.header.sequence < header.sequence
        ),
        key=lambda entry: entry.manifest.header.sequence,
    )


def _last_good(context: Context, before: Sequence[Entry]) -> Entry | None:
    standings = proofs.standings(context.repository, before)
    good = (
        entry
        for entry in reversed(before)
        if standings[entry.manifest.header.id].verdict is not Verdict.FAILED
    )
    return next(good, None)


def watch_all(context: Context, made: Iterable[MadeBackup]) -> tuple[Watched, ...]:
    """Watch every backup *made*, and return what is not usual. What fails is told and returned."""
    found: list[Watched] = []
    for backup in made:
        try:
            found.append(watch(context, backup))
        except UlasisError as error:
            message = f"{backup.name} was not compared with those before: {error.message}"
            context.observe(Notice(message=message, hint=error.hint))
            found.append(Watched(backup=str(backup.name), anomalies=(), problem=error))
    return tuple(one for one in found if one.anomalies or one.problem)
