"""Several sessions that share work: whoever is free takes the next task.

What a task is comes to light when it is taken, so that only as many tasks exist as are being worked
on, however many there will be. A task that takes an hour holds none of the other sessions up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from ulasis_backup.mysql.commands import end_sessions
from ulasis_backup.mysql.server import Server

T = TypeVar("T")
R = TypeVar("R")


def shared(
    sessions: Sequence[Server],
    take: Callable[[Server], T | None],
    work: Callable[[Server, T], R],
    *,
    stop: threading.Event | None = None,
) -> Generator[R, None, None]:
    """Yield what *work* makes of each task, in the order in which *take* returned them.

    *take* is called by one thread at a time, with that thread's session; None ends the work. The
    first error of any session is raised at once. Then, as when the generator is closed, *stop* is
    set for *work* to see, and all sessions are ended, also one that waits for a server that sorts
    for an hour.
    """
    crew = _Crew(take, work, hands=len(sessions), stop=stop or threading.Event())
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="crew") as pool:
        try:
            for session in sessions:
                pool.submit(crew.run, session)
            yield from crew.results()
        except BaseException:
            crew.stop.set()
            end_sessions(sessions)
            raise


class _Crew(Generic[T, R]):
    """The threads' common state; ``_news`` guards it and tells of changes."""

    def __init__(
        self,
        take: Callable[[Server], T | None],
        work: Callable[[Server, T], R],
        *,
        hands: int,
        stop: threading.Event,
    ) -> None:
        self.stop = stop
        self._take = take
        self._work = work
        self._taking = threading.Lock()
        self._taken = 0
        self._news = threading.Condition()
        self._hands = hands
        self._done: dict[int, R] = {}
        self._failure: BaseException | None = None

    def run(self, server: Server) -> None:
        """Work until no task is left, or any session has failed."""
        try:
            while not self.stop.is_set() and (found := self._next(server)):
                number, task = found
                result = self._work(server, task)
                with self._news:
                    self._done[number] = result
                    self._news.notify_all()
        except BaseException as error:  # noqa: BLE001 (raised by results, in the caller's thread)
            self.stop.set()
            with self._news:
                self._failure = self._failure or error
        finally:
            with self._news:
                self._hands -= 1
                self._news.notify_all()

    def _next(self, server: Server) -> tuple[int, T] | None:
        with self._taking:
            task = self._take(server)
            self._taken += 1
            return None if task is None else (self._taken - 1, task)

    def results(self) -> Generator[R, None, None]:
        """Yield the results in order; raises the first failure."""
        number = 0
        while True:
            with self._news:
                while not (number in self._done or self._failure or not self._hands):
                    self._news.wait()
                if self._failure is not None:
                    raise self._failure
                if number not in self._done:
                    return
                result = self._done.pop(number)
            yield result
            number += 1
