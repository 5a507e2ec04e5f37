"""The proofs of backups: what was found out about each, when, and what stands now.

A proof is a file of its own and is never changed. What stands follows from the order of the
proofs' numbers, not from clocks. Proofs steer deletion, so only authentic ones that name this very
manifest count; everything else that lies among them is a doubt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from ulasis_backup.errors import (
    BlobMissing,
    DumpFailed,
    IntegrityError,
    LoadFailed,
    StorageError,
    UlasisError,
    UnknownFormat,
    WrongKey,
)
from ulasis_backup.model import Verdict
from ulasis_backup.repository import prooffile
from ulasis_backup.repository.manifest import Manifest
from ulasis_backup.repository.prooffile import Check, Proof, ProofName, folder_of
from ulasis_backup.repository.repository import Entry, Repository
from ulasis_backup.storage.base import Blob, read_whole

__all__ = [
    "GOOD",
    "Check",
    "History",
    "Proof",
    "Standing",
    "delete_proofs",
    "history",
    "record",
    "standing",
    "standings",
    "verdict_of",
]

FOLDER = "proofs"
GOOD = frozenset({Verdict.PROVEN, Verdict.INTACT, Verdict.INTACT_UNSIGNED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands about a backup.

    ``at`` is when the check ended that says so, empty for none: for PROVEN that is the age of the
    proof. ``good`` is the last proof that found the backup good, be it a lesser one. ``tried_at``
    is when the last test restore ended, whatever came of it. With ``unread`` there are proofs that
    could not be read at this moment: what they say is not known.
    """

    verdict: Verdict = Verdict.UNCHECKED
    at: str = ""
    check: Check | None = None
    note: str = ""
    proof: Proof | None = None
    good: Proof | None = None
    tried_at: str = ""
    doubts: tuple[str, ...] = ()
    unread: bool = False


