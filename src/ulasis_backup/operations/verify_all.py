"""``verify-all``: verify every backup of a repository, or the share that is due.

A plain run is a round: it leaves a mark that is removed when everything due was checked. A run that
finds a mark goes on with that round: what was found good in it, as the backup's own proof says, is
not read again. Selected runs need no mark: what was checked is due no more, or due last.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ulasis_backup.errors import BackupNotFound, StorageError, UlasisError
from ulasis_backup.events import Event, Notice, PhaseBegan
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.operations.ranges import Seen
from ulasis_backup.operations.verify import Verification, verify
from ulasis_backup.repository import canonical, proofs, repository
from ulasis_backup.repository.names import PayloadName
from ulasis_backup.repository.proofs import GOOD, Check, Proof, Standing
from ulasis_backup.repository.repository import Entry, Listing

ROUND = "round-"
LONGEST_ROUND = timedelta(days=7)
"""How old a proof may be that an interrupted round rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which backups are due.

    ``stale``: those that no check found good since. ``percent``: so many of a hundred of all
    backups, those first that were not checked for the longest time. ``restart``: also what an
    interrupted round has found good already.
    """

    stale: timedelta | None = None
    percent: float | None = None
    restart: bool = False

    @property
    def everything(self) -> bool:
        """Tell whether all backups are due."""
        return self.stale is None and self.percent is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is about to do: backups to be read, and those that the round has read before.

    ``skipped`` backups are not due. ``oddities`` claim to be backups and cannot be read as such.
    """

    round: str
    due: tuple[Entry, ...]
    done: tuple[tuple[Entry, Proof], ...]
    skipped: int
    listing: Listing


def plan(context: Context, selection: Selection) -> Plan:
    """Decide what is due in the repository; raises StorageError, UnknownFormat."""
    listing = repository.listing(context.repository)
    standings = proofs.standings(context.repository, listing.entries)
    moment = now()
    if not selection.everything:
        due = choose(listing.entries, standings, selection, moment)
        skipped = len(listing.entries) - len(due)
        return Plan(round="", due=due, done=(), skipped=skipped, listing=listing)
    round_ = "" if selection.restart else _interrupted(context)
    done: list[tuple[Entry, Proof]] = []
    left: list[Entry] = []
    for entry in listing.entries:
        proof = _found_good(standings[entry.manifest.header.id], round_, moment)
        if proof:
            done.append((entry, proof))
        else:
            left.append(entry)
    return Plan(
        round=round_ or os.urandom(8).hex(), due=tuple(left), done=tuple(done), skipped=0,
        listing=listing,
    )  # fmt: skip


def choose(
    entries: Sequence[Entry],
    standings: Mapping[str, Standing],
    selection: Selection,
    moment: datetime,
) -> tuple[Entry, ...]:
    """Return the *entries* that are due at *moment*, the longest unchecked first; pure.

    What was never found good, or failed since, counts as never checked. So does what was checked
    in the future: a clock was wrong.
    """

    def checked(entry: Entry) -> float:
        return _checked(standings[entry.manifest.header.id], moment)

    due = sorted(entries, key=checked)
    if selection.stale is not None:
        limit = (moment - selection.stale).timestamp()
        due = [entry for entry in due if checked(entry) <= limit]
    if selection.percent is not None:
        due = due[: math.ceil(len(entries) * selection.percent / 100)]
    return tuple(due)


