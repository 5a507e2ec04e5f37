"""JSON that is encrypted under a subkey of a backup's data key, as base64 text, or marked by it.

12 random bytes of nonce and the canonical JSON under AES-256-GCM, without associated data: what
it belongs to is said by the MAC around it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ulasis_backup.errors import AuthenticationFailed
from ulasis_backup.repository import canonical
from ulasis_backup.repository.canonical import Json
from ulasis_backup.streams.encryption import CHANGED_HINT
from ulasis_backup.streams.keys import DataKey

NONCE_BYTES = 12


def mark(body: Json, data_key: DataKey | None, role: str) -> Json:
    """Return what shows whether *body* was changed: a MAC for *role*, a digest without key."""
    data = canonical.to_bytes(body)
    if data_key is None:
        return {"sha256": hashlib.sha256(data).hexdigest()}
    return {"mac": data_key.mac(role, data)}


def seal(value: Json, data_key: DataKey, role: str) -> str:
    """Return *value* encrypted for *role*."""
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(data_key.subkey(role))
    sealed = cipher.encrypt(nonce, canonical.to_bytes(value), None)
    return base64.b64encode(nonce + sealed).decode()


def unseal(text: object, data_key: DataKey, role: str, *, name: str) -> Json:
    """Return what ``seal`` made *text* of; *name* is for messages. Raises AuthenticationFailed."""
    try:
        raw = base64.b64decode(text if isinstance(text, str) else b"", validate=True)
        cipher = AESGCM(data_key.subkey(role))
        plain = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None)
    except (InvalidTag, binascii.Error, ValueError, TypeError):
        message = f"{name} is not authentic: it was changed"
        raise AuthenticationFailed(message, hint=CHANGED_HINT) from None
    return canonical.from_bytes(plain, name=name)
