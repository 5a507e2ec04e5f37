"""The manifest: the ``.meta.json`` beside a payload. Its presence makes the backup exist.

In the open: what is needed to find, order and fetch backups. ``details``, which names tables
and the server, is encrypted whenever the payload is. ``mac`` (HMAC-SHA-256 under a subkey of
the data key) covers everything but the wrapped keys, which can be replaced and have a MAC of
their own; without any key ``sha256`` stands in its place and finds damage, not tampering.
docs/format.md describes every field.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ulasis_backup.errors import AuthenticationFailed, IntegrityError, UnknownFormat, WrongKey
from ulasis_backup.model import (
    AuditAnchor,
    DatabaseOptions,
    Kind,
    LeftOut,
    ObjectSummary,
    Position,
    ServerVersion,
    Shared,
    Size,
    TableSummary,
    TextLoss,
    Witness,
)
from ulasis_backup.repository import canonical, sealed
from ulasis_backup.repository.canonical import Json
from ulasis_backup.repository.names import is_backup_id
from ulasis_backup.streams.compression import Compression
from ulasis_backup.streams.encryption import CHANGED_HINT, Cipher
from ulasis_backup.streams.keys import DataKey, WrappedKey, unwrap

FORMAT = 1
METHODS = frozenset({"sql", "rows"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """How the payload was made from plain bytes; reading is built from this alone."""

    compression: str
    compression_level: int
    cipher: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """The payload's plain bytes: how many, and the digest of its sections (see docs/format)."""

    bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is encrypted when the payload is.

    ``selection`` is what DB_NAME said where that is not the list of databases (``*``). ``shared``
    are the objects of a ``rows`` backup. ``witness`` is what the server itself showed while a dump
    was made: the text was not read from it, so that one can be held against the other.
    """

    server_name: str
    host: str
    server_id: str
    program: str
    plain: Plain
    tables: tuple[TableSummary, ...]
    objects: tuple[ObjectSummary, ...]
    database_options: DatabaseOptions
    position: Position | None = None
    left_out: tuple[LeftOut, ...] = ()
    text_losses: tuple[TextLoss, ...] = ()
    fallbacks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()
    shared: Shared | None = None
    witness: tuple[Witness, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is always in the open.

    ``audit`` is the entry of the audit log with which the run began; manifests of versions without
    that log, and of runs without it, do not have the field.
    """

    format: int
    id: str
    payload: str
    series: str
    sequence: int
    previous: str
    databases: tuple[str, ...]
    method: str
    kind: Kind
    partial: bool
    started_at: str
    finished_at: str
    tool: str
    server: ServerVersion
    stages: Stages
    stored: Size
    note: str = ""
    audit: AuditAnchor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest whose MAC or digest is known to be right.

    ``details`` is None when it was read without the key. ``digest`` is the SHA-256 of everything
    but the wrapped keys; the next manifest of the series names it as ``previous``.
    """

    header: Header
    keys: tuple[WrappedKey, ...]
    signed: bool
    digest: str
    details: Details | None = None
    data_key: DataKey | None = field(default=None, repr=False)

    @property
    def encrypted(self) -> bool:
        """Tell whether the payload is encrypted."""
        return self.header.stages.cipher is not None

    @property
    def added_bytes(self) -> int:
        """Return the bytes that the backup added to the repository: payload and new objects."""
        shared = self.details.shared if self.details else None
        return self.header.stored.bytes + (shared.new_bytes if shared else 0)


_HEADER = TypeAdapter(Header)
_DETAILS = TypeAdapter(Details)
_KEYS = TypeAdapter(tuple[WrappedKey, ...])
_HEADER_FIELDS = frozenset(Header.__dataclass_fields__)


def serialise(
    header: Header, details: Details, *, keys: tuple[WrappedKey, ...], data_key: DataKey | None
) -> bytes:
    """Return the bytes of a manifest; signed when there is a *data_key*."""
    body = _as_json(header)
    if header.audit is None:
        del body["audit"]
    if data_key and header.stages.cipher:
        body["details_encrypted"] = sealed.seal(_as_json(details), data_key, "details")
    else:
        body["details"] = _as_json(details)
    if data_key is None:
        body["sha256"] = hashlib.sha256(canonical.to_bytes(body)).hexdigest()
        return canonical.to_bytes(body)
    body["mac"] = data_key.mac("manifest", canonical.to_bytes(body))
    return canonical.to_bytes(body | serialise_keys(keys, data_key))


def serialise_keys(keys: tuple[WrappedKey, ...], data_key: DataKey) -> Json:
    """Return the wrapped keys with their own MAC: the part that rotation replaces."""
    listed = [_as_json(key) for key in keys]
    mac = data_key.mac("keys", canonical.to_bytes({"keys": listed}))
    return {"keys": listed, "keys_mac": mac}


def parse(data: bytes, *, name: str, key: bytes | None) -> Manifest:
    """Return the manifest in *data*, checked as far as *key* allows.

    An unsigned manifest is checked against its digest. A signed one needs the user's *key*;
    without it, what is in the open is returned unchecked, with ``details`` None, good for a
    listing only. Raises IntegrityError, AuthenticationFailed, WrongKey, UnknownFormat.
    """
    body = canonical.from_bytes(data, name=name)
    if body.get("format") != FORMAT:
        raise _unknown_format(body, name)
    keys = _load_keys(body, name)
    listed = canonical.to_bytes({"keys": body.pop("keys", None)})
    keys_mac = body.pop("keys_mac", None)
    digest = hashlib.sha256(canonical.to_bytes(body)).hexdigest()
    mac, sha256 = body.pop("mac", None), body.pop("sha256", None)
    header = _load_header(body, name)
    signed = mac is not None
    if not signed:
        if keys or keys_mac is not None:
            raise _malformed(name)
        _expect_digest(sha256, body, name)
        details = _load_details(body.get("details"), name)
        return Manifest(header=header, keys=(), signed=False, digest=digest, details=details)
    if key is None:
        return Manifest(header=header, keys=keys, signed=True, digest=digest)
    data_key = unwrap(header.id, keys, key)
    _expect_mac(mac, data_key.mac("manifest", canonical.to_bytes(body)), name)
    _expect_mac(keys_mac, data_key.mac("keys", listed), name)
    details = _load_details(_open_details(body, data_key, name), name)
    return Manifest(
        header=header, keys=keys, signed=True, digest=digest, details=details, data_key=data_key
    )


def parse_key_copy(data: bytes, *, name: str, backup_id: str, key: bytes) -> DataKey:
    """Return the data key from ``keys/<backup>.json``, for when the manifest is lost."""
    body = canonical.from_bytes(data, name=name)
    data_key = unwrap(backup_id, _load_keys(body, name), key)
    listed = canonical.to_bytes({"keys": body.get("keys")})
    _expect_mac(body.get("keys_mac"), data_key.mac("keys", listed), name)
    return data_key


def need_key(manifest: Manifest) -> Manifest:
    """Return *manifest* if it was fully checked; raises WrongKey if it was read without key."""
    if manifest.signed and manifest.data_key is None:
        message = f"{manifest.header.id} is signed or encrypted, and no key is configured"
        raise WrongKey(message, hint="set BACKUP_ENCRYPTION_KEY or BACKUP_ENCRYPTION_KEY_FILE")
    return manifest


def details_of(manifest: Manifest) -> Details:
    """Return the details of a trusted manifest; see ``repository.load_trusted``."""
    if manifest.details is None:
        msg = "a trusted manifest has details"
        raise TypeError(msg)
    return manifest.details


def _as_json(value: Any) -> Json:  # noqa: ANN401 (any of the dataclasses above)
    found: Json = _plain(asdict(value))
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _open_details(body: Json, data_key: DataKey, name: str) -> Json | None:
    if "details_encrypted" not in body:
        return body.get("details")
    return sealed.unseal(body["details_encrypted"], data_key, "details", name=name)


def _load_header(body: Json, name: str) -> Header:
    fields = {field: value for field, value in body.items() if field in _HEADER_FIELDS}
    unknown = set(body) - _HEADER_FIELDS - {"details", "details_encrypted"}
    if unknown or ("details" in body) == ("details_encrypted" in body):
        raise _malformed(name)
    try:
        header = _HEADER.validate_json(canonical.to_bytes(fields), strict=True)
    except ValidationError:
        raise _malformed(name) from None
    if not _makes_sense(header):
        raise _malformed(name)
    return header


def _makes_sense(header: Header) -> bool:
    """Tell whether the values are such as we write; nothing else may reach those who use them."""
    stages = header.stages
    return (
        is_backup_id(header.id)
        and all(_is_moment(text) for text in (header.started_at, header.finished_at))
        and header.method in METHODS
        and bool(header.databases)
        and header.sequence > 0
        and header.stored.bytes >= 0
        and stages.compression in set(Compression)
        and (stages.cipher is None or stages.cipher in set(Cipher))
    )


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _load_details(value: Json | None, name: str) -> Details:
    try:
        return _DETAILS.validate_json(canonical.to_bytes(value or {}), strict=True)
    except (ValidationError, ValueError, AttributeError, TypeError):
        raise _malformed(name) from None


def _load_keys(body: Json, name: str) -> tuple[WrappedKey, ...]:
    try:
        return _KEYS.validate_python(body.get("keys", []))
    except ValidationError:
        raise _malformed(name) from None


def _expect_digest(sha256: object, body: Json, name: str) -> None:
    if sha256 != hashlib.sha256(canonical.to_bytes(body)).hexdigest():
        raise IntegrityError(f"{name} is damaged: its digest does not fit", hint=canonical.HINT)


def _expect_mac(found: object, expected: str, name: str) -> None:
    if not isinstance(found, str) or not hmac.compare_digest(found.encode(), expected.encode()):
        raise _changed(name)


def _changed(name: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"{name} is not authentic: it was changed", hint=CHANGED_HINT)


def _malformed(name: str) -> IntegrityError:
    return IntegrityError(f"{name} is malformed", hint=canonical.HINT)


def _unknown_format(body: Json, name: str) -> UnknownFormat | IntegrityError:
    found = body.get("format")
    if isinstance(found, int) and found > FORMAT:
        message = f"{name} has format {found}; this version reads up to {FORMAT}"
        return UnknownFormat(message, hint="use a newer version of ulasis-backup")
    return _malformed(name)
