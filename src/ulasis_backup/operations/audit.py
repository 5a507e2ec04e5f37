"""``audit show``, ``audit verify``: reading the audit log; what ``prune`` takes from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ulasis_backup.errors import (
    BlobMissing,
    CouldNotCheck,
    IntegrityError,
    StorageError,
    UlasisError,
    WrongKey,
)
from ulasis_backup.events import Notice
from ulasis_backup.operations.auditing import Journal, words_of
from ulasis_backup.operations.context import Context, now, stamp
from ulasis_backup.repository import audit, auditfile, names, repository
from ulasis_backup.repository.auditfile import Body, Entry, Kind
from ulasis_backup.repository.auditverify import Finding, Grade, Known, Raw, Report, check_log
from ulasis_backup.repository.repository import Listing, Repository
from ulasis_backup.storage.base import Storage, read_whole
from ulasis_backup.streams.signing import replace_signer

READINGS = 3
"""How often a log is read in which entries vanish meanwhile: a trim removes some."""
THIS_MACHINE = "this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``audit verify`` is asked: which host (all), trusted keys, losses that are known.

    ``accepted`` are ``<host>/<number>`` of entries that tell of a loss which was looked into.
    """

    host: str = ""
    pins: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What ``audit verify`` found.

    ``anchors`` are the manifests that were held against it, and ``remembered`` tells whether this
    machine remembers an entry of its own log there.
    """

    reports: tuple[Report, ...]
    findings: tuple[Finding, ...]
    anchors: int
    remembered: bool
    waiting: int

    def of(self, grade: Grade) -> tuple[Finding, ...]:
        """Return the findings of one grade."""
        return tuple(found for found in self.findings if found.grade is grade)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An entry for people: what is wrong with it, and why its body could not be read."""

    entry: Entry
    body: Body | None
    doubts: tuple[str, ...]
    unread: str = ""

    @property
    def at(self) -> str:
        """Return when it happened, as far as that can be read."""
        return self.body.at if self.body else self.entry.at

    @property
    def order(self) -> datetime:
        """Return where it stands among others: as in its log, but for what was stored later."""
        late = self.body is not None and self.body.late
        return datetime.fromisoformat(self.at if late else self.entry.at)


def verify_log(context: Context, request: Request) -> Checked:
    """Check every log in the repository, against manifests and what this machine remembers.

    Raises CouldNotCheck where there is none, StorageError.
    """
    journal = Journal(context.config, context.repository)
    # What is remembered is read first: what comes later would seem to be missing.
    listing = repository.listing(context.repository)
    known, unread = _known(journal, listing)
    storage = context.repository.storage
    hosts = sorted({*audit.hosts_of(storage), *(one.host for one in known)})
    wanted = auditfile.host_name(request.host) if request.host else ""
    hosts = [host for host in hosts if wanted in ("", host)]
    if not hosts:
        of = f" of {request.host}" if request.host else ""
        message = f"there is no audit log{of} in {storage.place}"
        raise CouldNotCheck(message, hint="is BACKUP_DIR right? is BACKUP_AUDIT on?")
    keys = audit.Keys(context.repository)
    reports: list[Report] = []
    findings: list[Finding] = list(unread)
    for host in hosts:
        mine = [one for one in known if one.host == host]
        try:
            raws, strangers = _raws(storage, host), tuple(_strangers(storage, host))
        except StorageError as error:
            # The logs of other machines are to be checked all the same.
            what = f"its log cannot be read: {error.message}"
            findings.append(Finding(host=host, seq=0, what=what, grade=Grade.UNREAD))
            continue
        report = check_log(host, raws, known=mine, pins=request.pins, now=stamp(now()))
        reports.append(report)
        findings += [_accepted(found, report, request) for found in report.findings]
        findings += _contents(report, keys)
        findings += _remade(report, keys, listing)
        findings += strangers
    anchors = sum(one.by != THIS_MACHINE for one in known)
    return Checked(
        reports=tuple(reports),
        findings=tuple(findings),
        anchors=anchors,
        remembered=anchors < len(known),
        waiting=len(journal.waiting()),
    )


def read_log(
    context: Context, *, since: datetime | None = None, host: str = ""
) -> tuple[Shown, ...]:
    """Return the entries since a moment, of every host or one, in the order of time.

    Raises CouldNotCheck where there is no log, StorageError.
    """
    storage = context.repository.storage
    wanted = auditfile.host_name(host) if host else ""
    hosts = [one for one in audit.hosts_of(storage) if wanted in ("", one)]
    if not hosts:
        message = f"there is no audit log{f' of {host}' if host else ''} in {storage.place}"
        raise CouldNotCheck(message, hint="is BACKUP_DIR right? is BACKUP_AUDIT on?")
    keys = audit.Keys(context.repository)
    found: list[Shown] = []
    for one in hosts:
        report = check_log(one, _raws(storage, one))
        found += _shown(report, keys)
    chosen = (one for one in found if since is None or datetime.fromisoformat(one.at) >= since)
    return tuple(sorted(chosen, key=lambda one: one.order))


