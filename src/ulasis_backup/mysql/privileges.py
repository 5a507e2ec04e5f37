"""Rights, proved from SHOW GRANTS: what a login may not see is missing from a dump in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ulasis_backup.errors import PrivilegeMissing
from ulasis_backup.mysql.server import Server, quote

GLOBAL_ONLY = frozenset(
    {
        "PROCESS", "RELOAD", "BINLOG MONITOR", "REPLICATION CLIENT", "SET USER", "SUPER",
        "SET_USER_ID", "SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER", "SYSTEM_USER",
        "SHOW_ROUTINE", "BACKUP_ADMIN", "FLUSH_TABLES",
    }
)  # fmt: skip
READING = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
WRITING = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE",
    "DROP", "ALTER", "INDEX", "REFERENCES", "LOCK TABLES",
    "CREATE VIEW", "SHOW VIEW", "TRIGGER", "EVENT", "CREATE ROUTINE", "ALTER ROUTINE",
)  # fmt: skip

GRANT_OPTION = "GRANT OPTION"
"""A right like others in our eyes, though the server shows it at the end and ALL is without it."""

_STRING = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_GRANT = re.compile(
    r"(?P<verb>GRANT|REVOKE) (?P<rights>.+?) ON (?:TABLE |)(?P<scope>(?:\*|`(?:[^`]|``)*`)\."
    r"(?:\*|`(?:[^`]|``)*`)) (?:TO|FROM) ",
    re.DOTALL,
)

_WILD = re.compile(r"(\\.)|[_%]", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One line of SHOW GRANTS: rights on ``*.*``, on databases of a pattern, or on a table."""

    rights: frozenset[str]
    database: str
    table: str
    grantee: str = field(default="", compare=False)
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A right that is missing, what it is needed for, and the statement that gives it."""

    right: str
    purpose: str
    statement: str
    for_routines: bool = False


def read_grants(server: Server) -> tuple[Grant, ...]:
    """Return the grants of the session's account and of the roles that are active in it."""
    lines = [str(row[0]) for row in server.query("SHOW GRANTS")]
    if not server.is_mariadb:
        roles = str(server.value("SELECT CURRENT_ROLE()") or "NONE")
        if roles != "NONE":
            rows = server.query(f"SHOW GRANTS FOR CURRENT_USER() USING {roles}")
            lines += [str(row[0]) for row in rows]
    return parse_grants(lines, patterns=not _has_partial_revokes(server))


def parse_grants(lines: Iterable[str], *, patterns: bool = True) -> tuple[Grant, ...]:
    """Return what *lines* of SHOW GRANTS give; lines about roles and proxies give nothing.

    Without *patterns* a ``_`` or ``%`` in the name of a database stands for itself.
    """
    found = []
    for line in lines:
        match = _GRANT.match(line)
        if match:
            database, table = _scope(match["scope"])
            if not patterns:
                database = _WILD.sub(lambda m: m[1] or "\\" + m[0], database)
            # Rights on single columns do not let a whole table be read.
            rights = re.sub(r"\w+ \([^)]*\)", "", match["rights"])
            listed = {part.strip().upper() for part in rights.split(",")}
            if " WITH GRANT OPTION" in _STRING.sub("", line[match.end() :]):
                listed.add(GRANT_OPTION)
            found.append(
                Grant(
                    rights=frozenset(listed),
                    database=database,
                    table=table,
                    grantee=_grantee(line[match.end() :]),
                    revoked=match["verb"] == "REVOKE",
                )
            )
    return tuple(found)


def has(grants: Iterable[Grant], right: str, database: str) -> bool:
    """Tell whether *grants* give *right* on every object of *database*."""
    covering = _in_force([grant for grant in grants if grant.table == "*"], database, right)
    given = any(
        right in grant.rights or _all_of(grant, right) for grant in covering if not grant.revoked
    )
    taken = any(right in grant.rights for grant in covering if grant.revoked)
    return given and not taken


def has_on_table(grants: Iterable[Grant], right: str, database: str, table: str) -> bool:
    """Tell whether *grants* give *right* on one table of *database*."""
    listed = tuple(grants)
    if has(listed, right, database):
        return True
    return any(
        grant.database == database
        and grant.table == table
        and not grant.revoked
        and (right in grant.rights or _all_of(grant, right))
        for grant in listed
    )


