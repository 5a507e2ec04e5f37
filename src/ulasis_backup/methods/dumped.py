"""The parts of a dump apart: tables for the client program, other objects as definitions.

What a dump creates beside tables may name its schema: ``CREATE TRIGGER shop.t … ON shop.orders``
lands on the live table, wherever the dump is loaded, and an event would fire. So none of it goes
to the client program where tables are loaded beside the live ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ulasis_backup.errors import Refused
from ulasis_backup.methods.contents import BLOCK
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql.definitions import Definition

TABLE_PARTS = frozenset(
    {Part.HEAD, Part.SEQUENCE, Part.TABLE, Part.ROWS_HEAD, Part.ROWS, Part.AFTER_ROWS, Part.FOOT}
)
CHECKED = frozenset({Part.HEAD, Part.ROWS_HEAD, Part.AFTER_ROWS, Part.FOOT})
"""Parts in which a dump program only comments and sets things."""

_NAME = rb"`(?:[^`]|``)*`"
_USER = rb'(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")'
_DEFINER = rb"DEFINER=" + _USER + rb"(?:@" + _USER + rb")?"
_SETTING = re.compile(
    rb"/\*!50003 SET (?P<setting>character_set_client|collation_connection|sql_mode|time_zone) *= "
    rb"(?P<value>'[^'\n]*'|[\w]+) \*/ ;;?\n"
)
_COLLATED = re.compile(
    rb"ALTER DATABASE " + _NAME + rb" CHARACTER SET \w+ COLLATE (?P<collation>\w+) ;;?\n"
)
_AROUND = re.compile(
    rb"(?:\n|--[^\n]*\n|DELIMITER ;;?\n|/\*!\d{5} SET [^\n]*\*/ ?;;?\n"
    rb"|(?:/\*!\d{5} )?DROP (?P<kind>TRIGGER|EVENT|PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE) "
    rb"IF EXISTS (?P<name>" + _NAME + rb")(?: \*/)? ?;;?\n)",
)
"""What stands around objects beside the settings that are to be kept."""

_BEFORE = re.compile(
    rb"(?:/\*!50003 SET [^\n]*|ALTER DATABASE [^\n]*|/\*!\d{5} DROP TRIGGER [^\n]*)\n\Z"
)
_COVERED = re.compile(
    rb"/\*!(?:50003|50106) CREATE\*/ (?:/\*!(?:50017|50117) (?P<definer>" + _DEFINER + rb")\*/ )?"
    rb"/\*!(?:50003|50106) (?P<rest>(?i:TRIGGER|EVENT)\s.*?)(?: \n| )?\*/ ?\Z",
    re.DOTALL,
)
_PLAIN = re.compile(rb"(?P<text>CREATE .*?)(?: ?\n| )?\Z", re.DOTALL)
_VIEW = re.compile(
    rb"/\*!50001 (?P<create>CREATE [^\n]*?) \*/\n/\*!50013 (?P<definer>[^\n]*?) \*/\n"
    rb"/\*!50001 (?P<view>VIEW .*?) \*/(?:\n/\*!50002 (?P<check>WITH \w+ CHECK OPTION) \*/)?;\n",
    re.DOTALL,
)
_TIMED = re.compile(
    rb"\bTRIGGER\s.*?\s(?P<timing>BEFORE|AFTER)\s+(?P<event>INSERT|UPDATE|DELETE)\s+ON\s",
    re.DOTALL | re.IGNORECASE,
)
_STATUS = re.compile(
    rb" ON COMPLETION (?:NOT )?PRESERVE (?P<status>ENABLE|DISABLE(?: ON \w+)?) ", re.DOTALL
)
STATUS = {
    "ENABLE": "ENABLED",
    "DISABLE ON SLAVE": "SLAVESIDE_DISABLED",
    "DISABLE ON REPLICA": "REPLICA_SIDE_DISABLED",
}
_HARMLESS = re.compile(
    rb"(?:|--.*|/\*M?!\d{5,6} SET .*\*/ ?;|SET .*;|/\*!\d{5,6} ALTER TABLE .* KEYS \*/;"
    rb"|/\*M?!999999\\- enable the sandbox mode \*/ ?|UNLOCK TABLES;|(?i:commit);)\n?"
)
_KEYS_OF = re.compile(rb"(?m)^(/\*!\d{5,6} ALTER TABLE) " + _NAME + rb" (?:DIS|EN)ABLE KEYS")
HINT = "restore it with --in-place, if you trust it"


def for_tables(piece: Piece, tables: frozenset[str] | None = None) -> Piece | None:
    """Return what of *piece* makes tables and sequences and fills them, None if nothing does.

    With *tables* it is of those alone. Raises Refused where a part holds what could reach beyond
    the database that it is loaded into.
    """
    if piece.part not in TABLE_PARTS:
        return None
    if tables is not None and piece.part not in (Part.HEAD, Part.FOOT) and piece.name not in tables:
        return None
    found = piece
    if piece.part in (Part.TABLE, Part.AFTER_ROWS):
        found = replace(piece, data=piece.data[: _objects_begin(piece.data)])
    if piece.part in CHECKED:
        _need_harmless(found)
    return found


def definitions_of(
    pieces: Iterable[Piece],
    *,
    collation: str = "",
    created: str = "",
    tables: frozenset[str] | None = None,
) -> Iterator[Definition]:
    """Yield the triggers, views, routines and events among *pieces*.

    *collation* is that of the database that was dumped, *created* the second (UTC) in which its
    events existed. With *tables* only their triggers are meant. Raises Refused for a text that no
    dump program writes.
    """
    for piece in pieces:
        if piece.part in (Part.TABLE, Part.AFTER_ROWS):
            if tables is None or piece.name in tables:
                yield from _objects(piece, collation, {"table": piece.name})
        elif tables is not None:
            continue
        elif piece.part is Part.VIEW:
            yield _view(piece)
        elif piece.part in (Part.ROUTINES, Part.EVENTS):
            events = piece.part is Part.EVENTS and created
            yield from _objects(piece, collation, {"created": created} if events else {})


@dataclass(slots=True)
class _Found:
    """What stands before the next statement: settings, and the name of what is dropped."""

    collation: str
    settings: dict[str, str] = field(default_factory=dict)
    kind: ObjectKind | None = None
    name: str = ""

    def take(self, match: re.Match[bytes]) -> None:
        """Remember what a line says."""
        named = match.groupdict()
        if "setting" in named:
            self.settings[named["setting"].decode()] = named["value"].decode().strip("'")
        elif "collation" in named:
            self.collation = named["collation"].decode()
        elif named["kind"]:
            self.kind = ObjectKind(named["kind"].decode().lower())
            self.name = named["name"][1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")


def _objects(piece: Piece, collation: str, extra: dict[str, str]) -> Iterator[Definition]:
    """Yield the objects of a section, each behind its settings and a DROP that names it."""
    text, found = piece.data, _Found(collation)
    position = _objects_begin(text) if piece.part in (Part.TABLE, Part.AFTER_ROWS) else 0
    placed: Counter[tuple[str, str]] = Counter()
    while position < len(text):
        match = _SETTING.match(text, position) or _COLLATED.match(text, position)
        match = match or _AROUND.match(text, position)
        if match:
            found.take(match)
            position = match.end()
            continue
        if found.kind is None:
            raise _unknown(piece.part, piece.name)
        statement, position = _statement(found, text, position)
        yield _definition(found, statement, extra | _beside(found.kind, statement, placed))
        found = _Found(found.collation)


def _beside(kind: ObjectKind, statement: bytes, placed: Counter[tuple[str, str]]) -> dict[str, str]:
    """Return what the server tells of an object beside its text; *placed* counts triggers."""
    if kind is ObjectKind.TRIGGER and (match := _TIMED.search(statement)):
        timing, event = match["timing"].decode().upper(), match["event"].decode().upper()
        placed[timing, event] += 1
        return {"timing": timing, "event": event, "order": str(placed[timing, event])}
    if kind is ObjectKind.EVENT and (match := _STATUS.search(statement)):
        return {"status": STATUS.get(match["status"].decode(), "DISABLED")}
    return {}


def _definition(found: _Found, statement: bytes, extra: dict[str, str]) -> Definition:
    settings = found.settings
    return Definition(
        kind=found.kind or "",
        name=found.name,
        text=statement,
        sql_mode=settings.get("sql_mode", ""),
        charset_client=settings.get("character_set_client", ""),
        collation_connection=settings.get("collation_connection", ""),
        database_collation=found.collation,
        time_zone=settings.get("time_zone", "") if found.kind is ObjectKind.EVENT else "",
        extra=extra,
    )


def _statement(found: _Found, text: bytes, begin: int) -> tuple[bytes, int]:
    """Return the statement at *begin*, without the comments that cover it, and where it ends."""
    # No body of an event holds `;;`; those of others may, and a line that is a DELIMITER.
    mark = b";;\n" if found.kind is ObjectKind.EVENT else b";;\nDELIMITER ;\n"
    end = text.find(mark, begin)
    covered = _COVERED.fullmatch(text, begin, end) if end >= 0 else None
    if covered:
        parts = (b"CREATE", covered["definer"], covered["rest"])
        return b" ".join(part for part in parts if part), end + len(b";;\n")
    plain = _PLAIN.fullmatch(text, begin, end) if end >= 0 else None
    if plain is None:
        raise _unknown(str(found.kind), found.name)
    return plain["text"], end + len(b";;\n")


def _unknown(kind: str, name: str) -> Refused:
    message = f"the dump writes {kind} {name} in a way that is not known".replace("  ", " ")
    return Refused(message, hint=HINT)


def _view(piece: Piece) -> Definition:
    match = _VIEW.search(piece.data)
    if match is None or BLOCK.search(piece.data):
        raise _unknown("view", piece.name)
    settings = {
        found["name"].decode(): found["value"].decode()
        for found in _VIEW_SETTING.finditer(piece.data, 0, match.start())
    }
    parts = (match["create"], match["definer"], match["view"], match["check"])
    return Definition(
        kind=ObjectKind.VIEW,
        name=piece.name,
        text=b" ".join(part for part in parts if part),
        charset_client=settings.get("character_set_client", ""),
        collation_connection=settings.get("collation_connection", ""),
    )


_VIEW_SETTING = re.compile(
    rb"(?m)^/\*!50001 SET (?P<name>character_set_client|collation_connection) *= "
    rb"(?P<value>\w+) \*/;$"
)


def _objects_begin(text: bytes) -> int:
    """Return where the first trigger's own lines begin in the section of a table."""
    block = BLOCK.search(text)
    if block is None:
        return len(text)
    begin = block.start()
    while begin:
        line = text.rfind(b"\n", 0, begin - 1) + 1
        if not _BEFORE.match(text[line:begin]):
            break
        begin = line
    return begin


def _need_harmless(piece: Piece) -> None:
    # Names may hold line ends.
    for line in _KEYS_OF.sub(rb"\1 x KEYS", piece.data).split(b"\n"):
        if not _HARMLESS.fullmatch(line):
            shown = line[:80].decode("utf-8", "replace")
            message = f"the dump holds what none of its kind should, in its {piece.part}: {shown}"
            raise Refused(message, hint=HINT)
