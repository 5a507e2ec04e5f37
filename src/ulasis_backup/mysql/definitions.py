"""The definitions of all objects of a database, byte for byte as the server shows them.

Bodies of routines, triggers and events are stored in the character set of the client that made
them, and are shown in it when ``character_set_results`` is NULL: the texts are bytes, not letters.
Names, definers and comments beside them are UTF-8, whatever the client's character set.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ulasis_backup.errors import PrivilegeMissing
from ulasis_backup.model import LeftOut, ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.prepared import Value, prepared
from ulasis_backup.mysql.privileges import account, routine_right
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server, quote, quote_bytes
from ulasis_backup.mysql.tokens import TABLE_TOKEN, table_options

Beside = dict[tuple[ObjectKind, str], dict[str, str]]

TABLE = "table"
ORDER = (
    ObjectKind.FUNCTION, ObjectKind.PROCEDURE, ObjectKind.PACKAGE, ObjectKind.PACKAGE_BODY,
    ObjectKind.VIEW, ObjectKind.TRIGGER, ObjectKind.EVENT,
)  # fmt: skip
"""The order of objects behind sequences and tables: views may call functions, events all of it."""

READING: dict[str, Value] = {"character_set_results": None, "time_zone": "+00:00"}
READING_WISHED: dict[str, Value] = {
    "sql_quote_show_create": 1,
    # MariaDB 11: a collation that is the default of its character set is shown all the same.
    "character_set_collations": "",
    # MySQL: what it added by itself is part of the table, what others left out is not.
    "show_gipk_in_create_table_and_information_schema": 1,
    "show_create_table_verbosity": 0,
    "show_create_table_skip_secondary_engine": 0,
}
SHOWN_OPTIONS = "IGNORE_BAD_TABLE_OPTIONS"
"""In this sql_mode MariaDB shows options that no engine knows as options, else as a comment."""

UTF8 = frozenset({"utf8", "utf8mb3", "utf8mb4", "binary", ""})
_AUTO_INCREMENT = re.compile(rb" AUTO_INCREMENT=(\d+)(?= |\Z)")
_ENGINE = re.compile(rb"\)(?: /\*!\d+ [^*]*\*/)? ENGINE=\w+")
_FIELDS = ("sql_mode", "character_set_client", "collation_connection", "database collation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One object: how the server shows it, and the settings it was made with.

    ``kind`` is ``table`` or an ObjectKind. ``extra`` holds what stands beside the text: of tables
    ``auto_increment``; of sequences ``position`` and ``cycles``; of triggers ``table``,
    ``timing``, ``event`` and ``order``; of events ``status`` and ``created`` (seconds, UTC); of
    routines of old clients ``comment``.
    """

    kind: str
    name: str
    text: bytes
    sql_mode: str = ""
    charset_client: str = ""
    collation_connection: str = ""
    database_collation: str = ""
    time_zone: str = ""
    extra: dict[str, str] = field(default_factory=dict)


def read_definitions(
    server: Server, database: str, found: Catalogue, *, left_out: Collection[LeftOut] | None = None
) -> tuple[Definition, ...]:
    """Return everything in *database*, in an order in which it can be created.

    Views that the server itself cannot read are not in it: *left_out*, of
    ``schema.broken_views``, which is asked when the caller has not done so already. Raises
    PrivilegeMissing where the login may not see a definition.
    """
    if left_out is None:
        left_out = schema.broken_views(server, database, found)
    broken = {view.name for view in left_out if view.kind is ObjectKind.VIEW}
    with _reading(server, database):
        return tuple(_read(server, database, found, broken))


def read_table(server: Server, database: str, name: str) -> Definition:
    """Return one table as ``read_definitions`` does."""
    with _reading(server, database):
        return _table(server, database, name)


def with_positions_now(
    server: Server, database: str, definitions: Iterable[Definition]
) -> tuple[Definition, ...]:
    """Return *definitions* with each sequence where it stands now.

    No snapshot covers a sequence. Read once the snapshots are open, it is behind every number
    that their rows can hold.
    """
    return tuple(
        replace(one, extra=_position(server, f"{quote(database)}.{quote(one.name)}"))
        if one.kind == ObjectKind.SEQUENCE
        else one
        for one in definitions
    )


def digest_bytes(definition: Definition) -> bytes:
    """Return what is equal exactly when two objects are: text and settings, not positions.

    AUTO_INCREMENT, the position of a sequence and the time of creation are not in it.
    """
    extra = definition.extra
    parts = [
        definition.kind, definition.name, definition.sql_mode, definition.charset_client,
        definition.collation_connection, definition.database_collation, definition.time_zone,
        *(extra.get(name, "") for name in ("table", "timing", "event", "order", "status")),
    ]  # fmt: skip
    encoded = [part.encode("utf-8", "surrogateescape") for part in parts]
    return b"".join(b"%d:%s," % (len(part), part) for part in [*encoded, definition.text])


def auto_increment_spot(text: bytes) -> int | None:
    """Return where in the text of a table AUTO_INCREMENT stands or would, None if nowhere."""
    options = table_options(text)
    match = None if options is None else _ENGINE.match(text, options)
    return match.end() if match else None


def _reading(server: Server, database: str) -> contextlib.AbstractContextManager[None]:
    mode = SHOWN_OPTIONS if server.is_mariadb else ""
    return prepared(server, database, {"sql_mode": mode, **READING}, wished=READING_WISHED)


