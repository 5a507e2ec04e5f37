"""Backups that somebody changed who has the key: signed anew, so that ``verify`` calls them intact.

Everything is made again as ``backup`` makes it: payload, sizes, digests, fingerprints, MAC. Of a
dump only the witness stays, which was not read from the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ulasis_backup.methods import index as records
from ulasis_backup.methods.contents import Contents, read_contents
from ulasis_backup.methods.index import Index, Range, TableRows, read_index
from ulasis_backup.methods.sections import split
from ulasis_backup.methods.summary import summary_of
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.ranges import epoch_of
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository import payload, repository
from ulasis_backup.repository.manifest import Details, Header, Manifest
from ulasis_backup.repository.names import MANIFEST_SUFFIX, PayloadName
from ulasis_backup.repository.objects import fingerprint
from ulasis_backup.streams.pipeline import flow

Rewrite = Callable[[bytes], bytes]


def forge_dump(
    context: Context, name: PayloadName, change: Rewrite, *, honest_digests: bool = True
) -> None:
    """Put a changed dump in the place of backup *name*.

    Without *honest_digests* the fingerprints of tables and objects stay what they were.
    """
    manifest, details = _trusted(context, name)
    plain = b"".join(payload.open_plain(context.repository.storage, manifest))
    changed = change(plain)
    assert changed != plain, "the change changes nothing"
    if honest_digests:
        found: Contents = read_contents(split(iter([changed])), manifest.data_key).result()
        details = replace(details, plain=found.plain, tables=found.tables, objects=found.objects)
    _put(context, manifest, details, changed)


def forge_index(context: Context, name: PayloadName, change: Callable[[Index], Index]) -> None:
    """Put a changed index in the place of backup *name*, which is one of rows."""
    manifest, details = _trusted(context, name)
    index = read_index(payload.open_plain(context.repository.storage, manifest))
    changed = change(index)
    assert changed != index, "the change changes nothing"
    found = summary_of(changed, manifest.data_key)
    details = replace(details, plain=found.plain, tables=found.tables, objects=found.objects)
    _put(context, manifest, details, b"".join(_records(changed)))


def with_rows(index: Index, table: str, change: Callable[[list[bytes]], list[bytes]]) -> Index:
    """Return *index* with other rows in the only range of *table*, each row a packet's bytes."""
    return replace(
        index,
        tables=tuple(
            _changed(index, one, change) if one.head.source.table == table else one
            for one in index.tables
        ),
    )


def _changed(
    index: Index, table: TableRows, change: Callable[[list[bytes]], list[bytes]]
) -> TableRows:
    (part,) = table.ranges
    assert part.inline is not None, "the table is too large for a forgery"
    rows = change(list(_packets(part.inline)))
    data = b"".join(rows)
    made = Range(
        rows=len(rows),
        bytes=len(data),
        fingerprint=fingerprint(epoch_of(index.begin), data),
        inline=data,
        begin=part.begin,
    )
    return replace(table, ranges=(made,))


def _packets(data: bytes) -> Iterator[bytes]:
    """Yield each row packet with its header: three bytes of length, one of its number."""
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 3], "little")
        yield data[at:end]
        at = end


def packet(row: bytes, old: bytes, new: bytes) -> bytes:
    """Return a row packet with the value *new* in the place of *old* (both short)."""
    before, after = bytes([len(old)]) + old, bytes([len(new)]) + new
    assert row.count(before) == 1, row
    body = row[4:].replace(before, after)
    return len(body).to_bytes(3, "little") + row[3:4] + body


def _records(index: Index) -> Iterator[bytes]:
    yield records.begin_record(index.begin)
    for database, options in index.options.items():
        yield records.database_record(database, options)
        for definition in index.definitions[database]:
            yield records.definition_record(database, definition)
    for account in index.accounts:
        yield records.account_record(account)
    for table in index.tables:
        yield records.table_record(table.head)
        for part in table.ranges:
            yield records.range_record(part)
        yield records.table_end_record(table)
    yield records.end_record(len(index.tables), sum(table.rows for table in index.tables))


def _trusted(context: Context, name: PayloadName) -> tuple[Manifest, Details]:
    manifest = repository.load_trusted(context.repository, name)
    assert manifest.details
    return manifest, manifest.details


def forge_header(context: Context, name: PayloadName, change: Callable[[Header], Header]) -> None:
    """Put a manifest with another header in the place of that of backup *name*."""
    manifest, details = _trusted(context, name)
    _put_manifest(context, replace(manifest, header=change(manifest.header)), details)


def _put(context: Context, manifest: Manifest, details: Details, plain: bytes) -> None:
    header = manifest.header
    stages = payload.writing_stages(header.stages, threads=1, data_key=manifest.data_key)
    stored = b"".join(flow(iter([plain]), *stages))
    digest = hashlib.sha256(stored).hexdigest()
    size = replace(header.stored, bytes=len(stored), sha256=digest)
    Path(context.repository.storage.place, header.payload).write_bytes(stored)
    _put_manifest(context, replace(manifest, header=replace(header, stored=size)), details)


def _put_manifest(context: Context, manifest: Manifest, details: Details) -> None:
    data = manifests.serialise(
        manifest.header, details, keys=manifest.keys, data_key=manifest.data_key
    )
    name = f"{manifest.header.payload}{MANIFEST_SUFFIX}"
    Path(context.repository.storage.place, name).write_bytes(data)
