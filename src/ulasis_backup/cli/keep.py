"""``prune``, ``hold``, ``release``: what stays, what goes, and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.backups import Name
from ulasis_backup.cli.session import Session

if TYPE_CHECKING:
    from rich.table import Table

    from ulasis_backup.operations.prune import Pruned
    from ulasis_backup.retention import Decision


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("prune")(prune)
    app.command("hold")(hold)
    app.command("release")(release)


def prune(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be kept and removed, and why.")
    ] = False,
    after_failure: Annotated[
        bool,
        typer.Option(
            "--after-failure", help="Also of series whose last run failed for lack of space."
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Also where most of a series would go, with nobody there."
        ),
    ] = False,
) -> None:
    """Remove the backups that the retention policy does not keep, and objects nobody needs.

    Backups go at once; objects of rows backups in two steps, by a later prune after the grace
    period.
    """
    from ulasis_backup.operations import prune as operation  # noqa: PLC0415
    from ulasis_backup.operations.keep import Wish  # noqa: PLC0415

    session: Session = context.obj
    wish = Wish(after_failure=after_failure, careful=not (yes or session.may_ask()))
    briefly = session.context(recorded="prune", briefly=True)
    with briefly if dry_run else session.run("prune") as world:
        act = operation.plan_prune if dry_run else operation.prune
        done = act(world, wish)
    session.touched(*(str(name) for name in done.removed))
    document = pruned_document(done) | {"dry_run": dry_run, **_decisions(done)}
    text: list[Any] = [_table(done)] if dry_run and done.found.plan.decisions else []
    text += [*_litter_lines(done, dry_run=dry_run)]
    text += _dry_lines(done) if dry_run else pruned_lines(done)
    text += [f"note: {doubt}" for doubt in done.found.doubts]
    session.show(document, *text)
    if done.problem:
        session.complain(done.problem.message, done.problem.hint)
        raise typer.Exit(done.problem.exit_code)


def hold(
    context: typer.Context,
    name: Name,
    *,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why it is held (not encrypted).")] = "",
) -> None:
    """Keep a backup, whatever the retention policy says, until it is released."""
    from ulasis_backup.operations import hold as operation  # noqa: PLC0415
    from ulasis_backup.operations.context import chosen_backup  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="hold") as world:
        payload = chosen_backup(world, name)
        session.touched(str(payload))
        done = operation.hold(world, payload, note=note)
    why = f": {done.note}" if done.note else ""
    session.show({"backup": str(payload), "held": asdict(done)}, f"{payload} is held{why}")


def release(context: typer.Context, name: Name) -> None:
    """Let a held backup go: from now on the retention policy decides about it."""
    from ulasis_backup.operations import hold as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="release") as world:
        payload = operation.held_backup(world, name)
        session.touched(str(payload))
        held = operation.release(world, payload)
    said = "is released" if held else "was not held"
    session.show({"backup": str(payload), "was_held": held}, f"{payload} {said}")


def pruned_document(done: Pruned) -> dict[str, Any]:
    """Return what a document says of a prune, without the decision about each backup."""
    objects = done.objects
    return {
        "kept": len(done.found.plan.kept),
        "removed": [str(name) for name in done.removed],
        "removed_bytes": done.bytes,
        "leftovers_removed": done.swept,
        "listed": objects.listed if objects else 0,
        "waiting": objects.waiting if objects else 0,
        "deleted": objects.deleted.objects if objects else 0,
        "deleted_bytes": objects.deleted.bytes if objects else 0,
        "grace_hours": objects.grace.total_seconds() / 3600 if objects else None,
        "audit_entries": done.audit_entries,
        "problem": done.problem.message if done.problem else None,
    }


def pruned_lines(done: Pruned) -> list[str]:
    """Return what a person is told of a prune that was carried out."""
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    kept = len(done.found.plan.decisions) - len(done.removed)
    lines = [f"{len(done.removed)} backups removed ({size(done.bytes)}), {kept} kept"]
    lines += [f"  {name}" for name in done.removed]
    if done.swept:
        lines.append(f"{done.swept} leftovers removed")
    if done.audit_entries:
        lines.append(f"{done.audit_entries} old entries of the audit log removed")
    objects = done.objects
    if objects and objects.deleted.objects:
        deleted = objects.deleted
        lines.append(f"{deleted.objects:,} objects deleted ({size(deleted.bytes)})")
    if objects and objects.waiting:
        hours = objects.grace.total_seconds() / 3600
        lines.append(
            f"{objects.waiting:,} more objects are needed by no backup ({objects.listed:,} since "
            f"the last prune); a prune deletes each {hours:g} hours after it was found"
        )
    return lines


def _decisions(done: Pruned) -> dict[str, Any]:
    return {
        "backups": [_decision(entry) for entry in done.found.plan.decisions],
        "leftovers": [asdict(leftover) for leftover in done.litter],
        "doubts": list(done.found.doubts),
    }


def _decision(entry: Decision) -> dict[str, Any]:
    backup = entry.backup
    return {
        "backup": backup.id,
        "action": "keep" if entry.keep else "remove",
        "reasons": list(entry.reasons),
        "series": backup.series,
        "sequence": backup.sequence,
        "started_at": backup.started_at.isoformat(),
        "kind": backup.kind,
        "verdict": backup.verdict,
        "partial": backup.partial,
        "held": backup.held,
        "bytes": backup.bytes,
    }


def _table(done: Pruned) -> Table:
    from ulasis_backup.cli.render import add, age, size, table  # noqa: PLC0415

    rows = table("Backup", "Age", "Size", "Verdict", "Action", "Why", right=("Age", "Size"))
    for entry in done.found.plan.decisions:
        backup = entry.backup
        add(
            rows, backup.id, age(backup.started_at.isoformat()), size(backup.bytes),
            str(backup.verdict), "keep" if entry.keep else "REMOVE", "; ".join(entry.reasons),
        )  # fmt: skip
    return rows


def _dry_lines(done: Pruned) -> list[str]:
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    going = done.found.plan.removed
    total = size(sum(entry.backup.bytes for entry in going))
    kept = len(done.found.plan.kept)
    said = f"{len(going)} backups ({total}) would be removed, {kept} kept"
    if done.audit_entries:
        said += f", {done.audit_entries} old entries of the audit log would go"
    return [f"dry run: {said}; nothing was touched"]


def _litter_lines(done: Pruned, *, dry_run: bool) -> list[str]:
    """Name the leftovers that stay, and in a dry run those that would go."""
    shown = [leftover for leftover in done.litter if dry_run or not leftover.remove]
    return [
        f"{'remove' if leftover.remove else 'left'}: {leftover.name}: {leftover.reason}"
        for leftover in shown
    ]
