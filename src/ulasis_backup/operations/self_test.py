"""``self-test``: find out what the programs that are installed here would lose.

A scratch server is filled with everything that is known to have broken backups (the trap schema);
it is backed up by each method, restored, and read again by value, in a way that owes nothing to
how backups read. A new version of a server or a client program may change what comes out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path

from ulasis_backup.config import read_config
from ulasis_backup.errors import CouldNotCheck, LoadFailed, NotEqual, ProgramMissing, UlasisError
from ulasis_backup.events import Observe, PhaseBegan, PhaseEnded, ignore
from ulasis_backup.methods import load
from ulasis_backup.mysql import programs
from ulasis_backup.mysql.programs import ProgramFailed
from ulasis_backup.mysql.scratch import scratch_server, server_program
from ulasis_backup.mysql.server import Server, connect, quote
from ulasis_backup.mysql.unprintable import unprintable
from ulasis_backup.mysql.values import Values, lost, read_values
from ulasis_backup.operations.backup import MadeBackup, back_up
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.operations.init import generate_key
from ulasis_backup.operations.jobs import BackupRequest
from ulasis_backup.operations.restore import RestoreRequest, restore
from ulasis_backup.repository.repository import Repository
from ulasis_backup.storage.local import LocalStorage
from ulasis_backup.streams.keys import parse_key

DATABASE = "ulasis_traps"
SESSION = "session"
DROPPABLE = ("table", "trigger", "event", "procedure", "function")


class Outcome(StrEnum):
    """What a method does to the traps."""

    EXACT = "exact"
    ANNOUNCED = "loses what it announces"
    LOSES = "loses more than it announces"
    FAILED = "failed"
    COULD_NOT_RUN = "could not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """How one method did. ``announced`` and ``lost`` name what did not come back as it was.

    ``announced`` was named when the backup was made; ``lost`` was not. ``refused`` are objects
    that it backs up nothing with, which it says. ``error`` says why it failed or could not run,
    ``hint`` what to do about it.
    """

    method: str
    outcome: Outcome
    announced: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The programs that were tried, in their own words; empty for one that is not there."""

    server: str = ""
    dump: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What was found. ``untried`` are traps that this version of the server does not know."""

    at: str
    versions: Versions
    results: tuple[MethodResult, ...]
    traps: int
    untried: tuple[str, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Tell whether nothing is lost that was not announced, and both methods were tried."""
        return all(r.outcome in (Outcome.EXACT, Outcome.ANNOUNCED) for r in self.results)

    @property
    def unfit(self) -> tuple[MethodResult, ...]:
        """Return the methods that lose something unannounced, or fail."""
        return tuple(r for r in self.results if r.outcome in (Outcome.LOSES, Outcome.FAILED))


def self_test(
    programs_folder: Path | None = None,
    observe: Observe = ignore,
    *,
    only: frozenset[str] = frozenset(),
) -> SelfTest:
    """Try both methods with the installed programs, of *programs_folder* if given.

    *only* are names of parts of the trap schema, where not all are wanted.
    Raises CouldNotCheck when there is no server program to try them with.
    """
    started = time.monotonic()
    with _world(programs_folder, observe) as (context, server):
        observe(PhaseBegan(name="traps", subject=DATABASE))
        traps, untried = _fill(server, programs_folder, only)
        before = read_values(server, DATABASE)
        observe(PhaseEnded(name="traps"))
        results = _try_all(context, server, before)
    return SelfTest(
        at=stamp(now()),
        versions=installed(programs_folder),
        results=results,
        traps=traps,
        untried=untried,
        seconds=time.monotonic() - started,
    )


def verdict_of(found: SelfTest) -> UlasisError | None:
    """Return the error that *found* amounts to: NotEqual, CouldNotCheck, or None."""
    if found.unfit:
        names = ", ".join(result.method for result in found.unfit)
        message = f"with the installed programs {names} would lose more than it says"
        if all(result.outcome is Outcome.FAILED for result in found.unfit):
            message = f"with the installed programs {names} fails"
        hint = "do not rely on it; use the other method, or programs of another version"
        return NotEqual(message, hint=hint)
    untried = [r for r in found.results if r.outcome is Outcome.COULD_NOT_RUN]
    if untried:
        return CouldNotCheck(f"{untried[0].method}: {untried[0].error}", hint=untried[0].hint)
    return None


def installed(programs_folder: Path | None = None) -> Versions:
    """Return the versions of the programs that ``self_test`` would try now."""
    try:
        server = server_program(programs_folder)
    except (ProgramMissing, ProgramFailed):
        return Versions()
    lines = []
    for names in (programs.DUMP[server.flavour], programs.CLIENT[server.flavour]):
        path = programs.find(names, folder=programs_folder)
        try:
            lines.append(programs.version_line(path).removeprefix(path).strip() if path else "")
        except ProgramFailed:
            lines.append("")
    return Versions(server=server.version, dump=lines[0], client=lines[1])


