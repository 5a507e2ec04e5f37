"""A restore in place: the target is emptied, and the backup loaded into it.

From then on the old state is in the safety backup alone. It is for servers without the room or
the rights for a second set of tables, and for what cannot be moved between schemas.
"""

from __future__ import annotations

import shlex

from ulasis_backup.errors import AuthenticationFailed, LoadFailed, UlasisError
from ulasis_backup.events import Notice, PhaseBegan, PhaseEnded
from ulasis_backup.methods import load
from ulasis_backup.methods.contents import Contents
from ulasis_backup.mysql.server import Server, quote
from ulasis_backup.operations.backup import MadeBackup
from ulasis_backup.operations.context import Context
from ulasis_backup.operations.restore_plan import AS_ASKED, RestorePlan, in_scope
from ulasis_backup.operations.source import Source


def replace_in_place(
    context: Context,
    server: Server,
    source: Source,
    *,
    plan: RestorePlan,
    safety: MadeBackup | None,
) -> Contents:
    """Empty the target and load the backup; from here on the old state is in *safety* alone."""
    total = source.contents.plain.bytes
    context.observe(PhaseBegan(name="load", subject=plan.target, total=total, exact=True))
    try:
        if source.only_tables is None:
            load.make_database(server, plan.target, source.options_for(server))
        else:
            server.run(f"CREATE DATABASE IF NOT EXISTS {quote(plan.target)}")
        kept = frozenset((entry.kind, entry.name) for entry in source.left_out)
        load.empty(server, plan.target, in_scope(server, plan.target, source), kept=kept)
        contents = source.load(context, server, plan.target)
    except UlasisError as error:
        raise _half_done(error, plan, safety) from None
    except BaseException:
        message = f"the restore of {plan.target} was cut off in the middle: it is incomplete now"
        context.observe(Notice(message=message, hint=_way_back(plan, safety)))
        raise
    context.observe(PhaseEnded(name="load"))
    return contents


def _half_done(error: UlasisError, plan: RestorePlan, safety: MadeBackup | None) -> UlasisError:
    """Say that the target is now incomplete, and how to get the old state back."""
    message = f"the restore of {plan.target} stopped in the middle: {error.message}"
    hint = f"{error.hint}; {_way_back(plan, safety)}"
    kind = type(error) if isinstance(error, AuthenticationFailed) else LoadFailed
    return kind(message, hint=hint)


def _way_back(plan: RestorePlan, safety: MadeBackup | None) -> str:
    if safety is None:
        return "there is no safety backup; restore again when the cause is gone"
    return f"to bring the old state back: {undo_command(plan, safety)}"


def undo_command(plan: RestorePlan, safety: MadeBackup) -> str:
    """Return the command that brings the safety backup back, from here to that server."""
    words = ["ulasis-backup", *plan.flags, "restore", str(safety.name)]
    words += ["--target-database", plan.target, "--skip-pre-restore-backup"]
    if plan.in_place == (AS_ASKED,):
        words.append("--in-place")
    words.append("--yes")
    if plan.undone_tables and not any("," in name for name in plan.undone_tables):
        words += ["--tables", ",".join(plan.undone_tables)]
    return shlex.join(words)