def moment_of(text: str, now_at: datetime) -> datetime:
    """Return the moment that *text* means: a date, a time, or so long ago (``7d``, ``12h``).

    Raises ValueError.
    """
    units = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdigit() and unit in units:
        try:
            return now_at - int(number) * units[unit]
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.astimezone()


def trimmable(context: Context) -> int:
    """Return how many entries of this host's log a ``trim_log`` would remove.

    What keeps it from being known is told to whoever observes, and counts as none.
    """
    before = _trimmed_before(context)
    if not before:
        return 0
    journal = Journal(context.config, context.repository)
    try:
        facts = audit.trimming(context.repository.storage, journal.host, before)
    except UlasisError as error:
        message = f"the audit log cannot be read: {error.message}"
        context.observe(Notice(message=message, hint="`ulasis-backup audit verify` says more"))
        return 0
    return facts.gone if facts else 0


def trim_log(context: Context) -> int:
    """Remove the entries of this host that are older than the settings keep them; return how many.

    What keeps it from that is told to whoever observes: a prune is none the worse for it.
    """
    before = _trimmed_before(context)
    if not before:
        return 0
    journal = Journal(context.config, context.repository)
    try:
        seen = journal.memory()
        # Without anything old enough no key is made, and nothing written.
        if audit.trimming(context.repository.storage, journal.host, before) is None:
            return 0
        stored = audit.trim(journal.writer(), before, seen)
        if stored is None or stored.entry.facts is None:
            return 0
        journal.remember(stored, seen)
    except (UlasisError, OSError) as error:
        message = f"the audit log was not trimmed: {words_of(error)}"
        context.observe(Notice(message=message, hint="the next prune tries again"))
        return 0
    return stored.entry.facts.gone


def cut_off(context: Context) -> bool:
    """Tell whether the entry that this machine remembers last is gone from its log.

    Raises StorageError.
    """
    journal = Journal(context.config, context.repository)
    tail = audit.tail_of(context.repository, journal.host, journal.memory())
    return tail.missing is not None


def rotate_key(context: Context) -> tuple[str, str]:
    """Make a new key that signs; return the fingerprints of the old and the new one.

    The old key stays beside it and introduces the new one to each log when that is written next.
    Raises SettingsError, StorageError.
    """
    journal = Journal(context.config, context.repository)
    try:
        old = journal.signer().fingerprint
        return old, replace_signer(journal.key_file).fingerprint
    except OSError as error:
        message = f"the key was not replaced: {words_of(error)}"
        raise StorageError(message, hint="let this user write to BACKUP_STATE_DIR") from None


def _trimmed_before(context: Context) -> str:
    settings = context.config.settings
    if not settings.backup_audit or not settings.backup_audit_days:
        return ""
    return stamp(now() - timedelta(days=settings.backup_audit_days))


def _known(journal: Journal, found: Listing) -> tuple[list[Known], list[Finding]]:
    """Return the entries that this machine and the manifests remember, and what was not read."""
    memory = journal.memory()
    known: list[Known] = []
    if memory.head:
        head = memory.head
        known.append(Known(host=journal.host, seq=head.seq, digest=head.digest, by=THIS_MACHINE))
    anchors, unread = _anchors(journal.repository, found)
    return known + anchors, unread


def _anchors(shelf: Repository, found: Listing) -> tuple[list[Known], list[Finding]]:
    known: list[Known] = []
    findings = [
        _doubtful(one.name, one.error)
        for one in found.oddities
        if one.error and names.parse_manifest(one.name)
    ]
    for entry in found.entries:
        manifest, anchor = entry.manifest, entry.manifest.header.audit
        if shelf.key and not manifest.signed:
            # Nobody vouches for it, so that it must neither accuse nor acquit; `list` says so.
            continue
        if manifest.signed and manifest.data_key is None:
            findings.append(_doubtful(str(entry.name)))
        elif anchor and auditfile.host_name(anchor.host) == anchor.host:
            known.append(
                Known(
                    host=anchor.host, seq=anchor.seq, digest=anchor.digest,
                    by=f"the manifest of {entry.name}", at=manifest.header.started_at,
                )
            )  # fmt: skip
    return known, findings


