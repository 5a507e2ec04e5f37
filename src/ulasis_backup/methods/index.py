"""The index of a ``rows`` backup: its payload, a stream of records.

The first line is ``MAGIC``. Each record is one line of canonical JSON; where it has ``blob``, so
many raw bytes and a line end follow. docs/format.md describes every record. The order: ``begin``,
then for each database ``database`` and its ``definition`` records, then ``account`` records where
they were asked for, then for each table ``table``, its ``range`` records and ``table-end``, at last
``end``, without which the index is no index.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ulasis_backup.methods.records import MAGIC, Record, malformed, record, records
from ulasis_backup.model import DatabaseOptions
from ulasis_backup.mysql.accounts import Account, from_json, to_json
from ulasis_backup.mysql.columns import Column, RowSource
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.keys import Boundary, Key
from ulasis_backup.repository import canonical

_OBJECT_NAME = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}")

Data = bytes
"""A name for the type where a field is called ``bytes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """What an index begins with. ``epoch_key`` is hexadecimal, empty without encryption."""

    databases: tuple[str, ...]
    epoch: str
    epoch_key: str = field(repr=False)
    flavour: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A piece of a table's rows, in the order of its key.

    ``begin`` is None for the first range of a table. ``name`` is the name of the object that holds
    the rows; it is empty where they are ``inline``, in the index itself. ``chain`` lists the
    objects that the object was stored as a delta of, next one first, each with the kind of its
    link. ``stored`` are the object's bytes, ``full`` those of the full object at the chain's end.
    """

    rows: int
    bytes: int
    fingerprint: str
    name: str = ""
    begin: Boundary | None = None
    inline: Data | None = field(default=None, repr=False)
    chain: tuple[tuple[str, str], ...] = ()
    stored: int = 0
    full: int = 0

    @property
    def objects(self) -> tuple[str, ...]:
        """Return the names of all objects that this range needs."""
        own = (self.name,) if self.name else ()
        return own + tuple(name for name, _ in self.chain)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableHead:
    """A table whose ranges follow."""

    source: RowSource
    key: Key | None

    @property
    def where(self) -> tuple[str, str]:
        """Return database and name."""
        return self.source.database, self.source.table


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """A table with its ranges."""

    head: TableHead
    ranges: tuple[Range, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(part.rows for part in self.ranges)

    @property
    def bytes(self) -> int:
        """Return the number of bytes of row packets."""
        return sum(part.bytes for part in self.ranges)

    @property
    def digest(self) -> str:
        """Return a digest of the ranges' fingerprints."""
        return digest_of(part.fingerprint for part in self.ranges)

    def without_data(self) -> TableRows:
        """Return the same without the rows that lie in the index itself."""
        return replace(self, ranges=tuple(replace(part, inline=None) for part in self.ranges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A whole index."""

    begin: Begin
    options: dict[str, DatabaseOptions]
    definitions: dict[str, tuple[Definition, ...]]
    tables: tuple[TableRows, ...]
    accounts: tuple[Account, ...] = ()

    @property
    def objects(self) -> frozenset[str]:
        """Return the names of all objects that this backup needs, bases included."""
        return frozenset(
            name for table in self.tables for part in table.ranges for name in part.objects
        )

    def of(self, database: str) -> tuple[TableRows, ...]:
        """Return the tables of *database*."""
        return tuple(table for table in self.tables if table.head.source.database == database)


_BEGIN = TypeAdapter(Begin)
_OPTIONS = TypeAdapter(DatabaseOptions)
_COLUMNS = TypeAdapter(tuple[Column, ...])
_KEY = TypeAdapter(Key | None)


def digest_of(fingerprints: Iterable[str]) -> str:
    """Return the SHA-256 of *fingerprints*, each as its 32 bytes."""
    digest = hashlib.sha256()
    for fingerprint in fingerprints:
        digest.update(bytes.fromhex(fingerprint))
    return digest.hexdigest()


def begin_record(begin: Begin) -> bytes:
    """Return the start of an index."""
    return MAGIC + record("begin", _json(begin))


def database_record(database: str, options: DatabaseOptions) -> bytes:
    """Return the record of a database."""
    return record("database", {"database": database, **_json(options)})


def definition_record(database: str, definition: Definition) -> bytes:
    """Return the record of an object's definition."""
    body = _json(definition)
    del body["text"]
    return record("definition", {"database": database, **body}, definition.text)


def account_record(account: Account) -> bytes:
    """Return the record of an account with its rights; the hash of its password is in it."""
    return record("account", {"account": to_json(account)})


def table_record(head: TableHead) -> bytes:
    """Return the record of a table whose ranges follow."""
    source = head.source
    body = {
        "database": source.database,
        "table": source.table,
        "columns": [_json(column) for column in source.columns],
        "suffix": source.suffix,
        "versioned": source.versioned,
        "key": _json(head.key) if head.key else None,
    }
    return record("table", body)


def range_record(part: Range) -> bytes:
    """Return the record of a range."""
    begin = None if part.begin is None else [base64.b64encode(v).decode() for v in part.begin]
    body = {
        "rows": part.rows,
        "bytes": part.bytes,
        "fingerprint": part.fingerprint,
        "name": part.name,
        "begin": begin,
        "chain": [list(link) for link in part.chain],
        "stored": part.stored,
        "full": part.full,
    }
    return record("range", body, part.inline)


def table_end_record(table: TableRows) -> bytes:
    """Return the record that ends a table."""
    body = {"rows": table.rows, "bytes": table.bytes, "ranges": len(table.ranges)}
    return record("table-end", body | {"digest": table.digest})


def end_record(tables: int, rows: int) -> bytes:
    """Return the record that ends an index."""
    return record("end", {"tables": tables, "rows": rows})


def read_index(chunks: Iterable[bytes]) -> Index:
    """Read a whole index; raises IntegrityError unless it is complete and well-formed."""
    return _Reader(records(chunks)).read()


class _Reader:
    """Puts an index together from its records."""

    def __init__(self, records: Iterator[tuple[Record, bytes | None]]) -> None:
        self._records = records
        self._begin: Begin | None = None
        self._options: dict[str, DatabaseOptions] = {}
        self._definitions: dict[str, list[Definition]] = {}
        self._accounts: list[Account] = []
        self._tables: list[TableRows] = []
        self._head: TableHead | None = None
        self._ranges: list[Range] = []
        self._ended = False

    def read(self) -> Index:
        kinds: dict[str, Callable[[Record, bytes | None], None]] = {
            "begin": self._take_begin,
            "database": self._take_database,
            "definition": self._take_definition,
            "account": self._take_account,
            "table": self._take_table,
            "range": self._take_range,
            "table-end": self._take_table_end,
            "end": self._take_end,
        }
        try:
            for body, blob in self._records:
                take = kinds[str(body.pop("record"))]
                if self._ended or (self._begin is None) != (take == self._take_begin):
                    raise malformed("a record out of place")
                take(body, blob)
        except (ValidationError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise malformed(f"a record of an unknown form ({type(error).__name__})") from None
        if not self._ended or self._begin is None:
            raise malformed("it ends too early")
        return Index(
            begin=self._begin,
            options=self._options,
            definitions={name: tuple(self._definitions[name]) for name in self._options},
            tables=tuple(self._tables),
            accounts=tuple(self._accounts),
        )

    def _take_begin(self, body: Record, _: bytes | None) -> None:
        self._begin = _BEGIN.validate_json(canonical.to_bytes(body), strict=True)

    def _take_database(self, body: Record, _: bytes | None) -> None:
        name = str(body.pop("database"))
        self._options[name] = _OPTIONS.validate_python(body)
        self._definitions[name] = []

    def _take_definition(self, body: Record, blob: bytes | None) -> None:
        database = str(body.pop("database"))
        self._definitions[database].append(Definition(text=blob or b"", **body))

    def _take_account(self, body: Record, _: bytes | None) -> None:
        self._accounts.append(from_json(body["account"]))

    def _take_table(self, body: Record, _: bytes | None) -> None:
        if self._head is not None or body["database"] not in self._options:
            raise malformed("a table out of place")
        source = RowSource(
            database=str(body["database"]),
            table=str(body["table"]),
            columns=_COLUMNS.validate_json(canonical.to_bytes(body["columns"]), strict=True),
            suffix=str(body["suffix"]),
            versioned=bool(body["versioned"]),
        )
        key = _KEY.validate_json(canonical.to_bytes(body["key"]), strict=True)
        self._head, self._ranges = TableHead(source=source, key=key), []

    def _take_range(self, body: Record, blob: bytes | None) -> None:
        if self._head is None:
            raise malformed("a range without a table")
        begin = body["begin"]
        part = Range(
            rows=int(body["rows"]),
            bytes=int(body["bytes"]),
            fingerprint=_hex(body["fingerprint"]),
            name=_object_name(body["name"]),
            begin=None
            if begin is None
            else tuple(base64.b64decode(v, validate=True) for v in begin),
            inline=blob,
            chain=tuple((_object_name(name), str(kind)) for name, kind in body["chain"]),
            stored=int(body["stored"]),
            full=int(body["full"]),
        )
        if blob is not None and len(blob) != part.bytes:
            raise malformed("a range of another size than it says")
        if (blob is None) != bool(part.name):
            raise malformed("a range whose rows are nowhere, or twice")
        self._ranges.append(part)

    def _take_table_end(self, body: Record, _: bytes | None) -> None:
        if self._head is None:
            raise malformed("the end of a table out of place")
        table = TableRows(head=self._head, ranges=tuple(self._ranges))
        found = {"rows": table.rows, "bytes": table.bytes, "ranges": len(table.ranges)}
        if body != found | {"digest": table.digest}:
            raise malformed(f"table {table.head.source.table} is not what its end says")
        self._tables.append(table)
        self._head = None

    def _take_end(self, body: Record, _: bytes | None) -> None:
        rows = sum(table.rows for table in self._tables)
        if self._head is not None or body != {"tables": len(self._tables), "rows": rows}:
            raise malformed("it does not hold what its end says")
        self._ended = True


def _json(value: Any) -> Record:  # noqa: ANN401 (any of the dataclasses)
    return asdict(value)


def _hex(value: object) -> str:
    text = str(value)
    if len(text) != 64 or bytes.fromhex(text).hex() != text:  # noqa: PLR2004 (SHA-256)
        raise malformed("a fingerprint of an unknown form")
    return text


def _object_name(value: object) -> str:
    text = str(value)
    if text and not _OBJECT_NAME.fullmatch(text):
        raise malformed("an object's name of an unknown form")
    return text
