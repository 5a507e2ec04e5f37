"""``undo``, ``settle``, ``drop-leftovers``: what becomes of what restores replaced."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.session import Session
from ulasis_backup.model import printable

if TYPE_CHECKING:
    from ulasis_backup.mysql.swap import Settled
    from ulasis_backup.operations.leftovers import Leftover
    from ulasis_backup.operations.undo import UndoDone, UndoPlan

MOST_NAMES = 12


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("undo")(undo)
    app.command("settle")(settle)
    app.command("drop-leftovers")(drop_leftovers)


def undo(
    context: typer.Context,
    restore: Annotated[
        str, typer.Argument(metavar="[ID]", help="Which restore; the last one of DB_NAME.")
    ] = "",
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, touch nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Swap back unasked.")] = False,
) -> None:
    """Swap back what a restore replaced; what was there since is kept in a schema beside."""
    from ulasis_backup.operations import undo as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="undo", briefly=dry_run) as world:
        asked = (lambda _: True) if yes else (lambda plan: _ask(session, plan))
        done = operation.undo(world, restore, dry_run=dry_run, confirm=asked)
    session.show(_document(done), *_lines(done))


def settle(context: typer.Context) -> None:
    """Finish, or take back, restores that were cut off; the next command does so too."""
    from ulasis_backup.operations import leftovers as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="settle") as world:
        done = operation.settle(world)
    lines = [_settled_line(one) for one in done]
    document = [asdict(one.names) | {"outcome": one.outcome, "note": one.note} for one in done]
    session.show(
        {"settled": document}, *(lines or ["nothing that this login can see was left half done"])
    )


def drop_leftovers(
    context: typer.Context,
    restores: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Which restores; all that are done."),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Drop them unasked.")] = False,
) -> None:
    """Drop the schemas that restores keep beside their databases: then there is no `undo`."""
    from ulasis_backup.cli.render import size  # noqa: PLC0415
    from ulasis_backup.operations import leftovers as operation  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="drop-leftovers") as world:
        asked = (lambda _: True) if yes else (lambda found: _ask_drop(session, found))
        dropped = operation.drop_leftovers(world, restores or (), confirm=asked)
    lines = [
        f"{one.database}: {', '.join(one.schemas)} ({size(one.bytes)}) is gone" for one in dropped
    ]
    document = {"dropped": [asdict(one) for one in dropped]}
    session.show(document, *(lines or ["there is nothing to drop"]))


def list_leftovers(session: Session) -> None:
    """Show what restores left on the server: ``list --leftovers``."""
    from ulasis_backup.cli.render import add, age, number, size, table  # noqa: PLC0415
    from ulasis_backup.operations import leftovers as operation  # noqa: PLC0415

    with session.context(recorded="list", briefly=True) as world:
        found = operation.list_leftovers(world)
    rows = table(
        "Restore", "Database", "Age", "Tables", "Size", "State", "Schemas", "Of",
        right=("Age", "Tables", "Size"),
    )  # fmt: skip
    for one in found:
        state = f"swap incomplete ({one.state})" if one.incomplete else one.state
        add(rows, one.id, one.database, age(one.at) if one.at else "", number(one.tables),
            size(one.bytes), state, ", ".join(one.schemas), one.note,
        )  # fmt: skip
    document = {"leftovers": [asdict(one) | {"incomplete": one.incomplete} for one in found]}
    text: Any = rows if found else "restores keep nothing here that this login can see"
    session.show(document, text)


def _ask(session: Session, plan: UndoPlan) -> bool:
    if not session.may_ask():
        return False
    for line in _plan_lines(plan):
        typer.echo(printable(line), err=True)
    return typer.confirm(
        printable(f"Swap {plan.names.database} back now?"), default=False, err=True
    )


def _ask_drop(session: Session, found: tuple[Leftover, ...]) -> bool:
    if not session.may_ask():
        return False
    for one in found:
        typer.echo(printable(f"{one.database}: {', '.join(one.schemas)} ({one.state})"), err=True)
    return typer.confirm("Drop these schemas for good?", default=False, err=True)


def _plan_lines(plan: UndoPlan) -> list[str]:
    lines = [
        f"restore         {plan.names.id} of {plan.note or 'a backup'}, swapped {plan.at}",
        f"comes back      {_names(plan.back)}",
        f"goes aside      {_names(plan.aside)}, into {plan.names.undone}",
    ]
    if plan.written:
        lines.append(f"written since   {_names(plan.written)}")
    if plan.unknown:
        lines.append(f"perhaps written {_names(plan.unknown)}")
    return lines


def _lines(done: UndoDone) -> list[str]:
    plan = done.plan
    if done.undone is None:
        return [*_plan_lines(plan), "dry run: nothing was touched"]
    lines = [f"{plan.names.database} is what it was before the restore of {plan.note or plan.at}"]
    if done.undone.moved_out:
        lines.append(f"  what was there since is kept in {plan.names.undone}")
    if done.undone.written:
        lines.append(f"  written to since the restore: {_names(done.undone.written)}")
    return lines + [f"  note: {note}" for note in done.undone.notes]


def _document(done: UndoDone) -> dict[str, Any]:
    plan, undone = done.plan, done.undone
    return {
        "database": plan.names.database,
        "restore": plan.names.id,
        "note": plan.note,
        "swapped_at": plan.at,
        "dry_run": undone is None,
        "back": list(plan.back),
        "aside": list(plan.aside),
        "kept_in": plan.names.undone if plan.aside else None,
        "written": list(undone.written if undone else plan.written),
        "unknown": list(undone.unknown if undone else plan.unknown),
        "notes": list(undone.notes) if undone else [],
    }


def _settled_line(one: Settled) -> str:
    lines = [f"{one.names.database}: restore {one.names.id} ({one.note}) is {one.outcome}"]
    return "\n".join([*lines, *(f"  note: {note}" for note in one.notes)])


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)}: {shown}{more}" if names else "nothing"
