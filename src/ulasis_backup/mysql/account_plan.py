"""What creating accounts on a server would do: which are missing, which rights to give, on what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ulasis_backup.model import Flavour
from ulasis_backup.mysql import privileges
from ulasis_backup.mysql.account_text import (
    PUBLIC,
    Name,
    authentication,
    escaped,
    is_wild,
    locked,
    plain,
    role_name,
)
from ulasis_backup.mysql.accounts import (
    DEFAULT_PLUGIN,
    Account,
    Catalogue,
    Membership,
    Right,
    has_literal_patterns,
    read_catalogue,
)
from ulasis_backup.mysql.privileges import GRANT_OPTION, Grant, Missing
from ulasis_backup.mysql.server import Server, quote

PUBLIC_SINCE = (10, 11, 0)
CONTEXTS = {"": ("Databases", "Tables", "Functions"), "TABLE": ("Tables",)}
"""What SHOW PRIVILEGES calls the objects of rights that ALL stands for; else it is Functions."""

PURPOSE = "create the accounts of the backup and give them their rights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Which databases of a backup were restored, None for all, and the new names of some."""

    databases: Collection[str] | None
    renamed: Mapping[str, str]

    def patterns(self, account: Account, right: Right) -> Iterator[str]:
        """Return the databases, for whole ones as patterns, to give a right of *account* on."""
        held = [n for n in right.databases if self.databases is None or n in self.databases]
        moved = [name for name in held if self.renamed.get(name, name) != name]
        if len(moved) < len(held):
            yield right.database
        for name in moved:
            if right.kind:
                yield self.renamed[name]
            elif _is_in_force(account, right, name):
                # Of a pattern only the one database is left: what else would it fit here?
                yield escaped(self.renamed[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """Rights to give to an account: on a pattern of databases, or on an object in one."""

    grantee: str
    right: Right
    database: str

    def statement(self, rights: Sequence[str]) -> str:
        """Return the GRANT of *rights*, which are some of all."""
        kind = self.right.kind
        scope = f"{quote(self.database)}.{quote(self.right.name) if kind else '*'}"
        option = " WITH GRANT OPTION" if self.right.grantable else ""
        rest = f"{kind}{' ' if kind else ''}{scope} TO {self.grantee}{option}"
        return f"GRANT {', '.join(rights)} ON {rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, and what to say about it."""

    new: tuple[Account, ...]
    gifts: tuple[Gift, ...]
    memberships: tuple[tuple[Account, Membership], ...]
    defaults: tuple[Account, ...]
    notices: tuple[str, ...]


def plan(server: Server, accounts: Sequence[Account], restored: Restored) -> Plan:
    """Return what is to be done on *server*; raises PrivilegeMissing where it may not be."""
    catalogue = read_catalogue(server)
    found = _planned(server, catalogue, accounts, restored)
    missing = tuple(_missing(server, catalogue, found))
    if missing:
        raise privileges.refuse(missing, partial_hint=False)
    return found


def _planned(
    server: Server, catalogue: Catalogue, accounts: Sequence[Account], restored: Restored
) -> Plan:
    given, new, notices = _sorted(server, catalogue, accounts)
    names = {account.name for account in given}
    gifts = tuple(
        Gift(grantee=account.text, right=right, database=pattern)
        for account in given
        for right in account.grants
        for pattern in restored.patterns(account, right)
    )
    notices += _about_patterns(server, gifts)
    notices += [notice for account in given for notice in account.not_carried]
    return Plan(
        new=tuple(new),
        gifts=gifts,
        memberships=tuple((a, m) for a in given for m in a.roles if m.role in names),
        defaults=tuple(account for account in new if set(account.default_roles) & names),
        notices=tuple(dict.fromkeys(notices)),
    )


def _sorted(
    server: Server, catalogue: Catalogue, accounts: Iterable[Account]
) -> tuple[list[Account], list[Account], list[str]]:
    """Return who is to get rights, who of them is to be created, and what to say of each."""
    plugins = _plugins(server)
    given, new = [], []
    notices: list[str] = []
    for source in accounts:
        account = _translated(source, server.version.flavour)
        if _exists(server, catalogue, account):
            given.append(account)
            notices += _about_kept(server.version.flavour, account, catalogue)
        elif why := _why_not(server, account, plugins):
            notices.append(f"account {account.text} is not created and gets no rights: {why}")
        else:
            given.append(account)
            new.append(_never_open(account))
            notices += _about_locked(account, new[-1])
    return given, new, notices


def _translated(account: Account, flavour: Flavour) -> Account:
    """Return *account* as it would be called here: roles are named in their own way by each."""
    if account.flavour == flavour:
        return account
    account = replace(
        account,
        roles=tuple(replace(m, role=_role_here(m.role, flavour)) for m in account.roles),
        default_roles=tuple(_role_here(role, flavour) for role in account.default_roles),
    )
    name = _role_here(account.name, flavour)
    if not account.is_role or account.name in (name, PUBLIC):
        return account
    # A role cannot log in: nothing of that kind is lost.
    user, host = name
    create = (f"CREATE ROLE {role_name(name, flavour)}",)
    return replace(account, user=user, host=host, flavour=flavour, create=create)


def _role_here(role: Name, flavour: Flavour) -> Name:
    theirs, ours = ("%", "") if flavour is Flavour.MARIADB else ("", "%")
    return (role[0], ours) if role[1] == theirs else role


def _is_in_force(account: Account, right: Right, database: str) -> bool:
    """Tell whether no better pattern of the account hides *right* on *database*."""
    patterns = [r.database for r in account.grants if not r.kind and database in r.databases]
    best = max(privileges.specificity(pattern) for pattern in patterns)
    return privileges.specificity(right.database) == best


def _plugins(server: Server) -> frozenset[str]:
    rows = server.query(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS "
        "WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE'"
    )
    return frozenset(str(name).lower() for (name,) in rows)


def _exists(server: Server, catalogue: Catalogue, account: Account) -> bool:
    if account.is_role and account.name == PUBLIC:
        return server.is_mariadb and server.version.numbers >= PUBLIC_SINCE
    # Of MariaDB a user and a role may have one name; of MySQL they are the same.
    as_role = catalogue.roles.get(account.name)
    return as_role is not None and (not server.is_mariadb or as_role == account.is_role)


def _why_not(server: Server, account: Account, plugins: frozenset[str]) -> str:
    """Return why an account that is missing cannot be created; empty if it can."""
    if account.flavour != server.version.flavour:
        return f"it comes from {account.flavour}; create it here, then restore accounts again"
    if not account.create:
        return "the backup does not hold how it is made"
    if account.create[0].startswith("CREATE ROLE "):
        return ""
    found = _authentication(account)
    if found is None:
        return "how it logs in is not understood"
    unknown = [plugin for plugin in found if plugin.lower() not in plugins]
    names = ", ".join(unknown)
    return f"the server has no active authentication plugin {names}" if unknown else ""


def _authentication(account: Account) -> tuple[str, ...] | None:
    plugin = DEFAULT_PLUGIN[account.flavour]
    found = authentication(account.create[0], account.text, default_plugin=plugin)
    return found.plugins if found else None


def _never_open(account: Account) -> Account:
    """Return *account* so that it is created locked where it has no password."""
    plugin = DEFAULT_PLUGIN[account.flavour]
    first, *more = account.create
    found = authentication(first, account.text, default_plugin=plugin)
    if found is None or not found.is_open:
        return account
    return replace(account, create=(locked(first), *more))


def _about_locked(account: Account, new: Account) -> Iterator[str]:
    if account.create != new.create:
        todo = f"ALTER USER {account.text} ACCOUNT UNLOCK"
        yield f"account {account.text} has no password: it is created locked; see {todo}"


def _about_kept(flavour: Flavour, account: Account, catalogue: Catalogue) -> Iterator[str]:
    if account.name == PUBLIC:
        return
    yield f"account {account.text} exists: its password and settings are left as they are"
    missing = set(account.default_roles) - set(catalogue.defaults.get(account.name, ()))
    for role in sorted(missing):
        name = role_name(role, flavour)
        yield f"account {account.text} exists: {name} is not made a default role of it"


def _about_patterns(server: Server, gifts: Iterable[Gift]) -> Iterator[str]:
    literal = has_literal_patterns(server)
    for gift in gifts:
        name = gift.database
        if gift.right.kind or not is_wild(name) or name in gift.right.databases:
            continue
        what = f"the rights of {gift.grantee} on {quote(name)}.*"
        if literal:
            yield f"{what} hold for no database here: with partial_revokes it is no pattern"
        else:
            yield f"{what} hold for every database of such a name, not only for those restored"


def _missing(server: Server, catalogue: Catalogue, found: Plan) -> Iterator[Missing]:
    """Return the rights of our own without which *found* would fail midway."""
    ours = privileges.read_grants(server)
    if found.new and not privileges.has(ours, "CREATE USER", ""):
        yield _needed(server, "CREATE USER", "*.*")
    if found.defaults and server.is_mariadb and not privileges.has(ours, "UPDATE", "mysql"):
        yield _needed(server, "UPDATE", "`mysql`.*")
    if found.memberships:
        yield from _missing_for_roles(server, catalogue, found, ours)
    contexts = _contexts(server)
    for gift in found.gifts:
        for right in (*_single(gift.right, contexts), GRANT_OPTION):
            # What this server does not know is not given, and said to be.
            if right in contexts and not _may_give(ours, right, gift):
                pattern = escaped(gift.database) if gift.right.kind else gift.database
                yield _needed(server, right, f"{quote(pattern)}.*")


def _missing_for_roles(
    server: Server, catalogue: Catalogue, found: Plan, ours: tuple[Grant, ...]
) -> Iterator[Missing]:
    if not server.is_mariadb:
        if not any(privileges.has(ours, right, "") for right in ("ROLE_ADMIN", "SUPER")):
            yield _needed(server, "ROLE_ADMIN", "*.*")
        return
    # Who creates a role may give it to others, later ones need to be told.
    user, _, host = str(server.value("SELECT CURRENT_USER()")).rpartition("@")
    held = {m.role for m in catalogue.of((user, host)) if m.grantable}
    created = {account.name for account in found.new}
    for role in dict.fromkeys(m.role for _, m in found.memberships):
        if role not in held | created:
            name, me = role_name(role, Flavour.MARIADB), privileges.account(server)
            yield Missing(
                right=f"the role {name}",
                purpose=PURPOSE,
                statement=f"GRANT {name} TO {me} WITH ADMIN OPTION;",
            )


def _may_give(ours: tuple[Grant, ...], right: str, gift: Gift) -> bool:
    if gift.right.kind == "TABLE":
        return privileges.has_on_table(ours, right, gift.database, gift.right.name)
    database = gift.database if gift.right.kind else plain(gift.database)
    return privileges.has(ours, right, database)


def _contexts(server: Server) -> dict[str, frozenset[str]]:
    """Return all rights that can be given on a database, and on which kinds of objects."""
    rows = server.query("SHOW PRIVILEGES")
    found = {str(name).upper(): frozenset(str(kinds).split(",")) for name, kinds, _ in rows}
    # These the servers list as rights of administrators.
    return {**found, "EVENT": frozenset({"Databases"}), GRANT_OPTION: frozenset()}


def _single(right: Right, contexts: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Return the names of rights, without columns, and what ALL stands for."""
    for entry in right.rights:
        name = entry.partition(" (")[0]
        if name in ("ALL", "ALL PRIVILEGES"):
            kinds = CONTEXTS.get(right.kind, ("Functions",))
            yield from (one for one, of in contexts.items() if of.intersection(kinds))
        elif name != "USAGE":
            yield name


def _needed(server: Server, right: str, scope: str) -> Missing:
    statement = f"GRANT {right} ON {scope} TO {privileges.account(server)};"
    return Missing(right=right, purpose=PURPOSE, statement=statement)
