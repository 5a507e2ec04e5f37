"""The swap: exactly the new database, exactly the old one again, whatever ends it on the way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.portrait import different
from support.swapping import (
    HOME,
    child,
    cleared,
    load_beside,
    make_states,
    picture,
    plan_for,
    prepare_like,
)
from ulasis_backup.errors import Busy, Refused, ServerError, SwapIncomplete
from ulasis_backup.model import Login, ObjectKind
from ulasis_backup.mysql import beside, swap
from ulasis_backup.mysql.journal import State
from ulasis_backup.mysql.privileges import WRITING
from ulasis_backup.mysql.routine_rights import give_back
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server, connect, locked, quote
from ulasis_backup.mysql.swap_checks import missing_for_swap
from ulasis_backup.mysql.swap_objects import Scope, read_objects
from ulasis_backup.mysql.swap_plans import SwapPlan
from ulasis_backup.operations.definers import about_undo

pytestmark = pytest.mark.server
PHASES = ("events off", "triggers off", "renamed", "objects")
"""Those worth a test each time; ``benchmarks.swaps`` strikes at any moment."""

AFTER_THE_MOVE = ("renamed", "objects")


@pytest.fixture
def home(any_server: ScratchServer) -> Iterator[Server]:
    """Return a session on a server on which the database, and all beside it, is gone after."""
    with cleared(any_server) as server:
        yield server


@pytest.fixture
def one_home(scratch: ScratchServer) -> Iterator[Server]:
    """Return the same on the system's MariaDB alone: for what does not depend on the server."""
    with cleared(scratch) as server:
        yield server


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


def test_a_roll_back_leaves_the_old_database_and_nothing_beside(one_home: Server) -> None:
    old, _, objects = make_states(one_home)
    plan = plan_for(one_home, objects)
    load_beside(one_home, plan)
    swap.roll_back(one_home.login, plan.names)
    assert different(old, picture(one_home)) == set()
    assert beside.schemas_of(one_home, HOME) == ()


def test_with_tables_only_those_are_swapped_and_undone(one_home: Server) -> None:
    old, new, objects = make_states(one_home)
    tables = frozenset({"plain", "audit", "only_new"})
    wanted = tuple(one for one in objects if one.extra.get("table") in tables)
    plan = SwapPlan(names=beside.new_names(HOME), tables=tables, new_objects=wanted)
    load_beside(one_home, plan)
    one_home.run("SET SESSION foreign_key_checks = 0")
    for name in ("orders", "customers"):
        one_home.run(f"DROP TABLE {quote(plan.names.restore)}.{name}")
    if one_home.is_mariadb:
        one_home.run(f"DROP TABLE {quote(plan.names.restore)}.numbered")
        one_home.run(f"DROP SEQUENCE {quote(plan.names.restore)}.numbers")
    one_home.run("SET SESSION foreign_key_checks = 1")
    swap.swap(one_home.login, plan, wait=20)
    now = picture(one_home)
    changed = {"table only_new", "rows of only_new", "trigger only_new_bi"}
    assert {name for name in different(old, now) if name not in changed} <= different(old, new)
    assert "trigger only_new_bi" in now
    assert now["trigger orders_bi"] == old["trigger orders_bi"]
    swap.undo(one_home.login, plan.names, wait=20)
    assert different(old, picture(one_home)) == set()


def test_a_database_that_was_not_there_is_gone_again_after_an_undo(one_home: Server) -> None:
    _, new, objects = make_states(one_home)
    plan = plan_for(one_home, objects)
    one_home.run(f"DROP DATABASE {HOME}")
    load_beside(one_home, plan)
    swap.swap(one_home.login, plan, wait=20)
    assert different(new, picture(one_home)) == set()
    swap.undo(one_home.login, plan.names, wait=20)
    assert one_home.query(f"SHOW DATABASES LIKE '{HOME}'") == []


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


def test_keys_of_another_database_that_point_in_are_refused_at_once(
    one_home: Server,
) -> None:
    _, _, objects = make_states(one_home)
    one_home.run(f"CREATE DATABASE {HOME}__x")
    one_home.run(
        f"CREATE TABLE {HOME}__x.child (id INT PRIMARY KEY, c INT, CONSTRAINT inwards "
        f"FOREIGN KEY (c) REFERENCES {HOME}.customers (id))"
    )
    plan = plan_for(one_home, objects)
    with pytest.raises(Refused, match="inwards"):
        swap.prepare(one_home, plan)
    assert beside.schemas_of(one_home, HOME) == ()


