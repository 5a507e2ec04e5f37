"""What a table's definition names beside itself, where the table is made in another schema first.

Loaded into ``shop__restore_…`` and then moved to ``shop``, a table takes its foreign keys along to
tables that move with it. Whatever else it names has to be that of ``shop`` from the beginning: a
parent that stays where it is, and a sequence, for a DEFAULT keeps the schema that it was made with.
Only where ``shop`` has no such sequence yet the new one is named, and the swap alters the DEFAULT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from ulasis_backup.mysql.definitions import TABLE, Definition
from ulasis_backup.mysql.server import quote_bytes
from ulasis_backup.mysql.tokens import TABLE_TOKEN

_CREATE = re.compile(rb"(?m)^CREATE TABLE `")
_VALUE_OF = b"val("
_PARENT = b" REFERENCES "

Stays = Callable[[str], bool]


def pointing_to(text: bytes, target: str, *, moves: Stays, there: Collection[str] = ()) -> bytes:
    """Return a CREATE TABLE with sequences, and parents that do not move, named as of *target*.

    *moves* tells of a table's name whether it is moved in the same statement; *there* are the
    sequences that *target* has.
    """
    text = without_schema(text, target)
    out: list[bytes] = []
    done = 0
    for begin, end, before in _names(text):
        if text[end : end + 1] == b".":
            continue
        name = _plain(text[begin:end])
        parent = before.endswith(_PARENT) and not moves(name)
        if parent or (before.endswith(_VALUE_OF) and name in there):
            out += [text[done:begin], quote_bytes(target), b"."]
            done = begin
    return b"".join([*out, text[done:]])


def without_schema(text: bytes, target: str) -> bytes:
    """Return a CREATE TABLE without the name of *target* before parents and sequences."""
    own = quote_bytes(target)
    out: list[bytes] = []
    done = 0
    for begin, end, before in _names(text):
        qualifies = text[begin:end] == own and text[end : end + 1] == b"."
        if qualifies and before.endswith((_PARENT, _VALUE_OF)):
            out.append(text[done:begin])
            done = end + 1
    return b"".join([*out, text[done:]])


def beside(
    definition: Definition, target: str, *, moves: Stays, there: Collection[str] = ()
) -> Definition:
    """Return *definition* as it has to be for a schema beside *target*."""
    if definition.kind != TABLE:
        return definition
    text = pointing_to(definition.text, target, moves=moves, there=there)
    return replace(definition, text=text)


def at_home(definition: Definition, target: str) -> Definition:
    """Return *definition* as it reads in *target* itself, whether read there or beside it."""
    if definition.kind != TABLE:
        return definition
    return replace(definition, text=without_schema(definition.text, target))


def _names(text: bytes) -> list[tuple[int, int, bytes]]:
    """Return where quoted names stand, each with the bytes before it; strings are no names."""
    start = _CREATE.search(text)
    if start is None:
        return []
    return [
        (token.start(), token.end(), text[max(0, token.start() - len(_PARENT)) : token.start()])
        for token in TABLE_TOKEN.finditer(text, start.start())
        if token[0][:1] == b"`"
    ]


def _plain(name: bytes) -> str:
    return name[1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")
