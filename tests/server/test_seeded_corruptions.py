"""Backups that were changed and signed anew: ``verify`` says intact, a test restore says failed.

Each corruption names the spot that must be named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from support.forgery import forge_dump, forge_index, packet, with_rows
from support.proving import Bench, bench
from support.server import command_for, fresh_database, own_server, run_all
from ulasis_backup.errors import IntegrityError, NotEqual
from ulasis_backup.methods.index import Index
from ulasis_backup.model import Verdict
from ulasis_backup.mysql.accounts import Account
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import connect, quote
from ulasis_backup.operations.verify import verify

pytestmark = [pytest.mark.server, pytest.mark.timeout(120)]

KEY = "00112233445566778899aabbccddeeff" * 2
SHOP = (
    (
        "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_unicode_ci "
        "DEFAULT 'nobody', seen TIMESTAMP NULL, KEY by_name (name))"
    ),
    (
        "INSERT INTO customers SELECT seq, CONCAT('Zoë ', seq), FROM_UNIXTIME(1e9 + seq) "
        "FROM seq_1_to_90"
    ),
    (
        "CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, total INT, "
        "twice INT GENERATED ALWAYS AS (total * 2) STORED, CONSTRAINT positive CHECK (total >= 0), "
        "CONSTRAINT whose FOREIGN KEY (customer) REFERENCES customers (id)) "
        "COMMENT='what was bought'"
    ),
    "INSERT INTO orders (id, customer, total) SELECT seq, seq, seq * 7 FROM seq_1_to_90",
    "DELETE FROM orders WHERE id > 80",
    "CREATE TABLE loose (a INT, b VARCHAR(9))",
    "INSERT INTO loose VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "CREATE SEQUENCE tickets START WITH 5 INCREMENT BY 1 NOCACHE",
    "CREATE VIEW big AS SELECT id, total FROM orders WHERE total > 100",
    "CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW SET @noted = NEW.id",
    "CREATE PROCEDURE tidy() DELETE FROM loose WHERE a > 100",
    "CREATE FUNCTION half(n INT) RETURNS INT DETERMINISTIC RETURN n / 2",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01' DO CALL tidy()",
)


@pytest.fixture(scope="module")
def ground() -> Iterator[ScratchServer]:
    with own_server() as running:
        yield running


@pytest.fixture(scope="module")
def shop(scratch: ScratchServer) -> Iterator[str]:
    with fresh_database(scratch.login, "seeded") as name, connect(scratch.login) as server:
        server.run("SET GLOBAL log_bin_trust_function_creators = 1")
        run_all(server, name, SHOP)
        server.run("CREATE USER clerk@localhost IDENTIFIED BY 'secret'")
        server.run(f"GRANT SELECT, UPDATE ON {quote(name)}.orders TO clerk@localhost")
        yield name
        server.run("DROP USER clerk@localhost")


@pytest.fixture(scope="module")
def dumped(
    scratch: ScratchServer,
    shop: str,
    ground: ScratchServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    home = tmp_path_factory.mktemp("sql")
    return bench(command_for(scratch.login, home, shop, BACKUP_ENCRYPTION_KEY=KEY), ground)


@pytest.fixture(scope="module")
def packed(
    scratch: ScratchServer,
    shop: str,
    ground: ScratchServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bench:
    home = tmp_path_factory.mktemp("rows")
    more = {"BACKUP_METHOD": "rows", "BACKUP_ACCOUNTS": "true", "BACKUP_ENCRYPTION_KEY": KEY}
    return bench(command_for(scratch.login, home, shop, **more), ground)


def swap(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return the change of the one place where *old* stands."""

    def change(dump: bytes) -> bytes:
        assert dump.count(old.encode()) == 1, (old, dump.count(old.encode()))
        return dump.replace(old.encode(), new.encode())

    return change


def cut(pattern: str) -> Callable[[bytes], bytes]:
    """Return the change that takes the one match of *pattern* out."""

    def change(dump: bytes) -> bytes:
        found = re.findall(pattern.encode(), dump, re.DOTALL)
        assert len(found) == 1, found
        return re.sub(pattern.encode(), b"", dump, flags=re.DOTALL)

    return change


def before_the_end(statement: str) -> Callable[[bytes], bytes]:
    return swap("\n-- Dump completed", f"\n{statement};\n\n-- Dump completed")