def _read(
    server: Server, database: str, found: Catalogue, broken: set[str]
) -> Iterator[Definition]:
    # In an order of our own: to the server `Case` and `case` may be equal.
    for table in sorted(found.tables, key=lambda table: (not table.is_sequence, table.name)):
        if table.is_sequence:
            yield _sequence(server, table.name)
        else:
            yield _table(server, database, table.name)
    beside = _beside(server, database)
    for kind in ORDER:
        for name in sorted(found.names(kind), key=lambda name: _place(beside, (kind, name))):
            if kind is not ObjectKind.VIEW or name not in broken:
                yield _object(server, database, (kind, name), extra=beside.get((kind, name), {}))


def _place(beside: Beside, which: tuple[ObjectKind, str]) -> tuple[str, str, str, int, str]:
    """Return where an object stands among its kind: triggers of one event in their order."""
    extra = beside.get(which, {})
    table, timing, event = (extra.get(key, "") for key in ("table", "timing", "event"))
    return table, timing, event, int(extra.get("order", 0)), which[1]


def _table(server: Server, database: str, name: str) -> Definition:
    text = _unqualified(_show(server, "TABLE", name)["create table"], database)
    extra: dict[str, str] = {}
    spot = auto_increment_spot(text)
    match = None if spot is None else _AUTO_INCREMENT.match(text, spot)
    if match:
        extra["auto_increment"] = match[1].decode()
        text = text[: match.start()] + text[match.end() :]
    return Definition(kind=TABLE, name=name, text=text, extra=extra)


def _sequence(server: Server, name: str) -> Definition:
    text = _show(server, "SEQUENCE", name)["create table"]
    extra = _position(server, quote(name))
    return Definition(kind=ObjectKind.SEQUENCE, name=name, text=text, extra=extra)


def _position(server: Server, sequence: str) -> dict[str, str]:
    columns = "next_not_cached_value, cycle_count"
    position, cycles = server.query(f"SELECT {columns} FROM {sequence}")[0]
    return {"position": str(position), "cycles": str(cycles)}


def _object(
    server: Server, database: str, which: tuple[ObjectKind, str], *, extra: dict[str, str]
) -> Definition:
    kind, name = which
    shown = _show(server, kind.upper(), name)
    text = shown.get(f"create {kind}", shown.get("sql original statement"))
    if text is None:
        what = f"the definition of {kind} {name}"
        hint = f"an administrator may have to GRANT more to {account(server)}; see `check`"
        if kind not in (ObjectKind.VIEW, ObjectKind.TRIGGER, ObjectKind.EVENT):
            hint = f"run as an administrator: {routine_right(server).statement}"
        raise PrivilegeMissing(f"{server.login.user} may not read {what}", hint=hint)
    if kind is ObjectKind.VIEW:
        text = _unqualified(text, database)
    mode, client, connection, collation = (_word(shown.get(name)) for name in _FIELDS)
    if client in UTF8:
        # Shown and sent in the same character set, a comment needs no care.
        extra = {key: extra[key] for key in extra if key != "comment"}
    return Definition(
        kind=kind, name=name, text=text, sql_mode=mode, charset_client=client,
        collation_connection=connection, database_collation=collation,
        time_zone=_word(shown.get("time_zone")), extra=extra,
    )  # fmt: skip


def _show(server: Server, kind: str, name: str) -> dict[str, Any]:
    try:
        row = server.run_bytes(b"SHOW CREATE %s %s" % (kind.encode(), quote_bytes(name)))[0]
    except QueryFailed as error:
        if error.number in schema.DENIED:
            hint = f"an administrator may have to GRANT more to {account(server)}; see `check`"
            raise PrivilegeMissing(f"{kind.lower()} {name}: {error.message}", hint=hint) from None
        raise
    return {column.lower(): value for column, value in row.items()}


def _word(value: bytes | None) -> str:
    return (value or b"").decode()


def _unqualified(text: bytes, database: str) -> bytes:
    """Return *text* without the schema's own name before sequences, where alone it is shown.

    ``nextval(`shop`.`s`)`` means the same without it to a session that is in the database.
    """
    own = quote_bytes(database)
    out: list[bytes] = []
    done = 0
    for token in TABLE_TOKEN.finditer(text):
        begin, end = token.span()
        if token[0] == own and text[end : end + 1] == b"." and text[:begin].endswith(b"val("):
            out.append(text[done:begin])
            done = end + 1
    return b"".join([*out, text[done:]])


def _beside(server: Server, database: str) -> Beside:
    """Return what SHOW CREATE does not tell, by kind and name."""
    beside: Beside = {}
    for name, table, timing, event, order in server.query(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER "
        "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
        (database,),
    ):
        described = {"table": table, "timing": timing, "event": event, "order": str(order)}
        beside[(ObjectKind.TRIGGER, name)] = described
    for name, status, created in server.query(
        "SELECT EVENT_NAME, STATUS, UNIX_TIMESTAMP(CREATED) FROM information_schema.EVENTS "
        "WHERE EVENT_SCHEMA = %s",
        (database,),
    ):
        beside[(ObjectKind.EVENT, name)] = {"status": status, "created": str(int(created))}
    for kind, name, comment in server.query(
        "SELECT ROUTINE_TYPE, ROUTINE_NAME, ROUTINE_COMMENT FROM information_schema.ROUTINES "
        "WHERE ROUTINE_SCHEMA = %s",
        (database,),
    ):
        described = {} if (comment or "").isascii() else {"comment": comment}
        beside[(ObjectKind(kind.lower()), name)] = described
    return beside
