"""Manifests and small repositories made by hand, for tests that need no server."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ulasis_backup.model import (
    AuditAnchor,
    DatabaseOptions,
    Flavour,
    Kind,
    LeftOut,
    ObjectKind,
    ObjectSummary,
    Position,
    ServerVersion,
    Size,
    TableSummary,
    TextLoss,
)
from ulasis_backup.repository import manifest as manifests
from ulasis_backup.repository import names, repository
from ulasis_backup.repository.manifest import Details, Header, Manifest, Plain, Stages
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.repository import Repository
from ulasis_backup.streams.keys import DataKey, new_data_key, wrap

MORNING = datetime(2026, 11, 22, 2, tzinfo=UTC)
KEY = bytes(range(32))
SERVER = ServerVersion(flavour=Flavour.MARIADB, version="10.11.19-MariaDB")

DETAILS = Details(
    server_name="db1:3306",
    host="db1",
    server_id="abc",
    program="mariadb-dump 10.19",
    plain=Plain(bytes=10, digest="00" * 32),
    tables=(
        TableSummary(
            name="orders", rows=3, bytes=9, definition="11", rows_digest="22", auto_increment=4
        ),
        TableSummary(name="odd\n`é😀", rows=None, bytes=0, definition="33", rows_digest="44"),
    ),
    objects=(
        ObjectSummary(kind=ObjectKind.VIEW, name="totals", digest="55"),
        ObjectSummary(
            kind=ObjectKind.SEQUENCE, name="s", digest="66", position="DO SETVAL(`s`, 5, 0);"
        ),
    ),
    database_options=DatabaseOptions(
        character_set="utf8mb4", collation="utf8mb4_bin", comment="it's"
    ),
    position=Position(file="binlog.000001", offset=4, gtid="0-1-5"),
    left_out=(LeftOut(kind=ObjectKind.VIEW, name="broken", reason="no table", definition="…"),),
    text_losses=(TextLoss(table="t", column="f", what="digits", values=None),),
    fallbacks=("no position",),
    warnings=("a warning",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a test wants of a backup that is put on the shelf."""

    database: str = "shop"
    others: tuple[str, ...] = ()
    server_name: str = "db1:3306"
    kind: Kind = Kind.MANUAL
    days: int = 0
    key: bytes | None = None
    encrypted: bool = True
    partial: bool = False
    method: str = "sql"
    payload: bytes = b"payload"
    audit: AuditAnchor | None = None
    details: Details = DETAILS


def header(backup_id: str, *, cipher: str | None = None) -> Header:
    """Return a header for *backup_id*."""
    suffix = ".sql.gz.enc" if cipher else ".sql.gz"
    return Header(
        format=manifests.FORMAT,
        id=backup_id,
        payload=backup_id + suffix,
        series="5e1e",
        sequence=1,
        previous="",
        databases=("shop",),
        method="sql",
        kind=Kind.MANUAL,
        partial=False,
        started_at="2026-11-22T02:00:00.123456+00:00",
        finished_at="2026-11-22T02:00:05+00:00",
        tool="ulasis-backup 0",
        server=SERVER,
        stages=Stages(compression="gzip", compression_level=6, cipher=cipher),
        stored=Size(bytes=7, sha256="77" * 32),
        note="ünter uns",
    )


def written(
    head: Header, data_key: DataKey | None, key: bytes = KEY, details: Details = DETAILS
) -> bytes:
    """Return the bytes of a manifest."""
    keys = (wrap(data_key, key),) if data_key else ()
    return manifests.serialise(head, details, keys=keys, data_key=data_key)


def put_backup(shelf: Repository, wanted: Wanted | None = None) -> PayloadName:
    """Put a backup without real contents on *shelf*, as ``backup`` would."""
    wanted = wanted or Wanted()
    moment = MORNING + timedelta(days=wanted.days)
    backup_id = names.new_backup_id(wanted.database, moment)
    data_key = new_data_key(backup_id) if wanted.key else None
    cipher = "aes-256-cbc" if wanted.key and wanted.encrypted else None
    databases = (wanted.database, *wanted.others)
    seen = Repository(shelf.storage, wanted.key or shelf.key)
    series = repository.series_of(repository.listing(seen).entries, wanted.server_name, databases)
    plain = header(backup_id, cipher=cipher)
    head = dataclasses.replace(
        plain,
        method=wanted.method,
        payload=plain.payload.replace(".sql", f".{wanted.method}"),
        series=series.id,
        sequence=series.sequence,
        previous=series.previous,
        databases=databases,
        kind=wanted.kind,
        partial=wanted.partial,
        started_at=moment.isoformat(),
        stored=Size(bytes=len(wanted.payload), sha256="77" * 32),
        audit=wanted.audit,
    )
    payload = PayloadName(backup_id=backup_id, suffix=head.payload.removeprefix(backup_id))
    shelf.storage.put(str(payload), [wanted.payload])
    details = dataclasses.replace(wanted.details, server_name=wanted.server_name)
    data = written(head, data_key, wanted.key or KEY, details)
    copy = None
    if data_key and wanted.key:
        copy = repository.key_copy((wrap(data_key, wanted.key),), data_key)
    repository.commit(shelf, payload, data, copy)
    return payload


def read(data: bytes, key: bytes | None = None) -> Manifest:
    """Parse *data* as a manifest."""
    return manifests.parse(data, name="x.meta.json", key=key)
