"""The swap: exactly the new database, exactly the old one again, whatever ends it on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.portrait import different
from support.swapping import HOME, child, drop_all, load_beside, make_states, picture, plan_for
from ulasis_backup.errors import Busy, Refused, SwapIncomplete
from ulasis_backup.mysql import beside, swap
from ulasis_backup.mysql.journal import State
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, locked, quote

pytestmark = pytest.mark.server
PHASES = {
    "swap": ("events off", "triggers off", "renamed", "objects"),
    "undo": ("triggers off",),
}
"""Those worth a test each time; ``benchmarks.swaps`` strikes at any moment."""


@pytest.fixture
def home(any_server: ScratchServer) -> Iterator[Server]:
    """Return a session on a server on which the database, and all beside it, is gone after."""
    with connect(any_server.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        drop_all(server)
        yield server
        drop_all(server)
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


def test_a_swap_makes_the_new_database_and_an_undo_the_old_one_again(home: Server) -> None:
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    done = swap.swap(home.login, plan, wait=20)
    assert different(new, picture(home)) == set()
    assert "only_old" in done.moved_out
    assert not swap.incomplete(home, HOME)
    home.run(f"INSERT INTO {HOME}.plain (text) VALUES ('since')")
    undone = swap.undo(home.login, plan.names, wait=20)
    assert different(old, picture(home)) == set()
    assert undone.written == ("plain",)
    kept = home.value(f"SELECT text FROM {quote(plan.names.undone)}.plain ORDER BY id DESC")
    assert kept == "since"
    assert {one.schema for one in beside.schemas_of(home, HOME)} == {plan.names.undone}


def test_a_roll_back_leaves_the_old_database_and_nothing_beside(home: Server) -> None:
    old, _, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.roll_back(home.login, plan.names)
    assert different(old, picture(home)) == set()
    assert beside.schemas_of(home, HOME) == ()


def test_with_tables_only_those_are_swapped_and_undone(home: Server) -> None:
    old, new, objects = make_states(home)
    tables = frozenset({"plain", "audit", "only_new"})
    wanted = tuple(one for one in objects if one.extra.get("table") in tables)
    plan = swap.SwapPlan(names=beside.new_names(HOME), tables=tables, new_objects=wanted)
    load_beside(home, plan)
    home.run("SET SESSION foreign_key_checks = 0")
    for name in ("orders", "customers"):
        home.run(f"DROP TABLE {quote(plan.names.restore)}.{name}")
    if home.is_mariadb:
        home.run(f"DROP TABLE {quote(plan.names.restore)}.numbered")
        home.run(f"DROP SEQUENCE {quote(plan.names.restore)}.numbers")
    home.run("SET SESSION foreign_key_checks = 1")
    swap.swap(home.login, plan, wait=20)
    now = picture(home)
    changed = {"table only_new", "rows of only_new", "trigger only_new_bi"}
    assert {name for name in different(old, now) if name not in changed} <= different(old, new)
    assert "trigger only_new_bi" in now
    assert now["trigger orders_bi"] == old["trigger orders_bi"]
    swap.undo(home.login, plan.names, wait=20)
    assert different(old, picture(home)) == set()


def test_a_database_that_was_not_there_is_gone_again_after_an_undo(home: Server) -> None:
    _, new, objects = make_states(home)
    plan = plan_for(home, objects)
    home.run(f"DROP DATABASE {HOME}")
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    assert different(new, picture(home)) == set()
    swap.undo(home.login, plan.names, wait=20)
    assert home.query(f"SHOW DATABASES LIKE '{HOME}'") == []


def test_an_open_transaction_makes_the_swap_give_up_and_leave_everything_as_it_was(
    home: Server,
) -> None:
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    with connect(home.login, database=HOME) as other:
        other.run("START TRANSACTION")
        other.query("SELECT * FROM plain LIMIT 1")
        with pytest.raises(Busy, match="in use"):
            swap.swap(home.login, plan, wait=1)
    assert different(old, picture(home)) == set()
    assert not swap.incomplete(home, HOME)
    swap.swap(home.login, plan, wait=20)
    assert different(new, picture(home)) == set()


def test_keys_of_another_database_that_point_in_are_refused_before_anything(home: Server) -> None:
    _, _, objects = make_states(home)
    home.run(f"CREATE DATABASE {HOME}__x")
    home.run(
        f"CREATE TABLE {HOME}__x.child (id INT PRIMARY KEY, c INT, CONSTRAINT inwards "
        f"FOREIGN KEY (c) REFERENCES {HOME}.customers (id))"
    )
    plan = plan_for(home, objects)
    with pytest.raises(Refused, match="inwards"):
        swap.prepare(home, plan)
    assert beside.schemas_of(home, HOME) == ()


@pytest.mark.parametrize("direction", ["swap", "undo"])
def test_whenever_we_are_killed_the_next_one_makes_it_all_old_or_all_new(
    home: Server, tmp_path: Path, direction: str
) -> None:
    for phase in PHASES[direction]:
        old, new, objects = make_states(home)
        plan = plan_for(home, objects)
        load_beside(home, plan)
        if direction == "undo":
            swap.swap(home.login, plan, wait=20)
            old, new = new, old
        child(home.login, plan, tmp_path, direction, phase)
        settled = swap.settle(home.login, HOME)
        assert len(settled) == 1, phase
        moved = phase in ("renamed", "triggers on", "objects")
        assert different(new if moved else old, picture(home)) == set(), phase
        assert not swap.incomplete(home, HOME)
        assert swap.settle(home.login, HOME) == ()


def test_settle_is_busy_while_the_run_lives(home: Server) -> None:
    _, _, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    with connect(home.login) as owner, locked(owner, HOME), pytest.raises(Busy):
        swap.settle(home.login, HOME)
    assert [one.outcome for one in swap.settle(home.login, HOME)] == [swap.Outcome.ROLLED_BACK]


def test_what_cannot_be_created_is_named_and_can_be_undone(home: Server) -> None:
    old, _, objects = make_states(home)
    broken = tuple(
        one if one.name != "count_orders" else replace(one, text=b"CREATE PROCEDURE nonsense")
        for one in objects
    )
    plan = plan_for(home, broken)
    load_beside(home, plan)
    with pytest.raises(SwapIncomplete, match="count_orders"):
        swap.swap(home.login, plan, wait=20)
    assert swap.incomplete(home, HOME)
    assert [one.state for one in swap.pending(home, HOME)] == [State.OBJECTS]
    with pytest.raises(SwapIncomplete, match="count_orders"):
        swap.settle(home.login, HOME)
    swap.undo(home.login, plan.names, wait=20)
    assert different(old, picture(home)) == set()
