"""A proof as a file: what was found out about a backup by one check, and when.

In the open: which backup, its manifest's digest, the number of the proof, which check, when, and
the verdict. ``details``, which may name tables and hosts, is encrypted whenever the payload is.
``mac`` (under a subkey of the backup's data key) covers everything; without any key ``sha256``
stands in its place. docs/format.md describes every field.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ulasis_backup.errors import AuthenticationFailed, IntegrityError, UnknownFormat
from ulasis_backup.model import Verdict
from ulasis_backup.repository import canonical, sealed
from ulasis_backup.repository.canonical import Json
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import TIME_FORMAT
from ulasis_backup.streams.encryption import CHANGED_HINT

_T = TypeVar("_T")

FORMAT = 1
MOST_BYTES = 1 << 20
MOST_TEXT = 2000
MOST_NOTES = 50
MAC_ROLE = "proof"
DETAILS_ROLE = "proof/details"
PADDED_TO = 256
"""Encrypted details are a multiple of so many bytes, so that their size does not name a table."""


class Check(StrEnum):
    """How a backup was checked; see the words in the design."""

    VERIFY = "verify"
    TEST_RESTORE = "test-restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one check found out about a backup.

    ``manifest`` is the digest of the manifest that was checked (``Manifest.digest``). ``server`` is
    the scratch server of a test restore. ``phases`` are seconds, ``bytes`` plain bytes. ``number``
    is given by ``record``: later proofs of a backup have higher ones, whatever clocks say.
    ``round`` is the run of ``verify-all`` that it belongs to.
    """

    backup: str
    manifest: str
    check: Check
    verdict: Verdict
    started_at: str
    finished_at: str
    host: str
    tool: str
    server: str = ""
    reason: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0
    notes: tuple[str, ...] = ()
    round: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofName:
    """What the name of a proof's file says; true only if the authentic file says the same."""

    path: str
    number: int
    check: Check
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What is in the open."""

    format: int
    backup: str
    manifest: str
    number: int
    check: Check
    verdict: Verdict
    started_at: str
    finished_at: str
    round: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    """What is encrypted when the backup's payload is."""

    host: str
    tool: str
    server: str
    reason: str
    phases: dict[str, float]
    bytes: int
    notes: tuple[str, ...]
    padding: str = ""


_OPEN = TypeAdapter(_Open)
_DETAILS = TypeAdapter(_Details)
_OPEN_FIELDS = frozenset(_Open.__dataclass_fields__)
_TOKENS = {verdict: re.sub("[^a-z]+", "-", verdict).strip("-") for verdict in Verdict}
_VERDICTS = {token: verdict for verdict, token in _TOKENS.items()}
_NAME = re.compile(
    r"(?P<number>\d{8,12})-\d{4}-\d\d-\d\dT\d{6}Z-(?P<check>verify|test-restore)"
    rf"-(?P<verdict>{'|'.join(_VERDICTS)})-[0-9a-f]{{8}}\.json"
)


def new_path(proof: Proof) -> str:
    """Return a fresh path for *proof*."""
    moment = datetime.fromisoformat(proof.finished_at).astimezone(UTC).strftime(TIME_FORMAT)
    said = f"{proof.check}-{_TOKENS[proof.verdict]}"
    return f"{folder_of(proof.backup)}/{proof.number:08}-{moment}-{said}-{os.urandom(4).hex()}.json"


def folder_of(backup_id: str) -> str:
    """Return the folder of the proofs of a backup."""
    return f"proofs/{backup_id}"


