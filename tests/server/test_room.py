"""What is said of room when a server does not say why it took no rows."""

from __future__ import annotations

import pytest

from ulasis_backup.errors import LoadFailed
from ulasis_backup.methods import load
from ulasis_backup.mysql.loading import HINTS
from ulasis_backup.mysql.server import NOT_COMMITTED, Server
from ulasis_backup.operations.room import with_room

pytestmark = pytest.mark.server


def test_an_error_of_commit_that_hides_its_cause_comes_with_both_causes_and_the_room_left(
    server: Server,
) -> None:
    error = LoadFailed("Operation not permitted during COMMIT (1180)", hint=HINTS[1180])
    with_room(server, error)
    assert "a duplicate key, or no room left" in error.hint
    assert "bytes left now" in error.hint
    other = LoadFailed("something else", hint="another hint")
    with_room(server, other)
    assert other.hint == "another hint"


def test_the_client_program_of_a_dump_gets_the_same_hint() -> None:
    assert load._hint("ERROR 1180 (HY000) at line 9: Got error 1") == NOT_COMMITTED  # noqa: SLF001 (pure)