def missing_for_backup(
    server: Server, database: str, *, locks: bool, routines: bool = True
) -> tuple[Missing, ...]:
    """Return the rights without which a dump of *database* would lack something in silence.

    With *locks*, tables without transactions are to be locked.
    """
    grants = read_grants(server)
    wanted = list(READING) + (["LOCK TABLES"] if locks else [])
    found = [
        _missing(server, right, database, "read every object of the database")
        for right in wanted
        if not has(grants, right, database)
    ]
    if routines and not may_see_routines(server, grants, database):
        found.append(routine_right(server))
    return tuple(found)


def missing_for_rows(server: Server, databases: Iterable[str]) -> tuple[Missing, ...]:
    """Return the rights without which row packets or definitions would lack something in silence.

    Rights that only make locking or the position better are not among them.
    """
    grants = read_grants(server)
    found = []
    for database in databases:
        found += [
            _missing(server, right, database, "read every object of the database")
            for right in READING
            if not has(grants, right, database)
        ]
        if not may_see_routines(server, grants, database):
            found.append(routine_right(server))
    return tuple(dict.fromkeys(found))


def missing_for_restore(server: Server, database: str) -> tuple[Missing, ...]:
    """Return the rights without which a restore into *database* would fail midway."""
    grants = read_grants(server)
    return tuple(
        _missing(server, right, database, "write every object of the database")
        for right in WRITING
        if not has(grants, right, database)
    )


def missing_for_moment(server: Server) -> tuple[Missing, ...]:
    """Return the rights without which several sessions cannot be made to see one moment."""
    if server.is_mariadb:
        wanted: tuple[str, ...] = ("RELOAD",)
    else:
        wanted = ("BACKUP_ADMIN", "FLUSH_TABLES", "REPLICATION CLIENT")
    purpose = "hold commits for the instant in which the snapshots are opened"
    return tuple(_missing(server, right, "", purpose) for right in wanted)


def missing_for_locks(server: Server, databases: Iterable[str]) -> tuple[Missing, ...]:
    """Return the right to lock tables, for each of *databases*."""
    purpose = "lock tables without transactions while they are read"
    return tuple(_missing(server, "LOCK TABLES", name, purpose) for name in databases)


def may_set_definers(server: Server) -> bool:
    """Tell whether objects of other definers than our own account can be created."""
    grants = read_grants(server)
    rights = ("SET USER", "SUPER", "SET_USER_ID", "SET_ANY_DEFINER")
    return any(has(grants, right, "") for right in rights)


def may_see_routines(server: Server, grants: Iterable[Grant], database: str) -> bool:
    """Tell whether the bodies of all routines of *database* can be read."""
    listed = tuple(grants)
    if not server.is_mariadb:
        # A SELECT on everything counts, even where it is revoked for this database.
        wide = [grant for grant in listed if grant.database == "*" and not grant.revoked]
        return has(wide, "SHOW_ROUTINE", "") or has(wide, "SELECT", "")
    return has_on_table(listed, "SELECT", "mysql", "proc") or has(
        listed, "SHOW CREATE ROUTINE", database
    )


def _has_partial_revokes(server: Server) -> bool:
    """Tell whether names of databases in grants are no patterns; MySQL's setting says so."""
    rows = server.query("SHOW GLOBAL VARIABLES LIKE 'partial_revokes'")
    return bool(rows) and str(rows[0][1]) == "ON"


def has_global(server: Server, *rights: str) -> bool:
    """Tell whether any of the global *rights* is given."""
    grants = read_grants(server)
    return any(has(grants, right, "") for right in rights)


def sees_all_schemas(server: Server) -> bool:
    """Tell whether no schema can be hidden from the session: else none found is no proof."""
    grants = read_grants(server)
    if any(grant.revoked for grant in grants):
        return False
    return has(grants, "SHOW DATABASES", "") or has(grants, "SELECT", "")


def refuse(missing: tuple[Missing, ...], *, partial_hint: bool) -> PrivilegeMissing:
    """Return the error that names all *missing* rights and the statements that give them."""
    names = ", ".join(dict.fromkeys(entry.right for entry in missing))
    purpose = missing[0].purpose
    statements = " ".join(dict.fromkeys(entry.statement for entry in _joined(missing)))
    hint = f"run as an administrator: {statements}"
    if partial_hint:
        hint += " (or `--allow-partial`: a backup that is marked partial)"
    return PrivilegeMissing(f"the login lacks {names}: it cannot {purpose}", hint=hint)


