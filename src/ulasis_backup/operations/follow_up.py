"""What follows a backup that is made: its hold, and a prune of its series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ulasis_backup.errors import FollowUpFailed, UlasisError
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.hold import hold
from ulasis_backup.operations.keep import Wish
from ulasis_backup.operations.prune import Pruned, prune
from ulasis_backup.operations.watch import Watched, watch_all


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What was done after the backups, and what of it failed: the backups exist all the same.

    ``watched`` are those that are unlike the ones before them.
    """

    watched: tuple[Watched, ...] = ()
    pruned: Pruned | None = None
    failures: tuple[FollowUpFailed, ...] = ()


def follow_up(context: Context, made: Sequence[MadeBackup], *, held: bool, note: str) -> FollowUp:
    """Hold the backups *made* if they are to be *held*, then prune their series as the policy says.

    Never raises for what fails: it is returned. After a failed hold nothing is pruned, and neither
    where it is not known whether the last good backup should be held.
    """
    if not made:
        return FollowUp()
    # Before the prune, which spares what the watch holds.
    watching = context.config.settings.backup_anomaly_watch
    watched = watch_all(context, made) if watching else ()
    try:
        for backup in made if held else ():
            hold(context, backup.name, note=note)
    except UlasisError as error:
        return FollowUp(watched=watched, failures=(_failed("it is not held", error),))
    troubles = [one.problem for one in watched if one.problem]
    watched = tuple(one for one in watched if one.anomalies)
    if troubles:
        what = "it was not compared with those before, and nothing is pruned"
        return FollowUp(watched=watched, failures=tuple(_failed(what, one) for one in troubles))
    if not context.config.settings.backup_prune_after_backup:
        return FollowUp(watched=watched)
    series = frozenset(backup.manifest.header.series for backup in made)
    try:
        pruned = prune(context, Wish(series=series, automatic=True, careful=True))
    except UlasisError as error:
        return FollowUp(watched=watched, failures=(_failed("the prune after it failed", error),))
    problem = pruned.problem
    failures = (_failed("the prune after it failed", problem),) if problem else ()
    return FollowUp(watched=watched, pruned=pruned, failures=failures)


def _failed(what: str, error: UlasisError) -> FollowUpFailed:
    return FollowUpFailed(f"the backup is made, but {what}: {error.message}", hint=error.hint)
