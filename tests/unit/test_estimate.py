"""Estimates: from what was measured, with how sure they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ulasis_backup.estimate import Measurement, full_at, restore_seconds

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _daily(*sizes: int) -> list[tuple[datetime, int]]:
    return [(NOW - timedelta(days=len(sizes) - day), size) for day, size in enumerate(sizes)]


def test_a_restore_takes_as_long_as_measured_scaled_to_the_size() -> None:
    measured = [Measurement(bytes=100, seconds=s) for s in (10.0, 12.0, 30.0)]

    found = restore_seconds(measured, 200)

    assert found is not None
    assert (found.least, found.likely, found.most) == pytest.approx((20, 24, 60))
    assert found.measurements == 3


def test_one_measurement_is_less_sure_than_it_looks() -> None:
    found = restore_seconds([Measurement(bytes=100, seconds=10.0)], 100)

    assert found is not None
    assert found.least < found.likely == 10.0 < found.most


def test_only_the_newest_measurements_count() -> None:
    slow = [Measurement(bytes=1, seconds=1000.0)] * 50
    fast = [Measurement(bytes=1, seconds=1.0)] * 12

    found = restore_seconds([*slow, *fast], 1)

    assert found is not None
    assert found.most == 1.0


@pytest.mark.parametrize("measured", [[], [Measurement(bytes=0, seconds=9.0)]])
def test_what_was_not_measured_is_not_estimated(measured: list[Measurement]) -> None:
    assert restore_seconds(measured, 10**9) is None


def test_storage_that_grows_is_full_one_day() -> None:
    found = full_at(_daily(100, 110, 120, 130), free=100, moment=NOW)

    assert found is not None
    assert (found - NOW) / timedelta(days=1) == pytest.approx(10)


@pytest.mark.parametrize("sizes", [(), (1, 2), (5, 5, 5, 5), (9, 8, 7, 6)])
def test_storage_that_does_not_grow_is_never_full(sizes: tuple[int, ...]) -> None:
    assert full_at(_daily(*sizes), free=100, moment=NOW) is None


def test_a_few_hours_are_no_trend() -> None:
    sizes = [(NOW + timedelta(hours=hour), 100 * hour) for hour in range(6)]

    assert full_at(sizes, free=100, moment=NOW) is None
