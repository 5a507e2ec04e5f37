"""Chunks of bytes and the stages that they pass."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ulasis_backup.model import Size

Chunks = Iterator[bytes]
Stage = Callable[[Chunks], Chunks]

CHUNK = 1 << 20
"""Bytes that are read at once."""

NICENESS = 10
"""Of the threads that compress: they yield to the server and to the dump program."""

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
"""Parameters of mallopt(3)."""

HEAPS = 2


def flow(source: Chunks, *stages: Stage) -> Chunks:
    """Send *source* through *stages*, first stage first; nothing runs until it is read."""
    for stage in stages:
        source = stage(source)
    return source


class Meter:
    """A stage that counts and digests what passes; ``result`` is right once all has passed."""

    def __init__(self, on_bytes: Callable[[int], None] | None = None) -> None:
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._on_bytes = on_bytes

    def __call__(self, chunks: Chunks) -> Chunks:
        """Pass *chunks* on, counted."""
        for chunk in chunks:
            self._digest.update(chunk)
            self._bytes += len(chunk)
            if self._on_bytes:
                self._on_bytes(self._bytes)
            yield chunk

    @property
    def result(self) -> Size:
        """Return size and SHA-256 of what has passed so far."""
        return Size(bytes=self._bytes, sha256=self._digest.hexdigest())


def drain(chunks: Iterable[bytes]) -> int:
    """Read *chunks* to the end and return how many bytes they held."""
    return sum(len(chunk) for chunk in chunks)


def blocks(chunks: Chunks, size: int) -> Chunks:
    """Join and cut *chunks* into blocks of between *size* and twice *size* bytes.

    The last may be shorter. A chunk that is large enough alone passes without being copied.
    """
    held: list[bytes] = []
    have = 0
    for chunk in chunks:
        held.append(chunk)
        have += len(chunk)
        if have >= size:
            block = held[0] if len(held) == 1 else b"".join(held)
            begin = 0
            while len(block) - begin > 2 * size:
                yield block[begin : begin + size]
                begin += size
            yield block[begin:]
            held, have = [], 0
    if have:
        yield b"".join(held)


def keep_memory() -> None:
    """Ask the C library to keep freed blocks for the next chunk instead of giving them back.

    Otherwise each chunk of a megabyte is mapped, zeroed and unmapped by the kernel again and
    again. And to keep them in few heaps: with one for each thread 4 jobs took up to 80 MB more,
    differently from run to run. Affects the whole process; where there is no ``mallopt`` nothing
    happens.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(M_MMAP_THRESHOLD, 16 * CHUNK)
            library.mallopt(M_TRIM_THRESHOLD, 32 * CHUNK)
            library.mallopt(M_ARENA_MAX, HEAPS)


def threads(wanted: int) -> int:
    """Return how many threads work: *wanted*, or for 0 one a core and at most four."""
    return wanted or min(4, os.cpu_count() or 1)


def step_back() -> None:
    """Let other threads and processes go first where this one competes with them for a core.

    The server and the dump program are what a backup waits for; a production server is what its
    users wait for. Linux counts niceness by thread; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Who is nicer already stays so; and where a sandbox forbids it the work goes on.
        with contextlib.suppress(OSError):
            if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
                os.setpriority(os.PRIO_PROCESS, thread, NICENESS)


def in_parallel(work: Callable[[bytes], bytes], count: int) -> Stage:
    """Return a stage that applies *work* to each chunk on *count* threads, keeping the order.

    *work* must release the interpreter lock to gain anything. At most ``count + 2`` chunks are
    held, so memory stays bounded however slow the reader is.
    """

    def stage(chunks: Chunks) -> Chunks:
        waiting: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(count, thread_name_prefix="stage", initializer=step_back) as pool:
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(work, chunk))
                    if len(waiting) > count + 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    return stage
