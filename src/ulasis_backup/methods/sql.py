"""The ``sql`` method: a dump by mariadb-dump or mysqldump, guarded, read along, and checked.

Nothing that this module yields can become a backup unless the dump program succeeded, its end
mark is there, every object of the catalogue is in the dump, and the schema held still.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ulasis_backup.errors import (
    DumpFailed,
    LoginRefused,
    PrivilegeMissing,
    SchemaChanged,
    ServerError,
    ServerUnreachable,
    ServerUnsuitable,
)
from ulasis_backup.methods.base import Captured
from ulasis_backup.methods.contents import Contents, ContentsReader
from ulasis_backup.methods.mend import quote_triggers
from ulasis_backup.methods.sections import Piece, split
from ulasis_backup.methods.witness import look, witness_of
from ulasis_backup.model import LeftOut, Login, ObjectKind, TextLoss, Witness
from ulasis_backup.mysql import privileges, programs, schema
from ulasis_backup.mysql.beside import RESTORING
from ulasis_backup.mysql.definitions import Definition
from ulasis_backup.mysql.guard import GuardOptions, SchemaGuard, guarded, tables_locked
from ulasis_backup.mysql.losses import find_losses
from ulasis_backup.mysql.privileges import Missing
from ulasis_backup.mysql.programs import Program, ProgramFailed
from ulasis_backup.mysql.restoring import find
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, Server
from ulasis_backup.mysql.unprintable import refuse_unprintable
from ulasis_backup.streams.keys import DataKey
from ulasis_backup.streams.pipeline import Chunks

OPTIONS = (
    "--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
    "--order-by-primary", "--default-character-set=utf8mb4", "--no-tablespaces",
    "--skip-dump-date", "--add-drop-trigger", "--skip-add-locks", "--max-allowed-packet=1G",
)  # fmt: skip
"""LOCK TABLES in a dump would keep columns with DEFAULT NEXTVAL(…) from loading; names come
from the DROP statements; without a date equal data gives equal bytes."""

POSITION_OPTIONS = {"mariadb": "--master-data=2", "mysql": "--source-data=2"}
CUTTING_VARIABLES = {
    "sql_select_limit": (18_446_744_073_709_551_615, "every table would be cut to that many rows"),
    "system_versioning_asof": ("DEFAULT", "versioned tables would be dumped as of that time"),
}
ERRORS: tuple[tuple[str, type[ServerError], str], ...] = (
    ("1412", SchemaChanged, "run the backup again when the migration is done"),
    ("1054", SchemaChanged, "a table changed in mid-run; run the backup again"),
    ("1045", LoginRefused, "check DB_USER and its password"),
    ("1044", PrivilegeMissing, "`ulasis-backup check` prints the missing GRANT"),
    ("1142", PrivilegeMissing, "`ulasis-backup check` prints the missing GRANT"),
    ("1227", PrivilegeMissing, "`ulasis-backup check` prints the missing GRANT"),
    ("2002", ServerUnreachable, "is the server running?"),
    ("2003", ServerUnreachable, "is the server running?"),
    ("2006", ServerUnreachable, "the server went away in the middle; see its error log"),
    ("2013", ServerUnreachable, "the server went away in the middle; see its error log"),
)
CRASHED = ("crashed", "1194", "1195", "(145)", "(144)", "1034", "1035")
_HARMLESS = re.compile(r"(?i)\s*SET\s+(?:NAMES\s+\w+|autocommit\s*=\s*\w+)\s*;?\s*")
DAMAGED = frozenset({126, 127, 130, 134, 135, 144, 145, 1033, 1034, 1035, 1194, 1195})
DAMAGED_HINT = "a table is damaged: CHECK TABLE names it, REPAIR TABLE mends MyISAM and Aria"
MISSING_TABLE = ("1146", "doesn't exist")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlOptions:
    """What a user may choose about dumps."""

    lock_tables: bool = True
    block_ddl: bool = True
    ddl_wait: int = 10
    allow_partial: bool = False
    look_for_losses: bool = True
    witness: bool = True
    programs_folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpPlan:
    """Everything that is decided before the first byte is read."""

    database: str
    program: Program
    arguments: tuple[str, ...]
    catalogue: Catalogue
    locked: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    text_losses: tuple[TextLoss, ...]
    fallbacks: tuple[str, ...]
    partial: bool
    max_packet: int


def plan_dump(server: Server, database: str, options: SqlOptions) -> DumpPlan:
    """Look at server and database and decide how to dump; nothing is read yet.

    Raises ServerUnsuitable, PrivilegeMissing (unless ``allow_partial``), ProgramMissing,
    SettingsError when there is no such database.
    """
    schema.need_database(server, database)
    refuse_cutting_variables(server)
    refuse_unprintable(server, database)
    found = schema.catalogue(server, database)
    needing = [table.name for table in found.tables if table.needs_lock]
    missing = privileges.missing_for_backup(
        server, database, locks=bool(needing) and options.lock_tables
    )
    if missing and not options.allow_partial:
        raise privileges.refuse(missing, partial_hint=True)
    broken = schema.broken_views(server, database, found)
    program = programs.dump_program(server.version, folder=options.programs_folder)
    position, fallbacks = _position_options(server)
    if missing:
        fallbacks += ("partial: rights are missing, objects may be missing unseen",)
    lock = options.lock_tables and not missing
    if position and needing and lock and not server.is_mariadb:
        # For a position mysqldump flushes all tables, and would wait for our own locks for ever.
        position = ()
        fallbacks += (f"no position: tables without transactions are locked: {_some(needing)}",)
    if needing and not lock:
        fallbacks += (f"not locked, may change while dumped: {_some(needing)}",)
    return DumpPlan(
        database=database,
        program=program,
        arguments=(
            *OPTIONS,
            *_flavour_options(server, database),
            *position,
            *_partial_options(missing, database, found),
            *(f"--ignore-table={database}.{view.name}" for view in broken),
            *([f"--ignore-table={database}.{RESTORING}"] if find(server, database) else ()),
        ),
        catalogue=found,
        locked=tuple(needing) if lock else (),
        left_out=broken,
        text_losses=find_losses(server, database, found) if options.look_for_losses else (),
        fallbacks=fallbacks,
        partial=bool(missing),
        max_packet=int(server.value("SELECT @@GLOBAL.max_allowed_packet")),
    )


def refuse_cutting_variables(server: Server) -> None:
    """Raise ServerUnsuitable where a global setting would cut a dump without any error."""
    for name, (harmless, effect) in CUTTING_VARIABLES.items():
        rows = server.query("SHOW GLOBAL VARIABLES LIKE %s", (name,))
        if rows and str(rows[0][1]) != str(harmless):
            message = f"the server's global {name} is {rows[0][1]}: {effect}"
            hint = f"run as an administrator: SET GLOBAL {name} = DEFAULT;"
            raise ServerUnsuitable(message, hint=hint)
    _refuse_init_connect(server)


def _refuse_init_connect(server: Server) -> None:
    """Raise ServerUnsuitable where the server prepares the dump program's session its own way."""
    statement = str(server.value("SELECT @@GLOBAL.init_connect") or "")
    if not statement or _HARMLESS.fullmatch(statement):
        return
    if not privileges.has_global(server, "SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN"):
        message = f"the server's init_connect runs in the dump program's session: {statement[:80]}"
        right = "CONNECTION ADMIN" if server.is_mariadb else "CONNECTION_ADMIN"
        hint = f"it could cut the dump; empty it, or GRANT {right} ON *.* TO "
        raise ServerUnsuitable(message, hint=f"{hint}{privileges.account(server)};")


