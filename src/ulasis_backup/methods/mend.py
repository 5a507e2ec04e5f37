"""What dump programs print wrongly, put right while the dump flows.

mariadb-dump 10.11.18 prints ``DROP TRIGGER IF EXISTS name`` without quotes (10.11.19 quotes): with
an odd name the dump would not load, and its author could have statements run at the restore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ulasis_backup.errors import SchemaChanged
from ulasis_backup.methods.sections import Part, Piece

_DROP_TRIGGER = re.compile(
    rb"(?s)^(/\*!\d+ DROP TRIGGER IF EXISTS )(.*?)( \*/;\nDELIMITER ;;\n)", re.MULTILINE
)


def quote_triggers(pieces: Iterable[Piece], names: Iterable[str]) -> Iterator[Piece]:
    """Pass *pieces* on, with the *names* of triggers quoted where they are dropped.

    Raises SchemaChanged when a trigger is dropped that has none of the names.
    """
    quoted = {_raw(name): b"`" + _raw(name).replace(b"`", b"``") + b"`" for name in names}
    for piece in pieces:
        if piece.part in (Part.AFTER_ROWS, Part.TABLE) and _DROP_TRIGGER.search(piece.data):
            yield replace(piece, data=_mended(piece, quoted))
        else:
            yield piece


def _mended(piece: Piece, quoted: dict[bytes, bytes]) -> bytes:
    printed = [match[2] for match in _DROP_TRIGGER.finditer(piece.data)]
    # A trigger may be called `x`, quotes and all: one program does not quote only some.
    if set(printed) <= set(quoted.values()):
        return piece.data
    if unknown := set(printed) - set(quoted):
        name = min(unknown).decode(errors="replace")
        raise SchemaChanged(f"trigger {name} was created while the dump ran", hint="run it again")
    return _DROP_TRIGGER.sub(lambda match: match[1] + quoted[match[2]] + match[3], piece.data)


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
