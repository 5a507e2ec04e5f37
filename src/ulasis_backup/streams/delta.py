"""Zstd frames (RFC 8878), whole or as the difference to earlier bytes (the prefix).

Settings were measured on row packets: level 1 compresses them to within a tenth of level 3 at
three times the speed, and a difference is no larger; without long-distance matching a difference
gains nothing.
"""

from __future__ import annotations

import sys

from ulasis_backup.errors import IntegrityError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 1
SMALLEST_WINDOW_LOG = 10
WINDOW_LOG = 24
LARGEST_WINDOW_LOG = 27
"""Of differences: memory for compressing grows with the window. 27 holds 128 MiB."""

SHORTEST_BASE = 8
"""Bytes: zstd takes no shorter prefix."""

SHORTEST_MATCH = 32
HINT = "use another backup, or a copy of this one"

_P = zstd.CompressionParameter
_WINDOW_LOG_MAX = int(zstd.DecompressionParameter.window_log_max)


def compress(data: bytes) -> bytes:
    """Return *data* as one frame that tells its size."""
    return zstd.compress(data, options={int(_P.compression_level): LEVEL})


def compress_delta(data: bytes, base: bytes) -> bytes | None:
    """Return *data* as one frame that is read with *base*; None if they are too long or short."""
    window = (len(data) + len(base)).bit_length()
    if window > LARGEST_WINDOW_LOG or len(base) < SHORTEST_BASE:
        return None
    options = {
        int(_P.compression_level): LEVEL,
        int(_P.window_log): max(window, WINDOW_LOG),
        int(_P.enable_long_distance_matching): 1,
        int(_P.ldm_min_match): SHORTEST_MATCH,
    }
    return zstd.compress(data, options=options, zstd_dict=_prefix(base))


def decompress(frame: bytes, size: int, base: bytes | None = None) -> bytes:
    """Return the *size* plain bytes of *frame*, made with *base* if that is given.

    Raises IntegrityError unless *frame* is one whole frame of exactly that size; memory stays
    within the size and a window that covers it and the base.
    """
    try:
        return _decompress(frame, size, base)
    except (zstd.ZstdError, EOFError, ValueError) as error:
        raise IntegrityError(f"the zstd data is damaged: {error}", hint=HINT) from None


def _decompress(frame: bytes, size: int, base: bytes | None) -> bytes:
    declared = zstd.get_frame_info(frame).decompressed_size
    if declared != size:
        raise IntegrityError(f"the zstd data has {declared} bytes, not {size}", hint=HINT)
    window = (size + len(base or b"")).bit_length()
    options = {
        _WINDOW_LOG_MAX: max(window, SMALLEST_WINDOW_LOG, WINDOW_LOG if base is not None else 0)
    }
    decompressor = zstd.ZstdDecompressor(None if base is None else _prefix(base), options)
    plain = decompressor.decompress(frame, size + 1)
    if len(plain) != size or not decompressor.eof or decompressor.unused_data:
        raise IntegrityError("the zstd data is cut short or has more behind it", hint=HINT)
    return plain


def _prefix(base: bytes) -> tuple[zstd.ZstdDict, int]:
    return zstd.ZstdDict(base, is_raw=True).as_prefix
