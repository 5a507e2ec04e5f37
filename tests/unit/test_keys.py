"""Keys: parsed strictly, wrapped and derived by the published algorithms."""

from __future__ import annotations

import base64
import os

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.errors import AuthenticationFailed, SettingsError, WrongKey
from ulasis_backup.model import Secret
from ulasis_backup.streams.keys import (
    DataKey,
    WrappedKey,
    derive,
    fingerprint,
    new_data_key,
    parse_key,
    recipient,
    unwrap,
    wrap,
)

ID = "ulasis-backup-2026-11-22T020000Z-4f1c"
KEYS = st.binary(min_size=32, max_size=32)


@given(key=KEYS)
def test_a_key_may_be_written_in_hexadecimal_or_base64(key: bytes) -> None:
    written = (key.hex(), key.hex().upper(), base64.b64encode(key).decode(), f" {key.hex()}\n")
    assert {parse_key(Secret(text)) for text in written} == {key}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "your-256-bit-key",
        "secret passphrase",
        "00" * 31,
        "00" * 33,
        "0g" * 32,
        "é" * 64,
        "0x" + "00" * 31,
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "A" * 44,
    ],
)
def test_anything_but_256_bits_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_key(Secret(text))
    assert "keys generate" in refused.value.hint
    if text:
        assert text not in str(refused.value)


def test_a_wrapped_key_is_aes_key_wrap_of_rfc_3394() -> None:
    # Section 4.6: 256 bits of key data with a 256-bit key-encryption key.
    outer = bytes(range(32))
    data = bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
    expected = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    assert wrap(DataKey(ID, data), outer).wrapped == expected
    listed = (WrappedKey(recipient=recipient(outer), wrapped=expected),)
    assert unwrap(ID, listed, outer) == DataKey(ID, data)


def test_the_library_derives_as_rfc_5869_says() -> None:
    # Test case 3: SHA-256, no salt, no info; ours is the same with 32 bytes and an info.
    expected = (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
    assert HKDF(SHA256(), 42, salt=None, info=b"").derive(b"\x0b" * 22).hex() == expected
    assert derive(b"\x0b" * 22, "").hex() == expected[:64]


@given(key=KEYS, secret=KEYS)
def test_a_data_key_that_was_wrapped_comes_back(key: bytes, secret: bytes) -> None:
    data_key = DataKey(ID, secret)
    assert unwrap(ID, (wrap(data_key, key),), key) == data_key


def test_a_data_key_for_several_recipients_opens_for_each() -> None:
    first, second = os.urandom(32), os.urandom(32)
    data_key = new_data_key(ID)
    listed = (wrap(data_key, first), wrap(data_key, second))
    assert unwrap(ID, listed, first) == unwrap(ID, listed, second) == data_key


def test_another_key_is_the_wrong_key() -> None:
    ours, theirs = os.urandom(32), os.urandom(32)
    listed = (wrap(new_data_key(ID), theirs),)
    with pytest.raises(WrongKey) as refused:
        unwrap(ID, listed, ours)
    assert recipient(theirs) in refused.value.message
    assert recipient(ours) in refused.value.message
    for key in (ours, theirs):
        assert key.hex() not in refused.value.message


@given(index=st.integers(0, 39), change=st.integers(1, 255))
def test_a_changed_wrapped_key_is_not_authentic(index: int, change: int) -> None:
    key = bytes(32)
    entry = wrap(DataKey(ID, bytes(32)), key)
    changed = bytearray.fromhex(entry.wrapped)
    changed[index] ^= change
    listed = (WrappedKey(recipient=entry.recipient, wrapped=changed.hex()),)
    with pytest.raises(AuthenticationFailed):
        unwrap(ID, listed, key)


@pytest.mark.parametrize("wrapped", ["", "zz", "00", "00" * 24, "00" * 48])
def test_a_malformed_wrapped_key_is_not_authentic(wrapped: str) -> None:
    key = bytes(32)
    with pytest.raises(AuthenticationFailed):
        unwrap(ID, (WrappedKey(recipient=recipient(key), wrapped=wrapped),), key)


def test_no_wrapped_keys_at_all_is_the_wrong_key() -> None:
    with pytest.raises(WrongKey, match="nobody"):
        unwrap(ID, (), bytes(32))


def test_subkeys_differ_by_role_and_by_backup() -> None:
    ours = DataKey(ID, bytes(32))
    theirs = DataKey("other-backup-2026-11-22T020000Z-4f1c", bytes(32))
    roles = ("payload/encrypt", "payload/authenticate", "payload/gcm", "manifest", "keys")
    assert len({key.subkey(role) for key in (ours, theirs) for role in roles}) == 2 * len(roles)


def test_a_recipient_tells_keys_apart_and_says_nothing_about_them() -> None:
    key = os.urandom(32)
    assert recipient(key) != recipient(os.urandom(32))
    assert recipient(key) == recipient(key)
    assert recipient(key).removeprefix("aes-256:") not in key.hex()


def test_the_fingerprint_of_an_encrypted_backup_cannot_be_guessed() -> None:
    found = [fingerprint(key) for key in (None, new_data_key(ID), new_data_key(ID))]
    for digest in found:
        digest.update(b"yes")
    assert len({digest.hexdigest() for digest in found}) == 3


def test_a_data_key_does_not_show_its_secret() -> None:
    assert "secret" not in repr(DataKey(ID, b"secret" * 5 + b"xx"))
    assert "hidden" not in f"{Secret('hidden')} {Secret('hidden')!r}"