@dataclass(slots=True)
class _Doubts:
    """What is doubtful among proofs, and whether any could not be read."""

    texts: list[str] = field(default_factory=list)
    unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The proofs of a backup that count, oldest first, and what is doubtful among its proofs."""

    proofs: tuple[Proof, ...] = ()
    doubts: tuple[str, ...] = ()


def record(repository: Repository, manifest: Manifest, proof: Proof) -> None:
    """Store *proof* of the backup that *manifest*, a trusted one, describes.

    Its number is one more than the highest there. Raises StorageError and its children.
    """
    if (proof.backup, proof.manifest) != (manifest.header.id, manifest.digest):
        msg = "a proof is recorded with the manifest that was checked"
        raise ValueError(msg)
    if proof.verdict is Verdict.UNCHECKED or (manifest.signed and manifest.data_key is None):
        msg = "a proof says what was found out, and is signed if its backup is"
        raise ValueError(msg)
    names = _names(repository.storage.list(folder_of(proof.backup)))
    last = next(_believed(repository, manifest, reversed(names), _Doubts()), None)
    numbered = replace(proof, number=last.number + 1 if last else 1)
    data = prooffile.serialise(numbered, manifest)
    repository.storage.put(prooffile.new_path(numbered), [data])


def history(repository: Repository, manifest: Manifest) -> History:
    """Return every proof of the backup of *manifest*: authentic ones that name this very manifest.

    What else lies there is named in the doubts. Raises StorageError for a folder that cannot be
    read.
    """
    names = _names(repository.storage.list(folder_of(manifest.header.id)))
    doubts = _Doubts(_gaps(manifest.header.id, names))
    found = list(_believed(repository, manifest, names, doubts))
    return History(proofs=tuple(sorted(found, key=_order)), doubts=tuple(doubts.texts))


def standings(repository: Repository, entries: Iterable[Entry]) -> Mapping[str, Standing]:
    """Return what stands about each of *entries*, by backup id.

    The proofs of all are listed at once, and only those are opened that can decide.
    """
    listed: dict[str, list[ProofName]] = defaultdict(list)
    try:
        names = _names(repository.storage.list(FOLDER, deep=True))
    except StorageError as error:
        unread = Standing(note=f"proofs cannot be read: {error.message}", unread=True)
        return {entry.manifest.header.id: unread for entry in entries}
    for name in names:
        listed[name.path.split("/")[1]].append(name)
    return {
        entry.manifest.header.id: _standing_of(
            repository, entry, listed.get(entry.manifest.header.id, [])
        )
        for entry in entries
    }


def standing(proofs: Sequence[Proof], *, partial: bool = False) -> Standing:
    """Return what stands after *proofs*, oldest first.

    A later failure beats an earlier proof. A backup that once failed a test restore is not good
    again because its bytes are: only a later test restore can say so. A check that could not be
    carried out changes nothing but the note. A *partial* backup is never proven.
    """
    last = _Last({(proof.check, proof.verdict): at for at, proof in enumerate(proofs)})
    at = last.decisive()
    note = ""
    missed = last.of(Verdict.COULD_NOT_CHECK)
    if missed > max(last.of(*GOOD), last.of(Verdict.FAILED)):
        note = _missed(proofs[missed])
    tried = last.of(*Verdict, check=Check.TEST_RESTORE)
    tried_at = proofs[tried].finished_at if tried >= 0 else ""
    if at < 0:
        return Standing(note=note, tried_at=tried_at)
    decisive, good = proofs[at], last.of(*GOOD)
    verdict, said = decisive.verdict, decisive.reason
    if partial and verdict is Verdict.PROVEN:
        verdict, said = Verdict.INTACT, "made without all rights: never proven"
    return Standing(
        verdict=verdict, at=decisive.finished_at, check=decisive.check, proof=decisive,
        note="; ".join(text for text in (said, note) if text),
        good=proofs[good] if good >= 0 else None, tried_at=tried_at,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Last:
    """Where the last proof of each check and verdict stands, -1 for none: nothing else counts."""

    places: Mapping[tuple[Check, Verdict], int]

    def of(self, *verdicts: Verdict, check: Check | None = None) -> int:
        return max(
            (at for (how, what), at in self.places.items()
             if what in verdicts and check in (None, how)),
            default=-1,
        )  # fmt: skip

    def decisive(self) -> int:
        failed, good, proven = self.of(Verdict.FAILED), self.of(*GOOD), self.of(Verdict.PROVEN)
        refuted = self.of(Verdict.FAILED, check=Check.TEST_RESTORE)
        if failed > good or refuted > proven:
            return failed
        if proven > failed:
            return proven
        return self.of(Verdict.INTACT, Verdict.INTACT_UNSIGNED)


def verdict_of(error: UlasisError) -> Verdict:
    """Return what *error*, met while a backup was read, says of it.

    Only its own bytes count, or that they are gone. A storage that does not answer today, or the
    lack of a key, says nothing, and must not make the only proven backup one that may go.
    """
    failed = isinstance(error, IntegrityError | BlobMissing | DumpFailed | LoadFailed)
    certain = failed and not isinstance(error, WrongKey)
    return Verdict.FAILED if certain else Verdict.COULD_NOT_CHECK


def delete_proofs(repository: Repository, backup_id: str) -> None:
    """Delete every proof of a backup that was deleted; idempotent."""
    for blob in list(repository.storage.list(folder_of(backup_id))):
        repository.storage.delete(blob.name)


def _standing_of(repository: Repository, entry: Entry, names: Sequence[ProofName]) -> Standing:
    manifest = entry.manifest
    if entry.problem is not None:
        return Standing(verdict=verdict_of(entry.problem), note=entry.problem.message)
    if manifest.signed and manifest.data_key is None:
        return Standing(note="its proofs cannot be read without the key" if names else "")
    doubts = _Doubts(_gaps(manifest.header.id, names))
    kinds: dict[tuple[Check, Verdict], list[ProofName]] = defaultdict(list)
    for name in reversed(names):
        kinds[name.check, name.verdict].append(name)
    newest = (
        next(_believed(repository, manifest, group, doubts), None) for group in kinds.values()
    )
    telling = sorted((proof for proof in newest if proof is not None), key=_order)
    found = standing(telling, partial=manifest.header.partial)
    return replace(found, doubts=tuple(doubts.texts), unread=doubts.unread)


def _names(blobs: Iterable[Blob]) -> list[ProofName]:
    """Return the names of proofs among *blobs*, lowest number first."""
    found = (prooffile.parse_path(blob.name) for blob in blobs)
    return sorted((name for name in found if name), key=lambda name: (name.number, name.path))


def _order(proof: Proof) -> tuple[int, bool, str]:
    """Order proofs: of those with the same number, made at once, a failure counts as the later."""
    return proof.number, proof.verdict is Verdict.FAILED, proof.finished_at


def _believed(
    repository: Repository, manifest: Manifest, names: Iterable[ProofName], doubts: _Doubts
) -> Iterator[Proof]:
    """Yield the proofs that count, in the order of *names*; note the others in *doubts*."""
    for name in names:
        try:
            data = read_whole(repository.storage, name.path, most=prooffile.MOST_BYTES)
            proof = prooffile.parse(data, name=name, manifest=manifest)
        except BlobMissing:
            continue
        except (IntegrityError, UnknownFormat, StorageError) as error:
            doubts.texts.append(f"a proof does not count: {error.message}")
            doubts.unread |= isinstance(error, UnknownFormat | StorageError)
            continue
        if doubt := _doubt(repository, manifest, proof):
            doubts.texts.append(f"a proof does not count: {name.path} {doubt}")
        else:
            yield proof


def _doubt(repository: Repository, manifest: Manifest, proof: Proof) -> str:
    if repository.key and not manifest.signed:
        return "is not signed, although a key is configured"
    if proof.backup != manifest.header.id:
        return f"is of another backup, {proof.backup}"
    return "" if proof.manifest == manifest.digest else "is of another manifest"


def _gaps(backup_id: str, names: Sequence[ProofName]) -> list[str]:
    """Return a doubt where numbers are missing: who removed a failure may have hidden it."""
    numbers = [0, *(name.number for name in names)]
    return [
        f"proofs of {backup_id} are missing: number {before + 1} to {after - 1}"
        for before, after in pairwise(numbers)
        if after - before > 1
    ]


def _missed(proof: Proof) -> str:
    reason = f": {proof.reason}" if proof.reason else ""
    return f"could not be checked at {proof.finished_at}{reason}"
