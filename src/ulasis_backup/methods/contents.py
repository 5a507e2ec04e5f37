"""What a dump contains, found while it flows: tables, objects, digests, the end mark.

The digest of a whole dump is the digest of the list of its sections with theirs, so no byte is
digested twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ulasis_backup.errors import DumpFailed
from ulasis_backup.methods.sections import END_MARK, Part, Piece
from ulasis_backup.model import ObjectKind, ObjectSummary, Position, TableSummary
from ulasis_backup.repository import canonical
from ulasis_backup.repository.manifest import Plain
from ulasis_backup.streams.keys import DataKey, Digest, fingerprint

_AUTO_INCREMENT = re.compile(rb"(?m)^(\) ENGINE=.*?) AUTO_INCREMENT=(\d+)\b")
_SETVAL = re.compile(rb"(?m)^(?:DO|SELECT) SETVAL\([^\n]*\n")
_SECTION_COMMENT = re.compile(rb"--\n-- [^\n]*\n--\n")
BLOCK = re.compile(rb"(?ms)^DELIMITER ;;\n.*?^DELIMITER ;\n")
_EVENT = re.compile(rb"(?m)^/\*!50106 DROP EVENT IF EXISTS (`(?:[^`]|``)*`) \*/;;?\nDELIMITER ;;\n")
_DROP_EVENT = re.compile(rb"(?m)^/\*!50106 DROP EVENT IF EXISTS (`(?:[^`]|``)*`) \*/;\n")
_DROP = re.compile(
    rb"DROP (TRIGGER|EVENT|PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE) IF EXISTS (`(?:[^`]|``)*`)"
)
_OWN_LINE = re.compile(rb"INSERT INTO `(?:[^`]|``)*`(?: \((?:`(?:[^`]|``)*`|[, ])*\))? VALUES\n")
_NEWLINE_IN_NAME = re.compile(rb"(?m)^  `[^`\n]*\n")
_POSITION = re.compile(
    rb"^-- CHANGE (?:MASTER|REPLICATION SOURCE) TO (?:MASTER|SOURCE)_LOG_FILE='([^'\n]+)', "
    rb"(?:MASTER|SOURCE)_LOG_POS=(\d+);",
    re.MULTILINE,
)
_GTID = re.compile(rb"^-- SET GLOBAL gtid_slave_pos='([^'\n]*)';", re.MULTILINE)

STATEMENT_START = 64 << 10
"""Bytes in which the head of an INSERT with all its column names fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a dump contains.

    ``longest_statement`` (bytes) is what the max_allowed_packet of a target must hold.
    """

    plain: Plain
    tables: tuple[TableSummary, ...]
    objects: tuple[ObjectSummary, ...]
    position: Position | None
    longest_statement: int = 0


@dataclass(slots=True)
class _Rows:
    """The rows of one table while they flow."""

    digest: Digest
    size: int = 0
    lines: int = 0
    start: bytes = b""
    statements: int = 0

    def update(self, data: bytes, statements: int) -> None:
        self.digest.update(data)
        self.size += len(data)
        self.lines += data.count(b"\n")
        self.statements += statements
        if len(self.start) < STATEMENT_START:
            self.start += data[:STATEMENT_START]

    def count(self, name: str, *, with_history: bool) -> int | None:
        """Return how many rows there are, or None if each has not a line of its own."""
        statements = self.statements
        if statements and not with_history and not _OWN_LINE.match(self.start):
            return None
        # What is no row: the line with ENABLE KEYS, the first line of each statement (with
        # history the first row stands in it), and further lines of the table's name in them.
        heads = 0 if with_history else statements
        return self.lines - 1 - heads - (statements + 1) * name.count("\n")


class ContentsReader:
    """Takes a dump piece by piece and says at the end what it contains."""

    def __init__(self, data_key: DataKey | None, *, keep_text: bool = False) -> None:
        self._data_key = data_key
        self._keep = keep_text
        self._bytes = 0
        self._sections: list[list[str | int]] = []
        self._tables: dict[str, TableSummary] = {}
        self._objects: list[ObjectSummary] = []
        self._rows: _Rows | None = None
        self._position: Position | None = None
        self._ended = False
        self._longest = 0
        self._uncountable: set[str] = set()
        self._with_history: str | None = None
        self.texts: list[Piece] = []

    def update(self, piece: Piece) -> None:
        """Take the next piece."""
        self._bytes += len(piece.data)
        if piece.part is Part.ROWS:
            self._add_rows(piece)
            return
        self._ended = False
        self._sections.append([piece.part, piece.name, len(piece.data), self._digest(piece.data)])
        if self._keep:
            self.texts.append(piece)
        self._take(piece)

    def result(self) -> Contents:
        """Return what the dump contains; raises DumpFailed if its end mark is missing."""
        if not self._ended or self._rows is not None:
            hint = "the dump program was cut off; see the server's log, and run the backup again"
            raise DumpFailed("the dump has no end mark: it is not complete", hint=hint)
        digest = self._digest(canonical.to_bytes({"sections": self._sections}))
        return Contents(
            plain=Plain(bytes=self._bytes, digest=digest),
            tables=tuple(self._tables.values()),
            objects=tuple(self._objects),
            position=self._position,
            longest_statement=self._longest,
        )

    def _take(self, piece: Piece) -> None:
        if piece.part in (Part.HEAD, Part.FOOT):
            self._read_position(piece.data)
            self._ended = piece.part is Part.FOOT and END_MARK.search(piece.data) is not None
        elif piece.part is Part.TABLE:
            self._add_table(piece)
        elif piece.part is Part.ROWS_HEAD and b"system_versioning_insert_history=1" in piece.data:
            self._with_history = piece.name
        elif piece.part is Part.SEQUENCE:
            self._add_sequence(piece)
        elif piece.part is Part.VIEW:
            self._add_object(ObjectKind.VIEW, piece.name, piece.data)
        elif piece.part in (Part.AFTER_ROWS, Part.TABLE, Part.EVENTS, Part.ROUTINES):
            found = events_of if piece.part is Part.EVENTS else blocks_of
            for number, (kind, name, text) in enumerate(found(piece.data)):
                # Triggers of one event fire in the order of the dump: the number counts.
                self._add_object(kind, name, b"%d\n" % number + text)

    def _add_table(self, piece: Piece) -> None:
        if piece.name in self._tables:
            raise DumpFailed(f"the dump holds table {piece.name} twice", hint="run it again")
        match = _AUTO_INCREMENT.search(piece.data)
        if _NEWLINE_IN_NAME.search(piece.data):
            self._uncountable.add(piece.name)
        self._tables[piece.name] = TableSummary(
            name=piece.name,
            rows=0,
            bytes=0,
            definition=self._digest(_AUTO_INCREMENT.sub(rb"\1", piece.data).rstrip(b"\n")),
            rows_digest=self._digest(b""),
            auto_increment=int(match[2]) if match else None,
        )

    def _add_rows(self, piece: Piece) -> None:
        self._longest = max(self._longest, piece.longest)
        if self._rows is None:
            self._rows = _Rows(fingerprint(self._data_key))
        self._rows.update(piece.data, piece.statements)
        if not piece.last:
            return
        rows, self._rows = self._rows, None
        table = self._tables.get(piece.name)
        if table is None:
            hint = "run it again; if it stays so, report it with the output of `check`"
            raise DumpFailed(f"the dump has rows of unknown table {piece.name}", hint=hint)
        digest = rows.digest.hexdigest()
        self._sections.append([piece.part, piece.name, rows.size, digest])
        self._tables[piece.name] = replace(
            table,
            rows=self._count(rows, piece.name),
            bytes=rows.size,
            rows_digest=digest,
        )

    def _count(self, rows: _Rows, name: str) -> int | None:
        if name in self._uncountable or ";\n" in name:
            return None
        return rows.count(name, with_history=name == self._with_history)

    def _add_sequence(self, piece: Piece) -> None:
        match = _SETVAL.search(piece.data)
        position = match[0].decode("utf-8", "replace").strip() if match else ""
        text = _SETVAL.sub(b"", piece.data)
        self._add_object(ObjectKind.SEQUENCE, piece.name, text, position)

    def _add_object(self, kind: ObjectKind, name: str, text: bytes, position: str = "") -> None:
        # How many blank lines follow depends on what comes next, not on the object.
        digest = self._digest(text.rstrip(b"\n"))
        summary = ObjectSummary(kind=kind, name=name, digest=digest, position=position)
        self._objects.append(summary)

    def _read_position(self, text: bytes) -> None:
        match, gtid = _POSITION.search(text), _GTID.search(text)
        if match:
            self._position = Position(
                file=match[1].decode("utf-8", "replace"), offset=int(match[2])
            )
        if gtid and self._position:
            self._position = replace(self._position, gtid=gtid[1].decode("utf-8", "replace"))

    def _digest(self, data: bytes) -> str:
        digest = fingerprint(self._data_key)
        digest.update(data)
        return digest.hexdigest()


def read_contents(
    pieces: Iterable[Piece], data_key: DataKey | None, *, keep_text: bool = False
) -> ContentsReader:
    """Take all *pieces* and return the reader, ready for ``result``."""
    reader = ContentsReader(data_key, keep_text=keep_text)
    for piece in pieces:
        reader.update(piece)
    return reader


def blocks_of(text: bytes) -> Iterator[tuple[ObjectKind, str, bytes]]:
    """Return kind, name and text of each trigger or routine in a section's *text*.

    Each is one ``DELIMITER ;;`` block behind a DROP statement that names it.
    """
    # Behind the section's own comment, which names the database.
    head = _SECTION_COMMENT.match(text)
    end = head.end() if head else 0
    for match in BLOCK.finditer(text, end):
        drops = _DROP.findall(text, end, match.start())
        if not drops:
            raise DumpFailed("the dump holds an object without a name", hint="report this dump")
        kind, quoted = drops[-1]
        yield ObjectKind(kind.decode().lower()), _unquote(quoted), text[end : match.end()]
        end = match.end()


def events_of(text: bytes) -> Iterator[tuple[ObjectKind, str, bytes]]:
    """Return kind, name and text of each event in the section's *text*.

    Older programs end the ``DELIMITER ;;`` block only behind the last of them; no body holds
    ``;;``, for with such events there is no dump. From MariaDB 11 on each has its own.
    """
    matches = list(_EVENT.finditer(text)) or list(_events_in_blocks(text))
    ends = [*(match.start() for match in matches), len(text)][1:]
    for match, end in zip(matches, ends, strict=True):
        yield ObjectKind.EVENT, _unquote(match[1]), text[match.start() : end]


def _events_in_blocks(text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the DROP statement of each event that has a block of its own."""
    end = 0
    for block in BLOCK.finditer(text):
        yield from _DROP_EVENT.finditer(text, end, block.start())
        end = block.end()


def _unquote(quoted: bytes) -> str:
    return quoted[1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")
