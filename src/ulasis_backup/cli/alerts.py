"""``alert``: try the channels, see what is open, close it, send what waits."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session
from ulasis_backup.errors import FollowUpFailed, Refused, SettingsError, StorageError

if TYPE_CHECKING:
    from ulasis_backup.observers.incidents import Book, Message, Open
    from ulasis_backup.observers.notify import Alerts, Sent

alert_app = typer.Typer(
    help="Alerts: try the channels, see what is open, close it, send what waits.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    alert_app.callback()(_alert)
    alert_app.command("test")(test)
    alert_app.command("list")(list_alerts)
    alert_app.command("close")(close)
    alert_app.command("flush")(flush)
    app.add_typer(alert_app, name="alert")


def test(context: typer.Context) -> None:
    """Send a test to every channel and say of each whether it arrived."""
    from ulasis_backup.cli.runs import place_of  # noqa: PLC0415
    from ulasis_backup.observers import notify  # noqa: PLC0415
    from ulasis_backup.operations.context import now  # noqa: PLC0415

    session: Session = context.obj
    config = session.config()
    place = place_of(config)
    found = notify.test(_alerts(session), now=now(), where=f"{place.short}, sent by {place.host}")
    session.show(
        {"channels": [{"channel": c.label, "sent": not why, "problem": why} for c, why in found]},
        *(f"{channel.label}: {f'FAILED: {why}' if why else 'sent'}" for channel, why in found),
    )
    failed = [channel.label for channel, why in found if why]
    if failed and session.json:
        raise typer.Exit(FollowUpFailed.exit_code)
    if failed:
        message = f"no test arrived by {', '.join(failed)}"
        raise FollowUpFailed(message, hint="check the address; see docs/reference/settings.md")


def list_alerts(context: typer.Context) -> None:
    """List the incidents that are open, and the messages that wait to be sent."""
    session: Session = context.obj
    alerts = _alerts(session)
    book = _read(alerts)
    labels = {channel.id: channel.label for channel in alerts.channels}
    waiting = [_waiting(entry, labels) for entry in book.queue]
    document = {
        "open": [_open(entry) for entry in book.open],
        "waiting": waiting,
        "given_up": book.given_up,
    }
    lines = [line for entry in book.open for line in _open_lines(entry)] or ["nothing is open"]
    lines += [line for entry in waiting for line in _waiting_lines(entry)]
    if book.given_up:
        lines.append(f"{book.given_up} messages were given up: too old, or too many")
    session.show(document, *lines)


def close(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="Key of the incident; `alert list` shows it.")],
) -> None:
    """Close an incident that no run will end, and tell the channels who did."""
    from ulasis_backup.cli.runs import place_of  # noqa: PLC0415
    from ulasis_backup.observers import notify  # noqa: PLC0415
    from ulasis_backup.operations.context import now  # noqa: PLC0415

    session: Session = context.obj
    alerts = _alerts(session)
    if key not in {entry.incident.key for entry in _read(alerts).open}:
        message = f"nothing is open with the key {key}"
        raise Refused(message, hint="`ulasis-backup alert list` shows the keys")
    place = place_of(session.config())
    relief = f"closed by hand, by {place.user} on {place.host}"
    done = notify.report(alerts, (), checked=(key,), now=now(), relief=relief)
    _show(session, done, {"closed": key}, f"closed: {key}")


def flush(context: typer.Context) -> None:
    """Send now what waits, also what would be tried later, and reminders that are due."""
    from ulasis_backup.observers import notify  # noqa: PLC0415
    from ulasis_backup.operations.context import now  # noqa: PLC0415

    session: Session = context.obj
    _show(session, notify.flush(_alerts(session), now=now(), at_once=True), {})


def _show(session: Session, done: Sent, document: dict[str, str], *lines: str) -> None:
    from ulasis_backup.cli.runs import REMARK_HINT  # noqa: PLC0415

    session.show(
        {
            **document, "sent": done.sent, "waiting": done.waiting,
            "problems": list(done.problems),
        },
        *lines,
        f"{done.sent} sent, {done.waiting} waiting",
    )  # fmt: skip
    for remark in done.remarks:
        session.warn(f"an alert did not reach all: {remark}", REMARK_HINT)
    if done.problems and session.json:
        raise typer.Exit(FollowUpFailed.exit_code)
    if done.problems:
        message = f"not everything was sent: {'; '.join(done.problems)}"
        raise FollowUpFailed(message, hint="what waits is tried again; `ulasis-backup alert list`")


def _alerts(session: Session) -> Alerts:
    from ulasis_backup.observers import notify  # noqa: PLC0415

    alerts = notify.alerts_of(session.config())
    if not alerts.channels:
        message = "no channel for alerts is set"
        hint = "set SLACK_WEBHOOK_URL, BACKUP_ALERT_MAIL_TO or BACKUP_ALERT_URLS"
        raise SettingsError(message, hint=hint)
    return alerts


def _read(alerts: Alerts) -> Book:
    from ulasis_backup.observers import notify  # noqa: PLC0415

    try:
        return notify.read(alerts)
    except OSError as error:
        message = f"cannot read {error.filename}: {error.strerror}"
        raise StorageError(message, hint="run it as the user that makes the backups") from None


def _open(entry: Open) -> dict[str, Any]:
    incident = entry.incident
    return {
        "key": incident.key,
        "severity": str(incident.severity),
        "title": incident.title,
        "text": incident.text,
        "since": entry.since.isoformat(timespec="seconds"),
        "told": entry.told.isoformat(timespec="seconds"),
    }


def _waiting(entry: Message, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "title": entry.title,
        "made": entry.made.isoformat(timespec="seconds"),
        "attempts": entry.attempts,
        "not_before": entry.not_before.isoformat(timespec="seconds"),
        "reason": entry.reason,
        "channels": [label for name, label in labels.items() if name not in entry.delivered],
    }


def _open_lines(entry: Open) -> list[str]:
    incident = entry.incident
    since = entry.since.astimezone().strftime("%Y-%m-%d %H:%M")
    lines = [f"open since {since}: {incident.title}", f"  Key:    {shlex.quote(incident.key)}"]
    return lines + [f"  {line}" for line in incident.text.splitlines()]


def _waiting_lines(entry: dict[str, Any]) -> list[str]:
    tried = f"tried {entry['attempts']} times ({entry['reason']})" if entry["attempts"] else "new"
    return [
        f"waits: {entry['title']}",
        f"  for {', '.join(entry['channels'])}; {tried}, next not before {entry['not_before']}",
    ]


def _alert() -> None:
    """Alerts: try the channels, see what is open, close it, send what waits."""
