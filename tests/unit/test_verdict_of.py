"""What an error that was met while a backup was read says of the backup."""

from __future__ import annotations

import pytest

from ulasis_backup import errors
from ulasis_backup.model import Verdict
from ulasis_backup.repository.proofs import verdict_of

SAYS_NOTHING = (
    errors.StorageError, errors.StorageDenied, errors.StorageFull, errors.Busy, errors.WrongKey,
    errors.UnknownFormat, errors.ProgramMissing, errors.ServerUnreachable, errors.CouldNotCheck,
)  # fmt: skip
BAD = (
    errors.IntegrityError, errors.AuthenticationFailed, errors.NotEqual, errors.BlobMissing,
    errors.DumpFailed, errors.LoadFailed,
)  # fmt: skip


@pytest.mark.parametrize("kind", SAYS_NOTHING)
def test_a_storage_that_does_not_answer_makes_no_backup_a_failed_one(
    kind: type[errors.UlasisError],
) -> None:
    """It would be the first that retention lets go, be it the only proven one."""
    assert verdict_of(kind("timed out", hint="h")) is Verdict.COULD_NOT_CHECK


@pytest.mark.parametrize("kind", BAD)
def test_bytes_that_are_wrong_or_gone_make_it_a_failed_one(
    kind: type[errors.UlasisError],
) -> None:
    assert verdict_of(kind("a byte is wrong", hint="h")) is Verdict.FAILED