def _joined(missing: tuple[Missing, ...]) -> Iterable[Missing]:
    """Join grants on the same objects into one statement."""
    groups: dict[str, list[Missing]] = {}
    for entry in missing:
        # What gives a role names no objects: nothing can be joined to it.
        _, _, tail = entry.statement.partition(" ON ")
        groups.setdefault(tail or entry.statement, []).append(entry)
    for tail, entries in groups.items():
        if tail == entries[0].statement:
            yield entries[0]
            continue
        rights = ", ".join(entry.right for entry in entries)
        yield Missing(
            right=rights, purpose=entries[0].purpose, statement=f"GRANT {rights} ON {tail}"
        )


def _missing(server: Server, right: str, database: str, purpose: str) -> Missing:
    # In GRANT `_` and `%` stand for other characters unless escaped.
    escaped = database.replace("_", "\\_").replace("%", "\\%")
    scope = "*.*" if right in GLOBAL_ONLY else f"{quote(escaped)}.*"
    statement = f"GRANT {right} ON {scope} TO {account(server)};"
    return Missing(right=right, purpose=purpose, statement=statement)


def routine_right(server: Server) -> Missing:
    """Return the right to read the bodies of all routines, as one that is missing."""
    purpose = "read the bodies of routines"
    if not server.is_mariadb:
        statement = f"GRANT SHOW_ROUTINE ON *.* TO {account(server)};"
        return Missing(
            right="SHOW_ROUTINE", purpose=purpose, statement=statement, for_routines=True
        )
    statement = f"GRANT SELECT ON `mysql`.`proc` TO {account(server)};"
    return Missing(right="SELECT", purpose=purpose, statement=statement, for_routines=True)


def account(server: Server) -> str:
    """Return the session's account as it stands in GRANT statements."""
    name, _, host = str(server.value("SELECT CURRENT_USER()")).rpartition("@")
    quoted = (part.replace("\\", "\\\\").replace("'", "\\'") for part in (name, host))
    return "@".join(f"'{part}'" for part in quoted)


def _all_of(grant: Grant, right: str) -> bool:
    """Tell whether ALL PRIVILEGES on the grant's scope holds *right*."""
    everything = {"ALL PRIVILEGES", "ALL"} & grant.rights
    return (
        bool(everything)
        and right != GRANT_OPTION
        and (grant.database == "*" or right not in GLOBAL_ONLY)
    )


def _in_force(grants: list[Grant], database: str, right: str) -> list[Grant]:
    """Return the grants that the server looks at for *right* on *database*.

    Those on ``*.*``, and of each account and role the one entry whose pattern fits best: of
    several patterns that fit the server uses only the most specific one.
    """
    found = [grant for grant in grants if grant.database == "*"]
    fitting = [
        grant
        for grant in grants
        if grant.database != "*" and _covers(grant.database, database, right)
    ]
    for grantee in {grant.grantee for grant in fitting}:
        own = [grant for grant in fitting if grant.grantee == grantee]
        best = max(specificity(grant.database) for grant in own)
        found += [grant for grant in own if specificity(grant.database) == best]
    return found


def specificity(pattern: str) -> tuple[bool, int]:
    """Return what patterns are ordered by: no wild card at all, then how late the first one is."""
    literal = re.match(r"(?:\\.|[^%_\\])*", pattern)
    end = literal.end() if literal else 0
    return end == len(pattern), end


def _grantee(rest: str) -> str:
    """Return who a GRANT line is for; *rest* follows its TO."""
    match = re.match(r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*'|[^ ])+", rest)
    return match[0] if match else rest


def _scope(scope: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\*|`(?:[^`]|``)*`)\.(\*|`(?:[^`]|``)*`)", scope, re.DOTALL)
    if match is None:
        return "", ""
    return _unquote(match[1]), _unquote(match[2])


def _unquote(name: str) -> str:
    plain = name[1:-1].replace("``", "`") if name.startswith("`") else name
    # A star in quotes is the name of a database, without them it means all.
    return "\\*" if plain == "*" and name != "*" else plain


def _covers(pattern: str, database: str, right: str) -> bool:
    if pattern == "*":
        return True
    if right in GLOBAL_ONLY or not database:
        return False
    return matches(pattern, database)


def matches(pattern: str, database: str) -> bool:
    r"""Match a database pattern of GRANT: ``%`` any text, ``_`` any character, ``\\`` escapes."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    translated = "".join(
        ".*" if part == "%" else "." if part == "_" else re.escape(part[-1]) for part in parts
    )
    return re.fullmatch(translated, database, re.DOTALL) is not None
