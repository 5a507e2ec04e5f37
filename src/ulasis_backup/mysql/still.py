"""What a schema looks like at one moment, compared with another; and who waits for metadata locks.

RENAME and EXCHANGE PARTITION can be undone again before anybody compares. What the server
counts of such statements finds those: without a lock, any of them in between is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ulasis_backup.errors import SchemaChanged
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import Server, quote

TABLES_A_STATEMENT = 50
METADATA_LOCK = "Waiting for table metadata lock"
TABLE_LOCK = "Waiting for table level lock"
BACKUP_LOCK = "Waiting for backup lock"
"""States of sessions. Who waits for a backup's lock will wait for a table's next."""

REVERSIBLE = ("Com_rename_table", "Com_alter_table")

HINT = "run the backup again when the migration is done"

_ROWS_ONLY = re.compile(
    r"(?:\s|\(|/\*.*?\*/|(?:--|#)[^\n]*\n)*(?:select|insert|update|delete|replace|load|with|show|table|values|commit)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """What the schema of a database looked like at one moment."""

    definitions: dict[str, str]
    table_ids: dict[str, int] | None
    counters: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A session that waits for the metadata lock of a table; ``database`` is its current one."""

    connection: int
    database: str
    statement: str

    @property
    def is_ddl(self) -> bool:
        """Tell whether it is more than a statement that reads or writes rows."""
        return not _ROWS_ONLY.match(self.statement)

    def may_concern(self, databases: Iterable[str]) -> bool:
        """Tell whether the statement could be about a table of *databases*.

        A routine, or a statement kept by name, may touch anything.
        """
        text = self.statement.lower()
        if not self.database or text.startswith(("call", "execute")):
            return True
        names = [name.lower() for name in databases]
        return self.database.lower() in names or any(name in text for name in names)


def still(server: Server, database: str, found: Catalogue) -> Still:
    """Return what the schema of *database* looks like now."""
    return Still(
        definitions=schema.definitions(server, database, found),
        table_ids=schema.table_ids(server, database),
        counters=_counters(server),
    )


def compare(before: Still, now: Still, *, database: str, held: bool) -> None:
    """Raise SchemaChanged unless *now* is as *before*.

    What came later is rightly not in the backup. Without metadata locks (*held*) a RENAME that
    was undone again can only be seen by the server's counters.
    """
    _equal(before.definitions, now.definitions)
    if before.table_ids is not None and now.table_ids is not None:
        _equal(before.table_ids, now.table_ids)
    if not held and before.counters != now.counters:
        message = (
            "RENAME or ALTER ran on this server during the dump; whether it touched "
            f"{database} and was undone again cannot be told"
        )
        raise SchemaChanged(message, hint=HINT)


def touches(tables: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield statements that read nothing and so take the metadata locks of *tables*.

    *tables* are pairs of database and name. Fifty a statement is the fastest.
    """
    for start in range(0, len(tables), TABLES_A_STATEMENT):
        some = tables[start : start + TABLES_A_STATEMENT]
        yield " UNION ALL ".join(
            f"(SELECT 1 FROM {quote(database)}.{quote(name)} LIMIT 0)" for database, name in some
        )


def touches_one_by_one(tables: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what ``touches`` does for tables without transactions, whose writers may wait.

    HIGH_PRIORITY goes before a writer that waits for our READ lock; it cannot be in a UNION.
    """
    for database, name in tables:
        yield f"SELECT HIGH_PRIORITY 1 FROM {quote(database)}.{quote(name)} LIMIT 0"


def waiting(server: Server, *, also: str = METADATA_LOCK) -> list[Waiting]:
    """Return who waits for the metadata lock of a table, or in the state *also*.

    Sessions of others are seen with PROCESS only.
    """
    rows = server.query(
        "SELECT ID, COALESCE(DB, ''), COALESCE(INFO, '') FROM information_schema.PROCESSLIST "
        "WHERE STATE LIKE %s OR STATE LIKE %s",
        (f"{METADATA_LOCK}%", f"{also}%"),
    )
    return [
        Waiting(connection=int(number), database=str(database), statement=str(statement))
        for number, database, statement in rows
    ]


def _counters(server: Server) -> dict[str, int]:
    listed = ", ".join(f"'{name}'" for name in REVERSIBLE)
    rows = server.query(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({listed})")
    return {str(name): int(value) for name, value in rows}


def _equal(before: Mapping[str, object], now: Mapping[str, object]) -> None:
    changed = [name for name in before if before[name] != now.get(name)]
    if changed:
        names = ", ".join(sorted(changed)[:5])
        message = f"the schema changed while it was dumped: {names}"
        raise SchemaChanged(message, hint=HINT)
