"""Several sessions share work: in order, nothing taken ahead, the first error at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from ulasis_backup.methods.crew import shared
from ulasis_backup.mysql.scratch import ScratchServer
from ulasis_backup.mysql.server import Server, connect

pytestmark = pytest.mark.server


@pytest.fixture
def sessions(scratch: ScratchServer) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(scratch.login)) for _ in range(3)]


def gone(server: Server) -> bool:
    try:
        server.run("DO 0")
    except Exception:  # noqa: BLE001 (whatever a session says that was ended)
        return True
    return False


def test_results_come_in_order_and_few_tasks_are_taken_ahead(sessions: list[Server]) -> None:
    todo = iter(range(300))
    counting = threading.Lock()
    taken = done = most = 0

    def take(_: Server) -> int | None:
        nonlocal taken
        with counting:
            taken += 1
        return next(todo, None)

    def work(server: Server, task: int) -> int:
        nonlocal done, most
        with counting:
            most = max(most, taken - done)
        found = server.value(f"SELECT {task}")
        with counting:
            done += 1
        return int(str(found))

    assert list(shared(sessions, take, work)) == list(range(300))
    assert most <= len(sessions)
    assert not any(gone(session) for session in sessions)


def test_a_task_that_takes_long_holds_nobody_up(sessions: list[Server]) -> None:
    todo = iter(range(50))
    others = threading.Semaphore(0)

    def work(_: Server, task: int) -> int:
        if task == 0:
            for _number in range(49):
                assert others.acquire(timeout=30)
        else:
            others.release()
        return task

    assert list(shared(sessions, lambda _: next(todo, None), work)) == list(range(50))


@pytest.mark.parametrize("where", ["take", "work"])
def test_the_first_error_ends_all_sessions(sessions: list[Server], where: str) -> None:
    todo = iter(range(100))

    def fail(task: int, place: str) -> int:
        if task == 7 and place == where:
            raise ValueError("seven")
        return task

    def take(_: Server) -> int | None:
        return fail(next(todo), "take")

    def work(server: Server, task: int) -> int:
        if task == 3:
            server.run("DO SLEEP(600)")
        return fail(task, "work")

    with pytest.raises(ValueError, match="seven"):
        list(shared(sessions, take, work))
    assert all(gone(session) for session in sessions)


def test_giving_up_ends_what_still_runs(sessions: list[Server]) -> None:
    todo = iter(range(100))

    def work(server: Server, task: int) -> int:
        if task:
            server.run("DO SLEEP(600)")
        return task

    with closing(shared(sessions, lambda _: next(todo, None), work)) as results:
        assert next(results) == 0
    assert all(gone(session) for session in sessions)
