"""Definers that a target does not have, or does not let us set: settled before a restore."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ulasis_backup.errors import PrivilegeMissing, ServerUnsuitable
from ulasis_backup.methods.definers import Definers, Redefining, Traits
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import privileges
from ulasis_backup.mysql.server import QueryFailed, Server, quote
from ulasis_backup.operations.missing import refuse_together
from ulasis_backup.operations.source import Source

MOST_NAMES = 5
ACCOUNTS = ("SELECT User, Host FROM mysql.global_priv", "SELECT User, Host FROM mysql.user")
"""The first is MariaDB's from 10.4 on; roles are only in it."""

SYSTEM_USERS = "SELECT USER, HOST FROM mysql.global_grants WHERE PRIV = 'SYSTEM_USER'"
_PLACES = (
    ("VIEWS", "TABLE"), ("EVENTS", "EVENT"), ("ROUTINES", "ROUTINE"), ("TRIGGERS", "TRIGGER"),
)  # fmt: skip
_DROPPED, _DEFINERS = (
    " UNION ".join(
        f"SELECT DEFINER FROM information_schema.{table} "  # noqa: S608 (no data in it)
        f"WHERE {column}_SCHEMA = %s"
        for table, column in places
    )
    for places in (_PLACES[:-1], _PLACES)
)
WAYS_OUT = "or restore with --definers current (your login instead) or --definers skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Foreign:
    """Definers that are not our account: which are ``absent``, which need a right we lack.

    ``seen`` is False where the login may not look; then nothing is known of both.
    """

    names: frozenset[str]
    settable: bool
    seen: bool = False
    absent: frozenset[str] = frozenset()
    too_high: frozenset[str] = frozenset()


def settle_definers(
    server: Server, source: Source, choice: Definers
) -> tuple[Source, tuple[str, ...]]:
    """Return *source* with definers that *server* can take, and what is worth knowing of it.

    Raises PrivilegeMissing with the exact GRANT, ServerUnsuitable for a view that could not be
    created because of another object's definer. Touches nothing.
    """
    traits = source.traits(server)
    ours = str(server.value("SELECT CURRENT_USER()"))
    names = frozenset(t.definer for t in traits if t.definer) - {ours, ours.removesuffix("@")}
    if not names:
        return source, ()
    found = _look(server, names)
    if choice is Definers.KEEP:

        def see() -> None:
            if not found.seen and _blocked(traits, names):
                raise _blind(server, names)

        if server.is_mariadb:
            refuse_together((see, lambda: _refuse(server, found)))
        _refuse(server, found)
        see()
        _refuse_blocked(traits, found.absent)
        return source, _notices(server, traits, found)
    gone = _unavailable(server, found)
    if not gone:
        return source, ()
    if choice is Definers.CURRENT:
        change = Redefining(definers=gone, ours=ours)
        return source.redefined(change), tuple(_replaced(traits, gone, ours))
    dropped, notices = _dropped(traits, gone)
    return source.redefined(Redefining(definers=gone, dropped=dropped)), notices


def about_undo(server: Server, target: str) -> tuple[str, ...]:
    """Return which definers of what *target* holds now do not exist: an undo may need them."""
    rows = server.query(_DEFINERS, (target,) * len(_PLACES))
    names = frozenset(str(name).removesuffix("@") for (name,) in rows)
    absent = _look(server, names).absent if names else frozenset()
    accounts = [name.rpartition("@")[::2] for name in sorted(absent) if "@" in name]
    return tuple(
        f"what {target} holds now has a definer that does not exist, {user}@{host}: an undo may "
        f"not be able to create its views again before "
        f"CREATE USER {quote(user)}@{quote(host)} ACCOUNT LOCK; and its rights are there"
        for user, host in accounts
    )


def refuse_unrestorable(server: Server, database: str) -> None:
    """Raise PrivilegeMissing where this login could not put back what *database* holds now."""
    ours = str(server.value("SELECT CURRENT_USER()"))
    rows = server.query(_DEFINERS, (database,) * 4)
    names = frozenset(str(name).removesuffix("@") for (name,) in rows) - {
        ours,
        ours.removesuffix("@"),
    }
    if names:
        _refuse(server, _look(server, names))
    refuse_protected(server, database)


