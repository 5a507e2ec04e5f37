"""Incidents and messages: what is open, what is to be told, and when. Pure: no clock, no file.

An incident is told of once when it begins, again when it grows worse or changes its title, as a
reminder while it lasts, and when it is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

LONGEST_AGE = timedelta(days=7)
"""A message that could not be sent for so long is given up."""
FEWEST_TRIES = 5
"""And only after so many tries: a clock that jumps a week ahead has tried nothing."""
MOST_REFUSALS = 5
"""How often a channel that takes others may refuse a message for good before it is given up."""
MOST_MESSAGES = 100
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
REMINDER = "still open: "
RECOVERED = "over: "


class Severity(StrEnum):
    """How bad it is; in this order."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that lasts until it is over. ``key`` says what, within one server and databases.

    A changed ``title`` is told of again: keep numbers that move by themselves in ``text``.
    Without ``lasting`` it is about what a person once did: no reminder until it is done again.
    """

    key: str
    severity: Severity
    title: str
    text: str
    lasting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An incident that is not over: since when, and when it was last told of."""

    incident: Incident
    since: datetime
    told: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to be sent to every channel; ``delivered`` are the channels that have it.

    It is tried again no earlier than ``not_before``; ``reason`` is why the last try failed.
    ``refusals`` counts by channel how often it was refused for good while others were taken.
    """

    id: str
    severity: Severity
    title: str
    text: str
    made: datetime
    not_before: datetime
    delivered: tuple[str, ...] = ()
    attempts: int = 0
    reason: str = ""
    refusals: Mapping[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> frozenset[str]:
        """Return the channels that have it, and those that will never take it."""
        refusing = (name for name, times in self.refusals.items() if times >= MOST_REFUSALS)
        return frozenset((*self.delivered, *refusing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All that alerts remember. ``given_up`` counts the messages that nobody will get."""

    open: tuple[Open, ...] = ()
    queue: tuple[Message, ...] = ()
    given_up: int = 0


def message(severity: Severity, title: str, text: str, *, now: datetime) -> Message:
    """Return a new message, to be sent at once."""
    identity = hashlib.sha256(f"{title}\0{text}\0{now.isoformat()}".encode()).hexdigest()[:12]
    return Message(id=identity, severity=severity, title=title, text=text, made=now, not_before=now)


def enter(
    book: Book,
    found: Iterable[Incident],
    *,
    checked: Collection[str],
    now: datetime,
    remind: timedelta,
    relief: str = "",
) -> Book:
    """Return *book* after somebody looked for the incidents *checked* and *found* these.

    Open ones among *checked* (keys, or beginnings of keys that end with ``/``) which were not
    found are over; *relief* says what made them so. All others stay open.
    """
    still = {incident.key: incident for incident in found}
    entries: list[Open] = []
    messages: list[Message] = []
    for entry in book.open:
        incident = still.pop(entry.incident.key, None)
        if incident is not None:
            told = _why_again(entry, incident, now=now, remind=remind)
            messages += [_about(incident, told, now=now)] if told is not None else []
            told_at = entry.told if told is None else now
            entries.append(replace(entry, incident=incident, told=told_at))
        elif _covers(checked, entry.incident.key):
            messages.append(_recovery(entry, relief, now=now))
        else:
            entries.append(entry)
    for incident in still.values():
        entries.append(Open(incident=incident, since=now, told=now))
        messages.append(_about(incident, "", now=now))
    return queued(replace(book, open=tuple(entries)), messages)


def reminded(book: Book, *, now: datetime, remind: timedelta) -> Book:
    """Return *book* with a reminder for each open incident that was last told of long ago."""
    due = {
        entry.incident.key
        for entry in book.open
        if entry.incident.lasting and _reminder_due(entry, now, remind)
    }
    entries = [
        replace(entry, told=now) if entry.incident.key in due else entry for entry in book.open
    ]
    messages = [
        _about(entry.incident, REMINDER, now=now)
        for entry in book.open
        if entry.incident.key in due
    ]
    return queued(replace(book, open=tuple(entries)), messages)