def parse_path(path: str) -> ProofName | None:
    """Return what the name of a proof of ours says, None for another name."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        return None
    return ProofName(
        path=path,
        number=int(match["number"]),
        check=Check(match["check"]),
        verdict=_VERDICTS[match["verdict"]],
    )


def serialise(proof: Proof, manifest: Manifest) -> bytes:
    """Return the bytes of *proof* of the backup that *manifest* describes; signed as it is."""
    body: Json = {
        "format": FORMAT, "backup": proof.backup, "manifest": proof.manifest,
        "number": proof.number, "check": str(proof.check), "verdict": str(proof.verdict),
        "started_at": proof.started_at, "finished_at": proof.finished_at, "round": proof.round,
    }  # fmt: skip
    details = _details(proof)
    if manifest.data_key and manifest.encrypted:
        body["details_encrypted"] = sealed.seal(_padded(details), manifest.data_key, DETAILS_ROLE)
    else:
        body["details"] = details
    return canonical.to_bytes(body | sealed.mark(body, manifest.data_key, MAC_ROLE))


def parse(data: bytes, *, name: ProofName, manifest: Manifest) -> Proof:
    """Return the proof in *data*, authentic if the backup of *manifest* is signed.

    Raises AuthenticationFailed, IntegrityError, UnknownFormat.
    """
    if len(data) > MOST_BYTES:
        raise _malformed(name)
    body = canonical.from_bytes(data, name=name.path)
    found = {field: body.pop(field, None) for field in ("mac", "sha256")}
    # The format stands in what may be forged, so that it only chooses between two refusals.
    if isinstance(version := body.get("format"), int) and version > FORMAT:
        message = f"{name.path} was written by a newer version"
        raise UnknownFormat(message, hint="use a newer version of ulasis-backup")
    _expect_authentic(found, body, name, manifest)
    said = _load(body, name)
    details = _load_details(body, name, manifest)
    if (said.number, said.check, said.verdict) != (name.number, name.check, name.verdict):
        raise AuthenticationFailed(f"{name.path} has another's name", hint=CHANGED_HINT)
    return Proof(
        backup=said.backup, manifest=said.manifest, check=said.check, verdict=said.verdict,
        started_at=said.started_at, finished_at=said.finished_at, round=said.round,
        number=said.number, host=details.host, tool=details.tool, server=details.server,
        reason=details.reason, phases=details.phases, bytes=details.bytes, notes=details.notes,
    )  # fmt: skip


def _details(proof: Proof) -> Json:
    return {
        "host": _text(proof.host), "tool": _text(proof.tool), "server": _text(proof.server),
        "reason": _text(proof.reason), "bytes": proof.bytes, "padding": "",
        "phases": {name: float(seconds) for name, seconds in proof.phases.items()},
        "notes": [_text(note) for note in proof.notes[:MOST_NOTES]],
    }  # fmt: skip


def _text(text: str) -> str:
    """Return *text* as it can be stored: names of tables may hold what is no character."""
    return text[:MOST_TEXT].encode("utf-8", "replace").decode()


def _padded(details: Json) -> Json:
    missing = -len(canonical.to_bytes(details)) % PADDED_TO
    return details | {"padding": " " * missing}


def _expect_authentic(found: Json, body: Json, name: ProofName, manifest: Manifest) -> None:
    expected = sealed.mark(body, manifest.data_key, MAC_ROLE)
    for field_name, value in found.items():
        wanted = expected.get(field_name)
        if (value is None) != (wanted is None):
            raise AuthenticationFailed(f"{name.path} is not signed as its backup is")
        same = isinstance(value, str) and hmac.compare_digest(value.encode(), str(wanted).encode())
        if wanted is not None and not same:
            if manifest.signed:
                raise AuthenticationFailed(f"{name.path} is not authentic", hint=CHANGED_HINT)
            raise IntegrityError(f"{name.path} is damaged", hint=canonical.HINT)


def _load(body: Json, name: ProofName) -> _Open:
    encrypted = "details_encrypted" in body
    if set(body) != _OPEN_FIELDS | {"details_encrypted" if encrypted else "details"}:
        raise _malformed(name)
    said = _validated(_OPEN, {field: body[field] for field in _OPEN_FIELDS}, name)
    moments = (said.started_at, said.finished_at)
    if said.format != FORMAT or said.number < 1 or not all(map(_is_moment, moments)):
        raise _malformed(name)
    return said


def _load_details(body: Json, name: ProofName, manifest: Manifest) -> _Details:
    details = body.get("details")
    if "details_encrypted" in body and manifest.data_key:
        key, text = manifest.data_key, body["details_encrypted"]
        details = sealed.unseal(text, key, DETAILS_ROLE, name=name.path)
    return _validated(_DETAILS, details if isinstance(details, dict) else {}, name)


def _validated(adapter: TypeAdapter[_T], value: Any, name: ProofName) -> _T:  # noqa: ANN401 (JSON)
    try:
        return adapter.validate_json(canonical.to_bytes(value), strict=True)
    except (ValidationError, ValueError):
        raise _malformed(name) from None


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _malformed(name: ProofName) -> IntegrityError:
    return IntegrityError(f"{name.path} is malformed", hint=canonical.HINT)
