"""What could stop a restore midway, looked for before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from ulasis_backup.errors import ServerUnsuitable, SettingsError, UlasisError
from ulasis_backup.methods import load
from ulasis_backup.methods.definers import Definers
from ulasis_backup.model import ObjectKind
from ulasis_backup.mysql import privileges, programs, schema
from ulasis_backup.mysql.beside import is_beside, resembles_beside
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import SYSTEM_DATABASES, Server, connect
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.definers import refuse_protected, settle_definers
from ulasis_backup.operations.missing import refuse_together
from ulasis_backup.operations.neighbours import refuse_unmet
from ulasis_backup.operations.room import about_space
from ulasis_backup.operations.source import Source, TargetNeeds
from ulasis_backup.operations.suited import refuse_changed_names, refuse_unknown_settings

LONGEST_NAME = 64


def refuse_missing_rights(
    context: Context, server: Server, source: Source, target: str, *, definers: Definers
) -> None:
    """Raise PrivilegeMissing with all GRANTs that the login lacks to restore *source*."""

    def write() -> None:
        missing = privileges.missing_for_restore(server, target)
        if missing:
            error = privileges.refuse(missing, partial_hint=False)
            if not context.config.settings.db_restore_user:
                error.hint += " (better: set DB_RESTORE_USER, a login of its own that writes)"
            raise error

    refuse_together(
        (
            write,
            lambda: refuse_protected(server, target),
            *(partial(refuse_unmet, server, (need,)) for need in source.needs().neighbours),
            lambda: settle_definers(server, source, definers),
        )
    )


def check_target(
    context: Context,
    server: Server,
    source: Source,
    target: str,
    *,
    beside: bool = False,
    coming: Collection[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """Check that *source* can be loaded into *target*; return what is worth knowing.

    With *beside* the old tables stay until the new ones are loaded, and need their room too.
    *coming* are tables and views, each with its database, that are restored along with it. Raises
    SettingsError, ServerUnsuitable, PrivilegeMissing, ProgramMissing; touches nothing.
    """
    if target.lower() in SYSTEM_DATABASES or not 0 < len(target) <= LONGEST_NAME:
        raise SettingsError(
            f"{target!r} cannot be restored into", hint="choose a database of your own"
        )
    if is_beside(target) or (target != source.database and resembles_beside(target)):
        message = f"{target} has the name of a schema that a restore keeps aside"
        raise SettingsError(message, hint="choose another name; `undo` swaps back what it holds")
    needs = source.needs()
    notices = list(source.notices(server, target))
    if needs.client:
        folder = context.config.settings.backup_programs_dir
        programs.client_program(server.version, folder=folder)
    _refuse_read_only(server)
    refuse_small_packet(server, needs.packet)
    _refuse_untrusted_creators(server, source, needs, schema.catalogue(server, target))
    refuse_unknown_settings(server, source.traits(server))
    refuse_changed_names(server, source, target)
    notices += [
        *refuse_unmet(server, needs.neighbours, coming=coming),
        *_about_versions(server, source),
        *about_space(server, source, target, beside=beside),
    ]
    if target != source.database:
        notices += [
            f"{where}: text in quotes names {source.database}; it stays as it is"
            for where in needs.in_strings
        ]
    if source.partial:
        notices.append("the backup is PARTIAL: what it lacks will be gone after the restore")
    if target != source.database and any(
        e.kind is ObjectKind.EVENT for e in source.contents.objects
    ):
        notices.append("events of the copy will run beside those of the original, where enabled")
    notices += [f"lost when it was made: {load.describe(loss)}" for loss in source.text_losses]
    return tuple(notices)


def grants_to_compare(context: Context, target: str) -> str:
    """Return the statements that let DB_USER compare *target* after a restore; empty: it may.

    Its settings may name other databases, which are all that `check` looks at.
    """
    config = context.config
    if config.reading == config.writing:
        return ""
    try:
        with connect(config.reading) as server:
            missing = privileges.missing_for_rows(server, [target])
    except UlasisError:
        return ""  # Why it cannot log in is said where it is needed.
    hint = privileges.refuse(missing, partial_hint=False).hint if missing else ""
    return hint.removeprefix("run as an administrator: ")


def _refuse_read_only(server: Server) -> None:
    if str(server.value("SELECT @@GLOBAL.read_only")) in ("0", "OFF"):
        return
    if not privileges.has_global(server, "SUPER", "READ ONLY ADMIN", "READ_ONLY ADMIN"):
        message = "the server is read-only (a replica?)"
        raise ServerUnsuitable(message, hint="restore on the primary, or SET GLOBAL read_only = 0;")


def refuse_small_packet(server: Server, need: int) -> None:
    """Raise where something of the backup is longer than the server takes at once."""
    limit = int(server.value("SELECT @@GLOBAL.max_allowed_packet"))
    if need > limit:
        message = f"max_allowed_packet is {limit:,} bytes, the backup needs {need:,}"
        hint = f"run as an administrator: SET GLOBAL max_allowed_packet = {need};"
        raise ServerUnsuitable(message, hint=hint)


def _refuse_untrusted_creators(
    server: Server, source: Source, needs: TargetNeeds, found: Catalogue
) -> None:
    """With a binlog, triggers and functions need SUPER or a global setting (errors 1418, 1419)."""
    row = server.query("SELECT @@GLOBAL.log_bin, @@GLOBAL.log_bin_trust_function_creators")[0]
    logs, trusts = (str(value) in ("1", "ON") for value in row)
    if not logs or trusts:
        return
    kinds = {kind for kind, _ in found.objects} | {entry.kind for entry in source.contents.objects}
    needs_super = kinds & {ObjectKind.TRIGGER, ObjectKind.FUNCTION}
    if needs.undeclared or (needs_super and not privileges.has_global(server, "SUPER")):
        what = f"function {needs.undeclared[0]}" if needs.undeclared else "triggers or functions"
        message = f"the server logs its binlog and does not let this login create {what}"
        hint = "run as an administrator: SET GLOBAL log_bin_trust_function_creators = 1;"
        raise ServerUnsuitable(message, hint=hint)


def _about_versions(server: Server, source: Source) -> Iterator[str]:
    if server.version.series != source.server.series:
        yield f"the backup is of {source.server.series}, the target of {server.version.series}"
