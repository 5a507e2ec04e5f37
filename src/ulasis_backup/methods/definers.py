"""The settings that objects were made with, and their definers: told, replaced, or left out.

A definer is written ``user@host``, a role of MariaDB by its name alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ulasis_backup.methods.dump_objects import Unit, Units, units_of
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql.definitions import TABLE, Definition
from ulasis_backup.mysql.server import quote_bytes

_ID = rb'(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")'
_DEFINER = rb"DEFINER=(?P<definer>" + _ID + rb"(?:@" + _ID + rb")?)"
IN_DEFINITION = re.compile(
    rb"\ACREATE (?:OR REPLACE )?(?:ALGORITHM=\w+ )?" + _DEFINER + rb"(?= )", re.DOTALL
)
IN_UNIT = re.compile(
    rb"(?:;;\n(?:CREATE (?:OR REPLACE )?|/\*!50003 CREATE\*/ /\*!50017 "
    rb"|/\*!50106 CREATE\*/ /\*!50117 )|\n/\*!50013 )" + _DEFINER,
    re.DOTALL,
)
"""Behind what no body holds: a ``;;`` at the end of a line, or the head of a view."""

_MODE = re.compile(rb"/\*!50003 SET sql_mode +?= '([^']*)' \*/")
_ZONE = re.compile(rb"/\*!50003 SET time_zone +?= '([^']*)' \*/")
_COLLATIONS = re.compile(
    rb"(?m)^(?:/\*!5000[13] SET collation_connection +?= (\w+) \*/"
    rb"|ALTER DATABASE `(?:[^`]|``)*` CHARACTER SET \w+ COLLATE (\w+) ;)"
)
_INVOKER = re.compile(rb"SQL SECURITY INVOKER")
_NAME = rb"`((?:[^`]|``)*)`"
_READ = re.compile(
    rb"(?:from|join)[\s(]+" + _NAME + rb"(?!\.)|(?<![.`])" + _NAME + rb"\(", re.DOTALL
)
"""What stands in a schema of its own is shown without its name."""


class Definers(StrEnum):
    """What becomes of objects whose definer the target does not have, or will not let us set."""

    KEEP = "keep"
    CURRENT = "current"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an object asks of a server: who defined it, and the settings it was made with.

    ``uses`` are labels of what a view reads and calls, ``view v`` also where it is a table;
    ``invoker`` tells that it runs with the rights of whoever calls it.
    """

    kind: str
    name: str
    definer: str = ""
    sql_mode: str = ""
    time_zone: str = ""
    collations: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    invoker: bool = False

    @property
    def label(self) -> str:
        """Return kind and name, for people."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redefining:
    """Which definers are given up: replaced by ``ours`` (``user@host``), or objects ``dropped``."""

    definers: frozenset[str]
    ours: str = ""
    dropped: frozenset[tuple[str, str]] = frozenset()


def traits_of_definition(definition: Definition) -> Traits:
    """Return what *definition* asks of a server; of a table that is nothing here."""
    if definition.kind == TABLE:
        return Traits(kind=TABLE, name=definition.name)
    found = IN_DEFINITION.match(definition.text)
    view = definition.kind == ObjectKind.VIEW
    return Traits(
        kind=str(definition.kind),
        name=definition.name,
        definer=account_of(found["definer"]) if found else "",
        sql_mode=definition.sql_mode,
        time_zone=definition.time_zone,
        uses=frozenset(_uses(definition.text)) if view else frozenset(),
        invoker=_INVOKER.search(definition.text) is not None,
    )


def traits_of_piece(piece: Piece) -> Iterator[Traits]:
    """Yield what each object in *piece* of a dump asks of a server."""
    for unit in units_of(piece).units:
        found = IN_UNIT.search(unit.text)
        mode, zone = _MODE.search(unit.text), _ZONE.search(unit.text)
        collations = {a or b for a, b in _COLLATIONS.findall(unit.text)}
        view = unit.kind is ObjectKind.VIEW
        yield Traits(
            kind=str(unit.kind),
            name=unit.name,
            definer=account_of(found["definer"]) if found else "",
            sql_mode=mode[1].decode() if mode else "",
            time_zone=zone[1].decode() if zone else "",
            collations=frozenset(name.decode() for name in collations),
            uses=frozenset(_uses(unit.text)) if view else frozenset(),
            invoker=_INVOKER.search(unit.text) is not None,
        )


def account_of(quoted: bytes) -> str:
    """Return ``user@host`` of a DEFINER clause; of a role its name."""
    parts = re.findall(_ID, quoted, re.DOTALL)
    plain = (part[1:-1].replace(part[:1] * 2, part[:1]) for part in parts)
    return b"@".join(plain).decode("utf-8", "surrogateescape").removesuffix("@")


def redefine(definitions: Iterable[Definition], change: Redefining) -> Iterator[Definition]:
    """Yield *definitions* as *change* wants them."""
    places: Counter[tuple[str, ...]] = Counter()
    for one in definitions:
        if (str(one.kind), one.name) in change.dropped:
            continue
        found = IN_DEFINITION.match(one.text) if one.kind != TABLE else None
        extra = one.extra
        if one.kind == ObjectKind.TRIGGER:
            # Those that are left of one event are counted without the others.
            event = tuple(extra[key] for key in ("table", "timing", "event"))
            places[event] += 1
            extra = extra | {"order": str(places[event])}
        yield replace(one, text=_replaced(one.text, found, change), extra=extra)


def redefine_pieces(pieces: Iterable[Piece], change: Redefining) -> Iterator[Piece]:
    """Yield a dump's *pieces* as *change* wants them."""
    for piece in pieces:
        views = piece.part in (Part.VIEW, Part.VIEW_PLACEHOLDER)
        if views and (str(ObjectKind.VIEW), piece.name) in change.dropped:
            continue
        if piece.part in (Part.VIEW, Part.TABLE, Part.AFTER_ROWS, Part.EVENTS, Part.ROUTINES):
            yield replace(piece, data=_redefined(units_of(piece), change).joined())
        else:
            yield piece


def _redefined(section: Units, change: Redefining) -> Units:
    kept = [u for u in section.units if (str(u.kind), u.name) not in change.dropped]
    return replace(section, units=tuple(_unit(unit, change) for unit in kept))


def _unit(unit: Unit, change: Redefining) -> Unit:
    return replace(unit, text=_replaced(unit.text, IN_UNIT.search(unit.text), change))


def _replaced(text: bytes, found: re.Match[bytes] | None, change: Redefining) -> bytes:
    if not found or not change.ours or account_of(found["definer"]) not in change.definers:
        return text
    user, _, host = change.ours.rpartition("@")
    begin, end = found.span("definer")
    return text[:begin] + quote_bytes(user) + b"@" + quote_bytes(host) + text[end:]


def _uses(text: bytes) -> Iterator[str]:
    """Yield what a view reads, if those are views, and the functions that it calls."""
    for read, called in _READ.findall(text):
        name = (read or called).replace(b"``", b"`").decode("utf-8", "surrogateescape")
        yield f"{ObjectKind.VIEW if read else ObjectKind.FUNCTION} {name}"
