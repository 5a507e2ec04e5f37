r"""A dump's text, cut into sections while it flows: head, definitions, rows, objects, foot.

mysqldump writes comments of this form before each part, with names quoted and a newline in a
name continued as ``\n-- ``::

    --
    -- Table structure for table `orders`
    --

They are taken for headers only outside of ``DELIMITER ;;`` blocks, which hold the bodies of
triggers, routines and events. Rows hold no newline but those between them (the program escapes
newlines in values), so one search for the ends of statements finds where they stop; no row is
looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ulasis_backup.errors import DumpFailed
from ulasis_backup.mysql.server import quote_bytes
from ulasis_backup.streams.pipeline import Chunks

ROWS_BEGIN = b" DISABLE KEYS */;"
FOOT = (
    b"-- The deferred gtid setting for slave",
    b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;",
    b"SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;",
)
LONGEST_TITLE = 40
MOST_TEXT = 1 << 30
LONGEST_HEADER = 4096
END_MARK = re.compile(rb"\n-- Dump completed(?: on [0-9: -]+)?\n\Z")

_STATEMENT_END = re.compile(rb";\n")
_HEADER = re.compile(
    rb"--\n-- (?P<title>(?:Sequence|Table|Temporary table|Temporary view|Final view) structure"
    rb"|Dumping (?:data|events|routines)) for(?: (?:table|view|database))?"
    rb" (?P<name>`(?:[^`]|``)*`|'[^\n]*')\n--\n"
)

_HEADER_START = re.compile(
    rb"--\n-- (?:(?:Sequence|Table|Temporary table|Temporary view|Final view) structure"
    rb"|Dumping (?:data|events|routines)) for "
)


class Part(StrEnum):
    """The kinds of sections."""

    HEAD = "head"
    SEQUENCE = "sequence"
    TABLE = "table"
    ROWS_HEAD = "rows-head"
    ROWS = "rows"
    AFTER_ROWS = "after-rows"
    VIEW_PLACEHOLDER = "view-placeholder"
    VIEW = "view"
    EVENTS = "events"
    ROUTINES = "routines"
    FOOT = "foot"


TITLES = {
    b"Sequence structure": Part.SEQUENCE,
    b"Table structure": Part.TABLE,
    b"Dumping data": Part.ROWS_HEAD,
    b"Temporary table structure": Part.VIEW_PLACEHOLDER,
    b"Temporary view structure": Part.VIEW_PLACEHOLDER,
    b"Final view structure": Part.VIEW,
    b"Dumping events": Part.EVENTS,
    b"Dumping routines": Part.ROUTINES,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one section. Rows come in many pieces, everything else in one; none is lost.

    ``statements`` counts the INSERT statements that end in a piece of rows, ``longest`` is the
    length in bytes of the longest of them.
    """

    part: Part
    name: str
    data: bytes
    last: bool = True
    statements: int = 0
    longest: int = 0


