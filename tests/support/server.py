"""What tests of the whole command share: the command as a subprocess, servers, small databases."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ulasis_backup.model import Login
from ulasis_backup.mysql.scratch import ScratchServer, scratch_server
from ulasis_backup.mysql.server import Server, connect, quote

NUMBERS = itertools.count(1)
SECONDS = 120
STATE = ".state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 (JSON)
        """Return the document that ``--json`` printed; it must be all that was printed."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The real command, run in *home* with nothing but PATH, HOME and *settings* around it."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def having(self, **settings: str | None) -> Command:
        """Return the same command with other *settings* on top; None takes one away."""
        wanted = {**self.settings, **settings}
        return replace(
            self, settings={name: value for name, value in wanted.items() if value is not None}
        )

    def behind(self, *prefix: str) -> Command:
        """Return the same command started by *prefix*, a program that runs programs."""
        return replace(self, prefix=prefix)

    @property
    def folder(self) -> Path:
        """Return the repository's folder."""
        return Path(self.settings["BACKUP_DIR"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command and return the process, in a process group of its own."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home),
            # For root the default lies outside of the home.
            "BACKUP_STATE_DIR": str(self.home / STATE), **self.settings,
        }  # fmt: skip
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "ulasis_backup", *arguments],
            env=environment, cwd=self.home, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str) -> Result:
        """Run the command to its end."""
        return finish(self.start(*arguments))

    def ok(self, *arguments: str) -> Any:  # noqa: ANN401 (JSON)
        """Run the command with ``--json``, expect success, and return the document."""
        done = self.run("--json", *arguments)
        assert done.code == 0, done.said
        return done.json

    def backup(self) -> str:
        """Make one backup and return its file name."""
        name: str = self.ok("backup")["backups"][0]["backup"]
        return name


