"""``check``: is everything right for backups and restores? One finding a line, each with a hint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ulasis_backup.config import KEY_HINT, exposed_sources
from ulasis_backup.errors import NotEqual, PrivilegeMissing, UlasisError
from ulasis_backup.methods.sql import refuse_cutting_variables
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import privileges, programs, schema
from ulasis_backup.mysql.beside import new_names
from ulasis_backup.mysql.outer_keys import grant_to_look
from ulasis_backup.mysql.scratch import MISSING_HINT
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.swap_checks import missing_for_swap
from ulasis_backup.operations import audit, tried
from ulasis_backup.operations.auditing import Journal, words_of
from ulasis_backup.operations.context import Context, chosen_databases
from ulasis_backup.operations.definers import refuse_unrestorable
from ulasis_backup.operations.jobs import jobs
from ulasis_backup.operations.leftovers import list_leftovers, settle
from ulasis_backup.operations.self_test import (
    Outcome,
    SelfTest,
    installed,
    self_test,
    verdict_of,
)
from ulasis_backup.operations.strangers import keys_into
from ulasis_backup.repository.repository import listing

ROUND_TRIP_BYTES = 4096
SELF_TEST_HINT = "`ulasis-backup self-test` shows what they would lose; it takes about a minute"
LITTLE_SPACE = 1 << 30
BETTER = {"FLUSH_TABLES": ("RELOAD",)}
"""Rights that hold others."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was looked at, how it came out, what to do. ``error`` when it failed."""

    name: str
    state: State
    message: str
    hint: str = ""
    error: UlasisError | None = None


def check(context: Context, *, deep: bool = False) -> Iterator[Finding]:
    """Check settings, key, storage, login, rights, server settings and programs, in that order.

    With *deep* a self-test follows; else only whether one is due.
    """
    yield from _settings(context)
    yield from _guarded("storage", lambda: _storage(context))
    yield from _guarded("repository", lambda: _repository(context))
    yield from _guarded("audit", lambda: _audit(context))
    try:
        with connect(context.config.reading) as server:
            yield _ok("login", f"{server.login.user} at {server.login.endpoint}")
            yield _ok("server", f"{server.version.flavour} {server.version.version}")
            yield from _server(context, server)
    except UlasisError as error:
        yield _failed("login", error)
        skipped = "the server could not be reached"
        yield Finding(name="privileges", state=State.SKIPPED, message=skipped)
    yield from _restore_login(context)
    yield from _guarded("self-test", lambda: _self_test(context) if deep else _due(context))
    yield from _guarded("swap", lambda: _swaps(context))


def _settings(context: Context) -> Iterator[Finding]:
    config = context.config
    sources = ", ".join(config.sources) or "environment and defaults"
    yield _ok("settings", f"read from {sources}")
    for name in exposed_sources(config):
        yield _warning("settings", f"{name} can be read by every user", f"chmod 600 {name}")
    if config.key is None:
        yield _warning(
            "key", "no encryption key: backups are neither encrypted nor signed", KEY_HINT
        )
    elif not config.encrypt:
        yield _warning("key", "backups are signed, not encrypted", "BACKUP_ENCRYPTION_ENABLED=true")
    else:
        yield _ok("key", f"256 bits, {config.settings.backup_encryption_cipher}")


def _storage(context: Context) -> Iterator[Finding]:
    storage = context.repository.storage
    name = f".ulasis-check-{os.urandom(6).hex()}"
    content = os.urandom(ROUND_TRIP_BYTES)
    storage.put(name, [content])
    try:
        equal = b"".join(storage.open(name)) == content
    finally:
        storage.delete(name)
    if not equal:
        yield Finding(
            name="storage", state=State.FAILED, message=f"{storage.place} gives back other bytes",
            hint="check the disk",
        )  # fmt: skip
        return
    yield _ok("storage", f"{storage.place}: written, read back, removed")
    free = shutil.disk_usage(storage.place).free
    message = f"{free / 1e9:,.1f} GB free in {storage.place}"
    if free < LITTLE_SPACE:
        yield _warning("space", message, "free some, or choose another BACKUP_DIR")
    else:
        yield _ok("space", message)
    if Path(storage.place).stat().st_mode & 0o077:
        hint = f"chmod 700 {storage.place}"
        yield _warning("storage", f"{storage.place} is open to other users", hint)


def _repository(context: Context) -> Iterator[Finding]:
    found = listing(context.repository)
    broken = [oddity for oddity in found.oddities if oddity.error is not None]
    message = f"backups: {len(found.entries)}"
    if broken:
        yield _warning("repository", f"{message}, unreadable: {len(broken)}", "`list` names them")
    else:
        yield _ok("repository", message)


