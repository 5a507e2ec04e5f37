"""What SHOW GRANTS and SHOW CREATE USER say, taken apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ulasis_backup.model import Flavour
from ulasis_backup.mysql.privileges import matches
from ulasis_backup.mysql.server import quote

Name = tuple[str, str]
"""User and host; roles of MariaDB have no host."""

PUBLIC: Name = ("PUBLIC", "")
"""MariaDB's role that everybody has; it stands in GRANT without quotes."""

PASSWORD_PLUGINS = frozenset(
    {
        "mysql_native_password", "mysql_old_password", "caching_sha2_password", "sha256_password",
        "ed25519", "parsec",
    }
)  # fmt: skip
"""With these an account that has no hash is open to everybody."""

_QUOTED = r"`(?:[^`]|``)*`"
_STRING = r"'(?:[^'\\]|\\.|'')*'"
_GRANTEE = rf"(?:{_QUOTED}|{_STRING}|[^ `'@]+)"
_LINE = re.compile(
    rf"(?P<verb>GRANT|REVOKE) (?P<rights>(?:{_QUOTED}|[^`])+?) ON "
    r"(?:(?P<kind>TABLE|PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE) )?"
    rf"(?P<database>\*|{_QUOTED})\.(?P<name>\*|{_QUOTED}) (?:TO|FROM) "
    rf"(?P<grantee>{_GRANTEE}(?:@{_GRANTEE})?)(?P<rest>.*)",
    re.DOTALL,
)
_RIGHT = re.compile(rf"(?:{_QUOTED}|[^`,(])+(?:\((?:{_QUOTED}|[^`)])*\))?", re.DOTALL)
_ROLE = rf"{_QUOTED}@{_QUOTED}"
_DEFAULT_ROLE = re.compile(rf" DEFAULT ROLE {_ROLE}(?:,{_ROLE})*(?= REQUIRE )", re.DOTALL)
_WORD = r"[A-Za-z_0-9]+"
_METHOD = re.compile(
    rf" IDENTIFIED (?:BY PASSWORD (?P<hash>{_STRING})"
    rf"|(?:VIA|WITH) '?(?P<plugin>{_WORD})'?(?: (?:USING|AS) (?P<secret>{_STRING}|0x[0-9A-F]*))?)"
    rf"|(?: OR (?P<other>{_WORD})(?: USING (?P<others>{_STRING}))?)"
    r"|(?: AND(?= IDENTIFIED WITH ))",
    re.DOTALL,
)
_REST = re.compile(rf"(?: (?:{_WORD}|{_STRING}))*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of SHOW GRANTS; ``database`` and ``name`` are None where it says ``*``."""

    rights: tuple[str, ...]
    kind: str
    database: str | None
    name: str | None
    grantee: str
    grantable: bool
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How an account logs in: its plugins, and whether everybody may."""

    plugins: tuple[str, ...]
    is_open: bool


def parse(line: str) -> Line | None:
    """Return what a line of SHOW GRANTS gives or takes; None for those on roles and proxies."""
    match = _LINE.match(line)
    if match is None:
        return None
    name = None if match["name"] == "*" else unquoted(match["name"])
    return Line(
        rights=split_rights(match["rights"]),
        kind=match["kind"] or ("" if name is None else "TABLE"),
        database=None if match["database"] == "*" else unquoted(match["database"]),
        name=name,
        grantee=match["grantee"],
        grantable=" WITH GRANT OPTION" in re.sub(f"{_QUOTED}|{_STRING}", "", match["rest"]),
        revoked=match["verb"] == "REVOKE",
    )


def split_rights(text: str) -> tuple[str, ...]:
    """Return the rights of a list, each with its columns: ``SELECT (`a`, `b`)``."""
    return tuple(found[0].strip() for found in _RIGHT.finditer(text) if found[0].strip())


def unquoted(name: str) -> str:
    """Return the name that stands in backticks."""
    return name[1:-1].replace("``", "`")


def sql_name(name: Name) -> str:
    """Return a user, or a role of MySQL, as it stands in statements."""
    return f"{quote(name[0])}@{quote(name[1])}"


def role_name(name: Name, flavour: Flavour) -> str:
    """Return a role as it stands in statements; those of MariaDB have no host."""
    if flavour is Flavour.MYSQL:
        return sql_name(name)
    return name[0] if name == PUBLIC else quote(name[0])


def string(text: str) -> str:
    """Return *text* as a string of SQL, for a session without NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def covered(pattern: str, databases: Collection[str], *, literal: bool) -> tuple[str, ...]:
    """Return those of *databases* that rights on *pattern* hold for.

    With *literal* the server has partial_revokes, which makes wild cards plain letters.
    """
    return tuple(
        name
        for name in databases
        if name in (pattern, plain(pattern)) or (not literal and matches(pattern, name))
    )


def plain(pattern: str) -> str:
    r"""Return a pattern of GRANT without its backslashes: ``my\_shop`` means ``my_shop``."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def is_wild(pattern: str) -> bool:
    """Tell whether *pattern* may mean several databases."""
    return bool(re.search(r"[%_]", re.sub(r"\\.", "", pattern, flags=re.DOTALL)))


def escaped(database: str) -> str:
    """Return the pattern that means *database* alone."""
    return database.replace("_", "\\_").replace("%", "\\%")


def without_default_role(create: str) -> str:
    """Return a CREATE USER of MySQL without its roles, which need not exist yet."""
    return _DEFAULT_ROLE.sub("", create, count=1)


def requirements_mended(create: str, required: Mapping[str, str]) -> str:
    """Return *create* with the strings of REQUIRE escaped, which most servers show as they are.

    *required* has the true value for each of ISSUER, SUBJECT and CIPHER.
    """
    for word, value in required.items():
        right, wrong = f" {word} {string(value)}", f" {word} '{value}'"
        if right not in create:
            create = create.replace(wrong, right, 1)
    return create


def authentication(create: str, account: str, *, default_plugin: str) -> Authentication | None:
    """Return how the account of a CREATE USER logs in; None where the text is not understood."""
    head = f"CREATE USER {account}"
    if not create.startswith(head):
        return None
    methods: list[tuple[str, bool]] = []
    spot, all_needed = len(head), False
    while match := _METHOD.match(create, spot):
        spot = match.end()
        if match["hash"]:
            methods.append(("mysql_native_password", match["hash"] != "''"))
        elif match["plugin"]:
            methods.append((match["plugin"], (match["secret"] or "''") not in ("''", "0x")))
        elif match["other"]:
            methods.append((match["other"], (match["others"] or "''") != "''"))
        else:
            all_needed = True
    if not _REST.fullmatch(create, spot):
        return None
    methods = methods or [(default_plugin, False)]
    open_ones = [plugin in PASSWORD_PLUGINS and not secret for plugin, secret in methods]
    locked = " ACCOUNT LOCK" in re.sub(_STRING, "", create[spot:])
    return Authentication(
        plugins=tuple(dict.fromkeys(plugin for plugin, _ in methods)),
        is_open=not locked and (all(open_ones) if all_needed else any(open_ones)),
    )


def locked(create: str) -> str:
    """Return *create*, of an account that is not locked, so that it makes a locked one."""
    pattern = re.compile(rf"{_QUOTED}|{_STRING}| ACCOUNT UNLOCK", re.DOTALL)
    found = pattern.sub(lambda m: " ACCOUNT LOCK" if m[0][0] == " " else m[0], create)
    return found if found != create else create + " ACCOUNT LOCK"
