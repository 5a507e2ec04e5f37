"""Just enough of SQL's grammar to tell names, strings and comments apart in definitions."""

from __future__ import annotations

import re
from collections.abc import Iterator

QUOTED = rb"`(?:[^`]|``)*`"
STRING = rb"'(?:[^'\\]|\\.|'')*'"
TABLE_TOKEN = re.compile(QUOTED + rb"|" + STRING + rb"|[(),]", re.DOTALL)
"""What matters in SHOW CREATE TABLE: the server quotes with backticks and single quotes alone."""

_BLANK = rb"/\*M?!\d*|\*/|/\*(?!M?!).*?\*/|--(?=[\x00-\x20\x7f]|\Z)[^\n]*|\#[^\n]*"
_BARE = rb"[0-9A-Za-z_$\x80-\xff]+"
_DOUBLE_NAME = rb'"(?:[^"]|"")*"'


def table_items(text: bytes) -> tuple[int, list[bytes], int] | None:
    """Return the columns, keys and constraints of a CREATE TABLE, and where its brackets stand.

    Items are between commas of the outermost brackets, stripped. None if there are no brackets.
    """
    depth, opened, begin = 0, 0, 0
    items: list[bytes] = []
    for token in TABLE_TOKEN.finditer(text):
        mark = token[0]
        if mark == b"(":
            depth += 1
            if depth == 1:
                opened = token.start()
                begin = token.end()
        elif mark in (b",", b")") and depth == 1:
            items.append(text[begin : token.start()].strip(b" \n"))
            begin = token.end()
            if mark == b")":
                return opened, items, token.start()
        elif mark == b")":
            depth -= 1
    return None


def table_options(text: bytes) -> int | None:
    """Return where the bracket stands that closes the columns of a CREATE TABLE."""
    found = table_items(text)
    return found[2] if found else None


def identifiers(text: bytes, sql_mode: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in *text*, and whether a dot follows; not those of users and variables."""
    tokens = [t for t in _pattern(sql_mode).finditer(text) if t.lastgroup != "blank"]
    for index, token in enumerate(tokens):
        if token.lastgroup not in ("quoted", "bare"):
            continue
        before = tokens[index - 1][0] if index else b""
        after = tokens[index + 1][0] if index + 1 < len(tokens) else b""
        if b"@" in (before, after) or before == b".":
            continue
        yield _name(token[0]), after == b"."


def _name(token: bytes) -> str:
    mark = token[:1]
    inner = token[1:-1].replace(mark * 2, mark) if mark in (b"`", b'"') else token
    return inner.decode("utf-8", "surrogateescape")


def _pattern(sql_mode: str) -> re.Pattern[bytes]:
    modes = sql_mode.upper().split(",")
    inner = rb"(?:[^%s]|%s%s)*" if "NO_BACKSLASH_ESCAPES" in modes else rb"(?:[^%s\\]|\\.|%s%s)*"
    single, double = (mark + inner % (mark, mark, mark) + mark for mark in (b"'", b'"'))
    ansi = "ANSI_QUOTES" in modes or "ORACLE" in modes
    names = [QUOTED, _DOUBLE_NAME] if ansi else [QUOTED]
    strings = [single] if ansi else [single, double]
    return re.compile(
        rb"(?P<blank>\s+|" + _BLANK + rb")|(?P<quoted>" + rb"|".join(names) + rb")"
        rb"|(?P<string>" + rb"|".join(strings) + rb")|(?P<bare>" + _BARE + rb")|(?P<other>.)",
        re.DOTALL,
    )


def hex_strings(text: bytes) -> bytes:
    """Return a CREATE TABLE with strings that are no UTF-8, defaults of binary columns, as X'…'."""
    return TABLE_TOKEN.sub(_hex_string, text)


def _hex_string(token: re.Match[bytes]) -> bytes:
    mark = token[0]
    try:
        mark.decode()
    except UnicodeDecodeError:
        inner = _ESCAPE.sub(lambda m: _ESCAPED.get(m[0], m[0][1:]), mark[1:-1])
        return b"X'" + inner.hex().encode() + b"'" if mark[:1] == b"'" else mark
    return mark


_ESCAPE = re.compile(rb"\\.|''", re.DOTALL)
_ESCAPED = {rb"\0": b"\0", rb"\n": b"\n", rb"\r": b"\r", rb"\Z": b"\x1a", rb"\t": b"\t"}
