"""The definitions of tables, as another server takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ulasis_backup.methods.collations import Way
from ulasis_backup.methods.translate_text import (
    Notes,
    check_comments,
    closing,
    collated,
    explicit,
    find_outside,
    name_of,
    outside,
)
from ulasis_backup.model import Flavour
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.tokens import QUOTED, STRING, TABLE_TOKEN, table_items

TYPES = {
    Flavour.MARIADB: {
        "uuid": (10, 7, 0), "inet4": (10, 10, 0), "inet6": (10, 5, 0), "vector": (11, 7, 0),
        "xmltype": (12, 3, 0),
    },
    Flavour.MYSQL: {"json": (5, 7, 8), "vector": (9, 0, 0)},
}  # fmt: skip
"""Since when a flavour has a type, of those that not all servers have."""

SPECIAL = frozenset(name for types in TYPES.values() for name in types)
LARGE = re.compile(
    r"(?:tiny|medium|long)?(?:text|blob)|json|geo.*|(?:multi)?(?:point|polygon|linestring)"
)
_NAMED = re.compile(rb"(?P<name>" + QUOTED + rb") (?P<type>[a-z0-9]+)", re.DOTALL)
_KEY = re.compile(
    rb"(?P<kind>PRIMARY |UNIQUE |FULLTEXT |SPATIAL |VECTOR )?KEY (?P<name>" + QUOTED + rb")?",
    re.DOTALL,
)
_CONSTRAINT = re.compile(
    rb"CONSTRAINT (?P<name>" + QUOTED + rb") (?P<kind>CHECK|FOREIGN KEY) ", re.DOTALL
)
_WORD = re.compile(rb"[\w.+-]+")
_STRING = re.compile(STRING, re.DOTALL)
_NOW = re.compile(rb"current_timestamp(?:\((?P<digits>\d*)\))?", re.IGNORECASE)
_MOMENT = re.compile(rb"(?:timestamp|datetime)(?:\((?P<digits>\d+)\))?")
_VALUE = rb"(?:" + STRING + rb"|[\w.-]+)"
_ENGINE = rb"(?P<before> ENGINE ?= ?)(?P<engine>\w+)"
_MARIADBS_OPTION = (
    rb" (?:(?P<name>PAGE_CHECKSUM|TRANSACTIONAL|IETF_QUOTES)=\w+|(?P<page>ROW_FORMAT=PAGE)\b"
    rb"|`(?P<own>\w+)`=" + _VALUE + rb")"
)
_MYSQLS_OPTION = (
    rb"(?: /\*!\d+)? (?P<name>COMPRESSION|ENCRYPTION|AUTOEXTEND_SIZE|SECONDARY_ENGINE"
    rb"|ENGINE_ATTRIBUTE|SECONDARY_ENGINE_ATTRIBUTE|TABLESPACE|STORAGE)(?:[= ]+)"
    rb"(?P<value>" + _VALUE + rb"|" + QUOTED + rb")(?: \*/)?"
)
_DIRECTORY = rb" (?:DATA|INDEX) DIRECTORY ?= ?" + STRING


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table under translation.

    ``repeated`` are names of constraints that other tables have too, ``collations`` what the
    source's catalogue says of its columns.
    """

    name: str
    engine: str
    way: Way
    notes: Notes
    repeated: frozenset[str]
    collations: Mapping[str, str]

    @property
    def label(self) -> str:
        """Return how sentences name the table."""
        return f"table {self.name}"

    def notice(self, text: str, what: str = "") -> None:
        """Note a change to the table, or to *what* of it."""
        self.notes.notice(what or self.label, text)

    def problem(self, text: str, what: str = "") -> None:
        """Note why the table, or *what* of it, cannot go there."""
        self.notes.problem(what or self.label, text)


def constraint_names(definition: Definition) -> tuple[str, ...]:
    """Return the names of the constraints of a table, in small letters."""
    found = table_items(definition.text)
    matches = [_CONSTRAINT.match(item) for item in (found[1] if found else [])]
    return tuple(name_of(match["name"]).lower() for match in matches if match)


