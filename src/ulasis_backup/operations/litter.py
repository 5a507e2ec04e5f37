"""What killed runs and hasty hands left in the repository, and which of it may go.

Only names of ours are looked at; a file of anybody else, the old scripts' too, is never touched.
Whatever shows that a payload was once a whole backup keeps it: its manifest may come back, and
``restore --orphan`` opens some without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ulasis_backup.errors import NameTaken, UlasisError
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.remove import delete
from ulasis_backup.repository import holds, locks, marks, names, proofs, repository
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.storage.base import Blob

GONE = "marks/gone"
"""Where it is noted since when a backup is gone whose key copy and proofs are still there."""

UNFINISHED_AGE = timedelta(days=1)
"""How old a payload without manifest must be: between the two no run takes as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that is no backup: its name, whether it goes, and why."""

    name: str
    remove: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The names in the repository, and the storage's time."""

    now: datetime
    root: dict[str, Blob]
    keys: dict[str, Blob]
    proofs: dict[str, Blob]
    gone: dict[str, Blob]
    held: frozenset[str]
    removing: frozenset[str]

    @property
    def whole(self) -> frozenset[str]:
        """Return the ids of the backups that have a manifest."""
        found = (names.parse_manifest(name) for name in self.root)
        return frozenset(payload.backup_id for payload in found if payload)

    @property
    def proven(self) -> frozenset[str]:
        return frozenset(name.split("/")[1] for name in self.proofs)

    @property
    def there(self) -> frozenset[str]:
        """Return the ids of the backups of which there is a payload or a manifest."""
        found = (names.parse_manifest(name) or names.parse_payload(name) for name in self.root)
        return frozenset(payload.backup_id for payload in found if payload)

    def old(self, blob: Blob | None, age: timedelta) -> bool:
        return blob is not None and self.now - blob.modified_at > age

    def gone_since(self, backup_id: str) -> Blob | None:
        return self.gone.get(f"{GONE}/{backup_id}")

    def orphans(self) -> Iterator[tuple[str, str]]:
        """Yield what belongs to backups that are gone: its name, and the id of the backup."""
        there = self.there
        for name in (*self.keys, *self.proofs):
            backup_id = name.split("/")[1].removesuffix(".json")
            if names.is_backup_id(backup_id) and backup_id not in there:
                yield name, backup_id


def find_litter(context: Context) -> tuple[Leftover, ...]:
    """Return what is left over, and decide about it. Changes nothing."""
    scene = _scene(context)
    return (
        *_half_removed(scene),
        *_payloads(scene),
        *_manifests(context, scene),
        *_orphans(context, scene),
    )


def sweep(context: Context, found: tuple[Leftover, ...]) -> int:
    """Remove of *found* what may go and is still left over; return how many files that were."""
    storage = context.repository.storage
    gone = 0
    for leftover in found:
        if not leftover.remove or not _still(context, leftover.name):
            continue
        payload = names.parse_payload(leftover.name)
        if payload:
            delete(context.repository, payload)
            locks.end_removing(storage, payload.backup_id)
        else:
            # Key copy and proofs of a manifest stay a while: the payload may be somewhere else.
            storage.delete(leftover.name)
        gone += 1
    grace = timedelta(hours=context.config.settings.backup_grace_hours)
    locks.sweep(storage, marks.time_of(storage), grace=grace)
    scene = _scene(context)
    _sweep_signs(context, scene)
    _note_gone(context, scene)
    return gone


def _note_gone(context: Context, scene: _Scene) -> None:
    """Note which backups are gone, from when on; and of those that came back, nothing."""
    storage = context.repository.storage
    gone = {backup_id for _, backup_id in scene.orphans()}
    for backup_id in gone:
        if scene.gone_since(backup_id) is None:
            with contextlib.suppress(NameTaken):
                storage.put(f"{GONE}/{backup_id}", [b""])
    for name in scene.gone:
        if name.removeprefix(f"{GONE}/") not in gone:
            storage.delete(name)


def _sweep_signs(context: Context, scene: _Scene) -> None:
    """Take signs of removing away that a prune left on backups which it did not begin to remove.

    They would say of a manifest that gets lost much later that a prune had begun with it.
    """
    storage = context.repository.storage
    signs = locks.signs(storage).removing
    for backup_id in scene.whole & signs.keys():
        if scene.now - signs[backup_id] > locks.REMOVING_LASTS:
            locks.end_removing(storage, backup_id)


