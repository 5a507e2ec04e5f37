"""Values of the index: what they do not show, and what they let go."""

from __future__ import annotations

from ulasis_backup.methods.index import Begin, Range, TableHead, TableRows
from ulasis_backup.mysql.columns import RowSource


def test_the_key_of_an_epoch_is_in_no_representation() -> None:
    key = "5e" * 32
    begin = Begin(databases=("d",), epoch="0" * 16, epoch_key=key, flavour="mariadb", version="1")
    assert key not in repr(begin)


def test_without_its_data_a_table_has_the_same_rows_and_the_same_digest() -> None:
    part = Range(rows=2, bytes=3, fingerprint="ab" * 32, inline=b"abc")
    head = TableHead(source=RowSource(database="d", table="t", columns=()), key=None)
    table = TableRows(head=head, ranges=(part, part))
    light = table.without_data()
    assert (light.rows, light.bytes, light.digest) == (table.rows, table.bytes, table.digest)
    assert all(one.inline is None for one in light.ranges)
