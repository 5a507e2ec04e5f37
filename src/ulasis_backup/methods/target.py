"""What only the target itself knows of a translation: its collations, its engines, its limits.

Each table is tried: created as a TEMPORARY table, empty, under a name of its own, and dropped. It
is seen by our session alone. What temporary tables cannot have is left out of the trial: foreign
keys, full-text keys, partitions, versions, compressed rows, tables that need a sequence.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ulasis_backup.errors import LoadFailed
from ulasis_backup.methods.translate import Translation
from ulasis_backup.methods.translate_text import find_outside, name_of, outside
from ulasis_backup.mysql.columns import Column
from ulasis_backup.mysql.creation import create
from ulasis_backup.mysql.definitions import TABLE, Definition
from ulasis_backup.mysql.privileges import has, read_grants
from ulasis_backup.mysql.server import QueryFailed, Server, quote
from ulasis_backup.mysql.tokens import QUOTED, STRING, table_items

TRIAL = "ulasis-backup trial"
_COLLATE = re.compile(rb"(?i:COLLATE)[ =](\w+)|" + QUOTED + rb"|" + STRING, re.DOTALL)
_ENGINE = rb" ENGINE ?= ?(?P<engine>\w+)"
_NAME = re.compile(rb"CREATE TABLE (" + QUOTED + rb") ", re.DOTALL)
_LEFT_OUT = re.compile(
    rb"(?:FULLTEXT|VECTOR) KEY |CONSTRAINT " + QUOTED + rb" FOREIGN KEY |PERIOD FOR SYSTEM_TIME",
    re.DOTALL,
)
_UNTRIABLE = (
    rb"\b(?:nextval|lastval|setval)\(|PERIOD FOR (?!SYSTEM_TIME)|ENGINE=(?:MRG_MyISAM|MERGE)\b"
)
"""Tables that cannot be temporary ones, or mean nothing without others."""

_ROW_TIME = rb"GENERATED ALWAYS AS ROW (?:START|END)"
_OPTIONS = (
    rb" WITH SYSTEM VERSIONING| WITHOUT SYSTEM VERSIONING| ROW_FORMAT=COMPRESSED"
    rb"| KEY_BLOCK_SIZE=\d+| (?:DATA|INDEX) DIRECTORY ?= ?" + STRING + rb"|/\*!\d+ TABLESPACE "
    rb"[^*]*\*/| `(?:page_compressed|page_compression_level|encrypted|encryption_key_id)`=\S+"
)
_PARTITIONED = rb"\s+(?:/\*!\d+ )?PARTITION BY "


def check_on_target(
    server: Server, translation: Translation, *, database: str | None = None
) -> tuple[str, ...]:
    """Return what *server* will not take of *translation*, one sentence each.

    Tables are tried in *database*, which has to be there; without it they are not tried, nor by a
    login that may not create temporary tables: a restore can do without. Nothing is left behind.
    """
    named = [(f"{d.kind} {d.name}", _named_collations(d)) for d in translation.definitions]
    problems = [*unknown_collations(server, named), *_engines(server, translation.definitions)]
    if database is None or not has(read_grants(server), "CREATE TEMPORARY TABLES", database):
        return tuple(problems)
    troubled = {problem.split(":", 1)[0] for problem in problems}
    for definition in translation.definitions:
        label = f"table {definition.name}"
        if definition.kind != TABLE or label in troubled:
            continue
        columns = _columns(translation, definition.name)
        problems += [f"{label}: {found}" for found in _tried(server, database, definition, columns)]
    return tuple(problems)


def unknown_collations(
    server: Server, named: Iterable[tuple[str, Iterable[str]]]
) -> tuple[str, ...]:
    """Return a sentence for each of *named* (what names collations, and which) unknown here."""
    known = {str(name).lower() for (name,) in server.query(_ALL_COLLATIONS)} | {"binary"}
    if server.query(
        "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' "
        "AND TABLE_NAME = 'COLLATION_CHARACTER_SET_APPLICABILITY' "
        "AND COLUMN_NAME = 'FULL_COLLATION_NAME'"
    ):
        known |= {str(name).lower() for (name,) in server.query(_FULL_COLLATIONS)}
    # Those of utf8mb3 have another name on older servers, and that is understood by newer ones.
    known |= {re.sub(r"\Autf8(?:mb3)?_", "utf8_", name) for name in known}
    return tuple(
        f"{label}: the server knows no collation {name}"
        for label, names in named
        for name in sorted(names)
        if name not in known and re.sub(r"\Autf8mb3_", "utf8_", name) not in known
    )


_ALL_COLLATIONS = "SELECT COLLATION_NAME FROM information_schema.COLLATIONS"
_FULL_COLLATIONS = (
    "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
)


def _named_collations(definition: Definition) -> set[str]:
    """Return the collations that *definition* needs; of bodies they are not known."""
    names = {definition.collation_connection, definition.database_collation}
    if definition.kind == TABLE:
        names |= collations_in(definition.text)
    return {name for name in names if name}


def collations_in(table: bytes) -> frozenset[str]:
    """Return the collations that the text of a table names."""
    return frozenset(name.decode().lower() for name in _COLLATE.findall(table) if name)


def _engines(server: Server, definitions: Iterable[Definition]) -> Iterator[str]:
    """Yield tables whose engine is not there: the server would take another, with a warning."""
    rows = server.query(
        "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')"
    )
    known = {str(name).lower() for (name,) in rows}
    for definition in definitions:
        found = table_items(definition.text) if definition.kind == TABLE else None
        match = find_outside(_ENGINE, definition.text[found[2] :]) if found else None
        engine = match["engine"].decode() if match else ""
        if engine and engine.lower() not in known:
            yield f"table {definition.name}: the server has no engine {engine}"


def _columns(translation: Translation, table: str) -> tuple[Column, ...]:
    for rows in translation.tables:
        if rows.head.source.table == table:
            return rows.head.source.columns
    return ()


def _tried(
    server: Server, database: str, definition: Definition, columns: tuple[Column, ...]
) -> Iterator[str]:
    text = trial_text(definition)
    if text is None:
        return
    trial = replace(definition, name=TRIAL, text=text, extra={})
    shown = f"{quote(database)}.{quote(TRIAL)}"
    try:
        create(server, database, trial)
        rows = server.query(f"SHOW FULL COLUMNS FROM {shown}")
    except (LoadFailed, QueryFailed) as error:
        said = error.message.split(" could not be created: ", 1)[-1]
        yield f"it cannot be created there: {said}"
        return
    finally:
        with contextlib.suppress(QueryFailed):
            server.run(f"DROP TEMPORARY TABLE IF EXISTS {shown}")
    found = {str(row[0]): str(row[2] or "") for row in rows}
    for column in columns:
        collation = found.get(column.name)
        if collation and column.collation and not _same(collation, column.collation):
            yield f"column {column.name} would have collation {collation}, not {column.collation}"


def _same(one: str, other: str) -> bool:
    return one.replace("utf8mb3_", "utf8_").lower() == other.replace("utf8mb3_", "utf8_").lower()


def trial_text(definition: Definition) -> bytes | None:
    """Return the CREATE TEMPORARY TABLE that tries a table, None where there is none."""
    name, found = _NAME.match(definition.text), table_items(definition.text)
    if name is None or found is None or find_outside(_UNTRIABLE, definition.text):
        return None
    _, items, end = found
    times = {name_of(item[: _end(item)]) for item in items if find_outside(_ROW_TIME, item)}
    kept = [
        outside(rb" WITHOUT SYSTEM VERSIONING", lambda _: b"", item)
        for item in items
        if not _LEFT_OUT.match(item) and not find_outside(_ROW_TIME, item)
    ]
    if not kept or (times and any(_uses(item, times) for item in kept)):
        return None
    tail = outside(_OPTIONS, lambda _: b"", definition.text[end:])
    parts = find_outside(_PARTITIONED, tail)
    head = b"CREATE TEMPORARY TABLE " + quote(TRIAL).encode()
    return head + b" (\n" + b",\n".join(kept) + b"\n" + (tail[: parts.start()] if parts else tail)


def _end(item: bytes) -> int:
    found = re.match(QUOTED, item, re.DOTALL)
    return found.end() if found else 0


def _uses(item: bytes, names: set[str]) -> bool:
    """Tell whether a key or check names one of the columns that the trial leaves out."""
    return any(name_of(match[0]) in names for match in re.finditer(QUOTED, item, re.DOTALL))