def test_whenever_we_are_killed_the_next_one_makes_it_all_old_or_all_new(
    home: Server, tmp_path: Path
) -> None:
    old, new, objects = make_states(home)
    for phase in PHASES:
        plan = plan_for(home, objects)
        load_beside(home, plan)
        child(home.login, plan, tmp_path, "swap", phase)
        assert len(swap.settle(home.login, HOME)) == 1, phase
        assert not swap.incomplete(home, HOME)
        moved = phase in AFTER_THE_MOVE
        assert different(new if moved else old, picture(home)) == set(), phase
        if moved:
            child(home.login, plan, tmp_path, "undo", "triggers off")
            assert len(swap.settle(home.login, HOME)) == 1, phase
            assert different(new, picture(home)) == set(), phase
            child(home.login, plan, tmp_path, "undo", phase)
            assert len(swap.settle(home.login, HOME)) == 1, phase
            assert different(old, picture(home)) == set(), phase
        assert swap.settle(home.login, HOME) == ()


def test_no_row_is_written_to_a_table_without_its_triggers(home: Server) -> None:
    make_states(home)
    objects = tuple(
        one for one in read_objects(home, HOME, Scope()) if one.kind != ObjectKind.EVENT
    )
    stop = threading.Event()
    writers = [threading.Thread(target=_write, args=(home.login, stop)) for _ in range(3)]
    for one in writers:
        one.start()
    try:
        plan = SwapPlan(names=beside.new_names(HOME), new_objects=objects)
        prepare_like(home, plan)
        swap.swap(home.login, plan, wait=30)
        time.sleep(0.2)
    finally:
        stop.set()
        for one in writers:
            one.join()
    for where in (HOME, plan.names.before):
        name = quote(where)
        written = home.value(f"SELECT COUNT(*) FROM {name}.orders WHERE id > 1000")
        bare = home.value(
            f"SELECT COUNT(*) FROM {name}.orders LEFT JOIN {name}.audit "
            "ON audit.number = orders.id WHERE orders.id > 1000 "
            "AND (audit.id IS NULL OR orders.touched <> 3)"
        )
        assert written > 0
        assert bare == 0


def test_tables_without_triggers_are_swapped_too(home: Server) -> None:
    home.run(f"CREATE DATABASE {HOME}")
    home.run(f"CREATE TABLE {HOME}.a (id INT PRIMARY KEY)")
    plan = SwapPlan(names=beside.new_names(HOME))
    swap.prepare(home, plan)
    home.run(f"CREATE TABLE {quote(plan.names.restore)}.b (id INT PRIMARY KEY)")
    with connect(home.login, database=HOME) as other:
        other.run("START TRANSACTION")
        other.query("SELECT * FROM a")
        with pytest.raises(Busy):
            swap.swap(home.login, plan, wait=1)
    swap.swap(home.login, plan, wait=20)
    assert home.query(f"SHOW TABLES FROM {HOME}") == [("b",)]
    swap.undo(home.login, plan.names, wait=20)
    assert home.query(f"SHOW TABLES FROM {HOME}") == [("a",)]


def test_a_view_that_was_broken_is_named_by_the_undo_that_cannot_make_it(home: Server) -> None:
    old, _, objects = make_states(home)
    home.run(f"CREATE TABLE {HOME}.gone (id INT)")
    home.run(f"CREATE VIEW {HOME}.broken AS SELECT * FROM {HOME}.gone")
    home.run(f"DROP TABLE {HOME}.gone")
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    done = swap.undo(home.login, plan.names, wait=20)
    assert different(old, picture(home)) == set()
    assert [note for note in done.notes if "view broken was broken before" in note]