def finish(process: subprocess.Popen[str]) -> Result:
    """Wait for *process* and return how it ended."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return Result(code=process.returncode, out=out, err=err)


def command_for(login: Login, home: Path, database: str, **settings: str) -> Command:
    """Return the command with the settings that reach *database* as *login*."""
    password = login.password.reveal()
    return Command(
        home=home,
        settings={
            "BACKUP_DIR": str(home / "backups"),
            "DB_HOST": login.host,
            "DB_PORT": str(login.port),
            "DB_SOCKET": login.socket,
            "DB_NAME": database,
            "DB_USER": login.user,
        }
        | ({"DB_PASSWORD": password} if password else {})
        | settings,
    )


SYSTEMS_OWN = "mariadb-10.11"
MARIADBS = (SYSTEMS_OWN, "mariadb-11.8")
MYSQL = "mysql-9"
SERVERS = (*MARIADBS, MYSQL)
"""The servers that tests can run on: the system's own, which is this one on Debian 12, and those
that scripts/servers fetches."""

ROOT = Path(__file__).parents[2]


def servers_folder(name: str) -> Path | None:
    """Return where the programs of the server *name* lie, None for the system's own.

    Skips the test, with the reason, where scripts/servers could not fetch it.
    """
    if name == SYSTEMS_OWN:
        return None
    folder = ROOT / ".tools" / "servers" / name
    if (folder / "bin").is_dir():
        return folder / "bin"
    reason = folder.with_name(f"{name}.missing")
    why = reason.read_text().strip() if reason.exists() else "run scripts/servers to fetch it"
    pytest.skip(f"no {name} here: {why}")


@contextlib.contextmanager
def own_server(*options: str, name: str = SYSTEMS_OWN) -> Iterator[ScratchServer]:
    """Run a scratch server for one test that harms it; *name* is one of SERVERS."""
    with scratch_server(options=options, programs_folder=servers_folder(name)) as running:
        yield running


@contextlib.contextmanager
def networked_server(*options: str) -> Iterator[tuple[ScratchServer, int]]:
    """Run a scratch server that listens on a free TCP port of 127.0.0.1."""
    port = free_port()
    network = ("--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}")
    with scratch_server(options=(*network, *options)) as running:
        yield running, port


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def emptied(running: ScratchServer, *names: str) -> Iterator[Server]:
    """Open a session on a server whose databases *names* are gone, before as after.

    Routines of all kinds may be created in it, although the server has a binlog.
    """
    with connect(running.login) as server:
        for name in names:
            server.run(f"DROP DATABASE IF EXISTS {quote(name)}")
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        yield server
    with connect(running.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")
        for name in names:
            server.run(f"DROP DATABASE IF EXISTS {quote(name)}")


@contextlib.contextmanager
def fresh_database(login: Login, prefix: str = "t") -> Iterator[str]:
    """Create an empty database under a name of its own, and drop it after."""
    name = f"{prefix}{os.getpid()}_{next(NUMBERS)}"
    with connect(login) as server:
        server.run(f"CREATE DATABASE {quote(name)} CHARACTER SET utf8mb4")
    try:
        yield name
    finally:
        with connect(login) as server:
            server.run("SET foreign_key_checks = 0")
            server.run(f"DROP DATABASE IF EXISTS {quote(name)}")


def run_all(server: Server, database: str, statements: Sequence[str]) -> None:
    """Run *statements* one by one in *database*."""
    server.run(f"USE {quote(database)}")
    for statement in statements:
        server.run(statement)


def make_chain(server: Server, shop: str, odd: str, crm: str) -> None:
    """Fill three databases joined by foreign keys and by views that reach on through each other."""
    server.run(f"USE {quote(shop)}")
    shop, odd, crm = quote(shop), quote(odd), quote(crm)
    for sql in (
        f"CREATE TABLE {crm}.people (id INT PRIMARY KEY, last INT, KEY (last))",
        (
            f"CREATE TABLE {shop}.ord (id INT PRIMARY KEY, p INT, text LONGTEXT, KEY (p), "
            f"CONSTRAINT fk_p FOREIGN KEY (p) REFERENCES {crm}.people (id))"
        ),
        f"INSERT INTO {crm}.people VALUES (1, 7), (2, NULL)",
        f"INSERT INTO {shop}.ord SELECT seq, 1, REPEAT('x', 20000) FROM seq_1_to_60",
        (
            f"ALTER TABLE {crm}.people ADD CONSTRAINT fk_o FOREIGN KEY (last) "
            f"REFERENCES {shop}.ord (id)"
        ),
        f"CREATE TABLE {odd}.t (id INT PRIMARY KEY)",
        f"CREATE VIEW {shop}.v_ord AS SELECT p, COUNT(*) AS n FROM {shop}.ord GROUP BY p",
        f"CREATE VIEW {crm}.v_sum AS SELECT n, last FROM {shop}.v_ord JOIN {crm}.people ON p = id",
        f"CREATE VIEW {odd}.`v a``b` AS SELECT * FROM {crm}.v_sum",
        f"CREATE VIEW {shop}.a_all AS SELECT * FROM {odd}.`v a``b`",
        (
            f"CREATE TRIGGER {shop}.tr BEFORE INSERT ON {shop}.ord FOR EACH ROW "
            f"SET NEW.p = COALESCE(NEW.p, (SELECT MIN(n) FROM {shop}.a_all))"
        ),
    ):
        server.run(sql)


def make_orders(server: Server, database: str, *, rows: int = 2000) -> None:
    """Make a small database: tables with a foreign key, a view, a trigger, a routine, an event."""
    run_all(
        server,
        database,
        (
            "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(60), note TEXT)",
            (
                "CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, "
                "total DECIMAL(10,2), FOREIGN KEY (customer) REFERENCES customers (id))"
            ),
            (
                f"INSERT INTO customers SELECT seq, CONCAT('customer ', seq), REPEAT('x', 40) "
                f"FROM seq_1_to_{rows}"
            ),
            f"INSERT INTO orders SELECT seq, seq, seq / 7 FROM seq_1_to_{rows}",
            "CREATE TABLE zebras (id INT PRIMARY KEY, stripes INT)",
            "INSERT INTO zebras VALUES (1, 20), (2, 22)",
            "CREATE VIEW totals AS SELECT customer, SUM(total) AS sum FROM orders GROUP BY 1",
            (
                "CREATE TRIGGER on_order BEFORE INSERT ON orders FOR EACH ROW "
                "SET NEW.total = COALESCE(NEW.total, 0)"
            ),
            "CREATE PROCEDURE count_orders() SELECT COUNT(*) FROM orders",
            "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM zebras WHERE id > 100",
        ),
    )


def checksums(server: Server, database: str) -> dict[str, tuple[object, str]]:
    """Return the server's checksum and the definition of every table of *database*."""
    rows = server.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1",
        (database,),
    )
    found: dict[str, tuple[object, str]] = {}
    for (name,) in rows:
        table = f"{quote(database)}.{quote(name)}"
        checksum = server.query(f"CHECKSUM TABLE {table}")[0][1]
        found[name] = checksum, str(server.query(f"SHOW CREATE TABLE {table}")[0][1])
    return found
