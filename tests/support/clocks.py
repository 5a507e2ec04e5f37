"""Clocks for the daemon that leap instead of waiting: a week passes in the time of its jobs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from ulasis_backup.operations.daemon import Clock


def leaping(*moments: datetime, then: Mapping[datetime, Callable[[], None]] | None = None) -> Clock:
    """Return a clock that leaps to the next moment instead of waiting, at the end to SIGTERM.

    What *then* holds for a moment is done when it has come.
    """
    left = list(moments)
    here = [left.pop(0)]

    def wait(stop: threading.Event, _seconds: float) -> None:
        if not left:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(5)
            return
        here[0] = left.pop(0)
        if then and here[0] in then:
            then[here[0]]()

    return Clock(now=lambda: here[0], wait=wait)
