# ruff: noqa: E501 (lines are as long as servers make them)
"""Rights: read from what servers really print, and never believed where they do not reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulasis_backup.mysql.privileges import Grant, Missing, has, parse_grants, refuse

READING = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
PASSWORD = "IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29'"

MARIADB = {
    "root": (
        (
            "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` IDENTIFIED VIA mysql_native_password "
            "USING 'invalid' OR unix_socket WITH GRANT OPTION"
        ),
        "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
    ),
    "backup": (
        f"GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO `backup_user`@`%` {PASSWORD}",
        "GRANT SELECT, LOCK TABLES, SHOW VIEW, EVENT, TRIGGER ON `ulasis`.* TO `backup_user`@`%`",
        "GRANT SELECT ON `mysql`.`proc` TO `backup_user`@`%`",
    ),
    "strategy": (f"GRANT SELECT, LOCK TABLES, SHOW VIEW ON *.* TO `backup_user`@`%` {PASSWORD}",),
    "usage": ("GRANT USAGE ON *.* TO `nobody`@`%`",),
    "database": (
        "GRANT USAGE ON *.* TO `app`@`%`",
        "GRANT ALL PRIVILEGES ON `ulasis`.* TO `app`@`%` WITH GRANT OPTION",
    ),
    "role": (
        "GRANT `readers` TO `app`@`%`",
        "GRANT USAGE ON *.* TO `app`@`%`",
        "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `ulasis`.* TO `readers`",
        "SET DEFAULT ROLE `readers` FOR `app`@`%`",
    ),
    "columns": (
        "GRANT USAGE ON *.* TO `app`@`%`",
        "GRANT SELECT (`a`, `b`), INSERT (`a`), UPDATE ON `ulasis`.`t` TO `app`@`%`",
    ),
    "table": ("GRANT SELECT, TRIGGER ON `ulasis`.`orders` TO `app`@`%`",),
    "routine": (
        "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `ulasis`.`p` TO `app`@`%`",
        "GRANT EXECUTE ON FUNCTION `ulasis`.`f` TO `app`@`%`",
    ),
}
MYSQL = {
    "root": (
        (
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, SHUTDOWN, PROCESS, FILE, "
            "REFERENCES, INDEX, ALTER, SHOW DATABASES, SUPER, CREATE TEMPORARY TABLES, LOCK TABLES, "
            "EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, "
            "ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE TABLESPACE, CREATE ROLE, DROP ROLE "
            "ON *.* TO `root`@`localhost` WITH GRANT OPTION"
        ),
        (
            "GRANT ALLOW_NONEXISTENT_DEFINER,APPLICATION_PASSWORD_ADMIN,BACKUP_ADMIN,BINLOG_ADMIN,"
            "SET_ANY_DEFINER,SHOW_ROUTINE,SYSTEM_USER ON *.* TO `root`@`localhost` WITH GRANT OPTION"
        ),
        "GRANT PROXY ON ``@`` TO `root`@`localhost` WITH GRANT OPTION",
    ),
    "revoked": (
        "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON *.* TO `app`@`%`",
        "REVOKE SELECT ON `payroll`.* FROM `app`@`%`",
    ),
    "roles": (
        "GRANT SELECT, SHOW VIEW ON `ulasis`.* TO `app`@`%`",
        "GRANT `readers`@`%`,`writers`@`%` TO `app`@`%`",
    ),
}


def rights(lines: tuple[str, ...], database: str, *wanted: str) -> set[str]:
    grants = parse_grants(lines)
    return {right for right in wanted or READING if has(grants, right, database)}


def test_everything_is_everything() -> None:
    for lines in (MARIADB["root"], MYSQL["root"]):
        everything = (*READING, "LOCK TABLES", "CREATE ROUTINE", "PROCESS", "RELOAD")
        assert rights(lines, "any name", *everything) == set(everything)


def test_mysql_prints_dynamic_rights_without_blanks() -> None:
    wanted = ("SET_ANY_DEFINER", "SHOW_ROUTINE", "SYSTEM_USER")
    assert rights(MYSQL["root"], "", *wanted) == set(wanted)


def test_the_backup_login_of_the_documentation_may_read_everything() -> None:
    assert rights(MARIADB["backup"], "ulasis") == set(READING)
    assert rights(MARIADB["backup"], "", "PROCESS", "RELOAD", "BINLOG MONITOR", "SUPER") == {
        "PROCESS", "RELOAD", "BINLOG MONITOR",
    }  # fmt: skip
    assert rights(MARIADB["backup"], "other") == set()


def test_the_grant_of_the_strategy_lacks_triggers_and_events() -> None:
    assert rights(MARIADB["strategy"], "ulasis") == {"SELECT", "SHOW VIEW"}


@pytest.mark.parametrize("which", ["usage", "columns", "table", "routine"])
def test_rights_on_less_than_the_database_are_no_rights_on_it(which: str) -> None:
    assert rights(MARIADB[which], "ulasis", *READING, "UPDATE", "INSERT", "EXECUTE") == set()


def test_everything_on_a_database_holds_no_global_right() -> None:
    assert rights(MARIADB["database"], "ulasis") == set(READING)
    wanted = ("SUPER", "PROCESS", "RELOAD", "SET USER", "BINLOG MONITOR", "SHOW_ROUTINE")
    assert rights(MARIADB["database"], "ulasis", *wanted) == set()
    assert rights(MARIADB["database"], "", *wanted) == set()


def test_rights_of_a_role_count_and_lines_about_roles_do_not() -> None:
    assert rights(MARIADB["role"], "ulasis") == set(READING)
    assert rights(MYSQL["roles"], "ulasis") == {"SELECT", "SHOW VIEW"}


def test_what_is_revoked_in_part_is_not_given_there() -> None:
    assert rights(MYSQL["revoked"], "ulasis") == set(READING)
    assert rights(MYSQL["revoked"], "payroll") == set(READING) - {"SELECT"}


@pytest.mark.parametrize(
    ("pattern", "covered", "spared"),
    [
        (r"shop\_1", ("shop_1",), ("shopx1", "shop", r"shop\_1")),
        ("shop_1", ("shop_1", "shopx1"), ("shop1", "shop_11")),
        ("shop%", ("shop", "shop_1", "shopping\nmall"), ("a shop", "sho")),
        (r"100\%", ("100%",), ("1000", "100")),
        ("%", ("any", "thing"), ()),
        ("a``b", ("a`b",), ("a``b", "ab")),
        ("dot.ted", ("dot.ted",), ("dotxted",)),
        ("(x)+[y]", ("(x)+[y]",), ("xy",)),
    ],
)
def test_patterns_cover_what_the_server_means(
    pattern: str, covered: tuple[str, ...], spared: tuple[str, ...]
) -> None:
    line = f"GRANT SELECT ON `{pattern}`.* TO `app`@`%`"
    assert [rights((line,), name, "SELECT") for name in covered] == [{"SELECT"}] * len(covered)
    assert [rights((line,), name, "SELECT") for name in spared] == [set()] * len(spared)


@given(name=st.text(min_size=1, max_size=10))
def test_an_escaped_name_covers_itself_and_nothing_else(name: str) -> None:
    escaped = "".join(f"\\{c}" if c in "\\_%" else c for c in name).replace("`", "``")
    (grant,) = parse_grants([f"GRANT SELECT ON `{escaped}`.* TO `a`@`b`"])
    assert has([grant], "SELECT", name)
    assert not has([grant], "SELECT", name + "x")


def test_names_full_of_sql_are_read_as_names() -> None:
    line = "GRANT SELECT ON `x`.`* TO ``y``` TO `evil ON *.* TO`@`%` WITH GRANT OPTION"
    (grant,) = parse_grants([line])
    assert (grant.database, grant.table) == ("x", "* TO `y`")
    column = "GRANT SELECT (`a) ON *.* TO `) ON `x`.`t` TO `app`@`%`"
    assert not any(has([found], "SELECT", "y") for found in parse_grants([column]))


def test_a_user_name_cannot_pretend_to_be_a_scope() -> None:
    line = "GRANT USAGE ON *.* TO `SELECT ON *.* TO`@`%`"
    assert rights((line,), "ulasis") == set()


def test_lines_of_other_kinds_give_nothing() -> None:
    lines = (
        "",
        "GRANT PROXY ON ''@'%' TO 'root'@'localhost'",
        "GRANT `role` TO `x`@`%` WITH ADMIN OPTION",
        "SET DEFAULT ROLE `r` FOR `x`@`%`",
        "grant select on *.* to x",
    )
    assert parse_grants(lines) == ()


def test_usage_is_no_right() -> None:
    assert parse_grants(MARIADB["usage"]) == (
        Grant(rights=frozenset({"USAGE"}), database="*", table="*"),
    )


def test_what_gives_a_role_stands_alone_in_a_hint() -> None:
    statements = ("GRANT `r` TO 'a'@'b';", "GRANT SELECT ON `d`.* TO 'a'@'b';")
    missing = tuple(Missing(right="x", purpose="y", statement=one) for one in statements)
    assert all(one in refuse(missing, partial_hint=False).hint for one in (statements[0], "`d`.*"))