def _audit(context: Context) -> Iterator[Finding]:
    if not context.config.settings.backup_audit:
        hint = "BACKUP_AUDIT=on tells later who did what"
        yield _warning("audit", "no audit log is kept", hint)
        return
    journal = Journal(context.config, context.repository)
    try:
        signer = journal.signer()
        exposed = journal.key_file.stat().st_mode & 0o077
    except OSError as error:
        hint = "let this user write to BACKUP_STATE_DIR, or set BACKUP_AUDIT_KEY_FILE"
        yield _warning("audit", f"no key that signs: {words_of(error)}", hint)
        return
    waiting = len(journal.waiting())
    if audit.cut_off(context):
        hint = "`ulasis-backup audit verify` says more"
        yield _warning("audit", "the newest entry that this machine has stored is gone", hint)
    elif exposed:
        hint = f"chmod 600 {journal.key_file}"
        yield _warning("audit", f"{journal.key_file} can be read by other users", hint)
    elif waiting and journal.exists():
        hint = "let this user write to the repository; the next run stores them"
        yield _warning("audit", f"{waiting} entries wait to be stored", hint)
    else:
        yield _ok("audit", f"kept as {journal.host}, signed by {signer.fingerprint}")


def _server(context: Context, server: Server) -> Iterator[Finding]:
    yield _tls(server)
    yield from _guarded("server settings", lambda: _server_settings(server))
    rows = context.config.settings.backup_method == "rows"
    if rows:
        yield from _guarded("moment", lambda: _moment(context, server))
    else:
        yield from _guarded("programs", lambda: _programs(context, server))
    for database in chosen_databases(context.config, server):
        yield from _guarded("privileges", lambda name=database: _privileges(context, server, name))  # type: ignore[misc]
    yield _binlog(server)


def _tls(server: Server) -> Finding:
    login = server.login
    if login.by_socket:
        return _ok("tls", "not needed on a socket")
    if not login.ssl_require:
        return _warning("tls", "the connection is not encrypted", "set DB_SSL_REQUIRE=true")
    if not login.ssl_ca:
        hint = "set DB_SSL_CA to the CA's file, so that the server proves who it is"
        return _warning("tls", "encrypted, but the server's identity is not verified", hint)
    return _ok("tls", "encrypted, the server's identity is verified")


def _server_settings(server: Server) -> Iterator[Finding]:
    refuse_cutting_variables(server)
    yield _ok("server settings", "nothing that would cut a dump")


def _programs(context: Context, server: Server) -> Iterator[Finding]:
    folder = context.config.settings.backup_programs_dir
    dump = programs.dump_program(server.version, folder=folder)
    client = programs.client_program(server.version, folder=folder)
    yield _ok("programs", f"{dump.path} and {client.path}")


def _moment(context: Context, server: Server) -> Iterator[Finding]:
    """Say how several sessions get to see one moment."""
    databases = chosen_databases(context.config, server)
    missing = privileges.missing_for_rows(server, databases)
    if missing:
        raise privileges.refuse(missing, partial_hint=False)
    wished = tuple(
        entry
        for entry in privileges.missing_for_moment(server)
        if not privileges.has_global(server, entry.right, "SUPER", *BETTER.get(entry.right, ()))
    )
    if not wished:
        yield _ok("moment", f"{jobs(context)} sessions can see one moment")
        return
    hint = privileges.refuse(wished, partial_hint=False).hint
    rights = ", ".join(dict.fromkeys(entry.right for entry in wished))
    message = f"without {rights} tables are locked for the instant when the sessions begin"
    yield _warning("moment", message, hint)


def _privileges(context: Context, server: Server, database: str) -> Iterator[Finding]:
    schema.need_database(server, database)
    found = schema.catalogue(server, database)
    locks = context.config.settings.backup_lock_tables and any(t.needs_lock for t in found.tables)
    missing = privileges.missing_for_backup(server, database, locks=locks)
    if missing:
        raise privileges.refuse(missing, partial_hint=False)
    yield _ok("privileges", f"{database}: everything in it can be read")
    if not privileges.has_global(server, "PROCESS", "SUPER"):
        hint = f"GRANT PROCESS ON *.* TO {privileges.account(server)};"
        yield _warning("privileges", "without PROCESS a TRUNCATE during a dump goes unseen", hint)
    for view in schema.broken_views(server, database, found):
        hint = "mend or drop it; backups end with status 62 until then"
        yield _warning("views", f"{database}.{view.name} is broken and will be left out", hint)


def _binlog(server: Server) -> Finding:
    if str(server.value("SELECT @@log_bin")) not in ("1", "ON"):
        hint = "switch it on (log_bin) for recovery to any second between two backups"
        return _warning("binlog", "the server writes no binlog", hint)
    if not privileges.has_global(server, "BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"):
        right = "BINLOG MONITOR" if server.is_mariadb else "REPLICATION CLIENT"
        hint = f"GRANT {right} ON *.* TO {privileges.account(server)};"
        return _warning("binlog", "the position of backups cannot be read", hint)
    return _ok("binlog", "on; backups hold their position")


