"""Creating the objects of a database from their definitions, over the protocol.

Without a client program there is no DELIMITER that a body could hold, and bytes go to the server
as they came from it, in the session settings in which the object was first made.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ulasis_backup.errors import LoadFailed
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql.definitions import TABLE, UTF8, Definition, auto_increment_spot
from ulasis_backup.mysql.prepared import Value, prepared
from ulasis_backup.mysql.server import QueryFailed, Server, quote, quote_bytes
from ulasis_backup.mysql.tokens import hex_strings, table_items

OURS: dict[str, Value] = {
    "character_set_client": "utf8mb4",
    "collation_connection": "utf8mb4_general_ci",
    "time_zone": "+00:00",
    "sql_mode": "",
    "foreign_key_checks": 0,
}
DEADLOCK = 1213
LOCKED = 1205
TRIES = 10
AT_ONCE_SECONDS = 0.5
"""A lock that was waited for is somebody else's; one refused sooner is another of our sessions."""
TABLE_MODES = "ALLOW_INVALID_DATES,IGNORE_BAD_TABLE_OPTIONS"
WISHED: dict[str, Value] = {
    "innodb_strict_mode": 0,
    # NOT NULL without a default must not become DEFAULT CURRENT_TIMESTAMP.
    "explicit_defaults_for_timestamp": 1,
    "character_set_collations": "",
    "check_constraint_checks": 0,
    "system_versioning_alter_history": "KEEP",
    "sql_require_primary_key": 0,
    "sql_generate_invisible_primary_key": 0,
    "unique_checks": 0,
    # MySQL: foreign keys may point at any key, as InnoDB itself allows.
    "restrict_fk_on_non_standard_key": 0,
}
HINTS = {
    1298: "load the time zone tables of the target: mariadb-tzinfo-to-sql /usr/share/zoneinfo",
    1418: "SET GLOBAL log_bin_trust_function_creators = 1; on the target, then again",
    1419: "SET GLOBAL log_bin_trust_function_creators = 1; on the target, then again",
    1227: "for objects of other definers the restore login needs SET USER (MariaDB), or "
    "SET_ANY_DEFINER, and SYSTEM_USER where the definer has it (MySQL)",
    1021: "the target server has no room left",
    1114: "the target server has no room left",
}
NO_SUCH_DEFINER = 1449
_NO_DEFINER = re.compile(r"\('(?P<user>.*)'@'(?P<host>.*)'\) does not exist")
_IDENTIFIER = rb'(?:`(?:[^`]|``)*`|"(?:[^"]|"")*")'
_DEFINER = rb"DEFINER=(?P<definer>" + _IDENTIFIER + rb"(?:@" + _IDENTIFIER + rb")?)"
_HEAD = re.compile(
    rb"CREATE (?:OR REPLACE )?(?:" + _DEFINER + rb" )?"
    rb"(?:(?:EVENT|PROCEDURE|FUNCTION) " + _IDENTIFIER + rb")?",
    re.DOTALL,
)
_MYSQL_TRIGGER = re.compile(
    _HEAD.pattern + rb"TRIGGER " + _IDENTIFIER + rb" \w+ \w+ ON " + _IDENTIFIER, re.DOTALL
)
_STATUS = re.compile(
    rb" ON SCHEDULE .*? ON COMPLETION (?:NOT )?PRESERVE "
    rb"(?P<status>ENABLE|DISABLE(?: ON \w+)?)"
    rb"(?: COMMENT '(?:[^'\\]|\\.|'')*')? DO ",
    re.DOTALL,
)
_ONCE = re.compile(rb" ON SCHEDULE AT '(?P<at>[0-9:. -]+)' ")
_COLLATED = re.compile(
    rb"(?P<column>`(?:[^`]|``)*` [a-z]+"
    rb"(?:\((?:[0-9]+|(?:,?'(?:[^'\\]|\\.|'')*')+)\))?) COLLATE \w+",
    re.DOTALL,
)
_RETURNS = re.compile(rb"\) RETURNS (?:enum|set)\((?:'(?:[^'\\]|\\.|'')*',?)+\)", re.DOTALL)