def test_an_undo_that_lacks_a_definer_names_the_account_and_settle_goes_on(home: Server) -> None:
    _, _, objects = make_states(home)
    home.run("CREATE USER gone@localhost")
    home.run(f"GRANT SELECT ON {HOME}.* TO gone@localhost")
    try:
        inner = f"CREATE DEFINER=gone@localhost VIEW {HOME}.inner_one AS SELECT 1 AS one"
        home.run(inner)
        home.run(f"CREATE VIEW {HOME}.outer_one AS SELECT one FROM {HOME}.inner_one")
        old = picture(home)
        home.run("DROP USER gone@localhost")
        (said,) = about_undo(home, HOME)
        assert "CREATE USER `gone`@`localhost` ACCOUNT LOCK;" in said
        home.run("CREATE USER gone@localhost")
        plan = plan_for(home, objects)
        load_beside(home, plan)
        swap.swap(home.login, plan, wait=20)
        home.run("DROP USER gone@localhost")
        with pytest.raises(SwapIncomplete) as caught:
            swap.undo(home.login, plan.names, wait=20)
        assert "CREATE USER `gone`@`localhost` ACCOUNT LOCK;" in caught.value.hint
        assert "settle" in caught.value.hint
        home.run("CREATE USER gone@localhost ACCOUNT LOCK")
        home.run(f"GRANT SELECT ON {HOME}.* TO gone@localhost")
        swap.settle(home.login, HOME)
        assert different(old, picture(home)) == set()
    finally:
        home.run("DROP USER IF EXISTS gone@localhost")


def test_a_view_gives_way_to_a_table_of_its_name_and_comes_back(one_home: Server) -> None:
    one_home.run(f"CREATE DATABASE {HOME}")
    one_home.run(f"CREATE TABLE {HOME}.a (id INT PRIMARY KEY)")
    one_home.run(f"CREATE VIEW {HOME}.b AS SELECT * FROM {HOME}.a")
    old = picture(one_home)
    plan = SwapPlan(names=beside.new_names(HOME))
    swap.prepare(one_home, plan)
    one_home.run(f"CREATE TABLE {quote(plan.names.restore)}.b (id INT PRIMARY KEY)")
    swap.swap(one_home.login, plan, wait=20)
    assert one_home.query(f"SHOW FULL TABLES FROM {HOME}") == [("b", "BASE TABLE")]
    swap.undo(one_home.login, plan.names, wait=20)
    assert different(old, picture(one_home)) == set()


def test_a_login_with_rights_on_the_database_and_its_neighbours_alone_can_swap(
    home: Server, any_server: ScratchServer
) -> None:
    home.run("DROP USER IF EXISTS mover@localhost")
    home.run("CREATE USER mover@localhost")
    login = replace(any_server.login, user="mover")
    try:
        home.run(f"GRANT {', '.join(WRITING)} ON {HOME}.* TO mover@localhost")
        home.run(f"GRANT EXECUTE ON {HOME}.* TO mover@localhost")
        home.run("GRANT SELECT ON mysql.* TO mover@localhost")
        with connect(login) as mover:
            missing = missing_for_swap(mover, beside.new_names(HOME))
            assert {one.right for one in missing} == {*WRITING}
            home.run(missing[0].statement)
        with connect(login) as mover:
            assert missing_for_swap(mover, beside.new_names(HOME)) == ()
            old, new, objects = make_states(mover)
            plan = plan_for(mover, objects)
            load_beside(mover, plan)
            swap.swap(login, plan, wait=20)
            assert different(new, picture(mover)) == set()
            swap.undo(login, plan.names, wait=20)
            assert different(old, picture(mover)) == set()
    finally:
        home.run("DROP USER mover@localhost")


@pytest.mark.parametrize("phase", ["mark", "objects"])
def test_a_right_that_is_lost_in_the_middle_is_said_to_be_a_swap_to_settle(
    home: Server, any_server: ScratchServer, phase: str
) -> None:
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    home.run("DROP USER IF EXISTS mover@localhost")
    home.run("CREATE USER mover@localhost")
    home.run("GRANT ALL ON *.* TO mover@localhost")
    login = replace(any_server.login, user="mover")
    home.run("REVOKE DROP ON *.* FROM mover@localhost")
    for pattern in (HOME, rf"{HOME}\_\_%"):
        home.run(f"GRANT DROP ON `{pattern}`.* TO mover@localhost")

    def lose(name: str) -> None:
        if name == phase:
            home.run(f"REVOKE DROP ON {HOME}.* FROM mover@localhost")

    try:
        with pytest.raises(SwapIncomplete, match="swap incomplete") as caught:
            swap.swap(login, plan, wait=20, on_phase=lose)
        assert "`ulasis-backup settle` finishes it" in caught.value.hint
        assert f"undo {plan.names.id}" in caught.value.hint
        with pytest.raises(SwapIncomplete, match="swap incomplete"):
            swap.settle(login, HOME)
        assert swap.settle(home.login, HOME)
        assert different(old if phase == "mark" else new, picture(home)) == set()
    finally:
        home.run("DROP USER mover@localhost")


