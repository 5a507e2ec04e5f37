"""``init``, ``check``, ``keys``, ``demo``: getting started."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session

if TYPE_CHECKING:
    from ulasis_backup.operations.check import Finding
    from ulasis_backup.operations.self_test import SelfTest

KEY_ADVICE = (
    "Keep this key where the backups are not: without it they cannot be read, by nobody.",
    "Two places that do not burn down together, e.g. a password manager and paper in a safe.",
    "Set it as BACKUP_ENCRYPTION_KEY, or put it into a file (chmod 600) that",
    "BACKUP_ENCRYPTION_KEY_FILE names.",
)
keys_app = typer.Typer(help="Keys of the repository.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("init")(init)
    app.command("check")(check)
    app.command("test-connection", help="The same as `check`.")(check)
    app.command("self-test")(self_test)
    app.command("demo")(demo)
    keys_app.callback()(_keys)
    keys_app.command("generate")(generate)
    app.add_typer(keys_app, name="keys")


def init(context: typer.Context) -> None:
    """Make the repository, and a commented settings file in this folder."""
    from ulasis_backup.operations.init import initialise  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="init") as world:
        made = initialise(world, Path.cwd())
        has_key = world.repository.key is not None
    lines = [
        f"repository  {made.repository} ({'made' if made.made_repository else 'was there'})",
        f"settings    {made.settings_file or 'left as they were'}",
        f"key         {'set' if has_key else 'none: run `ulasis-backup keys generate`'}",
        "next        set DB_HOST, DB_NAME, DB_USER, DB_PASSWORD, then `ulasis-backup check`",
    ]
    document = {
        "repository": made.repository,
        "made_repository": made.made_repository,
        "settings_file": str(made.settings_file) if made.settings_file else None,
        "has_key": has_key,
    }
    session.show(document, *lines)


def check(
    context: typer.Context,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Try the installed programs too, as `self-test` does.")
    ] = False,
) -> None:
    """Check login, TLS, privileges, server, programs, storage and key; print what is missing."""
    from ulasis_backup.cli.render import add, table  # noqa: PLC0415
    from ulasis_backup.operations import check as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="check") as world:
        found = list(operation.check(world, deep=deep))
    rows = table("", "Check", "Found")
    marks = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "-"}
    for finding in found:
        add(rows, marks[finding.state], finding.name, finding.message)
        if finding.hint:
            add(rows, "", "", f"HINT: {finding.hint}")
    failed = [finding for finding in found if finding.state == operation.State.FAILED]
    summary = f"failed: {len(failed)}" if failed else "everything needed for backups is there"
    document = {"checks": [_finding(finding) for finding in found], "failed": len(failed)}
    session.show(document, rows, summary)
    if failed:
        raise typer.Exit(failed[0].error.exit_code if failed[0].error else 1)


def self_test(context: typer.Context) -> None:
    """Try both methods with the installed programs, on a scratch server full of traps."""
    from ulasis_backup.events import ignore  # noqa: PLC0415
    from ulasis_backup.observers.log import log_events  # noqa: PLC0415
    from ulasis_backup.operations import self_test as operation  # noqa: PLC0415
    from ulasis_backup.operations import tried  # noqa: PLC0415

    session: Session = context.obj
    config = session.config()
    session.record_anyway("self-test", config)
    # What backups of the traps warn of is what they are made for.
    found = operation.self_test(
        config.settings.backup_programs_dir, log_events() if session.verbosity > 0 else ignore
    )
    kept = tried.record(config, found)
    error = operation.verdict_of(found)
    document = asdict(found) | {
        "passed": found.passed,
        "recorded": str(kept) if kept else None,
        "error": {"message": error.message, "hint": error.hint} if error else None,
    }
    session.show(document, *_self_test_lines(found))
    if error:
        session.complain(error.message, error.hint)
        raise typer.Exit(error.exit_code)


def _self_test_lines(found: SelfTest) -> list[str]:
    versions = found.versions
    lines = [
        f"server  {versions.server}",
        f"dump    {versions.dump or 'not installed'}",
        f"client  {versions.client or 'not installed'}",
        f"traps   {found.traps} tried in {found.seconds:.0f} s",
        *(f"        not known to this server: {name}" for name in found.untried),
    ]
    for result in found.results:
        lines.append(f"{result.method:8}{result.outcome}")
        lines += [f"        NOT ANNOUNCED, LOST: {name}" for name in result.lost]
        lines += [f"        announced: {name}" for name in result.announced]
        lines += [f"        refuses to back up {name}" for name in result.refused]
        lines += [f"        {result.error}"] if result.error else []
    return lines


def generate(
    context: typer.Context,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a new file (0600).")
    ] = None,
) -> None:
    """Make a new 256-bit key."""
    from ulasis_backup.operations.init import generate_key, write_key  # noqa: PLC0415

    session: Session = context.obj
    if output:
        # It may be what the settings lack.
        session.record_anyway("keys generate")
        write_key(output)
        session.show({"file": str(output)}, f"the key is in {output}", *KEY_ADVICE)
        return
    key = generate_key()
    session.show({"key": key}, key)
    if not session.json:
        for line in KEY_ADVICE:
            typer.echo(line, err=True)


def demo(context: typer.Context) -> None:
    """Show the whole cycle on a scratch server with sample data; needs no set-up."""
    from ulasis_backup.cli.demo import run_demo  # noqa: PLC0415

    session: Session = context.obj
    started = time.monotonic()
    document = run_demo(session)
    document["seconds"] = round(time.monotonic() - started, 1)
    if session.json:
        session.show(document)
    else:
        session.show(None, f"\nDone in {document['seconds']} s; nothing is left running.")


def _keys() -> None:
    """Keys of the repository."""


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name, "state": str(finding.state), "message": finding.message,
        "hint": finding.hint,
    }  # fmt: skip
