"""What stands against a swap, looked for before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable

from ulasis_backup.errors import Refused, ServerUnsuitable
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.beside import OURS, Names, is_beside
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.privileges import WRITING, Missing, has, read_grants
from ulasis_backup.mysql.privileges import account as account_of
from ulasis_backup.mysql.server import Server, quote

IN_PLACE = "restore with --in-place, which replaces the tables where they are"
OLDEST = {True: (10, 6, 0), False: (8, 0, 0)}
"""From these versions of MariaDB (True) and MySQL on a statement moves all tables or none."""

LEAST_WRITE_LOCKS = 1_000_000
"""``max_write_lock_count`` below which writers may be let past waiting locks."""

UNMOVABLE = frozenset({"mrg_myisam", "merge", "federated", "federatedx", "connect", "spider"})
"""Engines whose tables point at others: by name, or by where their own files are."""


def refuse_unmovable(server: Server, names: Names, tables: frozenset[str] | None) -> None:
    """Raise Refused or ServerUnsuitable if tables of the database cannot be exchanged."""
    if is_beside(names.database):
        message = f"{names.database} has the name of a schema that a restore keeps aside"
        raise Refused(message, hint="restore into the database itself, see --target-database")
    if server.version.numbers < OLDEST[server.is_mariadb]:
        message = f"{server.version.version} does not move several tables as one"
        raise ServerUnsuitable(message, hint=IN_PLACE)
    _refuse_ours(server, names.database)
    for database in (names.database, names.restore):
        _refuse_engines(server, database, tables)
    _refuse_keys(server, names, tables)


def refuse_undo(
    server: Server, names: Names, tables: frozenset[str] | None, old: Iterable[Definition]
) -> None:
    """Raise Refused or ServerUnsuitable if what came since stands against swapping back.

    *tables* are those that are meant, *old* the objects that come back.
    """
    again = "then undo again"
    _refuse_engines(server, names.database, tables, hint=f"move it away, {again}")
    _refuse_keys(server, names, tables, hint=f"drop these keys, {again}, and make them anew")
    if tables is not None:
        refuse_taken_names(server, names, tables, old, hint=f"drop that trigger, {again}")


def refuse_triggers(
    server: Server, names: Names, old: Iterable[Definition], new: Iterable[Definition]
) -> None:
    """Raise Refused or ServerUnsuitable if the triggers among *old* and *new* cannot be exchanged.

    *old* are all triggers of the tables that move out.
    """
    triggers = [one for one in (*old, *new) if one.kind == ObjectKind.TRIGGER]
    trigger_collation(server, names.database, triggers)
    if not server.is_mariadb or not triggers:
        return
    # What `swap_handover` rests on: the order in which locks are served, and taken.
    count = int(server.value("SELECT @@GLOBAL.max_write_lock_count"))
    if count < LEAST_WRITE_LOCKS:
        message = f"max_write_lock_count is {count}: writers would get between the triggers"
        hint = "SET GLOBAL max_write_lock_count = 4294967295; then again, or with --in-place"
        raise ServerUnsuitable(message, hint=hint)
    places = (names.database, names.restore, names.before)
    home, *others = [f"{name}\0".encode("utf-8", "surrogateescape") for name in places]
    if min(others) < home:
        message = f"the name of {names.database} is too long to exchange tables with triggers"
        raise ServerUnsuitable(message, hint=IN_PLACE)


def refuse_taken_names(
    server: Server,
    names: Names,
    tables: frozenset[str],
    new: Iterable[Definition],
    *,
    hint: str = f"name that table in --tables too, or {IN_PLACE}",
) -> None:
    """Raise Refused where triggers that stay have the names of *new* ones."""
    rows = server.query(
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
        "WHERE TRIGGER_SCHEMA = %s",
        (names.database,),
    )
    staying = {str(name): str(table) for name, table in rows if table not in tables}
    for one in new:
        if one.kind == ObjectKind.TRIGGER and one.name in staying:
            message = f"trigger {one.name} is on table {staying[one.name]} now, which stays"
            raise Refused(message, hint=hint)


def missing_for_swap(server: Server, names: Names) -> tuple[Missing, ...]:
    """Return the rights that are missing on the schemas beside the database."""
    grants = read_grants(server)
    pattern = names.restore.partition("__restore_")[0].replace("_", r"\_").replace("%", r"\%")
    scope = f"{quote(pattern + chr(92) + '_' + chr(92) + '_%')}.*"
    needed = [
        right
        for right in WRITING
        if not all(has(grants, right, name) for name in (names.restore, names.before, names.undone))
    ]
    purpose = "load beside the database and keep what is replaced"
    statement = f"GRANT {', '.join(needed)} ON {scope} TO {account_of(server)};"
    return tuple(Missing(right=right, purpose=purpose, statement=statement) for right in needed)


def trigger_collation(server: Server, database: str, objects: Iterable[Definition]) -> str:
    """Return the collation that *database* needs while the triggers among *objects* are created.

    Empty where it has it, or none is needed. A trigger remembers the collation that its database
    had, which cannot be changed while tables are locked. Raises ServerUnsuitable for several.
    """
    wanted = {one.database_collation for one in objects if one.kind == ObjectKind.TRIGGER} - {""}
    if len(wanted) > 1:
        message = f"triggers were made when {database} had other collations: {sorted(wanted)}"
        raise ServerUnsuitable(message, hint=IN_PLACE)
    options = schema.database_options(server, database)
    have = options.collation if options else ""
    return "".join(wanted - {have})


def _refuse_ours(server: Server, database: str) -> None:
    have = {table.name for table in schema.catalogue(server, database).tables}
    if have & OURS:
        message = f"{database} has a table {min(have & OURS)}: a swap of it is incomplete"
        raise Refused(message, hint="`ulasis-backup settle` finishes it or takes it back")


def _refuse_engines(
    server: Server, database: str, tables: frozenset[str] | None, *, hint: str = IN_PLACE
) -> None:
    for table in schema.catalogue(server, database).tables:
        engine = (table.engine or "").lower()
        if (tables is not None and table.name not in tables) or table.is_sequence:
            continue
        if table.engine is None:
            message = f"table {database}.{table.name} cannot be opened by the server"
            raise Refused(message, hint="repair or drop it, then again")
        if engine in UNMOVABLE or (not server.is_mariadb and engine != "innodb"):
            message = f"table {database}.{table.name} ({table.engine}) does not move with others"
            raise ServerUnsuitable(message, hint=hint)


def _refuse_keys(
    server: Server, names: Names, tables: frozenset[str] | None, *, hint: str = ""
) -> None:
    """Refuse foreign keys between what moves and what stays: they would follow what moves."""
    home = names.database
    rows = server.query(
        "SELECT DISTINCT CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA, "
        "REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE "
        "REFERENCED_TABLE_NAME IS NOT NULL AND (TABLE_SCHEMA = %s OR REFERENCED_TABLE_SCHEMA = %s)",
        (home, home),
    )

    is_exact = str(server.value("SELECT @@lower_case_table_names")) == "0"

    def moves(database: str, table: str) -> bool:
        is_home = database == home or (not is_exact and database.casefold() == home.casefold())
        return is_home and (tables is None or table in tables)

    crossing = [
        f"{key} of {child[0]}.{child[1]} to {parent[0]}.{parent[1]}"
        for key, *ends in rows
        for child, parent in [(ends[:2], ends[2:])]
        if moves(*child) != moves(*parent)
    ]
    if crossing:
        message = f"foreign keys join what is replaced with what stays: {'; '.join(crossing[:3])}"
        way = IN_PLACE if tables is None else f"name all of them in --tables, or {IN_PLACE}"
        raise Refused(message, hint=hint or way)
