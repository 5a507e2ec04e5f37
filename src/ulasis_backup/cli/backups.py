"""``backup``: making backups."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session
from ulasis_backup.errors import FollowUpFailed, ObjectsLeftOut, UlasisError

if TYPE_CHECKING:
    from ulasis_backup.operations.backup import MadeBackup
    from ulasis_backup.operations.follow_up import FollowUp

Name = Annotated[
    str,
    typer.Argument(
        metavar="BACKUP",
        help="File name, id, unique prefix of either, `latest`, or `latest-proven`.",
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option("--jobs", "-j", metavar="NUMBER", help="Sessions at once; BACKUP_JOBS."),
]
AllowUnauthenticated = Annotated[
    bool,
    typer.Option("--allow-unauthenticated", help="Accept a backup that no key vouches for."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("backup")(backup)


def backup(
    context: typer.Context,
    *,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="`sql` or `rows` instead of BACKUP_METHOD.")
    ] = "",
    jobs: Jobs = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="rows: leave these tables out (`log_*`)."),
    ] = None,
    schema_only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="rows: of these tables keep the definition only."),
    ] = None,
    accounts: Annotated[
        bool,
        typer.Option("--accounts", help="rows: keep the accounts with rights on the databases."),
    ] = False,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="A few words to find it by (not encrypted).")
    ] = "",
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Mark it as made by a schedule.")
    ] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Go on without all rights; marked partial.")
    ] = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Never let `prune` remove it, until `release`.")
    ] = False,
) -> None:
    """Back up the database (or databases) of DB_NAME, then prune as the policy says."""
    from ulasis_backup.model import Kind  # noqa: PLC0415
    from ulasis_backup.operations.backup import back_up  # noqa: PLC0415
    from ulasis_backup.operations.follow_up import follow_up  # noqa: PLC0415
    from ulasis_backup.operations.jobs import requests  # noqa: PLC0415
    from ulasis_backup.operations.recorded import failing  # noqa: PLC0415

    session: Session = context.obj
    session.override(
        backup_method=method or None,
        backup_jobs=jobs,
        backup_exclude=",".join(exclude) if exclude else None,
        backup_schema_only=",".join(schema_only) if schema_only else None,
        backup_accounts="true" if accounts else None,
    )
    kind = Kind.SCHEDULED if scheduled else Kind.MANUAL
    made: list[MadeBackup] = []
    failed: list[tuple[str, UlasisError]] = []
    with session.run("backup") as world:
        with failing(world):
            wanted = requests(world, kind=kind, note=note, allow_partial=allow_partial)
        for request in wanted:
            try:
                made.append(back_up(world, request))
            except UlasisError as error:
                if len(wanted) == 1:
                    raise
                (database,) = request.databases
                session.complain(f"{database}: {error.message}", error.hint)
                failed.append((database, error))
        followed = follow_up(world, made, held=hold, note=note)
    _show_made(session, made, failed, followed)


def _show_made(
    session: Session,
    made: list[MadeBackup],
    failed: list[tuple[str, UlasisError]],
    followed: FollowUp,
) -> None:
    from ulasis_backup.cli.keep import pruned_document, pruned_lines  # noqa: PLC0415

    pruned = followed.pruned
    document = {
        "backups": [_made(entry) for entry in made],
        "failed": [failure(database, error) for database, error in failed],
        "prune": pruned_document(pruned) if pruned else None,
        "anomalies": [
            {
                "backup": one.backup,
                "held": one.held or None,
                "found": [{"subject": a.subject, "what": a.what} for a in one.anomalies],
            }
            for one in followed.watched
        ],
        "follow_up_failed": [
            {"message": error.message, "hint": error.hint} for error in followed.failures
        ],
    }
    lines = [_made_line(entry) for entry in made]
    lines += [f"  {line}" for line in pruned_lines(pruned)] if pruned and pruned.removed else []
    if len(made) > 1:
        lines.append("each database was read at a moment of its own")
    left_out = [
        f"{entry.kind} {entry.name}"
        for backup in made
        if backup.manifest.details
        for entry in backup.manifest.details.left_out
        if not entry.asked
    ]
    if not left_out or failed or followed.failures or session.json:
        session.show(document, *lines)
    for error in followed.failures:
        session.complain(error.message, error.hint)
    if failed:
        raise typer.Exit(failed[0][1].exit_code)
    if followed.failures:
        if left_out:
            session.complain(f"the backup is made, without {', '.join(left_out)}")
        raise typer.Exit(FollowUpFailed.exit_code)
    if left_out:
        message = f"the backup is made, without {', '.join(left_out)}"
        hint = "the server itself cannot read that; mend or drop it (its definition is kept)"
        if session.json:
            raise typer.Exit(ObjectsLeftOut.exit_code)
        session.show(document, *lines)
        raise ObjectsLeftOut(message, hint=hint)


def failure(database: str, error: UlasisError) -> dict[str, Any]:
    """Return what a document says of one database of several that failed."""
    return {
        "database": database,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def _made(made: MadeBackup) -> dict[str, Any]:
    header, details = made.manifest.header, made.manifest.details
    return {
        "backup": str(made.name),
        "id": header.id,
        "database": header.databases[0],
        "databases": list(header.databases),
        "method": header.method,
        "kind": header.kind,
        "sequence": header.sequence,
        "partial": header.partial,
        "encrypted": made.manifest.encrypted,
        "stored_bytes": made.manifest.added_bytes,
        "payload_bytes": header.stored.bytes,
        "plain_bytes": details.plain.bytes if details else None,
        "shared": asdict(details.shared) if details and details.shared else None,
        "tables": len(details.tables) if details else None,
        "seconds": round(made.seconds, 3),
        "left_out": [entry.name for entry in details.left_out] if details else [],
        "text_losses": [
            {"table": loss.table, "column": loss.column, "what": loss.what, "values": loss.values}
            for loss in (details.text_losses if details else ())
        ],
        "notices": [*details.fallbacks, *details.warnings] if details else [],
    }


def _made_line(made: MadeBackup) -> str:
    from ulasis_backup.cli.render import rate, size  # noqa: PLC0415

    header, details = made.manifest.header, made.manifest.details
    plain = details.plain.bytes if details else 0
    tables = len(details.tables) if details else 0
    kept = "encrypted" if made.manifest.encrypted else "not encrypted"
    partial = ", PARTIAL" if header.partial else ""
    stored = size(made.manifest.added_bytes)
    return (
        f"{made.name}\n  {tables} tables, {size(plain)} stored in {stored}, "
        f"{kept}{partial}, {made.seconds:.1f} s ({rate(plain, made.seconds)})"
    )