IN_DUMPS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a trigger's timing": (swap("BEFORE INSERT ON", "AFTER INSERT ON"), "trigger noted"),
    "a lost trigger": (
        cut(r"DELIMITER ;;\n/[^\n]*TRIGGER noted.*?DELIMITER ;\n"), "trigger noted"),
    "a view's body": (swap("`orders`.`total` > 100 */", "`orders`.`total` > 10 */"), "view big"),
    "a view's security": (
        swap("`root`@`localhost` SQL SECURITY DEFINER", "`root`@`localhost` SQL SECURITY INVOKER"),
        "view big",
    ),
    "a collation": (swap("COLLATE utf8mb4_unicode_ci DEFAULT", "COLLATE utf8mb4_bin DEFAULT"),
                    "table customers"),
    "a default": (swap("DEFAULT 'nobody'", "DEFAULT 'somebody'"), "table customers"),
    "a lost index": (swap(",\n  KEY `by_name` (`name`)", ""), "table customers"),
    "a lost check": (
        cut(r",\n  CONSTRAINT `positive` CHECK \(`total` >= 0\)"), "table orders"),
    "a lost foreign key": (
        cut(r",\n  CONSTRAINT `whose` FOREIGN KEY[^\n]*?\(`id`\)"), "table orders"),
    "a comment": (swap("what was bought", "what was sold"), "table orders"),
    "a generated column": (swap("(`total` * 2) STORED", "(`total` * 2) VIRTUAL"), "table orders"),
    "AUTO_INCREMENT": (swap("AUTO_INCREMENT=91 ", "AUTO_INCREMENT=81 "), "table orders"),
    "a sequence's step": (swap("increment by 1 nocache", "increment by 2 nocache"),
                          "sequence tickets"),
    "a sequence's position": (swap("SETVAL(`tickets`, 5, 0)", "SETVAL(`tickets`, 1, 0)"),
                              "sequence tickets"),
    "a missing event": (
        cut(r"/\*!50106 DROP EVENT IF EXISTS `nightly`.*?DELIMITER ;\n"), "event nightly"),
    "an event's schedule": (swap("EVERY 1 DAY", "EVERY 2 DAY"), "event nightly"),
    "a procedure's body": (swap("WHERE a > 100\n", "WHERE a > 1\n"), "procedure tidy"),
    "a function's promise": (swap("\n    DETERMINISTIC\n", "\n"), "function half"),
    "a row doubled": (swap("(7,7,49,", "(7,7,49,98),\n(7,7,49,"), "orders"),
    "rows in another order": (swap("(1,'one'),\n(2,'two')", "(2,'two'),\n(1,'one')"), ""),
    "a number in other words": (swap("(8,8,56,", "(8,8,056,"), "table orders"),
    "a text that is too long": (swap("'three'", "'three and more'"), "table loose"),
    "another character set": (swap("/*!40101 SET NAMES utf8mb4 */", "/*!40101 SET NAMES latin1 */"),
                              "table customers"),
    "another time zone": (swap("SET TIME_ZONE='+00:00'", "SET TIME_ZONE='+05:00'"),
                          "table customers"),
    "a statement that deletes": (before_the_end("DELETE FROM orders WHERE id = 5"), "table orders"),
    "a statement that updates": (before_the_end("UPDATE loose SET b = 'x' WHERE a = 2"),
                                 "table loose"),
    "a trigger that fires while loading": (
        swap("-- Dumping data for table `orders`\n--\n",
             "-- Dumping data for table `orders`\n--\n"
             "CREATE TRIGGER sly BEFORE INSERT ON orders FOR EACH ROW SET NEW.total = 1;\n"),
        "table orders"),
}  # fmt: skip
del IN_DUMPS["rows in another order"]


@pytest.mark.parametrize("what", IN_DUMPS)
def test_a_dump_that_was_signed_anew_is_intact_and_fails_its_test_restore(
    dumped: Bench, what: str
) -> None:
    change, spot = IN_DUMPS[what]
    try:
        forge_dump(dumped.context, dumped.name, change)
        assert verify(dumped.context, dumped.name).verdict is Verdict.INTACT
        found = dumped.tested()
    finally:
        dumped.mend()
    assert found.verdict is Verdict.FAILED, found
    assert isinstance(found.problem, NotEqual), found.problem
    assert spot in found.reason


def test_untouched_backups_of_both_methods_are_proven(dumped: Bench, packed: Bench) -> None:
    for one in (dumped, packed):
        found = one.tested()
        assert found.verdict is Verdict.PROVEN, found.reason
        assert (found.reason, found.differences) == ("", ())
        assert [note for note in found.notes if "root" not in note] == []


@pytest.mark.parametrize(
    "change",
    [
        swap("(2,'two')", "(2,'owt')"),
        swap("(2,'two'),\n", ""),
        swap("(2,'two')", "(2,'two'),\n(2,'two')"),
    ],
    ids=["changed", "dropped", "doubled"],
)
def test_a_row_against_the_fingerprints_of_the_manifest_fails_both_checks(
    dumped: Bench, change: Callable[[bytes], bytes]
) -> None:
    try:
        forge_dump(dumped.context, dumped.name, change, honest_digests=False)
        with pytest.raises(IntegrityError, match="table loose: "):
            verify(dumped.context, dumped.name)
        found = dumped.tested()
    finally:
        dumped.mend()
    assert found.verdict is Verdict.FAILED
    assert "table loose: " in found.reason


