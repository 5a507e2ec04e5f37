"""``test-restore``: whether backups really restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.backups import AllowUnauthenticated, Jobs
from ulasis_backup.cli.session import Session
from ulasis_backup.errors import CouldNotCheck, SettingsError

if TYPE_CHECKING:
    from ulasis_backup.operations.asserting import Asserted
    from ulasis_backup.operations.context import Context
    from ulasis_backup.operations.test_restore import Outcome, ProofRequest
    from ulasis_backup.repository.names import PayloadName

MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command("test-restore")(restore_in_scratch)


def restore_in_scratch(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="BACKUP", help="File name, id, unique prefix of either, or `latest`."
        ),
    ] = None,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Every backup, one after the other.")
    ] = False,
    oldest_unproven: Annotated[
        bool,
        typer.Option("--oldest-unproven", help="One that was never proven, or longest ago."),
    ] = False,
    programs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Server programs to use; BACKUP_SCRATCH_PROGRAMS."),
    ] = None,
    data_only: Annotated[
        bool,
        typer.Option(
            "--data-only", help="Compare rows on another kind of server; that proves nothing."
        ),
    ] = False,
    jobs: Jobs = None,
    allow_unauthenticated: AllowUnauthenticated = False,
) -> None:
    """Restore a backup in a scratch server, compare everything, and record the verdict."""
    from ulasis_backup.operations.test_restore import ProofRequest  # noqa: PLC0415

    session: Session = context.obj
    session.override(backup_jobs=jobs)
    if sum((name is not None, every, oldest_unproven)) != 1:
        given = name is not None or every or oldest_unproven
        said = "only one of {} may be given" if given else "one of {} is needed"
        message = said.format("BACKUP, --all and --oldest-unproven")
        raise SettingsError(message, hint="e.g. `ulasis-backup test-restore latest`")
    request = ProofRequest(
        programs=tuple(programs or ()),
        data_only=data_only,
        allow_unauthenticated=allow_unauthenticated,
    )
    with session.run("test-restore") as world:
        found = _all(world, request) if every else _some(world, name, request)
    for one in found:
        session.about(one.name)
        if one.problem and session.json:
            session.trouble(f"{one.name}: {one.problem.message}", one.problem.hint)
    _show(session, found)


def _some(world: Context, name: str | None, request: ProofRequest) -> list[Outcome]:
    from ulasis_backup.operations import prove as operation  # noqa: PLC0415
    from ulasis_backup.operations.context import chosen_backup  # noqa: PLC0415
    from ulasis_backup.repository.find import LATEST  # noqa: PLC0415

    if name is None:
        chosen: tuple[PayloadName, ...] = (operation.oldest_unproven(world),)
    else:
        # By `sql` each database has its own newest one.
        chosen = operation.newest(world) if name == LATEST else (chosen_backup(world, name),)
    return [operation.prove(world, one, request) for one in chosen]


def _all(world: Context, request: ProofRequest) -> list[Outcome]:
    from ulasis_backup.operations import prove as operation  # noqa: PLC0415

    found = list(operation.prove_all(world, request))
    if not found:
        message = f"there is nothing to restore in {world.repository.storage.place}"
        raise CouldNotCheck(message, hint="is BACKUP_DIR right? `ulasis-backup list`")
    return found


def _show(session: Session, found: list[Outcome]) -> None:
    from ulasis_backup.model import Verdict  # noqa: PLC0415

    bad = [one for one in found if one.problem]
    failed = [one for one in bad if one.verdict is Verdict.FAILED]
    unknown = len(bad) - len(failed)
    lines = [line for one in found for line in _lines(one)]
    if len(found) > 1:
        lines.append(
            f"{len(found) - len(bad)} proven, {len(failed)} failed, {unknown} could not be checked"
        )
    document: dict[str, Any] = (
        _document(found[0])
        if len(found) == 1
        else {
            "backups": [_document(one) for one in found],
            "proven": len(found) - len(bad),
            "failed": len(failed),
            "could_not_check": unknown,
        }
    )
    session.show(document, *lines)
    for one in bad:
        if one.problem and not session.json:
            session.complain(f"{one.name}: {one.problem.message}", one.problem.hint)
    if failed and failed[0].problem:
        raise typer.Exit(failed[0].problem.exit_code)
    if unknown:
        raise typer.Exit(CouldNotCheck.exit_code)


def _lines(one: Outcome) -> list[str]:
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    reason = f" {one.reason}" if one.reason and not one.problem else ""
    lines = [f"{one.name}: {one.verdict}{reason}"]
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in one.phases.items())
    if one.server:
        lines.append(
            f"  restored on {one.server}: {size(one.bytes)} in {one.seconds:.1f} s ({phases})"
        )
    details = one.manifest.details if one.manifest else None
    if details and not one.problem:
        lines.append(
            f"  equal: {len(details.tables)} tables and {len(details.objects)} other objects"
        )
    lines += [f"  differs: {found}" for found in one.differences[:MOST_SHOWN]]
    if len(one.differences) > MOST_SHOWN:
        lines.append(f"  and {len(one.differences) - MOST_SHOWN} more differences")
    lines += [f"  {found}" for found in one.assertions]
    return lines + [f"  note: {note}" for note in one.notes]


def _document(one: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = {
        "backup": one.name,
        "verdict": str(one.verdict),
        "reason": one.reason,
        "server": one.server,
        "differences": [
            {"kind": d.kind, "name": d.name, "what": d.what, "detail": d.detail.strip()}
            for d in one.differences
        ],
        "assertions": [_asserted(found) for found in one.assertions],
        "notes": list(one.notes),
        "phases": {name: round(seconds, 3) for name, seconds in one.phases.items()},
        "seconds": round(one.seconds, 3),
        "plain_bytes": one.bytes,
    }
    if one.problem:
        document |= {
            "problem": one.problem.message,
            "hint": one.problem.hint,
            "exit_code": one.problem.exit_code,
        }
    return document


def _asserted(found: Asserted) -> dict[str, Any]:
    return {
        "name": found.name,
        "holds": found.holds,
        "answered": found.answered,
        "expected": found.expected,
        "found": found.found,
    }
