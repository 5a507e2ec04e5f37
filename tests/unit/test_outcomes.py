"""How the end of a run becomes an incident, and whom it concerns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ulasis_backup import errors
from ulasis_backup.observers.incidents import Severity
from ulasis_backup.observers.outcomes import (
    Outcome,
    Place,
    Trouble,
    checked_by,
    incidents_of,
    words_of,
)
from ulasis_backup.observers.ping import address

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
PLACE = Place(
    server="db1", databases=("a", "b", "c", "d"), repository="/b", host="web1", user="root"
)
GOOD = Outcome(operation="backup", place=PLACE, code=0, started=NOW, ended=NOW)


def test_every_exit_code_has_words_and_a_title_without_numbers() -> None:
    for error in errors.all_errors():
        (incident,) = incidents_of(replace(GOOD, code=error.exit_code))
        assert incident.title.startswith("backup of a, b, c and 1 more at db1 ")
        assert words_of(error.exit_code) in incident.title
    assert words_of(errors.ServerUnreachable.exit_code) == "server unreachable"
    assert words_of(errors.TERMINATED) == "stopped by a signal"


def test_a_backup_that_is_made_with_something_to_look_at_has_recovered() -> None:
    made = replace(GOOD, code=errors.ObjectsLeftOut.exit_code)
    (incident,) = incidents_of(made)

    assert incident.severity is Severity.WARNING
    assert incident.key == "backup/62"
    assert checked_by(made) == ("backup", "backup/")
    assert checked_by(replace(made, code=11)) == ("backup",)


def test_only_what_a_schedule_runs_is_reminded_of() -> None:
    lasting = {
        operation: incidents_of(replace(GOOD, operation=operation, code=11))[0].lasting
        for operation in ("backup", "verify-all", "test-restore", "restore", "prune")
    }

    assert [operation for operation, last in lasting.items() if not last] == ["restore", "prune"]


def test_one_intact_backup_says_nothing_about_another() -> None:
    one = replace(GOOD, operation="verify", backups=("one",))

    assert checked_by(one) == ("verify/one",)
    assert checked_by(replace(one, operation="verify-all")) == ("verify-all", "verify/")
    assert checked_by(replace(one, operation="verify-all", code=41)) == ("verify-all",)


@pytest.mark.parametrize(
    ("code", "at_terminal", "counts"),
    [
        (31, True, False), (31, False, True), (2, True, False), (41, True, True),
        (130, False, False), (143, True, True), (0, True, True),
    ],
)  # fmt: skip
def test_slips_at_a_terminal_concern_nobody_else(
    *, code: int, at_terminal: bool, counts: bool
) -> None:
    assert replace(GOOD, code=code, at_terminal=at_terminal).counts is counts


def test_of_many_troubles_the_first_are_told() -> None:
    troubles = tuple(Trouble(message=f"backup {n} is bad") for n in range(25))
    (incident,) = incidents_of(replace(GOOD, code=41, troubles=troubles))

    assert "backup 9 is bad" in incident.text
    assert "backup 10 is bad" not in incident.text
    assert "and 15 more, see the log" in incident.text


@pytest.mark.parametrize(
    ("url", "what", "expected"),
    [
        ("https://h/uuid", "start", "https://h/uuid/start"),
        ("https://h/uuid/?a=b", "fail", "https://h/uuid/fail?a=b"),
        ("https://h/uuid?a=b", "", "https://h/uuid?a=b"),
    ],
)
def test_the_address_of_a_ping_keeps_its_query(url: str, what: str, expected: str) -> None:
    assert address(url, what) == expected