def _look(server: Server, names: frozenset[str]) -> _Foreign:
    settable = privileges.may_set_definers(server)
    known = _accounts(server, ACCOUNTS if server.is_mariadb else ACCOUNTS[1:])
    if known is None:
        return _Foreign(names=names, settable=settable)
    high: frozenset[str] = frozenset()
    if _has_system_users(server) and not privileges.has_global(server, "SYSTEM_USER"):
        found = _accounts(server, (SYSTEM_USERS,))
        if found is None:
            return _Foreign(names=names, settable=settable)
        high = found & names
    absent = names - known
    return _Foreign(names=names, settable=settable, seen=True, absent=absent, too_high=high)


def _accounts(server: Server, queries: Iterable[str]) -> frozenset[str] | None:
    """Return accounts as definers name them; None where the login may not see them."""
    for query in queries:
        try:
            rows = server.query(query)
        except QueryFailed:
            continue
        return frozenset(f"{user}@{host}" if host else str(user) for user, host in rows)
    return None


def _refuse(server: Server, found: _Foreign) -> None:
    """Raise PrivilegeMissing where an object could not be given its own definer."""
    if not found.settable:
        right = "SET USER" if server.is_mariadb else "SET_ANY_DEFINER"
        what = f"objects have definers that this login may not set: {_names(found.names)}"
        raise _missing(server, what, right)
    if server.is_mariadb:
        return
    orphans = privileges.has_global(server, "ALLOW_NONEXISTENT_DEFINER", "SUPER")
    orphans = orphans or not _knows_orphans(server)
    if not found.seen and _has_system_users(server):
        _refuse_blind(server, found, orphans=orphans)
    if found.absent and not orphans:
        what = f"objects have definers that do not exist on the target: {_names(found.absent)}"
        raise _missing(server, what, "ALLOW_NONEXISTENT_DEFINER")
    if found.too_high:
        what = f"objects have definers with SYSTEM_USER: {_names(found.too_high)}"
        raise _missing(server, what, "SYSTEM_USER")


def _refuse_blind(server: Server, found: _Foreign, *, orphans: bool) -> None:
    """Raise PrivilegeMissing where MySQL may refuse a definer, and we cannot see whether."""
    if orphans and privileges.has_global(server, "SYSTEM_USER"):
        return
    account = privileges.account(server)
    tables = ("mysql.user", "mysql.global_grants")
    grants = " ".join(f"GRANT SELECT ON {table} TO {account};" for table in tables)
    names = _names(found.names)
    message = f"it cannot be seen whether the target lets this login set the definers {names}"
    raise PrivilegeMissing(message, hint=f"run as an administrator: {grants} {WAYS_OUT}")


def _has_system_users(server: Server) -> bool:
    """Tell whether accounts may be out of reach of those without SYSTEM_USER: from 8.0.16 on."""
    return not server.is_mariadb and server.version.numbers >= (8, 0, 16)


def _knows_orphans(server: Server) -> bool:
    """Tell whether MySQL has a right of its own for definers that do not exist: from 8.2 on."""
    return server.version.numbers >= (8, 2, 0)


def _missing(server: Server, what: str, right: str) -> PrivilegeMissing:
    grant = f"GRANT {right} ON *.* TO {privileges.account(server)};"
    return PrivilegeMissing(what, hint=f"run as an administrator: {grant} {WAYS_OUT}")


def _blocked(
    traits: tuple[Traits, ...], absent: frozenset[str]
) -> tuple[tuple[Traits, Traits], ...]:
    """Return the views that need an object of an *absent* definer, each with that object.

    The server looks at the rights of that definer when such a view is created (error 1449).
    """
    orphans = {t.label: t for t in traits if t.definer in absent and not t.invoker}
    return tuple(
        (view, orphans[label]) for view in traits for label in sorted(view.uses & orphans.keys())
    )


def _refuse_blocked(traits: tuple[Traits, ...], absent: frozenset[str]) -> None:
    """Raise ServerUnsuitable for a view that could not be created, whoever creates it."""
    for view, orphan in _blocked(traits, absent):
        message = (
            f"{view.label} cannot be created: {orphan.label}, which it reads, has a definer "
            f"that does not exist on the target: {orphan.definer}"
        )
        raise ServerUnsuitable(message, hint=f"create that account first, {WAYS_OUT}")


