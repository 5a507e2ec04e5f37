"""The objects in a section of a dump, one by one: triggers, routines, events, a view.

Each is a unit: from the first line that prepares the session for it to the last that puts the
session back. Units can be taken out or changed, and the rest is what the dump program would have
written of a database without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ulasis_backup.methods.contents import BLOCK, blocks_of, events_of
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.model import ObjectKind

_BEGIN = re.compile(
    rb"(?m)^(?:ALTER DATABASE `|/\*!50003 SET @saved_|/\*!50032 DROP TRIGGER |/\*!50003 DROP )"
)
_RESTORE = re.compile(rb"(?:/\*!50003 SET \w+ += @saved_\w+ \*/ ;\n)*")
_ALTER = re.compile(rb"(?m)^ALTER DATABASE `(?:[^`]|``)*` [^\n]* ;\n")
_EVENTS_END = re.compile(
    rb"(?m)^(?:DELIMITER ;\n)?/\*!50106 SET TIME_ZONE= @save_time_zone \*/ ;\n"
)
_EVENT_BEGIN = re.compile(
    rb"(\A/\*!50106 DROP EVENT IF EXISTS `(?:[^`]|``)*` \*/);;?\n(?=DELIMITER ;;\n)"
)
"""Of older programs, which end the ``DELIMITER ;;`` block only behind the last event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One object and all that the dump says around it."""

    kind: ObjectKind
    name: str
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """A section: what stands before, between and behind its units is ``head`` and ``tail``."""

    head: bytes
    units: tuple[Unit, ...]
    tail: bytes

    def joined(self) -> bytes:
        """Return the section's text."""
        parts = [unit.text for unit in self.units]
        if parts and self.units[0].kind is ObjectKind.EVENT:
            # The delimiter is still `;` for the first of them alone.
            ends = [b";", *[b";;"] * (len(parts) - 1)]
            parts = [
                _EVENT_BEGIN.sub(lambda match, end=end: match[1] + end + b"\n", part)  # type: ignore[misc]
                for part, end in zip(parts, ends, strict=True)
            ]
        return b"".join([self.head, *parts, self.tail])


def units_of(piece: Piece) -> Units:
    """Cut *piece* into its units; joined again they are the piece."""
    if piece.part is Part.VIEW:
        unit = Unit(kind=ObjectKind.VIEW, name=piece.name, text=piece.data)
        return Units(head=b"", units=(unit,), tail=b"")
    if piece.part is Part.EVENTS:
        return _events(piece.data)
    if piece.part in (Part.TABLE, Part.AFTER_ROWS, Part.ROUTINES):
        return _blocks(piece.data)
    return Units(head=piece.data, units=(), tail=b"")


def _events(text: bytes) -> Units:
    found = list(events_of(text))
    if not found:
        return Units(head=text, units=(), tail=b"")
    size = sum(len(part) for _, _, part in found)
    last = found[-1][2]
    end = _EVENTS_END.search(last)
    cut = end.start() if end else len(last)
    parts = [*(part for _, _, part in found[:-1]), last[:cut]]
    units = tuple(
        Unit(kind=kind, name=name, text=part)
        for (kind, name, _), part in zip(found, parts, strict=True)
    )
    return Units(head=text[: len(text) - size], units=units, tail=last[cut:])


def _blocks(text: bytes) -> Units:
    names = [(kind, name) for kind, name, _ in blocks_of(text)]
    first = _BEGIN.search(text)
    if not names or not first:
        return Units(head=text, units=(), tail=b"")
    units, begin = [], first.start()
    for (kind, name), end in zip(names, _ends(text, begin), strict=True):
        units.append(Unit(kind=kind, name=name, text=text[begin:end]))
        begin = end
    return Units(head=text[: first.start()], units=tuple(units), tail=text[begin:])


def _ends(text: bytes, begin: int) -> Iterator[int]:
    """Yield where each unit ends: behind the lines that put back what it had set."""
    for block in BLOCK.finditer(text, begin):
        restore = _RESTORE.match(text, block.end())
        end = restore.end() if restore else block.end()
        if _ALTER.search(text, begin, block.start()):
            altered = _ALTER.match(text, end)
            end = altered.end() if altered else end
        yield end
        begin = end
