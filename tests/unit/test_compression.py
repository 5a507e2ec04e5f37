"""Compression: any data comes back, other tools read it, damage is noticed, memory is bounded."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from support.chunks import cut
from ulasis_backup.errors import IntegrityError
from ulasis_backup.streams.compression import MOST, Compression, compress, decompress
from ulasis_backup.streams.pipeline import CHUNK, flow

LEVELS = range(1, 10)
REAL = (Compression.GZIP, Compression.ZSTD)
TEXT = b"(1,'a guest''s review','2026-11-22 02:00:00',NULL),\n" * 60_000


def packed(data: bytes, compression: Compression, *, level: int = 6, threads: int = 2) -> bytes:
    return b"".join(compress(compression, level=level, threads=threads)(iter([data])))


def unpacked(data: bytes, compression: Compression, sizes: list[int] | None = None) -> bytes:
    return b"".join(decompress(compression)(cut(data, sizes or [CHUNK])))


@pytest.mark.parametrize("compression", Compression)
@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 500), min_size=1, max_size=8))
def test_any_data_in_any_chunks_comes_back(
    compression: Compression, data: bytes, sizes: list[int]
) -> None:
    stored = b"".join(compress(compression, level=1, threads=2)(cut(data, sizes)))
    assert unpacked(stored, compression, sizes) == data


@pytest.mark.parametrize("compression", REAL)
@pytest.mark.parametrize("level", LEVELS)
def test_data_of_several_blocks_comes_back_at_every_level(
    compression: Compression, level: int
) -> None:
    assert unpacked(packed(TEXT, compression, level=level), compression) == TEXT


def test_plain_gzip_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql.gz"
    path.write_bytes(packed(TEXT, Compression.GZIP))
    subprocess.run(["gzip", "-d", path], check=True)
    assert (tmp_path / "dump.sql").read_bytes() == TEXT


def test_one_call_of_a_zstd_library_reads_what_we_write() -> None:
    assert zstd.decompress(packed(TEXT, Compression.ZSTD)) == TEXT


def test_we_read_what_other_programs_write() -> None:
    assert unpacked(gzip.compress(TEXT), Compression.GZIP) == TEXT
    assert unpacked(zstd.compress(TEXT), Compression.ZSTD) == TEXT


@pytest.mark.parametrize("compression", REAL)
def test_nothing_at_all_is_still_a_whole_file(compression: Compression) -> None:
    stored = b"".join(compress(compression, level=6, threads=1)(iter([])))
    assert stored
    assert unpacked(stored, compression) == b""


@pytest.mark.parametrize("compression", REAL)
def test_no_bytes_are_not_a_whole_file(compression: Compression) -> None:
    with pytest.raises(IntegrityError):
        unpacked(b"", compression)


@pytest.mark.parametrize("compression", REAL)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blocks_stay_in_order_on_any_number_of_threads(
    compression: Compression, threads: int
) -> None:
    data = b"".join(bytes([number]) * (CHUNK // 2) for number in range(20))
    assert unpacked(packed(data, compression, threads=threads), compression) == data


@pytest.mark.parametrize("compression", REAL)
def test_a_file_cut_anywhere_is_refused(compression: Compression) -> None:
    stored = packed(b"some text to compress " * 40, compression)
    for length in range(len(stored)):
        with pytest.raises(IntegrityError):
            unpacked(stored[:length], compression)


@pytest.mark.parametrize("compression", REAL)
def test_a_file_cut_inside_its_last_block_is_refused(compression: Compression) -> None:
    stored = packed(TEXT, compression)
    for cut_off in (1, 4, 8, 100):
        with pytest.raises(IntegrityError):
            unpacked(stored[:-cut_off], compression)


@pytest.mark.parametrize("compression", REAL)
@pytest.mark.parametrize("tail", [b"\0", b"garbage", b"\x1f\x8b", b"\x28\xb5"])
def test_bytes_behind_the_end_are_refused(compression: Compression, tail: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpacked(packed(b"x" * 100, compression) + tail, compression)


@pytest.mark.parametrize("compression", REAL)
def test_a_flipped_bit_never_gives_other_data_in_silence(compression: Compression) -> None:
    data = b"".join(b"row %d;" % number for number in range(150))
    stored = packed(data, compression)
    for index in range(len(stored)):
        for bit in (0, 3, 7):
            damaged = bytearray(stored)
            damaged[index] ^= 1 << bit
            try:
                found = unpacked(bytes(damaged), compression)
            except IntegrityError:
                continue
            # A few header bits mean nothing for the data, such as the time in a gzip header.
            assert found == data


@pytest.mark.parametrize("compression", REAL)
def test_decompressing_a_bomb_gives_pieces_of_bounded_size(compression: Compression) -> None:
    size = 200 << 20
    if compression is Compression.GZIP:
        squeezer = zlib.compressobj(9, wbits=31)
        block = bytes(1 << 20)
        bomb = b"".join(squeezer.compress(block) for _ in range(size >> 20)) + squeezer.flush()
    else:
        bomb = zstd.compress(bytes(size), 3)
    total = 0
    for piece in decompress(compression)(iter([bomb])):
        assert len(piece) <= MOST
        total += len(piece)
    assert total == size


def test_reading_starts_before_writing_has_ended() -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield bytes(CHUNK)

    stream = compress(Compression.GZIP, level=1, threads=2)(source())
    next(iter(stream))
    assert taken < 10


def test_a_failing_source_is_not_taken_for_the_end() -> None:
    def source() -> Iterator[bytes]:
        yield bytes(3 * CHUNK)
        raise ConnectionError

    stream = flow(source(), compress(Compression.GZIP, level=1, threads=2))
    with pytest.raises(ConnectionError):
        list(stream)
