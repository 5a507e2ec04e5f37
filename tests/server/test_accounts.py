"""Accounts and their rights: read, dropped, and created again, on every server there is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from support.server import fresh_database, run_all
from ulasis_backup.errors import IntegrityError, LoadFailed, LoginRefused, PrivilegeMissing
from ulasis_backup.model import Flavour, Login, Secret
from ulasis_backup.mysql.account_creation import create_accounts, refuse_accounts
from ulasis_backup.mysql.accounts import Account, from_json, read_accounts, to_json
from ulasis_backup.mysql.prepared import prepared
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect, quote

pytestmark = pytest.mark.server

ODD = "acc o'd`d\\x @\""
HASH = "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"

SALTED = "0x" + (b"$A$005$" + b"salt '\\\x01\x7f\nquoted \\' " + b"x" * 43).hex().upper()
"""A hash as MySQL may make it: its salt may hold quotes, backslashes and control characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server with a database, where accounts begin with ``acc``."""

    server: Server
    login: Login
    database: str

    @property
    def pattern(self) -> str:
        """Return the database as a pattern that means it alone."""
        return quote(self.database.replace("_", "\\_"))

    def run(self, *statements: str) -> None:
        """Run statements with ``{db}`` for the pattern and ``{name}`` for the quoted name."""
        for statement in statements:
            name = quote(self.database)
            self.server.run(statement.replace("{db}", self.pattern).replace("{name}", name))

    def read(self) -> tuple[Account, ...]:
        """Return the accounts of the database that belong to the test."""
        return tuple(a for a in read_accounts(self.server, [self.database]) if _is_ours(a.user))

    def as_user(self, user: str, password: str) -> Login:
        """Return the login of another account."""
        return replace(self.login, user=user, password=Secret(password))


@pytest.fixture
def place(any_server: ScratchServer) -> Iterator[Place]:
    """Return a database with a few objects and no accounts; those of the test go with it."""
    with (
        connect(any_server.login) as server,
        fresh_database(any_server.login, prefix="a_") as database,
    ):
        run_all(
            server,
            database,
            (
                "CREATE TABLE t (id INT PRIMARY KEY, a INT, `b``c` INT, `d,e ON (` INT)",
                "INSERT INTO t VALUES (1, 2, 3, 4)",
                "CREATE PROCEDURE p() SELECT 1",
                "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
            ),
        )
        try:
            yield Place(server=server, login=any_server.login, database=database)
        finally:
            _drop_ours(server)


def test_accounts_that_were_dropped_come_back_as_they_were(place: Place) -> None:
    _make_many(place)
    accounts, before = place.read(), _portrait(place.server)
    carried = [from_json(to_json(account)) for account in accounts]
    assert carried == list(accounts)
    assert {account.user for account in accounts} == {user for user, _, _ in before}
    _drop_ours(place.server)
    assert _portrait(place.server) == {}
    create_accounts(place.server, carried)
    assert _portrait(place.server) == before


def test_passwords_work_again(place: Place) -> None:
    _make_many(place)
    accounts = place.read()
    _drop_ours(place.server)
    with pytest.raises(LoginRefused), connect(place.as_user("acc_app", "se'cret")):
        pass
    create_accounts(place.server, accounts)
    with connect(place.as_user("acc_app", "se'cret")) as session:
        assert session.value(f"SELECT a FROM {quote(place.database)}.t") == 2
    with connect(place.as_user(ODD, "x")) as session:
        assert session.value(f"SELECT `b``c` FROM {quote(place.database)}.t") == 3
    with pytest.raises(LoginRefused), connect(place.as_user("acc_app", "")):
        pass


def test_a_default_role_is_active_again(place: Place) -> None:
    _make_many(place)
    accounts = place.read()
    _drop_ours(place.server)
    create_accounts(place.server, accounts)
    with connect(place.as_user("acc_member", "x")) as session:
        assert session.value(f"SELECT id FROM {quote(place.database)}.t") == 1


def test_nothing_but_rights_on_the_database_travels(place: Place) -> None:
    place.run(
        "CREATE USER acc_wide@localhost IDENTIFIED BY 'x'",
        "GRANT SELECT, PROCESS ON *.* TO acc_wide@localhost WITH GRANT OPTION",
        "GRANT INSERT ON `%`.* TO acc_wide@localhost",
        "GRANT INSERT ON `other`.* TO acc_wide@localhost",
        "GRANT UPDATE ON {db}.* TO acc_wide@localhost",
    )
    (account,) = place.read()
    _drop_ours(place.server)
    notices = create_accounts(place.server, [account])
    grants = _grants(place.server, "`acc_wide`@`localhost`")
    assert [line for line in grants if "USAGE" not in line] == [
        f"GRANT UPDATE ON {place.pattern}.* TO `acc_wide`@`localhost`"
    ]
    assert "GRANT OPTION" not in "".join(grants)
    rest = "TO `acc_wide`@`localhost`"
    assert (
        f"GRANT SELECT, PROCESS ON *.* {rest} WITH GRANT OPTION is not part of the backup"
        in notices
    )
    assert f"GRANT INSERT ON `%`.* {rest} is not part of the backup" in notices
    assert not any(HASH in notice or "IDENTIFIED" in notice for notice in notices)


def test_accounts_without_rights_here_are_not_in_the_backup(place: Place) -> None:
    place.run(
        "CREATE USER acc_other@localhost IDENTIFIED BY 'x'",
        "GRANT SELECT ON other.* TO acc_other@localhost",
        "CREATE USER acc_global@localhost IDENTIFIED BY 'x'",
        "GRANT SELECT ON *.* TO acc_global@localhost",
        "CREATE USER acc_similar@localhost IDENTIFIED BY 'x'",
        f"GRANT SELECT ON `{place.database}x`.* TO acc_similar@localhost",
    )
    assert place.read() == ()


def test_definers_of_every_kind_come_along_without_rights(place: Place) -> None:
    for number in range(4):
        place.run(f"CREATE USER acc_d{number}@localhost IDENTIFIED BY 'x'")
    run_all(
        place.server,
        place.database,
        (
            "CREATE DEFINER=acc_d0@localhost VIEW v AS SELECT 1",
            "CREATE DEFINER=acc_d1@localhost PROCEDURE q() SELECT 1",
            "CREATE DEFINER=acc_d2@localhost TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
            "CREATE DEFINER=acc_d3@localhost EVENT e ON SCHEDULE EVERY 1 DAY DO SET @x = 1",
        ),
    )
    accounts = place.read()
    # MySQL gives the definer of a routine rights on it.
    assert [account.user for account in accounts] == [f"acc_d{number}" for number in range(4)]
    assert all(right.kind == "PROCEDURE" for account in accounts for right in account.grants)


def test_an_account_that_exists_is_given_rights_and_not_changed(place: Place) -> None:
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'old' WITH MAX_USER_CONNECTIONS 3",
        "GRANT SELECT ON {db}.* TO acc_app@'%'",
    )
    accounts = place.read()
    place.run("DROP USER acc_app@'%'", "CREATE USER acc_app@'%' IDENTIFIED BY 'new'")
    before = _created(place.server, "`acc_app`@`%`")
    notices = create_accounts(place.server, accounts)
    assert any("`acc_app`@`%` exists" in notice for notice in notices)
    assert _created(place.server, "`acc_app`@`%`") == before
    with connect(place.as_user("acc_app", "new")) as session:
        assert session.value(f"SELECT id FROM {quote(place.database)}.t") == 1


def test_a_second_run_changes_nothing(place: Place) -> None:
    _make_many(place)
    accounts, before = place.read(), _portrait(place.server)
    _drop_ours(place.server)
    create_accounts(place.server, accounts)
    create_accounts(place.server, accounts)
    assert _portrait(place.server) == before


def test_rights_follow_a_database_into_its_new_name(place: Place) -> None:
    wide = quote(place.database[:-1].replace("_", "\\_") + "%")
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'x'",
        "GRANT SELECT ON {db}.* TO acc_app@'%'",
        f"GRANT ALL ON {wide}.* TO acc_app@'%'",
        "GRANT INSERT ON {name}.t TO acc_app@'%'",
        "GRANT EXECUTE ON PROCEDURE {name}.p TO acc_app@'%'",
        "CREATE USER acc_wide@'%' IDENTIFIED BY 'x'",
        f"GRANT DELETE ON {wide}.* TO acc_wide@'%'",
    )
    accounts = place.read()
    _drop_ours(place.server)
    with fresh_database(place.login, prefix="b_") as copy:
        statements = ("CREATE TABLE t (id INT)", "CREATE PROCEDURE p() SELECT 1")
        run_all(place.server, copy, statements)
        create_accounts(place.server, accounts, renamed={place.database: copy})
        pattern = quote(copy.replace("_", "\\_"))
        # The right on many names is hidden by the one on this name, and must not widen it.
        assert _rights(place.server, "`acc_app`@`%`") == {
            f"GRANT SELECT ON {pattern}.*",
            f"GRANT INSERT ON `{copy}`.`t`",
            f"GRANT EXECUTE ON PROCEDURE `{copy}`.`p`",
        }
        assert _rights(place.server, "`acc_wide`@`%`") == {f"GRANT DELETE ON {pattern}.*"}


def test_rights_on_many_names_stay_and_are_named(place: Place) -> None:
    wide = quote(place.database[:-1].replace("_", "\\_") + "%")
    place.run("CREATE USER acc_wide@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON {wide}.* TO acc_wide")
    accounts = place.read()
    _drop_ours(place.server)
    notices = create_accounts(place.server, accounts)
    assert any(f"on {wide}.* hold for every database" in notice for notice in notices)
    assert create_accounts(place.server, accounts, databases=["another"])
    _drop_ours(place.server)
    create_accounts(place.server, accounts, databases=["another"])
    assert _rights(place.server, "`acc_wide`@`%`") == set()


def test_rights_on_objects_that_are_not_there_are_named(place: Place) -> None:
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'x'",
        "GRANT SELECT ON {name}.t TO acc_app@'%'",
        "GRANT EXECUTE ON PROCEDURE {name}.p TO acc_app@'%'",
        "GRANT INSERT ON {db}.* TO acc_app@'%'",
    )
    accounts = place.read()
    _drop_ours(place.server)
    run_all(place.server, place.database, ("DROP TABLE t", "DROP PROCEDURE p"))
    notices = create_accounts(place.server, accounts)
    assert len([notice for notice in notices if "its object is not here" in notice]) == 2
    assert _rights(place.server, "`acc_app`@`%`") == {f"GRANT INSERT ON {place.pattern}.*"}


def test_an_account_without_a_password_comes_back_locked(place: Place) -> None:
    place.run("CREATE USER acc_open@localhost", "GRANT SELECT ON {db}.* TO acc_open@localhost")
    accounts = place.read()
    with connect(place.as_user("acc_open", "")):
        pass
    _drop_ours(place.server)
    notices = create_accounts(place.server, accounts)
    assert any("`acc_open`@`localhost` has no password" in notice for notice in notices)
    with pytest.raises(LoginRefused), connect(place.as_user("acc_open", "")):
        pass
    place.run("ALTER USER acc_open@localhost ACCOUNT UNLOCK")
    with connect(place.as_user("acc_open", "")):
        pass


def test_an_account_of_the_other_flavour_is_named_and_not_made(place: Place) -> None:
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON {db}.* TO acc_app@'%'")
    other = Flavour.MYSQL if place.server.is_mariadb else Flavour.MARIADB
    accounts = [replace(account, flavour=other) for account in place.read()]
    _drop_ours(place.server)
    notices = create_accounts(place.server, accounts)
    assert any("`acc_app`@`%` is not created" in n and str(other) in n for n in notices)
    assert _portrait(place.server) == {}
    # Once somebody has made it, it gets its rights.
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'y'")
    create_accounts(place.server, accounts)
    assert _rights(place.server, "`acc_app`@`%`") == {f"GRANT SELECT ON {place.pattern}.*"}


def test_roles_go_from_one_flavour_to_the_other(place: Place, scratch: ScratchServer) -> None:
    if place.server.is_mariadb:
        pytest.skip("the other one of the two is MySQL")
    with connect(scratch.login) as server, fresh_database(scratch.login, prefix="a_") as database:
        mariadb = Place(server=server, login=scratch.login, database=database)
        try:
            _make_and_move_roles(mariadb, place, "`acc_role`", "`acc_role`@`%`")
            _make_and_move_roles(place, mariadb, "`acc_role`@`%`", "`acc_role`")
        finally:
            _drop_ours(server)


def _make_and_move_roles(source: Place, target: Place, old: str, new: str) -> None:
    _drop_ours(source.server)
    _drop_ours(target.server)
    right = "DELETE HISTORY" if source.server.is_mariadb else "INSERT"
    source.run(
        "CREATE ROLE acc_role",
        f"GRANT SELECT, {right} ON {{db}}.* TO {old}",
        "CREATE USER acc_app@localhost IDENTIFIED BY 'x'",
        f"GRANT {old} TO acc_app@localhost",
    )
    accounts = source.read()
    target.run("CREATE USER acc_app@localhost IDENTIFIED BY 'y'")
    notices = create_accounts(target.server, accounts, renamed={source.database: target.database})
    # What the target does not know is left out and named, the rest of the statement is not.
    unknown = [notice for notice in notices if "knows no such right" in notice]
    assert len(unknown) == (1 if source.server.is_mariadb else 0)
    given = "SELECT" if source.server.is_mariadb else "SELECT, INSERT"
    assert _rights(target.server, new) == {f"GRANT {given} ON {target.pattern}.*"}
    assert f"GRANT {new} TO `acc_app`@`localhost`" in _grants(
        target.server, "`acc_app`@`localhost`"
    )


def test_an_unknown_authentication_plugin_is_named_and_the_account_not_made(place: Place) -> None:
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON {db}.* TO acc_app@'%'")
    (account,) = place.read()
    _drop_ours(place.server)
    word, using = ("VIA", "USING") if place.server.is_mariadb else ("WITH", "AS")
    text = f"CREATE USER `acc_app`@`%` IDENTIFIED {word} no_such_plugin {using} '{HASH}'"
    strange = replace(account, create=(text,))
    (notice,) = create_accounts(place.server, [strange])
    assert "no active authentication plugin no_such_plugin" in notice
    assert HASH not in notice
    assert _portrait(place.server) == {}


def test_an_error_does_not_show_the_hash(place: Place) -> None:
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON {db}.* TO acc_app@'%'")
    (account,) = place.read()
    _drop_ours(place.server)
    # The server quotes from the word on that it does not know.
    broken = replace(account, create=(f"{account.create[0]} NONSENSE '{HASH}'",))
    with pytest.raises(LoadFailed) as failed:
        create_accounts(place.server, [broken])
    assert HASH not in failed.value.message + failed.value.hint + repr(failed.value)
    assert "`acc_app`@`%` could not be created" in failed.value.message
    assert HASH not in repr(broken)


def test_hashes_are_in_the_record_and_not_in_its_repr(place: Place) -> None:
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON {db}.* TO acc_app@'%'")
    (account,) = place.read()
    found = re.search(r"(?:\*|0x)([0-9A-F]{40,})", account.create[0])
    assert found
    assert found[1] in str(to_json(account))
    assert found[1] not in repr(account)
    assert found[1] not in repr([account])


def test_a_record_of_another_form_is_refused_without_showing_the_hash(place: Place) -> None:
    place.run("CREATE USER acc_app@'%' IDENTIFIED BY 'x'", "GRANT SELECT ON {db}.* TO acc_app@'%'")
    (account,) = place.read()
    value = to_json(account)
    changes: tuple[dict[str, object], ...] = (
        {"host": 5},
        {"more": 1},
        {"is_role": "yes"},
        {"flavour": "oracle"},
        {"create": [f"DROP USER x /* {HASH} */"]},
        {"create": HASH},
        {"grants": [{}]},
    )
    for change in changes:
        with pytest.raises(IntegrityError) as refused:
            from_json(value | change)
        assert HASH not in refused.value.message
    del value["host"]
    with pytest.raises(IntegrityError):
        from_json(value)


def test_the_right_to_read_is_proved_and_named(place: Place) -> None:
    place.run(
        "CREATE USER acc_reader@localhost IDENTIFIED BY 'x'",
        "GRANT ALL ON {db}.* TO acc_reader@localhost",
        "CREATE USER acc_app@localhost IDENTIFIED BY 'x'",
        "GRANT SELECT ON {db}.* TO acc_app@localhost",
    )
    login = place.as_user("acc_reader", "x")
    with connect(login) as session, pytest.raises(PrivilegeMissing) as refused:
        read_accounts(session, [place.database])
    place.run(*_statements(refused.value))
    with connect(login) as session:
        found = read_accounts(session, [place.database])
    assert found == read_accounts(place.server, [place.database])


def test_the_rights_to_create_are_proved_before_anything_is_touched(place: Place) -> None:
    _make_many(place)
    accounts, before = place.read(), _portrait(place.server)
    _drop_ours(place.server)
    place.run("CREATE USER acc_restore@localhost IDENTIFIED BY 'x'")
    place.run("GRANT SELECT ON mysql.* TO acc_restore@localhost")
    login = place.as_user("acc_restore", "x")
    with connect(login) as session, pytest.raises(PrivilegeMissing) as refused:
        create_accounts(session, accounts)
    assert "CREATE USER" in refused.value.message
    assert "GRANT OPTION" in refused.value.message
    assert {user for user, _, _ in _portrait(place.server)} == {"acc_restore"}
    place.run(*_statements(refused.value))
    with connect(login) as session:
        assert refuse_accounts(session, accounts) == create_accounts(session, accounts)
    place.run("DROP USER acc_restore@localhost")
    assert _portrait(place.server) == before


def test_strings_of_certificates_that_the_server_shows_unescaped_are_mended(place: Place) -> None:
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'x' "
        "REQUIRE SUBJECT '/CN=it''s' AND ISSUER '/CN=a\\\\b'''",
        "GRANT SELECT ON {db}.* TO acc_app@'%'",
    )
    sql = "SELECT x509_subject, x509_issuer FROM mysql.user WHERE User = 'acc_app'"
    before = place.server.query(sql)
    accounts = place.read()
    _drop_ours(place.server)
    create_accounts(place.server, accounts)
    assert place.server.query(sql) == before


def test_accounts_of_hosts_that_the_server_does_not_look_up_are_named(place: Place) -> None:
    place.run(
        "CREATE USER acc_app@'db.example.com' IDENTIFIED BY 'x'",
        "GRANT SELECT ON {db}.* TO acc_app@'db.example.com'",
        "FLUSH PRIVILEGES",
    )
    try:
        (account,) = place.read()
        if place.server.is_mariadb:
            assert (account.create, account.grants) == ((), ())
            assert "its server does not use it" in account.not_carried[0]
        else:
            assert account.create
    finally:
        for table in ("db", "global_priv" if place.server.is_mariadb else "user"):
            place.run(f"DELETE FROM mysql.{table} WHERE Host = 'db.example.com'")
        place.run("FLUSH PRIVILEGES")


def test_rights_of_packages_and_of_everybody_come_back(place: Place) -> None:
    if not place.server.is_mariadb:
        pytest.skip("MySQL has neither packages nor PUBLIC")
    with prepared(place.server, place.database, {"sql_mode": "ORACLE"}):
        place.run(
            "CREATE PACKAGE pk AS PROCEDURE q(); END",
            "CREATE USER acc_app@'%' IDENTIFIED BY 'x'",
            "GRANT EXECUTE ON PACKAGE {name}.pk TO acc_app@'%'",
        )
    place.run("GRANT SELECT ON {db}.* TO PUBLIC")
    accounts = read_accounts(place.server, [place.database])
    _drop_ours(place.server)
    place.run("REVOKE SELECT ON {db}.* FROM PUBLIC")
    try:
        create_accounts(place.server, accounts)
        assert _rights(place.server, "`acc_app`@`%`") == {
            f"GRANT EXECUTE ON PACKAGE {quote(place.database)}.`pk`"
        }
        assert _rights(place.server, "PUBLIC") == {f"GRANT SELECT ON {place.pattern}.*"}
    finally:
        place.run("REVOKE SELECT ON {db}.* FROM PUBLIC")


def test_partial_revokes_make_patterns_of_names(place: Place) -> None:
    if place.server.is_mariadb:
        pytest.skip("MariaDB has no partial revokes")
    place.run("SET GLOBAL partial_revokes = ON")
    try:
        place.run(
            "CREATE USER acc_app@'%' IDENTIFIED BY 'x'",
            f"GRANT UPDATE ON `{place.database}`.* TO acc_app@'%'",
            "GRANT SELECT, INSERT ON *.* TO acc_app@'%'",
            "REVOKE INSERT ON {name}.* FROM acc_app@'%'",
            "CREATE USER acc_none@'%' IDENTIFIED BY 'x'",
            f"GRANT SELECT ON `{place.database[:-1]}%`.* TO acc_none@'%'",
        )
        accounts = place.read()
    finally:
        _drop_ours(place.server)
        place.run("SET GLOBAL partial_revokes = OFF")
    assert [account.user for account in accounts] == ["acc_app"]
    notices = create_accounts(place.server, accounts)
    # Without the setting the plain name would mean other databases too.
    assert _rights(place.server, "`acc_app`@`%`") == {f"GRANT UPDATE ON {place.pattern}.*"}
    assert any("REVOKE INSERT ON" in notice for notice in notices)


def test_a_second_password_is_named(place: Place) -> None:
    if place.server.is_mariadb:
        pytest.skip("MariaDB has no second passwords")
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'x'",
        "ALTER USER acc_app@'%' IDENTIFIED BY 'y' RETAIN CURRENT PASSWORD",
        "GRANT SELECT ON {db}.* TO acc_app@'%'",
    )
    (account,) = place.read()
    assert account.not_carried == (
        "the second password of `acc_app`@`%` is not part of the backup",
    )


def _make_many(place: Place) -> None:
    """Make accounts and roles of many kinds."""
    odd = ODD.replace("\\", "\\\\").replace("'", "''")
    role = "acc_role" if place.server.is_mariadb else "acc_role@'10.0.%'"
    place.run(
        "CREATE USER acc_app@'%' IDENTIFIED BY 'se''cret' WITH MAX_QUERIES_PER_HOUR 500",
        "GRANT SELECT, INSERT ON {db}.* TO acc_app@'%' WITH GRANT OPTION",
        "GRANT SELECT (`b``c`, `d,e ON (`), UPDATE (a), INSERT ON {name}.t TO acc_app@'%'",
        "GRANT EXECUTE ON PROCEDURE {name}.p TO acc_app@'%'",
        "GRANT EXECUTE, ALTER ROUTINE ON FUNCTION {name}.f TO acc_app@'%' WITH GRANT OPTION",
        f"CREATE USER '{odd}'@localhost IDENTIFIED BY 'x'",
        f"GRANT ALL ON {{name}}.t TO '{odd}'@localhost",
        "CREATE USER acc_tls@'10.0.%' IDENTIFIED BY 'x' REQUIRE SSL",
        "GRANT ALL ON {db}.* TO acc_tls@'10.0.%'",
        "CREATE USER acc_locked@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE ACCOUNT LOCK",
        "GRANT SHOW VIEW ON {db}.* TO acc_locked@localhost",
        "CREATE USER acc_old@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 30 DAY",
        "GRANT EVENT ON {db}.* TO acc_old@localhost",
        f"CREATE ROLE {role}",
        "CREATE ROLE acc_outer",
        f"GRANT SELECT ON {{db}}.* TO {role}",
        f"GRANT {role} TO acc_outer",
        "CREATE USER acc_member@localhost IDENTIFIED BY 'x'",
        "GRANT acc_outer TO acc_member@localhost WITH ADMIN OPTION",
    )
    if place.server.is_mariadb:
        place.run(
            "SET DEFAULT ROLE acc_outer FOR acc_member@localhost",
            "ALTER USER acc_old@localhost PASSWORD EXPIRE",
            "CREATE USER acc_two@localhost IDENTIFIED VIA mysql_native_password "
            "USING PASSWORD('x') OR unix_socket",
            "GRANT DELETE HISTORY ON {db}.* TO acc_two@localhost",
        )
    else:
        place.run(
            "SET DEFAULT ROLE acc_outer TO acc_member@localhost",
            "CREATE USER acc_two@localhost IDENTIFIED WITH sha256_password BY 'x' "
            "FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 COMMENT 'h''i\\\\'",
            "GRANT INDEX ON {db}.* TO acc_two@localhost",
            f"CREATE USER acc_salt@localhost IDENTIFIED WITH caching_sha2_password AS {SALTED}",
            "GRANT INDEX ON {db}.* TO acc_salt@localhost",
        )


def _is_ours(user: str) -> bool:
    return user.startswith("acc")


def _ours(server: Server) -> list[tuple[str, str, str]]:
    """Return user, host and text of the test's accounts."""
    if not server.is_mariadb:
        rows = server.query("SELECT User, Host, 'N' FROM mysql.user ORDER BY 1, 2")
    else:
        rows = server.query("SELECT User, Host, is_role FROM mysql.user ORDER BY 1, 2")
    return [
        (user, host, quote(user) if is_role == "Y" else f"{quote(user)}@{quote(host)}")
        for user, host, is_role in rows
        if _is_ours(user)
    ]