def _blind(server: Server, names: frozenset[str]) -> PrivilegeMissing:
    """Return the error that existence matters and cannot be seen."""
    table = "mysql.global_priv" if server.is_mariadb else "mysql.user"
    grant = f"GRANT SELECT ON {table} TO {privileges.account(server)};"
    message = f"this login cannot see which definers exist: {_names(names)}"
    return PrivilegeMissing(message, hint=f"run as an administrator: {grant}")


def refuse_protected(server: Server, target: str) -> None:
    """Raise PrivilegeMissing where *target* holds objects that this login may not drop.

    MySQL lets views, events and routines whose definer has SYSTEM_USER be dropped only by
    accounts with it, whatever rights they have on the database.
    """
    if not _has_system_users(server) or privileges.has_global(server, "SYSTEM_USER"):
        return
    ours = str(server.value("SELECT CURRENT_USER()"))
    names = frozenset(str(name) for (name,) in server.query(_DROPPED, (target,) * 3)) - {ours}
    high = _accounts(server, (SYSTEM_USERS,)) if names else None
    protected = names if high is None else names & high
    if protected:
        what = f"{target} holds objects of definers "
        what += "with SYSTEM_USER" if high is not None else "that may have SYSTEM_USER"
        grant = f"GRANT SYSTEM_USER ON *.* TO {privileges.account(server)};"
        message = f"{what}, which this login may not drop: {_names(protected)}"
        raise PrivilegeMissing(message, hint=f"run as an administrator: {grant}")


def _unavailable(server: Server, found: _Foreign) -> frozenset[str]:
    """Return the definers that cannot be had; raises PrivilegeMissing where that is not known."""
    if not found.settable:
        return found.names
    if not found.seen:
        raise _blind(server, found.names)
    return found.absent | found.too_high


def _notices(server: Server, traits: tuple[Traits, ...], found: _Foreign) -> tuple[str, ...]:
    if not found.seen:
        more = "" if server.is_mariadb else ", nor whether they have SYSTEM_USER"
        return (f"whether these definers exist cannot be seen{more}: {_names(found.names)}",)
    return tuple(
        f"definer {definer} does not exist on the target: its objects will not run "
        f"({_objects(traits, frozenset({definer}))})"
        for definer in sorted(found.absent)
    )


def _replaced(traits: tuple[Traits, ...], gone: frozenset[str], ours: str) -> Iterable[str]:
    for definer in sorted(gone):
        objects = _objects(traits, frozenset({definer}))
        yield f"definer {definer} is replaced by {ours}: {objects} will run with its rights"


def _dropped(
    traits: tuple[Traits, ...], gone: frozenset[str]
) -> tuple[frozenset[tuple[str, str]], tuple[str, ...]]:
    """Return what is left out, and why: objects of those definers, and what needs them."""
    reasons = {
        (t.kind, t.name): f"its definer {t.definer} cannot be had on the target"
        for t in traits
        if t.definer in gone
    }
    grows = True
    while grows:
        needing = {
            (t.kind, t.name): f"it needs {needed}, which is left out"
            for t in traits
            if (t.kind, t.name) not in reasons and (needed := _needed(t, reasons.keys()))
        }
        reasons |= needing
        grows = bool(needing)
    notices = tuple(f"{kind} {name} is left out: {why}" for (kind, name), why in reasons.items())
    return frozenset(reasons), notices


def _needed(one: Traits, left_out: Iterable[tuple[str, str]]) -> str:
    """Return what *one* cannot be created without, of what is *left_out*."""
    for kind, name in left_out:
        label = f"{kind} {name}"
        body = one.kind == ObjectKind.PACKAGE_BODY and label == f"package {one.name}"
        if label in one.uses or body:
            return label
    return ""


def _objects(traits: tuple[Traits, ...], definers: frozenset[str]) -> str:
    return _names([t.label for t in traits if t.definer in definers])


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return ", ".join(listed[:MOST_NAMES]) + more