class SqlCapture:
    """One dump of one database; see ``methods.base.Capture``.

    *change* is how pieces are to be read where they are compared, not stored.
    """

    def __init__(
        self,
        plan: DumpPlan,
        login: Login,
        options: SqlOptions,
        data_key: DataKey | None,
        *,
        change: Callable[[Piece], Piece] | None = None,
    ) -> None:
        self._change = change
        self._plan = plan
        self._login = login
        self._options = options
        self._data_key = data_key
        self._reader = ContentsReader(data_key)
        self._witness: tuple[Witness, ...] = ()
        self._warnings: list[str] = []
        self._fallbacks = list(plan.fallbacks)
        self._contents: Contents | None = None

    def chunks(self) -> Chunks:
        """Yield the dump; everything that makes it unfit raises at the end."""
        plan, options = self._plan, self._options
        with _damage_named(), ExitStack() as stack:
            locks = stack.enter_context(tables_locked(self._login, plan.database, plan.locked))
            guard = stack.enter_context(
                guarded(
                    self._login, plan.database, plan.catalogue,
                    options=GuardOptions(block=options.block_ddl, wait=options.ddl_wait),
                    locks=locks,
                )
            )  # fmt: skip
            before = self._look()
            yield from self._dump()
            self._contents = self._reader.result()
            if not plan.partial:
                _expect_everything(plan, self._contents)
            after = self._look()
            locks.check()
            guard.check()
            self._note_guard(guard)
            self._note_packet()
            if before is not None and after is not None:
                self._witness = witness_of(before, after, self._data_key)

    def contents(self) -> Contents:
        """Return the dump's tables, objects and digests."""
        if self._contents is None:
            msg = "the dump has not ended"
            raise RuntimeError(msg)
        return self._contents

    def captured(self) -> Captured:
        """Return what the dump contained, and what has to be said about it."""
        plan, contents = self._plan, self.contents()
        return Captured(
            program=plan.program.version,
            plain=contents.plain,
            tables=contents.tables,
            objects=contents.objects,
            position=contents.position,
            left_out=plan.left_out,
            text_losses=plan.text_losses,
            fallbacks=tuple(self._fallbacks),
            warnings=tuple(self._warnings),
            witness=self._witness,
        )

    def _look(self) -> tuple[Definition, ...] | None:
        """Return what the server itself shows, where that is wanted and may be seen."""
        plan = self._plan
        if plan.partial or not self._options.witness:
            return None
        return look(self._login, plan.database, plan.catalogue, plan.left_out)

    def _dump(self) -> Generator[bytes, None, None]:
        plan = self._plan
        flavour = plan.program.flavour
        with programs.option_file(self._login, flavour) as (first, inherit):
            command = [plan.program.path, first, *plan.arguments, "--", plan.database]
            output = programs.read_from(command, inherit=inherit, warnings=self._warnings)
            with closing(output):
                try:
                    triggers = plan.catalogue.names(ObjectKind.TRIGGER)
                    for piece in quote_triggers(split(output), triggers):
                        self._reader.update(self._change(piece) if self._change else piece)
                        yield piece.data
                except ProgramFailed as error:
                    raise _dump_error(error) from None

    def _note_packet(self) -> None:
        longest, limit = self.contents().longest_statement, self._plan.max_packet
        if longest > limit:
            self._fallbacks.append(
                f"a restore needs max_allowed_packet of at least {longest:,} bytes on the server, "
                f"it is {limit:,} here"
            )

    def _note_guard(self, guard: SchemaGuard) -> None:
        if guard.lost and self._options.block_ddl:
            self._fallbacks.append(f"DDL was not held back: {guard.lost}")
        if guard.unchecked:
            self._fallbacks.append(
                "ddl-unchecked: without PROCESS a TRUNCATE during the dump goes unseen"
            )


