"""One object as a file: its name, its encryption, what it says about itself.

An object holds plain bytes whole or as the difference to another object, its base. Its name is
``<fingerprint>-<8 random hexadecimal digits>`` and is never used again, whatever becomes of the
object. The file: magic ``ULBO``, version, flags (1: encrypted); then, encrypted, a nonce of 12
bytes and AES-256-GCM of the content with header and name as associated data; unencrypted, the
CRC-32 of header, name and content (4 bytes, little endian), and the content. The content:
encoding (1 byte), number of plain bytes (8 bytes, little endian), length of the base's name
(1 byte) and the name, the encoded bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import zlib
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ulasis_backup.errors import AuthenticationFailed, IntegrityError, UnknownFormat
from ulasis_backup.streams import delta
from ulasis_backup.streams.keys import KEY_BYTES, derive

MAGIC = b"ULBO"
VERSION = 1
ENCRYPTED = 1
HEADER_BYTES = 6
NONCE_BYTES = 12
CHECK_BYTES = 4
MOST_PLAIN = 2 << 30
"""Largest object: a range holds at most its target and one row, a row at most 1 GiB."""

MOST_STORED = MOST_PLAIN + (1 << 20)
HINT = "use another backup, or a copy of this one; the next backup stores what it needs anew"
NAME = re.compile(r"[0-9a-f]{64}-[0-9a-f]{8}")
_PATH = re.compile(r"objects/(?P<epoch>[0-9a-f]{16})/(?P<folder>[0-9a-f]{2})/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What a group of objects shares: a random id (16 hexadecimal digits), and a key or none."""

    id: str
    key: bytes | None = field(repr=False)

    def subkey(self, role: str) -> bytes:
        """Return the subkey for *role*; only an epoch with a key has any."""
        return derive(self.key or b"", f"ulasis-backup/1/{self.id}/{role}")


class Encoding(IntEnum):
    """How an object holds its plain bytes."""

    RAW = 0
    ZSTD = 1
    DELTA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an object says about itself, and its encoded bytes. ``size`` counts plain bytes."""

    encoding: Encoding
    size: int
    base: str
    data: bytes | memoryview = field(repr=False)


def new_epoch(*, key: bool) -> Epoch:
    """Return a fresh epoch, with a random *key* or none."""
    return Epoch(id=os.urandom(8).hex(), key=os.urandom(KEY_BYTES) if key else None)


def fingerprint(epoch: Epoch, data: bytes) -> str:
    """Return the digest of plain bytes that names them: keyed where the epoch has a key."""
    if epoch.key is None:
        return hashlib.sha256(data).hexdigest()
    # A function of ours instead of hashlib's: else hmac holds the interpreter lock all the while.
    digest = hmac.new(epoch.subkey("fingerprints"), digestmod=_sha256)
    digest.update(data)
    return digest.hexdigest()


def _sha256(data: bytes = b"") -> hashlib._Hash:
    return hashlib.sha256(data)


def new_name(print_: str) -> str:
    """Return a name for an object with the fingerprint *print_* that nobody has used."""
    return f"{print_}-{os.urandom(4).hex()}"


def print_of(name: str) -> str:
    """Return the fingerprint in an object's name."""
    return name[:64]


def folder_of(epoch_id: str, name: str) -> str:
    """Return the folder in which the object *name* and all others of its fingerprint lie."""
    return f"objects/{epoch_id}/{name[:2]}"


def path_of(epoch_id: str, name: str) -> str:
    """Return the path of object *name* in the storage."""
    return f"{folder_of(epoch_id, name)}/{name}"


def folders(epoch_id: str) -> tuple[str, ...]:
    """Return all folders in which objects of an epoch can lie."""
    return tuple(f"objects/{epoch_id}/{number:02x}" for number in range(256))


def name_in(path: str) -> str | None:
    """Return the object's name if *path* is the path of an object, and of nothing else."""
    match = _PATH.fullmatch(path)
    if match is None or not NAME.fullmatch(match["name"]):
        return None
    return match["name"] if match["name"].startswith(match["folder"]) else None


