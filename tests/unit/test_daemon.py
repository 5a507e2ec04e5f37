"""What a daemon does when: missed jobs, clocks that jump, what it remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.operations.daemon import next_due
from ulasis_backup.operations.daemon_memory import Past, begun, cut_off, due, ended, not_later
from ulasis_backup.schedule import Job, due_after, due_before

NIGHTLY = Job(name="backup", title="", arguments=("backup",), when="0 2 * * *")
WEEKLY = Job(name="verify", title="", arguments=("verify-all",), when="0 3 * * 0")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_what_was_missed_many_times_is_due_once_and_the_longest_due_comes_first() -> None:
    pasts = dict.fromkeys(("backup", "verify"), Past(done=NOW - timedelta(days=40)))

    found = due([NIGHTLY, WEEKLY], pasts, NOW)

    assert found == (WEEKLY, NIGHTLY)
    assert due([NIGHTLY, WEEKLY], dict.fromkeys(pasts, Past(done=NOW)), NOW) == ()


def test_a_job_is_due_at_its_minute_and_not_before() -> None:
    last = {"backup": Past(done=NOW)}
    at_two = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)

    assert due([NIGHTLY], last, at_two - timedelta(microseconds=1)) == ()
    assert due([NIGHTLY], last, at_two) == (NIGHTLY,)
    assert due([NIGHTLY], {"backup": Past(done=at_two)}, at_two) == ()


def test_a_clock_that_was_put_back_neither_repeats_a_job_nor_stops_it() -> None:
    last = {"backup": Past(done=NOW + timedelta(days=300))}

    assert due([NIGHTLY], last, NOW) == ()
    # From then on the moment of that look counts.
    assert due([NIGHTLY], {"backup": Past(done=NOW)}, NOW + timedelta(days=1)) == (NIGHTLY,)


def test_the_next_job_is_the_one_that_comes_first() -> None:
    moment, job = next_due([WEEKLY, NIGHTLY], NOW)

    assert (moment, job) == (datetime(2026, 11, 25, 2, 0, tzinfo=UTC), NIGHTLY)


@given(
    seconds=st.floats(0, 1e8),
    when=st.sampled_from(["0 2 * * *", "*/15 * * * *", "0 3 * * 0", "30 4 1 * *"]),
)
def test_before_and_after_leave_nothing_out(seconds: float, when: str) -> None:
    here = NOW + timedelta(seconds=seconds)
    before, after = due_before(when, here), due_after(when, here)

    assert before <= here < after
    assert due_after(when, before) == after


def test_what_lies_in_the_future_is_remembered_as_now() -> None:
    last = {
        "backup": Past(done=NOW + timedelta(days=300)),
        "verify": Past(done=NOW - timedelta(days=1)),
    }

    remembered = not_later(last, NOW)

    assert remembered == {"backup": Past(done=NOW), "verify": Past(done=NOW - timedelta(days=1))}
    assert due([NIGHTLY], remembered, NOW + timedelta(days=1)) == (NIGHTLY,)


MISSED = Past(done=NOW - timedelta(days=2))


def test_a_job_that_was_cut_off_is_due_again_after_a_while() -> None:
    cut = cut_off(begun(MISSED, NIGHTLY, NOW), NOW, by_us=False)

    assert due([NIGHTLY], {"backup": cut}, NOW + timedelta(minutes=9)) == ()
    assert due([NIGHTLY], {"backup": cut}, NOW + timedelta(minutes=10)) == (NIGHTLY,)


def test_a_job_that_is_cut_off_each_time_waits_for_its_next_regular_time() -> None:
    past, moment = MISSED, NOW
    tries = 0
    while due([NIGHTLY], {"backup": past}, moment):
        past = cut_off(begun(past, NIGHTLY, moment), moment, by_us=False)
        moment += timedelta(hours=1)
        tries += 1

    assert tries == 3
    assert due([NIGHTLY], {"backup": past}, datetime(2026, 11, 25, 2, 0, tzinfo=UTC)) == (NIGHTLY,)


def test_stopping_the_daemon_often_costs_no_job_its_tries() -> None:
    past = MISSED
    for hour in range(10):
        moment = NOW + timedelta(hours=hour)
        assert due([NIGHTLY], {"backup": past}, moment) == (NIGHTLY,)
        past = cut_off(begun(past, NIGHTLY, moment), moment, by_us=True)


def test_a_job_that_ended_by_itself_is_done_since_its_begin() -> None:
    past = ended(begun(MISSED, NIGHTLY, NOW))

    assert past == Past(done=NOW)
    assert due([NIGHTLY], {"backup": past}, NOW + timedelta(hours=1)) == ()
