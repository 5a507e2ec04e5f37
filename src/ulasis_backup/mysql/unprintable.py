"""Objects whose text the programs cannot carry: refused, for a backup must be restorable.

The dump program writes bodies of routines, triggers and events between ``DELIMITER ;;`` lines,
as the server stores them; the client program reads them back byte by byte, without knowing their
character set. What it would misread stops a restore in the middle, when the old state is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ulasis_backup.errors import DumpFailed
from ulasis_backup.mysql.server import Server

BACKSLASH_TRAILS = frozenset({"sjis", "cp932", "big5", "gbk", "gb18030"})
"""Character sets in which the second byte of a letter may be a backslash."""

BODIES = tuple(
    f"SELECT '{kind}', {kind}_NAME, CHARACTER_SET_CLIENT, {body} FROM information_schema.{kind}S "
    f"WHERE {kind}_SCHEMA = %s"
    for kind, body in (
        ("ROUTINE", "ROUTINE_DEFINITION"),
        ("TRIGGER", "ACTION_STATEMENT"),
        ("EVENT", "EVENT_DEFINITION"),
    )
)
NAMES = (
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
    "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s",
)
SORTED_BY = (
    "SELECT DISTINCT TABLE_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s "
    "AND NON_UNIQUE = 0 AND INSTR(COLUMN_NAME, '\n') > 0"
)
_DELIMITER = re.compile(r"(?im)^[ \t]*delimiter\b")
_CONTROL_COMMENT = re.compile(r"--[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
HINT = "write it another way, e.g. by CREATE OR REPLACE; `SHOW CREATE` shows it"


def refuse_unprintable(server: Server, database: str) -> None:
    """Raise DumpFailed if *database* holds what a dump could not bring back."""
    for kind, name, why in unprintable(server, database):
        message = f"{kind} {name!r} cannot be carried by a dump: {why}"
        raise DumpFailed(message, hint=HINT)


def unprintable(server: Server, database: str) -> Iterator[tuple[str, str, str]]:
    """Yield kind and name of each object in *database* that no dump carries, and why."""
    for sql in BODIES:
        for kind, name, client, body in server.query(sql, (database,)):
            why = trouble(str(client), str(body or ""))
            if str(kind) == "EVENT" and not why and ";;" in str(body):
                why = "its body holds ';;', on which the dump program never ends"
            if why:
                yield str(kind).lower(), str(name), why
    for sql in NAMES:
        for (name,) in server.query(sql, (database,)):
            # Such a name could pass for the comment that begins a part of the dump.
            if "\n--\n" in str(name):
                yield "the name", str(name), "it holds a line that is --"
    if not server.is_mariadb:
        for (name,) in server.query(SORTED_BY, (database,)):
            yield "table", str(name), "mysqldump cannot sort by a key column with a line break"


def trouble(client: str, body: str) -> str:
    """Return what the client program would misread in *body*, empty if nothing.

    *client* is the character set of the client that wrote it.
    """
    if "\0" in body:
        return "its body holds a NUL byte"
    if client in BACKSLASH_TRAILS and not body.isascii():
        return f"its body was written in {client}, whose letters may hold a backslash"
    if _DELIMITER.search(body):
        return "a line of its body begins with the word DELIMITER"
    if _CONTROL_COMMENT.search(body):
        return "its body holds a comment that begins with a control character"
    return ""
