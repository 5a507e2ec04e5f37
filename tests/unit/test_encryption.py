"""Encryption: any data comes back; any change, cut, swap or foreign key is refused."""

from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.chunks import cut
from ulasis_backup.errors import AuthenticationFailed
from ulasis_backup.streams.compression import Compression, compress, decompress
from ulasis_backup.streams.encryption import (
    HEADER_BYTES,
    ID_OFFSET,
    TAG_BYTES,
    Cipher,
    authenticate,
    decrypt,
    encrypt,
    make_header,
    read_header,
)
from ulasis_backup.streams.keys import DataKey, new_data_key
from ulasis_backup.streams.pipeline import flow

ID = "ulasis-backup-2026-11-22T020000Z-4f1c"
KEY = DataKey(ID, bytes(range(32)))
SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=6)


def sealed(data: bytes, cipher: Cipher, key: DataKey = KEY) -> bytes:
    return b"".join(encrypt(cipher, key)(iter([data])))


def opened(data: bytes, cipher: Cipher, key: DataKey = KEY) -> bytes:
    return b"".join(decrypt(cipher, key)(iter([data])))


def refused(data: bytes, cipher: Cipher, key: DataKey = KEY) -> None:
    with pytest.raises(AuthenticationFailed):
        authenticate(cipher, key, iter([data]))
    with pytest.raises(AuthenticationFailed):
        opened(data, cipher, key)


@pytest.mark.parametrize("cipher", Cipher)
@given(data=st.binary(max_size=3000), written=SIZES, read=SIZES)
def test_any_data_in_any_chunks_comes_back(
    cipher: Cipher, data: bytes, written: list[int], read: list[int]
) -> None:
    stored = b"".join(encrypt(cipher, KEY)(cut(data, written)))
    authenticate(cipher, KEY, cut(stored, read))
    assert b"".join(decrypt(cipher, KEY)(cut(stored, read))) == data


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 16 << 10, (16 << 10) + 1, (1 << 20) - 1])
@pytest.mark.parametrize("cipher", Cipher)
def test_sizes_around_block_bounds_come_back(cipher: Cipher, size: int) -> None:
    data = bytes(itertools.islice(itertools.cycle(range(251)), size))
    assert opened(sealed(data, cipher), cipher) == data


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("cipher", Cipher)
@given(data=st.binary(max_size=2000), sizes=SIZES)
def test_every_pair_of_compression_and_cipher_gives_the_data_back(
    compression: Compression, cipher: Cipher, data: bytes, sizes: list[int]
) -> None:
    stages = (compress(compression, level=1, threads=1), encrypt(cipher, KEY))
    stored = b"".join(flow(cut(data, sizes), *stages))
    back = flow(cut(stored, sizes), decrypt(cipher, KEY), decompress(compression))
    assert b"".join(back) == data


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("cipher", Cipher)
def test_a_mebibyte_of_zeros_is_compressed_before_it_is_encrypted(
    compression: Compression, cipher: Cipher
) -> None:
    stages = (compress(compression, level=6, threads=2), encrypt(cipher, KEY))
    assert len(b"".join(flow(iter([bytes(1 << 20)]), *stages))) < 10 << 10


@pytest.mark.parametrize("cipher", Cipher)
def test_every_flipped_byte_is_refused(cipher: Cipher) -> None:
    stored = sealed(b"rows and rows of a table", cipher)
    for index in range(len(stored)):
        changed = bytearray(stored)
        changed[index] ^= 1 + index % 255
        refused(bytes(changed), cipher)


@pytest.mark.parametrize("cipher", Cipher)
def test_every_cut_is_refused(cipher: Cipher) -> None:
    stored = sealed(b"rows and rows of a table", cipher)
    for length in range(len(stored)):
        refused(stored[:length], cipher)


@pytest.mark.parametrize("cipher", Cipher)
def test_cuts_at_the_bounds_of_inner_chunks_are_refused(cipher: Cipher) -> None:
    stored = sealed(bytes(100_000), cipher)
    for length in range(HEADER_BYTES, len(stored), 16 << 10):
        refused(stored[:length], cipher)
        refused(stored[: length + 16], cipher)


