"""``list``, ``show``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulasis_backup.cli.backups import AllowUnauthenticated, Name
from ulasis_backup.cli.session import Session

if TYPE_CHECKING:
    from ulasis_backup.model import LeftOut, ObjectSummary, TableSummary
    from ulasis_backup.repository.holds import Hold
    from ulasis_backup.repository.manifest import Header, Manifest
    from ulasis_backup.repository.proofs import Proof, Standing
    from ulasis_backup.repository.repository import Entry, Oddity

MOST_PROOFS = 5
GOOD = frozenset({"proven", "intact", "intact (unsigned)"})


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    app.command("list")(list_backups)
    app.command("show")(show)


def list_backups(
    context: typer.Context,
    *,
    here: Annotated[
        bool, typer.Option("--here", help="Only backups of this server and DB_NAME.")
    ] = False,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="Instead: what restores keep on the server.")
    ] = False,
) -> None:
    """List the backups in the repository, oldest first, and whatever else lies there."""
    from ulasis_backup.cli.render import add, age, size, table  # noqa: PLC0415
    from ulasis_backup.cli.undo import list_leftovers  # noqa: PLC0415
    from ulasis_backup.repository import holds  # noqa: PLC0415
    from ulasis_backup.repository.proofs import standings  # noqa: PLC0415
    from ulasis_backup.repository.repository import belongs_to, listing  # noqa: PLC0415

    session: Session = context.obj
    if leftovers:
        list_leftovers(session)
        return
    with session.context(recorded="list", briefly=True) as world:
        found = listing(world.repository)
        held = holds.held(world.repository, found.entries)
        place = world.repository.storage.place
        config = world.config
        entries = [
            entry
            for entry in found.entries
            if not here or belongs_to(entry, config.server_name, config.databases)
        ]
        known = standings(world.repository, entries)
    rows = table(
        "Backup", "Age", "Size", "Database", "Server", "Kind", "Verdict", right=("Age", "Size")
    )
    doubts = list(found.doubts)
    for entry in entries:
        header, details = entry.manifest.header, entry.manifest.details
        stands = known[header.id]
        doubts += [*stands.doubts, *_worth_a_note(entry, stands)]
        add(rows, str(entry.name), age(header.started_at), size(entry.manifest.added_bytes),
            ", ".join(header.databases), details.server_name if details else "(encrypted)",
            str(header.kind), _verdict(entry, stands, held.get(header.id)),
        )  # fmt: skip
    document = {
        "repository": place,
        "backups": [
            _entry(entry, known[entry.manifest.header.id], held.get(entry.manifest.header.id))
            for entry in entries
        ],
        "others": [_oddity(oddity) for oddity in found.oddities],
        "doubts": doubts,
    }
    text: list[Any] = [rows] if entries else [f"no backups in {place}"]
    text += _others(found.oddities)
    text += [f"note: {doubt}" for doubt in doubts]
    text += [
        f"note: the hold on {hold.backup} keeps it, although {hold.problem}"
        for hold in held.values()
        if hold.problem
    ]
    session.show(document, *text)


def show(
    context: typer.Context, name: Name, *, allow_unauthenticated: AllowUnauthenticated = False
) -> None:
    """Show what a backup's manifest says: tables, objects, position, what was left out or lost.

    And which accounts it holds, what is known of it, and its last checks.
    """
    from ulasis_backup.operations.context import chosen_backup  # noqa: PLC0415
    from ulasis_backup.operations.indexes import accounts_of  # noqa: PLC0415
    from ulasis_backup.repository import holds  # noqa: PLC0415
    from ulasis_backup.repository.proofs import history, standing  # noqa: PLC0415
    from ulasis_backup.repository.repository import load_trusted  # noqa: PLC0415

    session: Session = context.obj
    with session.context(recorded="show", briefly=True) as world:
        payload = chosen_backup(world, name)
        session.touched(str(payload))
        manifest = load_trusted(
            world.repository, payload, allow_unauthenticated=allow_unauthenticated
        )
        hold = holds.held_one(world.repository, manifest)
        checks = history(world.repository, manifest)
        accounts, unread = accounts_of(world, manifest)
    stands = standing(checks.proofs, partial=manifest.header.partial)
    document = asdict(manifest.header) | {
        "signed": manifest.signed,
        "encrypted": manifest.encrypted,
        "held": asdict(hold) if hold else None,
        "details": asdict(manifest.details) if manifest.details else None,
        "accounts": list(accounts),
        "proofs": [asdict(proof) for proof in checks.proofs],
        "doubts": list(checks.doubts),
    }
    lines = _manifest_text(manifest, stands)
    lines += _hold_text(hold)
    lines += [f"account {account}" for account in accounts]
    lines += [f"note: {text}" for text in (*unread, *checks.doubts)]
    session.show(document | _standing(stands), *lines, *_checks(checks.proofs))


def _checks(proofs: Sequence[Proof]) -> list[Any]:
    """Return the last checks of a backup, newest first."""
    from ulasis_backup.cli.render import add, size, table  # noqa: PLC0415

    if not proofs:
        return []
    rows = table("Checked", "By", "Verdict", "Read", "On", "Says", right=("Read",))
    for proof in reversed(proofs[-MOST_PROOFS:]):
        said = "; ".join(text for text in (proof.reason, proof.server) if text)
        add(rows, proof.finished_at, str(proof.check), str(proof.verdict), size(proof.bytes),
            proof.host, said)  # fmt: skip
    more = len(proofs) - MOST_PROOFS
    return ["", rows] + ([f"and {more} checks before"] if more > 0 else [])


def _verdict(entry: Entry, standing: Standing, hold: Hold | None) -> str:
    """Return what is known of a backup, since when, and what it lacks."""
    header = entry.manifest.header
    if entry.problem:
        return f"{standing.verdict}: {entry.problem.message}" + (", held" if hold else "")
    parts = [f"{standing.verdict}{_since(standing.at)}"]
    parts += ["partial"] if header.partial else []
    if not entry.manifest.signed and "unsigned" not in parts[0]:
        parts.append("unsigned")
    parts += ["held"] if hold else []
    return ", ".join(parts)


def _since(at: str) -> str:
    from ulasis_backup.cli.render import age  # noqa: PLC0415

    if not at:
        return ""
    ahead = datetime.fromisoformat(at) > datetime.now(UTC) + timedelta(minutes=1)
    return f" at {at} (a clock was wrong)" if ahead else f" {age(at)} ago"


def _worth_a_note(entry: Entry, standing: Standing) -> list[str]:
    """Return why a check failed or could not be carried out."""
    usual = standing.proof.reason if standing.proof else ""
    if entry.problem or not standing.note:
        return []
    if standing.verdict in GOOD and standing.note == usual:
        return []
    return [f"{entry.name}: {standing.note}"]


def _entry(entry: Entry, standing: Standing, hold: Hold | None) -> dict[str, Any]:
    header, details = entry.manifest.header, entry.manifest.details
    return {
        "backup": str(entry.name),
        "id": header.id,
        "databases": list(header.databases),
        "server": details.server_name if details else None,
        "method": header.method,
        "kind": header.kind,
        "series": header.series,
        "sequence": header.sequence,
        "started_at": header.started_at,
        "finished_at": header.finished_at,
        "stored_bytes": entry.manifest.added_bytes,
        "payload_bytes": header.stored.bytes,
        "plain_bytes": details.plain.bytes if details else None,
        "encrypted": entry.manifest.encrypted,
        "signed": entry.manifest.signed,
        "partial": header.partial,
        **_standing(standing),
        "held": asdict(hold) if hold else None,
        "note": header.note,
        "problem": entry.problem.message if entry.problem else None,
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "verdict": str(standing.verdict),
        "verdict_at": standing.at or None,
        "verdict_check": standing.check,
        "verdict_note": standing.note,
        "checked_at": standing.good.finished_at if standing.good else None,
    }


def _hold_text(hold: Hold | None) -> list[str]:
    if hold is None:
        return []
    why = f": {hold.note}" if hold.note else ""
    problem = f" (doubtful: {hold.problem})" if hold.problem else ""
    return [f"held since {hold.held_at or '?'}{why}{problem}"]


def _oddity(oddity: Oddity) -> dict[str, Any]:
    return {"name": oddity.name, "what": oddity.what, "hint": oddity.hint}


def _others(oddities: tuple[Oddity, ...]) -> list[str]:
    if not oddities:
        return []
    lines = ["", "Not backups of ours:"]
    for oddity in oddities:
        lines.append(f"  {oddity.name}: {oddity.what}")
        if oddity.hint:
            lines.append(f"    HINT: {oddity.hint}")
    return lines


def _known(standing: Standing) -> str:
    by = f" by {standing.check}" if standing.check else ""
    note = f": {standing.note}" if standing.note else ""
    return f"{standing.verdict}{by}{_since(standing.at)}{note}"


def _values(count: int | None) -> str:
    return "values not counted" if count is None else f"{count:,} values"


def _named(header: Header, entry: TableSummary | ObjectSummary | LeftOut) -> str:
    """Return the name, with its database where a backup is of several."""
    return f"{entry.database}.{entry.name}" if len(header.databases) > 1 else entry.name


def _manifest_text(manifest: Manifest, standing: Standing) -> list[Any]:
    from ulasis_backup.cli.render import add, age, number, size, table  # noqa: PLC0415

    header, details = manifest.header, manifest.details
    kept = header.stages.cipher or "not encrypted"
    place = f"number {header.sequence} of series {header.series}"
    packed = f"{size(header.stored.bytes)}, {header.stages.compression}, {kept}"
    shared = manifest.details.shared if manifest.details else None
    lines: list[Any] = [
        f"{header.payload}",
        f"  databases   {', '.join(header.databases)}",
        f"  made        {header.started_at} ({age(header.started_at)} ago), {header.kind}, {place}",
        f"  stored      {packed}, {'signed' if manifest.signed else 'unsigned'}",
        f"  verdict     {_known(standing)}",
        f"  server      {header.server.flavour} {header.server.version}",
    ]
    if shared:
        lines.append(
            f"  objects     {shared.objects:,} in {size(shared.bytes)}, of which this backup added "
            f"{shared.new_objects:,} in {size(shared.new_bytes)}"
        )
    if header.note:
        lines.append(f"  note        {header.note}")
    if header.partial:
        lines.append("  PARTIAL: made without all rights")
    if details is None:
        return lines
    lines.append(f"  from        {details.server_name}, {size(details.plain.bytes)} plain")
    if details.position:
        position = details.position
        lines.append(f"  position    {position.file}:{position.offset} {position.gtid}".rstrip())
    rows = table("Table", "Rows", "Bytes", right=("Rows", "Bytes"))
    for entry in details.tables:
        add(rows, _named(header, entry), number(entry.rows), number(entry.bytes))
    lines += ["", rows]
    lines += [f"{entry.kind} {_named(header, entry)}" for entry in details.objects]
    for left in details.left_out:
        lines.append(f"left out: {left.kind} {_named(header, left)}: {left.reason}")
        lines += [f"  {left.definition}"] if left.definition else []
    lines += [
        f"lost: {loss.table}.{loss.column}: {loss.what} ({_values(loss.values)})"
        for loss in details.text_losses
    ]
    return lines + [f"note: {text}" for text in (*details.fallbacks, *details.warnings)]
