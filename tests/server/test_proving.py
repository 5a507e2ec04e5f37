"""``test-restore``: verdicts, assertions, what is recorded, and what is left behind: nothing."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.forgery import forge_header
from support.portable import PORTABLE
from support.proving import Bench, bench
from support.server import (
    Command,
    command_for,
    fresh_database,
    make_chain,
    make_orders,
    own_server,
    run_all,
    servers_folder,
)
from ulasis_backup.assertions import Assertion
from ulasis_backup.errors import CouldNotCheck, IntegrityError
from ulasis_backup.methods import load
from ulasis_backup.model import Flavour, ServerVersion, Verdict
from ulasis_backup.mysql.scratch import PREFIX, ScratchServer
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.operations.prove import oldest_unproven, prove, prove_all
from ulasis_backup.operations.scratch_world import need_room
from ulasis_backup.repository import locks
from ulasis_backup.repository.proofs import Check

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

SUPPORT = Path(__file__).parents[1] / "support"
KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture(scope="module")
def ground() -> Iterator[ScratchServer]:
    with own_server() as running:
        yield running


@pytest.fixture(scope="module")
def orders(scratch: ScratchServer) -> Iterator[str]:
    with fresh_database(scratch.login, "proving") as name, connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        make_orders(server, name, rows=100)
        yield name


@pytest.fixture(scope="module")
def whole(
    scratch: ScratchServer,
    orders: str,
    ground: ScratchServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    home = tmp_path_factory.mktemp("whole")
    more = {"BACKUP_METHOD": "rows", "BACKUP_ENCRYPTION_KEY": KEY}
    return bench(command_for(scratch.login, home, orders, **more), ground)


@pytest.fixture
def shelf(whole: Bench) -> Iterator[Bench]:
    """Return the backup; what a test does to it is undone."""
    yield whole
    whole.mend()


def command_of(scratch: ScratchServer, shelf: Bench, database: str, **more: str) -> Command:
    folder = Path(shelf.context.repository.storage.place)
    settings = {"BACKUP_DIR": str(folder), "BACKUP_ENCRYPTION_KEY": KEY, **more}
    return command_for(scratch.login, folder.parent, database, **settings)


# Verdicts.


@pytest.fixture
def traps(scratch: ScratchServer, database: str) -> str:
    """Return a database with the trap schema."""
    with connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        text = (SUPPORT / "trap_schema.sql").read_bytes()
        load.run_script(iter([text]), server, database)
    return database


def test_the_trap_schema_is_proven(
    scratch: ScratchServer, ground: ScratchServer, traps: str, tmp_path: Path
) -> None:
    for method in ("sql", "rows"):
        home = tmp_path / method
        home.mkdir()
        command = command_for(scratch.login, home, traps, BACKUP_METHOD=method)
        found = bench(command, ground).tested()
        assert found.verdict is Verdict.PROVEN, found.reason
        assert found.differences == ()
        # By rows nothing is lost; the text says of what its proof does not speak.
        assert ("except FLOAT (trap_float.f" in found.reason) == (method == "sql")


@pytest.mark.parametrize("name", ["mariadb-11.8", "mysql-9"])
def test_other_servers_are_proven_on_their_own_kind(
    start: Callable[[str], ScratchServer], tmp_path: Path, name: str
) -> None:
    running, folder = start(name), servers_folder(name)
    assert folder
    with fresh_database(running.login, "alike") as database:
        with connect(running.login) as server:
            server.run("SET GLOBAL log_bin_trust_function_creators = 1")
            run_all(server, database, PORTABLE)
        base = command_for(running.login, tmp_path, database, BACKUP_PROGRAMS_DIR=str(folder))
        benches = {
            method: bench(
                base.having(BACKUP_METHOD=method, BACKUP_DIR=str(tmp_path / method)), running
            )
            for method in ("rows", "sql")
        }
        # The database goes, so that the same server can be the one to prove them on.
        for method, one in benches.items():
            found = one.tested()
            assert found.verdict is Verdict.PROVEN, found.reason
            assert ("FLOAT" in found.reason) == (method == "sql")


def test_a_backup_of_another_kind_of_server_could_not_be_checked(shelf: Bench) -> None:
    mysql = ServerVersion(flavour=Flavour.MYSQL, version="8.4.1")
    forge_header(shelf.context, shelf.name, lambda header: replace(header, server=mysql))
    found = shelf.tested()
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "mysql 8.4" in found.reason
    assert found.problem
    assert "install mysql-server-core" in found.problem.hint
    assert "--programs" in found.problem.hint


def test_rows_alone_can_be_compared_on_another_series_and_prove_nothing(shelf: Bench) -> None:
    older = ServerVersion(flavour=Flavour.MARIADB, version="10.6.4-MariaDB")
    forge_header(shelf.context, shelf.name, lambda header: replace(header, server=older))
    assert shelf.tested().verdict is Verdict.COULD_NOT_CHECK
    request = replace(shelf.request, data_only=True)
    found = prove(shelf.context, shelf.name, request)
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "every row is equal, definitions cannot be compared" in found.reason


def test_a_dump_that_is_equal_on_another_series_is_not_proven_by_that(
    scratch: ScratchServer, ground: ScratchServer, orders: str, tmp_path: Path
) -> None:
    shelf = bench(command_for(scratch.login, tmp_path, orders), ground)
    older = ServerVersion(flavour=Flavour.MARIADB, version="10.6.4-MariaDB")
    forge_header(shelf.context, shelf.name, lambda header: replace(header, server=older))
    found = prove(shelf.context, shelf.name, replace(shelf.request, data_only=True))
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "compared on mariadb 10.11 only" in found.reason
    assert found.differences == ()


def test_one_that_cannot_be_checked_keeps_no_other_from_being_proven(
    scratch: ScratchServer, ground: ScratchServer, orders: str, tmp_path: Path
) -> None:
    command = command_for(scratch.login, tmp_path, orders, BACKUP_METHOD="rows")
    first, second = bench(command, ground), bench(command, ground)
    mysql = ServerVersion(flavour=Flavour.MYSQL, version="8.4.1")
    forge_header(first.context, first.name, lambda header: replace(header, server=mysql))
    assert oldest_unproven(first.context) == first.name
    found = prove(first.context, first.name, first.request)
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert oldest_unproven(first.context) == second.name


def test_an_object_that_a_test_restore_finds_damaged_fails_every_backup_that_needs_it(
    scratch: ScratchServer, ground: ScratchServer, database: str, tmp_path: Path
) -> None:
    with connect(scratch.login) as server:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
        rows = f"INSERT INTO big {numbers} SELECT i, REPEAT(SHA2(i, 512), 20) FROM n"
        run_all(server, database, ("CREATE TABLE big (i INT PRIMARY KEY, v TEXT)", rows))
    command = command_for(scratch.login, tmp_path, database, BACKUP_METHOD="rows")
    first, second = bench(command, ground), bench(command, ground)
    assert prove(first.context, first.name, first.request).verdict is Verdict.PROVEN
    place = Path(first.context.repository.storage.place)
    found = (path for path in (place / "objects").rglob("*") if path.is_file())
    largest = max(found, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert prove(second.context, second.name, second.request).verdict is Verdict.FAILED
    assert first.proofs[-1].verdict is Verdict.FAILED


def test_one_that_a_prune_is_removing_ends_no_proof_of_the_others(shelf: Bench) -> None:
    storage = shelf.context.repository.storage
    locks.begin_removing(storage, shelf.name.backup_id)
    (found,) = prove_all(shelf.context, shelf.request)
    locks.end_removing(storage, shelf.name.backup_id)
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "a prune is removing" in found.reason


def test_a_partial_backup_is_never_proven(shelf: Bench) -> None:
    forge_header(shelf.context, shelf.name, lambda header: replace(header, partial=True))
    found = shelf.tested()
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "partial" in found.reason
    assert found.differences == ()


def test_damaged_bytes_fail(shelf: Bench) -> None:
    path = Path(shelf.context.repository.storage.place, str(shelf.name))
    data = path.read_bytes()
    path.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    found = shelf.tested()
    assert found.verdict is Verdict.FAILED
    assert isinstance(found.problem, IntegrityError)


def test_without_room_it_could_not_be_checked() -> None:
    with pytest.raises(CouldNotCheck, match="a test restore needs about"):
        need_room(1 << 60)


def test_a_view_of_another_database_needs_that_database_in_the_backup(
    ground: ScratchServer, command: Command, orders: str, server: Server
) -> None:
    database = command.settings["DB_NAME"]
    run_all(server, database, (f"CREATE VIEW away AS SELECT id FROM {orders}.zebras",))
    command = command.having(BACKUP_METHOD="rows")
    found = bench(command, ground).tested()
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert f"{orders}.zebras" in found.reason
    both = command.having(DB_NAME=f"{database},{orders}", BACKUP_DIR=str(command.home / "both"))
    found = bench(both, ground).tested()
    assert found.verdict is Verdict.PROVEN, found.reason


def test_views_that_reach_a_third_database_through_another_are_proven(
    ground: ScratchServer, command: Command, server: Server, database: str
) -> None:
    with (
        fresh_database(server.login, "odd-näme") as odd,
        fresh_database(server.login, "crm") as crm,
    ):
        make_chain(server, database, odd, crm)
        three = command.having(BACKUP_METHOD="rows", DB_NAME=f"{odd},{database},{crm}")
        found = bench(three, ground).tested()
        assert found.verdict is Verdict.PROVEN, found.reason


# Assertions.


def asked(shelf: Bench, sql: str, **expected: object) -> tuple[bool, str]:
    one = Assertion.model_validate({"name": "mine", "sql": sql, **expected})
    found = shelf.tested(backup_assertions=(one,), backup_assertion_seconds=1)
    (answer,) = found.assertions
    assert found.verdict is (Verdict.PROVEN if answer.holds else Verdict.FAILED)
    assert answer.holds or ("'mine'" in found.reason and answer.found in found.reason)
    return answer.holds, answer.found


def test_assertions_that_hold(shelf: Bench) -> None:
    assert asked(shelf, "SELECT COUNT(*) FROM orders", equals=100) == (True, "100")
    assert asked(shelf, "SELECT name FROM customers WHERE id = 7", equals="customer 7")[0]
    assert asked(shelf, "SELECT NOW() - INTERVAL 1 HOUR", younger_than="2 hours")[0]


def test_an_assertion_about_another_database_is_not_asked_and_named(shelf: Bench) -> None:
    mistyped = {"name": "mine", "sql": "SELECT 1", "equals": 2, "database": "shopp"}
    found = shelf.tested(backup_assertions=(Assertion.model_validate(mistyped),))
    assert (found.verdict, found.assertions) == (Verdict.PROVEN, ())
    assert "assertion 'mine' was not asked: shopp is not in this backup" in found.notes


def test_an_assertion_that_does_not_hold_fails_the_backup(shelf: Bench) -> None:
    assert asked(shelf, "SELECT COUNT(*) FROM orders", between=[101, 200]) == (False, "100")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nonsense FROM orders", "nonsense"),
        ("SELECT id FROM orders", "100 rows instead of one"),
        ("DELETE FROM orders", "denied"),
        ("SELECT User FROM mysql.user LIMIT 1", "denied"),
    ],
)
def test_a_query_that_fails_or_writes_does_not_hold(shelf: Bench, sql: str, said: str) -> None:
    holds, found = asked(shelf, sql, equals=1_000_000)
    assert not holds
    assert said in found


def test_an_assertion_that_takes_too_long_says_nothing_about_the_backup(shelf: Bench) -> None:
    slow = Assertion.model_validate(
        {"name": "slow", "sql": "SELECT SLEEP(30) FROM orders LIMIT 1", "equals": 0}
    )
    wrong = Assertion.model_validate({"name": "wrong", "sql": "SELECT 1", "equals": 2})
    found = shelf.tested(backup_assertions=(slow,), backup_assertion_seconds=1)
    assert found.verdict is Verdict.COULD_NOT_CHECK
    assert "'slow' was not answered in time" in found.reason
    found = shelf.tested(backup_assertions=(slow, wrong), backup_assertion_seconds=1)
    assert found.verdict is Verdict.FAILED
    assert "'wrong'" in found.reason


# The command.


def test_the_command_records_what_it_found(
    scratch: ScratchServer, shelf: Bench, orders: str
) -> None:
    wrong = '[{"name": "many orders", "sql": "SELECT COUNT(*) FROM orders", "at_least": 101}]'
    failing = command_of(scratch, shelf, orders, BACKUP_ASSERTIONS=wrong)
    done = failing.run("test-restore", "latest")
    assert done.code == 44, done.said
    assert f"{shelf.name}: failed" in done.out
    assert "'many orders' does not hold: at least 101 expected, found 100" in done.out
    document = failing.having(BACKUP_ASSERTIONS=None).ok("test-restore", "--oldest-unproven")
    assert document["verdict"] == "proven"
    assert list(document["phases"]) == ["prepare", "load", "compare", "assert"]
    assert all(seconds >= 0 for seconds in document["phases"].values())
    failed, proven = shelf.proofs
    assert (failed.verdict, proven.verdict) == (Verdict.FAILED, Verdict.PROVEN)
    assert (proven.check, proven.server[:13]) == (Check.TEST_RESTORE, "mariadb 10.11")
    assert proven.phases == document["phases"]
    assert "many orders" in failed.reason


def test_one_of_three_ways_to_choose_is_needed(
    scratch: ScratchServer, shelf: Bench, orders: str
) -> None:
    command = command_of(scratch, shelf, orders)
    for words, said in (((), "is needed"), (("--all", "latest"), "only one of BACKUP")):
        refused = command.run("test-restore", *words)
        assert (refused.code, said in refused.err) == (2, True), refused.said


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_server(
    scratch: ScratchServer, shelf: Bench, orders: str, how: signal.Signals
) -> None:
    before = {path.name for path in shelf.files}
    # A short name: the path of a socket must not be long.
    with tempfile.TemporaryDirectory(prefix="ulasis-") as name:
        folder = Path(name)
        process = command_of(scratch, shelf, orders, TMPDIR=name).start("test-restore", "latest")
        deadline = time.monotonic() + 60
        while not (pids := list(folder.glob(f"{PREFIX}*/pid"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        server = int(pids[0].read_text())
        process.send_signal(how)
        process.communicate(timeout=60)
        while _lives(server) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _lives(server)
        # After kill -9 the folder goes with the next scratch server.
        assert how is signal.SIGKILL or list(folder.glob(f"{PREFIX}*")) == []
    place = Path(shelf.context.repository.storage.place)
    assert {path.name for path in place.glob("*") if path.is_file()} == before


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def test_the_one_whose_proof_is_most_wanted_is_chosen_and_all_go_on_after_a_failure(
    scratch: ScratchServer, ground: ScratchServer, orders: str, tmp_path: Path
) -> None:
    command = command_for(scratch.login, tmp_path, orders, BACKUP_METHOD="rows")
    first = bench(command, ground)
    second = bench(command, ground)
    context = first.context
    assert oldest_unproven(context) == first.name
    prove(context, first.name, first.request)
    assert oldest_unproven(context) == second.name
    prove(context, second.name, second.request)
    assert oldest_unproven(context) == first.name
    path = Path(context.repository.storage.place, str(first.name))
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    verdicts = [found.verdict for found in prove_all(context, first.request)]
    assert verdicts == [Verdict.FAILED, Verdict.PROVEN]
