"""Taking databases apart into definitions and putting them together again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from support.server import emptied
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.creation import create, create_views, enable_events
from ulasis_backup.mysql.definitions import Definition, read_definitions
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server


@contextlib.contextmanager
def shop_and_trap(running: ScratchServer) -> Iterator[Server]:
    """Open a session on a server with empty databases `shop`, in use, and `trap`."""
    with emptied(running, "shop", "trap", "copy") as opened:
        for name in ("shop", "trap"):
            opened.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        opened.run("USE shop")
        yield opened


def send(server: Server, statements: Sequence[bytes | str], charset: str = "utf-8") -> None:
    for sql in statements:
        server.run_bytes(sql if isinstance(sql, bytes) else sql.encode(charset))


def read(server: Server, database: str) -> tuple[Definition, ...]:
    return read_definitions(server, database, schema.catalogue(server, database))


def build(server: Server, database: str, definitions: Sequence[Definition]) -> None:
    for kind in ("sequence", "table", "function", "procedure", "package", "package body"):
        for definition in (found for found in definitions if found.kind == kind):
            create(server, database, definition)
    create_views(server, database, [found for found in definitions if found.kind == "view"])
    for definition in (found for found in definitions if found.kind in ("trigger", "event")):
        create(server, database, definition)


def again(server: Server, database: str) -> tuple[tuple[Definition, ...], tuple[Definition, ...]]:
    """Take *database* away and create it anew; return its definitions before and after."""
    before = read(server, database)
    server.run(f"DROP DATABASE {database}")
    server.run(f"CREATE DATABASE {database} CHARACTER SET latin1")
    build(server, database, before)
    enable_events(server, database, before)
    return before, read(server, database)
