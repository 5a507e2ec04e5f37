"""What an object is stored as a difference of."""

from __future__ import annotations

import pytest

from ulasis_backup.repository.chains import (
    DAY,
    MOST_LINKS,
    WEEK,
    Chain,
    Stored,
    choose_base,
    worth_it,
)


def stored(name: str, chain: Chain = ()) -> Stored:
    return Stored(fingerprint=name, name=name, chain=chain, stored=10, full=1000)


def days(count: int) -> list[Stored]:
    """Return what is stored when something changes each day, by the number of the day."""
    found: list[Stored] = []
    for day in range(count):
        chain = choose_base(found[-1] if found else None)
        found.append(stored(f"day {day}", chain))
    return found


def test_the_first_object_is_whole() -> None:
    assert choose_base(None) == ()


def test_an_object_builds_on_that_of_the_day_before() -> None:
    assert choose_base(stored("a")) == (("a", DAY),)
    assert choose_base(stored("b", (("a", DAY),))) == (("b", DAY), ("a", DAY))


def test_after_six_days_an_object_builds_on_that_of_a_week_before() -> None:
    found = days(15)
    assert found[6].chain == tuple((f"day {day}", DAY) for day in (5, 4, 3, 2, 1, 0))
    assert found[7].chain == (("day 0", WEEK),)
    assert found[8].chain == (("day 7", DAY), ("day 0", WEEK))
    assert found[14].chain == (("day 7", WEEK), ("day 0", WEEK))


def test_a_chain_never_has_more_links_than_the_bound_and_then_begins_anew() -> None:
    found = days(400)
    assert max(len(one.chain) for one in found) == MOST_LINKS
    whole = [day for day, one in enumerate(found) if not one.chain]
    assert whole[:3] == [0, 41, 82]


def test_every_chain_is_that_of_its_first_object_and_one_link() -> None:
    found = {one.name: one for one in days(200)}
    for one in found.values():
        if one.chain:
            assert one.chain[1:] == found[one.chain[0][0]].chain


def test_a_chain_at_its_bound_leads_to_a_whole_object() -> None:
    weeks = tuple((f"week {week}", WEEK) for week in range(MOST_LINKS))
    assert choose_base(stored("last", weeks)) == ()
    assert len(choose_base(stored("last but one", weeks[1:]))) == MOST_LINKS


@pytest.mark.parametrize(("size", "good"), [(0, True), (250, True), (251, False), (1000, False)])
def test_a_difference_of_more_than_a_quarter_is_not_worth_its_link(size: int, good: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    assert worth_it(size, 1000) is good