@pytest.mark.parametrize("cipher", Cipher)
@pytest.mark.parametrize("tail", [b"\0", bytes(16), bytes(32), b"more"])
def test_bytes_behind_the_end_are_refused(cipher: Cipher, tail: bytes) -> None:
    refused(sealed(b"rows", cipher) + tail, cipher)


@pytest.mark.parametrize("cipher", Cipher)
def test_two_inner_chunks_that_changed_places_are_refused(cipher: Cipher) -> None:
    stored = sealed(bytes(80_000), cipher)
    size = 16 << 10
    begin, second, third = HEADER_BYTES, HEADER_BYTES + size, HEADER_BYTES + 2 * size
    swapped = stored[:begin] + stored[second:third] + stored[begin:second] + stored[third:]
    refused(swapped, cipher)


@pytest.mark.parametrize("cipher", Cipher)
def test_another_data_key_opens_nothing(cipher: Cipher) -> None:
    refused(sealed(b"rows", cipher), cipher, new_data_key(ID))


@pytest.mark.parametrize("cipher", Cipher)
def test_the_payload_of_another_backup_is_refused_even_with_the_same_secret(
    cipher: Cipher,
) -> None:
    other = DataKey("ulasis-backup-2026-11-23T020000Z-4f1c", KEY.secret)
    refused(sealed(b"rows", cipher, other), cipher)
    # Neither does a header of ours before the other's ciphertext help.
    stored = sealed(b"rows", cipher, other)
    refused(make_header(cipher, ID, stored[8:24]) + stored[HEADER_BYTES:], cipher)


def test_a_payload_of_one_cipher_is_refused_as_the_other() -> None:
    for ours, theirs in itertools.permutations(Cipher):
        refused(sealed(b"rows", ours), theirs)


@pytest.mark.parametrize("cipher", Cipher)
def test_two_encryptions_of_one_text_share_nothing(cipher: Cipher) -> None:
    first, second = sealed(bytes(4096), cipher), sealed(bytes(4096), cipher)
    assert first[HEADER_BYTES : HEADER_BYTES + 64] != second[HEADER_BYTES : HEADER_BYTES + 64]


@pytest.mark.parametrize("cipher", Cipher)
def test_the_header_names_cipher_and_backup(cipher: Cipher) -> None:
    assert read_header(sealed(b"", cipher)[:HEADER_BYTES]) == (cipher, ID)


@pytest.mark.parametrize("size", [0, 3, 4, 100, HEADER_BYTES - 1])
def test_a_short_header_is_refused(size: int) -> None:
    with pytest.raises(AuthenticationFailed):
        read_header(sealed(b"", Cipher.AES_256_CBC)[:size])


@given(header=st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_a_header_is_read_exactly_or_refused(header: bytes) -> None:
    for start in (b"", b"ULBK", b"ULBK\x01\x01", b"ULBK\x01\x01\x00\x08"):
        made_up = (start + header)[:HEADER_BYTES]
        try:
            cipher, backup_id = read_header(made_up)
        except AuthenticationFailed:
            continue
        assert make_header(cipher, backup_id, made_up[8:ID_OFFSET]) == made_up


def test_an_id_that_does_not_fit_the_header_is_refused_when_writing() -> None:
    with pytest.raises(ValueError, match="too long"):
        make_header(Cipher.AES_256_CBC, "x" * (HEADER_BYTES - ID_OFFSET + 1), bytes(16))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_decrypts_and_authenticates_cbc() -> None:
    stored = sealed(b"rows of a table\n" * 1000, Cipher.AES_256_CBC)
    body, tag = stored[:-TAG_BYTES], stored[-TAG_BYTES:]
    mac = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-binary", "-macopt",
         f"hexkey:{KEY.subkey('payload/authenticate').hex()}"],
        input=body, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert mac == tag
    plain = subprocess.run(
        ["openssl", "enc", "-d", "-aes-256-cbc", "-K", KEY.subkey("payload/encrypt").hex(),
         "-iv", stored[8:24].hex()],
        input=body[HEADER_BYTES:], capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert plain == b"rows of a table\n" * 1000
