"""The user's own assertions, asked in a scratch server that holds the restored databases."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ulasis_backup.assertions import Assertion, shown
from ulasis_backup.errors import ServerError
from ulasis_backup.model import Login, Secret
from ulasis_backup.mysql.server import QueryFailed, Row, Server, connect, quote

USER = "ulasis_assertions"
MILLISECONDS = 1000
TOO_LONG = frozenset({1969, 3024})
"""What MariaDB and MySQL say of a query that went beyond its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """How an assertion came out: ``found`` is the value, or what was wrong with the query.

    One that took too long says nothing about the backup: it was not ``answered``.
    """

    name: str
    holds: bool
    expected: str
    found: str
    answered: bool = True

    def __str__(self) -> str:
        if not self.answered:
            return f"assertion {self.name!r} was not answered in time: {self.found}"
        verb = "holds" if self.holds else "does not hold"
        return f"assertion {self.name!r} {verb}: {self.expected} expected, found {self.found}"


def ask(
    server: Server,
    databases: Sequence[str],
    assertions: Sequence[Assertion],
    *,
    made_at: datetime,
    seconds: int,
) -> tuple[Asserted, ...]:
    """Ask those of *assertions* that are about *databases*; *server* is an administrator's.

    In read-only sessions of an account that may read these databases and nothing else; a query
    that takes longer than *seconds* is not answered.
    """
    chosen = [(one, one.database or databases[0]) for one in assertions]
    wanted = [(one, database) for one, database in chosen if database in databases]
    if not wanted:
        return ()
    login = _reader(server, databases)
    return tuple(
        _judged(one, _value(login, one.sql, database, seconds=seconds), made_at)
        for one, database in wanted
    )


def _reader(server: Server, databases: Sequence[str]) -> Login:
    password = secrets.token_hex(16)
    server.run(f"DROP USER IF EXISTS {USER}@localhost")
    server.run(f"CREATE USER {USER}@localhost IDENTIFIED BY '{password}'")
    for database in databases:
        rights = "SELECT, EXECUTE, SHOW VIEW"
        server.run(f"GRANT {rights} ON {quote(database)}.* TO {USER}@localhost")
    return replace(server.login, user=USER, password=Secret(password))


def _judged(one: Assertion, value: object, made_at: datetime) -> Asserted:
    wrong = isinstance(value, _Unanswered)
    return Asserted(
        name=one.name,
        holds=not wrong and one.holds(value, made_at=made_at),
        expected=one.expected,
        found=str(value) if wrong else shown(value),
        answered=not (isinstance(value, _Unanswered) and value.too_long),
    )


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """Why a query has no value."""

    why: str
    too_long: bool = False

    def __str__(self) -> str:
        return self.why


def _value(login: Login, sql: str, database: str, *, seconds: int) -> object:
    try:
        rows = _rows(login, sql, database, seconds)
    except QueryFailed as error:
        return _Unanswered(error.message, too_long=error.number in TOO_LONG)
    except ServerError as error:
        return _Unanswered(error.message)
    if len(rows) != 1 or not rows[0]:
        return _Unanswered(f"{len(rows)} rows instead of one")
    return rows[0][0]


def _rows(login: Login, sql: str, database: str, seconds: int) -> list[Row]:
    with connect(login, database=database) as server:
        if server.is_mariadb:
            server.run("SET SESSION max_statement_time = %s", (seconds,))
        else:
            server.run("SET SESSION max_execution_time = %s", (seconds * MILLISECONDS,))
        server.run("START TRANSACTION READ ONLY")
        return server.query(sql)