def translate_table(
    definition: Definition,
    way: Way,
    notes: Notes,
    *,
    repeated: frozenset[str] = frozenset(),
    collations: Mapping[str, str],
) -> Definition:
    """Return *definition* as the target takes it; what cannot go there is noted."""
    found = table_items(definition.text)
    if found is None:
        notes.problem(f"table {definition.name}", "its definition has an unknown form")
        return definition
    begin, items, end = found
    tail = definition.text[end:]
    engine = find_outside(_ENGINE, tail)
    table = Table(
        name=definition.name, way=way, notes=notes, repeated=repeated, collations=collations,
        engine=engine["engine"].decode() if engine else "",
    )  # fmt: skip
    kept = [new for item in items if (new := _item(item, table))]
    head = definition.text[: begin + 1]
    text = head + b"\n  " + b",\n  ".join(kept) + b"\n" + _options(tail, table)
    check_comments(text, way, notes, table.label)
    return replace(definition, text=text)


def _item(item: bytes, table: Table) -> bytes:
    """Return a column, key or constraint for the target, empty if it is left out."""
    column = _NAMED.match(item)
    if column:
        return _column(item, column, table)
    key = _KEY.match(item)
    if key:
        return _key(item, key, table)
    constraint = _CONSTRAINT.match(item)
    if constraint:
        return _constraint(item, constraint, table)
    # Of SYSTEM_TIME the versions themselves are the problem.
    if table.way.to_mysql and re.match(rb"PERIOD FOR (?!SYSTEM_TIME)", item):
        table.problem(f"{table.way.there} has no periods")
    return collated(item, table.way, table.notes, table.label)


def _column(item: bytes, found: re.Match[bytes], table: Table) -> bytes:
    name, kind = name_of(found["name"]), found["type"].decode()
    what = f"column {table.name}.{name}"
    way = table.way
    since = TYPES[way.target.flavour].get(kind)
    json_there = way.to_mariadb and kind == "json"
    if kind in SPECIAL and not json_there and (since is None or way.target.numbers < since):
        table.problem(f"{way.there} has no type {kind}", what)
    if json_there:
        table.notice("JSON is text there, with a check; MariaDB keeps it as MySQL shows it", what)
    if way.crosses and find_outside(rb" GENERATED ALWAYS AS \(", item):
        table.notice(ANEW, what)
    if kind == "timestamp" and way.loses_times:
        table.notice(f"{way.there} has no TIMESTAMP after 2038-01-19: such rows fail to load", what)
    if way.to_mysql:
        item = _column_to_mysql(item, kind, what, table)
    elif way.to_mariadb:
        item = _column_to_mariadb(item, what, table)
    item = explicit(item, way, known=table.collations.get(name, ""))
    return collated(item, way, table.notes, what)


def _column_to_mysql(item: bytes, kind: str, what: str, table: Table) -> bytes:
    def uncompressed(_: re.Match[bytes]) -> bytes:
        table.notice("its values are not compressed one by one there", what)
        return b""

    if find_outside(rb"\b(?:nextval|lastval|setval)\(", item):
        table.problem(f"it needs a sequence, which {table.way.there} does not have", what)
    if LARGE.fullmatch(kind) and kind.startswith(("geo", "multi", "point", "poly", "line")):
        table.notice(GEOMETRY, what)
    item = outside(rb" /\*M!\d+ COMPRESSED[^*]*\*/", uncompressed, item)
    return _bracketed(item, large=bool(LARGE.fullmatch(kind)))


ANEW = "its values are computed anew there, and may differ, e.g. in the last digits of a division"
GEOMETRY = (
    "its bytes stay as they are; as text MySQL shows latitude first where the SRID is a "
    "geographic one, MariaDB never does"
)


def _bracketed(item: bytes, *, large: bool) -> bytes:
    """Return a column whose default is in brackets where MySQL wants it so."""
    span = _default(item)
    if span is None:
        return item
    value = item[span[0] : span[1]]
    now = _NOW.fullmatch(value)
    moment = _MOMENT.match(item[_type_at(item) :])
    if now and moment and (now["digits"] or b"0") in (moment["digits"] or b"0", b""):
        return item
    bare = value.endswith(b")") and not value.startswith(b"(")
    if bare or (large and value != b"NULL" and not value.startswith(b"(")):
        return item[: span[0]] + b"(" + value + b")" + item[span[1] :]
    return item


