"""What an index holds, in the words of a manifest: the same when it is written and when read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ulasis_backup.methods.index import Index, TableRows
from ulasis_backup.model import ObjectKind, ObjectSummary, TableSummary
from ulasis_backup.mysql.accounts import to_json
from ulasis_backup.mysql.definitions import TABLE, Definition, digest_bytes
from ulasis_backup.repository import canonical
from ulasis_backup.repository.manifest import Plain
from ulasis_backup.streams.keys import DataKey, fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Tables and objects of a ``rows`` backup, with the digest of it all."""

    plain: Plain
    tables: tuple[TableSummary, ...]
    objects: tuple[ObjectSummary, ...]


def summary_of(index: Index, data_key: DataKey | None) -> Summary:
    """Return what *index* holds, its digests keyed by *data_key* where there is one."""
    tables = tuple(table for name in index.definitions for table in _tables(index, name, data_key))
    objects = tuple(
        entry
        for name, definitions in index.definitions.items()
        for entry in _objects(name, definitions, data_key)
    )
    listed = [
        *([t.database, t.name, t.definition, t.rows_digest] for t in tables),
        *([o.database, str(o.kind), o.name, o.digest, o.position] for o in objects),
        *(["account", keyed(canonical.to_bytes(to_json(a)), data_key)] for a in index.accounts),
    ]
    digest = keyed(canonical.to_bytes({"contents": listed}), data_key)
    plain = Plain(bytes=sum(table.bytes for table in tables), digest=digest)
    return Summary(plain=plain, tables=tables, objects=objects)


def keyed(data: bytes, data_key: DataKey | None) -> str:
    """Return the digest of *data* that may stand in a manifest."""
    digest = fingerprint(data_key)
    digest.update(data)
    return digest.hexdigest()


def _tables(index: Index, database: str, data_key: DataKey | None) -> Iterator[TableSummary]:
    rows = {table.head.source.table: table for table in index.of(database)}
    for definition in index.definitions[database]:
        if definition.kind == TABLE:
            yield _table(database, definition, rows.get(definition.name), data_key)


def _table(
    database: str, definition: Definition, rows: TableRows | None, data_key: DataKey | None
) -> TableSummary:
    position = definition.extra.get("auto_increment")
    return TableSummary(
        database=database,
        name=definition.name,
        rows=rows.rows if rows else 0,
        bytes=rows.bytes if rows else 0,
        definition=keyed(digest_bytes(definition), data_key),
        # Fingerprints are keyed as rows are encrypted; this covers signed backups too.
        rows_digest=keyed(
            bytes.fromhex(rows.digest) if rows else hashlib.sha256().digest(), data_key
        ),
        auto_increment=int(position) if position else None,
    )


def _objects(
    database: str, definitions: Iterable[Definition], data_key: DataKey | None
) -> Iterator[ObjectSummary]:
    for definition in definitions:
        if definition.kind == TABLE:
            continue
        extra = definition.extra
        position = f"{extra['position']} {extra['cycles']}" if "position" in extra else ""
        yield ObjectSummary(
            database=database,
            kind=ObjectKind(definition.kind),
            name=definition.name,
            digest=keyed(digest_bytes(definition), data_key),
            position=position,
        )
