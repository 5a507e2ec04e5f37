"""Encryption of payloads, and the proof that nobody changed them.

A payload is a header of 256 bytes and a body. The header: magic ``ULBK``, format version (1),
cipher (1: ``aes-256-cbc``, 2: ``aes-256-gcm``), length of the backup id (2 bytes, big endian),
IV (16 bytes, zero for GCM), the backup id, zeros. It is authenticated with the body.

``aes-256-cbc``: AES-256-CBC with PKCS#7 padding, then HMAC-SHA-256 over header and ciphertext
(encrypt-then-MAC). ``aes-256-gcm``: a Cobblestone-256 stream (AES-256-GCM in chunks of 16 KiB,
by the ``cryptography`` package) whose context is the header.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from enum import StrEnum

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from ulasis_backup.errors import AuthenticationFailed
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks, Stage, drain

MAGIC = b"ULBK"
VERSION = 1
HEADER_BYTES = 256
IV_BYTES = 16
ID_OFFSET = 24
TAG_BYTES = 32
BLOCK_BYTES = 16


class Cipher(StrEnum):
    """The ciphers, by their names in settings and manifests."""

    AES_256_CBC = "aes-256-cbc"
    AES_256_GCM = "aes-256-gcm"


NUMBERS = {Cipher.AES_256_CBC: 1, Cipher.AES_256_GCM: 2}
CHANGED_HINT = "do not restore it; use another backup, and find out who changed this one"


def encrypt(cipher: Cipher, key: DataKey) -> Stage:
    """Return the stage that encrypts a payload with *cipher*."""
    if cipher is Cipher.AES_256_CBC:
        return lambda chunks: _encrypt_cbc(chunks, key)
    return lambda chunks: _encrypt_gcm(chunks, key)


def decrypt(cipher: Cipher, key: DataKey) -> Stage:
    """Return the stage that decrypts; it raises AuthenticationFailed for any changed byte.

    For CBC that is known only at the end: run ``authenticate`` over the payload first and trust
    nothing of a stream that has not ended.
    """
    if cipher is Cipher.AES_256_CBC:
        return lambda chunks: _decrypt_cbc(chunks, key)
    return lambda chunks: _decrypt_gcm(chunks, key)


def authenticate(cipher: Cipher, key: DataKey, chunks: Chunks) -> None:
    """Read a whole payload and raise AuthenticationFailed unless every byte is authentic."""
    if cipher is Cipher.AES_256_CBC:
        drain(_authentic_cbc(chunks, key))
    else:
        drain(_decrypt_gcm(chunks, key))


def make_header(cipher: Cipher, backup_id: str, iv: bytes) -> bytes:
    """Return the 256 bytes that begin a payload."""
    name = backup_id.encode()
    start = MAGIC + bytes([VERSION, NUMBERS[cipher]]) + len(name).to_bytes(2, "big") + iv
    if len(start) + len(name) > HEADER_BYTES:
        msg = f"backup id of {len(name)} bytes is too long"
        raise ValueError(msg)
    return (start + name).ljust(HEADER_BYTES, b"\0")


def read_header(header: bytes) -> tuple[Cipher, str]:
    """Return cipher and backup id of a payload's header, before anything is authenticated."""
    if len(header) < HEADER_BYTES or header[:4] != MAGIC:
        message = "this is not an encrypted payload of ours"
        raise AuthenticationFailed(message, hint=CHANGED_HINT)
    ciphers = [cipher for cipher, number in NUMBERS.items() if number == header[5]]
    length = int.from_bytes(header[6:8], "big")
    name = header[ID_OFFSET : ID_OFFSET + length]
    try:
        backup_id = name.decode()
    except UnicodeDecodeError:
        backup_id = ""
    whole = bool(ciphers) and header[4] == VERSION and bool(backup_id)
    if not whole or make_header(ciphers[0], backup_id, header[8:ID_OFFSET]) != header:
        message = "the header of the encrypted payload is damaged"
        raise AuthenticationFailed(message, hint=CHANGED_HINT)
    return ciphers[0], backup_id


