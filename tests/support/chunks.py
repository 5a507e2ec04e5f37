"""Bytes cut into chunks, as they come off pipes and disks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cut *data* into chunks of *sizes*, which repeat until all is given out."""
    begin = 0
    for size in itertools.cycle(sizes):
        if begin >= len(data):
            return
        yield data[begin : begin + size]
        begin += size
