"""Views, routines, triggers and events, as another server takes them.

Their bodies are sent as they are: what a body means cannot be told from its text. What the server
writes around it, and the settings it was made with, are translated.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ulasis_backup.methods.collations import Way, counterpart
from ulasis_backup.methods.translate_text import Notes, check_comments, collated
from ulasis_backup.model import Flavour, ObjectKind
from ulasis_backup.mysql.definitions import Definition

ROUND, TRUNCATE = "TIME_ROUND_FRACTIONAL", "TIME_TRUNCATE_FRACTIONAL"
HARMLESS = frozenset({
    "NO_AUTO_CREATE_USER", "IGNORE_BAD_TABLE_OPTIONS", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS",
    "NO_FIELD_OPTIONS", "POSTGRESQL", "MSSQL", "DB2", "MYSQL323", "MYSQL40",
})  # fmt: skip
"""Words that MySQL 8 does not know and that change nothing in a body: their parts stand beside."""

MEANINGFUL = frozenset({"ORACLE", "MAXDB", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT"})
BODIES = frozenset({
    ObjectKind.FUNCTION, ObjectKind.PROCEDURE, ObjectKind.TRIGGER, ObjectKind.EVENT,
})  # fmt: skip
ONLY_MARIADB = {
    ObjectKind.SEQUENCE: "sequences",
    ObjectKind.PACKAGE: "packages",
    ObjectKind.PACKAGE_BODY: "packages",
}
NEAREST = {Flavour.MYSQL: "utf8mb4_0900_ai_ci", Flavour.MARIADB: "utf8mb4_unicode_520_ci"}
LITERALS = "its literals, of collation {name}, are compared by {near} there"
AS_IT_IS = "its text is sent as it is and may fail there; it comes after all rows"
_RETURNS = re.compile(rb"\) RETURNS [^\n]*")
_ROLE = re.compile(rb"CREATE (?:ALGORITHM=\w+ )?DEFINER=`(?:[^`]|``)*`(?!@)")
_OFF = re.compile(rb" ON COMPLETION (?:NOT )?PRESERVE (DISABLE ON )(SLAVE|REPLICA)\b")


def translate_object(definition: Definition, way: Way, notes: Notes) -> Definition:
    """Return *definition*, no table, as the target takes it; what cannot go there is noted."""
    what = f"{definition.kind} {definition.name}"
    missing = ONLY_MARIADB.get(ObjectKind(definition.kind))
    if missing:
        if way.to_mysql:
            notes.problem(what, f"{way.there} has no {missing}")
        return definition
    if not way.changes:
        return definition
    return replace(
        definition,
        text=_text(definition, way, notes, what),
        sql_mode=_sql_mode(definition, way, notes, what) if way.crosses else definition.sql_mode,
        charset_client=_charset(definition.charset_client, way, notes, what),
        collation_connection=_setting(definition.collation_connection, way, notes, what),
        database_collation=_setting(definition.database_collation, way, notes, what),
    )


def _text(definition: Definition, way: Way, notes: Notes, what: str) -> bytes:
    text = definition.text
    if definition.kind == ObjectKind.VIEW:
        text = collated(text, way, notes, what)
    elif definition.kind == ObjectKind.FUNCTION:
        text = _RETURNS.sub(lambda match: collated(match[0], way, notes, what), text, count=1)
    elif definition.kind == ObjectKind.EVENT and way.crosses:
        word = b"SLAVE" if way.to_mariadb else b"REPLICA"
        text = _OFF.sub(lambda match: match[0][: -len(match[2])] + word, text, count=1)
    if way.crosses:
        notes.notice(what, AS_IT_IS)
        _check_text(definition, way, notes, what)
    check_comments(text, way, notes, what)
    return text


def _check_text(definition: Definition, way: Way, notes: Notes, what: str) -> None:
    if way.to_mysql and _ROLE.match(definition.text):
        notes.problem(what, f"its definer is a role, which {way.there} does not allow")
    routine = definition.kind in (ObjectKind.FUNCTION, ObjectKind.PROCEDURE)
    if way.to_mariadb and routine and re.search(rb"\n    LANGUAGE (?!SQL)\w+", definition.text):
        notes.problem(what, "MariaDB runs routines in SQL alone")


def _sql_mode(definition: Definition, way: Way, notes: Notes, what: str) -> str:
    """Return the modes of the target that mean the same.

    Fractions of seconds MySQL rounds unless told otherwise, MariaDB cuts off unless told otherwise.
    """
    words = [word for word in definition.sql_mode.split(",") if word]
    wanted, unwanted = (ROUND, TRUNCATE) if way.to_mariadb else (TRUNCATE, ROUND)
    kept = [word for word in words if word != unwanted]
    if definition.kind in BODIES and unwanted not in words:
        kept.append(wanted)
        notes.notice(what, f"sql_mode is given {wanted}, for fractions of seconds as before")
    if way.to_mariadb:
        return ",".join(kept)
    for word in sorted(MEANINGFUL.intersection(kept)):
        notes.problem(what, f"it was made with sql_mode {word}, which {way.there} does not have")
    dropped = HARMLESS.intersection(kept)
    for word in sorted(dropped):
        notes.notice(what, f"{word} goes from its sql_mode; it changes nothing in it")
    return ",".join(word for word in kept if word not in dropped)


def _charset(name: str, way: Way, notes: Notes, what: str) -> str:
    if name == "gb18030" and way.to_mariadb:
        notes.problem(what, "it was made by a client of character set gb18030, unknown to MariaDB")
    return name


def _setting(name: str, way: Way, notes: Notes, what: str) -> str:
    """Return the collation that literals of a body are given on the target."""
    return setting_there(name, way, notes, what, near=LITERALS)


def setting_there(name: str, way: Way, notes: Notes, what: str, *, near: str) -> str:
    """Return the collation of the target for a setting *name*, or the nearest.

    *near* is what is noted then, with ``{name}`` and ``{near}``.
    """
    found = counterpart(name, way) if name else None
    if found is None and name.startswith("utf8mb4_"):
        nearest = NEAREST[way.target.flavour]
        notes.notice(what, near.format(name=name, near=nearest))
        return nearest
    if found is None and name:
        notes.problem(what, f"collation {name} is unknown to {way.there}, and none there is equal")
    return found.name if found else name
