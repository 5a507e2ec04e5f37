"""Keys: the user's key, a backup's random data key, and the subkeys that come from it.

Formats: AES key wrap is RFC 3394, HKDF is RFC 5869 with SHA-256 and no salt. The ``info`` of a
subkey is ``ulasis-backup/1/<backup id>/<role>``, so that nothing made for one backup or role
fits another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from ulasis_backup.errors import AuthenticationFailed, SettingsError, WrongKey
from ulasis_backup.model import Secret

KEY_BYTES = 32
KEY_ID_BYTES = 8


class Digest(Protocol):
    """What hashlib and hmac objects have in common."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key wrapped for one recipient (``aes-256:<key id>``), in hexadecimal."""

    recipient: str
    wrapped: str


@dataclass(frozen=True, slots=True)
class DataKey:
    """The data key of one backup; everything else is derived from it."""

    backup_id: str
    secret: bytes = field(repr=False)

    def subkey(self, role: str) -> bytes:
        """Return the 32-byte subkey for *role*."""
        return derive(self.secret, f"ulasis-backup/1/{self.backup_id}/{role}")

    def mac(self, role: str, data: bytes) -> str:
        """Return the HMAC-SHA-256 of *data* under the subkey for *role*, in hexadecimal."""
        return hmac.digest(self.subkey(role), data, hashlib.sha256).hex()


def new_data_key(backup_id: str) -> DataKey:
    """Make a random data key for *backup_id*."""
    return DataKey(backup_id, os.urandom(KEY_BYTES))


def derive(secret: bytes, info: str) -> bytes:
    """Return 32 bytes derived from *secret* by HKDF-SHA-256 without salt."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info.encode()).derive(secret)


def parse_key(text: Secret) -> bytes:
    """Return the 32 bytes of a user's key: 64 hexadecimal or 44 base64 characters."""
    value = text.reveal().strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", value):
        return bytes.fromhex(value)
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(value) == 44 and len(key) == KEY_BYTES:  # noqa: PLR2004 (base64 of 32 bytes)
        return key
    message = (
        "BACKUP_ENCRYPTION_KEY is not a 256-bit key: it must be 64 hexadecimal or 44 base64 "
        f"characters, and has {len(value)} characters"
    )
    raise SettingsError(message, hint="`ulasis-backup keys generate` makes a good one")


def recipient(key: bytes) -> str:
    """Return the name under which a key wrapped for the user's *key* is listed.

    The name tells keys apart and says nothing about the key.
    """
    return f"aes-256:{derive(key, 'ulasis-backup/1/key-id')[:KEY_ID_BYTES].hex()}"


def wrap(data_key: DataKey, key: bytes) -> WrappedKey:
    """Wrap *data_key* for the user's *key*."""
    wrapped = aes_key_wrap(key, data_key.secret).hex()
    return WrappedKey(recipient=recipient(key), wrapped=wrapped)


def unwrap(backup_id: str, wrapped: tuple[WrappedKey, ...], key: bytes) -> DataKey:
    """Return the data key of *backup_id*; raises WrongKey or AuthenticationFailed."""
    ours = recipient(key)
    for entry in wrapped:
        if entry.recipient == ours:
            try:
                return DataKey(backup_id, aes_key_unwrap(key, bytes.fromhex(entry.wrapped)))
            except (InvalidUnwrap, ValueError):
                message = f"the wrapped key of {backup_id} was changed"
                raise AuthenticationFailed(
                    message, hint="compare with keys/ in the repository, or use a copy"
                ) from None
    made_for = ", ".join(entry.recipient for entry in wrapped) or "nobody"
    message = f"{backup_id} was made with another key ({made_for}; the configured one is {ours})"
    raise WrongKey(message, hint="set BACKUP_ENCRYPTION_KEY to the key that was in use then")


def fingerprint(data_key: DataKey | None) -> Digest:
    """Return a fresh digest of plain bytes: keyed when there is a key, else SHA-256.

    A bare digest of a small table could be guessed, so encrypted backups never hold one.
    """
    if data_key is None:
        return hashlib.sha256()
    return hmac.new(data_key.subkey("fingerprints"), digestmod=hashlib.sha256)