def verify_all(context: Context, planned: Plan | None = None) -> Iterator[Verification]:
    """Check the backups of *planned* (None: all); a failed one is a result, not an end.

    An object that several backups share is read once. Files that claim to be backups and cannot
    be read as such are failures too. A backup that is removed meanwhile is no result.
    """
    planned = planned or plan(context, Selection())
    for entry, proof in planned.done:
        yield _earlier(entry, proof)
    _begin(context, planned)
    seen = Seen()
    # In a whole round every backup is read itself.
    others = bool(planned.done or planned.skipped)
    total = sum(_bytes(entry) for entry in planned.due)
    before = 0
    for number, entry in enumerate(planned.due, 1):
        share = f", {100 * before // total} % done" if total else ""
        title = f"{number} of {len(planned.due)}{share}"
        try:
            yield verify(
                _titled(context, title), entry.name, seen=seen, round_=planned.round, others=others
            )
        except BackupNotFound as error:
            if context.repository.storage.stat(entry.name.manifest) is not None:
                yield _failed(entry.name, error)
            else:
                context.observe(Notice(message=error.message, hint=error.hint))
        except UlasisError as error:
            yield _failed(entry.name, error)
        before += _bytes(entry)
    for oddity in planned.listing.oddities:
        if oddity.error is not None:
            yield _failed(oddity.name, oddity.error)
    _end(context, planned)


def _checked(standing: Standing, moment: datetime) -> float:
    if standing.verdict not in GOOD or standing.good is None:
        return 0.0
    at = datetime.fromisoformat(standing.good.finished_at)
    return at.timestamp() if at <= moment else 0.0


def _found_good(standing: Standing, round_: str, moment: datetime) -> Proof | None:
    """Return the proof that the backup was found good in *round_*, a short while ago."""
    proof = standing.good
    if not round_ or proof is None or standing.verdict not in GOOD:
        return None
    age = moment - datetime.fromisoformat(proof.finished_at)
    fresh = timedelta(0) <= age <= LONGEST_ROUND
    return proof if fresh and proof.round == round_ and proof.check is Check.VERIFY else None


def _earlier(entry: Entry, proof: Proof) -> Verification:
    return Verification(
        name=str(entry.name), verdict=proof.verdict, manifest=entry.manifest, bytes=proof.bytes,
        notes=(f"checked at {proof.finished_at}, before this round was interrupted",),
        seconds=sum(proof.phases.values()), recorded=True, earlier=proof.finished_at,
    )  # fmt: skip


def _failed(name: PayloadName | str, error: UlasisError) -> Verification:
    return Verification(name=str(name), verdict=proofs.verdict_of(error), problem=error)


def _bytes(entry: Entry) -> int:
    details = entry.manifest.details
    return details.plain.bytes if details else entry.manifest.header.stored.bytes


def _titled(context: Context, title: str) -> Context:
    def observe(event: Event) -> None:
        if isinstance(event, PhaseBegan):
            event = replace(event, subject=f"{title}: {event.subject}")
        context.observe(event)

    return replace(context, observe=observe)


def _marks(context: Context) -> dict[str, datetime]:
    """Return the rounds that were begun and not ended, and when, by the storage's clock."""
    start = f"{proofs.FOLDER}/{ROUND}"
    return {
        blob.name.removeprefix(start).removesuffix(".json"): blob.modified_at
        for blob in context.repository.storage.list(proofs.FOLDER)
        if blob.name.startswith(start)
    }


def _interrupted(context: Context) -> str:
    """Return the newest round that was begun and not ended, or an empty string."""
    marks = _marks(context)
    return max(marks, key=lambda name: marks[name], default="")


def _begin(context: Context, planned: Plan) -> None:
    """Mark the round, unless it is marked; where we may not write there are no proofs either."""
    if not planned.round or not planned.due:
        return
    path = f"{proofs.FOLDER}/{ROUND}{planned.round}.json"
    storage = context.repository.storage
    try:
        if storage.stat(path) is None:
            storage.put(path, [canonical.to_bytes({"format": 1, "started_at": stamp(now())})])
    except StorageError as error:
        message = f"verdicts cannot be recorded: {error.message}"
        context.observe(Notice(message=message, hint=error.hint))


def _end(context: Context, planned: Plan) -> None:
    """Remove the marks: everything that was due was checked, in this round or in an older one's."""
    if not planned.round:
        return
    try:
        for name in _marks(context):
            context.repository.storage.delete(f"{proofs.FOLDER}/{ROUND}{name}.json")
    except StorageError as error:
        message = f"the mark of the round could not be removed: {error.message}"
        context.observe(Notice(message=message, hint=error.hint))
