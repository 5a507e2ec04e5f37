"""Payloads: their stages forwards and backwards, and the proof that stored bytes are authentic."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from ulasis_backup.errors import AuthenticationFailed, IntegrityError
from ulasis_backup.repository.manifest import Manifest, Stages
from ulasis_backup.storage.base import Storage
from ulasis_backup.streams.compression import SUFFIXES, Compression, compress, decompress
from ulasis_backup.streams.encryption import (
    CHANGED_HINT,
    Cipher,
    authenticate,
    decrypt,
    encrypt,
    read_header,
)
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks, Meter, Stage, drain, flow


def suffix_of(method: str, stages: Stages) -> str:
    """Return the suffix that says how a payload was made, e.g. ``.sql.gz.enc``."""
    compression = SUFFIXES[Compression(stages.compression)]
    return f".{method}{compression}{'.enc' if stages.cipher else ''}"


def writing_stages(stages: Stages, *, threads: int, data_key: DataKey | None) -> tuple[Stage, ...]:
    """Return the stages that turn plain bytes into stored ones."""
    compression = Compression(stages.compression)
    first = compress(compression, level=stages.compression_level, threads=threads)
    if stages.cipher is None or data_key is None:
        return (first,)
    return first, encrypt(Cipher(stages.cipher), data_key)


def reading_stages(stages: Stages, data_key: DataKey | None) -> tuple[Stage, ...]:
    """Return the stages that turn stored bytes back into plain ones."""
    last = decompress(Compression(stages.compression))
    if stages.cipher is None or data_key is None:
        return (last,)
    return decrypt(Cipher(stages.cipher), data_key), last


def check_stored(
    storage: Storage, manifest: Manifest, *, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Read the whole payload of *manifest* and raise unless every stored byte is authentic.

    Raises BlobMissing, IntegrityError (digest), AuthenticationFailed.
    """
    header = manifest.header
    meter = Meter(on_bytes)
    chunks = flow(storage.open(header.payload), meter)
    if header.stages.cipher and manifest.data_key:
        authenticate(Cipher(header.stages.cipher), manifest.data_key, chunks)
    else:
        drain(chunks)
    _expect_stored(meter, manifest)


def open_plain(storage: Storage, manifest: Manifest) -> Chunks:
    """Return the plain bytes of *manifest*'s payload. Run ``check_stored`` first.

    Should the payload change between the two, the stream ends with an error.
    """
    header = manifest.header
    stored = _same_again(storage.open(header.payload), manifest)
    return flow(stored, *reading_stages(header.stages, manifest.data_key))


def read_start(storage: Storage, name: str, size: int) -> bytes:
    """Return the first *size* bytes of blob *name* (fewer if it is shorter)."""
    start = b""
    with closing(_generator(storage.open(name))) as chunks:
        for chunk in chunks:
            start += chunk
            if len(start) >= size:
                break
    return start[:size]


def orphan_cipher(storage: Storage, name: str, size: int) -> tuple[Cipher, str]:
    """Return cipher and backup id from the header of an encrypted payload without manifest."""
    return read_header(read_start(storage, name, size))


def _same_again(chunks: Iterable[bytes], manifest: Manifest) -> Chunks:
    meter = Meter()
    yield from meter(iter(chunks))
    _expect_stored(meter, manifest)


def _expect_stored(meter: Meter, manifest: Manifest) -> None:
    """Raise unless what *meter* saw is what *manifest* says was stored."""
    header = manifest.header
    if meter.result == header.stored:
        return
    message = (
        f"{header.payload} is damaged: {meter.result.bytes:,} bytes stored now, "
        f"{header.stored.bytes:,} written, and the digests differ"
    )
    error = AuthenticationFailed if manifest.signed else IntegrityError
    raise error(message, hint=CHANGED_HINT)


def _generator(chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    yield from chunks
