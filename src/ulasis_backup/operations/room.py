"""Whether a server has the room that a restore needs, as far as that can be seen from here."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from ulasis_backup.errors import ServerUnsuitable, UlasisError
from ulasis_backup.mysql import schema
from ulasis_backup.mysql.server import NOT_COMMITTED, Server
from ulasis_backup.operations.source import Source

ROWS_FACTOR = 2.0
"""Bytes on disk for each byte of rows: pages are not full, and keys come on top."""

LEAST = {"rows": 1.0, "sql": 0.5}
"""Below this there is certainly no room. A dump writes bytes as twice as many digits."""


def about_space(server: Server, source: Source, target: str, *, beside: bool) -> Iterator[str]:
    """Yield what is worth knowing of the room that loading *source* into *target* takes.

    With *beside* the old tables stay meanwhile; else they give theirs back first. Raises
    ServerUnsuitable where there is certainly not enough. Compressed tables may need less, so for
    them it is only said.
    """
    folder = str(server.value("SELECT @@datadir"))
    free = _free(server, folder)
    if free is None:
        yield "how much space the server has left cannot be seen from here"
        return
    room = free if beside else free + schema.size_estimate(server, target)
    plain = source.contents.plain.bytes
    least = int(LEAST[source.method] * plain)
    if room < least and not source.needs().compressed:
        message = f"no room: {folder} has {free:,} bytes left, the restore needs {least:,} or more"
        hint = "make room there, e.g. drop what earlier restores left, or use another server"
        raise ServerUnsuitable(message, hint=hint)
    if room < ROWS_FACTOR * plain:
        need = int(ROWS_FACTOR * plain)
        yield f"the server has {free:,} bytes left, the restore may need about {need:,}"


def with_room(server: Server, error: UlasisError) -> None:
    """Add to *error* of a load how much room is left, where the server does not say why."""
    if NOT_COMMITTED not in error.hint:
        return
    with contextlib.suppress(UlasisError):
        folder = str(server.value("SELECT @@datadir"))
        free = _free(server, folder)
        if free is not None:
            error.hint += f" ({folder} has {free:,} bytes left now)"


def _free(server: Server, folder: str) -> int | None:
    """Return the bytes left for *folder* of the server, None where it is not on this machine."""
    if str(server.value("SELECT @@hostname")) != socket.gethostname():
        return None
    try:
        # The name may be that of a folder in a container that shares the host's name.
        return shutil.disk_usage(folder).free if Path(folder).is_dir() else None
    except OSError:
        return None
