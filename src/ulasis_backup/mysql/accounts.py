"""The accounts and roles that have rights on a database, and these rights.

Nothing that an account may do elsewhere is kept: neither global rights nor rights on other
databases. How an account logs in is kept as the server shows it, its password as a hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ulasis_backup.errors import IntegrityError
from ulasis_backup.model import Flavour
from ulasis_backup.mysql import privileges
from ulasis_backup.mysql.account_text import (
    PUBLIC,
    Line,
    Name,
    authentication,
    covered,
    escaped,
    is_wild,
    parse,
    plain,
    requirements_mended,
    role_name,
    sql_name,
    without_default_role,
)
from ulasis_backup.mysql.prepared import ELSEWHERE, Value, prepared
from ulasis_backup.mysql.privileges import Missing
from ulasis_backup.mysql.server import QueryFailed, Server

SYSTEM_ACCOUNTS = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"})
UNKNOWN = frozenset({1133, 1141, 1396})
"""Errors for an account that stands in the tables but that the server does not use."""

MOST_RIGHTS_NAMED = 6
DEFAULT_PLUGIN = {
    Flavour.MARIADB: "mysql_native_password",
    Flavour.MYSQL: "caching_sha2_password",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Rights on the databases of a pattern, or on one table or routine.

    ``kind`` is what GRANT calls the object, empty for whole databases; then ``database`` is a
    pattern, else a name. ``databases`` are those of the backup that it holds for.
    """

    rights: tuple[str, ...]
    kind: str
    database: str
    name: str
    grantable: bool
    databases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A role that an account has, and whether it may give it to others."""

    role: Name
    grantable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account or role, how it logs in, and its rights on the databases of a backup.

    ``create`` are the statements that make it; it is empty for PUBLIC and for what the server
    does not show. They hold the hash of the password. ``not_carried`` names what it has besides.
    """

    user: str
    host: str
    flavour: Flavour
    is_role: bool
    create: tuple[str, ...] = field(repr=False)
    grants: tuple[Right, ...] = ()
    roles: tuple[Membership, ...] = ()
    default_roles: tuple[Name, ...] = ()
    not_carried: tuple[str, ...] = ()

    @property
    def name(self) -> Name:
        """Return user and host."""
        return self.user, self.host

    @property
    def text(self) -> str:
        """Return the name as it stands in statements."""
        return role_name(self.name, self.flavour) if self.is_role else sql_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All accounts of a server: whether each is a role, who has which role, defaults."""

    roles: dict[Name, bool]
    members: tuple[tuple[Name, Name, bool], ...]
    defaults: dict[Name, tuple[Name, ...]]

    def of(self, member: Name) -> tuple[Membership, ...]:
        """Return the roles that *member* has."""
        found = sorted((role, admin) for role, holder, admin in self.members if holder == member)
        return tuple(Membership(role=role, grantable=admin) for role, admin in found)


_ACCOUNT = TypeAdapter(Account)


def to_json(account: Account) -> dict[str, Any]:
    """Return *account* as plain JSON values; the hash of its password is among them."""
    plain_value: dict[str, Any] = json.loads(json.dumps(asdict(account)))
    return plain_value


def from_json(value: dict[str, Any]) -> Account:
    """Return the account of ``to_json``; raises IntegrityError for anything else."""
    try:
        account = _ACCOUNT.validate_json(json.dumps(value), strict=True)
    except (ValidationError, ValueError, TypeError):
        # The validator's own words would show the value.
        account = None
    if account is None or to_json(account) != value or not _is_sound(account):
        hint = "do not restore it; use another backup"
        raise IntegrityError("an account of the backup has an unknown form", hint=hint)
    return account


def prove_reading(server: Server) -> None:
    """Refuse unless the session may read all accounts; raises PrivilegeMissing."""
    if not privileges.has(privileges.read_grants(server), "SELECT", "mysql"):
        statement = f"GRANT SELECT ON `mysql`.* TO {privileges.account(server)};"
        purpose = "read the accounts of the server"
        missing = Missing(right="SELECT", purpose=purpose, statement=statement)
        raise privileges.refuse((missing,), partial_hint=False)


def read_accounts(server: Server, databases: Sequence[str]) -> tuple[Account, ...]:
    """Return the accounts and roles with rights on *databases*, roles first.

    Also the members of such roles, and the definers of objects, who may have no rights of their
    own. Needs SELECT on ``mysql.*``; raises PrivilegeMissing.
    """
    prove_reading(server)
    # With them the server shows names in quotes, and hashes, which hold any byte, in hexadecimal.
    settings: dict[str, Value] = {"sql_quote_show_create": 1, "sql_mode": ""}
    with prepared(server, ELSEWHERE, settings, wished={"print_identified_with_as_hex": 1}):
        catalogue = read_catalogue(server)
        literal = has_literal_patterns(server)
        holders = _with_members(_holders(server, databases, literal=literal), catalogue)
        names = (holders | _definers(server, databases, catalogue)) & set(catalogue.roles)
        names = {name for name in names if name[0] not in SYSTEM_ACCOUNTS}
        order = sorted(names, key=lambda name: (not catalogue.roles[name], name))
        reader = _Reader(server, databases, catalogue, frozenset(holders & names), literal=literal)
        return tuple(reader.read(name) for name in order)


def read_catalogue(server: Server) -> Catalogue:
    """Return what the server's own tables say about accounts and roles."""
    return _mariadb_catalogue(server) if server.is_mariadb else _mysql_catalogue(server)


