"""Compression: gzip (members in parallel, readable by plain ``gzip -d``), zstd, none.

A file is a sequence of gzip members (RFC 1952) or zstd frames (RFC 8878), one per block of
plain bytes; both formats define that decompressing the whole gives the joined blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import cast

from backports import zstd
from isal import isal_zlib
from zlib_ng import zlib_ng

from ulasis_backup.errors import IntegrityError
from ulasis_backup.streams.pipeline import CHUNK, Chunks, Stage, blocks, in_parallel

GZIP_MEMBER = 16 + 15
"""The ``wbits`` of zlib's interface that mean one gzip member with the largest window."""

ISAL_LEVELS = {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2}
ZLIB_NG_LEVELS = {7: 3, 8: 6, 9: 8}
"""What a level means: up to 6 a dump is not slowed down (about 300 MB/s a core, output up to 16 %
larger than zlib's level 6 on prose), 8 is zlib's level 6 and 9 a little smaller than its level 9.
Measured in docs/design.md, Compression."""


class Compression(StrEnum):
    """The compressions, by their names in settings and manifests."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "none"


MOST = 4 * CHUNK
"""Plain bytes that one step of decompressing gives at most."""

DAMAGED_HINT = "use another backup (`ulasis-backup list`) or a copy of this one"

SUFFIXES = {Compression.GZIP: ".gz", Compression.ZSTD: ".zst", Compression.NONE: ""}


def compress(compression: Compression, *, level: int, threads: int) -> Stage:
    """Return the stage that compresses at *level* (1 to 9) on *threads* threads."""
    if compression is Compression.NONE:
        return _pass
    work = _gzip_member(level) if compression is Compression.GZIP else _zstd_frame(level)
    spread = in_parallel(work, threads)

    def stage(chunks: Chunks) -> Chunks:
        empty = True
        for block in spread(blocks(chunks, CHUNK // 2)):
            empty = False
            yield block
        if empty:
            yield work(b"")

    return stage


def decompress(compression: Compression) -> Stage:
    """Return the stage that decompresses; it raises IntegrityError on damaged or cut input."""
    if compression is Compression.GZIP:
        return lambda chunks: _decompress(chunks, _GzipMember, "gzip")
    if compression is Compression.ZSTD:
        return lambda chunks: _decompress(chunks, _ZstdFrame, "zstd")
    return _pass


def _pass(chunks: Chunks) -> Chunks:
    return chunks


def _gzip_member(level: int) -> Callable[[bytes], bytes]:
    if level in ISAL_LEVELS:
        return lambda block: isal_zlib.compress(block, ISAL_LEVELS[level], GZIP_MEMBER)
    return lambda block: zlib_ng.compress(block, ZLIB_NG_LEVELS[level], GZIP_MEMBER)


def _zstd_frame(level: int) -> Callable[[bytes], bytes]:
    options = {int(zstd.CompressionParameter.compression_level): level, _ZSTD_CHECKSUM: 1}
    return lambda block: zstd.compress(block, options=options)


# The stubs call it an instance; it is the class.
_ISAL_ERROR: type[Exception] = cast("type[Exception]", isal_zlib.IsalError)
_ZSTD_CHECKSUM = int(zstd.CompressionParameter.checksum_flag)


class _GzipMember:
    """One gzip member being read, with the same face as ``_ZstdFrame``."""

    def __init__(self) -> None:
        self._member = isal_zlib.decompressobj(GZIP_MEMBER)

    def feed(self, data: bytes) -> bytes:
        """Return at most ``MOST`` plain bytes; *data* continues where ``rest`` began."""
        return self._member.decompress(data, MOST)

    @property
    def ended(self) -> bool:
        return bool(self._member.eof)

    @property
    def rest(self) -> bytes:
        """Return the input that is still unread."""
        return self._member.unused_data if self.ended else self._member.unconsumed_tail


class _ZstdFrame:
    """One zstd frame being read; it keeps unread input itself."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def feed(self, data: bytes) -> bytes:
        """Return at most ``MOST`` plain bytes."""
        return self._frame.decompress(data, MOST)

    @property
    def ended(self) -> bool:
        return self._frame.eof

    @property
    def rest(self) -> bytes:
        """Return the input that follows the frame's end."""
        return self._frame.unused_data if self.ended else b""


def _decompress(chunks: Chunks, member: type[_GzipMember | _ZstdFrame], name: str) -> Chunks:
    """Read a sequence of members; bounded output however well the input was compressed."""
    current: _GzipMember | _ZstdFrame | None = None
    members = 0
    try:
        for chunk in chunks:
            data = chunk
            while True:
                if current is None:
                    if not data:
                        break
                    current, members = member(), members + 1
                plain = current.feed(data)
                if plain:
                    yield plain
                data = current.rest
                if current.ended:
                    current = None
                elif not data and len(plain) < MOST:
                    break
    except (_ISAL_ERROR, zstd.ZstdError, EOFError) as error:
        raise IntegrityError(f"the {name} data is damaged: {error}", hint=DAMAGED_HINT) from None
    if current is not None or not members:
        raise IntegrityError(f"the {name} data is cut short", hint=DAMAGED_HINT)
