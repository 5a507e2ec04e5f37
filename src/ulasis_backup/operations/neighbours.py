"""What a backup needs of *other* databases: parents of foreign keys, tables that views read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ulasis_backup.errors import PrivilegeMissing, ServerUnsuitable
from ulasis_backup.methods.index import Index
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import privileges
from ulasis_backup.mysql.server import Server, quote

_NAME = rb"`((?:[^`]|``)*)`"
_PARENT = re.compile(rb"REFERENCES " + _NAME + rb"\." + _NAME)
_READ = re.compile(rb"(?:from|join)[\s(]+" + _NAME + rb"\." + _NAME)
HINT = "restore that database first, or restore into a server that has it"


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """A table of another database, and the right on it that loading takes."""

    database: str
    table: str
    right: str


def needs_of(texts: Iterable[tuple[str, bytes]], database: str) -> tuple[Need, ...]:
    """Return the tables outside of *database* that definitions name.

    *texts* are those of tables and views, each with its kind, ``table`` or ``view``.
    """
    found: set[Need] = set()
    for kind, text in texts:
        pattern, right = (_PARENT, "REFERENCES") if kind == "table" else (_READ, "SELECT")
        found |= {Need(_plain(s), _plain(table), right) for s, table in pattern.findall(text)}
    return tuple(sorted(need for need in found if need.database != database))


def in_order(index: Index) -> tuple[str, ...]:
    """Return the databases of *index*, those first whose tables the views of others read.

    Where they read each other's there is no such order; they come as they were.
    """
    waiting = {name: _read_by(index, name) for name in index.definitions}
    ordered: list[str] = []
    while waiting:
        ready = [name for name, needed in waiting.items() if not needed & waiting.keys()]
        for name in ready or list(waiting):
            ordered.append(name)
            del waiting[name]
    return tuple(ordered)


def _read_by(index: Index, database: str) -> set[str]:
    views = [d for d in index.definitions[database] if d.kind == ObjectKind.VIEW]
    return {need.database for need in needs_of((("view", v.text) for v in views), database)}


def refuse_unmet(
    server: Server, needs: Iterable[Need], *, coming: Collection[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """Return a notice for each need; raises ServerUnsuitable or PrivilegeMissing for unmet ones.

    What is *coming*, pairs of database and name, will be there in time. A foreign key may point to
    a table that is not there (yet), a view may not.
    """
    grants = privileges.read_grants(server)
    notices = []
    for need in needs:
        name = f"{need.database}.{need.table}"
        if not privileges.has_on_table(grants, need.right, need.database, need.table):
            where = f"{quote(need.database)}.{quote(need.table)}"
            message = f"the login lacks {need.right} on {name}, which the backup's objects name"
            account = privileges.account(server)
            hint = f"run as an administrator: GRANT {need.right} ON {where} TO {account};"
            raise PrivilegeMissing(message, hint=hint)
        if (need.database, need.table) in coming:
            continue
        there = _exists(server, need)
        if not there and need.right == "SELECT":
            message = f"a view of the backup reads {name}, which this server does not have"
            raise ServerUnsuitable(message, hint=HINT)
        gone = "" if there else ", which this server does not have"
        notices.append(f"needs {name} of another database{gone}")
    return tuple(dict.fromkeys(notices))


def _exists(server: Server, need: Need) -> bool:
    return bool(
        server.value(
            "SELECT COUNT(*) FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (need.database, need.table),
        )
    )


def _plain(name: bytes) -> str:
    return name.replace(b"``", b"`").decode("utf-8", "surrogateescape")
