"""Creating the accounts of a backup where they are missing, and giving them their rights.

What exists is changed in nothing but rights added. No way to log in is ever made up: where an
account's own cannot be had on the server, the account is named and left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence

from ulasis_backup.errors import LoadFailed, LoginRefused
from ulasis_backup.model import Flavour
from ulasis_backup.mysql.account_plan import Gift, Restored, plan
from ulasis_backup.mysql.account_text import role_name
from ulasis_backup.mysql.accounts import Account, Membership, prove_reading, read_catalogue
from ulasis_backup.mysql.prepared import ELSEWHERE, prepared
from ulasis_backup.mysql.server import QueryFailed, Server

OBJECT_MISSING = frozenset({1054, 1146, 1305})
"""Errors of GRANT about a column, table or routine that is not there."""

RIGHT_UNKNOWN = frozenset({1064, 1144, 3619})
EXISTS = 1396
ACCESS_DENIED = 1044
ODD = -1
REASONS = {
    1044: "the login lacks a right",
    1227: "the login lacks a right",
    1290: "a setting of the server forbids it",
    1372: "the server does not take the hash of its password",
    1524: "its authentication plugin is not loaded",
    1819: "the server's rules for passwords forbid it",
    1827: "the server does not take the hash of its password",
}
"""In our words: those of the server may quote the statement, and in it the hash."""


def refuse_accounts(
    server: Server,
    accounts: Sequence[Account],
    *,
    renamed: Mapping[str, str] | None = None,
    databases: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Return what ``create_accounts`` would say beforehand; nothing is touched.

    Arguments are those of ``create_accounts``. Raises PrivilegeMissing where it could not do it.
    """
    prove_reading(server)
    return plan(server, accounts, Restored(databases=databases, renamed=renamed or {})).notices


def create_accounts(
    server: Server,
    accounts: Sequence[Account],
    *,
    renamed: Mapping[str, str] | None = None,
    databases: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Create those of *accounts* that are missing, give all of them their rights; return notices.

    To be called when the objects are in place, for rights on missing ones cannot be given: such
    are named. *renamed* has the new names of databases that were restored under another one;
    rights on databases that are not in *databases* are left out. It can be run again. Raises
    PrivilegeMissing before anything is touched, and LoadFailed; neither shows a hash.
    """
    prove_reading(server)
    todo = plan(server, accounts, Restored(databases=databases, renamed=renamed or {}))
    notices = list(todo.notices)
    # Without this mode MariaDB creates the account that a GRANT names, open to everybody.
    mode = "NO_AUTO_CREATE_USER" if server.is_mariadb else ""
    with prepared(server, ELSEWHERE, {"sql_mode": mode}):
        for account in todo.new:
            notices += _create(server, account)
        for gift in todo.gifts:
            notices += _give(server, gift)
        for account, membership in todo.memberships:
            _run(server, _membership(server.version.flavour, account, membership), account.text)
        members = {(account.name, m.role) for account, m in todo.memberships}
        for account in todo.defaults:
            roles = [role for role in account.default_roles if (account.name, role) in members]
            if roles:
                _run(server, _defaults(server, account, roles), account.text)
    return tuple(notices)


def _create(server: Server, account: Account) -> Iterator[str]:
    for statement in account.create:
        number = _failure(server, statement)
        if number == EXISTS and account.name in read_catalogue(server).roles:
            yield f"account {account.text} exists by now: it is left as it is"
            return
        if number:
            why = REASONS.get(number, "see the server's documentation of this error number")
            message = f"account {account.text} could not be created: the server says {number}"
            raise LoadFailed(message, hint=f"{why}; create it by hand, then run this again")


def _failure(server: Server, statement: str) -> int:
    """Run *statement*; return the number of the server's error, whose text may show a hash."""
    try:
        server.run(statement)
    except QueryFailed as error:
        return error.number or ODD
    except LoginRefused:
        return ACCESS_DENIED
    return 0


def _give(server: Server, gift: Gift) -> Iterator[str]:
    """Give rights, those that the server knows, on what is there; return what was not given."""
    rights = gift.right.rights
    try:
        _grant(server, gift, rights)
    except QueryFailed as error:
        if error.number in RIGHT_UNKNOWN and len(rights) > 1:
            for right in rights:
                yield from _give_one(server, gift, right)
        else:
            yield _not_given(gift, rights, error)


def _give_one(server: Server, gift: Gift, right: str) -> Iterator[str]:
    try:
        _grant(server, gift, [right])
    except QueryFailed as error:
        yield _not_given(gift, [right], error)


def _grant(server: Server, gift: Gift, rights: Sequence[str]) -> None:
    statement = gift.statement(rights)
    with _denials_as_failures(statement):
        _grant_in_mode(server, gift, statement)


def _grant_in_mode(server: Server, gift: Gift, statement: str) -> None:
    if server.is_mariadb and gift.right.kind.startswith("PACKAGE"):
        # MariaDB 10.11 knows packages in no other mode; it too keeps GRANT from making accounts.
        with prepared(server, ELSEWHERE, {"sql_mode": "ORACLE"}):
            server.run(statement)
    else:
        server.run(statement)


@contextlib.contextmanager
def _denials_as_failures(statement: str) -> Iterator[None]:
    """Turn the error about rights that we may not give (1045), which looks like one of logins."""
    try:
        yield
    except LoginRefused as error:
        raise LoadFailed(f"{statement}: {error.message}", hint=error.hint) from None


def _not_given(gift: Gift, rights: Sequence[str], error: QueryFailed) -> str:
    statement = gift.statement(rights)
    if error.number in OBJECT_MISSING:
        return f"not given, for its object is not here: {statement}"
    if error.number in RIGHT_UNKNOWN:
        return f"not given, for the server knows no such right: {statement}"
    raise LoadFailed(f"{statement}: {error.message}", hint=error.hint) from None


def _membership(flavour: Flavour, account: Account, membership: Membership) -> str:
    option = " WITH ADMIN OPTION" if membership.grantable else ""
    return f"GRANT {role_name(membership.role, flavour)} TO {account.text}{option}"


def _defaults(server: Server, account: Account, roles: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(role_name(role, server.version.flavour) for role in roles)
    word = "FOR" if server.is_mariadb else "TO"
    return f"SET DEFAULT ROLE {names} {word} {account.text}"


def _run(server: Server, statement: str, account: str) -> None:
    try:
        server.run(statement)
    except (QueryFailed, LoginRefused) as error:
        message = f"the roles of {account} could not be given: {error.message}"
        raise LoadFailed(message, hint=error.hint) from None