def test_the_first_row_that_differs_is_named_with_both_digests(dumped: Bench) -> None:
    try:
        forge_dump(dumped.context, dumped.name, swap("(8,8,56,", "(8,8,056,"))
        (found,) = dumped.tested().differences
    finally:
        dumped.mend()
    said = (
        r"table orders: rows differ \(row 8, first column 8: (\w{12}) in the backup, (\w{12}) now"
    )
    digests = re.match(said, str(found))
    assert digests, found
    assert digests[1] != digests[2]


# Of rows. What comes off the wire is loaded as it is: less can be bent unseen.


def defined(kind: str, name: str, **changed: object) -> Callable[[Index], Index]:
    """Return the change of one definition; ``extra`` is added to what is there."""

    def change(index: Index) -> Index:
        return replace(
            index,
            definitions={
                database: tuple(
                    _with(one, changed) if (one.kind, one.name) == (kind, name) else one
                    for one in definitions
                )
                for database, definitions in index.definitions.items()
            },
        )

    return change


def _with(one: Definition, changed: dict[str, object]) -> Definition:
    extra = changed.get("extra", {})
    assert isinstance(extra, dict)
    return replace(one, **{**changed, "extra": one.extra | extra})  # type: ignore[arg-type]


def rewritten(kind: str, name: str, old: bytes, new: bytes) -> Callable[[Index], Index]:
    def change(index: Index) -> Index:
        (text,) = (
            one.text
            for definitions in index.definitions.values()
            for one in definitions
            if (one.kind, one.name) == (kind, name)
        )
        assert text.count(old) == 1, text
        return defined(kind, name, text=text.replace(old, new))(index)

    return change


def rows_of(table: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Index], Index]:
    return lambda index: with_rows(index, table, change)


def row(number: int, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda rows: [
        packet(one, old, new) if at == number else one for at, one in enumerate(rows)
    ]


def of_clerk(change: Callable[[Account], Account]) -> Callable[[Index], Index]:
    return lambda index: replace(
        index,
        accounts=tuple(change(one) if one.user == "clerk" else one for one in index.accounts),
    )


def unknown_right(clerk: Account) -> Account:
    (right,) = clerk.grants
    return replace(clerk, grants=(replace(right, rights=("SELECT", "REFUND")),))


IN_ROWS: dict[str, tuple[Callable[[Index], Index], str]] = {
    "a row doubled": (rows_of("orders", lambda rows: [*rows[:5], rows[4], *rows[5:]]), "orders"),
    "rows in another order": (
        rows_of("orders", lambda rows: [rows[1], rows[0], *rows[2:]]), "table orders: rows differ"),
    "a number in other words": (
        rows_of("orders", row(7, b"56", b"056")), "table orders: rows differ (in part 1: "),
    "a moment in other words": (
        rows_of("customers", row(0, b"2001-09-09 01:46:41", b"2001-9-9 1:46:41")),
        "table customers: rows differ"),
    "a number that is none": (rows_of("orders", row(7, b"56", b"5x")), "orders"),
    "a text that is too long": (
        rows_of("loose", row(2, b"three", b"three and more")), "loose"),
    "a column that became narrower": (
        rewritten("table", "customers", b"varchar(20)", b"varchar(5)"), "customers"),
    "a column in another character set": (
        rewritten("table", "customers", b"CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
                  b"CHARACTER SET ascii"), "customers"),
    "a trigger's timing": (defined("trigger", "noted", extra={"timing": "AFTER"}), "trigger noted"),
    "a trigger on another table": (
        defined("trigger", "noted", extra={"table": "loose"}), "trigger noted"),
    "a view of a column that is not there": (
        rewritten("view", "big", b"`orders`.`total` > 100", b"`orders`.`gross` > 100"), "big"),
    "a grant": (of_clerk(unknown_right), "clerk"),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_ROWS)
def test_rows_that_were_signed_anew_are_intact_and_fail_their_test_restore(
    packed: Bench, what: str
) -> None:
    change, spot = IN_ROWS[what]
    try:
        forge_index(packed.context, packed.name, change)
        assert verify(packed.context, packed.name).verdict is Verdict.INTACT
        found = packed.tested()
    finally:
        packed.mend()
    assert found.verdict is Verdict.FAILED, found
    assert isinstance(found.problem, NotEqual), found.problem
    assert spot in found.reason


def test_a_counter_that_stands_below_the_rows_cannot_be_put_back_and_is_a_note(
    packed: Bench,
) -> None:
    """Servers on which an UPDATE passes the counter have such tables."""
    try:
        lower = defined("table", "orders", extra={"auto_increment": "7"})
        forge_index(packed.context, packed.name, lower)
        found = packed.tested()
    finally:
        packed.mend()
    assert found.verdict is Verdict.PROVEN, found.reason
    assert any("7 in the backup, 81 now: the counter stood below" in note for note in found.notes)