def test_a_move_that_fails_in_the_last_moment_leaves_the_old_database(home: Server) -> None:
    old, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)

    def stand_in_the_way(phase: str) -> None:
        if phase == "triggers off":
            home.run(f"CREATE TABLE {HOME}.only_new (id INT PRIMARY KEY)")

    with pytest.raises(QueryFailed, match="only_new"):
        swap.swap(home.login, plan, wait=20, on_phase=stand_in_the_way)
    home.run(f"DROP TABLE {HOME}.only_new")
    assert different(old, picture(home)) == set()
    assert not swap.incomplete(home, HOME)
    swap.swap(home.login, plan, wait=20)
    assert different(new, picture(home)) == set()


def test_settle_is_busy_while_the_run_lives(one_home: Server) -> None:
    _, _, objects = make_states(one_home)
    plan = plan_for(one_home, objects)
    load_beside(one_home, plan)
    with connect(one_home.login) as owner, locked(owner, HOME), pytest.raises(Busy):
        swap.settle(one_home.login, HOME)
    assert [one.outcome for one in swap.settle(one_home.login, HOME)] == [swap.Outcome.ROLLED_BACK]


def test_what_cannot_be_created_is_named_and_can_be_undone(one_home: Server) -> None:
    old, _, objects = make_states(one_home)
    broken = tuple(
        one if one.name != "count_orders" else replace(one, text=b"CREATE PROCEDURE nonsense")
        for one in objects
    )
    plan = plan_for(one_home, broken)
    load_beside(one_home, plan)
    with pytest.raises(SwapIncomplete, match="count_orders"):
        swap.swap(one_home.login, plan, wait=20)
    assert swap.incomplete(one_home, HOME)
    assert [one.state for one in swap.pending(one_home, HOME)] == [State.OBJECTS]
    with pytest.raises(SwapIncomplete, match="count_orders"):
        swap.settle(one_home.login, HOME)
    swap.undo(one_home.login, plan.names, wait=20)
    assert different(old, picture(one_home)) == set()


def test_a_trigger_that_cannot_be_created_leaves_both_ways_open(home: Server) -> None:
    old, _, objects = make_states(home)
    broken = tuple(
        one if one.name != "orders_ad" else replace(one, text=one.text + b", @x = NEW.id")
        for one in objects
    )
    plan = plan_for(home, broken)
    load_beside(home, plan)
    with pytest.raises(SwapIncomplete, match="orders_ad"):
        swap.swap(home.login, plan, wait=20)
    assert swap.incomplete(home, HOME)
    with pytest.raises(SwapIncomplete, match="orders_ad"):
        swap.settle(home.login, HOME)
    assert swap.settle(home.login, HOME, leaving=plan.names.id) == ()
    swap.undo(home.login, plan.names, wait=20)
    assert different(old, picture(home)) == set()


def test_a_routine_that_changes_keeps_the_rights_given_on_it(home: Server) -> None:
    old, new, objects = make_states(home)
    home.run("CREATE USER caller@localhost")
    try:
        home.run(f"CREATE PROCEDURE {HOME}.only_before() SELECT 1")
        home.run(f"GRANT EXECUTE, GRANT OPTION ON PROCEDURE {HOME}.only_before TO caller@localhost")
        old = picture(home)
        home.run(f"GRANT EXECUTE ON FUNCTION {HOME}.scaled TO caller@localhost")
        home.run(f"GRANT EXECUTE ON PROCEDURE {HOME}.count_orders TO caller@localhost")
        given = home.query("SHOW GRANTS FOR caller@localhost")
        plan = plan_for(home, objects)
        load_beside(home, plan)
        swap.swap(home.login, plan, wait=20)
        assert different(new, picture(home)) == set()
        now = home.query("SHOW GRANTS FOR caller@localhost")
        assert {*given} - {*now} == {line for line in given if "only_before" in line[0]}
        swap.undo(home.login, plan.names, wait=20)
        assert different(old, picture(home)) == set()
        assert {*home.query("SHOW GRANTS FOR caller@localhost")} == {*given}
    finally:
        home.run("DROP USER caller@localhost")