def create(server: Server, database: str, definition: Definition) -> None:
    """Create one object in *database*, which may have another name than the one it came from.

    Tables come empty, with their AUTO_INCREMENT; sequences stand where they stood; events that
    were enabled come disabled until ``enable_events``. Raises LoadFailed.
    """
    with _said(definition):
        _create(server, database, definition)


def create_views(server: Server, database: str, views: Sequence[Definition]) -> None:
    """Create *views* in whichever order works; raises LoadFailed for the first that never does."""
    create_views_across(server, [(database, view) for view in views])


def create_views_across(
    server: Server,
    views: Sequence[tuple[str, Definition]],
    *,
    optional: Sequence[tuple[str, Definition]] = (),
) -> None:
    """Create views of several databases, pairs of database and view, in whichever order works.

    Those of one may read those of another that read a third. Raises LoadFailed for the first of
    *views* that never can be created; *optional* ones are left out then.
    """
    left = [*views, *optional]
    while left:
        failed: list[tuple[tuple[str, Definition], QueryFailed]] = []
        for database, view in left:
            try:
                _create(server, database, view)
            except QueryFailed as error:
                failed.append(((database, view), error))
        if len(failed) == len(left):
            for one, reason in failed:
                if one not in optional:
                    with _said(one[1]):
                        raise reason
            return
        left = [one for one, _ in failed]


def enable_events(server: Server, database: str, definitions: Iterable[Definition]) -> None:
    """Switch on the events among *definitions* that were on; raises LoadFailed."""
    for event in definitions:
        match = _status(event) if event.kind == ObjectKind.EVENT else None
        if match and match["status"] == b"ENABLE":
            # Without these settings and the definer it would be given ours.
            with _said(event), _made_like(server, database, event):
                head = _HEAD.match(event.text)
                definer = head["definer"] if head and head["definer"] else None
                named = b"DEFINER=%s " % definer if definer else b""
                sql = b"ALTER %sEVENT %s ENABLE" % (named, quote_bytes(event.name))
                server.run_bytes(_in_charset(server, sql, event.charset_client))


def switch_off_past(
    server: Server, definitions: Iterable[Definition]
) -> tuple[tuple[Definition, ...], tuple[str, ...]]:
    """Return *definitions* with events that have nothing to wait for any more disabled, and these.

    One that was to run once, at a time that is over, would run at once: a second time, for where
    it comes from it has done so.
    """
    out: list[Definition] = []
    off: list[str] = []
    for one in definitions:
        match = _status(one) if one.kind == ObjectKind.EVENT else None
        if match and match["status"] == b"ENABLE" and _is_over(server, one, match[0]):
            off.append(one.name)
            begin, end = match.span("status")
            text = one.text[:begin] + b"DISABLE" + one.text[end:]
            one = replace(one, text=text, extra={**one.extra, "status": "DISABLED"})  # noqa: PLW2901 (the same one)
        out.append(one)
    return tuple(out), tuple(off)


def run(server: Server, database: str, statement: bytes) -> None:
    """Run an ALTER TABLE of ``deferred.split_keys`` in *database*; raises LoadFailed."""
    with _said(Definition(kind=TABLE, name="", text=statement)):
        table = Definition(kind=TABLE, name="", text=b"")
        with _made_like(server, database, table):
            persistently(server, statement)


def persistently(server: Server, statement: bytes) -> None:
    """Run DDL again that met another of ours: nothing of it has happened then.

    MySQL locks both ends of a foreign key, so tables that point at each other can meet in a
    deadlock. MariaDB refuses to drop or alter a table at once (1205) while one whose foreign key
    points at it is being dropped, whatever the timeouts of the session.
    """
    for left in reversed(range(TRIES)):
        began = time.monotonic()
        try:
            server.run_bytes(statement)
        except QueryFailed as error:
            refused = error.number == LOCKED and time.monotonic() - began < AT_ONCE_SECONDS
            if not left or not (refused or error.number == DEADLOCK):
                raise
            time.sleep(0.01 * (TRIES - left) if refused else 0)
        else:
            return


