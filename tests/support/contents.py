"""A database as an index describes it, with its objects in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ulasis_backup.methods.index import Range, TableRows
from ulasis_backup.methods.look import RowsOptions, look
from ulasis_backup.methods.reading import RowsReader
from ulasis_backup.methods.rows_restore import DatabaseContents
from ulasis_backup.model import DatabaseOptions, Login
from ulasis_backup.mysql.server import connect
from ulasis_backup.mysql.wire import Packets

INLINE = 200
"""Bytes: smaller ranges travel in the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was read of a database: contents, and the rows of each range by its name."""

    contents: DatabaseContents
    objects: dict[str, bytes]
    options: DatabaseOptions

    def read(self, part: Range) -> bytes:
        return self.objects[part.name] if part.inline is None else part.inline

    def rows(self) -> dict[str, bytes]:
        """Return the rows of each table, however they are cut."""
        return {
            table.head.source.table: b"".join(self.read(part) for part in table.ranges)
            for table in self.contents.tables
        }

    def tables_named(self, name: str) -> list[TableRows]:
        return [table for table in self.contents.tables if table.head.source.table == name]


def take(login: Login, database: str, *, target: int = 1 << 16) -> Taken:
    """Read all of *database*, as a backup does."""
    objects: dict[str, bytes] = {}

    def keep(packets: Packets, base: Range | None) -> Range:
        del base
        fingerprint = hashlib.sha256(packets.data).hexdigest()
        size, inline = len(packets.data), None
        name = f"{fingerprint}-{size:08x}"
        if size <= INLINE:
            name, inline = "", packets.data
        else:
            objects[name] = packets.data
        return Range(
            rows=packets.rows, bytes=size, fingerprint=fingerprint, name=name, inline=inline
        )  # fmt: skip

    with connect(login) as server:
        options = RowsOptions(target=target)
        (seen,) = look(server, [database], options).databases
        server.run("SET character_set_results = NULL")
        reader = RowsReader([server], keep, before=None, options=options)
        tables = tuple(reader.read(seen.tables))
    return Taken(
        contents=DatabaseContents(definitions=seen.definitions, tables=tables),
        objects=objects,
        options=seen.options,
    )
