"""What a test restore needs around it: fitting programs, room, a scratch server, accounts in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from ulasis_backup.errors import CouldNotCheck, ProgramMissing, ScratchServerFailed
from ulasis_backup.model import Flavour, ServerVersion
from ulasis_backup.mysql import programs
from ulasis_backup.mysql.scratch import (
    ScratchServer,
    installed_version,
    scratch_parent,
    scratch_server,
)
from ulasis_backup.mysql.server import QueryFailed, Server
from ulasis_backup.operations.context import Context
from ulasis_backup.repository.manifest import Manifest

ROOM_FACTOR = 3
ROOM_BASE = 300 << 20
"""Bytes in TMPDIR for each plain byte, and for the empty server (measured: see docs/design.md)."""

_ROLE = re.compile(rb"\bDEFINER=`((?:[^`]|``)*)`(?!@)")
MOST_POOL, LEAST_POOL = 4 << 30, 256 << 20
PACKAGES = {
    Flavour.MARIADB: "install mariadb-server-core of that series (Debian, Ubuntu)",
    Flavour.MYSQL: "install mysql-server-core of that series",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Server programs that are installed: where (None: the system's), and their version."""

    folder: Path | None
    version: ServerVersion


def choose_programs(
    context: Context, manifest: Manifest, folders: Sequence[Path], *, any_server: bool = False
) -> Programs:
    """Return the installed programs on which the backup can be proved; raises CouldNotCheck.

    Looked for in *folders*, else where the settings say. With *any_server* those of another
    flavour or series will do.
    """
    wanted, method = manifest.header.server, manifest.header.method
    found = list(_installed(context, folders))
    fitting = [one for one in found if one.version.series == wanted.series]
    if not fitting and any_server:
        fitting = sorted(found, key=lambda one: one.version.flavour is not wanted.flavour)
    if not fitting:
        here = ", ".join(sorted({one.version.series for one in found})) or "none"
        message = f"the backup is of {wanted.series}, server programs here: {here}"
        hint = (
            f"{PACKAGES[wanted.flavour]} and name the folder of its programs in "
            "BACKUP_SCRATCH_PROGRAMS or with --programs; --data-only compares rows on another one"
        )
        raise CouldNotCheck(message, hint=hint)
    chosen = fitting[0]
    if method == "sql":
        _need_clients(chosen)
    return chosen


def need_room(plain_bytes: int) -> None:
    """Raise CouldNotCheck unless TMPDIR has room for a server with so many bytes of rows."""
    folder = scratch_parent()
    free, need = shutil.disk_usage(folder).free, ROOM_FACTOR * plain_bytes + ROOM_BASE
    if free < need:
        message = f"{folder} has {free >> 20:,} MiB free, a test restore needs about {need >> 20:,}"
        raise CouldNotCheck(message, hint="set TMPDIR to a folder with more room")


@contextlib.contextmanager
def scratch_for(chosen: Programs, plain_bytes: int) -> Iterator[ScratchServer]:
    """Run a scratch server that is large enough for so many bytes of rows."""
    pool = f"--innodb-buffer-pool-size={_pool(plain_bytes)}"
    options = (pool, "--local-infile=1")
    with scratch_server(options=options, programs_folder=chosen.folder) as running:
        yield running


def in_scratch(context: Context, chosen: Programs, running: ScratchServer) -> Context:
    """Return *context* with the scratch server in the place of the user's."""
    settings = context.config.settings.model_copy(
        update={
            "db_host": "localhost",
            "db_socket": running.login.socket,
            "db_user": running.login.user,
            "db_password": SecretStr(""),
            "db_restore_user": "",
            "db_ssl_require": False,
            "db_ssl_ca": "",
            "backup_programs_dir": chosen.folder,
        }
    )
    return replace(context, config=replace(context.config, settings=settings))


def role_definers(texts: Iterable[bytes]) -> frozenset[str]:
    """Return the roles in whose name objects run, as ``role@``: MariaDB prints them without host.

    Where such a role is not there the server takes it for an account.
    """
    return frozenset(
        match[1].replace(b"``", b"`").decode("utf-8", "surrogateescape") + "@"
        for text in texts
        for match in _ROLE.finditer(text)
    )


def make_definers(server: Server, definers: Iterable[str]) -> tuple[tuple[str, str, bool], ...]:
    """Create the accounts in whose name objects run, with all rights; return them.

    A view of an account that is not there can be made, and not be read. Each is returned with
    user, host, and whether it is a role.
    """
    made = []
    for definer in sorted(definers):
        user, _, host = definer.rpartition("@")
        is_role = not host and server.is_mariadb
        try:
            word, name = ("ROLE", "%s") if is_role else ("USER", "%s@%s")
            names = (user,) if is_role else (user, host)
            if not is_role and _has_account(server, user, host):
                continue
            server.run(f"CREATE {word} IF NOT EXISTS {name}", names)
            server.run(f"GRANT ALL PRIVILEGES ON *.* TO {name}", names)
        except QueryFailed:
            # What cannot be made here is seen by the comparison, if it matters.
            continue
        made.append((user, host, is_role))
    return tuple(made)


def drop_definers(server: Server, made: Iterable[tuple[str, str, bool]]) -> None:
    """Take the accounts of ``make_definers`` away."""
    for user, host, is_role in made:
        if is_role:
            server.run("DROP ROLE IF EXISTS %s", (user,))
        else:
            server.run("DROP USER IF EXISTS %s@%s", (user, host))


def _has_account(server: Server, user: str, host: str) -> bool:
    rows = "SELECT COUNT(*) FROM mysql.user WHERE User = %s AND Host = %s"
    return bool(server.value(rows, (user, host)))


def _installed(context: Context, folders: Sequence[Path]) -> Iterator[Programs]:
    """Yield the programs of *folders*, then those that other commands use."""
    settings = context.config.settings
    named = [*folders, *_split(settings.backup_scratch_programs)]
    for folder in [*map(_programs_in, named), settings.backup_programs_dir]:
        try:
            yield Programs(folder=folder, version=installed_version(folder))
        except (ProgramMissing, ScratchServerFailed) as error:
            if folder in folders:
                raise CouldNotCheck(f"{folder}: {error.message}", hint=error.hint) from None


def _split(text: str) -> list[Path]:
    return [Path(part) for part in text.split(os.pathsep) if part]


def _programs_in(folder: Path) -> Path:
    """Return the folder itself, or the ``bin`` of a tree in which a server is unpacked."""
    return folder / "bin" if (folder / "bin").is_dir() else folder


def _need_clients(chosen: Programs) -> None:
    try:
        programs.client_program(chosen.version, folder=chosen.folder)
        programs.dump_program(chosen.version, folder=chosen.folder)
    except ProgramMissing as error:
        raise CouldNotCheck(error.message, hint=error.hint) from None


def _pool(plain_bytes: int) -> int:
    """Return the bytes of the buffer pool: all rows where memory allows that."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        free = 4 * LEAST_POOL
    wanted = min(2 * plain_bytes, MOST_POOL, free // 4)
    return max(LEAST_POOL, wanted >> 20 << 20)