def _create(server: Server, database: str, definition: Definition) -> None:
    with _made_like(server, database, definition):
        persistently(server, _statement(server, definition))
        if definition.kind == ObjectKind.SEQUENCE:
            _put(server, definition)


@contextlib.contextmanager
def _made_like(server: Server, database: str, definition: Definition) -> Iterator[None]:
    """Prepare the session as it was when *definition* was made."""
    modes = TABLE_MODES if server.is_mariadb else "ALLOW_INVALID_DATES"
    settings = OURS | {"sql_mode": modes if definition.kind == TABLE else definition.sql_mode}
    if definition.charset_client:
        settings["character_set_client"] = definition.charset_client
        settings["collation_connection"] = definition.collation_connection
    if definition.time_zone:
        settings["time_zone"] = definition.time_zone
    wished = WISHED
    if "created" in definition.extra:
        # An event whose time is over would be dropped at once, or not be created at all.
        wished = wished | {"timestamp": int(definition.extra["created"])}
    with (
        _collated(server, database, definition.database_collation),
        prepared(server, database, settings, wished=wished),
    ):
        yield


@contextlib.contextmanager
def _collated(server: Server, database: str, collation: str) -> Iterator[None]:
    """Give *database* another collation for a moment: objects with bodies remember it.

    There is no variable for it: the server looks at the database itself.
    """
    sql = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    before = server.value(sql, (database,)) if collation else ""
    if before == collation or not before:
        yield
        return
    server.run(f"ALTER DATABASE {quote(database)} COLLATE {collation}")
    try:
        yield
    finally:
        server.run(f"ALTER DATABASE {quote(database)} COLLATE {before}")


def _statement(server: Server, definition: Definition) -> bytes:
    text = definition.text
    if definition.kind == TABLE:
        text = table_statement(definition, mariadb=server.is_mariadb)
    elif definition.kind == ObjectKind.EVENT:
        match = _status(definition)
        if match and match["status"] == b"ENABLE":
            begin, end = match.span("status")
            text = text[:begin] + b"DISABLE" + text[end:]
    return _converted(server, definition, text)


def table_statement(definition: Definition, *, mariadb: bool) -> bytes:
    """Return the CREATE TABLE of a table, with its AUTO_INCREMENT."""
    text = hex_strings(definition.text)
    if not mariadb:
        text = without_own_collations(text)
    spot = auto_increment_spot(text)
    if spot is not None and "auto_increment" in definition.extra:
        position = definition.extra["auto_increment"].encode()
        text = b"%s AUTO_INCREMENT=%s%s" % (text[:spot], position, text[spot:])
    return text


def without_own_collations(text: bytes) -> bytes:
    """Return a CREATE TABLE of MySQL without the collations that columns have from their table.

    MySQL remembers whether a column was given one; to a column that was not it shows COLLATE
    without CHARACTER SET, but only a column created without both is shown like that again.
    """
    found = table_items(text)
    if not found:
        return text
    begin, items, end = found
    kept = [_COLLATED.sub(rb"\g<column>", item, 1) if _COLLATED.match(item) else item
            for item in items]  # fmt: skip
    return text[: begin + 1] + b"\n  " + b",\n  ".join(kept) + b"\n" + text[end:]


def _status(event: Definition) -> re.Match[bytes] | None:
    head = _HEAD.match(event.text)
    return _STATUS.match(event.text, head.end()) if head else None


def _is_over(server: Server, event: Definition, schedule: bytes) -> bool:
    """Tell whether the only time at which *event* runs is over; the server knows its zone."""
    once = _ONCE.match(schedule)
    if once is None:
        return False
    sql = "SELECT CONVERT_TZ(%s, %s, '+00:00') < UTC_TIMESTAMP()"
    return bool(server.value(sql, (once["at"].decode(), event.time_zone or "SYSTEM")))