def _doubtful(manifest: str, error: UlasisError | None = None) -> Finding:
    """Return what it means that what a *manifest* says of the log cannot be believed."""
    if isinstance(error, IntegrityError) and not isinstance(error, WrongKey):
        what = f"what {manifest} says of the log was changed: {error.message}"
        return Finding(host="", seq=0, what=what)
    what = f"what {manifest} says of the log cannot be authenticated"
    return Finding(host="", seq=0, what=what, grade=Grade.UNREAD)


def _raws(storage: Storage, host: str) -> list[Raw]:
    """Read every entry; again where some vanish meanwhile, as a trim lets them."""
    found: list[Raw] = []
    for _ in range(READINGS):
        vanished = False
        found = []
        for seq in audit.numbers_of(storage, host):
            try:
                path = auditfile.path_of(host, seq)
                data = read_whole(storage, path, most=auditfile.MOST_BYTES)
                found.append(Raw(seq=seq, data=data))
            except BlobMissing:
                vanished = True
            except (StorageError, IntegrityError) as error:
                found.append(Raw(seq=seq, problem=error.message))
        if not vanished:
            break
    return found


def _accepted(found: Finding, report: Report, request: Request) -> Finding:
    """Return a finding as a note where it is a loss that somebody has looked into."""
    lost = {entry.seq for entry in report.entries if entry.kind is Kind.LOST}
    if found.seq in lost and f"{found.host}/{found.seq}" in request.accepted and _tells(found):
        return replace(found, grade=Grade.NOTE)
    return found


def _tells(found: Finding) -> bool:
    return found.what.startswith("tells that")


def _contents(report: Report, keys: audit.Keys) -> Iterator[Finding]:
    """Yield where the sealed body of an entry cannot be read, or is not authentic."""
    unread: Counter[str] = Counter()
    first: dict[str, int] = {}
    for entry in report.entries:
        if entry.kind is not Kind.RUN:
            continue
        problem, wrong = _problem_of(entry, keys)
        if wrong:
            yield Finding(host=report.host, seq=entry.seq, what=problem)
        elif problem:
            unread[problem] += 1
            first.setdefault(problem, entry.seq)
    for problem, count in unread.items():
        what = f"what {count} entries say cannot be read, from this one on: {problem}"
        yield Finding(host=report.host, seq=first[problem], what=what, grade=Grade.UNREAD)


def _remade(report: Report, keys: audit.Keys, listing: Listing) -> Iterator[Finding]:
    """Yield backups that are not what was made: somebody with the key has signed them anew.

    Those that are there no more are no matter of the log, and what cannot be read says so already.
    """
    there = {str(one.name): one.manifest.digest for one in listing.entries}
    for entry in report.entries:
        if entry.kind is not Kind.RUN or _problem_of(entry, keys)[0]:
            continue
        for made in keys.body_of(entry).made:
            if there.get(made.backup, made.manifest) != made.manifest:
                what = f"{made.backup} is not the backup that was made: its manifest is another one"
                yield Finding(host=report.host, seq=entry.seq, what=what)


def _problem_of(entry: Entry, keys: audit.Keys) -> tuple[str, bool]:
    """Return what keeps the body of *entry* from being read, and whether that is tampering."""
    try:
        keys.body_of(entry)
    except (WrongKey, StorageError) as error:
        return error.message, False
    except UlasisError as error:
        return f"what it says cannot be opened: {error.message}", True
    return "", False


def _strangers(storage: Storage, host: str) -> Iterator[Finding]:
    for blob in storage.list(auditfile.folder_of(host)):
        if auditfile.parse_path(blob.name) is None:
            what = f"{blob.name} is no entry, and not ours"
            yield Finding(host=host, seq=0, what=what, grade=Grade.NOTE)


def _shown(report: Report, keys: audit.Keys) -> Iterator[Shown]:
    doubts: dict[int, list[str]] = {}
    for found in report.findings:
        if found.grade is Grade.WRONG:
            doubts.setdefault(found.seq, []).append(found.what)
    for entry in report.entries:
        body: Body | None = None
        unread, said = "", doubts.get(entry.seq, [])
        if entry.kind is Kind.RUN:
            try:
                body = keys.body_of(entry)
            except UlasisError as error:
                unread = error.message
        yield Shown(entry=entry, body=body, doubts=tuple(said), unread=unread)


def worst(found: Sequence[Finding]) -> Grade:
    """Return the worst grade among *found*; NOTE where there is nothing worse."""
    grades = {one.grade for one in found}
    return next((grade for grade in Grade if grade in grades), Grade.NOTE)
