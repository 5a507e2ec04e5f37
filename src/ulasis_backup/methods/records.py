"""Records: lines of canonical JSON, each with raw bytes behind it where it says so.

The form of an index; what its records mean is in ``index``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from ulasis_backup.errors import IntegrityError, UnknownFormat
from ulasis_backup.repository import canonical

MAGIC = b"ulasis-backup rows index 1\n"
LONGEST_LINE = 4 << 20
LONGEST_BLOB = 1 << 30
HINT = "do not restore it; use another backup"

Record = dict[str, Any]


def record(kind: str, body: Record, blob: bytes | None = None) -> bytes:
    """Return a record of *kind*, with *blob* behind it where there is one."""
    body = {"record": kind, **body}
    if blob is None:
        return canonical.to_bytes(body) + b"\n"
    return canonical.to_bytes(body | {"blob": len(blob)}) + b"\n" + blob + b"\n"


def records(chunks: Iterable[bytes]) -> Iterator[tuple[Record, bytes | None]]:
    """Yield records and blobs; raises IntegrityError, UnknownFormat for another format."""
    take = _Taker(chunks)
    if take.line() != MAGIC:
        raise UnknownFormat("this is no index of format 1", hint="use a newer ulasis-backup")
    while line := take.line():
        body = canonical.from_bytes(line[:-1], name="a record of the index")
        size = body.pop("blob", None)
        yield body, None if size is None else take.blob(size)


def malformed(what: str) -> IntegrityError:
    """Return the error for an index that is not as it must be."""
    return IntegrityError(f"the index of the backup is malformed: {what}", hint=HINT)


class _Taker:
    """Takes lines and blobs off a stream of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = _generator(chunks)
        self._held = bytearray()

    def line(self) -> bytes:
        """Return the next line with its end; empty at the end of the stream."""
        begin = 0
        while (end := self._held.find(b"\n", begin)) < 0:
            begin = len(self._held)
            if begin > LONGEST_LINE:
                raise malformed("a line is too long")
            if not self._more():
                if self._held:
                    raise malformed("it ends within a line")
                return b""
        return self._cut(end + 1)

    def blob(self, size: object) -> bytes:
        """Return the next *size* bytes, and pass over the line end behind them."""
        if not isinstance(size, int) or not 0 <= size <= LONGEST_BLOB:
            raise malformed("a blob of an impossible size")
        while len(self._held) < size + 1:
            if not self._more():
                raise malformed("it ends within a blob")
        data = self._cut(size + 1)
        if data[-1:] != b"\n":
            raise malformed("a blob of another size than it says")
        return data[:-1]

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._held += chunk
        return True

    def _cut(self, size: int) -> bytes:
        data = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return data


def _generator(chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    yield from chunks