@contextmanager
def _damage_named() -> Iterator[None]:
    """Say what to do when one of our own statements meets a damaged table."""
    try:
        yield
    except QueryFailed as error:
        if error.number in DAMAGED:
            raise DumpFailed(error.message, hint=DAMAGED_HINT) from None
        raise


def _position_options(server: Server) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the option that writes the binlog position, and what to say where there is none."""
    if str(server.value("SELECT @@log_bin")) not in ("1", "ON"):
        return (), ()
    if not privileges.has_global(server, "BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"):
        return (), ("no position: the login lacks BINLOG MONITOR (REPLICATION CLIENT)",)
    if not server.is_mariadb and not privileges.has_global(server, "RELOAD"):
        return (), ("no position: the login lacks RELOAD",)
    return (POSITION_OPTIONS[server.version.flavour],), ()


def _partial_options(
    missing: tuple[Missing, ...], database: str, found: Catalogue
) -> Iterator[str]:
    """Yield the options that leave out what the dump program would stumble over."""
    rights = {entry.right for entry in missing}
    if "EVENT" in rights:
        yield "--skip-events"
    if "TRIGGER" in rights:
        yield "--skip-triggers"
    if any(entry.for_routines for entry in missing):
        yield "--skip-routines"
    if "SHOW VIEW" in rights:
        for view in found.names(ObjectKind.VIEW):
            yield f"--ignore-table={database}.{view}"


def _flavour_options(server: Server, database: str) -> list[str]:
    if not server.is_mariadb:
        return ["--set-gtid-purged=OFF"]
    versioned = server.value(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s "
        "AND TABLE_TYPE = 'SYSTEM VERSIONED'",
        (database,),
    )
    return ["--dump-history"] if versioned and server.version.numbers >= (10, 11, 0) else []


def _expect_everything(plan: DumpPlan, contents: Contents) -> None:
    """Raise unless the dump holds exactly what the catalogue shows."""
    left_out = {(entry.kind, entry.name) for entry in plan.left_out}
    expected = {("table", t.name) for t in plan.catalogue.tables if not t.is_sequence}
    expected |= {(str(kind), name) for kind, name in plan.catalogue.objects}
    expected -= {(str(kind), name) for kind, name in left_out}
    got = {("table", table.name) for table in contents.tables}
    got |= {(str(entry.kind), entry.name) for entry in contents.objects}
    lacking, extra = expected - got, got - expected
    if lacking:
        names = _some([f"{kind} {name}" for kind, name in sorted(lacking)])
        hint = "run it again; if it stays so, report it with the output of `check`"
        raise DumpFailed(f"the dump lacks {names}", hint=hint)
    if extra:
        names = _some([f"{kind} {name}" for kind, name in sorted(extra)])
        raise SchemaChanged(f"{names} was created while the dump ran", hint="run it again")


def _dump_error(error: ProgramFailed) -> ServerError:
    """Say what the dump program's error means and what to do."""
    said = error.said
    if any(word in said for word in CRASHED):
        return DumpFailed(error.message, hint=DAMAGED_HINT)
    for number, kind, hint in ERRORS:
        if re.search(rf"\({number}\)|[Ee]rror:? {number}:|ERROR {number} ", said):
            return kind(error.message, hint=hint)
    if any(word in said for word in MISSING_TABLE):
        return SchemaChanged(error.message, hint="a table vanished in mid-run; run it again")
    hint = "see the message above; the server's error log may say more"
    if not said:
        hint = "it gave no reason, as when its connection is cut: see the server's error log"
    return DumpFailed(error.message, hint=hint)


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
