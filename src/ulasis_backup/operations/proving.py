"""Recording what a check found out, on whichever repository: one that may not be written to too."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ulasis_backup import __version__
from ulasis_backup.errors import Refused, StorageError, UlasisError
from ulasis_backup.events import Notice
from ulasis_backup.model import Verdict
from ulasis_backup.operations.context import Context, chosen_backup, now, stamp
from ulasis_backup.repository import proofs
from ulasis_backup.repository.find import LATEST, usual
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import (
    GOOD,
    Check,
    Proof,
    Standing,
    history,
    standing,
    standings,
)
from ulasis_backup.repository.repository import in_series, listing, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found out; see ``proofs.Proof``."""

    check: Check
    started: datetime
    verdict: Verdict = Verdict.UNCHECKED
    server: str = ""
    reason: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0
    notes: tuple[str, ...] = ()
    round: str = ""


def record(
    context: Context, manifest: Manifest, finding: Finding
) -> tuple[bool, UlasisError | None]:
    """Record *finding* about the backup of *manifest*; tell whether, and what kept it from being.

    Nothing is recorded where nobody could believe it: of an unsigned backup while a key is
    configured.
    """
    if context.repository.key and not manifest.signed:
        return False, None
    header = manifest.header
    proof = Proof(
        backup=header.id, manifest=manifest.digest, check=finding.check, verdict=finding.verdict,
        started_at=stamp(finding.started), finished_at=stamp(now()), host=socket.gethostname(),
        tool=f"ulasis-backup {__version__}", server=finding.server, reason=finding.reason,
        phases=finding.phases, bytes=finding.bytes, notes=finding.notes, round=finding.round,
    )  # fmt: skip
    try:
        proofs.record(context.repository, manifest, proof)
    except StorageError as error:
        message = f"the verdict could not be recorded: {error.message}"
        return False, type(error)(message, hint=error.hint)
    return True, None


def restorable_backup(context: Context, text: str) -> PayloadName:
    """Return the backup that *text* names, for a restore; see ``chosen_backup``.

    Raises Refused where that is the newest one by the word ``latest``, and its last check failed:
    who asks for the newest has not seen that. One that was named is warned of.
    """
    name = chosen_backup(context, text)
    manifest = load(context.repository, name)
    if manifest.signed and manifest.data_key is None:
        return name
    found = standing(history(context.repository, manifest).proofs)
    if found.verdict is not Verdict.FAILED:
        return name
    said = f"{name} failed its last {found.check} at {found.at}: {found.note}"
    good = _newest_good(context)
    other = f"the newest that is {good[1].verdict}: {good[0]}" if good else "no other is known good"
    if text == LATEST:
        message = f"the newest backup, {said}"
        raise Refused(message, hint=f"{other}; to go on with this one all the same, name it")
    context.observe(Notice(message=said, hint=other))
    return name


def _newest_good(context: Context) -> tuple[PayloadName, Standing] | None:
    """Return the newest backup of the settings' series whose last check found it good."""
    config = context.config
    entries = listing(context.repository).entries
    ours = usual(in_series(entries, config.server_name, config.databases))
    found = standings(context.repository, ours)
    for entry in reversed(ours):
        stands = found[entry.manifest.header.id]
        if stands.verdict in GOOD:
            return entry.name, stands
    return None
