"""Checking ranges: a bounded number at once, whatever the size of the backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ulasis_backup.app import build
from ulasis_backup.config import read_config
from ulasis_backup.errors import IntegrityError
from ulasis_backup.events import ignore
from ulasis_backup.methods.index import Begin, Index, Range, TableHead, TableRows
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.operations.ranges import AHEAD, RangeReader, check_tables
from ulasis_backup.repository.objects import fingerprint

BEGIN = Begin(databases=("d",), epoch="ab" * 8, epoch_key="", flavour="mariadb", version="10")
ROW = b"\x02\x00\x00\x00\x01a"
JOBS = 2


@pytest.fixture
def reader(tmp_path: Path) -> RangeReader:
    environment = {"BACKUP_DIR": str(tmp_path), "DB_NAME": "d"}
    context = build(read_config(flags={}, environment=environment, folder=tmp_path), ignore)
    return RangeReader(context, Index(begin=BEGIN, options={}, definitions={}, tables=()))


def table(number: int, reader: RangeReader, *, rows: int = 1) -> TableRows:
    source = RowSource(database="d", table=f"t{number}", columns=())
    part = Range(rows=rows, bytes=len(ROW), fingerprint=fingerprint(reader.epoch, ROW), inline=ROW)
    return TableRows(head=TableHead(source=source, key=None), ranges=(part,))


def test_few_ranges_wait_while_others_are_checked(reader: RangeReader) -> None:
    done: list[int] = []
    taken = ahead = 0

    def tables() -> Iterator[TableRows]:
        nonlocal taken, ahead
        for number in range(200):
            taken += 1
            ahead = max(ahead, taken - len(done))
            yield table(number, reader)

    def slowly(total: int) -> None:
        time.sleep(0.001)
        done.append(total)

    assert check_tables(reader, tables(), jobs=JOBS, on_bytes=slowly) == len(ROW)
    assert done[-1] == 200 * len(ROW)
    assert ahead <= AHEAD * JOBS + 1


def test_the_first_bad_range_ends_it_and_is_named(reader: RangeReader) -> None:
    bad = {7, 150}
    tables = (table(number, reader, rows=1 + (number in bad)) for number in range(1000))
    with pytest.raises(IntegrityError, match="t7, from its first row: 1 rows instead of 2"):
        check_tables(reader, tables, jobs=JOBS, on_bytes=lambda _: None)
    assert next(tables, None) is not None, "the rest was looked at"
