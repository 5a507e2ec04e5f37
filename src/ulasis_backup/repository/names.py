"""Names of backups: ``ulasis-backup-2026-11-22T020000Z-4f1c.sql.gz.enc`` and its manifest.

A backup id is the name without suffixes. Names sort by time within a prefix.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from ulasis_backup.errors import SettingsError

MANIFEST_SUFFIX = ".meta.json"
TIME_FORMAT = "%Y-%m-%dT%H%M%SZ"
MOST_PREFIX_BYTES = 180
"""Longest prefix, so that every name fits the 255 bytes of a file name and a payload's header."""

_ID = r"(?P<prefix>[^/]+)-backup-(?P<time>\d{4}-\d\d-\d\dT\d{6}Z)-(?P<end>[0-9a-f]{4,16})"
_SUFFIX = r"(?P<suffix>\.(?:sql|rows)(?:\.gz|\.zst)?(?:\.enc)?)"
_PAYLOAD = re.compile(_ID + _SUFFIX)
_BACKUP_ID = re.compile(_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadName:
    """The parts of a payload's name."""

    backup_id: str
    suffix: str

    def __str__(self) -> str:
        return self.backup_id + self.suffix

    @property
    def manifest(self) -> str:
        """Return the name of the manifest beside the payload."""
        return f"{self}{MANIFEST_SUFFIX}"

    @property
    def key_copy(self) -> str:
        """Return the name of the spare copy of the wrapped data keys."""
        return f"keys/{self.backup_id}.json"


def new_backup_id(prefix: str, now: datetime) -> str:
    """Return a fresh id: *prefix* percent-encoded, the time in UTC, a random end."""
    encoded = quote(prefix, safe="_.+@$ -").replace(" ", "%20")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > MOST_PREFIX_BYTES:
        message = f"the name {prefix!r} is too long for file names"
        raise SettingsError(message, hint="set BACKUP_NAME to a shorter prefix")
    time = now.astimezone(UTC).strftime(TIME_FORMAT)
    return f"{encoded}-backup-{time}-{os.urandom(2).hex()}"


def parse_payload(name: str) -> PayloadName | None:
    """Return the parts of *name* if it is a payload's name of ours."""
    match = _PAYLOAD.fullmatch(name)
    if match is None or "/" in name:
        return None
    suffix = match["suffix"]
    return PayloadName(backup_id=name.removesuffix(suffix), suffix=suffix)


def parse_manifest(name: str) -> PayloadName | None:
    """Return the payload's name if *name* is the name of a manifest of ours."""
    if not name.endswith(MANIFEST_SUFFIX):
        return None
    return parse_payload(name.removesuffix(MANIFEST_SUFFIX))


def is_backup_id(text: str) -> bool:
    """Tell whether *text* is a possible backup id."""
    return _BACKUP_ID.fullmatch(text) is not None


def prefix_of(backup_id: str) -> str:
    """Return the plain prefix of *backup_id*, usually the database's name."""
    match = _BACKUP_ID.fullmatch(backup_id)
    return unquote(match["prefix"]) if match else backup_id


def short_id(backup_id: str) -> str:
    """Return time and random end of *backup_id*, for people who type."""
    match = _BACKUP_ID.fullmatch(backup_id)
    return f"{match['time']}-{match['end']}" if match else backup_id


def looks_old(name: str) -> bool:
    """Tell whether *name* was written by the old Node scripts (a date without a time)."""
    pattern = r".+-backup-\d{4}-\d\d-\d\d\.sql(\.gz)?(\.enc)?(\.meta\.json)?"
    return re.fullmatch(pattern, name) is not None
