"""Foreign keys from other databases into one that is restored, or into what restores keep."""

from __future__ import annotations

from collections.abc import Collection

from ulasis_backup.errors import Refused
from ulasis_backup.mysql.outer_keys import OuterKey, grant_to_look, outer_keys
from ulasis_backup.mysql.server import Server, connect
from ulasis_backup.mysql.swap_checks import IN_PLACE
from ulasis_backup.operations.context import Context


def keys_into(
    context: Context, server: Server, schemas: Collection[str]
) -> tuple[OuterKey, ...] | None:
    """Return the keys that lead into *schemas* from others; None where no login of ours may look.

    *server* is a session of the login that restores; the one that reads may see more.
    """
    found = outer_keys(server, schemas)
    if found is None and context.config.reading != context.config.writing:
        with connect(context.config.reading) as reading:
            return outer_keys(reading, schemas)
    return found


def against_move(
    context: Context, server: Server, database: str, tables: frozenset[str] | None
) -> str:
    """Return what keys from elsewhere say against moving *tables* (None: all); empty: nothing."""
    found = keys_into(context, server, [database])
    if found is None:
        return (
            f"foreign keys of other databases into {database} cannot be seen, and would follow "
            f"what is moved away; run as an administrator: {grant_to_look(server)}"
        )
    crossing = [str(key) for key in found if tables is None or key.parent in tables]
    if not crossing:
        return ""
    return f"foreign keys join what is replaced with what stays: {'; '.join(crossing[:3])}"


def expect_movable(
    context: Context, server: Server, database: str, tables: frozenset[str] | None
) -> None:
    """Raise Refused, with the restore in place as the way, where keys from elsewhere forbid it."""
    against = against_move(context, server, database, tables)
    if against:
        raise Refused(against, hint=IN_PLACE)


def refuse_strangers(context: Context, server: Server, schemas: Collection[str]) -> None:
    """Raise Refused where keys from elsewhere would be left without their parents, or may be."""
    found = keys_into(context, server, schemas)
    if found is None:
        message = f"foreign keys into {', '.join(schemas)} cannot be seen: nothing dropped"
        raise Refused(message, hint=f"run as an administrator: {grant_to_look(server)}")
    if found:
        keys = "; ".join(str(key) for key in found[:3])
        message = f"foreign keys lead into {found[0].parent_schema}: {keys}"
        raise Refused(message, hint="drop these keys, or `ulasis-backup undo`; then again")
