"""When people are told of what: once, again when it is worse, reminded, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.observers.incidents import (
    LONGEST_AGE,
    LONGEST_WAIT,
    MOST_MESSAGES,
    Book,
    Incident,
    Severity,
    after_try,
    enter,
    expired,
    message,
    queued,
    reminded,
    sendable,
)

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
FAILED = Incident(key="backup", severity=Severity.FAILURE, title="backup failed", text="at 1")


def look(
    book: Book, *found: Incident, at: datetime, checked: tuple[str, ...] = ("backup",)
) -> tuple[Book, list[str]]:
    """Return the book after a run, its queue taken away, and the titles that were in it."""
    after = enter(book, found, checked=checked, now=at, remind=DAY)
    return Book(open=after.open, given_up=after.given_up), [entry.title for entry in after.queue]


def test_an_incident_is_told_of_once() -> None:
    book, first = look(Book(), FAILED, at=NOW)
    book, again = look(book, FAILED, at=NOW + timedelta(hours=1))

    assert first == ["backup failed"]
    assert again == []


def test_the_nightly_run_that_fails_again_is_a_reminder_even_if_it_fails_a_little_earlier() -> None:
    book, _ = look(Book(), FAILED, at=NOW)
    book, next_night = look(book, FAILED, at=NOW + DAY - timedelta(minutes=3))
    book, hour_later = look(book, FAILED, at=NOW + DAY + timedelta(hours=1))

    assert next_night == ["still open: backup failed"]
    assert hour_later == []


def test_an_incident_that_is_over_is_told_of_once_and_can_begin_again() -> None:
    book, _ = look(Book(), FAILED, at=NOW)
    book, over = look(book, at=NOW + timedelta(hours=1))
    book, nothing = look(book, at=NOW + timedelta(hours=2))
    book, again = look(book, FAILED, at=NOW + timedelta(hours=3))

    assert over == ["over: backup failed"]
    assert nothing == []
    assert again == ["backup failed"]


def test_what_nobody_looked_for_stays_open() -> None:
    book, _ = look(Book(), FAILED, at=NOW)
    book, told = look(book, at=NOW + timedelta(hours=1), checked=("prune", "verify/"))

    assert told == []
    assert [entry.incident for entry in book.open] == [FAILED]


def test_a_beginning_covers_all_keys_below_it_and_no_other() -> None:
    one = Incident(key="verify/a", severity=Severity.FAILURE, title="a is damaged", text="")
    two = Incident(key="verify-all", severity=Severity.FAILURE, title="some are", text="")
    book, _ = look(Book(), one, two, at=NOW)
    _, told = look(book, at=NOW, checked=("verify/",))

    assert told == ["over: a is damaged"]


@pytest.mark.parametrize(
    ("severity", "title"),
    [(Severity.FAILURE, "storage nearly full"), (Severity.WARNING, "storage full")],
)
def test_what_grows_worse_or_changes_is_told_of_again(severity: Severity, title: str) -> None:
    mild = Incident(key="backup", severity=Severity.WARNING, title="storage nearly full", text="")
    book, _ = look(Book(), mild, at=NOW)
    changed = Incident(key="backup", severity=severity, title=title, text="")
    _, told = look(book, changed, at=NOW)

    assert told == [title]


def test_what_grows_milder_is_not() -> None:
    book, _ = look(Book(), FAILED, at=NOW)
    mild = Incident(key="backup", severity=Severity.WARNING, title=FAILED.title, text="")
    book, told = look(book, mild, at=NOW)

    assert told == []
    assert book.open[0].incident == mild


def test_reminders_come_without_a_run() -> None:
    book, _ = look(Book(), FAILED, at=NOW)

    assert reminded(book, now=NOW + timedelta(hours=22), remind=DAY) == book
    late = reminded(book, now=NOW + DAY, remind=DAY)
    assert [entry.title for entry in late.queue] == ["still open: backup failed"]
    assert reminded(late, now=NOW + DAY, remind=DAY) == late


def test_of_what_a_person_did_there_is_no_reminder_until_it_is_done_again() -> None:
    book, _ = look(Book(), replace(FAILED, lasting=False), at=NOW)

    assert reminded(book, now=NOW + 9 * DAY, remind=DAY) == book
    _, again = look(book, replace(FAILED, lasting=False), at=NOW + 9 * DAY)
    assert again == ["still open: backup failed"]


def test_a_clock_that_was_years_ahead_does_not_silence_reminders() -> None:
    book, _ = look(Book(), FAILED, at=NOW + 900 * DAY)

    assert reminded(book, now=NOW, remind=DAY).queue


def test_a_message_that_fails_waits_longer_each_time_and_at_last_is_given_up() -> None:
    book = queued(Book(), [message(Severity.FAILURE, "t", "", now=NOW)])
    (entry,) = book.queue
    waits = []
    moment = NOW
    while book.queue:
        assert sendable(book, now=moment)
        book = after_try(book, entry.id, delivered=(), failed={"c": "HTTP 500"}, now=moment)
        waits.append(book.queue[0].not_before - moment)
        assert not sendable(book, now=moment)
        moment = book.queue[0].not_before
        book = expired(book, now=moment)

    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert max(waits) == LONGEST_WAIT
    assert moment - NOW > LONGEST_AGE
    assert book.given_up == 1


def test_a_message_that_one_of_two_channels_has_is_kept_for_the_other_alone() -> None:
    book = queued(Book(), [message(Severity.FAILURE, "t", "", now=NOW)])
    identity = book.queue[0].id
    book = after_try(book, identity, delivered=("a",), failed={"b": "HTTP 500"}, now=NOW)

    assert book.queue[0].delivered == ("a",)
    assert after_try(book, identity, delivered=("b",), failed={}, now=NOW).queue == ()


def test_a_message_put_off_by_a_clock_that_was_ahead_is_sent_all_the_same() -> None:
    book = queued(Book(), [message(Severity.FAILURE, "t", "", now=NOW + 900 * DAY)])

    assert sendable(book, now=NOW)


def test_of_too_many_messages_the_newest_stay() -> None:
    many = [message(Severity.INFO, str(n), "", now=NOW) for n in range(MOST_MESSAGES + 7)]
    book = queued(Book(), many)

    assert book.queue == tuple(many[7:])
    assert book.given_up == 7


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=40))
def test_each_incident_begins_and_ends_once_and_reminders_keep_their_distance(
    runs: list[tuple[bool, int]],
) -> None:
    book, moment, told = Book(), NOW, []
    for fails, hours in runs:
        moment += timedelta(hours=hours)
        book, titles = look(book, *([FAILED] if fails else []), at=moment)
        told += [(title, moment) for title in titles]

    edges = [title for title, _ in told if not title.startswith("still")]
    expected = ["backup failed", "over: backup failed"] * len(edges)
    assert edges == expected[: len(edges)]
    assert bool(book.open) == bool(runs and runs[-1][0])
    for (_, before), (title, at) in pairwise(told):
        if title.startswith("still"):
            assert at - before >= DAY - timedelta(hours=1)