def test_an_account_that_is_gone_is_not_made_anew_by_giving_its_rights_back(home: Server) -> None:
    make_states(home)
    right = ("procedure", "count_orders", "nobody_there", "localhost", "Execute")
    (said,) = give_back(home, HOME, [right])
    assert "GRANT EXECUTE ON PROCEDURE `" in said
    assert home.query("SELECT 1 FROM mysql.user WHERE User = 'nobody_there'") == []


def test_what_comes_later_is_created_by_whoever_comes_next(home: Server) -> None:
    old, new, objects = make_states(home)
    later = frozenset({("view", "totals"), ("view", "new_best")})
    for end in (swap.complete, lambda login, names: swap.settle(login, names.database)):
        plan = replace(plan_for(home, objects), later=later)
        load_beside(home, plan)
        swap.swap(home.login, plan, wait=20)
        assert swap.incomplete(home, HOME)
        assert {"view totals", "view new_best"} <= different(new, picture(home))
        end(home.login, plan.names)
        assert different(new, picture(home)) == set()
        assert not swap.incomplete(home, HOME)
        swap.undo(home.login, plan.names, wait=20)
        assert different(old, picture(home)) == set()


def test_keys_that_came_since_are_refused_by_an_undo_they_would_go_astray(home: Server) -> None:
    _, new, objects = make_states(home)
    plan = plan_for(home, objects)
    load_beside(home, plan)
    swap.swap(home.login, plan, wait=20)
    home.run(f"CREATE DATABASE {HOME}__x")
    home.run(
        f"CREATE TABLE {HOME}__x.child (id INT PRIMARY KEY, c INT, CONSTRAINT inwards "
        f"FOREIGN KEY (c) REFERENCES {HOME}.customers (id))"
    )
    with pytest.raises(Refused, match="inwards") as refused:
        swap.undo(home.login, plan.names, wait=20)
    assert "in-place" not in refused.value.hint
    assert different(new, picture(home)) == set()
    assert not swap.incomplete(home, HOME)


def test_a_trigger_that_took_the_name_of_an_old_one_is_refused_by_an_undo(home: Server) -> None:
    make_states(home)
    home.run(f"CREATE TRIGGER {HOME}.on_plain BEFORE INSERT ON plain FOR EACH ROW SET @x = 1")
    names = beside.new_names(HOME)
    plan = SwapPlan(names=names, tables=frozenset({"plain"}))
    swap.prepare(home, plan)
    home.run(f"CREATE TABLE {quote(names.restore)}.plain (id INT PRIMARY KEY)")
    swap.swap(home.login, plan, wait=20)
    home.run(f"CREATE TRIGGER {HOME}.on_plain BEFORE INSERT ON audit FOR EACH ROW SET @x = 1")
    between = picture(home)
    with pytest.raises(Refused, match="on_plain is on table audit"):
        swap.undo(home.login, names, wait=20)
    assert different(between, picture(home)) == set()
    home.run(f"DROP TRIGGER {HOME}.on_plain")
    swap.undo(home.login, names, wait=20)
    assert "trigger on_plain" in picture(home)


def test_a_database_of_the_same_name_in_other_letters_is_another_one(home: Server) -> None:
    if home.value("SELECT @@lower_case_table_names") != 0:
        pytest.skip("this server takes both names for one")
    _, _, objects = make_states(home)
    other = HOME.upper()
    home.run(f"CREATE DATABASE {other}")
    try:
        home.run(
            f"CREATE TABLE {other}.child (id INT PRIMARY KEY, c INT, CONSTRAINT inwards "
            f"FOREIGN KEY (c) REFERENCES {HOME}.customers (id))"
        )
        with pytest.raises(Refused, match="inwards"):
            swap.prepare(home, plan_for(home, objects))
    finally:
        home.run(f"DROP DATABASE {other}")


def _write(login: Login, stop: threading.Event) -> None:
    while not stop.is_set():
        # A deadlock with the swap is what any DDL may bring.
        with contextlib.suppress(ServerError), connect(login, database=HOME) as server:
            while not stop.is_set():
                server.run("START TRANSACTION")
                server.run("INSERT INTO plain (text) VALUES ('x')")
                server.run("INSERT INTO orders (customer, total) VALUES (1, 2)")
                server.run("COMMIT")
