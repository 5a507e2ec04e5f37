"""Ed25519 keys that sign: the file with the private one, fingerprints, signatures.

The file is PEM (PKCS 8, not encrypted), readable by its owner alone. A fingerprint is the first 32
hexadecimal digits of the SHA-256 of the 32 bytes of the public key.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ulasis_backup.errors import SettingsError
from ulasis_backup.statefile import replace_file, sync_folder

FINGERPRINT_DIGITS = 32
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs."""

    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """Return the 32 bytes of the public key."""
        return self.private.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """Return what names the key."""
        return fingerprint_of(self.public)

    def sign(self, data: bytes) -> str:
        """Return the signature over *data*, in hexadecimal."""
        return self.private.sign(data).hex()


def fingerprint_of(public: bytes) -> str:
    """Return what names the key with these *public* bytes."""
    return hashlib.sha256(public).hexdigest()[:FINGERPRINT_DIGITS]


def is_signed(data: bytes, signature: str, public: bytes) -> bool:
    """Tell whether *signature* (hexadecimal, as ``sign`` writes it) over *data* is right."""
    try:
        raw = bytes.fromhex(signature)
        # One signature, one text: capital digits and spaces would be read as well.
        if raw.hex() != signature:
            return False
        Ed25519PublicKey.from_public_bytes(public).verify(raw, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def signer_in(path: Path) -> Signer:
    """Return the key in *path*, which is made unless it is there.

    Two that make it at once agree on one. Raises SettingsError for what is no such key, OSError.
    """
    try:
        return read_signer(path)
    except FileNotFoundError:
        _publish(_new_pem(), path)
    return read_signer(path)


def read_signer(path: Path) -> Signer:
    """Return the key in *path*. Raises SettingsError for what is no such key, OSError."""
    data = path.read_bytes()
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        message = f"{path} holds no Ed25519 key"
        hint = "put the key back from a copy; or move the file away, and a new key is made"
        raise SettingsError(message, hint=hint)
    return Signer(private)


def replace_signer(path: Path) -> Signer:
    """Make a new key as *path*; the old one stays beside it, see ``former_path``.

    Raises SettingsError, OSError.
    """
    old = read_signer(path)
    aside = former_path(path, old.fingerprint)
    if not aside.exists():
        os.link(path, aside)
    replace_file(path, _new_pem().decode())
    return read_signer(path)


def former_path(path: Path, fingerprint: str) -> Path:
    """Return where a key that stood at *path* is kept when another takes its place."""
    return path.with_name(f"{path.name}-{fingerprint}")


def _new_pem() -> bytes:
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _publish(data: bytes, path: Path) -> None:
    """Give *data* the name *path* unless it is taken; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.new")
    _write_new(data, beside)
    try:
        os.link(beside, path)
    except FileExistsError:
        # Another run was quicker: its key counts.
        return
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _write_new(data: bytes, path: Path) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
