"""``verify``, ``verify-all``: looking at the bytes of backups."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.backups import AllowUnauthenticated, Name
from ulasis_backup.cli.session import Session
from ulasis_backup.errors import CouldNotCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulasis_backup.operations.verify import Verification
    from ulasis_backup.operations.verify_all import Plan


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("verify")(verify)
    app.command("verify-all")(verify_all)


def verify(
    context: typer.Context, name: Name, *, allow_unauthenticated: AllowUnauthenticated = False
) -> None:
    """Check that every stored byte of a backup is authentic and complete, and what it holds."""
    from ulasis_backup.operations import verify as operation  # noqa: PLC0415
    from ulasis_backup.operations.context import chosen_backup  # noqa: PLC0415

    session: Session = context.obj
    with session.run("verify") as world:
        payload = chosen_backup(world, name)
        session.about(str(payload))
        found = operation.verify(world, payload, allow_unauthenticated=allow_unauthenticated)
    session.show(_document(found), *_lines(found))
    for warning in found.warnings:
        session.warn(f"{found.name}: {warning}")


def verify_all(
    context: typer.Context,
    *,
    stale: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, help="Only those that no check found good for so many days."
        ),
    ] = None,
    percent: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", min=0.01, max=100,
            help="So many of a hundred of all, the longest unchecked first.",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on with a run that was interrupted.")
    ] = False,
) -> None:  # fmt: skip
    """Verify every backup; exit with the first failure's code, or 60 if one was not checkable.

    A run that was interrupted is gone on with by the next one.
    """
    from ulasis_backup.operations import verify_all as operation  # noqa: PLC0415

    session: Session = context.obj
    days = None if stale is None else timedelta(days=stale)
    selection = operation.Selection(stale=days, percent=percent, restart=restart)
    with session.run("verify-all") as world:
        planned = operation.plan(world, selection)
        found = list(operation.verify_all(world, planned))
        session.touched(*(entry.name for entry in found))
        if not found and not planned.listing.entries:
            message = f"there is nothing to verify in {world.repository.storage.place}"
            raise CouldNotCheck(message, hint="is BACKUP_DIR right? `ulasis-backup list`")
    _show(session, planned, found)
    _exit(session, found)


def _show(session: Session, planned: Plan, found: Sequence[Verification]) -> None:
    from ulasis_backup.cli.render import add, table  # noqa: PLC0415

    rows = table("Backup", "Verdict", "Says")
    for entry in found:
        said = [entry.problem.message] if entry.problem else [*entry.warnings, *entry.notes]
        add(rows, entry.name, str(entry.verdict), "; ".join(said))
    bad = [entry for entry in found if entry.problem]
    failed = [entry for entry in bad if str(entry.verdict) == "failed"]
    document = {
        "backups": [_document(entry) for entry in found],
        "verdicts": dict(Counter(str(entry.verdict) for entry in found)),
        "failed": len(failed), "could_not_check": len(bad) - len(failed),
        "earlier": len([entry for entry in found if entry.earlier]), "not_due": planned.skipped,
        "doubts": list(planned.listing.doubts),
    }  # fmt: skip
    notes = (f"note: {doubt}" for doubt in planned.listing.doubts)
    session.show(document, *([rows] if found else []), *_summary(planned, found), *notes)


def _summary(planned: Plan, found: Sequence[Verification]) -> list[str]:
    """Return what was found in few words; each backup is counted once, and none as read twice."""
    from ulasis_backup.cli.render import rate, size  # noqa: PLC0415

    verdicts = Counter(str(entry.verdict) for entry in found if not entry.problem)
    bad = Counter(str(entry.verdict) for entry in found if entry.problem)
    unknown = bad.get("could-not-check", 0)
    parts = [f"{count} {verdict}" for verdict, count in verdicts.items()] or ["0 intact"]
    parts += [f"{bad.get('failed', 0)} failed", f"{unknown} could not be checked"]
    read = [entry for entry in found if not entry.earlier]
    lines = [", ".join(parts)]
    if read:
        count, seconds = sum(one.bytes for one in read), sum(one.seconds for one in read)
        lines.append(f"{size(count)} of plain data in {seconds:.1f} s ({rate(count, seconds)})")
    if len(read) < len(found):
        lines.append(
            f"{len(found) - len(read)} of them were checked before the run was interrupted, and "
            "not again (`--restart` checks all)"
        )
    if planned.skipped:
        lines.append(f"{planned.skipped} backups were not due and are not checked")
    return lines


def _exit(session: Session, found: Sequence[Verification]) -> None:
    """Say what is wrong where nobody overlooks it, and end with the status that says so."""
    bad = [entry for entry in found if entry.problem]
    if session.json:
        for entry in bad:
            if entry.problem:
                session.trouble(f"{entry.name}: {entry.problem.message}", entry.problem.hint)
    else:
        for entry in found:
            for warning in entry.warnings:
                session.warn(f"{entry.name}: {warning}")
        for entry in bad:
            if entry.problem:
                session.complain(f"{entry.name}: {entry.problem.message}", entry.problem.hint)
    failed = [entry for entry in bad if str(entry.verdict) == "failed"]
    if failed and failed[0].problem:
        raise typer.Exit(failed[0].problem.exit_code)
    if bad:
        raise typer.Exit(CouldNotCheck.exit_code)


def _document(found: Verification) -> dict[str, Any]:
    document: dict[str, Any] = {
        "backup": found.name, "verdict": str(found.verdict), "notes": list(found.notes),
        "warnings": list(found.warnings), "recorded": found.recorded, "bytes": found.bytes,
        "seconds": round(found.seconds, 3), "checked_earlier_at": found.earlier or None,
    }  # fmt: skip
    if found.problem:
        document |= {
            "problem": found.problem.message,
            "hint": found.problem.hint,
            "exit_code": found.problem.exit_code,
        }
    return document


def _lines(found: Verification) -> list[str]:
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    lines = [f"{found.name}: {found.verdict}"]
    details = found.manifest.details if found.manifest else None
    if details:
        counted = sum(table.rows or 0 for table in details.tables)
        lines.append(
            f"  {len(details.tables)} tables, {counted:,} rows, {len(details.objects)} other "
            f"objects, {size(details.plain.bytes)} read in {found.seconds:.1f} s"
        )
    return lines + [f"  note: {note}" for note in found.notes]
