"""Foreign keys that lead into a database from others, also from tables a login has no rights on.

``information_schema`` shows such keys only to who has rights on their tables, and a table that
moves takes them along: they would lead into what a restore keeps aside. InnoDB's own list, which
asks for PROCESS, has them all; no other engine has foreign keys.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ulasis_backup.mysql.privileges import account
from ulasis_backup.mysql.server import QueryFailed, Server

DENIED = 1227
"""The error of a server that asks for a global right."""

_ENCODED = re.compile(r"[\w@#$]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterKey:
    """A foreign key of a table elsewhere, and the table that it leads to."""

    name: str
    schema: str
    table: str
    parent_schema: str
    parent: str

    def __str__(self) -> str:
        """Return the key as it stands in messages."""
        return f"{self.name} of {self.schema}.{self.table} to {self.parent_schema}.{self.parent}"


def outer_keys(server: Server, schemas: Collection[str]) -> tuple[OuterKey, ...] | None:
    """Return the keys that lead into *schemas* from others; None where the login may not look."""
    listed = "INNODB_SYS_FOREIGN" if server.is_mariadb else "INNODB_FOREIGN"
    columns = (*_halves("FOR_NAME"), *_halves("REF_NAME"))
    try:
        rows = server.query(f"SELECT ID, {', '.join(columns)} FROM information_schema.{listed}")
    except QueryFailed as error:
        if error.number != DENIED:
            raise
        return None
    is_exact = str(server.value("SELECT @@lower_case_table_names")) == "0"
    wanted = {name if is_exact else name.casefold() for name in schemas}
    found = (_key(row) for row in rows)
    return tuple(
        key
        for key in sorted(found, key=str)
        if (key.parent_schema if is_exact else key.parent_schema.casefold()) in wanted
        and (key.schema if is_exact else key.schema.casefold()) not in wanted
    )


def grant_to_look(server: Server) -> str:
    """Return the statement that lets the session's account see the keys of all tables."""
    return f"GRANT PROCESS ON *.* TO {account(server)};"


def _halves(column: str) -> tuple[str, ...]:
    """Return the schema and the table in *column*, as they stand there and decoded.

    The server writes names as those of files: ``a-b`` is ``a@002db``.
    """
    parts = [f"SUBSTRING_INDEX({column}, '/', {which})" for which in (1, -1)]
    return tuple(
        text
        for part in parts
        for text in (part, f"CONVERT(CONVERT(CAST({part} AS BINARY) USING filename) USING utf8mb4)")
    )


def _key(row: tuple[object, ...]) -> OuterKey:
    """Return the key of one *row*; MySQL writes some names as they are."""
    names = [
        str(decoded if _ENCODED.fullmatch(str(raw)) and decoded is not None else raw)
        for raw, decoded in zip(row[1::2], row[2::2], strict=True)
    ]
    schema, table, parent_schema, parent = names
    name = str(row[0]).rpartition("/")[2]
    return OuterKey(
        name=name, schema=schema, table=table, parent_schema=parent_schema, parent=parent
    )
