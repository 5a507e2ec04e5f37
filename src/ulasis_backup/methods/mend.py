"""What dump programs print wrongly, put right while the dump flows.

mariadb-dump 10.11.18 prints ``DROP TRIGGER IF EXISTS name`` without quotes (10.11.19 quotes): with
an odd name the dump would not load, and its author could have statements run at the restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ulasis_backup.errors import SchemaChanged
from ulasis_backup.methods.contents import BLOCK
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.mysql.server import quote_bytes

_DROP_TRIGGER = re.compile(rb"(?ms)^/\*!\d+ DROP TRIGGER IF EXISTS (.*) \*/;\n\Z")
"""The end of what stands before a trigger's ``DELIMITER ;;`` block."""


def quote_triggers(pieces: Iterable[Piece], names: Iterable[str]) -> Iterator[Piece]:
    """Pass *pieces* on, with the *names* of triggers quoted where they are dropped.

    Raises SchemaChanged when a trigger is dropped that has none of the names.
    """
    quoted = {_printed(name): quote_bytes(name) for name in names}
    for piece in pieces:
        if piece.part in (Part.AFTER_ROWS, Part.TABLE):
            yield _mended(piece, quoted)
        else:
            yield piece


def _mended(piece: Piece, quoted: dict[bytes, bytes]) -> Piece:
    # Bodies lie inside of the blocks: what looks like a DROP there is somebody's text.
    befores, begin = [], 0
    for block in BLOCK.finditer(piece.data):
        befores.append(_DROP_TRIGGER.search(piece.data, begin, block.start()))
        begin = block.end()
    drops = [match for match in befores if match]
    # A trigger may be called `x`, quotes and all: no program quotes only some.
    if {match[1] for match in drops} <= set(quoted.values()):
        return piece
    parts, begin = [], 0
    for match in drops:
        parts += [piece.data[begin : match.start(1)], _known(match[1], quoted)]
        begin = match.end(1)
    return replace(piece, data=b"".join([*parts, piece.data[begin:]]))


def _known(name: bytes, quoted: dict[bytes, bytes]) -> bytes:
    if name in quoted:
        return quoted[name]
    if name in quoted.values():
        return name
    printed = name.decode(errors="replace")
    raise SchemaChanged(f"trigger {printed} was created while the dump ran", hint="run it again")


def _printed(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
