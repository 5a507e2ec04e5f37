"""Zstd frames, whole or as the difference to earlier bytes."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.objects import changed, rows
from ulasis_backup.errors import IntegrityError
from ulasis_backup.streams import delta

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@given(data=st.binary(max_size=3000))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert delta.decompress(delta.compress(data), len(data)) == data


@given(base=st.binary(max_size=2000), head=st.binary(max_size=200), cut=st.integers(0, 2000))
def test_a_difference_comes_back_with_its_base(base: bytes, head: bytes, cut: int) -> None:
    data = head + base[cut:] + base[:cut]
    frame = delta.compress_delta(data, base)
    if frame is None:
        assert len(base) < 8
    else:
        assert delta.decompress(frame, len(data), base) == data


def test_few_changed_rows_make_a_small_difference() -> None:
    base = rows(1, 2000)
    data = changed(base, 2, count=20)
    frame = delta.compress_delta(data, base)
    assert frame is not None
    assert len(frame) * 20 < len(delta.compress(data))


def test_a_difference_reaches_back_over_more_than_the_usual_window() -> None:
    base = os.urandom(12 << 20)
    frame = delta.compress_delta(base + b"end", base)
    assert frame is not None
    assert len(frame) < 10_000
    assert delta.decompress(frame, len(base) + 3, base) == base + b"end"


def test_what_no_window_holds_is_no_difference() -> None:
    assert delta.compress_delta(bytes(64 << 20), bytes(64 << 20)) is None


def test_another_base_or_none_is_refused_or_gives_other_bytes() -> None:
    base = rows(1)
    data = changed(base, 2)
    frame = delta.compress_delta(data, base) or b""
    for wrong in (None, b"", b"short", changed(base, 3, count=50), base[:-1]):
        try:
            assert delta.decompress(frame, len(data), wrong) != data
        except IntegrityError as error:
            assert error.hint  # noqa: PT017 (either is right)


@pytest.mark.parametrize("size", [0, 1, 999_999, 1_000_001, 1 << 40])
def test_a_frame_of_another_size_than_was_declared_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError):
        delta.decompress(delta.compress(bytes(1_000_000)), size)


def test_a_bomb_that_hides_its_size_is_refused_unread() -> None:
    hidden = zstd.compress(
        bytes(100 << 20),
        options={int(zstd.CompressionParameter.content_size_flag): 0},
    )
    assert len(hidden) < 20_000
    for size in (1000, 100 << 20):
        with pytest.raises(IntegrityError):
            delta.decompress(hidden, size)


def test_a_frame_that_asks_for_a_larger_window_than_its_size_is_refused() -> None:
    options = {int(zstd.CompressionParameter.window_log): 27}
    greedy = zstd.ZstdCompressor(options=options)
    # Without knowing the size at first zstd declares the whole window.
    frame = greedy.compress(b"x" * 100) + greedy.flush()
    with pytest.raises(IntegrityError):
        delta.decompress(frame, 100)


@given(data=st.data())
def test_cut_or_lengthened_frames_are_refused(data: st.DataObject) -> None:
    plain = rows(1, 50)
    frame = delta.compress(plain)
    cut = data.draw(st.integers(0, len(frame) - 1))
    more = data.draw(st.binary(min_size=1, max_size=20))
    for wrong in (frame[:cut], frame + more, frame + frame):
        with pytest.raises(IntegrityError):
            delta.decompress(wrong, len(plain))
