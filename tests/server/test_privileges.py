"""Rights as real servers print and apply them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from support.server import run_all
from ulasis_backup.model import Secret
from ulasis_backup.mysql.privileges import missing_for_rows
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import QueryFailed, Server, connect

pytestmark = pytest.mark.server

DATABASES = ("my_db", "myxdb", "odd`%")
READING = "SELECT, SHOW VIEW, TRIGGER, EVENT"
ALL = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")


@pytest.fixture
def admin(any_server: ScratchServer) -> Iterator[Server]:
    """Return an administrator's session; databases, accounts and roles of the tests are new."""
    cleaning = [
        *(f"DROP DATABASE IF EXISTS `{name.replace('`', '``')}`" for name in DATABASES),
        "DROP USER IF EXISTS reader@localhost",
        "DROP ROLE IF EXISTS outer_role, inner_role",
    ]
    with connect(any_server.login) as opened:
        for statement in cleaning:
            opened.run(statement)
        for name in DATABASES:
            opened.run(f"CREATE DATABASE `{name.replace('`', '``')}`")
        opened.run("CREATE PROCEDURE my_db.p() SELECT 1")
        opened.run("CREATE USER reader@localhost IDENTIFIED BY 'a word'")
        yield opened
        for statement in cleaning:
            opened.run(statement)


def missing(any_server: ScratchServer, databases: Sequence[str] = ("my_db",)) -> list[str]:
    """Return the rights that the account `reader` lacks."""
    login = replace(any_server.login, user="reader", password=Secret("a word"))
    with connect(login) as server:
        return [entry.right for entry in missing_for_rows(server, databases)]


def routines(admin: Server) -> str:
    return "SHOW_ROUTINE ON *.*" if not admin.is_mariadb else "SELECT ON mysql.proc"


def test_the_statements_that_are_named_give_what_is_missing(
    any_server: ScratchServer, admin: Server
) -> None:
    login = replace(any_server.login, user="reader", password=Secret("a word"))
    with connect(login) as server:
        found = missing_for_rows(server, DATABASES)
    assert len(found) == len(ALL) * len(DATABASES) + 1
    for entry in found:
        admin.run(entry.statement)
    assert missing(any_server, DATABASES) == []


def test_a_name_with_wild_cards_escaped_is_that_database_alone(
    any_server: ScratchServer, admin: Server
) -> None:
    grants = [f"GRANT {READING} ON `my\\_db`.* TO reader@localhost"]
    run_all(admin, "my_db", [*grants, f"GRANT {routines(admin)} TO reader@localhost"])
    assert missing(any_server) == []
    assert missing(any_server, ["my_db", "myxdb"]) == list(ALL)


def test_rights_of_roles_count_once_they_are_active(
    any_server: ScratchServer, admin: Server
) -> None:
    statements = [
        "CREATE ROLE outer_role",
        "CREATE ROLE inner_role",
        f"GRANT {READING} ON my_db.* TO inner_role",
        f"GRANT {routines(admin)} TO inner_role",
        "GRANT inner_role TO outer_role",
        "GRANT outer_role TO reader@localhost",
    ]
    run_all(admin, "my_db", statements)
    assert set(ALL) <= set(missing(any_server))
    to = "FOR" if admin.is_mariadb else "TO"
    admin.run(f"SET DEFAULT ROLE outer_role {to} reader@localhost")
    assert missing(any_server) == []


def test_rights_on_the_system_database_do_not_show_routines_of_mysql(
    any_server: ScratchServer, admin: Server
) -> None:
    statements = [
        f"GRANT {READING} ON my_db.* TO reader@localhost",
        "GRANT SELECT ON mysql.* TO reader@localhost",
    ]
    run_all(admin, "my_db", statements)
    login = replace(any_server.login, user="reader", password=Secret("a word"))
    with connect(login) as server:
        if admin.is_mariadb:
            assert server.query("SHOW CREATE PROCEDURE my_db.p")[0][2]
        else:
            with pytest.raises(QueryFailed, match="does not exist"):
                server.query("SHOW CREATE PROCEDURE my_db.p")
    assert missing(any_server) == ([] if admin.is_mariadb else ["SHOW_ROUTINE"])


@pytest.mark.parametrize("any_server", ["mysql-9"], indirect=True)
def test_what_is_revoked_in_part_is_missing_there_and_nowhere_else(
    any_server: ScratchServer, admin: Server
) -> None:
    admin.run("SET GLOBAL partial_revokes = ON")
    try:
        admin.run(f"GRANT {READING} ON *.* TO reader@localhost")
        admin.run("REVOKE TRIGGER ON my_db.* FROM reader@localhost")
        assert missing(any_server, DATABASES) == ["TRIGGER"]
        admin.run("DROP USER reader@localhost")
        admin.run("CREATE USER reader@localhost IDENTIFIED BY 'a word'")
        # Names of databases are no patterns in this mode.
        admin.run(f"GRANT {READING} ON my_db.* TO reader@localhost")
        admin.run("GRANT SHOW_ROUTINE ON *.* TO reader@localhost")
        assert missing(any_server, ["my_db"]) == []
        assert missing(any_server, ["my_db", "myxdb"]) == list(ALL)
    finally:
        admin.run("DROP USER reader@localhost")
        admin.run("SET GLOBAL partial_revokes = OFF")
