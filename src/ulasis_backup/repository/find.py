"""Finding a backup by what a person types: a file name, an id, a unique prefix of either.

Or ``latest``, or ``latest-proven``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ulasis_backup.errors import AmbiguousName, BackupNotFound, WrongKey
from ulasis_backup.model import Kind, Verdict
from ulasis_backup.repository import names
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import GOOD, standings
from ulasis_backup.repository.repository import (
    Entry,
    Listing,
    Repository,
    age,
    in_series,
    listing,
    trusted,
)

LATEST = "latest"
LATEST_PROVEN = "latest-proven"


def find(
    repository: Repository, text: str, *, server_name: str, databases: Sequence[str]
) -> PayloadName:
    """Return the payload that *text* names: ``latest``, a file name, an id, a unique prefix.

    ``latest`` is the newest backup of *server_name* and *databases* that is no safety backup. It
    is an error when a newer one is there and cannot be used, or holds them among others: nobody who
    asks for the newest wants an older one without a word. ``latest-proven`` is the newest of them
    that is proven. A path must lead into the repository.
    """
    if text == LATEST_PROVEN:
        return _latest_proven(repository, server_name, tuple(databases))
    if text == LATEST:
        found = listing(repository)
        newest = _latest(found.entries, server_name, tuple(databases))
        _refuse_older(newest, found)
        return newest
    _expect_inside(repository, text)
    wanted = text.rsplit("/", 1)[-1].removesuffix(names.MANIFEST_SUFFIX)
    blobs = [blob.name for blob in repository.storage.list()]
    known = {str(name): name for name in _payload_names(blobs)}
    if wanted in known:
        return known[wanted]
    matching = [name for name in known.values() if _answers_to(name, wanted)]
    exact = [name for name in matching if wanted == name.backup_id]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    if matching:
        shown = ", ".join(str(name) for name in matching[:5])
        message = f"{text!r} names {len(matching)} backups: {shown}"
        raise AmbiguousName(message, hint="give more of the name")
    raise _not_found(text, wanted, blobs)


def usual(entries: Iterable[Entry]) -> list[Entry]:
    """Return *entries* but safety backups: those that ``latest`` means."""
    return [entry for entry in entries if entry.manifest.header.kind is not Kind.SAFETY]


def _latest_proven(
    repository: Repository, server_name: str, databases: tuple[str, ...]
) -> PayloadName:
    found = listing(repository).entries
    newest = _latest(found, server_name, databases, wider=False)
    ours = usual(in_series(found, server_name, databases))
    known = standings(repository, ours)
    stands = [(entry.name, known[entry.manifest.header.id].verdict) for entry in reversed(ours)]
    for name, verdict in stands:
        if verdict is Verdict.PROVEN:
            return name
    message = f"none of the {len(ours)} backups of {', '.join(databases)} is proven"
    good = [f"{name} ({verdict})" for name, verdict in stands if verdict in GOOD]
    best = f"; the newest whose bytes are good: {good[0]}" if good else ""
    raise BackupNotFound(message, hint=f"`ulasis-backup test-restore {newest}` proves one{best}")


def _latest(
    entries: Sequence[Entry], server_name: str, databases: tuple[str, ...], *, wider: bool = True
) -> PayloadName:
    ours = usual(in_series(entries, server_name, databases))
    if wider:
        _refuse_wider(ours[-1] if ours else None, entries, server_name, databases)
    if ours:
        return ours[-1].name
    name = ", ".join(databases)
    if len(databases) != 1 or name == "*":
        hint = "choose one: `ulasis-backup --database NAME …`"
        raise AmbiguousName(f"latest of which database? DB_NAME is {name}", hint=hint)
    locked = [
        entry.problem
        for entry in entries
        if entry.manifest.header.databases == databases and isinstance(entry.problem, WrongKey)
    ]
    if locked:
        raise locked[-1]
    message = f"there is no backup of {name} on {server_name}"
    raise BackupNotFound(message, hint=_elsewhere(entries, databases))


def _refuse_wider(
    newest: Entry | None, entries: Sequence[Entry], server_name: str, databases: tuple[str, ...]
) -> None:
    """Raise where a later backup than *newest* holds the databases among others."""
    wider = [
        entry
        for entry in trusted(entries)
        if entry.manifest.details is not None
        and entry.manifest.details.server_name == server_name
        and entry.manifest.header.kind is not Kind.SAFETY
        and set(databases) < set(entry.manifest.header.databases)
        and (newest is None or age(entry) > age(newest))
    ]
    if not wider:
        return
    later = max(wider, key=age)
    held = ", ".join(later.manifest.header.databases)
    alone = f"{newest.name} is the newest of it alone" if newest else "there is none of it alone"
    message = f"latest of {', '.join(databases)}: {alone}, {later.name} is later and holds {held}"
    raise AmbiguousName(message, hint="name the one you mean (`restore` has --from-database)")


def _refuse_older(newest: PayloadName, found: Listing) -> None:
    """Raise where a newer backup of the same name than *newest* is there and cannot be used."""
    time = names.short_id(newest.backup_id)
    prefix = names.prefix_of(newest.backup_id)
    problems = [(oddity.name, oddity.error) for oddity in found.oddities]
    problems += [(str(entry.name), entry.problem) for entry in found.entries]
    for name, error in problems:
        payload = names.parse_manifest(name) or names.parse_payload(name)
        if payload is None or error is None or isinstance(error, WrongKey):
            continue
        if (
            names.prefix_of(payload.backup_id) == prefix
            and names.short_id(payload.backup_id) > time
        ):
            message = f"the newest backup, {payload}, cannot be used: {error.message}"
            hint = (
                f"{error.hint}; the newest that can be used is {newest}: name it to go on with it"
            )
            raise type(error)(message, hint=hint.removeprefix("; "))


def _expect_inside(repository: Repository, text: str) -> None:
    """Raise BackupNotFound for a path that leads elsewhere: the file there is another one."""
    if "/" not in text:
        return
    folder, place = Path(text).parent.resolve(), Path(repository.storage.place).resolve()
    if folder != place:
        message = f"{text} is not in the repository {place}"
        raise BackupNotFound(
            message, hint=f"to use that folder: --backup-dir {shlex.quote(str(folder))}"
        )


def _elsewhere(entries: Sequence[Entry], databases: tuple[str, ...]) -> str:
    """Say where else the wanted database is found: at three in the morning that is the answer."""
    same = [entry for entry in entries if entry.manifest.header.databases == databases]
    if not same:
        return "`ulasis-backup list` shows what there is; `ulasis-backup backup` makes one"
    newest = max(same, key=age)
    details = newest.manifest.details
    where = f"of server {details.server_name}" if details else "made with a key you have not set"
    return f"there are {len(same)} {where}: name one of them, the newest is {newest.name}"


def _payload_names(blobs: Iterable[str]) -> list[PayloadName]:
    found = {
        str(name): name
        for blob in blobs
        if (name := names.parse_manifest(blob) or names.parse_payload(blob))
    }
    return list(found.values())


def _answers_to(name: PayloadName, wanted: str) -> bool:
    starts = (str(name), name.backup_id, names.short_id(name.backup_id))
    return bool(wanted) and any(start.startswith(wanted) for start in starts)


def _not_found(text: str, wanted: str, blobs: Sequence[str]) -> BackupNotFound:
    if wanted in blobs and names.looks_old(wanted):
        message = f"{text} was written by the old scripts and cannot be read by this tool"
        return BackupNotFound(message, hint="restore it with the tool that wrote it")
    hint = "`ulasis-backup list` shows the backups that there are"
    return BackupNotFound(f"no backup answers to {text!r}", hint=hint)
