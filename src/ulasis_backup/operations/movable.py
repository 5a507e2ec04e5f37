"""Whether the tables of a backup can be moved into a database once they are loaded beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ulasis_backup.mysql import schema
from ulasis_backup.mysql.server import Server
from ulasis_backup.mysql.swap_checks import UNMOVABLE

_ENGINE = re.compile(rb"\n\)(?: /\*!\d+ [^*]*\*/)? ENGINE=(\w+)")


def unmovable(server: Server, texts: Mapping[str, bytes]) -> Iterator[str]:
    """Yield what stands against it in the definitions *texts*, by table."""
    for name, text in texts.items():
        match = _ENGINE.search(text)
        engine = match[1].decode() if match else ""
        if engine.lower() in UNMOVABLE or (not server.is_mariadb and engine.lower() != "innodb"):
            yield f"table {name} ({engine or 'no engine'}) does not move with others"


def sequences_in(server: Server, database: str) -> frozenset[str]:
    """Return the sequences that *database* has."""
    found = schema.catalogue(server, database).tables
    return frozenset(table.name for table in found if table.is_sequence)
