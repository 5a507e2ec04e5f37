"""``audit``: who did what, and whether the log that says so is whole."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session
from ulasis_backup.errors import AuthenticationFailed, CouldNotCheck, SettingsError

if TYPE_CHECKING:
    from ulasis_backup.operations.audit import Checked, Shown
    from ulasis_backup.repository.auditfile import Body, Facts
    from ulasis_backup.repository.auditverify import Finding, Report

MOST_SHOWN = 50
MOST_NAMES = 3
Host = Annotated[str, typer.Option("--host", metavar="NAME", help="Only the log of this machine.")]
audit_app = typer.Typer(
    help="Audit log: who did what, and whether the log is whole.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    audit_app.callback()(_audit)
    audit_app.command("show")(show)
    audit_app.command("verify")(verify)
    audit_app.command("rotate-key")(rotate_key)
    app.add_typer(audit_app, name="audit")


def show(
    context: typer.Context,
    *,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="A date, a time, or so long ago: `7d`, `12h`.")
    ] = "",
    host: Host = "",
) -> None:
    """Show who did what, when, and how it ended; the newest last."""
    from ulasis_backup.cli.render import add, table  # noqa: PLC0415
    from ulasis_backup.operations import audit as operation  # noqa: PLC0415

    session: Session = context.obj
    moment = _moment(since)
    with session.context(recorded="audit show", briefly=True) as world:
        found = operation.read_log(world, since=moment, host=host)
    rows = table("When", "Host", "No.", "Who", "What", "Outcome", "About", right=("No.",))
    for one in found:
        add(rows, one.at[:19].replace("T", " "), one.entry.host, str(one.entry.seq), _who(one),
            _what(one), _outcome(one), _about(one))  # fmt: skip
    text: list[Any] = [rows] if found else ["nothing was done since then"]
    if doubtful := sum(bool(one.doubts) for one in found):
        text.append(f"note: {doubtful} entries are doubtful; `audit verify` says why")
    if unread := [one.unread for one in found if one.unread]:
        text.append(f"note: {len(unread)} entries cannot be read: {unread[0]}")
    session.show({"entries": [document_of(one) for one in found]}, *text)


def verify(
    context: typer.Context,
    *,
    host: Host = "",
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="FINGERPRINT", help="Trust this key and no other; repeatable."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST/NUMBER", help="A loss that this entry tells of is known; repeatable."
        ),
    ] = None,
) -> None:
    """Check that no entry was changed, dropped, moved or cut off; 41 where one was, else 0 or 60.

    60: something could not be read, so that it is not known.
    """
    from ulasis_backup.operations import audit as operation  # noqa: PLC0415

    session: Session = context.obj
    request = operation.Request(
        host=host, pins=frozenset(key or ()), accepted=frozenset(accept or ())
    )
    with session.context() as world:
        found = operation.verify_log(world, request)
    session.show(_checked(found), *_lines(found))
    _exit(session, found)


def rotate_key(context: typer.Context) -> None:
    """Sign with a new key from now on; the old one vouches for it."""
    from ulasis_backup.operations import audit as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="audit rotate-key") as world:
        old, new = operation.rotate_key(world)
    session.show({"old": old, "new": new}, f"signed from now on by {new}", f"until now by {old}")


def _moment(since: str) -> datetime | None:
    from ulasis_backup.operations.audit import moment_of  # noqa: PLC0415
    from ulasis_backup.operations.context import now  # noqa: PLC0415

    if not since:
        return None
    try:
        return moment_of(since, now())
    except ValueError:
        message = f"--since: {since!r} is no moment"
        raise SettingsError(message, hint="e.g. 7d, 12h, 2026-11-01, 2026-11-01T02:00Z") from None


def _who(one: Shown) -> str:
    if one.body is None:
        return "-" if one.entry.facts else "(sealed)"
    who = one.body.who
    user = who.user or f"uid {who.uid}"
    return f"{user} (sudo by {who.sudo_user})" if who.sudo_user else user


def _what(one: Shown) -> str:
    facts, body = one.entry.facts, one.body
    if facts is not None:
        return _told(str(one.entry.kind), facts)
    if body is None:
        return "(sealed)"
    changes = "".join(f"; {c.setting}: {c.before} → {c.after}" for c in body.changes)
    return f"{body.command} {body.event}{changes}"


def _told(kind: str, facts: Facts) -> str:
    return {
        "key": "a new key signs from now on",
        "trimmed": f"{facts.gone} old entries were removed, all before {facts.first}",
        "lost": f"entry {facts.lost} was stored here, and is gone",
    }.get(kind, kind)


def _outcome(one: Shown) -> str:
    if one.doubts:
        return f"DOUBTFUL: {one.doubts[0]}"
    body = one.body
    if body is None or body.event == "began":
        return ""
    said = body.outcome if body.code is None else f"{body.code} {body.outcome}"
    return f"{said}: {body.messages[0]}" if body.messages else said


def _about(one: Shown) -> str:
    body: Body | None = one.body
    if body is None:
        return ""
    names = body.backups[:MOST_NAMES]
    more = len(body.backups) - len(names)
    about = ", ".join(names) + (f" and {more} more" if more else "")
    late = " (stored later)" if body.late else ""
    return (about or f"{', '.join(body.databases)} at {body.server}") + late


def document_of(one: Shown) -> dict[str, Any]:
    """Return what a document says of an entry."""
    entry, body = one.entry, one.body
    said = None if body is None else asdict(body)
    for hidden in ("open", "padding"):
        if said is not None:
            del said[hidden]
    return {
        "host": entry.host, "number": entry.seq, "stored_at": entry.at, "at": one.at,
        "kind": str(entry.kind), "key": entry.key, "digest": entry.digest,
        "says": said, "facts": asdict(entry.facts) if entry.facts else None,
        "doubts": list(one.doubts), "unread": one.unread or None,
    }  # fmt: skip


def _checked(found: Checked) -> dict[str, Any]:
    return {
        "logs": [
            {
                "host": report.host, "entries": len(report.entries), "keys": list(report.keys),
                "first": report.entries[0].seq if report.entries else None,
                "last": report.last.seq if report.last else None,
                "digest": report.last.digest if report.last else None,
            }
            for report in found.reports
        ],
        "findings": [asdict(one) for one in found.findings],
        "anchors": found.anchors,
        "remembered": found.remembered,
        "waiting": found.waiting,
    }  # fmt: skip


def _lines(found: Checked) -> list[str]:
    lines = [_log_line(report) for report in found.reports]
    shown = found.findings[:MOST_SHOWN]
    lines += [_finding_line(one) for one in shown]
    if len(found.findings) > len(shown):
        lines.append(f"and {len(found.findings) - len(shown)} more; `--json` lists all")
    remembered = (
        "and what this machine remembers"
        if found.remembered
        else "alone: this machine remembers nothing of this log, so a cut end can go unseen"
    )
    lines.append(f"held against {found.anchors} manifests {remembered}")
    if found.waiting:
        lines.append(
            f"note: {found.waiting} entries wait on this machine; the next run stores them"
        )
    return lines


def _log_line(report: Report) -> str:
    if not report.entries:
        return f"{report.host}: no entry is left"
    first, last = report.entries[0], report.entries[-1]
    keys = ", ".join(report.keys)
    return (
        f"{report.host}: {len(report.entries):,} entries, {first.seq} to {last.seq}, "
        f"{first.at[:10]} to {last.at[:10]}, signed by {keys}"
    )


def _finding_line(one: Finding) -> str:
    where = f"{one.host} entry {one.seq}: " if one.seq else f"{one.host}: " if one.host else ""
    mark = {"wrong": "WRONG", "could-not-check": "NOT CHECKED", "note": "note"}[one.grade]
    return f"{mark}: {where}{one.what}"


def _exit(session: Session, found: Checked) -> None:
    from ulasis_backup.repository.auditverify import Grade  # noqa: PLC0415

    wrong, unread = found.of(Grade.WRONG), found.of(Grade.UNREAD)
    if wrong:
        message = f"the audit log is not whole: {len(wrong)} findings, the first: "
        _end(
            session, AuthenticationFailed(
                message + _finding_line(wrong[0]).removeprefix("WRONG: "),
                hint="compare with a copy of the repository; docs/reference/audit.md says more",
            ),
        )  # fmt: skip
    if unread:
        message = f"not everything could be checked: {unread[0].what}"
        hint = "set the key of the repository, and see that its files can be read"
        _end(session, CouldNotCheck(message, hint=hint))


def _end(session: Session, error: AuthenticationFailed | CouldNotCheck) -> None:
    """End with *error*; with ``--json`` the document that is printed already says why."""
    if session.json:
        raise typer.Exit(error.exit_code)
    raise error


def _audit() -> None:
    """Audit log: who did what, and whether the log is whole."""
