"""Whether an audit log is whole: pure, from the bytes of its entries and what is known beside them.

What is known beside them are the entries that manifests and this machine remember (``Known``), and
the keys that a person trusts (``pins``). docs/reference/audit.md says what each finding means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ulasis_backup.errors import IntegrityError, UnknownFormat
from ulasis_backup.repository import auditfile
from ulasis_backup.repository.auditfile import Entry, Facts, Kind

SHORTEST = timedelta(days=365)
"""Nothing younger is ever trimmed by us; see BACKUP_AUDIT_DAYS."""
SLACK = timedelta(days=1)
"""How far the clocks of those who trim and who anchor may be apart."""


class Grade(StrEnum):
    """What a finding is: a proof of tampering or loss, something unread, or worth knowing."""

    WRONG = "wrong"
    UNREAD = "could-not-check"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found in the log of *host*, at entry *seq* (0: the log as a whole)."""

    host: str
    seq: int
    what: str
    grade: Grade = Grade.WRONG


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An entry that somebody outside of the log remembers: *by*, e.g. a manifest, of when *at*."""

    host: str
    seq: int
    digest: str
    by: str
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An entry as it lies there; without *data* it could not be read, for *problem*."""

    seq: int
    data: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in one log; *entries* are those that can be parsed, by number."""

    host: str
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    keys: tuple[str, ...] = ()

    @property
    def last(self) -> Entry | None:
        """Return the newest entry."""
        return self.entries[-1] if self.entries else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """A log as it is being looked at."""

    host: str
    digests: Mapping[int, str]
    entries: Mapping[int, Entry]
    publics: Mapping[str, bytes]
    pins: frozenset[str]
    unread: frozenset[int]

    def finding(self, seq: int, what: str, grade: Grade = Grade.WRONG) -> Finding:
        return Finding(host=self.host, seq=seq, what=what, grade=grade)


def check_log(
    host: str,
    raws: Sequence[Raw],
    *,
    known: Iterable[Known] = (),
    pins: frozenset[str] = frozenset(),
    now: str = "",
) -> Report:
    """Return what is wrong with the log of *host*, whose entries are *raws* in order of number.

    With *pins* a key is trusted if it is one of them or introduced by one that is. Without, the
    key of the first entry is, and what it introduces.
    """
    parsed = {raw.seq: _parse(host, raw) for raw in raws}
    entries = {seq: found for seq, found in parsed.items() if isinstance(found, Entry)}
    log = _Log(
        host=host,
        digests={raw.seq: auditfile.digest_of(raw.data) for raw in raws if not raw.problem},
        entries=entries,
        publics=_publics(entries.values()),
        pins=pins,
        unread=frozenset(raw.seq for raw in raws if raw.problem),
    )
    trim = _last_trim(log)
    findings = [found for found in parsed.values() if isinstance(found, Finding)]
    findings += _signatures(log)
    findings += _numbers(log, trim)
    findings += _links(log, trim)
    findings += _trust(log, trim)
    findings += _told(log)
    findings += _remembered(log, known, trim, now)
    findings += _clocks(log)
    return Report(
        host=host,
        entries=tuple(entries[seq] for seq in sorted(entries)),
        findings=tuple(sorted(findings, key=lambda one: one.seq)),
        keys=tuple(dict.fromkeys(entries[seq].key for seq in sorted(entries))),
    )


def _parse(host: str, raw: Raw) -> Entry | Finding:
    name = auditfile.path_of(host, raw.seq)
    if raw.problem:
        return Finding(
            host=host, seq=raw.seq, what=f"cannot be read: {raw.problem}", grade=Grade.UNREAD
        )
    try:
        return auditfile.parse(raw.data, name=name)
    except UnknownFormat as error:
        return Finding(host=host, seq=raw.seq, what=error.message, grade=Grade.UNREAD)
    except IntegrityError as error:
        return Finding(host=host, seq=raw.seq, what=f"was changed or is damaged: {error.message}")


def _publics(entries: Iterable[Entry]) -> dict[str, bytes]:
    """Return every public key that is told of; whether to trust it is another question."""
    found: dict[str, bytes] = {}
    for entry in entries:
        found |= auditfile.publics_in(entry)
    return found


def _last_trim(log: _Log) -> Entry | None:
    """Return the newest entry that tells of a trim and may be believed."""
    for seq in sorted(log.entries, reverse=True):
        entry = log.entries[seq]
        first = _facts(entry).first
        tells = entry.kind is Kind.TRIMMED and first <= seq and _right(log, seq)
        if tells and entry.key in _trusted(log, first, until=seq):
            return entry
    return None


def _right(log: _Log, seq: int) -> bool:
    """Tell whether an entry lies where it belongs, and its signature is right."""
    entry = log.entries[seq]
    placed = (entry.host, entry.seq) == (log.host, seq)
    return placed and auditfile.is_authentic(entry, log.publics)


def _signatures(log: _Log) -> Iterator[Finding]:
    unknown: set[str] = set()
    for seq, entry in log.entries.items():
        if (entry.host, entry.seq) != (log.host, seq):
            what = f"says that it is entry {entry.seq} of {entry.host}: it was moved or copied here"
            yield log.finding(seq, what)
        elif entry.key not in log.publics:
            if entry.key in unknown:
                continue
            unknown.add(entry.key)
            yield log.finding(seq, f"is signed by {entry.key}, a key that the log does not know")
        elif not auditfile.is_authentic(entry, log.publics):
            yield log.finding(seq, "was changed: its signature is not right")


def _numbers(log: _Log, trim: Entry | None) -> Iterator[Finding]:
    """Yield where entries are missing."""
    there = sorted({*log.entries, *log.digests, *log.unread})
    first = _facts(trim).first if trim else 1
    kept = [seq for seq in there if seq >= first]
    before = first - 1
    for seq in kept:
        if seq > before + 1:
            yield log.finding(before + 1, f"is missing{_to(before + 2, seq - 1)}")
        before = seq
    left = [seq for seq in there if seq < first]
    if left:
        what = f"a trim announced that it goes{_to(left[0] + 1, left[-1])}; the next one goes on"
        yield log.finding(left[0], what, Grade.NOTE)


def _to(second: int, last: int) -> str:
    return f", and all up to {last}" if last >= second else ""


def _links(log: _Log, trim: Entry | None) -> Iterator[Finding]:
    """Yield where an entry does not name the one before it."""
    first = _facts(trim).first if trim else 1
    for seq, entry in log.entries.items():
        if seq == 1 and entry.previous:
            yield log.finding(seq, "names an entry before it, and is the first one")
        if seq == first and trim and entry.previous != _facts(trim).previous:
            yield log.finding(seq, f"is not the one that entry {trim.seq} says is the first kept")
        before = log.digests.get(seq - 1)
        if before is not None and entry.previous != before:
            what = f"does not follow entry {seq - 1}: one of them was changed, added or put back"
            yield log.finding(seq, what)


def _trusted(log: _Log, first: int, *, until: int = 0) -> set[str]:
    """Return the trusted keys: those that are pinned, or the first one; and what these introduce.

    What a trim tells of keys makes none trusted: it would vouch for the one that signed it.
    """
    numbers = [seq for seq in sorted(log.entries) if seq >= first and (not until or seq <= until)]
    root = next((log.entries[seq].key for seq in numbers if _right(log, seq)), "")
    trusted = set(log.pins) or {root}
    for seq in numbers:
        entry = log.entries[seq]
        if entry.kind is Kind.KEY and entry.key in trusted and _right(log, seq):
            trusted |= auditfile.publics_in(entry).keys()
    return trusted


def _trust(log: _Log, trim: Entry | None) -> Iterator[Finding]:
    """Yield where a key begins to sign that nobody vouches for."""
    first = _facts(trim).first if trim else min(log.entries, default=0)
    trusted = _trusted(log, first)
    seen: set[str] = set()
    for seq in sorted(log.entries):
        key = log.entries[seq].key
        if seq < first or key in trusted or key in seen or key not in log.publics:
            continue
        seen.add(key)
        pinned = "none of the keys that were given" if log.pins else "no key before it"
        what = f"a new key signs, {key}, and {pinned} vouches for it"
        yield log.finding(seq, what)


def _told(log: _Log) -> Iterator[Finding]:
    """Yield what the log itself tells: that its end had been gone."""
    for seq, entry in log.entries.items():
        if entry.kind is Kind.LOST and _right(log, seq):
            facts = _facts(entry)
            what = f"tells that entry {facts.lost}, which this host had stored, was not there"
            yield log.finding(seq, f"{what}: the log was cut off, replaced or put back")


def _remembered(
    log: _Log, known: Iterable[Known], trim: Entry | None, now: str
) -> Iterator[Finding]:
    """Yield which entries are gone, or others, that somebody outside of the log remembers."""
    first = _facts(trim).first if trim else 1
    for one in known:
        if one.host != log.host or one.seq in log.unread:
            continue
        if one.seq >= first:
            if log.digests.get(one.seq) != one.digest:
                gone = "is gone" if one.seq not in log.digests else "is another one"
                what = f"{gone}: {one.by} remembers it; the log was cut off, replaced or put back"
                yield log.finding(one.seq, what)
        elif trim and one.at and _is_young(one.at, min(trim.at, now or trim.at)):
            what = (
                f"was trimmed, although {one.by}, which names it, is not {SHORTEST.days} days old"
            )
            yield log.finding(one.seq, what)


def _is_young(at: str, then: str) -> bool:
    age = datetime.fromisoformat(then) - datetime.fromisoformat(at)
    return age < SHORTEST - SLACK


def _clocks(log: _Log) -> Iterator[Finding]:
    before: Entry | None = None
    for seq in sorted(log.entries):
        entry = log.entries[seq]
        if before and datetime.fromisoformat(entry.at) < datetime.fromisoformat(before.at):
            what = f"is dated {entry.at}, before entry {before.seq}: a clock was put back"
            yield log.finding(seq, what, Grade.NOTE)
        before = entry


def _facts(entry: Entry) -> Facts:
    return entry.facts or Facts()