@contextmanager
def _world(folder: Path | None, observe: Observe) -> Iterator[tuple[Context, Server]]:
    """Start a scratch server, and put an empty repository beside it."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ulasis-self-test-") as home,
            scratch_server(programs_folder=folder) as scratch,
            connect(scratch.login) as server,
        ):
            values = {
                "backup_dir": str(Path(home, "backups")), "db_host": "localhost",
                "db_socket": scratch.login.socket, "db_user": scratch.login.user,
                "db_name": DATABASE, "db_password": "", "backup_encryption_key": generate_key(),
            }  # fmt: skip
            if folder:
                values["backup_programs_dir"] = str(folder)
            config = read_config(flags=values, environment={}, folder=Path(home))
            key = parse_key(config.key) if config.key else None
            repository = Repository(LocalStorage(config.settings.backup_dir), key)
            yield Context(config=config, repository=repository, observe=observe), server
    except ProgramMissing as error:
        raise CouldNotCheck(f"no self-test: {error.message}", hint=error.hint) from None


def _fill(server: Server, folder: Path | None, only: frozenset[str]) -> tuple[int, tuple[str, ...]]:
    """Load the traps; return how many parts, and those that this server does not know.

    Raises CouldNotCheck where it knows less than half of them.
    """
    name = "traps_mariadb.sql" if server.is_mariadb else "traps_mysql.sql"
    text = resources.files("ulasis_backup").joinpath("data", name).read_text(encoding="utf-8")
    _, *parts = text.split("\n-- == ")
    if only:
        parts = [part for part in parts if _name(part) in only | {SESSION}]
    _make_database(server)
    try:
        _load(server, parts, folder)
    except LoadFailed:
        # Another version than they were written for: each by itself then.
        _make_database(server)
        head = next(part for part in parts if _name(part) == SESSION)
        untried = [_name(part) for part in parts if not _loads(server, head, part, folder)]
        if len(untried) * 2 > len(parts):
            message = f"the traps are not for {server.version.flavour} {server.version.version}"
            hint = "a self-test of this version would prove nothing; ask for a newer ulasis-backup"
            raise CouldNotCheck(message, hint=hint) from None
        return len(parts) - len(untried), tuple(untried)
    return len(parts), ()


def _loads(server: Server, head: str, part: str, folder: Path | None) -> bool:
    session = [line for line in head.splitlines() if line.startswith("SET ")]
    script = part if part is head else f"session\n{chr(10).join(session)}\n-- == {part}"
    try:
        _load(server, [script], folder)
    except LoadFailed:
        return False
    return True


def _load(server: Server, parts: list[str], folder: Path | None) -> None:
    script = "".join(f"\n-- == {part}" for part in parts)
    load.run_script(iter([script.encode()]), server, DATABASE, programs_folder=folder)


def _name(part: str) -> str:
    return part.partition("\n")[0]


def _make_database(server: Server) -> None:
    server.run(f"DROP DATABASE IF EXISTS {quote(DATABASE)}")
    server.run(f"CREATE DATABASE {quote(DATABASE)} CHARACTER SET utf8mb4")


def _try_all(context: Context, server: Server, before: Values) -> tuple[MethodResult, ...]:
    """Make a backup by each method while everything is there, then restore one after the other."""
    by_rows = _made(context, "rows")
    refused = _drop_refused(server)
    by_sql = _made(context, "sql")
    before_sql = read_values(server, DATABASE) if refused else before
    exact = _try(context, server, "rows", backup=by_rows, before=before)
    text = _try(context, server, "sql", backup=by_sql, before=before_sql)
    return exact, replace(text, refused=refused)


def _drop_refused(server: Server) -> tuple[str, ...]:
    """Drop what ``sql`` refuses to back up, for it would refuse the rest with it; say why."""
    refused = []
    for kind, name, why in list(unprintable(server, DATABASE)):
        if kind in DROPPABLE:
            server.run(f"DROP {kind} {quote(DATABASE)}.{quote(name)}")
            refused.append(f"{kind} {name}: {why}")
    return tuple(refused)


def _made(context: Context, method: str) -> MadeBackup | MethodResult:
    """Return the backup by *method*, or how it failed."""
    request = BackupRequest(databases=(DATABASE,), method=method, note="self-test")
    try:
        return back_up(context, request)
    except UlasisError as error:
        return _failed(method, error)


def _try(
    context: Context,
    server: Server,
    method: str,
    *,
    backup: MadeBackup | MethodResult,
    before: Values,
) -> MethodResult:
    """Restore *backup* into nothing, and compare by value."""
    started = time.monotonic()
    if isinstance(backup, MethodResult):
        return backup
    server.run(f"DROP DATABASE IF EXISTS {quote(DATABASE)}")
    # What it loses is found below, in another way.
    request = RestoreRequest(name=backup.name, safety_backup=False, compare=False)
    try:
        restore(context, request, confirm=lambda _: True)
        gone = lost(before, read_values(server, DATABASE))
    except UlasisError as error:
        return _failed(method, error)
    named = _announced(backup)
    announced = tuple(name for name in gone if _object(name) in named)
    rest = tuple(name for name in gone if name not in announced)
    outcome = Outcome.LOSES if rest else Outcome.ANNOUNCED if announced else Outcome.EXACT
    return MethodResult(
        method=method,
        outcome=outcome,
        announced=announced,
        lost=rest,
        seconds=time.monotonic() - started,
    )


def _announced(backup: MadeBackup) -> frozenset[str]:
    """Return the names of the objects of which the backup said that it does not hold them whole."""
    details = backup.manifest.details
    if details is None:
        return frozenset()
    names = [loss.table for loss in details.text_losses]
    return frozenset([*names, *(entry.name for entry in details.left_out)])


def _object(label: str) -> str:
    """Return the name of the object that a label of ``read_values`` is about."""
    kinds = ("rows of table ", "position of table ", "position of sequence ")
    for kind in kinds:
        if label.startswith(kind):
            return label.removeprefix(kind)
    two_words = "package body "
    return label.removeprefix(two_words) if label.startswith(two_words) else label.split(" ", 1)[-1]


def _failed(method: str, error: UlasisError) -> MethodResult:
    missing = isinstance(error, ProgramMissing)
    return MethodResult(
        method=method,
        outcome=Outcome.COULD_NOT_RUN if missing else Outcome.FAILED,
        error=error.message,
        hint=error.hint,
    )
