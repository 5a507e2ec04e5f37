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
    try:
        found = _encoded_keys(server) if server.is_mariadb else _plain_keys(server)
    except QueryFailed as error:
        if error.number != DENIED:
            raise
        return None
    is_exact = str(server.value("SELECT @@lower_case_table_names")) == "0"
    wanted = {name if is_exact else name.casefold() for name in schemas}
    return tuple(
        key
        for key in sorted(found, key=str)
        if (key.parent_schema if is_exact else key.parent_schema.casefold()) in wanted
        and (key.schema if is_exact else key.schema.casefold()) not in wanted
    )


def _encoded_keys(server: Server) -> list[OuterKey]:
    """Return all keys of a MariaDB, which writes their names as those of files."""
    columns = (*_halves("FOR_NAME"), *_halves("REF_NAME"))
    sql = f"SELECT ID, {', '.join(columns)} FROM information_schema.INNODB_SYS_FOREIGN"
    return [_key(row) for row in server.query(sql)]


def _plain_keys(server: Server) -> list[OuterKey]:
    """Return all keys of a MySQL, which writes their names as they are."""
    sql = "SELECT ID, FOR_NAME, REF_NAME FROM information_schema.INNODB_FOREIGN"
    found = []
    for name, child, parent in server.query(sql):
        # No schema has a slash in its name here; a table may.
        (schema, _, table), (parent_schema, _, held) = (
            str(text).partition("/") for text in (child, parent)
        )
        found.append(
            OuterKey(
                name=str(name).rpartition("/")[2], schema=schema, table=table,
                parent_schema=parent_schema, parent=held,
            )
        )  # fmt: skip
    return found


def grant_to_look(server: Server) -> str:
    """Return the statement that lets the session's account see the keys of all tables."""
    return f"GRANT PROCESS ON *.* TO {account(server)};"


def _halves(column: str) -> tuple[str, ...]:
    """Return the schema and the table in *column*, as they stand there and decoded.

    MariaDB writes names as those of files: ``a-b`` is ``a@002db``.
    """
    parts = [f"SUBSTRING_INDEX({column}, '/', {which})" for which in (1, -1)]
    return tuple(
        text
        for part in parts
        for text in (part, f"CONVERT(CONVERT(CAST({part} AS BINARY) USING filename) USING utf8mb4)")
    )


def _key(row: tuple[object, ...]) -> OuterKey:
    """Return the key of one *row*; some names are there as they are."""
    names = [
        str(decoded if _ENCODED.fullmatch(str(raw)) and decoded is not None else raw)
        for raw, decoded in zip(row[1::2], row[2::2], strict=True)
    ]
    schema, table, parent_schema, parent = names
    name = str(row[0]).rpartition("/")[2]
    return OuterKey(
        name=name, schema=schema, table=table, parent_schema=parent_schema, parent=parent
    )
