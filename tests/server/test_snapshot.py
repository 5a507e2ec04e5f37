"""Several sessions see one moment, whoever writes; DDL waits, or is noticed; nobody is stuck."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from support.faults import wait_until
from support.server import fresh_database, run_all
from ulasis_backup.errors import (
    PrivilegeMissing,
    SchemaChanged,
    ServerError,
    ServerUnsuitable,
)
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql import attempt, moments, schema, snapshot
from ulasis_backup.mysql.hold import Hold
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server, connect, quote
from ulasis_backup.mysql.snapshot import Moment, MomentOptions, one_moment
from ulasis_backup.mysql.ways import FLUSH, TABLES, Way

pytestmark = pytest.mark.server

T = TypeVar("T")
ACCOUNTS = ("a", "b", "c", "d")
MONEY = "SELECT " + " + ".join(f"(SELECT SUM(v) FROM {name})" for name in ACCOUNTS)
USER = "momentary"
DEADLOCK = 1213
"""LOCK TABLES can give it to those who write several tables; RELOAD spares them."""
READING = "SELECT, SHOW VIEW, TRIGGER, EVENT"


@pytest.fixture
def bank(server: Server, database: str) -> str:
    """Return a database of four tables of accounts, one of commits, one without transactions."""
    make = [f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT)" for name in ACCOUNTS]
    rows = ", ".join(f"({number}, 1000)" for number in range(1, 101))
    fill = [f"INSERT INTO {name} VALUES {rows}" for name in ACCOUNTS]
    rest = ["CREATE TABLE commits (id INT PRIMARY KEY AUTO_INCREMENT)"]
    run_all(server, database, [*make, *fill, *rest])
    return database


@dataclass(slots=True)
class Writers:
    """Threads that move money between accounts, and note each commit in the same transaction."""

    login: Login
    database: str
    stop: threading.Event = field(default_factory=threading.Event)
    longest: float = 0.0
    commits: int = 0

    def write(self, number: int) -> None:
        with connect(self.login, database=self.database) as server:
            step = 0
            while not self.stop.is_set():
                step += 1
                begun = time.monotonic()
                try:
                    self._move(server, number, step)
                except QueryFailed as error:
                    if error.number != DEADLOCK:
                        raise
                    server.run("ROLLBACK")
                self.longest = max(self.longest, time.monotonic() - begun)
                self.commits += 1

    def _move(self, server: Server, number: int, step: int) -> None:
        giver, taker = ACCOUNTS[step % 4], ACCOUNTS[(step + number + 1) % 4]
        row = number + 1  # of its own, so that writers do not deadlock
        server.run("START TRANSACTION")
        server.run(f"UPDATE {giver} SET v = v - 1 WHERE id = {row}")
        server.run(f"UPDATE {taker} SET v = v + 1 WHERE id = {row}")
        server.run("INSERT INTO commits VALUES (NULL)")
        server.run("COMMIT")


@contextlib.contextmanager
def writing(login: Login, database: str, writers: int = 3) -> Iterator[Writers]:
    """Let *writers* threads move money all through."""
    work = Writers(login, database)
    threads = [threading.Thread(target=work.write, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    wait_until(lambda: work.commits > 20)
    try:
        yield work
    finally:
        work.stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def meanwhile(login: Login, database: str, *statements: str) -> Iterator[threading.Thread]:
    """Run *statements* in a session of their own, beside what happens inside."""

    def run() -> None:
        with connect(login, database=database) as server, contextlib.suppress(ServerError):
            for statement in statements:
                server.run(statement)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def waits(server: Server, state: str = "Waiting for table metadata lock") -> bool:
    sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE %s"
    return bool(server.value(sql, (state + "%",)))


def end(server: Server, statement: str) -> None:
    """End the session that runs *statement*."""
    sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = %s"
    server.run(f"KILL {server.value(sql, (statement,))}")


def names(server: Server, database: str) -> tuple[str, ...]:
    return tuple(table.name for table in schema.catalogue(server, database).tables)


@contextlib.contextmanager
def moment_of(
    login: Login, database: str, options: MomentOptions | None = None
) -> Iterator[Moment[tuple[str, ...]]]:
    """Open a moment of *database*, whose names of tables are looked at."""
    chosen = options or MomentOptions(jobs=3)
    with one_moment(
        login, [database], look=lambda server: names(server, database), options=chosen
    ) as moment:
        yield moment


def best(server: Server) -> str:
    """Return how it is done by whom may do everything."""
    return "backup stage" if server.is_mariadb else "flush tables with read lock"


def expect_one_moment(moment: Moment[T], database: str) -> int:
    """Expect that all sessions see the same, money complete; return the commits they see."""
    seen = set()
    for session in moment.sessions:
        session.run(f"USE {quote(database)}")
        commits = session.value("SELECT COUNT(*) FROM commits")
        states = [session.query(f"SELECT v FROM {name} ORDER BY id") for name in ACCOUNTS]
        seen.add((commits, str(states)))
        assert session.value(MONEY) == 4 * 100 * 1000
    assert len(seen) == 1
    return int(seen.pop()[0])


def commits_until(server: Server, database: str, file: str, offset: int) -> int:
    """Count the transactions that the binlog *file* has noted in ``commits`` up to *offset*."""
    found = 0
    rows = server.query("SHOW BINLOG EVENTS IN %s", (file,))
    for _, start, kind, _, _, info in rows:
        if start < offset and kind in ("Query", "Table_map"):
            found += f"{database}.commits)" in info or "INSERT INTO commits" in info
    return found


def user_with(server: Server, database: str, *grants: str) -> Login:
    """Return the login of a new user with the rights to read *database*, and *grants*."""
    server.run(f"DROP USER IF EXISTS {USER}@localhost")
    server.run(f"CREATE USER {USER}@localhost IDENTIFIED BY 'x'")
    server.run(f"GRANT {READING} ON {quote(database)}.* TO {USER}@localhost")
    for grant in grants:
        server.run(f"GRANT {grant} TO {USER}@localhost")
    return replace(server.login, user=USER, password=Secret("x"))


def test_all_sessions_see_one_moment_and_its_position(server: Server, bank: str) -> None:
    server.run("FLUSH BINARY LOGS")
    with writing(server.login, bank) as work:
        for _ in range(5):
            with moment_of(server.login, bank, MomentOptions(jobs=4)) as moment:
                commits = expect_one_moment(moment, bank)
                assert commits < work.commits + 3
                assert (moment.how, moment.fallbacks) == (best(server), ())
                assert moment.seen == tuple(sorted((*ACCOUNTS, "commits")))
                position = moment.position
                assert position is not None
                assert commits_until(server, bank, position.file, position.offset) == commits
                if server.is_mariadb:
                    asked = "SELECT BINLOG_GTID_POS(%s, %s)"
                    assert server.value(asked, (position.file, position.offset)) == position.gtid
                moment.check()
    assert work.longest < 5


def test_sessions_read_bytes_as_they_are_at_utc(server: Server, bank: str) -> None:
    with moment_of(server.login, bank) as moment:
        for session in moment.sessions:
            isolation = "@@tx_isolation" if server.is_mariadb else "@@transaction_isolation"
            read = f"SELECT @@character_set_results, @@time_zone, {isolation}"
            assert session.query(read) == [(None, "+00:00", "REPEATABLE-READ")]


def test_without_a_binlog_there_is_no_position_and_nothing_to_say(
    networked: tuple[ScratchServer, int],
) -> None:
    login = networked[0].login
    with fresh_database(login) as database:
        with connect(login, database=database) as server:
            server.run("CREATE TABLE t (id INT PRIMARY KEY)")
        with moment_of(login, database) as moment:
            assert (moment.position, moment.fallbacks) == (None, ())
            moment.check()


@pytest.mark.parametrize("has_rights", [True, False])
def test_rights_decide_how_it_is_done_and_the_moment_is_one(
    server: Server, bank: str, *, has_rights: bool
) -> None:
    few = "RELOAD" if server.is_mariadb else "BACKUP_ADMIN, FLUSH_TABLES, REPLICATION CLIENT"
    several = f"{few} ON *.*"
    lock = f"LOCK TABLES ON {quote(bank)}.*"
    binlog = ("REPLICATION CLIENT ON *.*",)
    login = user_with(
        server, bank, "PROCESS ON *.*", *([several] if has_rights else [lock, *binlog])
    )
    server.run("FLUSH BINARY LOGS")
    with writing(server.login, bank):
        for _ in range(3):
            with moment_of(login, bank) as moment:
                commits = expect_one_moment(moment, bank)
                assert moment.how == (best(server) if has_rights else "lock tables")
                assert bool(moment.fallbacks) == (not has_rights)
                position = moment.position
                assert position is not None
                assert commits_until(server, bank, position.file, position.offset) == commits
                moment.check()


@pytest.mark.parametrize("way", [FLUSH, TABLES], ids=lambda way: way.title)
def test_servers_without_backup_stages_are_read_at_one_moment_too(
    server: Server, bank: str, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "ways", lambda _server: (way,))
    run_all(server, bank, ("CREATE TABLE m (id INT) ENGINE=MyISAM", "INSERT INTO m VALUES (1)"))
    if server.is_mariadb:
        server.run("CREATE SEQUENCE s")
    server.run("FLUSH BINARY LOGS")
    with writing(server.login, bank), moment_of(server.login, bank) as moment:
        commits = expect_one_moment(moment, bank)
        assert moment.how == way.how
        assert moment.position is not None
        position = moment.position
        assert commits_until(server, bank, position.file, position.offset) == commits
        with meanwhile(server.login, bank, "INSERT INTO m VALUES (2)"):
            wait_until(lambda: waits(server, "Waiting for table"))
            end(server, "INSERT INTO m VALUES (2)")
        moment.check()


def test_without_any_right_several_sessions_are_refused_with_the_grant(
    server: Server, bank: str
) -> None:
    login = user_with(server, bank, "PROCESS ON *.*")
    with pytest.raises(PrivilegeMissing) as refused, moment_of(login, bank):
        pass
    few = "RELOAD" if server.is_mariadb else "BACKUP_ADMIN, FLUSH_TABLES, REPLICATION CLIENT"
    assert f"GRANT {few} ON *.* TO '{USER}'@'localhost';" in refused.value.hint


def test_without_any_right_one_session_is_a_moment_and_says_so(server: Server, bank: str) -> None:
    login = user_with(server, bank)
    server.run("FLUSH BINARY LOGS")
    with (
        writing(server.login, bank),
        moment_of(login, bank, MomentOptions(jobs=1)) as moment,
    ):
        commits = expect_one_moment(moment, bank)
        assert moment.how == "one session"
        said = " / ".join(moment.fallbacks)
        for words in ("FLUSH TABLES", "LOCK TABLES", "one session", "PROCESS"):
            assert words in said
        position = moment.position
        if position is None:
            assert not server.is_mariadb
            assert "no position: without a lock" in said
        else:
            assert commits_until(server, bank, position.file, position.offset) == commits
        moment.check()


def test_ddl_waits_and_new_tables_do_not(server: Server, bank: str) -> None:
    alter = "ALTER TABLE a ADD COLUMN extra INT"
    with moment_of(server.login, bank) as moment:
        server.run("CREATE TABLE later (id INT)")
        with meanwhile(server.login, bank, alter) as thread:
            wait_until(lambda: waits(server))
            # Our sessions go on beside it: they have the locks of all tables already.
            expect_one_moment(moment, bank)
            moment.check()
            assert thread.is_alive()
            for session in moment.sessions:
                session.run("ROLLBACK")
    assert server.query("SHOW COLUMNS FROM a LIKE 'extra'")


def test_ddl_is_let_through_after_its_time_and_the_run_ends_at_once(
    server: Server, bank: str
) -> None:
    begun = time.monotonic()
    options = MomentOptions(jobs=3, ddl_wait=1)

    def read_on() -> None:
        with (
            moment_of(server.login, bank, options) as moment,
            meanwhile(server.login, bank, "TRUNCATE TABLE a"),
        ):
            while time.monotonic() - begun < 20:
                moment.sessions[0].run("SELECT SLEEP(0.1)")

    with pytest.raises(SchemaChanged, match="let through") as changed:
        read_on()
    assert changed.value.hint
    assert server.value(f"SELECT COUNT(*) FROM {quote(bank)}.a") == 0


def test_ddl_elsewhere_does_not_end_a_run(server: Server, bank: str) -> None:
    run_all(server, bank, (f"CREATE DATABASE {bank}x", f"CREATE TABLE {bank}x.t (id INT)"))
    try:
        with connect(server.login, database=f"{bank}x") as other:
            other.run("START TRANSACTION")
            other.run("SELECT * FROM t")
            options = MomentOptions(jobs=2, ddl_wait=1)
            with (
                moment_of(server.login, bank, options) as moment,
                meanwhile(server.login, f"{bank}x", "ALTER TABLE t ADD COLUMN v INT"),
            ):
                wait_until(lambda: waits(server))
                time.sleep(2)
                moment.check()
                other.run("ROLLBACK")
    finally:
        server.run(f"DROP DATABASE {bank}x")


SWAP = "RENAME TABLE a TO x, b TO a, x TO b"
DEEDS = {
    "truncated": ("TRUNCATE TABLE b",),
    "altered in an instant": ("ALTER TABLE b ADD COLUMN extra INT, ALGORITHM=INSTANT",),
    "dropped": ("DROP TABLE b",),
    "swapped": (SWAP,),
    "swapped twice": (SWAP, SWAP),
    "view made anew": ("CREATE OR REPLACE VIEW v AS SELECT 2",),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_without_locks_ddl_is_noticed(server: Server, bank: str, deed: str) -> None:
    server.run("CREATE VIEW v AS SELECT 1")

    def read() -> None:
        options = MomentOptions(jobs=2, block_ddl=False)
        with moment_of(server.login, bank, options) as moment:
            run_all(server, bank, DEEDS[deed])
            for session in moment.sessions:
                session.run(f"SELECT * FROM {quote(bank)}.b")
            moment.check()

    with pytest.raises(SchemaChanged):
        read()


def test_a_lock_that_keeps_a_reader_from_its_table_for_too_long_is_a_changed_schema(
    server: Server, bank: str
) -> None:
    """The watcher mostly sees it sooner; on a busy machine the reader's own time is up first."""
    with connect(server.login) as other, connect(server.login) as reader:
        run_all(other, bank, ["LOCK TABLES a WRITE"])
        reader.run("SET SESSION lock_wait_timeout = 1")
        with pytest.raises(SchemaChanged, match="held a table"), Hold([]).explaining():
            reader.run(f"SELECT * FROM {quote(bank)}.a")


