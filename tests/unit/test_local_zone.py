"""The machine's time zone, however it is told."""

from __future__ import annotations

import shutil
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ulasis_backup.operations.daemon import local_zone

WINTER, SUMMER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)


def _hours(local_time: Path = Path("/nowhere")) -> tuple[float, float]:
    zone = local_zone(local_time)
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in (WINTER, SUMMER)]
    return offsets[0] / timedelta(hours=1), offsets[1] / timedelta(hours=1)


def _berlin() -> Path:
    for folder in zoneinfo.TZPATH:
        if (Path(folder) / "Europe/Berlin").exists():
            return Path(folder) / "Europe/Berlin"
    pytest.skip("there are no files of time zones here")


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("Europe/Berlin", (1, 2)),
        (":Europe/Berlin", (1, 2)),
        ("CET-1CEST,M3.5.0,M10.5.0/3", (1, 2)),
        ("EST5EDT,M3.2.0,M11.1.0", (-5, -4)),
        ("<+03>-3", (3, 3)),
    ],
)
def test_names_and_posix_rules_in_tz_keep_their_summer_time(
    name: str, hours: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", name)

    assert _hours() == hours


def test_a_path_in_tz_is_the_file_of_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", f":{_berlin()}")

    assert _hours() == (1, 2)


def test_a_zone_that_nobody_knows_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Middle/Earth")

    assert _hours()[0] == _hours()[1]


def test_a_local_time_that_is_a_file_of_its_own_keeps_its_summer_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    copy, link = tmp_path / "localtime", tmp_path / "link"
    shutil.copyfile(_berlin(), copy)
    link.symlink_to(copy)

    assert _hours(copy) == _hours(link) == (1, 2)
