"""Alerts: tell people of incidents, once, soon, and without ever harming what they are about.

``report`` notes what was found in the book on disk and sends; what could not be sent stays there
for the next run, the daemon, or ``alert flush``. Nothing here raises for a channel that fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ulasis_backup.config import Config
from ulasis_backup.observers import book as books
from ulasis_backup.observers.book import Changed, Shelf, shelf_of
from ulasis_backup.observers.channels import Channel, NotSent, NotWanted, channels_of
from ulasis_backup.observers.discretion import discreet, secrets_of
from ulasis_backup.observers.incidents import (
    MOST_REFUSALS,
    Book,
    Incident,
    Message,
    Severity,
    after_try,
    enter,
    expired,
    message,
    queued,
    reminded,
    sendable,
)
from ulasis_backup.statefile import locked

SECONDS = 15.0
"""The longest that a run may be held up by its alerts, all channels together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What came of sending one message by one channel: ``reason`` says why it failed.

    What was sent has one, too, where not all got it whom the channel stands for.
    """

    sent: bool = False
    for_good: bool = False
    reason: str = ""


Results = dict[str, dict[str, Try]]
"""By message and channel what came of each try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Who is told, where that is remembered, and what must not be told."""

    channels: tuple[Channel, ...]
    shelf: Shelf
    remind: timedelta
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of sending: messages that left the queue, those that wait, and what went wrong.

    ``remarks`` tell of what was sent and did not reach all; it is not tried again.
    """

    sent: int = 0
    waiting: int = 0
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def alerts_of(config: Config) -> Alerts:
    """Return the alerts that the settings ask for."""
    settings = config.settings
    return Alerts(
        channels=channels_of(settings),
        shelf=shelf_of(config),
        remind=timedelta(hours=settings.backup_alert_remind_hours),
        secrets=secrets_of(settings),
    )


def report(
    alerts: Alerts,
    found: Iterable[Incident],
    *,
    checked: Collection[str],
    now: datetime,
    relief: str = "",
    also: Iterable[Message] = (),
    seconds: float = SECONDS,
) -> Sent:
    """Note what was *found* among the incidents *checked*, and tell of what has changed.

    Open incidents among *checked* (keys, or beginnings that end with ``/``) that were not found
    are over, by *relief*. *also* are messages without an incident. Returns in *seconds*; nothing
    is raised: what went wrong stands in the answer. Without channels nothing happens.
    """
    if not alerts.channels:
        return Sent()
    safe = tuple(_discreet_incident(alerts, incident) for incident in found)
    more = tuple(_discreet_message(alerts, entry) for entry in also)

    def changed(book: Book) -> Book:
        entered = enter(
            book, safe, checked=checked, now=now, remind=alerts.remind,
            relief=discreet(relief, alerts.secrets),
        )  # fmt: skip
        return queued(entered, more)

    started = time.monotonic()
    noted = books.change(alerts.shelf, changed)
    sent = flush(alerts, now=now, seconds=seconds - (time.monotonic() - started))
    return replace(sent, problems=_once((*_state_troubles(alerts, noted), *sent.problems)))


def flush(
    alerts: Alerts, *, now: datetime, seconds: float = SECONDS, at_once: bool = False
) -> Sent:
    """Send what waits and whose time has come, or *at_once* everything; add reminders that are due.

    Raises nothing; see ``report``.
    """
    if not alerts.channels:
        return Sent()
    started = time.monotonic()
    given_up = 0

    def looked_through(book: Book) -> Book:
        nonlocal given_up
        after = expired(reminded(book, now=now, remind=alerts.remind), now=now)
        given_up = after.given_up - book.given_up
        return after

    looked = books.change(alerts.shelf, looked_through)
    lost = (f"given up, for nobody took them in time: {given_up}",) if given_up else ()
    lost = (*_state_troubles(alerts, looked), *lost)
    if not looked.book.queue:
        return Sent(problems=lost)
    try:
        with _turn(alerts.shelf, seconds=seconds):
            left = seconds - (time.monotonic() - started)
            done = _send_waiting(alerts, now=now, seconds=max(1.0, left), at_once=at_once)
            return replace(done, problems=_once((*lost, *done.problems)))
    except TimeoutError:
        return Sent(problems=("another run is sending at this moment",))


