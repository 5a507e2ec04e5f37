"""A disk that is not mounted is no new repository."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from support.shelf import context_at
from ulasis_backup.errors import Refused
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.init import initialise
from ulasis_backup.operations.same_place import expect_same, remember
from ulasis_backup.repository import repository
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.local import LocalStorage


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Return a context whose repository is in a folder."""
    made = context_at(tmp_path / "backups", backup_state_dir=tmp_path / "state")
    return replace(made, repository=Repository(LocalStorage(tmp_path / "backups"), None))


def test_an_empty_folder_in_the_place_of_a_known_repository_is_refused(
    context: Context, tmp_path: Path
) -> None:
    expect_same(context)
    repository.ensure(context.repository)
    remember(context)
    expect_same(context)
    (tmp_path / "backups").rename(tmp_path / "unmounted")
    (tmp_path / "backups").mkdir()
    with pytest.raises(Refused, match="is gone") as caught:
        expect_same(context)
    assert "mounted" in caught.value.hint
    shutil.rmtree(tmp_path / "backups")
    (tmp_path / "unmounted").rename(tmp_path / "backups")
    expect_same(context)


def test_another_repository_is_refused_until_somebody_says_init(
    context: Context, tmp_path: Path
) -> None:
    repository.ensure(context.repository)
    remember(context)
    shutil.rmtree(tmp_path / "backups")
    repository.ensure(context.repository)
    with pytest.raises(Refused, match="is another one"):
        expect_same(context)
    initialise(context, tmp_path)
    expect_same(context)