def _expect_header(header: bytes, cipher: Cipher, key: DataKey) -> None:
    if read_header(header) != (cipher, key.backup_id):
        message = f"the payload does not belong to {key.backup_id}"
        raise AuthenticationFailed(message, hint=CHANGED_HINT)


def _encrypt_cbc(chunks: Chunks, key: DataKey) -> Chunks:
    iv = os.urandom(IV_BYTES)
    header = make_header(Cipher.AES_256_CBC, key.backup_id, iv)
    encryptor = BlockCipher(AES256(key.subkey("payload/encrypt")), CBC(iv)).encryptor()
    length = 0
    tag = hmac.new(key.subkey("payload/authenticate"), header, hashlib.sha256)
    yield header
    for chunk in chunks:
        length += len(chunk)
        out = encryptor.update(chunk)
        tag.update(out)
        yield out
    # PKCS#7 by hand: the library's padder would copy every chunk.
    missing = BLOCK_BYTES - length % BLOCK_BYTES
    out = encryptor.update(bytes([missing]) * missing) + encryptor.finalize()
    tag.update(out)
    yield out + tag.digest()


def _authentic_cbc(chunks: Chunks, key: DataKey) -> Chunks:
    """Pass on header and ciphertext without the tag; raise at the end if the tag is wrong."""
    tag = hmac.new(key.subkey("payload/authenticate"), digestmod=hashlib.sha256)
    held = b""
    first = True
    for chunk in chunks:
        held += chunk
        if first and len(held) >= HEADER_BYTES:
            _expect_header(held[:HEADER_BYTES], Cipher.AES_256_CBC, key)
            first = False
        if not first and len(held) > TAG_BYTES:
            tag.update(memoryview(held)[:-TAG_BYTES])
            yield held[:-TAG_BYTES]
            held = held[-TAG_BYTES:]
    if first or not hmac.compare_digest(tag.digest(), held):
        message = f"the payload of {key.backup_id} is not authentic: changed or cut short"
        raise AuthenticationFailed(message, hint=CHANGED_HINT)


def _decrypt_cbc(chunks: Chunks, key: DataKey) -> Chunks:
    authentic = _authentic_cbc(chunks, key)
    head = b""
    while len(head) < HEADER_BYTES:
        head += next(authentic)
    iv = head[8:ID_OFFSET]
    decryptor = BlockCipher(AES256(key.subkey("payload/encrypt")), CBC(iv)).decryptor()
    unpadder = PKCS7(8 * BLOCK_BYTES).unpadder()
    yield unpadder.update(decryptor.update(head[HEADER_BYTES:]))
    for chunk in authentic:
        yield unpadder.update(decryptor.update(chunk))
    try:
        yield unpadder.update(decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        message = f"the payload of {key.backup_id} is malformed"
        raise AuthenticationFailed(message, hint=CHANGED_HINT) from None


def _encrypt_gcm(chunks: Chunks, key: DataKey) -> Chunks:
    header = make_header(Cipher.AES_256_GCM, key.backup_id, bytes(IV_BYTES))
    encryptor = Cobblestone256Encryptor(key.subkey("payload/gcm"), header)
    yield header
    for chunk in chunks:
        yield encryptor.update(chunk)
    yield encryptor.finalize()


def _decrypt_gcm(chunks: Chunks, key: DataKey) -> Chunks:
    held = b""
    decryptor = None
    try:
        for chunk in chunks:
            if decryptor is None:
                held += chunk
                if len(held) < HEADER_BYTES:
                    continue
                header = held[:HEADER_BYTES]
                _expect_header(header, Cipher.AES_256_GCM, key)
                decryptor = Cobblestone256Decryptor(key.subkey("payload/gcm"), header)
                yield decryptor.update(held[HEADER_BYTES:])
            else:
                yield decryptor.update(chunk)
        if decryptor is not None:
            yield decryptor.finalize()
            return
    except (InvalidTag, ValueError):
        pass
    message = f"the payload of {key.backup_id} is not authentic: changed or cut short"
    raise AuthenticationFailed(message, hint=CHANGED_HINT)
