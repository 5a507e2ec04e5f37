"""Stages: lazy, counted, in order, bounded."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.chunks import cut
from ulasis_backup.streams.pipeline import (
    NICENESS,
    Meter,
    blocks,
    drain,
    flow,
    in_parallel,
    threads,
)


@given(chunks=st.lists(st.binary(max_size=30)), size=st.integers(1, 20))
def test_blocks_are_bounded_and_lose_nothing(chunks: list[bytes], size: int) -> None:
    found = list(blocks(iter(chunks), size))
    assert b"".join(found) == b"".join(chunks)
    assert all(size <= len(block) <= 2 * size for block in found[:-1])
    assert all(0 < len(block) <= 2 * size for block in found)


def test_a_chunk_of_a_good_size_is_not_copied() -> None:
    chunks = [bytes(10), bytes(19), bytes(20)]
    assert [id(block) for block in blocks(iter(chunks), 10)] == [id(chunk) for chunk in chunks]


class Counted(bytes):
    """Bytes that count how many of them are copied by slicing."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 (as the parent's)
        part = super().__getitem__(key)
        Counted.copied += len(part)
        return Counted(part)


def test_a_huge_chunk_is_copied_once_however_many_blocks_it_makes() -> None:
    chunk = Counted(bytes(1 << 20))
    found = list(blocks(iter([chunk]), 1 << 10))
    assert sum(map(len, found)) == Counted.copied == len(chunk)


@given(chunks=st.lists(st.binary(max_size=30)))
def test_a_meter_counts_and_digests_what_passes(chunks: list[bytes]) -> None:
    meter = Meter()
    data = b"".join(flow(iter(chunks), meter))
    assert data == b"".join(chunks)
    assert meter.result.bytes == len(data)
    assert meter.result.sha256 == hashlib.sha256(data).hexdigest()


def test_nothing_runs_until_it_is_read() -> None:
    read = []

    def source() -> Iterator[bytes]:
        read.append(True)
        yield b""

    stream = flow(source(), Meter(), in_parallel(bytes, 1))
    assert read == []
    list(stream)
    assert read == [True]


def test_stages_run_in_the_order_given() -> None:
    def add(text: bytes) -> Iterator[bytes]:
        yield text

    stream = flow(
        iter([b"x"]),
        lambda chunks: (chunk + b"1" for chunk in chunks),
        lambda chunks: (chunk + b"2" for chunk in chunks),
    )
    assert list(stream) == [b"x12"]
    assert drain(add(b"abc")) == 3


@pytest.mark.parametrize("count", [1, 2, 7])
def test_parallel_work_keeps_the_order(count: int) -> None:
    def work(chunk: bytes) -> bytes:
        time.sleep(0.001 * (3 - chunk[0] % 4))
        return chunk * 2

    chunks = [bytes([number]) for number in range(60)]
    assert list(in_parallel(work, count)(iter(chunks))) == [chunk * 2 for chunk in chunks]


def test_parallel_work_holds_few_chunks_however_slow_the_reader_is() -> None:
    taken = 0

    def source() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x"

    stream = in_parallel(bytes, 2)(source())
    for given_out, _ in enumerate(stream, 1):
        assert taken - given_out <= 4


def test_a_reader_that_stops_early_ends_the_threads() -> None:
    before = threading.active_count()
    stream = in_parallel(bytes, 3)(cut(bytes(1000), [10]))
    generator = (chunk for chunk in stream)
    next(generator)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_an_error_of_the_work_reaches_the_reader() -> None:
    def work(_: bytes) -> bytes:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        list(in_parallel(work, 2)(iter([b"x"] * 10)))


def test_the_number_of_threads_is_the_wanted_one_or_at_most_four() -> None:
    assert threads(7) == 7
    assert 1 <= threads(0) <= 4


@pytest.mark.skipif(sys.platform != "linux", reason="niceness by thread is Linux's")
def test_threads_that_work_step_back_but_never_forward() -> None:
    def niceness(_: bytes) -> bytes:
        return bytes([os.getpriority(os.PRIO_PROCESS, threading.get_native_id())])

    def in_a_thread_of(start: int) -> bytes:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), start)
        return b"".join(in_parallel(niceness, 1)(iter([b"x"])))

    # Who runs the tests may be nice already, and may not be allowed to go back.
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    for start in (ours, max(ours, NICENESS + 5)):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(in_a_thread_of, start).result() == bytes([max(start, NICENESS)])
