"""Comparing a database with a backup: dump it again, and compare fingerprints part by part."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from ulasis_backup.errors import CouldNotCheck, UlasisError
from ulasis_backup.events import BytesMoved, PhaseBegan, PhaseEnded
from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.outside import without_schema
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.methods.sql import SqlCapture, SqlOptions, plan_dump
from ulasis_backup.model import LeftOut, Login, TableSummary, TextLoss
from ulasis_backup.mysql import losses
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.context import Context, sql_options
from ulasis_backup.repository.manifest import Details
from ulasis_backup.streams.keys import DataKey

MOST_NAMED = 5
MISSING, EXTRA = "missing", "not in the backup"
DEFINITION, ROWS, COUNT = "definition differs", "rows differ", "number of rows differs"
EXCUSED = {
    losses.EMPTY_MEMBER: frozenset({("table", ROWS)}),
    losses.LABELS: frozenset({("table", ROWS), ("table", DEFINITION)}),
    losses.OPTIONS: frozenset({("table", DEFINITION)}),
    losses.COMMENT: frozenset({("procedure", DEFINITION), ("function", DEFINITION)}),
    losses.HALVES: frozenset({("table", ROWS)}),
    losses.TYPED_JSON: frozenset({("table", ROWS)}),
    losses.CYCLES: frozenset({("sequence", DEFINITION)}),
}
"""Which differences a loss explains. FLOAT and converted text are lost in the dump already, so
that a second dump shows no difference at all; and nothing explains a table that is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One part of a database that is not as it should be."""

    kind: str
    name: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.what}{self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Where a database differs from what it should hold.

    ``differences`` are rows, definitions and objects. ``moved`` are AUTO_INCREMENT and sequence
    positions: they move without a row changing. ``announced`` are differences that the backup
    itself has said there would be.
    """

    differences: tuple[Difference, ...]
    moved: tuple[str, ...]
    actual: Contents
    announced: tuple[Difference, ...] = ()

    def excusing(self, text_losses: Sequence[TextLoss], left_out: Sequence[LeftOut]) -> Comparison:
        """Return this with exactly those differences set apart that were announced."""
        excused = {
            (kind, loss.table, what)
            for loss in text_losses
            for kind, what in EXCUSED.get(loss.what, ())
        }
        excused |= {(str(entry.kind), entry.name, EXTRA) for entry in left_out}
        known = tuple(d for d in self.differences if (d.kind, d.name, d.what) in excused)
        rest = tuple(d for d in self.differences if d not in known)
        cycled = {loss.table for loss in text_losses if loss.what == losses.CYCLES}
        moved = tuple(line for line in self.moved if not _is_of(line, cycled))
        return replace(self, differences=rest, announced=known, moved=moved)

    @property
    def equal(self) -> bool:
        """Tell whether every row and every definition is equal, but for what was announced."""
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where tables lie that belong to database ``target``: in it, or in a schema beside it."""

    schema: str
    target: str

    @property
    def is_beside(self) -> bool:
        """Tell whether they are not where they belong yet."""
        return self.schema != self.target


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
    place = Place(schema=database, target=database)
    return _compare(context, context.config.reading, place, expected, data_key, total)


def compare_tables(
    context: Context,
    place: Place,
    expected: Contents,
    *,
    data_key: DataKey | None,
    total: int = 0,
) -> Comparison:
    """Dump the schema of *place* with the writing login and compare it with *expected*.

    Tables read as they will in their own database. Raises CouldNotCheck.
    """
    return _compare(context, context.config.writing, place, expected, data_key, total)


def _compare(  # noqa: PLR0917 (what both ways of it have in common)
    context: Context,
    login: Login,
    place: Place,
    expected: Contents,
    data_key: DataKey | None,
    total: int,
) -> Comparison:
    observe = context.observe
    observe(PhaseBegan(name="compare", subject=place.target, total=total, exact=bool(total)))
    try:
        actual = _read(context, login, place, data_key)
    except UlasisError as error:
        raise CouldNotCheck(f"could not compare: {error.message}", hint=error.hint) from None
    observe(PhaseEnded(name="compare"))
    return compared(expected, actual)


def compared(expected: Contents, actual: Contents) -> Comparison:
    """Return where *actual* differs from *expected*, part by part."""
    return Comparison(
        differences=tuple(_differences(expected, actual)),
        moved=tuple(_moved(expected, actual)),
        actual=actual,
    )


def where_not(wanted: Details, found: Contents) -> str:
    """Return what of *found* is not what the manifest says, as the end of a message."""
    said = replace(found, plain=wanted.plain, tables=wanted.tables, objects=wanted.objects)
    named = [str(one) for one in _differences(said, found)]
    return f": {'; '.join(named[:MOST_NAMED])}" if named else ""


def _is_of(line: str, sequences: set[str]) -> bool:
    return any(line.startswith(f"sequence {name}: ") for name in sequences)


def dump_again(context: Context, database: str) -> Generator[bytes, None, None]:
    """Yield a dump of *database* by the reading login, as ``compare`` reads it."""
    login = context.config.reading
    with connect(login) as server:
        yield from _capture(
            context, server, login, Place(schema=database, target=database), None
        ).chunks()


def _read(context: Context, login: Login, place: Place, data_key: DataKey | None) -> Contents:
    with connect(login) as server:
        capture = _capture(context, server, login, place, data_key)
        done = 0
        for chunk in capture.chunks():
            done += len(chunk)
            context.observe(BytesMoved(done=done))
        return capture.contents()


def _capture(  # noqa: PLR0917 (a server, who asks it, and what for)
    context: Context, server: Server, login: Login, place: Place, data_key: DataKey | None
) -> SqlCapture:
    options: SqlOptions = replace(
        sql_options(context.config), block_ddl=False, lock_tables=False, look_for_losses=False,
        witness=False,
        # Beside a database there is nothing but tables, whatever rights are missing for others.
        allow_partial=place.is_beside,
    )  # fmt: skip

    def at_home(piece: Piece) -> Piece:
        if piece.part is not Part.TABLE:
            return piece
        data = without_schema(without_schema(piece.data, place.target), place.schema)
        return replace(piece, data=data)

    plan = plan_dump(server, place.schema, options)
    change = at_home if place.is_beside else None
    return SqlCapture(plan, login, options, data_key, change=change)


def _differences(expected: Contents, actual: Contents) -> Iterator[Difference]:
    yield from _table_differences(expected, actual)
    wanted = {(str(entry.kind), entry.name): entry.digest for entry in expected.objects}
    got = {(str(entry.kind), entry.name): entry.digest for entry in actual.objects}
    for kind, name in sorted(wanted.keys() | got.keys()):
        if (kind, name) not in got:
            yield Difference(kind=kind, name=name, what=MISSING)
        elif (kind, name) not in wanted:
            yield Difference(kind=kind, name=name, what=EXTRA)
        elif wanted[(kind, name)] != got[(kind, name)]:
            yield Difference(kind=kind, name=name, what=DEFINITION)


def _table_differences(expected: Contents, actual: Contents) -> Iterator[Difference]:
    wanted = {table.name: table for table in expected.tables}
    got = {table.name: table for table in actual.tables}
    for name in sorted(wanted.keys() | got.keys()):
        if name not in got:
            yield Difference(kind="table", name=name, what=MISSING)
        elif name not in wanted:
            yield Difference(kind="table", name=name, what=EXTRA)
        else:
            yield from _table_difference(wanted[name], got[name])


def _table_difference(wanted: TableSummary, got: TableSummary) -> Iterator[Difference]:
    name = wanted.name
    if wanted.definition != got.definition:
        yield Difference(kind="table", name=name, what=DEFINITION)
    if wanted.rows != got.rows:
        detail = f" ({wanted.rows} in the backup, {got.rows} now)"
        yield Difference(kind="table", name=name, what=COUNT, detail=detail)
    elif wanted.rows_digest != got.rows_digest:
        yield Difference(kind="table", name=name, what=ROWS)


def _moved(expected: Contents, actual: Contents) -> list[str]:
    wanted = {table.name: table.auto_increment for table in expected.tables}
    found = [
        f"AUTO_INCREMENT of {table.name}: {wanted[table.name]} in the backup, "
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