@contextmanager
def _turn(shelf: Shelf, *, seconds: float) -> Iterator[None]:
    """Wait until no other run sends; where that cannot be seen, an alert is worth a second copy."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(shelf.sending, seconds=seconds))
        except TimeoutError:
            raise
        except OSError:
            pass
        yield


def due(alerts: Alerts, *, now: datetime) -> bool:
    """Tell whether ``flush`` would have something to do; cheap, for a loop."""
    if not alerts.channels:
        return False
    try:
        book = books.read(alerts.shelf)
    except OSError:
        return False
    return bool(sendable(book, now=now)) or reminded(book, now=now, remind=alerts.remind) != book


def read(alerts: Alerts) -> Book:
    """Return what is open and what waits. Raises OSError."""
    return books.read(alerts.shelf)


def test(alerts: Alerts, *, now: datetime, where: str) -> tuple[tuple[Channel, str], ...]:
    """Send a test to each channel and return what came of it, "" for sent. Nothing is kept."""
    text = f"This is only a test: alerts of ulasis-backup arrive here.\nWhere:  {where}"
    sample = message(Severity.INFO, "test of the alerts", text, now=now)
    results = deliver((sample,), alerts.channels, seconds=SECONDS).get(sample.id, {})
    missing = Try(reason="not tried")
    return tuple((channel, results.get(channel.id, missing).reason) for channel in alerts.channels)


def deliver(messages: Sequence[Message], channels: Iterable[Channel], *, seconds: float) -> Results:
    """Send *messages* to the *channels* that lack them, all channels at once, within *seconds*.

    A channel that failed once is not asked again, unless it refused that one message for good;
    what was not tried is not in the answer.
    """
    workers = [_Worker(channel, messages) for channel in channels]
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.start()
    found: Results = {}
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        for identity, tried in worker.results(seconds):
            found.setdefault(identity, {})[worker.channel.id] = tried
    return found


class _Worker(threading.Thread):
    """Sends to one channel, message after message, until one fails that may go later.

    One that nobody waits for any more ends with the message that it is at. What the receiver took
    all the same is not sent again by the next one of this process.
    """

    def __init__(self, channel: Channel, messages: Sequence[Message]) -> None:
        # A daemon: one that hangs must not keep the process alive.
        super().__init__(daemon=True)
        self.channel = channel
        self._wanted = [entry for entry in messages if channel.id not in entry.settled]
        self._done: list[tuple[str, Try]] = []
        self._late = False
        before = _LATE.get(channel.id)
        self._blocked = before is not None and before.is_alive()
        self._had = before.sent if before else frozenset()

    @property
    def sent(self) -> frozenset[str]:
        """Return the messages that the channel has."""
        return frozenset(identity for identity, tried in self._done if tried.sent)

    def run(self) -> None:
        """Send, and note what came of it."""
        for entry in self._wanted:
            if self._late:
                return
            tried = Try(sent=True) if entry.id in self._had else self._try(entry)
            self._done.append((entry.id, tried))
            if not (tried.sent or tried.for_good):
                return

    def results(self, seconds: float) -> Iterator[tuple[str, Try]]:
        """Yield what is known now; the one that still hangs has failed."""
        alive = self.is_alive()
        done = list(self._done)
        yield from done
        if alive and len(done) < len(self._wanted):
            self._late = True
            _LATE[self.channel.id] = self
            yield self._wanted[len(done)].id, Try(reason=f"no answer in {seconds:.0f} s")
        elif not self._blocked:
            _LATE.pop(self.channel.id, None)

    def _try(self, entry: Message) -> Try:
        if self._blocked:
            return Try(reason="the try before has not ended")
        try:
            return Try(sent=True, reason=self.channel.send(entry))
        except NotSent as error:
            return Try(reason=str(error), for_good=isinstance(error, NotWanted))
        except Exception as error:  # noqa: BLE001 (a traceback could show the address)
            return Try(reason=type(error).__name__)


_LATE: dict[str, _Worker] = {}
"""By channel the one that did not end in time."""


def _send_waiting(alerts: Alerts, *, now: datetime, seconds: float, at_once: bool) -> Sent:
    # Read again: another run may have sent while this one waited for its turn.
    before = books.change(alerts.shelf, lambda book: book).book
    chosen = before.queue if at_once else sendable(before, now=now)
    results = deliver(chosen, alerts.channels, seconds=seconds)
    noted = books.change(
        alerts.shelf,
        lambda book: _noted(book, chosen, results, now=now, channels=alerts.channels),
    )
    there = {entry.id for entry in noted.book.queue}
    gone = sum(entry.id not in there for entry in chosen)
    return Sent(
        sent=max(0, gone - (noted.book.given_up - before.given_up)),
        waiting=len(noted.book.queue),
        problems=(
            *_state_troubles(alerts, noted),
            *_reasons(alerts, results, sent=False),
            *_given_up(alerts, chosen, results),
        ),
        remarks=_reasons(alerts, results, sent=True),
    )


def _noted(
    book: Book, chosen: Iterable[Message], results: Results, *, now: datetime,
    channels: Iterable[Channel],
) -> Book:  # fmt: skip
    wanted = {channel.id for channel in channels}
    taking = _taking(results)
    for entry in chosen:
        found = results.get(entry.id, {})
        delivered = {*entry.delivered, *(name for name, tried in found.items() if tried.sent)}
        failed = {name: tried.reason for name, tried in found.items() if not tried.sent}
        missing = wanted - delivered - entry.settled - set(failed)
        if found or not missing:
            # A channel that was not tried, for it had failed before, waits as well.
            failed |= dict.fromkeys(missing, "not tried yet")
            book = after_try(
                book, entry.id, delivered=delivered, failed=failed, now=now,
                refusing=[n for n, one in found.items() if _refused(entry, n, one, taking)],
            )  # fmt: skip
    return book


def _taking(results: Results) -> set[str]:
    """Return the channels that took anything."""
    return {name for one in results.values() for name, tried in one.items() if tried.sent}


def _refused(entry: Message, channel: str, tried: Try, taking: Collection[str]) -> bool:
    """Tell whether it is the message that *channel* refuses, and not all because of its address.

    It is once the channel took another one in the same moment.
    """
    return tried.for_good and (channel in taking or channel in entry.refusals)


def _given_up(alerts: Alerts, chosen: Iterable[Message], results: Results) -> Iterator[str]:
    """Yield a line for each message that a channel has now refused once too often."""
    labels = {channel.id: channel.label for channel in alerts.channels}
    taking = _taking(results)
    for entry in chosen:
        for name, tried in results.get(entry.id, {}).items():
            last = entry.refusals.get(name, 0) + 1 == MOST_REFUSALS
            if last and _refused(entry, name, tried, taking):
                yield f"{labels[name]}: given up, for it is refused for good: {entry.title}"


def _reasons(alerts: Alerts, results: Results, *, sent: bool) -> tuple[str, ...]:
    labels = {channel.id: channel.label for channel in alerts.channels}
    found = {
        f"{labels[name]}: {tried.reason}"
        for tries in results.values()
        for name, tried in tries.items()
        if tried.reason and tried.sent is sent
    }
    return tuple(sorted(found))


def _state_troubles(alerts: Alerts, noted: Changed) -> tuple[str, ...]:
    error, path = noted.trouble, alerts.shelf.book
    return (f"alerts are not remembered in {path}: {error.strerror or error}",) if error else ()


def _once(problems: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(problems))


def _discreet_incident(alerts: Alerts, incident: Incident) -> Incident:
    return replace(
        incident,
        title=discreet(incident.title, alerts.secrets),
        text=discreet(incident.text, alerts.secrets),
    )


def _discreet_message(alerts: Alerts, entry: Message) -> Message:
    return replace(
        entry,
        title=discreet(entry.title, alerts.secrets),
        text=discreet(entry.text, alerts.secrets),
    )