def _restore_login(context: Context) -> Iterator[Finding]:
    if not context.config.settings.db_restore_user:
        hint = "set DB_RESTORE_USER; then DB_USER needs no right to write"
        yield Finding(
            name="restore login", state=State.SKIPPED, message="none of its own", hint=hint
        )
        return

    def look() -> Iterator[Finding]:
        with connect(context.config.writing) as server:
            for database in chosen_databases(context.config, server):
                missing = privileges.missing_for_restore(server, database)
                if missing:
                    raise privileges.refuse(missing, partial_hint=False)
                creators = _untrusted_creators(server, database)
                if creators:
                    yield creators
                    continue
                try:
                    refuse_unrestorable(server, database)
                except PrivilegeMissing as error:
                    yield _warning("restore login", f"{database}: {error.message}", error.hint)
                beside = missing_for_swap(server, new_names(database))
                if beside:
                    message = f"{server.login.user} may restore {database} in place alone"
                    yield _warning("restore login", message, beside[0].statement)
                    continue
                if keys_into(context, server, [database]) is None:
                    message = (
                        f"{database}: neither login sees foreign keys of other databases, and so "
                        "it is restored in place alone"
                    )
                    hint = f"run as an administrator: {grant_to_look(server)}"
                    yield _warning("restore login", message, hint)
                    continue
                yield _ok("restore login", f"{server.login.user} may restore {database}")

    yield from _guarded("restore login", look)


def _swaps(context: Context) -> Iterator[Finding]:
    """Finish or take back restores that were cut off, and name what restores keep."""
    for done in settle(context):
        message = f"{done.names.database}: a restore that was cut off is {done.outcome}"
        yield _warning("swap", message, "; ".join(done.notes))
    kept = [one for one in list_leftovers(context) if one.schemas]
    size = sum(one.bytes for one in kept) / 1e9
    if kept:
        message = f"{len(kept)} restores keep {size:,.1f} GB beside their databases"
        yield _warning(
            "swap", message, "`list --leftovers` names them; `drop-leftovers` drops them"
        )


def _untrusted_creators(server: Server, database: str) -> Finding | None:
    """Return the warning that triggers or functions could not be created again, if so."""
    row = server.query("SELECT @@GLOBAL.log_bin, @@GLOBAL.log_bin_trust_function_creators")[0]
    logs, trusts = (str(value) in ("1", "ON") for value in row)
    kinds = {kind for kind, _ in schema.catalogue(server, database).objects}
    if not logs or trusts or not kinds & {ObjectKind.TRIGGER, ObjectKind.FUNCTION}:
        return None
    if privileges.has_global(server, "SUPER"):
        return None
    message = f"{database}: its triggers or functions cannot be created again by this login"
    hint = "before a restore, as an administrator: SET GLOBAL log_bin_trust_function_creators = 1;"
    return _warning("restore login", message, hint)


def _due(context: Context) -> Iterator[Finding]:
    """Say whether the programs that are installed are those that a self-test has tried."""
    now, then = installed(context.config.settings.backup_programs_dir), tried.last(context.config)
    if not now.server:
        message = "no server program here: `self-test` and proofs cannot run"
        yield Finding(name="self-test", state=State.SKIPPED, message=message, hint=MISSING_HINT)
    elif then is None:
        message = "these programs have not been tried here"
        yield Finding(name="self-test", state=State.SKIPPED, message=message, hint=SELF_TEST_HINT)
    elif differing := tried.changed(then, now):
        message = f"programs have changed since the last one: {'; '.join(differing)}"
        yield _warning("self-test", message, SELF_TEST_HINT)
    elif not then.passed:
        message = f"the last one, of {then.at[:10]}, found losses"
        yield _warning("self-test", message, SELF_TEST_HINT)
    else:
        yield _ok("self-test", f"passed on {then.at[:10]} with the programs that are installed")


def _self_test(context: Context) -> Iterator[Finding]:
    found = self_test(context.config.settings.backup_programs_dir)
    tried.record(context.config, found)
    yield from self_test_findings(found)


def self_test_findings(found: SelfTest) -> Iterator[Finding]:
    """Yield a finding for each method."""
    for result in found.results:
        bad = result in found.unfit or result.outcome is Outcome.COULD_NOT_RUN
        details = result.error or "; ".join(result.lost)
        message = f"{result.method}: {result.outcome}" + (f" ({details})" if details else "")
        if not bad:
            yield _ok("self-test", message)
            continue
        error: UlasisError = verdict_of(found) or NotEqual(message)
        yield Finding(
            name="self-test", state=State.FAILED, message=message,
            hint=result.hint or SELF_TEST_HINT, error=error,
        )  # fmt: skip


def _guarded(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except UlasisError as error:
        yield _failed(name, error)


def _ok(name: str, message: str) -> Finding:
    return Finding(name=name, state=State.OK, message=message)


def _warning(name: str, message: str, hint: str) -> Finding:
    return Finding(name=name, state=State.WARNING, message=message, hint=hint)


def _failed(name: str, error: UlasisError) -> Finding:
    return Finding(
        name=name, state=State.FAILED, message=error.message, hint=error.hint, error=error
    )
