"""Loading an ``sql`` backup: the client program, guarded, fed with a prepared stream."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ulasis_backup.errors import LoadFailed
from ulasis_backup.methods.contents import ContentsReader
from ulasis_backup.methods.rewrite import Rename, rewrite_piece
from ulasis_backup.methods.sections import Part, Piece, split
from ulasis_backup.model import DatabaseOptions, Flavour, ObjectKind, TextLoss
from ulasis_backup.mysql import programs, schema
from ulasis_backup.mysql.creation import without_own_collations
from ulasis_backup.mysql.programs import ProgramFailed
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import NOT_COMMITTED, QueryFailed, Server, quote
from ulasis_backup.streams.pipeline import Chunks

OPTIONS = (
    "--binary-mode", "--comments", "--batch", "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G", "--local-infile=0",
)  # fmt: skip
"""``--binary-mode``: a ``\\!`` in a dump must not run a shell command. ``--comments``: comments
in the bodies of routines are part of them. ``--local-infile=0``: no server may ask for files."""

SESSION = {
    Flavour.MARIADB: (
        "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',ALLOW_INVALID_DATES'), "
        "check_constraint_checks = 0, innodb_strict_mode = 0;\n"
    ),
    Flavour.MYSQL: "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',ALLOW_INVALID_DATES');\n",
}
"""Set behind the dump's own head: dates that ALLOW_INVALID_DATES let in would become zero in
silence, rows that broke a CHECK would stop the load, old row formats would be refused."""

OF_TABLES = frozenset({Part.TABLE, Part.ROWS_HEAD, Part.ROWS, Part.AFTER_ROWS})
WISHED = (
    # Foreign keys may point at any key, as InnoDB itself allows: old tables have such.
    "restrict_fk_on_non_standard_key",
    "sql_require_primary_key",
    "sql_generate_invisible_primary_key",
)
"""Switched off where MySQL has them on and lets us: it would not take tables back as they were."""

LONGEST_ERROR = 300
SANDBOX_LINE = re.compile(rb"\A/\*M?!999999\\- enable the sandbox mode \*/ ?\n")
_CREATE_TABLE = re.compile(rb"(?m)^CREATE TABLE `")
HINTS = (
    ("1418", "SET GLOBAL log_bin_trust_function_creators = 1; on the target, then again"),
    ("1419", "SET GLOBAL log_bin_trust_function_creators = 1; on the target, then again"),
    ("1153", "raise max_allowed_packet of the target server, then again"),
    ("1227", "the restore login needs SET USER (or SUPER) for objects of other definers"),
    ("1114", "the target server has no room left"),
    ("1021", "the target server has no room left"),
    ("1180", NOT_COMMITTED),
    ("1030", "the target server has trouble with its disk; see its error log"),
)


def load(
    chunks: Chunks,
    server: Server,
    database: str,
    *,
    rename: Rename | None,
    reader: ContentsReader,
    on_bytes: Callable[[int], None],
    programs_folder: Path | None = None,
) -> None:
    """Feed a dump to the client program, into *database*; *reader* sees what is loaded.

    Raises LoadFailed; an error of *chunks* goes on to the caller.
    """
    flavour = server.version.flavour
    stream = prepared(chunks, flavour, rename=rename, reader=reader, on_bytes=on_bytes)
    run_script(stream, server, database, programs_folder=programs_folder)


def run_script(
    chunks: Chunks, server: Server, database: str, *, programs_folder: Path | None = None
) -> None:
    """Feed SQL text to the client program, into *database*; raises LoadFailed."""
    settings = session_settings(server)
    script = itertools.chain([settings], chunks)
    feed(script, server, database, programs_folder=programs_folder)


def feed(
    chunks: Chunks,
    server: Server,
    database: str,
    *,
    programs_folder: Path | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> None:
    """Feed SQL text to the client program as it is, which is told of when it has *started*.

    The session of *server* is not used: several threads may call it. Raises LoadFailed.
    """
    program = programs.client_program(server.version, folder=programs_folder)
    with programs.option_file(server.login, program.flavour) as (first, inherit):
        command = [program.path, first, *OPTIONS, f"--database={database}"]
        try:
            programs.write_to(command, chunks, inherit=inherit, started=started)
        except ProgramFailed as error:
            raise LoadFailed(without_rows(error), hint=_hint(error.said)) from None


def prepared(
    chunks: Chunks,
    flavour: Flavour,
    *,
    rename: Rename | None,
    reader: ContentsReader,
    on_bytes: Callable[[int], None],
) -> Chunks:
    """Yield the dump as it is loaded: schema renamed, session prepared, read along."""
    done = 0
    for piece in split(chunks):
        done += len(piece.data)
        out = rewrite_piece(piece, rename) if rename else piece
        reader.update(out)
        yield from for_client(out, flavour)
        on_bytes(done)


def section_at(chunks: Chunks, flavour: Flavour, line: int) -> str:
    """Return the section of a dump, as ``prepared`` yields it, that holds a line of that number."""
    lines = 1
    for piece in split(chunks):
        lines += sum(data.count(b"\n") for data in for_client(piece, flavour))
        if lines > line:
            kind = "table" if piece.part in OF_TABLES else str(piece.part)
            return f", at {kind} {piece.name}".rstrip()
    return ""


def empty(
    server: Server, database: str, found: Catalogue, *, kept: frozenset[tuple[ObjectKind, str]]
) -> None:
    """Remove what is *found* in *database* but *kept*; the database, and rights on it, stay."""
    server.run("SET SESSION foreign_key_checks = 0")
    for kind in (ObjectKind.EVENT, ObjectKind.VIEW, ObjectKind.PROCEDURE, ObjectKind.FUNCTION):
        for name in (name for name in found.names(kind) if (kind, name) not in kept):
            server.run(f"DROP {kind.upper()} IF EXISTS {quote(database)}.{quote(name)}")
    if found.names(ObjectKind.PACKAGE):
        # Before MariaDB 11.4 these words are only known in this mode.
        server.run("SET SESSION sql_mode = 'ORACLE'")
        for name in found.names(ObjectKind.PACKAGE):
            server.run(f"DROP PACKAGE IF EXISTS {quote(database)}.{quote(name)}")
        server.run("SET SESSION sql_mode = ''")
    for table in found.tables:
        kind = ObjectKind.SEQUENCE if table.is_sequence else ObjectKind.TABLE
        if (kind, table.name) not in kept:
            server.run(f"DROP {kind.upper()} IF EXISTS {quote(database)}.{quote(table.name)}")
    server.run("SET SESSION foreign_key_checks = 1")


def make_database(server: Server, database: str, options: DatabaseOptions | None) -> None:
    """Create *database* unless it exists, and give it the charset and collation of *options*."""
    server.run(f"CREATE DATABASE IF NOT EXISTS {quote(database)}")
    if options:
        comment = " COMMENT = %s" if schema.has_database_comments(server) else ""
        arguments = [options.comment] if comment else None
        # With arguments the driver takes `%` for theirs.
        name = quote(database).replace("%", "%%") if arguments else quote(database)
        server.run(
            f"ALTER DATABASE {name} CHARACTER SET {options.character_set} "
            f"COLLATE {options.collation}{comment}",
            arguments,
        )


def describe(loss: TextLoss) -> str:
    """Return what *loss* means, as a sentence's part."""
    where = f"{loss.table}.{loss.column}" if loss.column else loss.table
    count = "an unknown number of values" if loss.values is None else f"{loss.values:,} value(s)"
    return f"{where}: {loss.what} ({count})"


