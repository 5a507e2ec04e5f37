"""Rights given on single routines, which the server forgets when a routine is dropped.

They are read before, and given back by GRANT when a routine of that name is there again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ulasis_backup.errors import ServerError
from ulasis_backup.mysql.server import QueryFailed, Server, quote

Right = tuple[str, str, str, str, str]
"""Kind and name of a routine, user and host, and what ``mysql.procs_priv`` has for them."""

OPTION = "Grant"
DENIED = frozenset({1142, 1044, 1143, 1146})


def read_rights(server: Server, database: str) -> tuple[Right, ...] | None:
    """Return the rights on the routines of *database*, None where the login may not read them."""
    try:
        rows = server.query(
            "SELECT Routine_type, Routine_name, User, Host, Proc_priv FROM mysql.procs_priv "
            "WHERE Db = %s ORDER BY 1, 2, 3, 4",
            (database,),
        )
    except QueryFailed as error:
        if error.number not in DENIED:
            raise
        return None
    return tuple(
        (str(kind).lower(), str(name), str(user), str(host), str(rights))
        for kind, name, user, host, rights in rows
    )


def give_back(server: Server, database: str, rights: Iterable[Right]) -> tuple[str, ...]:
    """Give those of *rights* again that are gone from routines that are there.

    Returns what could not be given back, each with the GRANT to run.
    """
    have = {right[:4]: right[4] for right in read_rights(server, database) or ()}
    rows = server.query(
        "SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = %s",
        (database,),
    )
    there = {(str(kind), str(name).casefold()) for kind, name in rows}
    problems = []
    with _no_new_accounts(server):
        for right in rights:
            is_there = (right[0], right[1].casefold()) in there
            if not is_there or _parts(right[4]) <= _parts(have.get(right[:4], "")):
                continue
            sql = grant(database, right, mariadb=server.is_mariadb)
            try:
                server.run(sql)
            except ServerError as error:
                problems.append(f"not given back: {sql}; ({error.message})")
    return tuple(problems)


def grant(database: str, right: Right, *, mariadb: bool) -> str:
    """Return the statement that gives *right*."""
    kind, name, user, host, rights = right
    words = sorted(_parts(rights) - {OPTION}) or ["USAGE"]
    # A role of MariaDB has no host.
    whom = quote(user) + ("" if mariadb and not host else f"@{quote(host)}")
    option = " WITH GRANT OPTION" if OPTION in _parts(rights) else ""
    where = f"{quote(database)}.{quote(name)}"
    return f"GRANT {', '.join(words).upper()} ON {kind.upper()} {where} TO {whom}{option}"


@contextlib.contextmanager
def _no_new_accounts(server: Server) -> Iterator[None]:
    """Without this mode MariaDB makes an account that is gone anew, without a password."""
    if not server.is_mariadb:
        yield
        return
    server.run("SET @ulasis_mode = @@SESSION.sql_mode, SESSION sql_mode = 'NO_AUTO_CREATE_USER'")
    try:
        yield
    finally:
        server.run("SET SESSION sql_mode = @ulasis_mode")


def _parts(rights: str) -> frozenset[str]:
    return frozenset(part for part in rights.split(",") if part)
