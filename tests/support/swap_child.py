"""A process that swaps, or undoes, and kills itself or the server at a phase: for tests.

``python swap_child.py PLAN DIRECTION PHASE [SERVER_PID]``; PLAN is a pickled (login, plan).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from ulasis_backup.model import Login
from ulasis_backup.mysql.server import connect, locked
from ulasis_backup.mysql.swap import swap, undo
from ulasis_backup.mysql.swap_plans import SwapPlan


def main() -> None:
    """Do as told."""
    path, direction, phase, *server = sys.argv[1:]
    found: tuple[Login, SwapPlan] = pickle.loads(Path(path).read_bytes())  # noqa: S301 (our own)
    login, plan = found

    def on_phase(name: str) -> None:
        if name == phase:
            os.kill(int(server[0]) if server else os.getpid(), signal.SIGKILL)

    with connect(login) as held, locked(held, plan.names.database):
        if direction == "swap":
            swap(login, plan, wait=10, on_phase=on_phase)
        else:
            undo(login, plan.names, wait=10, on_phase=on_phase)


if __name__ == "__main__":
    main()