def _type_at(item: bytes) -> int:
    found = _NAMED.match(item)
    return found.start("type") if found else 0


def _default(item: bytes) -> tuple[int, int] | None:
    """Return where the default of a column stands, None if it has none."""
    depth = 0
    pattern = re.compile(TABLE_TOKEN.pattern + rb"| DEFAULT (?P<default>)", re.DOTALL)
    for token in pattern.finditer(item):
        depth += {b"(": 1, b")": -1}.get(token[0], 0)
        if depth == 0 and token["default"] is not None:
            return token.end(), _end_of_value(item, token.end())
    return None


def _end_of_value(item: bytes, begin: int) -> int:
    word = _WORD.match(item, begin)
    at = word.end() if word else begin
    text = _STRING.match(item, at)
    if text:
        return text.end()
    return closing(item, at) if item[at : at + 1] == b"(" else at


def _column_to_mariadb(item: bytes, what: str, table: Table) -> bytes:
    def without(text: str) -> bytes:
        table.notice(text, what)
        return b""

    def not_null(match: re.Match[bytes]) -> bytes:
        return match["stored"] + without("NOT NULL goes: MariaDB has it not on generated columns")

    def srid(match: re.Match[bytes]) -> bytes:
        return without(f"MariaDB does not hold it to SRID {match['srid'].decode()}")

    at = _type_at(item)
    if item.startswith(b"geomcollection", at):
        item = item[:at] + b"geometrycollection" + item[at + len(b"geomcollection") :]
    kind = (_NAMED.match(item) or {"type": b""})["type"].decode()
    if kind.startswith(("geo", "multi", "point", "poly", "line")):
        table.notice(GEOMETRY, what)
    item = outside(rb"(?P<stored> (?:VIRTUAL|STORED)) NOT NULL", not_null, item)
    item = outside(rb" /\*!\d+ SRID (?P<srid>\d+) \*/", srid, item)
    item = outside(
        rb" /\*!\d+ (?:STORAGE|COLUMN_FORMAT) \w+ \*/",
        lambda _: without("STORAGE and COLUMN_FORMAT mean nothing there"),
        item,
    )
    item = outside(rb"/\*!\d+ INVISIBLE \*/", lambda _: b"INVISIBLE", item)
    needs = find_outside(rb" INVISIBLE\b", item) and find_outside(rb" NOT NULL\b", item)
    if needs and _default(item) is None and not find_outside(rb" AUTO_INCREMENT\b", item):
        table.problem("MariaDB has no invisible column that is NOT NULL without a default", what)
    return item


def _key(item: bytes, key: re.Match[bytes], table: Table) -> bytes:
    kind = (key["kind"] or b"").strip().decode()
    what = f"key {name_of(key['name'])} of table {table.name}" if key["name"] else table.label
    if table.way.to_mysql:
        return _key_to_mysql(item, kind, what, table)
    if table.way.to_mariadb:
        item = _key_to_mariadb(item, kind, what, table)
    if table.way.target.flavour is Flavour.MARIADB and table.way.target.numbers < (10, 6, 0):
        item = outside(rb" IGNORED\b", lambda _: b"", item)
    return item


def _key_to_mysql(item: bytes, kind: str, what: str, table: Table) -> bytes:
    there = table.way.there
    if kind == "VECTOR":
        table.notice(f"{there} has no such index: it is left out", what)
        return b""
    if find_outside(rb" WITHOUT OVERLAPS", item):
        table.problem(f"{there} has no WITHOUT OVERLAPS", what)
    hashed = find_outside(rb" USING HASH\b", item)
    if kind == "UNIQUE" and hashed and table.engine.lower() != "memory":
        table.problem(f"{there} has no unique key over whole values of any length", what)
    item = outside(rb" `\w+`=" + _VALUE, lambda _: b"", item)
    return outside(rb" IGNORED\b", lambda _: b" /*!80000 INVISIBLE */", item)


