"""An index and its objects as an ordinary SQL dump, which any client program loads.

The text is ASCII but for names and the texts of objects, whose bytes are as they came. A body
stands between DELIMITER lines, in the settings in which it was made. What a client program would
misread is refused by name: ``unexportable`` tells before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ulasis_backup.errors import DumpFailed
from ulasis_backup.methods.index import Range, TableRows
from ulasis_backup.methods.rows_restore import BODIES, LAST, DatabaseContents
from ulasis_backup.model import DatabaseOptions, Flavour, ObjectKind
from ulasis_backup.mysql.creation import TABLE_MODES, shown_as_utf8, table_statement
from ulasis_backup.mysql.definitions import TABLE, UTF8, Definition
from ulasis_backup.mysql.rows import to_values
from ulasis_backup.mysql.server import quote
from ulasis_backup.mysql.tokens import identifiers
from ulasis_backup.mysql.unprintable import trouble

STATEMENT = 1 << 20
"""Bytes of an INSERT, unless a single row has more."""

DELIMITERS = (";;", "$$", "//", "|ulasis|")
HINT = "restore the backup itself, which loses nothing; or export without this object"

HEAD = """\
-- Written by ulasis-backup. Load it into an empty database:
--   {program} --binary-mode --comments --max-allowed-packet=1G DATABASE < THIS_FILE
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET @ulasis_time_zone = @@time_zone, @ulasis_sql_mode = @@sql_mode;
SET @ulasis_foreign_key_checks = @@foreign_key_checks, @ulasis_unique_checks = @@unique_checks;
SET time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0, innodb_strict_mode = 0;
"""
HEAD_MARIADB = """\
SET @ulasis_check_constraint_checks = @@check_constraint_checks, check_constraint_checks = 0;
/*M!101100 SET system_versioning_insert_history = 1 */;
/*M!110201 SET character_set_collations = '' */;
"""
HEAD_MYSQL = """\
/*!80013 SET sql_require_primary_key = 0 */;
/*!80030 SET sql_generate_invisible_primary_key = 0 */;
/*!80400 SET restrict_fk_on_non_standard_key = 0 */;
"""
FOOT_MARIADB = """\
SET check_constraint_checks = @ulasis_check_constraint_checks;
"""
FOOT = """\
SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;
SET time_zone = @ulasis_time_zone, sql_mode = @ulasis_sql_mode;
SET foreign_key_checks = @ulasis_foreign_key_checks, unique_checks = @ulasis_unique_checks;
-- End of the export
"""
ROW_MODES = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"
SEQUENCE = """\
SELECT minimum_value, maximum_value, start_value, increment, cache_size, cycle_option
  INTO @ulasis_1, @ulasis_2, @ulasis_3, @ulasis_4, @ulasis_5, @ulasis_6 FROM {name};
INSERT INTO {name} VALUES ({position}, @ulasis_1, @ulasis_2, @ulasis_3, @ulasis_4, @ulasis_5,
  @ulasis_6, {cycles});
