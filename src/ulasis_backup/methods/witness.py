"""What the server itself shows of a database, read beside a dump of it.

The dump program reads and prints the same objects in its own way. When the dump is restored, what
the new server shows must be what the old one showed: that is how a trigger that was printed with
another timing, or an event that was lost, is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from ulasis_backup.errors import PrivilegeMissing
from ulasis_backup.methods.summary import keyed
from ulasis_backup.model import LeftOut, Login, Witness
from ulasis_backup.mysql.definitions import TABLE, Definition, digest_bytes, read_definitions
from ulasis_backup.mysql.schema import Catalogue
from ulasis_backup.mysql.server import QueryFailed, connect
from ulasis_backup.streams.keys import DataKey

WAIT_SECONDS = 2
"""A definition behind somebody's DDL is not waited for: the dump itself may be in its way."""


def look(
    login: Login, database: str, found: Catalogue, left_out: Sequence[LeftOut]
) -> tuple[Definition, ...] | None:
    """Return all definitions as the server shows them, None where it would not."""
    with connect(login) as server:
        server.run("SET SESSION lock_wait_timeout = %s", (WAIT_SECONDS,))
        try:
            return read_definitions(server, database, found, left_out=left_out)
        except (QueryFailed, PrivilegeMissing):
            return None


def witness_of(
    before: Sequence[Definition], after: Sequence[Definition], data_key: DataKey | None
) -> tuple[Witness, ...]:
    """Return what holds of the moment of a dump between the two looks."""
    later = {(one.kind, one.name): one for one in after}
    return tuple(
        _witness(one, later[one.kind, one.name], data_key)
        for one in before
        if (one.kind, one.name) in later
    )


def _witness(before: Definition, after: Definition, data_key: DataKey | None) -> Witness:
    text = digest_bytes(before)
    return Witness(
        kind=str(before.kind),
        name=before.name,
        digest=keyed(text, data_key) if text == digest_bytes(after) else "",
        counter=_between(counter_of(before), counter_of(after)),
    )


def counter_of(definition: Definition) -> int | None:
    """Return where AUTO_INCREMENT or a sequence stands, 0 where a table has no such counter."""
    if definition.kind == TABLE:
        return int(definition.extra.get("auto_increment", "0"))
    return int(definition.extra["position"]) if "position" in definition.extra else None


def _between(before: int | None, after: int | None) -> tuple[int, int] | None:
    if before is None or after is None:
        return None
    # A sequence may count down.
    return min(before, after), max(before, after)
