"""A database with everything that a swap has to move, a second state of it, and portraits."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.portrait import Portrait, portrait
from support.server import run_all
from ulasis_backup.model import Login
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.beside import Names, new_names
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote
from ulasis_backup.mysql.swap import prepare
from ulasis_backup.mysql.swap_objects import Scope, read_objects
from ulasis_backup.mysql.swap_plans import SwapPlan

HOME = "shop"
CHILD = Path(__file__).with_name("swap_child.py")

TABLES = (
    """CREATE TABLE customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60),
    KEY by_name (name))""",
    """CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, total DECIMAL(10,2),
    touched INT DEFAULT 0, CONSTRAINT of_customer FOREIGN KEY (customer)
    REFERENCES customers (id) ON DELETE CASCADE)""",
    "CREATE TABLE audit (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(40), number INT)",
    "CREATE TABLE plain (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(40))",
)
NUMBERED = (
    "CREATE SEQUENCE numbers START WITH 10",
    "CREATE TABLE numbered (id INT PRIMARY KEY DEFAULT NEXTVAL(numbers), x INT)",
    "INSERT INTO numbered (x) VALUES (1), (2)",
)
"""MariaDB: a table that takes its numbers from a sequence."""

OBJECTS = (
    "CREATE FUNCTION {tag}_twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
    "CREATE FUNCTION scaled(n INT) RETURNS INT DETERMINISTIC RETURN n * {factor}",
    "CREATE PROCEDURE count_orders() SELECT COUNT(*) + {factor} FROM orders",
    """CREATE VIEW totals AS SELECT customer, SUM(total) AS sum, scaled(1) AS f FROM orders
    GROUP BY 1""",
    "CREATE VIEW {tag}_best AS SELECT * FROM totals WHERE sum > {factor}",
    "CREATE TRIGGER orders_bi BEFORE INSERT ON orders FOR EACH ROW SET NEW.touched = {factor}",
    """CREATE TRIGGER orders_ai AFTER INSERT ON orders FOR EACH ROW
    INSERT INTO audit (what, number) VALUES ('{tag}', NEW.id)""",
    "CREATE TRIGGER orders_ai2 AFTER INSERT ON orders FOR EACH ROW SET @{tag} = scaled(1)",
    "CREATE TRIGGER orders_bu BEFORE UPDATE ON orders FOR EACH ROW SET NEW.touched = {factor}",
    "CREATE TRIGGER orders_ad AFTER DELETE ON orders FOR EACH ROW SET @{tag} = 1",
    "CREATE TRIGGER customers_au AFTER UPDATE ON customers FOR EACH ROW SET @{tag} = 2",
    "CREATE TRIGGER customers_bd BEFORE DELETE ON customers FOR EACH ROW SET @{tag} = 3",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM plain WHERE id > {factor}00",
    "CREATE EVENT {tag}_off ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM plain",
)


def fill(server: Server, database: str, *, tag: str, factor: int) -> None:
    """Make the database in one of its states; *tag* and *factor* tell them apart."""
    server.run(f"CREATE DATABASE {quote(database)} CHARACTER SET utf8mb4")
    server.run(f"USE {quote(database)}")
    fill_tables(server, tag=tag, factor=factor)
    trigger = f"CREATE TRIGGER only_{tag}_bi BEFORE INSERT ON only_{tag} FOR EACH ROW SET NEW.x = 1"
    run_all(server, database, [one.format(tag=tag, factor=factor) for one in (*OBJECTS, trigger)])


@contextlib.contextmanager
def cleared(running: ScratchServer) -> Iterator[Server]:
    """Open a session on a server on which the database, and all beside it, is gone after."""
    with connect(running.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        drop_all(server)
        yield server
        drop_all(server)
        server.run("SET GLOBAL log_bin_trust_function_creators = 0")


def drop_all(server: Server, database: str = HOME) -> None:
    """Drop the database and all that lies beside it."""
    server.run("SET SESSION foreign_key_checks = 0")
    for (name,) in server.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"):
        if name == database or name.startswith(f"{database}__"):
            server.run(f"DROP DATABASE {quote(name)}")
    server.run("SET SESSION foreign_key_checks = 1")


def picture(server: Server, database: str = HOME) -> Portrait:
    """Return the portrait of the database."""
    return portrait(server, database)


def plan_for(server: Server, new: tuple[Definition, ...], names: Names | None = None) -> SwapPlan:
    """Return the plan that puts the second state in place of the first one."""
    return SwapPlan(
        names=names or new_names(HOME),
        new_objects=new,
        options=schema.database_options(server, HOME),
        note="a backup",
        rows={"plain": 45},
    )


def make_states(server: Server) -> tuple[Portrait, Portrait, tuple[Definition, ...]]:
    """Leave the database in its old state; return portraits of both, and the new one's objects."""
    drop_all(server)
    fill(server, HOME, tag="new", factor=7)
    new, objects = picture(server), read_objects(server, HOME, Scope())
    drop_all(server)
    fill(server, HOME, tag="old", factor=3)
    return picture(server), new, objects


def load_beside(server: Server, plan: SwapPlan) -> None:
    """Prepare the swap and load the new tables, without objects, as a restore would."""
    prepare(server, plan)
    server.run(f"USE {quote(plan.names.restore)}")
    fill_tables(server, tag="new", factor=7)


def prepare_like(server: Server, plan: SwapPlan) -> None:
    """Prepare a swap to the state that there is, with ids from 1001 on in both: see who writes."""
    prepare(server, plan)
    for where in (HOME, plan.names.restore):
        server.run(f"USE {quote(where)}")
        if where != HOME:
            fill_tables(server, tag="old", factor=3)
        server.run("ALTER TABLE orders AUTO_INCREMENT = 1001")


def fill_tables(server: Server, *, tag: str, factor: int, rows: int = 50) -> None:
    """Load the tables alone into the session's database."""
    statements: Sequence[str] = [
        *TABLES,
        f"CREATE TABLE only_{tag} (id INT PRIMARY KEY, x INT)",
        f"INSERT INTO only_{tag} VALUES (1, 2)",
        *(NUMBERED if server.is_mariadb else ()),
        "INSERT INTO customers VALUES "
        + ", ".join(f"({n}, '{tag} {n}')" for n in range(1, rows + 1)),
        "INSERT INTO orders VALUES "
        + ", ".join(f"({n}, {n}, {n * factor}, 0)" for n in range(1, rows + 1)),
        "INSERT INTO plain (text) VALUES " + ", ".join([f"({tag!r})"] * rows),
        "DELETE FROM plain WHERE id > 45",
    ]
    for one in statements:
        server.run(one)


def child(login: Login, plan: SwapPlan, folder: Path, *arguments: str) -> None:
    """Run a process that swaps, or undoes, and is killed at a phase; see ``swap_child``."""
    with start_child(login, plan, folder, *arguments) as process:
        process.wait(timeout=60)


def start_child(
    login: Login, plan: SwapPlan, folder: Path, *arguments: str
) -> subprocess.Popen[bytes]:
    """Start such a process."""
    path = folder / "plan"
    path.write_bytes(pickle.dumps((login, plan)))
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(path), *arguments],
        env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
