"""``prune``: remove what the retention policy does not keep, litter, and unneeded objects.

First the backups, then what killed runs left, then the objects of ``rows`` backups in two steps.
What is going to happen is decided before; a dry run shows the same decisions.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from ulasis_backup.errors import CouldNotCheck, Refused, StorageError, UlasisError
from ulasis_backup.events import PhaseBegan, PhaseEnded
from ulasis_backup.operations.audit import trim_log, trimmable
from ulasis_backup.operations.context import Context, now
from ulasis_backup.operations.keep import Found, Wish, look
from ulasis_backup.operations.litter import Leftover, find_litter, sweep
from ulasis_backup.operations.prune_objects import PrunedObjects, objects_wait, prune_objects
from ulasis_backup.operations.remove import remove
from ulasis_backup.repository import marks, repository
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.unreferenced import Deleted
from ulasis_backup.retention import Backup, Decision

MANY = 3
LONG = 3
"""How many times the RPO may pass without a backup before the clock is doubted."""
"""A prune that follows a backup removes more than this many only if most of the series stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune decided, and what it did.

    ``removed`` are the backups that are gone now, ``bytes`` those of their payloads. ``problem`` is
    what kept it from going through the objects; the backups are removed all the same.
    ``audit_entries`` are those of the audit log that are gone, or would be.
    """

    found: Found
    litter: tuple[Leftover, ...]
    removed: tuple[PayloadName, ...] = ()
    bytes: int = 0
    swept: int = 0
    objects: PrunedObjects | None = None
    problem: UlasisError | None = None
    audit_entries: int = 0


def plan_prune(context: Context, wish: Wish, *, at: datetime | None = None) -> Pruned:
    """Return what a prune would do, and why; nothing is touched.

    Raises CouldNotCheck where there is no repository, UnknownFormat for that of a newer version.
    """
    storage = context.repository.storage
    if storage.stat(repository.REPOSITORY_FILE) is None:
        message = f"there is no repository in {storage.place}"
        raise CouldNotCheck(message, hint="is BACKUP_DIR right, and its disk mounted?")
    return Pruned(
        found=look(context, wish, at=at),
        litter=find_litter(context),
        audit_entries=trimmable(context),
    )


def prune(context: Context, wish: Wish | None = None, *, at: datetime | None = None) -> Pruned:
    """Carry out what ``plan_prune`` says, each backup whole.

    Raises what it raises; StorageError; and Refused where a prune that follows a backup would
    remove most of a series at once.
    """
    wish = wish or Wish()
    repository.ensure_known(context.repository)
    planned = plan_prune(context, wish, at=at)
    if wish.careful:
        _expect_usual(context, planned.found, at or now())
    context.observe(PhaseBegan(name="prune", subject=context.repository.storage.place))
    # First of all, for it may be what fills the disk.
    context.repository.storage.sweep()
    removed = _remove(context, planned.found, wish, at=at)
    swept = sweep(context, planned.litter)
    gone = {str(name) for name in removed}
    going = [one for one in planned.found.plan.removed if one.backup.id in gone]
    done = replace(planned, removed=removed, bytes=_bytes(planned.found, gone), swept=swept)
    done = replace(_with_objects(context, done, going, wish), audit_entries=trim_log(context))
    context.observe(PhaseEnded(name="prune", facts=_facts(done)))
    return done


def _remove(
    context: Context, found: Found, wish: Wish, *, at: datetime | None
) -> tuple[PayloadName, ...]:
    """Remove what the plan says and a second look, after the signs are set, says again."""

    def still() -> frozenset[str]:
        again = look(context, wish, at=at).plan.removed
        return frozenset(entry.backup.id for entry in again)

    known = found.names
    names = [known[entry.backup.id] for entry in found.plan.removed]
    return remove(context.repository, names, still)


def _with_objects(context: Context, done: Pruned, going: Sequence[Decision], wish: Wish) -> Pruned:
    """Go through the objects; after a backup only where that is likely to free something."""
    if not marks.epochs(context.repository.storage):
        return done
    shared = any(entry.backup.method == "rows" for entry in going)
    if wish.automatic and not shared and not objects_wait(context):
        return done
    try:
        return replace(done, objects=prune_objects(context))
    except (Refused, StorageError) as error:
        return replace(done, problem=error)


def _expect_usual(context: Context, found: Found, moment: datetime) -> None:
    """Raise Refused where a clock or a setting may be wrong, for what goes does not come back.

    That is where most of a series would go at once, or several of one that made no backup for
    long, as far as this clock says: when it went ahead by days, those days cost as many backups.
    """
    long = LONG * timedelta(hours=context.config.settings.backup_rpo_hours)
    there: dict[str, list[Backup]] = defaultdict(list)
    for decision in found.plan.decisions:
        there[decision.backup.series].append(decision.backup)
    going = Counter(entry.backup.series for entry in found.plan.removed)
    for series, count in going.items():
        gap = _last_gap(there[series], moment)
        if count <= MANY or (count * 2 <= len(there[series]) and gap <= long):
            continue
        message = f"{count} of {len(there[series])} backups of a series would be removed at once"
        if gap > long:
            message += f", after {gap.total_seconds() / 86400:.0f} days without a backup"
        command = shlex.join(["ulasis-backup", *context.config.flags, "prune"])
        hint = (
            f"nothing was removed; are the clock and the settings right? `{command} --dry-run` "
            f"shows why, `{command} --yes` does it"
        )
        raise Refused(message, hint=hint)


def _last_gap(backups: Sequence[Backup], moment: datetime) -> timedelta:
    """Return for how long there was no backup lately: before the newest, or since."""
    times = sorted(one.started_at for one in backups)[-2:]
    return max(later - earlier for earlier, later in pairwise([*times, max(moment, times[-1])]))


def _bytes(found: Found, gone: set[str]) -> int:
    sizes = {str(one.name): one.manifest.header.stored.bytes for one in found.listing.entries}
    return sum(sizes[name] for name in gone)


def _facts(done: Pruned) -> tuple[tuple[str, str | int | float], ...]:
    objects = done.objects or PrunedObjects(
        listed=0, waiting=0, deleted=Deleted(objects=0, bytes=0), grace=timedelta()
    )
    return (
        ("kept", len(done.found.plan.kept)),
        ("removed", len(done.removed)),
        ("removed_bytes", done.bytes),
        ("deleted", objects.deleted.objects),
        ("bytes", objects.deleted.bytes),
        ("listed", objects.listed),
        ("waiting", objects.waiting),
        ("audit_entries", done.audit_entries),
    )