def has_literal_patterns(server: Server) -> bool:
    """Tell whether wild cards in GRANT are plain letters: MySQL with partial_revokes."""
    rows = server.query("SHOW GLOBAL VARIABLES LIKE 'partial_revokes'")
    return bool(rows) and rows[0][1] == "ON"


class _Reader:
    """Reads single accounts."""

    def __init__(
        self,
        server: Server,
        databases: Sequence[str],
        catalogue: Catalogue,
        holders: frozenset[Name],
        *,
        literal: bool,
    ) -> None:
        self._server = server
        self._databases = databases
        self._catalogue = catalogue
        self._holders = holders
        self._literal = literal
        self._flavour = server.version.flavour

    def read(self, name: Name) -> Account:
        """Return the account *name*, which stands in the server's tables."""
        is_role = self._catalogue.roles[name]
        text = role_name(name, self._flavour) if is_role else sql_name(name)
        try:
            create, left_out = self._create(name, text, is_role=is_role)
            shown = [str(row[0]) for row in self._server.query(f"SHOW GRANTS FOR {text}")]
        except QueryFailed as error:
            if error.number not in UNKNOWN:
                raise
            create, shown = (), []
            left_out = [f"{text} is not part of the backup: its server does not use it"]
        # Of a role MariaDB shows the rights of its own roles too.
        lines = [line for line in map(parse, shown) if line and line.grantee == text]
        roles = self._catalogue.of(name)
        defaults = self._catalogue.defaults.get(name, ())
        return Account(
            user=name[0],
            host=name[1],
            flavour=self._flavour,
            is_role=is_role,
            create=create,
            grants=tuple(grant for line in lines for grant in self._right(line)),
            roles=tuple(m for m in roles if m.role in self._holders),
            default_roles=tuple(role for role in defaults if role in self._holders),
            not_carried=(*left_out, *self._all_left_out(text, shown, lines, roles)),
        )

    def _all_left_out(
        self, text: str, shown: Iterable[str], lines: Iterable[Line], roles: Iterable[Membership]
    ) -> Iterator[str]:
        yield from filter(None, map(self._left_out, lines))
        for entry in shown:
            proxy = re.match(r"GRANT PROXY ON .+? TO(?= )", entry, re.DOTALL)
            if proxy:
                yield f"{proxy[0]} {text} is not part of the backup"
        for role in (m.role for m in roles if m.role not in self._holders):
            yield f"the role {role_name(role, self._flavour)} of {text} is not part of the backup"

    def _create(self, name: Name, text: str, *, is_role: bool) -> tuple[tuple[str, ...], list[str]]:
        """Return the statements that make an account, and what they lack."""
        if is_role and self._server.is_mariadb:
            return () if name == PUBLIC else (f"CREATE ROLE {text}",), []
        rows = self._server.query(f"SHOW CREATE USER {text}")
        first, *more = (str(row[0]) for row in rows)
        first = requirements_mended(without_default_role(first), self._required(name))
        plugin = DEFAULT_PLUGIN[self._flavour]
        if authentication(first, text, default_plugin=plugin) is None:
            message = f"{text} cannot be made from the backup: the server shows it in unknown words"
            return (), [message]
        return (first, *more), self._second_password(name, text)

    def _required(self, name: Name) -> dict[str, str]:
        """Return what certificates of the account *name* have to say."""
        columns = "x509_issuer, x509_subject, ssl_cipher"
        sql = f"SELECT {columns} FROM mysql.user WHERE User = %s AND Host = %s"
        values = map(_text, self._server.query(sql, name)[0])
        words = ("ISSUER", "SUBJECT", "CIPHER")
        return {word: value for word, value in zip(words, values, strict=True) if value}

    def _second_password(self, name: Name, text: str) -> list[str]:
        if self._server.is_mariadb:
            return []
        sql = (
            "SELECT JSON_CONTAINS_PATH(User_attributes, 'one', '$.additional_password') "
            "FROM mysql.user WHERE User = %s AND Host = %s"
        )
        held = self._server.value(sql, name)
        return [f"the second password of {text} is not part of the backup"] if held else []

    def _right(self, line: Line) -> Iterator[Right]:
        if line.database is None or line.revoked or _is_everything(line):
            return
        if line.name is None:
            holds = covered(line.database, self._databases, literal=self._literal)
        else:
            holds = tuple(name for name in self._databases if name == line.database)
        if holds:
            # Elsewhere the wild cards would be some again.
            narrow = self._literal and line.name is None and is_wild(line.database)
            yield Right(
                rights=line.rights,
                kind=line.kind,
                database=escaped(plain(line.database)) if narrow else line.database,
                name=line.name or "",
                grantable=line.grantable,
                databases=holds,
            )

    def _left_out(self, line: Line) -> str:
        if line.database is not None and not _is_everything(line) and not line.revoked:
            return ""
        if line.revoked and line.database not in self._databases:
            return ""
        if line.rights == ("USAGE",) and not line.grantable:
            return ""
        rights = ", ".join(line.rights[:MOST_RIGHTS_NAMED])
        if len(line.rights) > MOST_RIGHTS_NAMED:
            rights += f" and {len(line.rights) - MOST_RIGHTS_NAMED} more rights"
        scope = "*.*" if line.database is None else f"`{line.database}`.*"
        verb, towards = ("REVOKE", "FROM") if line.revoked else ("GRANT", "TO")
        option = " WITH GRANT OPTION" if line.grantable else ""
        statement = f"{verb} {rights} ON {scope} {towards} {line.grantee}{option}"
        return f"{statement} is not part of the backup"