def test_a_reader_that_waits_behind_ddl_gives_way_at_once(server: Server, bank: str) -> None:
    """Without locks of its own a second session queues behind DDL that the first holds up."""
    options = MomentOptions(jobs=2, block_ddl=False, ddl_wait=60)
    begun = time.monotonic()

    def read() -> None:
        with moment_of(server.login, bank, options) as moment:
            one, two = moment.sessions
            one.run(f"SELECT * FROM {quote(bank)}.a")
            with meanwhile(server.login, bank, "ALTER TABLE a ADD COLUMN extra INT"):
                wait_until(lambda: waits(server))
                two.run(f"SELECT * FROM {quote(bank)}.a")
                # The DDL can get through, and with it our reader, before that one is ended, too.
                moment.check()

    with pytest.raises(SchemaChanged, match="before the backup had reached"):
        read()
    assert time.monotonic() - begun < 10


def test_ddl_that_comes_while_the_moment_is_taken_runs_and_the_moment_is_after_it(
    server: Server, bank: str
) -> None:
    threads: list[threading.Thread] = []

    def look(session: Server) -> bool:
        if not threads:
            alter = "ALTER TABLE a ADD COLUMN extra INT"
            threads.append(stack.enter_context(meanwhile(server.login, bank, alter)))
            wait_until(lambda: waits(server, "Waiting for"))
        return bool(session.query(f"SHOW COLUMNS FROM {quote(bank)}.a LIKE 'extra'"))

    with (
        contextlib.ExitStack() as stack,
        one_moment(server.login, [bank], look=look, options=MomentOptions(jobs=3)) as moment,
    ):
        threads[0].join(20)
        assert not threads[0].is_alive()
        assert moment.seen
        moment.check()


