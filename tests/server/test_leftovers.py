"""What restores keep beside databases: undone, listed, settled, dropped, by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.portrait import different
from support.server import Command, command_for
from support.swapping import (
    HOME,
    child,
    cleared,
    load_beside,
    make_states,
    picture,
    plan_for,
)
from ulasis_backup.mysql import swap
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server

pytestmark = pytest.mark.server


@pytest.fixture
def home(scratch: ScratchServer) -> Iterator[Server]:
    with cleared(scratch) as server:
        yield server


def test_an_undo_shows_its_plan_asks_and_brings_the_old_database_back(
    home: Server, tmp_path: Path
) -> None:
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    command = command_for(home.login, tmp_path, HOME)
    shown = command.ok("undo", "--dry-run")
    assert shown["dry_run"]
    assert shown["restore"] == plan.names.id
    assert command.run("undo").code == 51
    assert different(new, picture(home)) == set()
    assert _left(command) == [("done", [plan.names.before])]
    home.run(f"INSERT INTO {HOME}.plain (text) VALUES ('since')")
    assert command.ok("undo", plan.names.id, "--yes")["written"] == ["plain"]
    assert different(old, picture(home)) == set()
    assert command.run("undo", plan.names.id, "--yes").code == 50
    assert _left(command) == [("undone", [plan.names.undone])]
    assert command.run("drop-leftovers").code == 51
    assert command.ok("drop-leftovers", "--yes")["dropped"]
    assert _left(command) == []


def test_no_backup_is_made_of_a_half_swapped_database_unless_it_can_be_finished(
    home: Server, tmp_path: Path
) -> None:
    _, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    child(home.login, plan, tmp_path, "swap", "renamed")
    assert swap.incomplete(home, HOME)
    reader = _reader(home, tmp_path)
    refused = reader.run("backup")
    assert refused.code == 53, refused.said
    assert "swap incomplete" in refused.err
    command = command_for(home.login, tmp_path, HOME)
    assert command.ok("backup", "--method", "rows")["backups"]
    assert different(new, picture(home)) == set()


def test_settle_says_what_it_did(home: Server, tmp_path: Path) -> None:
    old, _, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    child(home.login, plan, tmp_path, "swap", "events off")
    command = command_for(home.login, tmp_path, HOME)
    settled = command.ok("settle")["settled"]
    assert [one["outcome"] for one in settled] == ["rolled back"]
    assert different(old, picture(home)) == set()
    assert command.ok("settle")["settled"] == []


def test_a_backup_of_all_databases_leaves_out_what_restores_keep(
    home: Server, tmp_path: Path
) -> None:
    _, _, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    made = command_for(home.login, tmp_path, "*").ok("backup", "--method", "rows")["backups"]
    held = {name for one in made for name in one["databases"]}
    assert HOME in held
    assert not any(name.startswith(f"{HOME}__") for name in held)


def _left(command: Command) -> list[tuple[str, list[str]]]:
    """Return what restores of this database left: other tests use the server, too."""
    listed = command.ok("list", "--leftovers")["leftovers"]
    return [(one["state"], one["schemas"]) for one in listed if one["database"] == HOME]


def _reader(home: Server, folder: Path) -> Command:
    home.run("CREATE OR REPLACE USER reader@localhost")
    home.run(
        f"GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON {HOME}.* TO reader@localhost"
    )
    home.run("GRANT SELECT ON mysql.* TO reader@localhost")
    home.run(
        "GRANT SHOW CREATE ROUTINE ON *.* TO reader@localhost"
        if home.version.numbers >= (11, 3, 0)
        else "GRANT SELECT ON mysql.proc TO reader@localhost"
    )
    return command_for(home.login, folder, HOME, DB_USER="reader")
