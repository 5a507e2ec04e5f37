"""How tables are cut: every row is covered, what is known is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.methods.index import Range, TableHead, TableRows
from ulasis_backup.methods.ranges import SEGMENTS, spans
from ulasis_backup.mysql.columns import RowSource
from ulasis_backup.mysql.keys import Key, KeyColumn

BY_ID = Key(index="PRIMARY", columns=(KeyColumn(name="id", kind="int"),), cuttable=True)
BY_NAME = Key(
    index="PRIMARY",
    columns=(KeyColumn(name="n", kind="varchar", charset="latin1", collation="latin1_bin"),),
    cuttable=True,
)
BY_LABEL = Key(index="PRIMARY", columns=(KeyColumn(name="e", kind="enum"),), cuttable=False)
SOURCE = RowSource(database="d", table="t", columns=(), suffix="", versioned=False)


def table(sizes: list[int], key: Key | None = BY_ID) -> TableRows:
    """Return a table of the last backup, with ranges of these sizes."""
    ranges = tuple(
        Range(
            rows=1,
            bytes=size,
            fingerprint=f"{number:064x}",
            begin=(b"%d" % number,) if number else None,
        )
        for number, size in enumerate(sizes)
    )
    return TableRows(head=TableHead(source=SOURCE, key=key), ranges=ranges)


@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_inherited_spans_follow_one_another_and_have_no_outer_bounds(sizes: list[int]) -> None:
    found = list(spans(BY_ID, table(sizes), bounds=None, size=0, target=1000))
    assert (found[0].begin, found[-1].end) == (None, None)
    assert [span.end for span in found[:-1]] == [span.begin for span in found[1:]]
    begins = [span.begin for span in found[1:]]
    assert begins == sorted(set(begins), key=lambda begin: int((begin or (b"",))[0]))
    assert all(span.base is not None for span in found)


def test_only_ranges_that_became_small_are_joined() -> None:
    found = list(spans(BY_ID, table([900, 60, 50, 20, 800]), bounds=None, size=0, target=1000))
    assert [span.begin for span in found] == [None, (b"1",), (b"3",), (b"4",)]
    assert [span.base.bytes for span in found if span.base] == [900, 60, 20, 800]


def test_boundaries_of_another_key_are_not_inherited() -> None:
    found = spans(BY_NAME, table([900, 900]), bounds=None, size=9000, target=1000)
    assert [(span.begin, span.end, span.base) for span in found] == [(None, None, None)]


@given(low=st.integers(-(2**63), 2**64), width=st.integers(0, 2**64), size=st.integers(0, 10**12))
def test_guessed_points_lie_within_the_bounds(low: int, width: int, size: int) -> None:
    found = list(spans(BY_ID, None, bounds=(low, low + width), size=size, target=1 << 20))
    assert 1 <= len(found) <= SEGMENTS
    points = [int(span.begin[0]) for span in found if span.begin]
    assert points == sorted(set(points))
    assert all(low < point <= low + width for point in points)


def test_a_table_without_a_key_to_cut_by_is_one_span() -> None:
    for key in (None, BY_LABEL):
        found = list(spans(key, table([5], key), bounds=None, size=10**9))
        assert [(span.begin, span.end) for span in found] == [(None, None)]
        assert found[0].base is not None
        assert next(spans(key, table([5, 5], key), bounds=None, size=0)).base is None


def test_a_table_of_very_many_ranges_is_not_planned_ahead() -> None:
    """Whoever reads the first span has not waited for the others, nor holds them."""
    read = 0

    class Counted(tuple[Range, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Range]:
            nonlocal read
            for part in super().__iter__():
                read += 1
                yield part

    wide = table([900] * 1000)
    found = spans(
        BY_ID, replace(wide, ranges=Counted(wide.ranges)), bounds=None, size=0, target=1000
    )
    assert (next(found).end, read) == ((b"1",), 3)
    assert sum(1 for _ in found) == 999