@pytest.mark.parametrize("statement", ["INSERT INTO m VALUES (2)", "UPDATE m SET id = 3"])
def test_tables_without_transactions_are_locked_until_the_end(
    server: Server, bank: str, statement: str
) -> None:
    run_all(server, bank, ("CREATE TABLE m (id INT) ENGINE=MyISAM", "INSERT INTO m VALUES (1)"))
    rows = f"SELECT HIGH_PRIORITY id FROM {quote(bank)}.m"
    login = user_with(server, bank, "PROCESS ON *.*", f"LOCK TABLES ON {quote(bank)}.*")
    for user in (server.login, login):
        with moment_of(user, bank) as moment, meanwhile(server.login, bank, statement) as thread:
            wait_until(lambda: waits(server, "Waiting for table"))
            # More than a look of the watcher later: it may think nothing of it.
            moment.sessions[0].run("SELECT SLEEP(0.7)")
            for session in moment.sessions:
                assert session.query(rows) == [(1,)]
            assert thread.is_alive()
            moment.check()
            end(server, statement)  # it would wait as long as the moment lasts


def test_ddl_on_a_table_without_transactions_waits_beside_readers(
    server: Server, bank: str
) -> None:
    run_all(server, bank, ("CREATE TABLE m (id INT) ENGINE=MyISAM", "INSERT INTO m VALUES (1)"))
    rows = f"SELECT HIGH_PRIORITY id FROM {quote(bank)}.m"
    with (
        moment_of(server.login, bank) as moment,
        meanwhile(server.login, bank, "TRUNCATE TABLE m"),
    ):
        wait_until(lambda: waits(server))
        moment.sessions[0].run("SELECT SLEEP(0.7)")
        for session in moment.sessions:
            assert session.query(rows) == [(1,)]
        moment.check()
        end(server, "TRUNCATE TABLE m")  # it waits until the sessions close


