"""What a scratch server holds after a restore, held against what the backup's manifest says.

Nothing moves in a scratch server, so that AUTO_INCREMENT and the positions of sequences have to be
equal as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ulasis_backup.methods.contents import Contents
from ulasis_backup.methods.summary import keyed
from ulasis_backup.methods.witness import counter_of
from ulasis_backup.model import LeftOut, ObjectKind, TextLoss, Witness
from ulasis_backup.mysql import losses, schema
from ulasis_backup.mysql.accounts import Account, Right, read_accounts, to_json
from ulasis_backup.mysql.definitions import TABLE, Definition, digest_bytes, read_definitions
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.operations.compare import (
    DEFINITION,
    EXCUSED,
    EXTRA,
    MISSING,
    Comparison,
    Difference,
)
from ulasis_backup.operations.source import Source
from ulasis_backup.streams.keys import DataKey

POSITION = "position differs"
ELSE_THAN_SERVER = "is not what the server had"


def with_digests(found: Comparison, expected: Contents) -> tuple[Difference, ...]:
    """Return the differences, each definition's with both digests."""
    return tuple(_with_digests(found.differences, _digests(expected), _digests(found.actual)))


def positions(
    server: Server, source: Source, found: Comparison, expected: Contents
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Return where AUTO_INCREMENT and sequences stand elsewhere, and notes on what is explained.

    A counter that stood below its rows (an UPDATE had passed it) cannot be brought back: the server
    puts it behind the largest value.
    """
    now = {table.name: table.auto_increment for table in found.actual.tables}
    wrong, notes = [], []
    for table in expected.tables:
        wanted, got = table.auto_increment, now.get(table.name)
        if table.name not in now or wanted == got:
            continue
        text = f"AUTO_INCREMENT of {table.name}: {wanted} in the backup, {got} now"
        moved = _next_value(server, source.database, table.name)
        if moved is not None and got == moved > (wanted or 0):
            notes.append(f"{text}: the counter stood below the rows, the server has moved it up")
        else:
            detail = f" (AUTO_INCREMENT {wanted} in the backup, {got} now)"
            wrong.append(Difference(kind=TABLE, name=table.name, what=POSITION, detail=detail))
    cycled = {loss.table for loss in source.text_losses if loss.what == losses.CYCLES}
    there = {(o.kind, o.name): o.position for o in found.actual.objects}
    for entry in expected.objects:
        got_position = there.get((entry.kind, entry.name), entry.position)
        if got_position != entry.position and entry.name not in cycled:
            detail = f" ({entry.position} in the backup, {got_position} now)"
            kind = str(entry.kind)
            wrong.append(Difference(kind=kind, name=entry.name, what=POSITION, detail=detail))
    return tuple(wrong), tuple(notes)


def against_witness(
    server: Server,
    database: str,
    witness: Sequence[Witness],
    *,
    data_key: DataKey | None,
    text_losses: Sequence[TextLoss] = (),
) -> Iterator[Difference]:
    """Yield where *database* is not what the server itself showed when the backup was made."""
    found = {
        (str(one.kind), one.name): one
        for one in read_definitions(server, database, schema.catalogue(server, database))
    }
    excused = {
        (kind, loss.table)
        for loss in text_losses
        for kind, what in EXCUSED.get(loss.what, ())
        if what == DEFINITION
    }
    wanted = {(one.kind, one.name): one for one in witness}
    for which in sorted(wanted.keys() - found.keys()):
        yield Difference(kind=which[0], name=which[1], what=MISSING)
    for which in sorted(found.keys() - wanted.keys()):
        yield Difference(kind=which[0], name=which[1], what=EXTRA)
    for which in sorted(wanted.keys() & found.keys()):
        difference = _other_than_witness(wanted[which], found[which], data_key)
        if difference and which not in excused:
            yield difference


def _other_than_witness(
    wanted: Witness, got: Definition, data_key: DataKey | None
) -> Difference | None:
    digest = keyed(digest_bytes(got), data_key)
    what = f"definition {ELSE_THAN_SERVER}"
    if wanted.digest and wanted.digest != digest:
        detail = f" ({wanted.digest[:12]} there, {digest[:12]} now)"
        return Difference(kind=wanted.kind, name=wanted.name, what=what, detail=detail)
    position = counter_of(got)
    if wanted.counter is None or position is None:
        return None
    low, high = wanted.counter
    if low <= position <= high:
        return None
    there = str(low) if low == high else f"{low} to {high}"
    detail = f" (the counter stood at {there} on the server, {position} now)"
    return Difference(kind=wanted.kind, name=wanted.name, what=POSITION, detail=detail)


def against_accounts(
    server: Server,
    databases: Sequence[str],
    wanted: Sequence[Account],
    *,
    there_before: frozenset[tuple[str, str]],
    objects: frozenset[tuple[str, str]],
) -> Iterator[Difference]:
    """Yield where accounts and their rights differ from those of the backup.

    Of accounts that were *there_before* the way to log in is not compared. Rights on what is not
    among *objects* (database and name) could not be given.
    """
    got = {account.name: account for account in read_accounts(server, databases)}
    for account in wanted:
        if account.name not in got:
            if account.create:
                yield Difference(kind="account", name=account.text, what=MISSING)
            continue
        there = got[account.name]
        if account.name not in there_before and account.create != there.create:
            yield Difference(kind="account", name=account.text, what="the way to log in differs")
        yield from _account(account, there, objects)
    for name in sorted(got.keys() - {account.name for account in wanted} - there_before):
        yield Difference(kind="account", name=got[name].text, what=EXTRA)


def _account(
    wanted: Account, got: Account, objects: frozenset[tuple[str, str]]
) -> Iterator[Difference]:
    for text in sorted(_rights(wanted, objects) - _rights(got, None)):
        yield Difference(kind="grant of", name=wanted.text, what=f"lacks {text}")
    for text in sorted(_rights(got, None) - _rights(wanted, None)):
        yield Difference(kind="grant of", name=wanted.text, what=f"has besides {text}")
    held, there = to_json(wanted), to_json(got)
    for part in ("roles", "default_roles"):
        if held[part] != there[part]:
            name = part.replace("_", " ")
            yield Difference(kind="account", name=wanted.text, what=f"its {name} differ")


def _rights(account: Account, objects: frozenset[tuple[str, str]] | None) -> frozenset[str]:
    """Return each right as text; of those on single objects only for *objects*, if given."""
    return frozenset(
        _right(one, word)
        for one in account.grants
        for word in one.rights
        if objects is None or not one.kind or (one.database, one.name) in objects
    )


def _right(right: Right, word: str) -> str:
    kind = f"{right.kind} " if right.kind else ""
    where = f"{right.database}.{right.name or '*'}"
    return f"{word} ON {kind}{where}" + (" WITH GRANT OPTION" if right.grantable else "")


def left_out_note(entry: LeftOut) -> str:
    """Return what is to be said of something that the backup does not hold."""
    return f"left out: {entry.kind} {entry.name}: {entry.reason}"


def exceptions(text_losses: Iterable[TextLoss]) -> str:
    """Return ``except FLOAT (t.c)``: what a proof does not say; empty where there is nothing."""
    by_kind: dict[str, list[str]] = {}
    for loss in text_losses:
        by_kind.setdefault(_kind_of(loss), []).append(f"{loss.table}.{loss.column}".rstrip("."))
    parts = [f"{kind} ({', '.join(dict.fromkeys(where))})" for kind, where in by_kind.items()]
    return f"except {'; '.join(parts)}" if parts else ""


def _kind_of(loss: TextLoss) -> str:
    return "FLOAT" if loss.what == losses.FLOAT else loss.what


def _digests(contents: Contents) -> Mapping[tuple[str, str], str]:
    found = {(TABLE, table.name): table.definition for table in contents.tables}
    return found | {(str(entry.kind), entry.name): entry.digest for entry in contents.objects}


def _with_digests(
    differences: Iterable[Difference],
    wanted: Mapping[tuple[str, str], str],
    got: Mapping[tuple[str, str], str],
) -> Iterator[Difference]:
    for one in differences:
        which = (one.kind, one.name)
        if one.what == DEFINITION and which in wanted and which in got:
            yield replace(
                one, detail=f" ({wanted[which][:12]} in the backup, {got[which][:12]} now)"
            )
        else:
            yield one


def _next_value(server: Server, database: str, table: str) -> int | None:
    """Return one more than the largest value of a table's AUTO_INCREMENT column."""
    column = server.value(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s "
        "AND TABLE_NAME = %s AND EXTRA LIKE '%%auto_increment%%'",
        (database, table),
    )
    if column is None:
        return None
    name = f"{quote(database)}.{quote(table)}"
    largest = server.value(f"SELECT MAX({quote(column)}) FROM {name}")  # noqa: S608 (quoted names)
    return None if largest is None else int(largest) + 1


def names_in(database: str, contents: Contents) -> frozenset[tuple[str, str]]:
    """Return database and name of everything on which there can be rights."""
    named = {entry.name for entry in contents.objects if entry.kind is not ObjectKind.TRIGGER}
    named |= {table.name for table in contents.tables}
    return frozenset((database, name) for name in named)
