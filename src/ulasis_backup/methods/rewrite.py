"""Another schema's name in definitions: rewritten token by token, or refused.

A trigger may say ``CREATE TRIGGER shop.t … ON shop.orders``; loaded into a copy named ``copy``
it would land on the live table. Qualifiers are found with a tokenizer that knows strings,
comments, quoted names, version comments and the sql_mode of each object. A qualifier is
rewritten when what follows it is an object of the schema, and refused when it could also be
something else, such as a table alias of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ulasis_backup.errors import Refused
from ulasis_backup.methods.sections import Part, Piece
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.server import quote_bytes

REWRITTEN = frozenset({Part.TABLE, Part.AFTER_ROWS, Part.EVENTS, Part.ROUTINES, Part.VIEW})
ALTER_DATABASE = [b"ALTER", b"DATABASE"]
HINT = "restore under the original name, e.g. on a scratch server, and copy what you need"

_BACKSLASHED = {b"'": rb"'(?:[^'\\]|\\.|'')*'", b'"': rb'"(?:[^"\\]|\\.|"")*"'}
_DOUBLED = {b"'": rb"'(?:[^']|'')*'", b'"': rb'"(?:[^"]|"")*"'}
# As the dump programs write it, never as the body of a routine would.
_SQL_MODE = re.compile(rb"/\*!50003 SET sql_mode              = \Z")
_CLIENT = re.compile(rb"(?m)^/\*!50003 SET character_set_client  = (\w+) \*/ ;;?$")
_BACKSLASH_TRAILS = frozenset({b"sjis", b"cp932", b"big5", b"gbk", b"gb18030"})
_ODD_COMMENT = re.compile(rb"--[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NAMING = frozenset({b"DATABASE", b"SCHEMA", b"FROM", b"IN", b"USE", b"TABLES", b"JOIN"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    begin: int
    end: int

    @property
    def name(self) -> str | None:
        """Return the name that the token stands for, None if it is no name."""
        if self.kind == "quoted":
            mark = self.text[:1]
            inner = self.text[1:-1].replace(mark * 2, mark)
            return inner.decode("utf-8", "surrogateescape")
        return self.text.decode("utf-8", "surrogateescape") if self.kind == "bare" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """What is to be rewritten: schema *old* to *new*, where *known* names objects of *old*."""

    old: str
    new: str
    known: frozenset[str]


def rewrite_piece(piece: Piece, rename: Rename) -> Piece:
    """Return *piece* with the schema's name rewritten; raises Refused where it is unclear."""
    if piece.part not in REWRITTEN:
        return piece
    where = f"{piece.part} {piece.name}".strip()
    _refuse_hidden(piece.data, rename, where)
    return Piece(piece.part, piece.name, rewrite(piece.data, rename, where=where), piece.last)


def rewrite_definition(definition: Definition, rename: Rename) -> Definition:
    """Return *definition* with the schema's name rewritten; raises Refused where it is unclear."""
    where = f"{definition.kind} {definition.name}"
    modes = definition.sql_mode.upper().split(",")
    if _mentions(definition.text, rename):
        odd = definition.charset_client.encode() in _BACKSLASH_TRAILS
        sets_mode = re.search(rb"(?i)sql_mode\s*=", definition.text)
        if odd or sets_mode or _ODD_COMMENT.search(definition.text):
            raise _unclear(where, rename.old, None)
    pattern = _pattern(
        ansi="ANSI_QUOTES" in modes or "ORACLE" in modes,
        backslash="NO_BACKSLASH_ESCAPES" not in modes,
    )
    text = rewrite(definition.text, rename, where=where, pattern=pattern)
    return replace(definition, text=text)