def test_tables_that_may_not_be_locked_are_named(server: Server, bank: str) -> None:
    run_all(server, bank, ("CREATE TABLE m (id INT) ENGINE=MyISAM",))
    options = MomentOptions(jobs=2, lock_tables=False)
    with moment_of(server.login, bank, options) as moment:
        assert moment.fallbacks == (f"not locked, may change while read: {bank}.m",)
        run_all(server, bank, ("INSERT INTO m VALUES (1)",))
        moment.check()


def test_the_lock_comes_beside_long_statements_where_there_are_backup_stages(
    server: Server, bank: str
) -> None:
    if not server.is_mariadb:
        pytest.skip("only MariaDB has backup stages")
    for statement in ("SELECT SLEEP(0.3) FROM a", "UPDATE b SET v = v + SLEEP(0.3)"):
        with meanwhile(server.login, bank, statement) as thread:
            wait_until(lambda: waits(server, "User sleep"))
            with moment_of(server.login, bank) as moment:
                assert thread.is_alive()
                assert moment.how == best(server)
                moment.check()
            end(server, statement)


def test_tables_are_not_flushed_beside_a_long_statement(
    server: Server, bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MySQL whoever reads its tables would wait for its end, even when the flush is given up."""
    statement = "SELECT SLEEP(0.3) FROM a"
    with meanwhile(server.login, bank, statement) as thread:
        wait_until(lambda: waits(server, "User sleep"))
        monkeypatch.setattr(snapshot, "ways", lambda _server: (FLUSH,))
        with moment_of(server.login, bank, MomentOptions(jobs=2, lock_wait=1)) as moment:
            assert thread.is_alive()
            assert moment.how == "lock tables"
            assert "a statement takes long" in moment.fallbacks[0]
            assert "SLEEP" in moment.fallbacks[0]
            moment.check()
        end(server, statement)


@pytest.mark.parametrize(
    ("table", "says"), [("m", "commits could not be stopped"), ("a", "no moment without DDL")]
)
def test_when_no_lock_is_to_be_had_it_gives_up_in_time(
    server: Server, bank: str, table: str, says: str
) -> None:
    run_all(server, bank, ("CREATE TABLE m (id INT) ENGINE=MyISAM",))
    begun = time.monotonic()
    with connect(server.login, database=bank) as other:
        other.run(f"LOCK TABLES {table} WRITE")
        options = MomentOptions(jobs=2, lock_wait=1)
        with pytest.raises(ServerError, match=says), moment_of(server.login, bank, options):
            pass
    assert time.monotonic() - begun < 20


def test_a_look_that_fails_leaves_nothing_locked(server: Server, bank: str) -> None:
    before = server.value("SELECT COUNT(*) FROM information_schema.PROCESSLIST")
    for error in (PrivilegeMissing, KeyboardInterrupt):

        def broken(_server: Server, kind: type[BaseException] = error) -> None:
            raise kind("not this")

        with (
            pytest.raises(error),
            one_moment(server.login, [bank], look=broken, options=MomentOptions(jobs=2)),
        ):
            pass
    run_all(server, bank, ("ALTER TABLE a ADD COLUMN extra INT", "INSERT INTO b VALUES (999, 0)"))
    wait_until(
        lambda: server.value("SELECT COUNT(*) FROM information_schema.PROCESSLIST") == before
    )


HOLDER = """
import sys, time
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql import ways
from ulasis_backup.mysql.server import connect
login = Login(host="localhost", port=0, user="root", password=Secret(""), socket=sys.argv[1])
with connect(login) as lock:
    ways.prepare(lock)
    best = ways.ways(lock)[0]
    for statement in (*best.hold_ddl, *best.hold_commits(())):
        lock.run(statement)
    print("stopped", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_when_we_are_killed_or_frozen_writers_go_on_within_seconds(
    server: Server, bank: str, blow: signal.Signals
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, server.login.socket], stdout=subprocess.PIPE, text=True
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "stopped\n"
            holder.send_signal(blow)
            begun = time.monotonic()
            run_all(server, bank, ("INSERT INTO commits VALUES (NULL)",))
            assert time.monotonic() - begun < 5 + 3  # a busy machine
        finally:
            holder.kill()


def test_a_lock_that_was_lost_in_the_middle_is_noticed_and_taken_again(
    server: Server, bank: str
) -> None:
    looks = []

    def look(session: Server) -> int:
        looks.append(session)
        if len(looks) == 1:
            server.run(f"KILL {session.value('SELECT CONNECTION_ID()')}")
        return len(looks)

    with one_moment(server.login, [bank], look=look, options=MomentOptions(jobs=2)) as moment:
        assert moment.seen == len(looks) == 2
        expect_one_moment(moment, bank)
        moment.check()


def test_a_lock_that_was_lost_while_snapshots_were_opened_is_noticed_too(
    server: Server, bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = []

    def mark(lock: Server, *, is_global: bool, is_locked: bool) -> moments.Mark:
        found = moments.mark(lock, is_global=is_global, is_locked=is_locked)
        marked.append(found)
        if len(marked) == 1:
            server.run(f"KILL {moments.connection_id(lock)}")
        return found

    monkeypatch.setattr(attempt, "mark", mark)
    with moment_of(server.login, bank) as moment:
        assert len(marked) == 2
        expect_one_moment(moment, bank)
        moment.check()


def test_sessions_on_different_servers_are_refused(
    server: Server, networked: tuple[ScratchServer, int]
) -> None:
    with connect(networked[0].login) as other, connect(server.login) as one:
        moments.need_same(moments.identity(server), [server, one])
        with pytest.raises(ServerUnsuitable, match="different servers"):
            moments.need_same(moments.identity(server), [server, other])


def test_a_snapshot_that_ended_early_fails_the_check(server: Server, bank: str) -> None:
    with moment_of(server.login, bank) as moment:
        moment.sessions[1].run("COMMIT")
        with pytest.raises(ServerError, match="snapshot ended"):
            moment.check()
