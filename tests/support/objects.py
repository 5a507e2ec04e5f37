"""What tests of objects share: plain bytes like row packets, and days of changes."""

from __future__ import annotations

import random

from support.memory import MemoryStorage
from ulasis_backup.repository.objectfile import path_of
from ulasis_backup.repository.objects import Epoch


def rows(seed: int, count: int = 200) -> bytes:
    """Return *count* rows of text, different for each *seed*."""
    made = random.Random(seed)  # noqa: S311 (test data, not secrets)
    return b"".join(row(made, number) for number in range(count))


def row(made: random.Random, number: int) -> bytes:
    return b"%d\tname %x\t%x\t2026-11-22\n" % (number, made.getrandbits(48), made.getrandbits(64))


def changed(data: bytes, seed: int, count: int = 1) -> bytes:
    """Return *data* with *count* of its rows changed."""
    made = random.Random(seed)  # noqa: S311 (test data, not secrets)
    lines = data.splitlines(keepends=True)
    for _ in range(count):
        place = made.randrange(len(lines))
        lines[place] = row(made, place)
    return b"".join(lines)


def file_of(storage: MemoryStorage, epoch: Epoch, name: str) -> bytes:
    """Return the stored bytes of an object."""
    return storage.blobs[path_of(epoch.id, name)][0]
