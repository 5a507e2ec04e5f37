"""What a restore in place that was killed leaves: a mark that backups refuse, and never hold."""

from __future__ import annotations

import pytest

from support.server import Command, make_orders
from ulasis_backup.mysql import restoring
from ulasis_backup.mysql.beside import RESTORING
from ulasis_backup.mysql.restoring import Restoring
from ulasis_backup.mysql.server import Server, locked, quote

pytestmark = pytest.mark.server


def _mark(database: str, safety: str = "", tables: tuple[str, ...] = ()) -> Restoring:
    return Restoring(
        database=database, id="0123abcd", backup="old", at="2026-01-02T03:04:05Z", safety=safety,
        tables=tables, undone_tables=tables,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["sql", "rows"])
def test_a_half_loaded_database_is_not_backed_up_until_it_is_restored(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    make_orders(server, database, rows=20)
    name = command.backup()
    restoring.put(server, _mark(database, name))
    for refused in (command.run("backup"), command.run("settle"), command.run("check")):
        assert refused.code == 53, refused.said
        assert f"restore {name} --target-database {database}" in refused.said
    assert len(command.ok("list")["backups"]) == 1
    # Other tests leave things on this server, too.
    (left,) = (
        one for one in command.ok("list", "--leftovers")["leftovers"] if one["database"] == database
    )
    assert (left["database"], left["state"], left["incomplete"]) == (
        database, "restoring in place", True,
    )  # fmt: skip
    assert command.run("drop-leftovers", left["id"], "--yes").code == 50
    with locked(server, database):
        assert command.run("backup").code == 52
    server.run(f"DROP TABLE {quote(database)}.orders")
    done = command.run("restore", name, "--yes", "--in-place")
    assert done.code == 0, done.said
    kept = [entry["id"] for entry in command.ok("list")["backups"]]
    assert len(kept) == 2
    for one in kept:
        shown = command.run("show", one)
        assert shown.code == 0, shown.said
        assert RESTORING not in shown.said
    assert restoring.find(server, database) is None
    assert command.run("backup").code == 0


@pytest.mark.parametrize("method", ["sql", "rows"])
def test_a_restore_beside_takes_the_mark_away_and_its_safety_backup_does_not_hold_it(
    server: Server, database: str, command: Command, method: str
) -> None:
    command = command.having(BACKUP_METHOD=method)
    make_orders(server, database, rows=20)
    name = command.backup()
    restoring.put(server, _mark(database))
    assert "restore again" in command.run("backup").err
    assert command.ok("restore", name, "--dry-run")
    assert restoring.find(server, database)
    done = command.run("restore", name, "--yes")
    assert done.code == 0, done.said
    assert restoring.find(server, database) is None
    tables = server.query("SHOW TABLES")
    assert RESTORING not in {row[0] for row in tables}


def test_what_a_restore_of_other_tables_leaves_half_loaded_stays_marked() -> None:
    mark = _mark("shop", "safe", ("a", "b"))
    assert mark.without(()) is None
    assert mark.without(("a", "b", "c")) is None
    assert mark.without(("c",)) is mark
    rest = mark.without(("a",))
    assert rest
    assert (rest.tables, rest.safety) == (("b",), "safe")
    assert _mark("shop", "safe").without(("a",)) == _mark("shop", "safe")
    assert mark.widened(("c",)).tables == ("a", "b", "c")
    assert mark.widened(()).tables == ()