def rewrite(
    text: bytes, rename: Rename, *, where: str, pattern: re.Pattern[bytes] | None = None
) -> bytes:
    """Return *text* with every qualifier ``old.`` replaced; *where* is for messages.

    *pattern* is that of the sql_mode; without one the modes that a dump sets are followed.
    """
    tokens = [token for token in _tokens(text, pattern) if token.kind != "blank"]
    out: list[bytes] = []
    done = 0
    alone = qualifying = False
    for index, token in enumerate(tokens):
        name = token.name
        if name is None or name.casefold() != rename.old.casefold():
            continue
        before = tokens[index - 1].text if index else b""
        after = tokens[index + 1].text if index + 1 < len(tokens) else b""
        if b"@" in (before, after) or before == b".":
            continue
        if index > 1 and [t.text.upper() for t in tokens[index - 2 : index]] == ALTER_DATABASE:
            # The dump sets the database's collation around some routines, by its name.
            out += [text[done : token.begin], quote_bytes(rename.new)]
            done = token.end
            continue
        if after != b".":
            if before.upper() in _NAMING and name not in rename.known:
                raise _unclear(where, name, None)
            alone = True
            continue
        qualifying = True
        target = tokens[index + 2].name if index + 2 < len(tokens) else None
        if name != rename.old or target not in rename.known:
            raise _unclear(where, name, target)
        out += [text[done : token.begin], quote_bytes(rename.new)]
        done = token.end
    if alone and qualifying:
        raise _unclear(where, rename.old, None)
    return b"".join([*out, text[done:]])


def _refuse_hidden(text: bytes, rename: Rename, where: str) -> None:
    """Raise Refused where the tokenizer could be wrong and the schema's name is in the text.

    It reads bodies as the server did when they were made, which it cannot know for character
    sets whose letters may end in a backslash, and for bodies that set the sql_mode themselves
    (the mode of the body does not change by that). Then any qualifier may hide in a "string".
    """
    if not _mentions(text, rename):
        return
    clients = set(_CLIENT.findall(text))
    modes = len(re.findall(rb"(?i)(?<!saved_)sql_mode\s*=", text))
    ours = len(re.findall(rb"(?m)^/\*!50003 SET sql_mode              = ", text))
    if clients & _BACKSLASH_TRAILS or modes != ours or _ODD_COMMENT.search(text):
        raise _unclear(where, rename.old, None)


def _mentions(text: bytes, rename: Rename) -> bool:
    wanted = rb"(?i)" + re.escape(rename.old.encode()) + rb"[`\"]?\s*\."
    return re.search(wanted, text) is not None


def names_in_strings(text: bytes, schema: str) -> bool:
    """Tell whether a string in *text* names ``schema.``, as prepared statements may."""
    wanted = re.compile(rb"`?" + re.escape(schema.encode()) + rb"`?\s*\.", re.IGNORECASE)
    return any(token.kind == "string" and wanted.search(token.text) for token in _tokens(text))


def _tokens(text: bytes, pattern: re.Pattern[bytes] | None = None) -> Iterator[_Token]:
    """Cut *text* into tokens, by *pattern* or following the sql_mode that the dump sets."""
    position = 0
    follows = pattern is None
    pattern = pattern or _pattern(ansi=False, backslash=True)
    while position < len(text):
        match = pattern.match(text, position)
        if match is None or match.lastgroup is None:
            yield _Token("other", text[position : position + 1], position, position + 1)
            position += 1
            continue
        kind, end = match.lastgroup, match.end()
        if follows and kind == "string" and _SQL_MODE.search(text, max(0, position - 60), position):
            modes = match[0].upper()
            pattern = _pattern(
                ansi=b"ANSI_QUOTES" in modes, backslash=b"NO_BACKSLASH_ESCAPES" not in modes
            )
        yield _Token(kind, match[0], position, end)
        position = end


def _pattern(*, ansi: bool, backslash: bool) -> re.Pattern[bytes]:
    found = _PATTERNS.get((ansi, backslash))
    if found is None:
        strings = _BACKSLASHED if backslash else _DOUBLED
        quoted = [rb"`(?:[^`]|``)*`"] + ([_DOUBLED[b'"']] if ansi else [])
        string = [strings[b"'"]] + ([] if ansi else [strings[b'"']])
        found = re.compile(
            rb"(?P<blank>\s+|/\*M?!\d*|\*/|/\*(?!M?!).*?\*/|--(?=[\x00-\x20\x7f]|\Z)[^\n]*|\#[^\n]*)"
            rb"|(?P<quoted>" + rb"|".join(quoted) + rb")"
            rb"|(?P<string>" + rb"|".join(string) + rb")"
            rb"|(?P<bare>[0-9A-Za-z_$\x80-\xff]+)",
            re.DOTALL,
        )
        _PATTERNS[(ansi, backslash)] = found
    return found


_PATTERNS: dict[tuple[bool, bool], re.Pattern[bytes]] = {}


def _unclear(where: str, name: str, target: str | None) -> Refused:
    what = f"{name}.{target}" if target else name
    message = f"{where} names the schema {name} in a way that cannot be rewritten safely ({what})"
    return Refused(message, hint=HINT)