def _key_to_mariadb(item: bytes, kind: str, what: str, table: Table) -> bytes:
    found = table_items(item)
    if found and any(part.startswith(b"(") for part in found[1]):
        if kind == "UNIQUE":
            table.problem("MariaDB has no unique keys over expressions", what)
        table.notice("MariaDB has no keys over expressions: it is left out", what)
        return b""
    if find_outside(rb"WITH PARSER ", item):
        table.notice("MariaDB has not this full-text parser: the key is left out", what)
        return b""
    return outside(rb" /\*!80000 INVISIBLE \*/", lambda _: b" IGNORED", item)


def _constraint(item: bytes, found: re.Match[bytes], table: Table) -> bytes:
    name = name_of(found["name"])
    what = f"constraint {name} of table {table.name}"
    if table.way.to_mariadb and find_outside(rb"/\*!\d+ NOT ENFORCED \*/", item):
        table.notice("MariaDB would enforce it: it is left out", what)
        return b""
    if table.way.target.flavour is Flavour.MYSQL and name.lower() in table.repeated:
        # MySQL wants one name once in a database.
        longer = f"{table.name}_{name}".encode("utf-8", "surrogateescape")
        if len(longer.decode("utf-8", "replace")) > LONGEST_NAME:
            table.problem("another table has one of this name, and MySQL allows but one", what)
        table.notice(
            "it is given the table's name too, for MySQL wants it once in a database", what
        )
        item = b"CONSTRAINT `" + longer.replace(b"`", b"``") + b"`" + item[found.end("name") :]
    return collated(item, table.way, table.notes, what)


LONGEST_NAME = 64


def _options(tail: bytes, table: Table) -> bytes:
    if table.way.to_mysql:
        tail = _options_to_mysql(tail, table)
    elif table.way.to_mariadb:
        tail = outside(_MYSQLS_OPTION, lambda match: _mysqls_option(match, table), tail)
    if table.way.crosses and find_outside(_DIRECTORY, tail):
        table.notice("it lies in the server's own folder there, no DATA or INDEX DIRECTORY")
        tail = outside(_DIRECTORY, lambda _: b"", tail)
    tail = explicit(tail, table.way)
    return collated(tail, table.way, table.notes, table.label)


def _mysqls_option(match: re.Match[bytes], table: Table) -> bytes:
    name, value = match["name"].decode(), match["value"].strip(b"'")
    if name == "ENCRYPTION" and value.upper() == b"Y":
        table.problem("its files are encrypted, which MariaDB does not take over from here")
    elif name != "ENCRYPTION":
        table.notice(f"MariaDB has no option {name} like this: it goes")
    return b""


def _options_to_mysql(tail: bytes, table: Table) -> bytes:
    there = table.way.there

    def option(match: re.Match[bytes]) -> bytes:
        name = (match["own"] or match["name"] or match["page"]).decode()
        # They come as their author wrote them.
        name = name.lower() if match["own"] else name
        asked = re.search(rb"=\W*(?:yes|on|1)\W*\Z", match[0], re.IGNORECASE)
        if name == "encrypted" and asked:
            table.problem(f"its files are encrypted, which {there} does not take over from here")
        else:
            table.notice(f"{there} has no option {name}: it goes")
        return b""

    def engine(match: re.Match[bytes]) -> bytes:
        if match["engine"].lower() != b"aria":
            return match[0]
        table.notice(f"{there} has no engine Aria: InnoDB takes its place")
        return match["before"] + b"InnoDB"

    tail = outside(_ENGINE, engine, outside(_MARIADBS_OPTION, option, tail))
    if find_outside(rb"WITH SYSTEM VERSIONING", tail):
        table.problem(f"{there} has no system-versioned tables")
    elif find_outside(rb"PARTITION BY", tail):
        if find_outside(rb" DEFAULT(?= ENGINE)", tail):
            table.problem(f"{there} has no DEFAULT partition")
        if table.engine.lower() not in ("innodb", "aria"):
            table.problem(f"{there} has no partitions in engine {table.engine}")
    return tail
