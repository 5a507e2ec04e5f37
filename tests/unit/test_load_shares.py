"""Which tables of a dump are loaded by which client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.methods.load_shares import MOST_IN_ONE, WORTH_IT, share

SIZES = st.dictionaries(st.text(max_size=3), st.integers(0, WORTH_IT), max_size=12)


@given(SIZES, st.integers(1, 6))
def test_every_table_is_in_one_share(sizes: dict[str, int], most: int) -> None:
    shares = share(sizes, most)
    assert 1 <= len(shares) <= most
    assert sorted(name for names in shares for name in names) == sorted(sizes)
    if len(shares) > 1:
        assert all(shares)
        assert sum(sizes.values()) >= WORTH_IT


@given(SIZES, st.integers(2, 6))
def test_no_share_is_much_larger_than_it_must_be(sizes: dict[str, int], most: int) -> None:
    shares = share(sizes, most)
    if len(shares) > 1:
        filled = [sum(sizes[name] for name in names) for names in shares]
        # Graham's bound for the longest first.
        assert max(filled) <= max(*sizes.values(), sum(filled) / most) * 4 / 3


def test_one_client_is_enough_for_little_and_for_one_table() -> None:
    assert len(share({"a": WORTH_IT // 2 - 1, "b": WORTH_IT // 2}, 4)) == 1
    assert len(share({"a": WORTH_IT // 2, "b": WORTH_IT // 2}, 4)) == 2
    assert len(share({"a": WORTH_IT // 2, "b": WORTH_IT // 2}, 1)) == 1
    large = round(WORTH_IT * 10 * MOST_IN_ONE) + 1
    assert len(share({"a": large, "b": WORTH_IT * 10 - large}, 4)) == 1
    assert share({}, 4) == (frozenset(),)
