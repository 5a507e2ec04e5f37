"""A backup of one server made ready for another: other flavour, or an older version.

Nothing is touched here: what is changed and what cannot go is told, the caller decides. Rows need
next to no translation, for their text is the same on all servers.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ulasis_backup.errors import SettingsError
from ulasis_backup.methods.collations import LATE, Way, counterpart
from ulasis_backup.methods.index import TableRows
from ulasis_backup.methods.translate_objects import setting_there, translate_object
from ulasis_backup.methods.translate_tables import constraint_names, translate_table
from ulasis_backup.methods.translate_text import Notes
from ulasis_backup.model import DatabaseOptions, Flavour, ServerVersion
from ulasis_backup.mysql.columns import Column
from ulasis_backup.mysql.definitions import TABLE, Definition

ENDS = ("2038-01-19 03:14:07.999999", "2106-02-07 06:28:15.999999")
"""When a row of a system-versioned table ends that has not ended: until MariaDB 11.4, and since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedOptions:
    """What ``CREATE DATABASE`` says on the target, with notices and problems as in Translation."""

    options: DatabaseOptions
    notices: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """Definitions and tables for the target.

    The columns of ``tables`` say how rows are written there, and how they are read there so that
    they give the packets of the source again, for comparisons.

    ``notices`` say what is changed, ``problems`` what cannot go there: with any of them the
    definitions are of no use.
    """

    definitions: tuple[Definition, ...]
    tables: tuple[TableRows, ...]
    notices: tuple[str, ...]
    problems: tuple[str, ...]


def translate(
    definitions: Sequence[Definition],
    tables: Sequence[TableRows],
    *,
    source: ServerVersion,
    target: ServerVersion,
    collations: Mapping[str, str] | None = None,
) -> Translation:
    """Return what *target* takes of *definitions* and *tables* of one database on *source*.

    *collations* says which collation is to stand for which, where a person decided so. Raises
    SettingsError where one of them is no name.
    """
    way = _way(source, target, collations)
    notes = Notes()
    sources = {table.head.source.table: table for table in tables}
    repeated = _repeated(definitions)
    translated = []
    for definition in definitions:
        if definition.kind != TABLE:
            translated.append(translate_object(definition, way, notes))
            continue
        if not way.changes:
            translated.append(definition)
            continue
        found = sources.get(definition.name)
        columns = found.head.source.columns if found else ()
        known = {column.name: column.collation for column in columns}
        translated.append(
            translate_table(definition, way, notes, repeated=repeated, collations=known)
        )
    return Translation(
        definitions=tuple(translated),
        tables=tuple(_rows(table, way) for table in tables),
        notices=notes.notices,
        problems=notes.problems,
    )


def translate_options(
    options: DatabaseOptions,
    *,
    source: ServerVersion,
    target: ServerVersion,
    collations: Mapping[str, str] | None = None,
) -> TranslatedOptions:
    """Return *options* of a database for *target*.

    Where its collation is unknown there the nearest is taken: tables have theirs said.
    """
    way = _way(source, target, collations)
    notes = Notes()
    collation = setting_there(options.collation, way, notes, "the database", near=DEFAULT_IS)
    if way.to_mysql and options.comment:
        notes.notice("the database", f"{way.there} has no comments on databases: it goes")
    comment = "" if way.to_mysql else options.comment
    changed = replace(options, collation=collation, comment=comment)
    return TranslatedOptions(options=changed, notices=notes.notices, problems=notes.problems)


DEFAULT_IS = "its default collation, {name}, becomes {near}: tables have theirs said"


def _way(source: ServerVersion, target: ServerVersion, collations: Mapping[str, str] | None) -> Way:
    """Return the way, with names in small letters; raises SettingsError for what is no name."""
    for name in itertools.chain.from_iterable((collations or {}).items()):
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise SettingsError(
                f"{name!r} is no collation", hint="name one that SHOW COLLATION shows"
            )
    asked = {name.lower(): there for name, there in (collations or {}).items()}
    return Way(source=source, target=target, collations=asked)


def _repeated(definitions: Iterable[Definition]) -> frozenset[str]:
    """Return the names of constraints that more than one table has."""
    tables = [definition for definition in definitions if definition.kind == TABLE]
    count = Counter(name for table in tables for name in constraint_names(table))
    return frozenset(name for name, times in count.items() if times > 1)


def _rows(table: TableRows, way: Way) -> TableRows:
    source = table.head.source
    columns = [_column(column, way) for column in source.columns]
    if source.versioned:
        columns[-1] = _row_end(columns[-1], way)
    changed = replace(source, columns=tuple(columns))
    return replace(table, head=replace(table.head, source=changed))


def _column(column: Column, way: Way) -> Column:
    if not way.changes:
        return column
    found = counterpart(column.collation, way) if column.collation else None
    column = replace(column, collation=found.name if found else column.collation)
    if way.to_mariadb and column.kind == "json":
        # A text there, which takes the bytes as they are.
        return replace(
            column, bind="{}", kind="longtext", charset="utf8mb4", collation="utf8mb4_bin"
        )
    if column.kind in ("geomcollection", "geometrycollection") and way.crosses:
        return replace(column, kind="geometrycollection" if way.to_mariadb else "geomcollection")
    return column


def _row_end(column: Column, way: Way) -> Column:
    """Return the end of rows such that those which have not ended have not ended there either."""
    if way.crosses or way.target.flavour is not Flavour.MARIADB:
        return column
    old, new = (ENDS[version.numbers >= LATE] for version in (way.source, way.target))
    if old == new:
        return column
    select = f"REPLACE({column.select}, '{new}', '{old}')"
    return replace(column, select=select, bind=f"REPLACE({{}}, '{old}', '{new}')")