class Splitter:
    """Cuts a dump into pieces; use ``split``."""

    def __init__(self) -> None:
        self._part = Part.HEAD
        self._name = ""
        self._text = bytearray()
        self._seen = 0
        self._in_block = False
        self._tail = b""
        self._rows_end = b""
        self._unended = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """Return the pieces that *chunk* completes."""
        pieces: list[Piece] = []
        self._take(chunk, pieces, final=False)
        return pieces

    def finish(self) -> list[Piece]:
        """Return the last pieces, once the dump has ended."""
        pieces: list[Piece] = []
        if not self._in_rows():
            self._take(self._read_lines(pieces, final=True), pieces, final=True)
        # Rows that never ended leave no last piece: whoever reads along finds them cut.
        if not self._in_rows():
            pieces.append(self._cut(len(self._text)))
        return pieces

    def _take(self, chunk: bytes, pieces: list[Piece], *, final: bool) -> None:
        while chunk:
            if self._in_rows():
                piece, chunk = self._rows(chunk)
                pieces.append(piece)
            else:
                self._text += chunk
                chunk = self._read_lines(pieces, final=final)
                if len(self._text) > MOST_TEXT:
                    message = f"a section of the dump is longer than {MOST_TEXT:,} bytes"
                    raise DumpFailed(message, hint="this is no dump of ours, or it is damaged")

    def _in_rows(self) -> bool:
        return self._part is Part.ROWS

    def _rows(self, chunk: bytes) -> tuple[Piece, bytes]:
        """Return the rows in *chunk* and what follows them."""
        statements, longest, begin = 0, 0, -self._unended
        size = len(self._rows_end)
        for end in self._statement_ends(chunk):
            before = chunk[max(0, end - size) : end]
            if (self._tail + before).endswith(self._rows_end):
                piece = Piece(
                    Part.ROWS, self._name, chunk[:end], statements=statements, longest=longest
                )
                self._begin(Part.AFTER_ROWS, self._name)
                return piece, chunk[end:]
            statements, longest, begin = statements + 1, max(longest, end - begin), end
        self._unended = len(chunk) - begin
        self._tail = (self._tail + chunk[-size:])[-size:]
        piece = Piece(
            Part.ROWS, self._name, chunk, last=False, statements=statements, longest=longest
        )
        return piece, b""

    def _statement_ends(self, chunk: bytes) -> Iterator[int]:
        if self._tail.endswith(b";") and chunk.startswith(b"\n"):
            yield 1
        for match in _STATEMENT_END.finditer(chunk):
            yield match.end()

    def _read_lines(self, pieces: list[Piece], *, final: bool) -> bytes:
        """Look at the complete lines not seen yet; return what belongs to rows, if they begin."""
        while (newline := self._text.find(b"\n", self._seen)) >= 0:
            start, line = self._seen, bytes(self._text[self._seen : newline])
            if line.startswith(b"DELIMITER "):
                self._in_block = line != b"DELIMITER ;"
            elif not self._in_block and line == b"--":
                match = _HEADER.match(self._text, start)
                if match is None and not final and _may_become_header(self._text, start):
                    return b""
                if match:
                    self._begin_section(match, start, pieces)
                    newline = self._seen - 1
            elif not self._in_block and line.startswith(FOOT) and self._part is not Part.FOOT:
                pieces.append(self._cut(start))
                self._begin(Part.FOOT, "")
                newline -= start
            elif self._part is Part.ROWS_HEAD and line.endswith(ROWS_BEGIN):
                rest = bytes(self._text[newline + 1 :])
                pieces.append(self._cut(newline + 1))
                self._begin(Part.ROWS, self._name)
                self._text.clear()
                return rest
            self._seen = newline + 1
        return b""

    def _begin_section(self, match: re.Match[bytes], start: int, pieces: list[Piece]) -> None:
        part = TITLES[match["title"]]
        name, length = _plain_name(match["name"]), match.end() - start
        if start:
            pieces.append(self._cut(start))
        self._begin(part, name)
        self._seen = length

    def _begin(self, part: Part, name: str) -> None:
        self._part, self._name, self._seen, self._tail = part, name, 0, b""
        self._unended = 0
        # With the name: a name may itself hold what ends the rows of others.
        self._rows_end = b"/*!40000 ALTER TABLE " + quote_bytes(name) + b" ENABLE KEYS */;\n"

    def _cut(self, end: int) -> Piece:
        """Return the current section, which ends at *end* of the text held."""
        piece = Piece(self._part, self._name, bytes(self._text[:end]))
        del self._text[:end]
        return piece


def split(chunks: Chunks) -> Iterator[Piece]:
    """Cut a dump into pieces; joined again they are the dump."""
    splitter = Splitter()
    for chunk in chunks:
        yield from splitter.feed(chunk)
    yield from splitter.finish()


def _may_become_header(text: bytearray, start: int) -> bool:
    """Tell whether the ``--`` at *start* may begin a header that has not all arrived yet."""
    arrived = len(text) - start
    if arrived < LONGEST_TITLE:
        return True
    return arrived < LONGEST_HEADER and _HEADER_START.match(text, start) is not None


def _plain_name(quoted: bytes | None) -> str:
    """Undo the quoting of a name in a header."""
    if not quoted:
        return ""
    text = quoted[1:-1].replace(b"\n-- ", b"\n").replace(b"``", b"`")
    return text.decode("utf-8", "surrogateescape")