def _portrait(server: Server) -> dict[tuple[str, str, str], object]:
    """Return all that the server shows of the test's accounts."""
    found: dict[tuple[str, str, str], object] = {}
    for user, host, text in _ours(server):
        is_role = server.is_mariadb and not host
        created = [] if is_role else _created(server, text)
        found[user, host, text] = (created, sorted(_grants(server, text)))
    return found


def _created(server: Server, text: str) -> list[str]:
    hexadecimal = {} if server.is_mariadb else {"print_identified_with_as_hex": 1}
    with prepared(server, "mysql", {"sql_mode": "", **hexadecimal}):
        return [str(row[0]) for row in server.query(f"SHOW CREATE USER {text}")]


def _grants(server: Server, text: str) -> list[str]:
    return [str(row[0]) for row in server.query(f"SHOW GRANTS FOR {text}")]


def _rights(server: Server, text: str) -> set[str]:
    lines = _grants(server, text)
    return {line.rpartition(" TO ")[0] for line in lines if " ON *.* " not in line}


def _drop_ours(server: Server) -> None:
    for _, host, text in _ours(server):
        kind = "ROLE" if server.is_mariadb and not host else "USER"
        server.run(f"DROP {kind} {text}")


def _statements(refused: PrivilegeMissing) -> Sequence[str]:
    """Return the statements of a hint."""
    return re.findall(r"GRANT .*?;(?= GRANT |$)", refused.hint)