def queued(book: Book, messages: Iterable[Message]) -> Book:
    """Return *book* with *messages* to be sent; of too many the oldest are given up."""
    queue = (*book.queue, *messages)
    dropped = max(0, len(queue) - MOST_MESSAGES)
    return replace(book, queue=queue[dropped:], given_up=book.given_up + dropped)


def expired(book: Book, *, now: datetime) -> Book:
    """Return *book* without the messages that are too old to be of use."""
    fresh = tuple(
        entry
        for entry in book.queue
        if now - entry.made <= LONGEST_AGE or entry.attempts < FEWEST_TRIES
    )
    given_up = book.given_up + len(book.queue) - len(fresh)
    return replace(book, queue=fresh, given_up=given_up)


def sendable(book: Book, *, now: datetime) -> tuple[Message, ...]:
    """Return the messages to send, oldest first: those whose time has come, and all before them.

    So the order stays: that something is over must not arrive before that it began.
    """
    last = max((n for n, entry in enumerate(book.queue) if _time_has_come(entry, now)), default=-1)
    return book.queue[: last + 1]


def after_try(
    book: Book,
    identity: str,
    *,
    delivered: Collection[str],
    failed: Mapping[str, str],
    now: datetime,
    refusing: Collection[str] = (),
) -> Book:
    """Return *book* after the message *identity* was sent to *delivered* and to *failed* not.

    *failed* holds the reason by channel; those of them that are *refusing* refused this message
    for good and took others. It leaves the queue when no channel is left that may take it.
    """
    queue: list[Message] = []
    given_up = book.given_up
    for entry in book.queue:
        if entry.id != identity:
            queue.append(entry)
            continue
        tried = _tried(entry, delivered=delivered, failed=failed, now=now, refusing=refusing)
        if set(failed) - tried.settled:
            queue.append(tried)
        else:
            given_up += bool(tried.settled.difference(tried.delivered))
    return replace(book, queue=tuple(queue), given_up=given_up)


def _tried(
    entry: Message,
    *,
    delivered: Collection[str],
    failed: Mapping[str, str],
    now: datetime,
    refusing: Collection[str],
) -> Message:
    attempts = entry.attempts + 1
    more = {name: entry.refusals.get(name, 0) + 1 for name in refusing}
    return replace(
        entry,
        delivered=tuple(sorted({*entry.delivered, *delivered})),
        attempts=attempts,
        not_before=now + _wait_after(attempts),
        reason="; ".join(sorted(set(failed.values()))),
        refusals={**entry.refusals, **more},
    )


def _about(incident: Incident, prefix: str, *, now: datetime) -> Message:
    return message(incident.severity, prefix + incident.title, incident.text, now=now)


def _recovery(entry: Open, relief: str, *, now: datetime) -> Message:
    incident = entry.incident
    began = entry.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = f"Was:    {incident.title}\nSince:  {began}"
    if relief:
        text += f"\nNow:    {relief}"
    return message(Severity.INFO, RECOVERED + incident.title, text, now=now)


def _why_again(entry: Open, incident: Incident, *, now: datetime, remind: timedelta) -> str | None:
    """Return how the title begins when an open incident is told of again, None if it is not."""
    before = entry.incident
    worse = _RANK[incident.severity] > _RANK[before.severity]
    if worse or incident.title != before.title:
        return ""
    return REMINDER if _reminder_due(entry, now, remind) else None


def _reminder_due(entry: Open, now: datetime, remind: timedelta) -> bool:
    # A little early counts: the nightly run is not to the second the night after.
    slack = min(timedelta(hours=1), remind / 10)
    # A moment in the future is from before the clock was put right.
    return now - entry.told >= remind - slack or entry.told - now > slack


def _time_has_come(entry: Message, now: datetime) -> bool:
    return now >= entry.not_before or entry.not_before - now > 2 * LONGEST_WAIT


def _wait_after(attempts: int) -> timedelta:
    doublings: int = 2 ** min(attempts - 1, 10)
    return min(FIRST_WAIT * doublings, LONGEST_WAIT)


def _covers(checked: Collection[str], key: str) -> bool:
    return any(key == one or (one.endswith("/") and key.startswith(one)) for one in checked)
