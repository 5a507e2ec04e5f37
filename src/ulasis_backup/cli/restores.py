"""``restore`` and ``export``: putting a backup back, or taking a dump out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.backups import AllowUnauthenticated, Jobs, Name, failure
from ulasis_backup.cli.session import Session
from ulasis_backup.errors import CouldNotCheck, SettingsError
from ulasis_backup.model import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulasis_backup.methods.definers import Definers
    from ulasis_backup.mysql.loading import Way
    from ulasis_backup.operations.restore import Restored, RestoredAll, RestorePlan

MOST_NAMES = 12
Tables = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Only these tables and their triggers (`a,b`)."),
]
FromDatabase = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which database of a backup of several.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("restore")(restore)
    app.command("export")(export)


def restore(  # noqa: PLR0913 (one argument for each option)
    context: typer.Context,
    name: Name,
    *,
    tables: Tables = None,
    from_database: FromDatabase = None,
    target_database: Annotated[
        str | None, typer.Option(metavar="NAME", help="Restore into this database instead.")
    ] = None,
    skip_pre_restore_backup: Annotated[
        bool, typer.Option("--skip-pre-restore-backup", help="Make no safety backup first.")
    ] = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Empty the database and load into it; no swap.")
    ] = False,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Do not compare what was loaded with the backup.")
    ] = False,
    accounts: Annotated[
        bool,
        typer.Option("--accounts", help="rows: create missing accounts, give back their rights."),
    ] = False,
    collation: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="rows: a collation for one that the target lacks."),
    ] = None,
    definers: Annotated[
        str,
        typer.Option(metavar="WHAT", help="Definers the target lacks: `keep`, `current`, `skip`."),
    ] = "keep",
    jobs: Jobs = None,
    load_by: Annotated[
        str,
        typer.Option(metavar="WAY", help="rows: `bulk`, `load-data` or `insert`, not the best."),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, touch nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace live data unasked.")] = False,
    orphan: Annotated[
        bool, typer.Option("--orphan", help="Restore a payload whose manifest is lost.")
    ] = False,
    allow_unauthenticated: AllowUnauthenticated = False,
) -> None:
    """Make the database equal to a backup: check it, save what is there, load, compare."""
    from ulasis_backup.operations import restore as operation  # noqa: PLC0415
    from ulasis_backup.operations.proving import restorable_backup  # noqa: PLC0415
    from ulasis_backup.repository.names import parse_payload  # noqa: PLC0415

    session: Session = context.obj
    session.override(backup_jobs=jobs)
    briefly = session.context(recorded="restore", briefly=True)
    with briefly if dry_run else session.run("restore") as world:
        payload = parse_payload(name) if orphan else None
        request = operation.RestoreRequest(
            name=payload or restorable_backup(world, name),
            database=_given("--from-database", from_database),
            target=_given("--target-database", target_database),
            tables=_listed(tables),
            way=_way(load_by),
            accounts=accounts,
            collations=_pairs(collation or []),
            definers=_definers(definers),
            in_place=in_place,
            safety_backup=not skip_pre_restore_backup,
            compare=not no_compare,
            orphan=orphan,
            allow_unauthenticated=allow_unauthenticated,
            dry_run=dry_run,
        )
        session.about(str(request.name))
        asked = (lambda _: True) if yes else (lambda plans: _ask(session, plans))
        databases = operation.databases_of(world, request)
        operation.refuse_missing_rights(world, request, databases)
        requests = [replace(request, database=database) for database in databases]
        found = operation.restore_all(world, requests, confirm=asked)
    _show_restored(session, found, dry_run=dry_run)


def export(
    context: typer.Context,
    name: Name,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="`.sql`, `.sql.gz` or `.sql.zst`."),
    ],
    tables: Tables = None,
    from_database: FromDatabase = None,
    allow_unauthenticated: AllowUnauthenticated = False,
) -> None:
    """Turn a rows backup into an ordinary dump that any client program loads."""
    from ulasis_backup.cli.render import size  # noqa: PLC0415
    from ulasis_backup.operations import export as operation  # noqa: PLC0415
    from ulasis_backup.operations.proving import restorable_backup  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="export") as world:
        request = operation.ExportRequest(
            name=restorable_backup(world, name),
            output=output,
            database=_given("--from-database", from_database),
            tables=_listed(tables),
            allow_unauthenticated=allow_unauthenticated,
        )
        session.touched(str(request.name))
        written = operation.export(world, request)
    document = {"backup": str(request.name), "file": str(output), "bytes": written}
    session.show(document, f"{request.name} is exported to {output} ({size(written)})")


def _given(option: str, text: str | None) -> str:
    """Return an option's value; an empty one is an error, for a script's variable was unset."""
    if text is not None and not text.strip(", "):
        message = f"{option} is given, and empty"
        raise SettingsError(message, hint="give it a name, or leave it out")
    return text or ""


def _listed(text: str | None) -> tuple[str, ...]:
    from ulasis_backup.settings import listed  # noqa: PLC0415

    return listed(_given("--tables", text))


def _pairs(texts: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(text.split("=")) for text in texts]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):  # noqa: PLR2004 (a pair)
        message = "--collation takes two names: OLD=NEW"
        raise SettingsError(message, hint="e.g. utf8mb4_uca1400_ai_ci=utf8mb4_0900_ai_ci")
    return tuple((old, new) for old, new in pairs)


def _definers(text: str) -> Definers:
    from ulasis_backup.methods.definers import Definers  # noqa: PLC0415

    if text not in list(Definers):
        message = f"--definers: there is no {text!r}"
        raise SettingsError(message, hint=f"choose one of: {', '.join(Definers)}")
    return Definers(text)


def _way(text: str) -> Way | None:
    from ulasis_backup.mysql.loading import Way  # noqa: PLC0415

    ways = {"bulk": Way.BULK, "load-data": Way.LOAD_DATA, "insert": Way.INSERT}
    if text and text not in ways:
        message = f"--load-by: there is no way {text!r}"
        raise SettingsError(message, hint=f"choose one of: {', '.join(ways)}")
    return ways.get(text)


def _show_restored(
    session: Session,
    found: RestoredAll,
    *,
    dry_run: bool,
) -> None:
    done, failed = found.done, found.failed
    documents = [_restored(one, dry_run=dry_run) for one in done]
    several: dict[str, Any] = {"databases": documents, "failed": []}
    if failed:
        several["failed"].append(failure(*failed))
    document = documents[0] if len(documents) == 1 and not failed else several
    session.show(document, *(line for one in done for line in _lines(one, dry_run=dry_run)))
    if failed:
        database, error = failed
        session.complain(
            f"{database}, and what comes after it, is not restored: {error.message}", error.hint
        )
        raise typer.Exit(error.exit_code)
    unchecked = [one.unchecked for one in done if one.unchecked]
    if unchecked:
        if session.json:
            raise typer.Exit(CouldNotCheck.exit_code)
        raise CouldNotCheck(f"restored; {unchecked[0].message}", hint=unchecked[0].hint)


def _ask(session: Session, plans: Sequence[RestorePlan]) -> bool:
    if not session.may_ask():
        return False
    for line in (line for plan in plans for line in _plan_lines(plan)):
        typer.echo(printable(line), err=True)
    names = ", ".join(plan.target for plan in plans)
    return typer.confirm(printable(f"Replace what is in {names} now?"), default=False, err=True)


def _plan_lines(plan: RestorePlan) -> list[str]:
    safety = "yes" if plan.safety_backup else "no"
    return [
        f"backup          {plan.backup} (made {plan.made_at})",
        f"into            {plan.target} at {plan.server}",
        f"how             {_how(plan)}",
        f"safety backup   {safety}",
        f"replaced        {_names(plan.replaced)}",
        f"removed         {_names(plan.removed)}",
        f"created         {_names(plan.created)}",
        *(f"note            {notice}" for notice in plan.notices),
    ]


def _how(plan: RestorePlan) -> str:
    if plan.names is None:
        what = f"only {', '.join(plan.tables)}" if plan.tables else "the database"
        return f"in place: {what} is emptied, then loaded"
    return (
        f"loaded into {plan.names.restore}, compared, swapped in; "
        f"what is there now goes to {plan.names.before}"
    )


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)}: {shown}{more}" if names else "nothing"


def _lines(done: Restored, *, dry_run: bool) -> list[str]:
    if dry_run:
        return [*_plan_lines(done.plan), "dry run: nothing was touched"]
    plan = done.plan
    lines = [f"{plan.target} is restored from {done.plan.backup} in {done.seconds:.1f} s"]
    if done.comparison:
        tables = len(done.comparison.actual.tables)
        others = "their triggers" if done.plan.tables else "every other object"
        lines.append(f"  compared: {tables} tables and {others} are equal to the backup")
        if done.lossy:
            lines.append("  the backup itself is not exact: it lacks what is noted below")
        lines += [f"  note: {text}" for text in done.comparison.moved]
        lines += [f"  as announced: {found}" for found in done.comparison.announced]
    elif done.unchecked is None:
        lines.append("  not compared, as asked")
    if done.plan.removed:
        lines.append(f"  removed, not in the backup: {_names(done.plan.removed)}")
    lines += [f"  note: {notice}" for notice in done.plan.notices]
    if done.safety:
        lines.append(f"  the state before is kept in {done.safety.name}")
    names = plan.names
    if names and done.swapped:
        lines += [f"  note: {note}" for note in done.swapped.notes]
        lines.append(f"  and in the schema {names.before}; to swap back: {plan.undo_command}")
        lines.append(f"  once you need it no more: {plan.drop_command}")
    return lines


def _restored(done: Restored, *, dry_run: bool) -> dict[str, Any]:
    plan = done.plan
    return {
        "backup": plan.backup,
        "target": plan.target,
        "server": plan.server,
        "dry_run": dry_run,
        "mode": plan.mode,
        "in_place_because": list(plan.in_place),
        "restore_schema": plan.names.restore if plan.names else None,
        "before_schema": plan.names.before if plan.names else None,
        "undo_command": plan.undo_command if done.swapped else None,
        "replaced": list(plan.replaced),
        "removed": list(plan.removed),
        "created": list(plan.created),
        "notices": list(plan.notices),
        "safety_backup": str(done.safety.name) if done.safety else None,
        "compared": done.comparison is not None,
        "equal": done.comparison.equal if done.comparison else None,
        "moved": list(done.comparison.moved) if done.comparison else [],
        "announced": [str(found) for found in done.comparison.announced] if done.comparison else [],
        "lossy": done.lossy,
        "could_not_check": done.unchecked.message if done.unchecked else None,
        "seconds": round(done.seconds, 3),
    }
