"""The anomaly watch: what is news, and what a database's own history has shown to be usual."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.anomaly import FEWEST, Facts, anomalies

MIB = 1 << 20


def _facts(rows: dict[str, int | None], *, plain: int = 100 * MIB, added: int = 20 * MIB) -> Facts:
    return Facts(backup="x", rows=rows, plain_bytes=plain, added_bytes=added)


USUAL = [_facts({"orders": 10_000 + 50 * day, "log": 5_000}) for day in range(10)]


def _found(now: Facts, before: list[Facts] | None = None) -> list[str]:
    return [str(one) for one in anomalies(now, USUAL if before is None else before)]


def test_a_usual_night_is_no_news() -> None:
    assert _found(_facts({"orders": 10_520, "log": 5_000})) == []


def test_a_table_that_is_gone_is_named() -> None:
    (said,) = _found(_facts({"orders": 10_500}))

    assert said == "log: the table is gone; it had 5,000 rows"


def test_a_table_that_comes_and_goes_is_not() -> None:
    before = [_facts({"a": 500, **({"tmp": 900} if day % 3 else {})}) for day in range(9)]

    assert "tmp" in before[-1].rows
    assert _found(_facts({"a": 500}), before) == []


def test_a_table_that_is_empty_now_is_named_unless_it_was_empty_before() -> None:
    (said,) = _found(_facts({"orders": 0, "log": 5_000}))
    rotated = [_facts({"log": day % 4 * 400}) for day in range(8)]

    assert said.startswith("orders: it is empty")
    assert _found(_facts({"log": 0}), rotated) == []


def test_rows_that_fall_or_grow_further_than_ever_are_named() -> None:
    (fallen,) = _found(_facts({"orders": 5_000, "log": 5_000}))
    (grown,) = _found(_facts({"orders": 60_000, "log": 5_000}))

    assert "fallen further than ever before" in fallen
    assert "grown further than ever before" in grown


def test_what_doubles_every_night_may_double_again() -> None:
    before = [_facts({"t": 1_000 * 2**day}) for day in range(5)]

    assert _found(_facts({"t": 32_000}), before) == []


def test_a_log_that_is_cut_every_week_may_be_cut_again() -> None:
    before = [_facts({"log": 1_000 * (1 + day % 7)}) for day in range(14)]

    assert before[-1].rows["log"] == 7_000
    assert _found(_facts({"log": 1_000}), before) == []


def test_data_that_cannot_be_compressed_any_more_is_named() -> None:
    (said,) = _found(_facts({"orders": 10_500, "log": 5_000}, added=98 * MIB))

    assert "98%" in said
    assert "encrypted by somebody else" in said


def test_a_rows_backup_that_stores_everything_anew_is_named_if_it_is_dense() -> None:
    before = [_facts({"t": 9_000}, added=35 * MIB), *[_facts({"t": 9_000}, added=MIB)] * 5]

    # A rewritten table, as by OPTIMIZE or a new key, is no denser than the first backup was.
    assert _found(_facts({"t": 9_000}, added=36 * MIB), before) == []
    assert len(_found(_facts({"t": 9_000}, added=90 * MIB), before)) == 1


def test_all_data_together_may_fall_too() -> None:
    (said,) = _found(_facts({"orders": 10_500, "log": 5_000}, plain=40 * MIB, added=8 * MIB))

    assert said == "all data together is 40% of what it was the time before"


def test_nothing_is_said_before_anything_was_learned() -> None:
    assert _found(_facts({}), USUAL[: FEWEST - 1]) == []


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 10**9))
FACTS = st.builds(
    lambda rows, plain, added: _facts(rows, plain=plain, added=added),
    COUNTS, st.integers(0, 10**12), st.integers(0, 10**12),
)  # fmt: skip


@given(before=st.lists(FACTS, max_size=40))
def test_the_same_again_is_never_news(before: list[Facts]) -> None:
    if before:
        assert _found(before[-1], before) == []


@given(now=FACTS, before=st.lists(FACTS, max_size=40))
def test_any_history_can_be_looked_at(now: Facts, before: list[Facts]) -> None:
    assert all(_found(now, before))