def session_settings(server: Server) -> bytes:
    """Return what switches off what is WISHED, tried in our own session first."""
    settings = b""
    for name in () if server.is_mariadb else WISHED:
        if not server.query("SHOW SESSION VARIABLES LIKE %s", (name,)):
            continue
        before = server.value(f"SELECT @@SESSION.{name}")
        with contextlib.suppress(QueryFailed):
            server.run(f"SET SESSION {name} = 0")
            server.run(f"SET SESSION {name} = %s", (before,))
            settings += f"SET SESSION {name} = 0;\n".encode()
    return settings


def for_client(piece: Piece, flavour: Flavour) -> Iterator[bytes]:
    """Yield *piece* as the client program of that kind is fed with it."""
    if piece.part is Part.TABLE and flavour is Flavour.MYSQL:
        yield _as_created(piece.data)
        return
    if piece.part is not Part.HEAD:
        yield piece.data
        return
    # Other clients than MariaDB's take this line for a statement.
    yield SANDBOX_LINE.sub(b"", piece.data) if flavour is Flavour.MYSQL else piece.data
    yield SESSION[flavour].encode()


def _as_created(text: bytes) -> bytes:
    """Return a table's section so that MySQL will show the table again as it did."""
    found = _CREATE_TABLE.search(text)
    begin = found.start() if found else len(text)
    return text[:begin] + without_own_collations(text[begin:])


def without_rows(error: ProgramFailed) -> str:
    """Return the client's own words; the statement that it quotes may hold anybody's data."""
    lines = [line for line in error.said.splitlines() if line.startswith(("ERROR ", "mariadb: "))]
    words = " / ".join(line[:LONGEST_ERROR] for line in lines[-3:])
    return f"the client program ended with status {error.status}: {words or 'without a reason'}"


def _hint(said: str) -> str:
    found = [hint for number, hint in HINTS if f"ERROR {number} " in said]
    return found[0] if found else "see the message above; the server's error log may say more"
