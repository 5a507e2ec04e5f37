"""What restores keep beside databases: undone, listed, settled, dropped, by the real command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.portrait import Portrait, different
from support.server import Command, command_for
from support.shelf import context_at
from support.swapping import (
    HOME,
    child,
    cleared,
    load_beside,
    make_states,
    picture,
    plan_for,
)
from ulasis_backup.errors import Refused
from ulasis_backup.mysql import beside, swap
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server
from ulasis_backup.mysql.swap_plans import SwapPlan
from ulasis_backup.operations import leftovers

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


def test_a_login_that_cannot_see_the_journal_is_not_told_to_drop_the_mark(
    home: Server, tmp_path: Path
) -> None:
    _, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    child(home.login, plan, tmp_path, "swap", "renamed")
    reader = _reader(home, tmp_path)
    for verb in ("settle", "backup"):
        refused = reader.run(verb)
        assert refused.code == 53, refused.said
        assert "sees no journal" in refused.err
        assert "DB_RESTORE_USER" in refused.err
        assert "`shop\\_\\_%`" in refused.err
        assert "DROP" not in refused.err
    assert "sees no journal" in reader.run("check").said
    assert command_for(home.login, tmp_path, HOME).ok("settle")["settled"]
    assert different(new, picture(home)) == set()


def test_a_mark_without_a_journal_is_told_to_who_sees_every_schema(
    home: Server, tmp_path: Path
) -> None:
    home.run(f"CREATE DATABASE {HOME}")
    home.run(f"CREATE TABLE {HOME}.{beside.MOVED} (id INT)")
    refused = command_for(home.login, tmp_path, HOME).run("settle")
    assert refused.code == 53
    assert "its journal is gone from this server" in refused.err


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


def test_a_login_that_sees_nothing_says_that_it_may_be_the_login(
    home: Server, tmp_path: Path
) -> None:
    _swapped(home)
    reader = _reader(home, tmp_path)
    for arguments in (("list", "--leftovers"), ("settle",)):
        done = reader.run(*arguments)
        assert done.code == 0
        assert "that this login can see" in done.out


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


def test_a_dry_run_leaves_what_was_cut_off_and_an_undo_goes_on_from_it(
    home: Server, tmp_path: Path
) -> None:
    old, _, objects = make_states(home)
    command = command_for(home.login, tmp_path, HOME, BACKUP_METHOD="rows")
    name = command.backup()
    plan = plan_for(home, objects)
    load_beside(home, plan)
    child(home.login, plan, tmp_path, "swap", "renamed")
    for arguments in (("restore", name), ("undo", plan.names.id)):
        refused = command.run(*arguments, "--dry-run")
        assert refused.code == 53, refused.said
        assert swap.incomplete(home, HOME)
    assert command.ok("undo", plan.names.id, "--yes")["kept_in"] == plan.names.undone
    assert different(old, picture(home)) == set()


def test_an_undo_that_was_cut_off_is_finished_by_the_same_command(
    home: Server, tmp_path: Path
) -> None:
    old, _, plan = _swapped(home)
    child(home.login, plan, tmp_path, "undo", "renamed")
    command = command_for(home.login, tmp_path, HOME)
    assert command.ok("undo", plan.names.id, "--yes")["kept_in"] == plan.names.undone
    assert different(old, picture(home)) == set()


def test_a_restore_that_never_swapped_is_taken_back_by_its_undo(
    home: Server, tmp_path: Path
) -> None:
    old, _, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    child(home.login, plan, tmp_path, "swap", "events off")
    done = command_for(home.login, tmp_path, HOME).run("undo", plan.names.id, "--yes")
    assert done.code == 50
    assert "nothing of it is left" in done.err
    assert different(old, picture(home)) == set()


def test_what_was_half_undone_while_somebody_was_asked_is_not_dropped(
    home: Server, tmp_path: Path
) -> None:
    _, new, plan = _swapped(home)

    def confirm(_: tuple[leftovers.Leftover, ...]) -> bool:
        child(home.login, plan, tmp_path, "undo", "triggers off")
        return True

    password = home.login.password.reveal()
    context = context_at(
        tmp_path, db_socket=home.login.socket, db_user=home.login.user,
        **({"db_password": password} if password else {}),
    )  # fmt: skip
    with pytest.raises(Refused, match="undoing now"):
        leftovers.drop_leftovers(context, (), confirm=confirm)
    assert len(swap.settle(home.login, HOME)) == 1
    assert different(new, picture(home)) == set()


def test_what_foreign_keys_lead_into_is_not_dropped(home: Server, tmp_path: Path) -> None:
    _, _, plan = _swapped(home)
    home.run(f"CREATE DATABASE {HOME}__x")
    home.run(
        f"CREATE TABLE {HOME}__x.child (id INT PRIMARY KEY, c INT, CONSTRAINT inwards "
        f"FOREIGN KEY (c) REFERENCES {plan.names.before}.customers (id))"
    )
    command = command_for(home.login, tmp_path, HOME)
    refused = command.run("drop-leftovers", "--yes")
    assert refused.code == 50
    assert "inwards" in refused.err
    home.run(f"DROP TABLE {HOME}__x.child")
    assert command.ok("drop-leftovers", "--yes")["dropped"]


def test_a_journal_of_a_newer_version_stands_in_the_way_of_its_own_database_alone(
    home: Server, tmp_path: Path
) -> None:
    _, _, plan = _swapped(home)
    home.run(
        f"UPDATE {plan.names.before}.__ulasis_journal SET body = REPLACE(body, %s, %s)",
        ('"version": 1', '"version": 99'),
    )
    command = command_for(home.login, tmp_path, HOME)
    listed = command.ok("list", "--leftovers")["leftovers"]
    assert [(one["id"], one["state"]) for one in listed] == [(plan.names.id, "newer")]
    assert command.ok("drop-leftovers", "--yes")["dropped"] == []
    refused = command.run("drop-leftovers", plan.names.id, "--yes")
    assert (refused.code, "newer version" in refused.err) == (50, True)
    refused = command.run("settle")
    assert (refused.code, "is of version 99" in refused.err) == (50, True)


def _swapped(home: Server) -> tuple[Portrait, Portrait, SwapPlan]:
    """Return portraits of the old and the new state, which is there, and the plan."""
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    return old, new, plan