def encode(data: bytes, delta_frame: bytes | None = None, base: str = "") -> Content:
    """Return the content that holds *data*: *delta_frame* against *base*, or whole."""
    if delta_frame is not None:
        return Content(encoding=Encoding.DELTA, size=len(data), base=base, data=delta_frame)
    frame = delta.compress(data)
    if len(frame) < len(data):
        return Content(encoding=Encoding.ZSTD, size=len(data), base="", data=frame)
    return Content(encoding=Encoding.RAW, size=len(data), base="", data=data)


def decode(epoch: Epoch, name: str, content: Content, base: bytes | None) -> bytes:
    """Return the plain bytes; raises IntegrityError unless they are those that *name* names."""
    if content.encoding is Encoding.RAW:
        plain = bytes(content.data)
    else:
        plain = delta.decompress(bytes(content.data), content.size, base)
    if len(plain) != content.size or not hmac.compare_digest(
        fingerprint(epoch, plain), print_of(name)
    ):
        raise IntegrityError(f"object {name} holds other bytes than its name says", hint=HINT)
    return plain


def seal(epoch: Epoch, name: str, content: Content) -> bytes:
    """Return the bytes of the file of object *name*."""
    header = MAGIC + bytes([VERSION, 0 if epoch.key is None else ENCRYPTED])
    base = content.base.encode()
    start = bytes([content.encoding]) + content.size.to_bytes(8, "little") + bytes([len(base)])
    body = b"".join((start, base, content.data))
    if epoch.key is None:
        return b"".join((header, _check(header, name, body), body))
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(epoch.subkey("objects"))
    return b"".join((header, nonce, cipher.encrypt(nonce, body, header + name.encode())))


def unseal(epoch: Epoch, name: str, file: bytes) -> Content:
    """Return the content of the file of object *name*, authentic if the epoch has a key.

    Raises AuthenticationFailed, IntegrityError (damaged) and UnknownFormat.
    """
    header = file[:HEADER_BYTES]
    if len(header) < HEADER_BYTES or header[:4] != MAGIC:
        raise IntegrityError(f"object {name} is damaged: it does not begin as one", hint=HINT)
    flags = 0 if epoch.key is None else ENCRYPTED
    # The header is not yet authentic, so that neither a version nor a flag in it is believed.
    body = _body(epoch, name, file)
    if header[4] != VERSION:
        message = f"object {name} was written by a newer version"
        raise UnknownFormat(message, hint="use a newer version of ulasis-backup")
    if header[5] != flags:
        raise IntegrityError(f"object {name} is damaged: unknown flags", hint=HINT)
    return _content(name, body)


def _body(epoch: Epoch, name: str, file: bytes) -> memoryview:
    header, rest = file[:HEADER_BYTES], memoryview(file)[HEADER_BYTES:]
    if epoch.key is None:
        body = rest[CHECK_BYTES:]
        if bytes(rest[:CHECK_BYTES]) != _check(header, name, body):
            message = f"object {name} is damaged: its checksum is wrong"
            raise IntegrityError(message, hint=HINT)
        return body
    cipher = AESGCM(epoch.subkey("objects"))
    try:
        nonce, sealed = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        return memoryview(cipher.decrypt(nonce, sealed, header + name.encode()))
    except (InvalidTag, ValueError):
        message = f"object {name} is not authentic: changed, cut short, or another one"
        raise AuthenticationFailed(message, hint=HINT) from None


def _content(name: str, body: memoryview) -> Content:
    start = 10
    known = len(body) >= start and body[0] in set(Encoding)
    end = start + body[start - 1] if known else 0
    base = bytes(body[start:end]).decode("ascii", "replace")
    size = int.from_bytes(body[1:9], "little") if known else 0
    is_delta = known and body[0] == Encoding.DELTA
    good = known and size <= MOST_PLAIN and bool(base) == is_delta
    if not good or (is_delta and not NAME.fullmatch(base)):
        raise IntegrityError(f"object {name} is malformed", hint=HINT)
    return Content(encoding=Encoding(body[0]), size=size, base=base, data=body[end:])


def _check(header: bytes, name: str, body: bytes | memoryview) -> bytes:
    return zlib.crc32(body, zlib.crc32(header + name.encode())).to_bytes(CHECK_BYTES, "little")
