"""Files that a machine remembers things in: whole, the owner's alone, nothing left beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulasis_backup.statefile import replace_file


def test_a_file_is_replaced_whole_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "state.json"
    replace_file(path, "one")
    replace_file(path, "two")

    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["state.json"]


def test_what_cannot_be_written_leaves_the_old_one_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "old")

    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\ud800")

    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "file" / "state.json", "x")