def _scene(context: Context) -> _Scene:
    storage = context.repository.storage
    return _Scene(
        now=marks.time_of(storage),
        root={blob.name: blob for blob in storage.list()},
        keys={blob.name: blob for blob in storage.list("keys")},
        proofs={blob.name: blob for blob in storage.list(proofs.FOLDER, deep=True)},
        gone={blob.name: blob for blob in storage.list(GONE)},
        held=frozenset(blob.name for blob in storage.list(holds.FOLDER)),
        removing=frozenset(locks.signs(storage).removing),
    )


def _still(context: Context, name: str) -> bool:
    """Tell whether *name* still lacks its other half: somebody may have put it back."""
    storage = context.repository.storage
    payload = names.parse_payload(name)
    if payload:
        return storage.stat(payload.manifest) is None
    payload = names.parse_manifest(name)
    return payload is None or storage.stat(str(payload)) is None


def _half_removed(scene: _Scene) -> Iterator[Leftover]:
    """Yield what is left of backups that a prune was removing when it was cut off."""
    payloads = {
        payload.backup_id: payload for name in scene.root if (payload := names.parse_payload(name))
    }
    for backup_id in sorted(scene.removing - scene.whole):
        # Without its payload, whatever suffix: key copy, proofs and hold may be left.
        payload = payloads.get(backup_id) or PayloadName(backup_id=backup_id, suffix=".sql")
        reason = "what is left of a backup that a prune was removing when it was cut off"
        held = holds.path_of(backup_id) in scene.held
        yield Leftover(
            name=str(payload), remove=not held, reason=f"{reason}; held" if held else reason
        )


def _payloads(scene: _Scene) -> Iterator[Leftover]:
    """Decide about payloads without manifest."""
    for name, blob in scene.root.items():
        payload = names.parse_payload(name)
        if payload is None or payload.manifest in scene.root:
            continue
        if payload.backup_id in scene.removing:
            continue
        remove, reason = _judge_payload(scene, payload, blob)
        yield Leftover(name=name, remove=remove, reason=f"payload without manifest: {reason}")


def _judge_payload(scene: _Scene, payload: PayloadName, blob: Blob) -> tuple[bool, str]:
    if holds.path_of(payload.backup_id) in scene.held:
        return False, "held"
    if payload.key_copy in scene.keys or payload.backup_id in scene.proven:
        hint = "look for its manifest, try `restore --orphan`, or remove it by hand"
        return False, f"it was a whole backup once; {hint}"
    if not scene.old(blob, UNFINISHED_AGE):
        return False, "younger than a day: its run may go on"
    return True, "its run was cut off"


def _manifests(context: Context, scene: _Scene) -> Iterator[Leftover]:
    """Decide about manifests without payload, as after removing a backup by hand, but half."""
    found = {name: payload for name in scene.root if (payload := names.parse_manifest(name))}
    lost = {name: payload for name, payload in found.items() if str(payload) not in scene.root}
    many = len(lost) > 1 and len(lost) * 2 >= len(found)
    for name, payload in lost.items():
        remove, reason = (
            (False, "so are most here: is the disk whole, and the right one?")
            if many
            else _judge_manifest(context, scene, payload)
        )
        yield Leftover(name=name, remove=remove, reason=f"manifest without payload: {reason}")


def _judge_manifest(context: Context, scene: _Scene, payload: PayloadName) -> tuple[bool, str]:
    if holds.path_of(payload.backup_id) in scene.held:
        return False, "held"
    try:
        manifest = repository.load_trusted(context.repository, payload)
    except UlasisError as error:
        return False, f"and it cannot be believed: {error.message}"
    days = context.config.settings.backup_retention_days
    age = scene.now - datetime.fromisoformat(manifest.header.started_at)
    if age <= timedelta(days=days):
        return False, "the backup is lost; look for a copy, or remove the manifest by hand"
    return True, f"the backup is lost, and older than BACKUP_RETENTION_DAYS={days}"


def _orphans(context: Context, scene: _Scene) -> Iterator[Leftover]:
    """Decide about what belongs to backups that are gone, as after removing both files by hand."""
    days = context.config.settings.backup_retention_days
    for name, backup_id in scene.orphans():
        # Not by its own age: old ones of a backup that was moved away a moment ago must stay, too.
        since = scene.gone_since(backup_id)
        held = holds.path_of(backup_id) in scene.held
        reason = f"of a backup that is gone; goes BACKUP_RETENTION_DAYS={days} after that was seen"
        yield Leftover(
            name=name, remove=scene.old(since, timedelta(days=days)) and not held, reason=reason
        )
