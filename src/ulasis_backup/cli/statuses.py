"""``status``: one screen that says whether everything is fine, and what to do if it is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session

if TYPE_CHECKING:
    from ulasis_backup.operations.status_values import Known, SeriesStatus, Status

BARS = "▁▂▃▄▅▆▇█"
HOUR, DAY = 3600, 86_400
FAULT_HINT = "set ULASIS_BACKUP_TRACEBACK=1, run it again, and report what it prints"


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("status")(status)
    app.command("metrics")(metrics)


def status(
    context: typer.Context,
    *,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line with performance data, for a monitor.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every series in the repository, not only DB_NAME's.")
    ] = False,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Look at the repository alone.")
    ] = False,
) -> None:
    """Say whether everything is fine: age, proof, RPO, RTO, storage, what is open.

    Exit code as of monitoring plugins: 0 fine, 1 warning, 2 critical, 3 unknown.
    """
    from ulasis_backup.errors import UlasisError  # noqa: PLC0415
    from ulasis_backup.operations import status as operation  # noqa: PLC0415

    session: Session = context.obj
    try:
        with session.context() as world:
            found = operation.status(world, everything=everything, ask_server=not no_server)
            settings = world.config.settings
            limits = (settings.backup_rpo_hours, settings.backup_rto_hours)
            line = _nagios(found, limits[0])
            screen = _screen(found, *limits, asked=not no_server)
    except UlasisError as error:
        raise _unknown(session, error.message, error.hint, nagios=nagios) from None
    except Exception as error:
        if os.environ.get("ULASIS_BACKUP_TRACEBACK"):
            raise
        message = f"unexpected {type(error).__name__}; this is a fault of the program"
        raise _unknown(session, message, FAULT_HINT, nagios=nagios) from None
    if nagios:
        typer.echo(line)
    else:
        session.show(_document(found), *screen)
    raise typer.Exit(int(found.level))


def _unknown(session: Session, message: str, hint: str, *, nagios: bool) -> typer.Exit:
    """Say what keeps us from looking: a monitor must not take its code for a level."""
    from ulasis_backup.operations.status_values import Level  # noqa: PLC0415

    if nagios:
        typer.echo(f"ULASIS UNKNOWN - {message}")
    else:
        session.fail(message, hint, Level.UNKNOWN)
    return typer.Exit(int(Level.UNKNOWN))


def metrics(
    context: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every series in the repository, not only DB_NAME's.")
    ] = False,
) -> None:
    """Print the metrics for Prometheus; write and push them to where the settings say."""
    from ulasis_backup.operations import metrics as operation  # noqa: PLC0415
    from ulasis_backup.operations import status as looking  # noqa: PLC0415
    from ulasis_backup.operations.runlog import last_runs  # noqa: PLC0415

    session: Session = context.obj
    with session.context() as world:
        found = looking.status(world, everything=everything)
        runs = last_runs(world.config)
        operation.publish(world.config, found, runs)
    if session.json:
        session.show(_document(found))
    else:
        typer.echo(operation.as_text(found, runs).decode(), nl=False)


def _screen(found: Status, rpo: float, rto: float, *, asked: bool) -> list[str]:
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    said = {0: "everything is fine", 1: "look at this soon", 2: "this needs you now", 3: "unknown"}
    lines = [f"{found.level.name:<9} {said[found.level]}", ""]
    for series in found.series:
        lines += [series.name, *_series_lines(series, rpo, rto), ""]
    storage = found.storage
    free = "unknown" if storage.free is None else size(storage.free)
    until = f", full on {storage.full_at:%Y-%m-%d} at this rate" if storage.full_at else ""
    lines.append(
        f"storage   {sparkline(storage.sizes)} {size(storage.used)} in {storage.place}, "
        f"{free} free{until}"
    )
    for name, moment in found.next_runs:
        lines.append(f"next      {name} {moment:%Y-%m-%d %H:%M}, if a schedule is installed")
    if found.leftovers:
        kept = sum(one.bytes for one in found.leftovers)
        by = _count(len(found.leftovers), "earlier restore")
        lines.append(
            f"kept      {size(kept)} by {by} on the server: `list --leftovers`, `drop-leftovers`"
        )
    elif found.leftovers is None and asked:
        lines.append("server    could not be asked what restores left there")
    for problem in found.all_problems:
        lines += ["", f"{problem.level.name}: {problem.message}"]
        lines += [f"  HINT: {problem.hint}"] if problem.hint else []
    return lines


def _series_lines(series: SeriesStatus, rpo: float, rto: float) -> list[str]:
    from ulasis_backup.cli.render import size  # noqa: PLC0415

    lines = [
        f"  newest  {_known(series.newest) if series.newest else 'none'}",
        f"  proven  {_known(series.newest_proven) if series.newest_proven else 'none yet'}",
    ]
    if series.rpo is not None:
        lines.append(f"  RPO     {_hours(series.rpo)} would be lost now, {rpo:g} h allowed")
    if series.rto:
        took = f"about {_hours(series.rto.likely)} ({_hours(series.rto.least)} to "
        took += (
            f"{_hours(series.rto.most)}, from {_count(series.rto.measurements, 'test restore')})"
        )
        lines.append(f"  RTO     {took}, {rto:g} h allowed")
    else:
        lines.append("  RTO     not measured: `ulasis-backup test-restore latest` does")
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(series.verdicts.items()))
    added = size(sum(series.sizes))
    lines.append(f"  backups {series.backups}: {verdicts or 'none'}")
    lines.append(f"  added   {sparkline(series.sizes)} {added} by the last {len(series.sizes)}")
    return lines


def _known(known: Known) -> str:
    from ulasis_backup.cli.render import age, size  # noqa: PLC0415

    return (
        f"{known.name}  {age(known.at.isoformat())} ago, {size(known.plain_bytes)} in "
        f"{_hours(known.seconds)}, {known.verdict}"
    )


def _hours(seconds: float) -> str:
    if seconds < 2 * HOUR:
        if seconds < 10:  # noqa: PLR2004
            return f"{seconds:.1f} s"
        return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"  # noqa: PLR2004
    return f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.1f} d"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sparkline(values: Sequence[int], width: int = 20) -> str:
    """Return the last *width* of *values* as bars; all the same height where they are equal."""
    shown = list(values[-width:])
    if not shown:
        return "-"
    low, high = min(shown), max(shown)
    steps = len(BARS) - 1
    return "".join(
        BARS[round((v - low) / (high - low) * steps) if high > low else 0] for v in shown
    )


def _nagios(found: Status, rpo: float) -> str:
    """Return one line: state, what is wrong or the newest backup, and performance data."""
    from ulasis_backup.cli.render import age  # noqa: PLC0415
    from ulasis_backup.operations.problems import LATE, TOO_LATE  # noqa: PLC0415

    problems = found.all_problems
    newest = [
        f"{series.name} {age(series.newest.at.isoformat())} ago"
        for series in found.series
        if series.newest
    ]
    said = "; ".join(p.message for p in problems) or f"newest backup: {', '.join(newest)}"
    data = []
    for series in found.series:
        label = series.name.replace("'", "''").replace("=", "_")
        if series.rpo is not None:
            warn, critical = LATE * rpo * HOUR, TOO_LATE * rpo * HOUR
            data.append(f"'age {label}'={series.rpo:.0f}s;{warn:.0f};{critical:.0f};0")
        if series.rto:
            data.append(f"'restore {label}'={series.rto.likely:.0f}s;;;0")
    data.append(f"'used'={found.storage.used}B;;;0")
    line = said.replace("|", "/").replace("\n", " ")
    return f"ULASIS {found.level.name} - {line} | {' '.join(data)}"


def _document(found: Status) -> dict[str, Any]:
    return {
        "at": found.at.isoformat(),
        "level": found.level.name.lower(),
        "exit_code": int(found.level),
        "series": [_series(series) for series in found.series],
        "storage": {
            "place": found.storage.place,
            "used_bytes": found.storage.used,
            "free_bytes": found.storage.free,
            "full_at": found.storage.full_at.isoformat() if found.storage.full_at else None,
        },
        "leftovers": None if found.leftovers is None else [asdict(one) for one in found.leftovers],
        "next_runs": [{"job": name, "at": at.isoformat()} for name, at in found.next_runs],
        "problems": [
            {"level": p.level.name.lower(), "key": p.key, "message": p.message, "hint": p.hint}
            for p in found.all_problems
        ],
    }


def _series(series: SeriesStatus) -> dict[str, Any]:
    rto = series.rto
    return {
        "server": series.server,
        "databases": list(series.databases),
        "backups": series.backups,
        "newest": _backup(series.newest),
        "newest_proven": _backup(series.newest_proven),
        "rpo_seconds": series.rpo,
        "rto_seconds": {
            "likely": rto.likely, "least": rto.least, "most": rto.most,
            "measurements": rto.measurements,
        } if rto else None,
        "verdicts": {str(verdict): count for verdict, count in series.verdicts.items()},
        "added_bytes": list(series.sizes),
    }  # fmt: skip


def _backup(known: Known | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "backup": known.name, "at": known.at.isoformat(), "verdict": str(known.verdict),
        "method": known.method, "plain_bytes": known.plain_bytes,
        "added_bytes": known.added_bytes, "seconds": known.seconds,
    }  # fmt: skip
