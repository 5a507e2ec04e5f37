"""Comparing a database with a backup: dump it again, and compare fingerprints part by part."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ulasis_backup.errors import CouldNotCheck, UlasisError
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.sql import SqlCapture, SqlOptions, plan_dump
from ulasis_backup.model import TableSummary
from ulasis_backup.mysql.server import connect
from ulasis_backup.operations.context import Context, sql_options
from ulasis_backup.streams.keys import DataKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Where a database differs from what it should hold.

    ``differences`` are rows, definitions and objects. ``moved`` are AUTO_INCREMENT and sequence
    positions: they move without a row changing.
    """

    differences: tuple[str, ...]
    moved: tuple[str, ...]
    actual: Contents

    def without(self, announced: frozenset[str]) -> Comparison:
        """Return this with the differences of *announced* objects moved to ``moved``.

        What the backup has said it loses is no surprise after the restore.
        """
        known = tuple(line for line in self.differences if _subject(line) in announced)
        rest = tuple(line for line in self.differences if line not in known)
        said = tuple(f"as announced: {line}" for line in known)
        moved = tuple(line for line in self.moved if _subject(line) not in announced)
        return replace(self, differences=rest, moved=moved + said)

    @property
    def equal(self) -> bool:
        """Tell whether every row and every definition is equal."""
        return not self.differences


def compare(
    context: Context,
    database: str,
    expected: Contents,
    *,
    data_key: DataKey | None,
    total: int = 0,
) -> Comparison:
    """Dump *database* with the reading login and compare it with *expected*.

    *data_key* is the one that *expected*'s fingerprints were made with. Raises CouldNotCheck.
    """
    context.observe(PhaseBegan(name="compare", subject=database, total=total, exact=bool(total)))
    try:
        actual = _read(context, database, data_key)
    except UlasisError as error:
        raise CouldNotCheck(f"could not compare: {error.message}", hint=error.hint) from None
    context.observe(PhaseEnded(name="compare"))
    return Comparison(
        differences=tuple(_differences(expected, actual)),
        moved=tuple(_moved(expected, actual)),
        actual=actual,
    )


def _subject(line: str) -> str:
    """Return the object's name in a line such as ``table orders: rows differ``."""
    return line.removeprefix("AUTO_INCREMENT of ").split(" ", 1)[1].split(": ", 1)[0]


def _read(context: Context, database: str, data_key: DataKey | None) -> Contents:
    options: SqlOptions = replace(
        sql_options(context.config), block_ddl=False, lock_tables=False, look_for_losses=False
    )
    login = context.config.reading
    with connect(login) as server:
        capture = SqlCapture(plan_dump(server, database, options), login, options, data_key)
        done = 0
        for chunk in capture.chunks():
            done += len(chunk)
            context.observe(BytesMoved(done=done))
        return capture.contents()


def _differences(expected: Contents, actual: Contents) -> list[str]:
    found = [f"table {name}: {what}" for name, what in _table_differences(expected, actual)]
    wanted = {(entry.kind, entry.name): entry.digest for entry in expected.objects}
    got = {(entry.kind, entry.name): entry.digest for entry in actual.objects}
    for kind, name in sorted(wanted.keys() | got.keys()):
        if (kind, name) not in got:
            found.append(f"{kind} {name}: missing")
        elif (kind, name) not in wanted:
            found.append(f"{kind} {name}: not in the backup")
        elif wanted[(kind, name)] != got[(kind, name)]:
            found.append(f"{kind} {name}: definition differs")
    return found


def _table_differences(expected: Contents, actual: Contents) -> list[tuple[str, str]]:
    wanted = {table.name: table for table in expected.tables}
    got = {table.name: table for table in actual.tables}
    found: list[tuple[str, str]] = []
    for name in sorted(wanted.keys() | got.keys()):
        if name not in got:
            found.append((name, "missing"))
        elif name not in wanted:
            found.append((name, "not in the backup"))
        else:
            found += [(name, what) for what in _table_difference(wanted[name], got[name])]
    return found


def _table_difference(wanted: TableSummary, got: TableSummary) -> list[str]:
    found = [] if wanted.definition == got.definition else ["definition differs"]
    if wanted.rows_digest != got.rows_digest:
        counts = (
            f" ({wanted.rows} in the backup, {got.rows} now)" if wanted.rows != got.rows else ""
        )
        found.append(f"rows differ{counts}")
    return found


def _moved(expected: Contents, actual: Contents) -> list[str]:
    wanted = {table.name: table.auto_increment for table in expected.tables}
    found = [
        f"AUTO_INCREMENT of table {table.name}: {wanted[table.name]} in the backup, "
        f"{table.auto_increment} now"
        for table in actual.tables
        if table.name in wanted and wanted[table.name] != table.auto_increment
    ]
    positions = {entry.name: entry.position for entry in expected.objects if entry.position}
    return found + [
        f"sequence {entry.name}: {positions[entry.name]} in the backup, {entry.position} now"
        for entry in actual.objects
        if entry.name in positions and positions[entry.name] != entry.position
    ]