def _put(server: Server, sequence: Definition) -> None:
    """Put a new sequence where the old one stood: a row inserted replaces the only one."""
    row = list(server.query(f"SELECT * FROM {quote(sequence.name)}")[0])
    row[0], row[-1] = sequence.extra["position"], sequence.extra["cycles"]
    values = ", ".join(str(value) for value in row)
    server.run(f"INSERT INTO {quote(sequence.name)} VALUES ({values})")


def _converted(server: Server, definition: Definition, text: bytes) -> bytes:
    """Return *text* with what the server shows as UTF-8 in the character set of the old client."""
    charset = definition.charset_client
    if charset in UTF8 or text.isascii():
        return text
    for part in shown_as_utf8(definition, text, mariadb=server.is_mariadb):
        if not part.isascii():
            text = text.replace(part, _in_charset(server, part, charset), 1)
    return text


def shown_as_utf8(definition: Definition, text: bytes, *, mariadb: bool) -> tuple[bytes, ...]:
    """Return the parts of *text* that are UTF-8, whatever the client's character set was.

    That is, of triggers the definer, of events all but the body, of routines type and comment; on
    MySQL also all before the body of a trigger, and name and definer of a routine.
    """
    if definition.kind == ObjectKind.VIEW:
        return ()
    head = text[: _end_of_head(definition, text, mariadb=mariadb)]
    if definition.kind in (ObjectKind.TRIGGER, ObjectKind.EVENT):
        return (head,)
    returns = _RETURNS.search(text)
    comment = _escaped(definition.extra.get("comment", ""), definition.sql_mode)
    shown = returns[0] if returns else b"", b"    COMMENT '%s'\n" % comment
    return shown if mariadb else (head, *shown)


def _end_of_head(definition: Definition, text: bytes, *, mariadb: bool) -> int:
    head = None if mariadb else _MYSQL_TRIGGER.match(text)
    head = head or _HEAD.match(text)
    end = head.end() if head else 0
    status = _STATUS.match(text, end) if definition.kind == ObjectKind.EVENT else None
    return status.end() if status else end


def _escaped(comment: str, sql_mode: str) -> bytes:
    """Return *comment* as SHOW CREATE PROCEDURE puts it between quotes."""
    text = comment.replace("'", "''")
    if "NO_BACKSLASH_ESCAPES" not in sql_mode:
        for letter, shown in (("\\", "\\\\"), ("\0", "\\0"), ("\n", "\\n"), ("\r", "\\r")):
            text = text.replace(letter, shown)
    return text.encode("utf-8", "surrogateescape")


def _in_charset(server: Server, text: bytes, charset: str) -> bytes:
    if text.isascii() or charset in UTF8:
        return text
    converted = server.value(
        f"SELECT HEX(CONVERT(CONVERT(X'{text.hex()}' USING utf8mb4) USING {charset}))"
    )
    return bytes.fromhex(str(converted))


def _without_definer(error: QueryFailed) -> str:
    """Return what to do about a definer that does not exist, of this object or one it uses."""
    found = _NO_DEFINER.search(error.message) if error.number == NO_SUCH_DEFINER else None
    if found is None:
        return ""
    account = f"{quote(found['user'])}@{quote(found['host'])}"
    return (
        f"as an administrator: CREATE USER {account} ACCOUNT LOCK; and give it the rights that "
        "these objects need"
    )


@contextlib.contextmanager
def _said(definition: Definition) -> Iterator[None]:
    try:
        yield
    except QueryFailed as error:
        what = f"{definition.kind} {definition.name}".strip()
        hint = _without_definer(error) or HINTS.get(error.number, error.hint)
        raise LoadFailed(f"{what} could not be created: {error.message}", hint=hint) from None