def _is_everything(line: Line) -> bool:
    """Tell whether a line is about all databases, though it names a pattern."""
    return line.name is None and line.database is not None and not line.database.strip("%")


def _is_sound(account: Account) -> bool:
    begin = ("CREATE ROLE ", "CREATE USER ", "ALTER USER ")
    return all(statement.startswith(begin) for statement in account.create)


def _holders(server: Server, databases: Collection[str], *, literal: bool) -> set[Name]:
    """Return who has rights on any of *databases* or on something in them."""
    rows = server.query("SELECT User, Host, Db FROM mysql.db")
    found = {(user, host) for user, host, db in rows if covered(db, databases, literal=literal)}
    for table in ("tables_priv", "columns_priv", "procs_priv"):
        rows = server.query(f"SELECT DISTINCT User, Host, Db FROM mysql.{table}")
        found |= {(user, host) for user, host, db in rows if db in databases}
    return found


def _definers(server: Server, databases: Sequence[str], catalogue: Catalogue) -> set[Name]:
    """Return the accounts as which objects of *databases* run."""
    sources = (
        ("VIEWS", "TABLE_SCHEMA"),
        ("ROUTINES", "ROUTINE_SCHEMA"),
        ("TRIGGERS", "TRIGGER_SCHEMA"),
        ("EVENTS", "EVENT_SCHEMA"),
    )
    found: set[Name] = set()
    for database in databases:
        for table, column in sources:
            sql = f"SELECT DISTINCT DEFINER FROM information_schema.{table} WHERE {column} = %s"
            for (definer,) in server.query(sql, (database,)):
                user, _, host = str(definer).rpartition("@")
                found |= {(user, host), (str(definer), "")} & set(catalogue.roles)
    return found


def _with_members(holders: Iterable[Name], catalogue: Catalogue) -> set[Name]:
    """Return *holders* and everybody who has one of them as role, directly or through roles."""
    found = set(holders)
    size = 0
    while size != len(found):
        size = len(found)
        found |= {member for role, member, _ in catalogue.members if role in found}
    return found


def _mariadb_catalogue(server: Server) -> Catalogue:
    rows = server.query("SELECT User, Host, is_role, default_role FROM mysql.user")
    defaults: dict[Name, tuple[Name, ...]] = {
        (user, host): ((_text(role), ""),) for user, host, _, role in rows if role
    }
    roles = {(user, host): is_role == "Y" for user, host, is_role, _ in rows}
    edges = server.query("SELECT Role, User, Host, Admin_option FROM mysql.roles_mapping")
    members = tuple(((role, ""), (user, host), admin == "Y") for role, user, host, admin in edges)
    return Catalogue(roles=roles, members=members, defaults=defaults)


def _mysql_catalogue(server: Server) -> Catalogue:
    """Read MySQL's, where a role is an account like others: locked, expired, without password."""
    rows = server.query(
        "SELECT User, Host, account_locked = 'Y' AND password_expired = 'Y' "
        "AND COALESCE(authentication_string, '') = '' FROM mysql.user"
    )
    edges = server.query(
        "SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges"
    )
    members = tuple(((a, b), (c, d), admin == "Y") for a, b, c, d, admin in edges)
    defaults: dict[Name, tuple[Name, ...]] = {}
    for user, host, *role in server.query(
        "SELECT USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles "
        "ORDER BY 1, 2, 3, 4"
    ):
        defaults[user, host] = (*defaults.get((user, host), ()), (role[0], role[1]))
    roles = {(user, host): bool(is_role) for user, host, is_role in rows}
    return Catalogue(roles=roles, members=members, defaults=defaults)


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