"""


def unexportable(
    definitions: Sequence[Definition], flavour: Flavour
) -> tuple[tuple[Definition, str], ...]:
    """Return the objects that no client program could create from a text, each with the reason."""
    found = ((one, _why_not(one, flavour)) for one in definitions)
    return tuple((one, why) for one, why in found if why)


def export_sql(
    contents: DatabaseContents,
    *,
    options: DatabaseOptions,
    read: Callable[[Range], bytes],
    flavour: Flavour,
) -> Iterator[bytes]:
    """Yield a dump of *contents* for a server of *flavour*, the one that they came from.

    The database that it is loaded into gets the character set and collation of *options*.

    *read* returns the row packets of a range that is not inline. Raises DumpFailed, before
    anything is yielded, for the first object that a text cannot carry, and what *read* raises.
    """
    for one, why in unexportable(contents.definitions, flavour):
        message = f"{one.kind} {one.name!r} cannot be exported: {why}"
        raise DumpFailed(message, hint=HINT)
    return _export(contents, options, read, flavour)


def _export(
    contents: DatabaseContents,
    options: DatabaseOptions,
    read: Callable[[Range], bytes],
    flavour: Flavour,
) -> Iterator[bytes]:
    mariadb = flavour is Flavour.MARIADB
    program = "mariadb" if mariadb else "mysql"
    yield (HEAD.format(program=program) + (HEAD_MARIADB if mariadb else HEAD_MYSQL)).encode()
    charset, collation = options.character_set, options.collation
    yield f"ALTER DATABASE CHARACTER SET {charset} COLLATE {collation};\n".encode()
    for sequence in contents.of_kind(ObjectKind.SEQUENCE):
        yield from _sequence(sequence)
    modes = TABLE_MODES if mariadb else "ALLOW_INVALID_DATES"
    yield b"\nSET sql_mode = '%s';\n" % modes.encode()
    for table in contents.of_kind(TABLE):
        yield b"%s;\n" % table_statement(table, mariadb=mariadb)
    yield b"\nSET sql_mode = '%s';\n" % ROW_MODES.encode()
    for rows in contents.tables:
        yield from _rows(rows, read)
    for one in (*contents.of_kind(*BODIES), *_views(contents), *contents.of_kind(*LAST)):
        yield from _object(one, options.collation)
    yield ("\n" + (FOOT_MARIADB if mariadb else "") + FOOT).encode()


def _sequence(sequence: Definition) -> Iterator[bytes]:
    yield b"\n%s;\n" % sequence.text
    put = SEQUENCE.format(
        name=quote(sequence.name),
        position=sequence.extra["position"],
        cycles=sequence.extra["cycles"],
    )
    yield put.encode("utf-8", "surrogateescape")


def _rows(table: TableRows, read: Callable[[Range], bytes]) -> Iterator[bytes]:
    """Yield the INSERTs of a table, one transaction each."""
    source = table.head.source
    if not table.ranges:
        return
    columns = ", ".join(quote(column.name) for column in source.columns)
    name = f"INSERT INTO {quote(source.table)} ({columns}) VALUES"
    head = name.encode("utf-8", "surrogateescape")
    yield b"\nSTART TRANSACTION;\n"
    for part in table.ranges:
        packets = read(part) if part.inline is None else part.inline
        yield from _inserts(head, to_values(packets, source.columns))
    yield b"COMMIT;\n"


def _inserts(head: bytes, rows: Iterator[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for row in rows:
        if held and size + len(row) > STATEMENT:
            yield head + b"\n" + b",\n".join(held) + b";\n"
            held, size = [], 0
        held.append(row)
        size += len(row) + 2
    if held:
        yield head + b"\n" + b",\n".join(held) + b";\n"


def _object(one: Definition, collation: str) -> Iterator[bytes]:
    """Yield what creates an object with a body, in the settings in which it was made.

    *collation* is the database's own.
    """
    delimiter = next(d for d in DELIMITERS if d.encode() not in one.text).encode()
    settings = [f"SET sql_mode = '{one.sql_mode}'"]
    if one.charset_client:
        settings.append(f"SET character_set_client = {one.charset_client}")
        settings.append(f"SET collation_connection = {one.collation_connection}")
    if one.time_zone:
        settings.append(f"SET time_zone = '{one.time_zone}'")
    if "created" in one.extra:
        settings.append(f"SET timestamp = {one.extra['created']}")
    collated = one.database_collation not in ("", collation)
    if collated:
        # Objects with bodies remember the database's collation; there is no variable for it.
        settings.append(f"ALTER DATABASE COLLATE {one.database_collation}")
    yield "\n".join(["", *(f"{line};" for line in settings), ""]).encode()
    yield b"DELIMITER %s\n%s\n%s\nDELIMITER ;\n" % (delimiter, one.text, delimiter)
    after = ["SET NAMES utf8mb4 COLLATE utf8mb4_general_ci", "SET time_zone = '+00:00'"]
    after += ["SET timestamp = DEFAULT"] if "created" in one.extra else []
    after += [f"ALTER DATABASE COLLATE {collation}"] if collated else []
    yield "".join(f"{line};\n" for line in after).encode()


def _views(contents: DatabaseContents) -> Iterator[Definition]:
    """Yield the views, each behind those that it names."""
    left = {view.name.casefold(): view for view in contents.of_kind(ObjectKind.VIEW)}
    needs = {
        name: {found.casefold() for found, _ in identifiers(view.text, "")} & left.keys() - {name}
        for name, view in left.items()
    }
    while left:
        # A column of the name of a view may make a circle: then any is as good as the other.
        name = next((name for name in left if not needs[name] & left.keys()), next(iter(left)))
        yield left.pop(name)


def _why_not(one: Definition, flavour: Flavour) -> str:
    """Return why a client program cannot create *one*; empty if it can."""
    client = one.charset_client
    shown = shown_as_utf8(one, one.text, mariadb=flavour is Flavour.MARIADB)
    if client not in UTF8 and any(not part.isascii() for part in shown):
        return f"its head holds letters beside ASCII, and its client's character set is {client}"
    if all(delimiter.encode() in one.text for delimiter in DELIMITERS):
        return "it holds every delimiter that we know"
    return trouble(client, one.text.decode("utf-8", "surrogateescape"))
