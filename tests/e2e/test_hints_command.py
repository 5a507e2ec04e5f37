"""Commands in hints are those that a person would have to type: with the options of this run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from support.server import Command


@pytest.mark.parametrize("json", [False, True])
def test_a_command_in_a_hint_looks_where_this_one_has_looked(tmp_path: Path, *, json: bool) -> None:
    command = Command(home=tmp_path)
    folder = tmp_path / "my backups"
    words = ("--json",) if json else ()
    done = command.run(*words, "--backup-dir", str(folder), "show", "nothing-like-this")

    assert done.code == 31
    hint = done.json["error"]["hint"] if json else done.err
    printed = hint.partition("`")[2].partition("`")[0]
    assert shlex.split(printed)[:3] == ["ulasis-backup", "--backup-dir", str(folder)]
    assert command.run(*shlex.split(printed)[1:]).code == 0


def test_without_options_a_hint_stays_as_it_is(tmp_path: Path) -> None:
    done = Command(home=tmp_path).run("show", "nothing-like-this")

    assert "`ulasis-backup list`" in done.err
